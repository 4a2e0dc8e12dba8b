"""Who is in each channel: its control commits, from the log into core/membership, and what follows from them.

The control commits of a channel are read once into a `Graph`, which is kept as long as it ends where the channel's
row says that its control log ends. After every change, in the same transaction: content whose author's rights
changed is taken out or put back, and the channel's row says what we are, what we may, and from when on a writer
must change the key first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import apsw

from quire.core import clock, commit
from quire.core.control import ControlOperation, Remove, RevokeDevice, Role, SetRole, decode_control
from quire.core.ids import IdentityId, log_prefix
from quire.core.limits import SEQ_MAX, TIME_MS_MAX
from quire.core.membership import Change, ControlCommit, Graph, Membership
from quire.core.operation import SALT_SIZE
from quire.core.retention import RETENTION, TIMERS
from quire.core.rights import MAY_ALL, MAY_MODERATE, MAY_NAME, MAY_PIN, MAY_POST
from quire.errors import MalformedError, UnauthorisedError
from quire.storage import asking, contents, controls, log, retention
from quire.storage.database import guarded, inconsistent, one_moment
from quire.store import owing
from quire.store.apply import Applier, Item
from quire.store.withdraw import set_aside, take_out

GRAPHS_MAX = 256  # channels whose graph is kept
RIGHTS = {"post": MAY_POST, "pin": MAY_PIN, "name": MAY_NAME, "delete_others": MAY_MODERATE}
NEVER_MS = TIME_MS_MAX
Forks = list[tuple[bytes, int]]  # (prefix, seq) of each place where a log of the channel branches


class People:
    """The graphs of a vault's channels."""

    def __init__(self, identity: IdentityId, device: bytes) -> None:
        self.identity = identity
        self._device = device
        self._graphs: dict[int, tuple[Graph, Forks]] = {}
        self._lock = threading.RLock()  # over the graphs: readers look while the writer adds

    def forget(self) -> None:
        """After a rollback: what was added did not happen."""
        with self._lock:
            self._graphs.clear()

    @guarded
    def graph(self, db: apsw.Connection, channel: log.ChannelRow) -> Graph:
        """A channel's control commits. Raises: CorruptError if the log lost one."""
        with self._lock:
            forks = log.content_forks(db, channel.n)
            graph, told = self._graphs.get(channel.n, (None, forks))
            if graph is None or b"".join(graph.heads) != channel.heads or told != forks:
                graph = read_graph(db, channel)
                if len(self._graphs) >= GRAPHS_MAX:
                    self._graphs.clear()
                self._graphs[channel.n] = graph, forks
            return graph

    def state(self, db: apsw.Connection, channel: log.ChannelRow) -> Membership:
        """Who is in a channel now."""
        return self.graph(db, channel).state

    def settle(
        self, db: apsw.Connection, applier: Applier, n: int, graph: Graph, now_ms: int, *, review: bool
    ) -> log.ChannelRow:
        """Draw the consequences of what was added to a channel's graph; the channel's row as it is then.

        review    content may have lost or won its right by it
        """
        with self._lock:
            self._graphs[n] = graph, log.content_forks(db, n)
            log.set_people(
                db,
                n,
                b"".join(graph.heads),
                *standing_of(graph, self.identity, self._device),
                rotate_at(graph, self._device, now_ms),
            )
            retention.put_policies(db, n, retention_acts(graph))
            channel = log.channel_by_n(db, n)
            if channel.role:  # who is in asks no longer, nor again once they are out
                asking.drop_joining(db, channel.id)
            if review:
                review_content(db, applier, channel, graph, now_ms)
        return channel


def read_graph(db: apsw.Connection, channel: log.ChannelRow) -> Graph:
    """All control commits of a channel that are here now, from the log. Raises: CorruptError.

    Another thread may have written since the channel's row was read: it is read again, with what it must agree with.
    """
    with one_moment(db):
        row = log.channel_by_n(db, channel.n)
        graph, lost = gather(db, row)
    if lost or b"".join(graph.heads) != row.heads:
        raise inconsistent("a control commit")
    return graph


def gather(db: apsw.Connection, channel: log.ChannelRow) -> tuple[Graph, list[bytes]]:
    """The control commits of a channel, and the ids of those that others name but that are not here, or do not read."""
    graph = Graph(channel.id)
    waiting: dict[bytes, list[ControlCommit]] = {}
    ready = control_commits(db, channel)
    ready.reverse()
    while ready:
        one = ready.pop()
        missing = next((head for head in one.heads if head not in graph), None)
        if missing is None:
            graph.add(one)
            ready += waiting.pop(one.id, ())
        else:
            waiting.setdefault(missing, []).append(one)
    for prefix, seq in log.content_forks(db, channel.n):
        graph.add_fork(prefix, seq)
    return graph, sorted(waiting)


def control_commits(db: apsw.Connection, channel: log.ChannelRow) -> list[ControlCommit]:
    """The control commits of a channel that can be read, log by log."""
    places: dict[bytes, list[bytes]] = {}
    for id, op in controls.control_rows(db, channel.n):
        places.setdefault(id[:14], []).append(op[SALT_SIZE:])
    found = []
    for place, operations in places.items():
        encoded = log.commit_at(db, place)
        if encoded is None:
            continue
        try:
            head = commit.decode_head(encoded)
            found.append(as_control(encoded, head, map(decode_control, operations)))
        except MalformedError:
            continue
    return found


