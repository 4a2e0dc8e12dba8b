"""A channel's control log as people tell it: who did what, what was void, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import apsw

from quire.core import commit
from quire.core.circle import ForkView, StoryLine
from quire.core.control import (
    AddDevice,
    Admit,
    Ask,
    ControlOperation,
    Create,
    Decline,
    Invite,
    Link,
    Policy,
    Remove,
    Report,
    RevokeDevice,
    Role,
    Rotate,
    Seal,
    SetRole,
    Unban,
    Uninvite,
)
from quire.core.crypto.keys import decode_certificate, verify
from quire.core.retention import EXEMPTIONS, RETENTION, TIMERS
from quire.storage import log
from quire.store.people import control_commits

if TYPE_CHECKING:
    from quire.store.local import LocalStore

Names = Callable[[bytes], str]


def tell(store: LocalStore, row: log.ChannelRow, names: Names) -> list[StoryLine]:
    """Every control commit of a channel, in order of (time, id)."""
    db = store.database.reader
    operations = {one.id: one.operations for one in control_commits(db, row)}
    graph = store.ledger.people.graph(db, row)
    verdicts = graph.story()
    authors = {verdict.id: verdict.identity for verdict in verdicts}
    return [
        StoryLine(
            verdict.time >> 16, names(verdict.identity) if verdict.identity else "nobody",
            "; ".join(told(operations[verdict.id], names, verdict.identity)), verdict.standing, verdict.rule,
            names(authors[verdict.by]) if verdict.by in authors else "",
            verdict.role.name.lower() if verdict.role else "", verdict.contested,
        )
        for verdict in verdicts
    ]  # fmt: skip


def ending(store: LocalStore, row: log.ChannelRow, names: Names) -> str:
    """How we came to be out of a channel, as in `Ada removed you (too loud)`; empty if we are in, or never were."""
    state = store.ledger.people.state(store.database.reader, row)
    us = store.ledger.people.identity
    if state.device(store.device) or us not in state.everybody:
        return ""
    if state.member(us):
        return (
            "this device was revoked" if state.is_revoked(store.device) else "this device was not let in yet"
        )
    removals = state.removals(us)
    if not removals:
        return "what had let you in does not count"
    last = max((act.record for act in removals), key=lambda record: (record.time, record.id))
    [what] = [
        line
        for one in control_commits(store.database.reader, row)
        if one.id == last.id
        for operation in one.operations
        if isinstance(operation, Remove) and operation.identity == us
        for line in [_line(operation, lambda id: "you" if id == us else names(id), last.identity)]
    ]
    return f"you {what}" if last.identity == us else f"{names(last.identity)} {what}"


def told(operations: tuple[ControlOperation, ...], names: Names, author: bytes) -> list[str]:
    """What a commit did. Keys go without saying where they are part of something else."""
    lines = [line for one in operations if (line := _line(one, names, author))]
    if lines:
        if any(isinstance(one, Rotate) for one in operations):
            lines.append("changed the key")
        return lines
    if any(isinstance(one, Rotate) for one in operations):
        return ["changed the key"]
    if any(isinstance(one, Seal) for one in operations):
        return ["handed on the key"]
    return [
        "linked an older key"
        if any(isinstance(one, Link) for one in operations)
        else "asked for the key again"
    ]


def _line(operation: ControlOperation, names: Names, author: bytes) -> str:
    match operation:
        case Create(kind, name):
            return f"founded the {kind} {name}"
        case Admit(devices, role):
            who = names(decode_certificate(devices[0].certificate).identity)
            return f"let {who} in as {_role(role)}" + (" by an invite" if operation.invite else "")
        case SetRole(identity, role):
            return f"made {names(identity)} {_role(role)}"
        case Remove(identity, _, ban, reason):
            if identity == author:
                return "left"
            why = f" ({reason})" if reason else ""
            return f"{'banned' if ban else 'removed'} {names(identity)}{why}"
        case Unban(identity):
            return f"lifted the ban of {names(identity)}"
        case AddDevice(device):
            return f"added a device, {decode_certificate(device.certificate).device.hex()[:8]}"
        case RevokeDevice(device):
            return f"revoked a device, {device.hex()[:8]}"
        case Policy(name, value):
            return f"set the policy {name} to {_policy(name, value)}"
        case Invite(_, role, uses):
            number = "any number of people" if uses == 0 else f"{uses} people" if uses > 1 else "one person"
            who = names(operation.identity) if operation.identity else number
            return f"invited {who} as {_role(role)}"
        case Uninvite():
            return "withdrew an invite"
        case Ask(devices):
            return f"passed on that {names(decode_certificate(devices[0].certificate).identity)} asks to be let in"
        case Decline(identity):
            return f"declined {names(identity)}"
        case Report():
            return "reported a key that does not open"
        case _:
            return ""


def forks(store: LocalStore, row: log.ChannelRow, names: Names) -> list[ForkView]:
    """Each branch beside a commit, of the log itself or another branch, that cannot stand in one log with its first."""
    db = store.database.reader
    found = []
    logs: dict[tuple[bytes, bytes], list[log.LogRow]] = {}
    for one in log.logs_of(db, row.n):
        logs.setdefault((one.device, one.incarnation), []).append(one)
    for branch in (one for rows in logs.values() for one in rows if one.branch):
        seq, head, _ = next(iter(log.commits(db, branch.n)))
        assert commit.commit_id(head) == branch.branch
        rival = _rival(db, branch, logs[branch.device, branch.incarnation], seq, head)
        if rival is not None:
            identity = bytes.fromhex(branch.signer.partition(":")[2])
            ours, theirs = _proof(db, rival[0], rival[1]), _proof(db, branch, seq)
            found.append(
                ForkView(branch.device, names(identity), seq, (ours[0], theirs[0]), (ours[1], theirs[1]))
            )
    return found


def _rival(
    db: apsw.Connection, branch: log.LogRow, rows: list[log.LogRow], seq: int, head: bytes
) -> tuple[log.LogRow, int] | None:
    """What has the place of a branch's first commit, or else does not link with it though it is next to it."""
    for other in rows:
        if other.n != branch.n and log.get_commit(db, other.n, seq) is not None:
            return other, seq
    id, previous = commit.commit_id(head), commit.decode_head(head).previous
    for other in rows:
        before, after = (log.get_commit(db, other.n, near) for near in (seq - 1, seq + 1))
        if before is not None and commit.commit_id(before[0]) != previous:
            return other, seq - 1
        if after is not None and commit.decode_head(after[0]).previous != id:
            return other, seq + 1
    return None


