"""A channel's control commits, one after another, and what they come to.

    graph = Graph(channel_id)
    graph.add(commit)                     -> Verdict; its ancestors must have been added
    graph.state                           -> Membership of all
    graph.at(heads)                       -> Membership of these commits and their ancestors
    graph.authority(device, prefix, seq, heads)  -> Authority for a content commit, or UnauthorisedError
    graph.check(operations, device, time) -> what writing them now would need; UnauthorisedError if they would be void
    graph.verdict(id), graph.story()      -> what became of commits
    resolve(channel_id, commits)          -> Membership, in any order of arrival

The result is a function of the set of commits (and of the forks told): docs/spec/06-membership.md. A commit is
judged once, at its point, when it is added; what stands is asked of a `Membership`, lazily. A commit that knows
all others makes what lies before it final (`_trunk`), until one comes that did not know it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from quire.core.control import (
    Ask,
    ControlOperation,
    Create,
    Decline,
    Invite,
    Link,
    Policy,
    Report,
    RevokeDevice,
    Role,
    Rotate,
    Seal,
    Unban,
    Uninvite,
)
from quire.core.limits import CONTROL_HEADS_MAX
from quire.core.membership.certificates import read_certificate
from quire.core.membership.content import Authority, authority
from quire.core.membership.index import Index, InviteAct, Past, Record, union
from quire.core.membership.judging import Judgement, judge
from quire.core.membership.model import ControlCommit, EpochInfo, Verdict, refusal
from quire.core.membership.standing import Settled, Standing
from quire.core.membership.state import Membership
from quire.errors import UsageError

VIEWS_MAX = 64  # memberships of earlier heads that are kept: writers who are behind name the same few
RIGHTS_MAX = 4_096  # (device, heads) of content commits: runs of them repeat

KIND_UNKNOWN = "channel"


class Graph:
    """The control commits of one channel."""

    def __init__(self, channel: bytes) -> None:
        self.channel = channel
        self._index = Index()
        self._records: dict[bytes, Record] = {}
        self._heads: list[bytes] = []  # ascending: sorting for each commit would cost the square of a flood
        self._kind = KIND_UNKNOWN
        self._trunk: list[
            int
        ] = []  # numbers of commits that know all before them and that all after them know
        self._settled: Settled = {}
        self._forks: dict[bytes, int] = {}  # told from outside
        self._state: Membership | None = None
        self._views: OrderedDict[tuple[bytes, ...], Membership] = OrderedDict()
        self._rights: dict[tuple[bytes, tuple[bytes, ...]], Authority] = {}
        self._frontiers: dict[bytes, tuple[bytes, ...]] = {}  # while nothing comes, by the device that writes

    def __contains__(self, id: object) -> bool:
        return id in self._records

    def __len__(self) -> int:
        return len(self._records)

    @property
    def heads(self) -> tuple[bytes, ...]:
        """Commits that no other names, ascending."""
        return tuple(self._heads)

    @property
    def ids(self) -> list[bytes]:
        """Every commit, each after those that it knows."""
        return list(self._records)

    def beyond(self, heads: Iterable[bytes]) -> list[bytes]:
        """The commits that are neither these nor among their ancestors, each after those that it knows.

        Raises: UsageError(rule="control_head_unknown").
        """
        past = self._past(heads)
        return [id for id, record in self._records.items() if not past.holds(record.number)]

    def is_newest(self, heads: Sequence[bytes]) -> bool:
        """Are these all the heads?"""
        return len(heads) == len(self._heads) and sorted(heads) == self._heads

    def frontier(self, device: bytes) -> tuple[bytes, ...]:
        """The heads that this device's next commit names: all, or of too many those that carry most.

        What stands comes first, and the stronger before others, so that nobody's heads push out a senior's act; and some
        that know by what right the device writes, and under which key.
        """
        if len(self._heads) <= CONTROL_HEADS_MAX:
            return self.heads
        if device not in self._frontiers:
            self._frontiers[device] = self._frontier(device)
        return self._frontiers[device]

    def _frontier(self, device: bytes) -> tuple[bytes, ...]:
        state = self.state
        heads = [self._records[id] for id in self._heads]
        heads.sort(key=lambda one: (not state.standing.stands(one), one.strength, one.time, one.id))
        binding = state.binding_of(device)
        current = state.epochs.current
        needed = [] if binding is None else [state.grant(binding.identity).record, binding.record]
        needed += [self._records[current.commit]] if current else []
        named: list[Record] = []
        for record in needed:
            if not any(one is record or one.knows(record) for one in named):
                named.append(next(one for one in heads if one is record or one.knows(record)))
        named += [one for one in heads if one not in named]
        return tuple(sorted(one.id for one in named[:CONTROL_HEADS_MAX]))

    def after(self, device: bytes) -> int:
        """The least time that this device's next commit may have: what it builds on comes before."""
        return max((self._records[head].newest for head in self.frontier(device)), default=-1) + 1

    def add(self, commit: ControlCommit) -> Verdict:
        """Take a commit and say what becomes of it among those here. One that is here changes nothing.

        Raises: UsageError(rule="control_head_unknown") if an ancestor is missing.
        """
        if commit.id in self._records:
            return self.verdict(commit.id)
        judgement = self._judge(commit)
        before = self.state if self.is_newest(commit.heads) else None
        self._enter(judgement, commit)
        if before is not None and not self._is_forked(judgement.record):
            touched = {act.identity for act in judgement.record.acts}
            touched.update(binding.identity for binding in judgement.bindings)
            if any(isinstance(one, RevokeDevice) for one in commit.operations):
                touched.add(judgement.record.identity)
            self.state.inherit(before, touched)
        return self.verdict(commit.id)

    def author_of(self, commit: ControlCommit) -> bytes:
        """Who wrote a commit, as they are known where it was written; empty if nobody in the channel."""
        return self._judge(commit).record.identity

    @property
    def state(self) -> Membership:
        """What all commits here come to."""
        if self._state is None:
            self._state = self._view(self.heads, Past(len(self._records)), self._forks)
        return self._state

    def at(self, heads: Iterable[bytes]) -> Membership:
        """What these commits and their ancestors come to: what someone knew who named them.

        Raises: UsageError(rule="control_head_unknown").
        """
        key = tuple(sorted(heads))
        if not self._forks and self.is_newest(key):
            return self.state
        if key not in self._views:
            self._views[key] = self._view(key, self._past(key), {})
            if len(self._views) > VIEWS_MAX:
                self._views.popitem(last=False)
        self._views.move_to_end(key)
        return self._views[key]

    def epoch_at(self, heads: Iterable[bytes]) -> EpochInfo | None:
        """What someone who knew these commits wrote under."""
        return self.at(heads).epochs.current

    def add_fork(self, prefix: bytes, seq: int) -> None:
        """Two content commits of this log have the place `seq`: its control commits from there on are void."""
        if seq < self._forks.get(prefix, seq + 1):
            self._forks[prefix] = seq
            self._forget()

    def verdict(self, id: bytes) -> Verdict:
        """What became of one commit."""
        return self.state.verdict(self._records[id])

    def story(self) -> list[Verdict]:
        """What became of every commit, in order of (time, id)."""
        return self.state.story

    def authority(self, device: bytes, prefix: bytes, seq: int, heads: Sequence[bytes]) -> Authority:
        """The right by which a device wrote a content commit that names these control heads.

        Raises: UnauthorisedError; UsageError(rule="control_head_unknown").
        """
        key = (device, tuple(heads))
        found = self._rights.get(key)
        if found is None:
            found = authority(self.state, self.at(heads), self._index, device)
            if len(self._rights) >= RIGHTS_MAX:
                self._rights.clear()
            self._rights[key] = found
        return found.at(prefix, seq)

    def check(self, operations: Sequence[ControlOperation], device: bytes, time: int) -> Role:
        """Would these operations stand, written now? Returns the least role that may.

        time    the commit's hybrid time
        Raises: UnauthorisedError(rule), with the role that would do in `details["role"]`, NONE if that is not it.
        """
        commit = ControlCommit(b"", device, b"", 0, time, self.frontier(device), tuple(operations))
        record = self._judge(commit).record
        if record.rule:
            raise refusal(record.rule, record.needs if record.needs > record.role else Role.NONE)
        ends = any(
            isinstance(one, RevokeDevice) for one in operations
        )  # which counts, whatever becomes of the commit
        if not ends and (
            self._forks or not self.is_newest(commit.heads)
        ):  # more is known here than at its point
            fresh = self._view(
                self.heads, Past(len(self._records)), self._forks
            )  # which remembers no record that goes
            if void := fresh.standing.void(record):
                raise refusal(void.rule)
        return record.needs

    def _judge(self, commit: ControlCommit) -> Judgement:
        past = self._past(commit.heads)
        if commit.heads:
            state = self.at(commit.heads)
            newest = max(self._records[head].newest for head in commit.heads)
        else:
            state, newest = self.state, 0
        return judge(state, commit, self.channel, past, len(self._records), newest)

    def _past(self, heads: Iterable[bytes]) -> Past:
        records = [self._records.get(head) for head in heads]
        known = [record for record in records if record is not None]
        if len(known) < len(records):
            raise UsageError("a control commit that is not here", rule="control_head_unknown")
        return union(record.past.with_number(record.number) for record in known)

    def _view(self, heads: tuple[bytes, ...], within: Past, forks: dict[bytes, int]) -> Membership:
        place = bisect_left(self._trunk, within.base)
        floor = self._trunk[place - 1] if place else -1
        standing = Standing(self._index, within, floor, self._settled, dict(forks))
        return Membership(self._index, standing, heads, self._kind)

    def _enter(self, judgement: Judgement, commit: ControlCommit) -> None:
        record = judgement.record
        self._records[record.id] = record
        self._index.records.append(record)
        for head in commit.heads:
            if self._is_head(head):
                del self._heads[bisect_left(self._heads, head)]
        insort(self._heads, record.id)
        self._state = None
        self._rights.clear()
        self._frontiers.clear()
        self._unsettle(min(record.past.base, self._enter_log(record)))
        if record.past.base == record.number:
            self._trunk.append(record.number)
        if not record.rule:
            if isinstance(commit.operations[0], Create):
                self._kind = commit.operations[0].kind
            enter(self._index, judgement, commit)

    def _enter_log(self, record: Record) -> int:
        """Note its place in its log. Returns the first number that this may change: a fork unsettles what follows it."""
        log = self._index.logs.setdefault(record.prefix, {})
        at = log.setdefault(record.seq, [])
        at.append(record)
        if len(at) == 1 and not any(seq <= record.seq for seq in self._index.forks.get(record.prefix, ())):
            return record.number
        if len(at) == 2:
            insort(self._index.forks.setdefault(record.prefix, []), record.seq)
        return min(one.number for seq, others in log.items() if seq >= record.seq for one in others)

    def _is_forked(self, record: Record) -> bool:
        return any(seq <= record.seq for seq in self._index.forks.get(record.prefix, ()))

    def _unsettle(self, number: int) -> None:
        """What is not below `number` may come out differently from now on."""
        dropped = False
        while self._trunk and self._trunk[-1] >= number:
            self._trunk.pop()
            dropped = True
        if dropped:  # a new table: who holds an earlier membership goes on with the old one
            floor = self._trunk[-1] if self._trunk else -1
            self._settled = {place: void for place, void in self._settled.items() if place <= floor}
            self._forget()

    def _is_head(self, id: bytes) -> bool:
        place = bisect_left(self._heads, id)
        return place < len(self._heads) and self._heads[place] == id

    def _forget(self) -> None:
        self._state = None
        self._views.clear()
        self._rights.clear()
        self._frontiers.clear()