def as_control(encoded: bytes, head: commit.Head, operations: Iterable[ControlOperation]) -> ControlCommit:
    """A control commit as core/membership takes it."""
    return ControlCommit(
        commit.commit_id(encoded), head.device, _main_prefix(head), head.seq, head.time, head.control_heads,
        tuple(operations),
    )  # fmt: skip


def _main_prefix(head: commit.Head) -> bytes:
    """Of its log, whichever branch of it this is."""
    return log_prefix(head.device, head.incarnation)  # type: ignore[arg-type]


def standing_of(graph: Graph, identity: bytes, device: bytes) -> tuple[Role, int]:
    """The role of a person at one of their devices now, and what it may do with content: what everybody finds by the
    heads that its next commit names, wherever in its logs that comes to stand."""
    state = graph.state
    role = state.role(identity) if state.device(device) else Role.NONE
    if role is Role.NONE:
        return role, 0
    try:
        found = graph.authority(device, b"", SEQ_MAX, graph.frontier(device))
    except UnauthorisedError:  # of too many heads those that give it the right found no room
        return role, 0
    return role, rights_of(found.policies, found.role)


def rights_of(policies: Membership, role: Role) -> int:
    """What a role may do with content."""
    if role is Role.NONE:
        return 0
    if role is Role.OWNER:
        return MAY_ALL
    return sum(right for name, right in RIGHTS.items() if role >= policies.least_role(name))


def retention_acts(graph: Graph) -> dict[str, list[tuple[int, int]]]:
    """What a channel lets go and when: each act that set one of these policies (core/retention.py)."""
    state = graph.state
    names = RETENTION + TIMERS if state.kind != "self" else ()
    return {name: acts for name in names if (acts := state.policy_acts(name))}


def rotate_at(graph: Graph, device: bytes, now_ms: int) -> int:
    """From when on a writer changes the channel's key first, Unix ms: 0 for at once, NEVER_MS while alone."""
    state = graph.state
    change = state.epochs.change_needed(now_ms)
    if change is Change.NONE_YET and state.epochs.expected() <= {
        device,
        *state.members,
    }:  # our recovery key is we
        return NEVER_MS
    if change is not None:
        return 0
    current = state.epochs.current
    assert current is not None
    return min((current.time >> 16) + state.policy("rotation"), NEVER_MS)


def takes(operation: ControlOperation) -> bool:
    """Can this end a right that content was written by?"""
    return isinstance(operation, Remove | SetRole | RevokeDevice)


def review_content(
    db: apsw.Connection, applier: Applier, channel: log.ChannelRow, graph: Graph, now_ms: int
) -> None:
    """Compare every content commit of a channel with what its author may now; take out and put back accordingly."""
    changed: dict[tuple[int, int], int] = {}
    ids: list[bytes] = []
    for row in log.logs_of(db, channel.n):
        for seq, encoded, rights in log.content_commits(db, row):
            head = commit.decode_head(encoded)
            try:
                right = content_rights(graph, head)
            except UnauthorisedError:
                right = 0
            if right != rights:
                changed[row.n, seq] = right
                ids += contents.commit_ids(db, row.prefix, seq)
    if not changed:
        return
    away = owing.out_of_reach(db, ids)
    if away:  # their files are not at hand: what depends on them is looked at again when they are
        owing.owe(db, channel.n, [channel.id])
        stay = {(id[:10], int.from_bytes(id[10:14], "big")) for id in away}
        prefixes = {row.n: row.prefix for row in log.logs_of(db, channel.n)}
        changed = {at: rights for at, rights in changed.items() if (prefixes[at[0]], at[1]) not in stay}
        ids = [id for id in ids if (id[:10], int.from_bytes(id[10:14], "big")) not in stay]
    items = take_out(db, applier, channel, ids)
    for (n, seq), rights in changed.items():
        log.set_rights(db, n, seq, rights)
    put_back(db, applier, channel, items, now_ms)


def content_rights(graph: Graph, head: commit.Head) -> int:
    """What the author of a content commit may do in it. Raises: UnauthorisedError if it does not count."""
    found = graph.authority(head.device, _main_prefix(head), head.seq, head.control_heads)
    return rights_of(found.policies, found.role)


def put_back(
    db: apsw.Connection, applier: Applier, channel: log.ChannelRow, items: Sequence[Item], now_ms: int
) -> None:
    """Apply what was taken out with the rights of its commit as they are now; what has none is kept aside."""
    standing: list[Item] = []
    void: list[Item] = []
    for item in items:
        item.rights = log.rights_at(db, item.id)
        (standing if item.rights else void).append(item)
    set_aside(db, channel, void)
    if standing:
        newest = max((item.time for item in standing if not clock.is_ahead(item.time, now_ms)), default=0)
        applier.apply(db, channel, standing, now_ms)
        log.touch_channel(db, channel.n, clock=newest)