def _proof(db: apsw.Connection, row: log.LogRow, seq: int) -> tuple[tuple[bytes, ...], bytes]:
    """Heads from a place on up to one that is signed itself, and its signature."""
    heads: list[bytes] = []
    for _, head, signature in log.commits(db, row.n, after=seq - 1):
        heads.append(head)
        if verify(row.device, signature, commit.to_be_signed(head)):
            break
    return tuple(heads), signature


def _policy(name: str, value: int) -> str:
    if name == "history":
        return (
            ("all", "since joining")[value]
            if value < 2
            else f"since {datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d}"  # as `quire policy` takes it
        )
    if name in RETENTION + TIMERS:
        return _kept(name, value)
    return _span(value) if name == "rotation" else Role(value).name.lower()


def _kept(name: str, value: int) -> str:
    """What is let go: `90 days`, `100,000`, `pins and threads`."""
    if name == "exempt":
        spared = [word for word, bit in EXEMPTIONS.items() if value & bit]
        return " and ".join(spared) or "nothing"
    if not value:
        return "never"
    if name in ("keep_count", "keep_bytes"):
        return f"{value:,}"
    return _span(value)


def _span(value_ms: int) -> str:
    """`90 days`, `1 day`, `12 hours`."""
    days = value_ms / 86_400_000
    number, unit = (days, "day") if days >= 1 else (days * 24, "hour")
    return f"{number:g} {unit}" + ("" if number == 1 else "s")


def _role(role: int) -> str:
    name = Role(role).name.lower()
    return f"an {name}" if name[0] in "ao" else f"a {name}"