def enter(index: Index, judgement: Judgement, commit: ControlCommit) -> None:
    """Enter a valid commit under what it is about."""
    record = judgement.record
    for act in record.acts:
        index.about.setdefault(act.identity, []).append(act)
        if act.role is Role.NONE:
            index.removals.setdefault(act.identity, []).append(act)
        if act.role is Role.OWNER:
            index.owners[act.identity] = None
    for binding in judgement.bindings:
        index.bindings.setdefault(binding.device, []).append(binding)
        index.devices.setdefault(binding.identity, {})[binding.device] = None
    for use in record.uses:
        index.uses.setdefault(use.invite.key, []).append(use)
    for place, operation in enumerate(commit.operations):
        _enter_operation(index, record, operation, place)


def _enter_operation(index: Index, record: Record, operation: ControlOperation, place: int) -> None:
    match operation:
        case RevokeDevice(device, cuts):
            seqs = {cut.prefix: cut.seq for cut in cuts}
            index.revocations.setdefault(device, []).append((record, seqs))
        case Unban(identity):
            index.unbans.setdefault(identity, []).append(record)
        case Policy(name, value):
            index.policies.setdefault(name, []).append((record, value))
        case Invite(key, role, uses, expires_ms, history, identity, approval):
            act = InviteAct(record, key, Role(role), uses, expires_ms, history, identity, approval)
            index.invites.setdefault(key, []).append(act)
        case Uninvite(key):
            index.uninvites.setdefault(key, []).append(record)
        case Ask(devices, invite):
            certificate = read_certificate(devices[0].certificate)
            assert not isinstance(certificate, str)
            index.asks.setdefault(certificate.identity, []).append((record, invite, place))
        case Decline(identity):
            index.declines.setdefault(identity, []).append(record)
        case Rotate(epoch):
            index.rotates.append((record, epoch))
            index.epochs.setdefault(epoch, []).append(record)
        case Seal(epoch, keys):
            recipients = frozenset(index.name(key.recipient) for key in keys)
            index.seals.setdefault(epoch, []).append((record, recipients))
        case Link(epoch, parent):
            index.links.setdefault(epoch, []).append((record, parent))
        case Report(epoch):
            index.reports.setdefault(epoch, []).append(record)


def resolve(channel: bytes, commits: Iterable[ControlCommit]) -> Membership:
    """The membership that a set of commits comes to, in whatever order they are given.

    Raises: UsageError(rule="control_head_unknown") if an ancestor is missing.
    """
    return graph_of(channel, commits).state


def graph_of(channel: bytes, commits: Iterable[ControlCommit]) -> Graph:
    """The same, to be asked about what was known at any point.

    Raises: UsageError(rule="control_head_unknown") if an ancestor is missing.
    """
    graph = Graph(channel)
    waiting: dict[bytes, list[ControlCommit]] = {}
    ready = list(commits)
    while ready:
        commit = ready.pop()
        missing = next((head for head in commit.heads if head not in graph), None)
        if missing is None:
            graph.add(commit)
            ready += waiting.pop(commit.id, ())
        else:
            waiting.setdefault(missing, []).append(commit)
    if waiting:
        raise UsageError("a control commit that is not here", rule="control_head_unknown")
    return graph
