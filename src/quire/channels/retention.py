"""What a channel lets go, and when: policies for all, policies of this device, timers, and carrying them out.

docs/spec/12-retention.md has the rules. `ChannelManager` has all of this.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import apsw
import msgspec

from quire.channels.naming import Naming
from quire.core.control import POLICIES, ControlOperation, Policy
from quire.core.ids import ChannelId
from quire.core.views import Event
from quire.errors import MalformedError, NotFoundError, UsageError, callers_mistake
from quire.storage import log
from quire.storage.database import guarded

if TYPE_CHECKING:
    from quire.core.membership import Graph
    from quire.core.retention import Keeping
    from quire.store.pruning import Pruned
    from quire.store.retention import Preview


class Retention(msgspec.Struct, frozen=True):
    """What is in force in a channel."""

    channel: Keeping  # for everybody
    here: Keeping | None = None  # on this device besides
    disappear_ms: int = 0  # after posting; 0: no timer
    disappear_read_ms: int = 0  # after reading


class Keeper(Naming):
    """What `ChannelManager` does to let go."""

    @guarded
    def get_retention(self, channel: ChannelId | str) -> Retention:
        """What a channel lets go, for everybody and on this device."""
        from quire.storage import retention as rows
        from quire.store import retention as deciding

        db, row = self.store.database.reader, self.store.channel_row(self.resolve(channel))
        values = deciding.now_in_force(rows.policies(db, row.n))
        here = rows.here(db, row.n)
        return Retention(
            deciding.keeping(values), deciding.keeping(here) if here else None, values.get("disappear", 0),
            values.get("disappear_read", 0),
        )  # fmt: skip

    def set_retention(self, channel: ChannelId | str, keeping: Keeping, *, here: bool = False) -> None:
        """Say what a channel keeps. What is to go goes little by little, or at once with `enforce_retention`.

        here    on this device only, and then it may only keep less than everybody does

        Raises: UnauthorisedError, UsageError(rule="policy_range", or "retention_looser" naming where this device would
        keep more than the channel's policy does, which it cannot).
        """
        from quire.store import retention as deciding

        id = self.resolve(channel)
        if here:
            self._set_here(id, keeping)
        else:
            self._set_policies(id, deciding.values(keeping))

    def set_disappearing(
        self, channel: ChannelId | str, after: timedelta | None, *, from_read: bool = False
    ) -> None:
        """Let what is posted from now on disappear by itself, for everybody; None: nothing any more.

        from_read    counted from when each reader first read it, on their devices; else from its posting

        Raises: UnauthorisedError, UsageError(rule="policy_range").
        """
        after_ms = 0 if after is None else int(after.total_seconds() * 1000)
        names = ("disappear_read", "disappear") if from_read else ("disappear", "disappear_read")
        self._set_policies(self.resolve(channel), {names[0]: after_ms, names[1]: 0})

    @guarded
    def preview_retention(
        self, channel: ChannelId | str, keeping: Keeping | None = None, *, here: bool = False
    ) -> Preview:
        """What would go now by what is in force, or if this were; nothing is changed.

        here    the policy would be this device's
        """
        from quire.storage import retention as rows
        from quire.store import retention as deciding
        from quire.store.wallclock import now_ms

        db, row, now = self.store.database.reader, self.store.channel_row(self.resolve(channel)), now_ms()
        acts = rows.policies(db, row.n)
        if keeping is None:
            return deciding.preview(db, row, deciding.bounds(db, row, now))
        if here:
            found = deciding.channel_bounds(db, row, acts, now) + deciding.here_bounds(db, row, keeping, now)
            return deciding.preview(db, row, found)
        for name, value in deciding.values(keeping).items():
            acts[name] = [*acts.get(name, ()), (now << 16, value)]
        return deciding.preview(db, row, deciding.channel_bounds(db, row, acts, now))

    @guarded
    def enforce_retention(self, channel: ChannelId | str | None = None) -> Pruned:
        """Let go, now, of all that is to go; of one channel, or of all. What is kept, others may write meanwhile."""
        from quire.store import pruning

        only = None if channel is None else self.resolve(channel)
        done = pruning.enforce(self.store, only)
        if done.messages:
            for id in done.channels:
                self._hub.publish(Event("retention", id))
        return done

    def _set_policies(self, id: ChannelId, wanted: dict[str, int]) -> None:
        def prepare(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> list[ControlOperation]:
            changed: list[ControlOperation] = [
                Policy(name, value) for name, value in wanted.items() if graph.state.policy(name) != value
            ]
            if not changed:  # as it is
                raise _Unchanged
            return changed

        try:
            self.store.ledger.write_control(id, prepare)
        except _Unchanged:
            return
        except MalformedError as error:
            raise callers_mistake(error) from error
        self._hub.publish(Event("people", id))

    def _set_here(self, id: ChannelId, keeping: Keeping) -> None:
        from quire.core.retention import looser
        from quire.storage import retention as rows
        from quire.store import retention as deciding

        values = deciding.values(keeping)
        if not all(POLICIES[name][1] <= value <= POLICIES[name][2] for name, value in values.items()):
            raise UsageError("a policy is out of its range", rule="policy_range", hint="see docs/limits.md")

        def work(db: apsw.Connection) -> None:
            row = log.channel_by_id(db, id)
            if row is None:
                raise NotFoundError("there is no such channel", rule="no_channel")
            policy = deciding.keeping(deciding.now_in_force(rows.policies(db, row.n)))
            if wide := looser(keeping, policy):
                raise UsageError(
                    f"here nothing is kept for longer than everybody keeps it: {', '.join(wide)}",
                    rule="retention_looser",
                    hint="`quire retention` shows the channel's policy",
                )
            rows.put_here(db, row.n, values if keeping.is_bounded else {})

        self.store.ledger.run(work)


class _Unchanged(Exception):
    """The policy is as it is to be; nothing is written."""
