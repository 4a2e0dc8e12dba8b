"""Membership against the control commits: what each channel's row says, by what right each commit counts, keys, and
what waits whole.

The control commits of a channel are read anew, once, into a `Graph` of its own. Where one is missing, nothing can be
said about who may do what there, so that is reported and the rest left alone.
"""

from __future__ import annotations

from typing import Any

from quire.core import clock, commit
from quire.core.control import Role
from quire.core.ids import channel_id_text
from quire.core.membership import Graph
from quire.core.operation import KINDS, SALT_SIZE
from quire.core.operation_form import decode_operation
from quire.core.rights import MAY_ALL
from quire.errors import MalformedError, UnauthorisedError, UsageError
from quire.storage import keychain, log, retention
from quire.storage.backlog import AWAY
from quire.store import wallclock
from quire.store.epochs import is_key
from quire.store.findings import Run
from quire.store.people import content_rights, gather, retention_acts, rotate_at, standing_of

PARKED = "SELECT id, channel, device, reason, encoded FROM parked ORDER BY id"


class PeopleCheck:
    """The memberships of a vault's channels, recomputed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._add = run.findings.add
        self._graphs: dict[int, Graph | None] = {}
        self._identity = bytes.fromhex(run.own_key.partition(":")[2])

    def graph(self, channel: log.ChannelRow) -> Graph | None:
        """A channel's control commits; None if one is missing, which is then reported."""
        if channel.n not in self._graphs:
            graph, lost = gather(self._run.db, channel)
            for id in lost:
                self._add("control_missing", channel_id_text(channel.id), id.hex())
            self._graphs[channel.n] = graph if len(graph) and not lost else None
        return self._graphs[channel.n]

    def commit(
        self,
        channel: log.ChannelRow,
        row: log.LogRow,
        where: str,
        id: bytes,
        head: commit.Head,
        rights: int,
        is_control: bool,
    ) -> None:
        """One commit of a log: whose it is, and by what right it counts."""
        graph = self.graph(channel)
        if graph is None:
            return
        if is_control and id not in graph:
            self._add("control_missing", where, "it does not read")
            return
        try:
            at = graph.at(head.control_heads) if head.control_heads else graph.state
        except UsageError:
            self._add("control_missing", where, "it names a control commit that is not here")
            return
        owner = graph.verdict(id).identity if is_control else at.owner_of(row.device)
        if not owner:
            self._add("device_unknown", where)
        elif row.signer != f"quire:{owner.hex()}":
            self._add("log_misplaced", f"log {row.n}", "the signer differs")
        expected = MAY_ALL
        if not is_control:
            try:
                expected = content_rights(graph, head)
            except UnauthorisedError:
                expected = 0
        if rights != expected and channel.id not in self._run.owed.get(channel.n, ()):
            self._add("rights_view", where, f"{rights} instead of {expected}")

    def check_channels(self) -> None:
        """Where each channel's control log ends, what we are in it, and when its key must change."""
        now_ms = wallclock.now_ms()
        for channel in self._run.channels.values():
            graph = self.graph(channel)
            if graph is None:
                continue
            role, rights = standing_of(graph, self._identity, self._run.device)
            rotate_ms = rotate_at(graph, self._run.device, 0)  # as it was before the key grew old
            if channel.rotate_ms == 0 and rotate_ms <= now_ms:
                rotate_ms = 0
            wrong = [
                name
                for name, found, right in (
                    ("heads", channel.heads, b"".join(graph.heads)), ("role", Role(channel.role), role),
                    ("rights", channel.rights, rights), ("rotate_ms", channel.rotate_ms, rotate_ms),
                    ("policies", retention.policies(self._run.db, channel.n), retention_acts(graph)),
                )
                if found != right
            ]  # fmt: skip
            if wrong:
                self._add("channel_view", channel_id_text(channel.id), ", ".join(wrong))

    def check_keys(self) -> None:
        """Every key is the one that its epoch is named by; and where we are in, we have the present one."""
        keys: Any = self._run.db.execute("SELECT channel, id, key FROM epoch")
        for channel, id, key in keys:
            if not is_key(channel, id, key):
                self._add("epoch_view", bytes(id).hex(), "another key")
        for channel in self._run.channels.values():
            graph = self.graph(channel)
            current = graph.state.epochs.current if graph else None
            if (
                graph is None
                or current is None
                or current.epoch in keychain.epoch_keys(self._run.db, channel.id)
            ):
                continue
            epochs, device = graph.state.epochs, self._run.device
            is_sealed = device in epochs.recipients(current.epoch)
            if channel.role and is_sealed and device not in epochs.reported(current.epoch):
                self._add("epoch_view", channel_id_text(channel.id), "the present key is not here")

    def check_parked(self) -> None:
        """What waits whole reads, and waits for something."""
        by_id = {bytes(channel.id): channel for channel in self._run.channels.values()}
        rows: Any = self._run.db.execute(PARKED)
        for id, of, device, reason, encoded in rows:
            where = bytes(id).hex()
            try:
                received, head = commit.decode_commit(encoded)
                operations = [decode_operation(salted[SALT_SIZE:]) for salted in received.operations]
            except MalformedError as error:
                self._add("parked_view", where, error.rule)
                continue
            channel = by_id.get(of)
            if channel is None or (commit.commit_id(received.head), head.channel, head.device) != (
                id,
                of,
                device,
            ):
                self._add("parked_view", where, "another commit")
                continue
            branches = log.branches(self._run.db, head.device, head.incarnation)
            kept = (log.get_commit(self._run.db, row.n, head.seq) for row in branches)
            if reason != AWAY and any(one and one[0] == received.head for one in kept):
                self._add("parked_view", where, "it is in the log")
            elif reason == "control_head_unknown" and not clock.is_ahead(head.time, wallclock.now_ms()):
                graph = self.graph(channel)
                is_control = type(operations[0]) not in KINDS
                known = graph is not None and all(one in graph for one in head.control_heads)
                if known and (is_control or head.control_heads):
                    self._add("waiting_in_vain", where, "what it names is here")
