"""What stands in a set of commits: the recursion of docs/spec/06-membership.md, sections 4 to 6.

Four questions refer to each other: is a device's certificate good (`_bound`), did its device have the right to
write a commit (`_by_device`), does the commit stand (`_stands`), does something that was taken stay taken
(`_holds`). Each asks only about what is stronger than what it was asked about, so they end. They are generators
that yield the question they need answered: `_solve` keeps the stack, because a chain of a thousand invitations
would be deeper than Python's.

Where everything later has a commit in its past, nothing later changes what that commit's past comes to. Up to
there (`floor`) answers are kept from one set to the next (`settled`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from quire.core.control import Role
from quire.core.membership.index import Act, Binding, Index, Past, Record, Void
from quire.core.membership.model import Key

Question = tuple[str, Any]
Asking = Generator[Question, Any, Any]
Settled = dict[int, Void | None]  # by number


class Standing:
    """Answers for one set of commits, given as a `Past`."""

    def __init__(
        self, index: Index, within: Past, floor: int, settled: Settled, forks: dict[bytes, int]
    ) -> None:
        self._index = index
        self._within = within
        self._floor = -1 if forks else floor  # forks told from outside change what was settled
        self._settled = settled
        self._forks = forks
        self._known: dict[tuple[str, int], Any] = {}

    def has(self, record: Record) -> bool:
        """Is the record one of the set?"""
        return self._within.holds(record.number)

    def stands(self, record: Record) -> bool:
        return self.void(record) is None

    def void(self, record: Record) -> Void | None:
        """Why a record does not stand, if it does not."""
        if record.number in self._settled and record.number <= self._floor:
            return self._settled[record.number]
        void: Void | None = self._solve(("stands", record))
        return void

    def holds(self, act: Act) -> bool:
        """Does a taking act stand, with no stronger concurrent grant of the same person that stands?"""
        return bool(self._solve(("holds", act)))

    def bound(self, binding: Binding) -> bool:
        """Did the issuer of a certificate have the right?"""
        return self._solve(("bound", binding)) is None

    def revokes(self, record: Record) -> bool:
        """Does a revocation count? Only devices decide: it is a person's word about their own."""
        return self._solve(("by_device", record)) is None

    def acts(self, identity: bytes, since: int = 0) -> Iterator[Act]:
        """Acts about a person in the set, latest first, not those numbered below `since`."""
        for act in reversed(self._index.about.get(identity, ())):
            if act.record.number < since:
                return
            if self.has(act.record):
                yield act

    def _solve(self, question: Question) -> Any:
        known, rules = self._known, self._rules
        name = (question[0], id(question[1]))
        if name in known:
            return known[name]
        stack: list[tuple[tuple[str, int], Asking]] = [(name, rules[question[0]](self, question[1]))]
        answer: Any = None
        while stack:
            name, asking = stack[-1]
            try:
                kind, about = asking.send(answer)
            except StopIteration as done:
                answer = known[name] = done.value
                stack.pop()
                continue
            name = (kind, id(about))
            if name in known:
                answer = known[name]
            else:
                stack.append((name, rules[kind](self, about)))
                answer = None
        return answer

    # Devices: docs/spec/06-membership.md, section 4.

    def _revoked(self, device: bytes, at: Record, strength: tuple[Any, ...]) -> Asking:
        """The revocation that ends what this device did in `at`."""
        ends = [
            record
            for record, _ in self._index.revocations.get(device, ())
            if self.has(record)
            and record is not at
            and not record.knows(at)
            and record.device_strength < strength
        ]
        for record in sorted(ends, key=_device_strength):
            if (yield "by_device", record) is None:
                return Void("device_revoked_before", record)
        return None

    def _bound(self, binding: Binding) -> Asking:
        issuer = binding.issued_by
        if issuer is None:
            return None
        if void := (yield "bound", issuer):
            return void
        at = binding.record
        return (yield from self._revoked(issuer.device, at, (issuer.key, at.time, at.id)))

    def _by_device(self, record: Record) -> Asking:
        assert record.binding is not None
        if void := (yield "bound", record.binding):
            return void
        return (yield from self._revoked(record.device, record, record.device_strength))

    # Commits: sections 5 and 6.

    def _stands(self, record: Record) -> Asking:
        if record.number > self._floor:
            return (yield from self._judge(record))
        if record.number not in self._settled:
            self._settled[record.number] = yield from self._judge(record)
        return self._settled[record.number]

    def _judge(self, record: Record) -> Asking:
        if record.rule:
            return Void(record.rule, None)
        if record.grant is None:
            return None  # the founding commit
        if void := (yield "by_device", record):
            return void
        if (yield "stands", record.grant) and not (yield from self._may_still(record)):
            return Void("grant_void", record.grant)
        if (yield from self._forked(record)):
            return Void("forked", None)
        takers = [act for act in self.acts(record.identity, record.grant.past.base) if cuts(act, record)]
        for act in sorted(takers, key=_act_strength):
            if (yield "holds", act):
                return Void("removed_before" if act.role is Role.NONE else "role_lowered_before", act.record)
        return (yield from self._invites(record))

    def _may_still(self, record: Record) -> Asking:
        """Had the author of what is about keys alone the right to it also without the grant that is void?

        Nothing that this asks about asks about such a commit: its own grants, and removals, are of its past.
        """
        if not record.keys_alone:
            return False
        ends: list[Record] = []
        for act in self._index.removals.get(record.identity, ()):
            if record.knows(act.record) and (yield "holds", act):
                ends.append(act.record)  # noqa: PERF401 - a generator that asks
        grants: list[Act] = []
        for act in self.acts(record.identity):
            past = act.role is not Role.NONE and record.knows(act.record)
            if past and all(map(act.record.knows, ends)) and (yield "stands", act.record) is None:
                grants.append(act)
        last = [act for act in grants if not any(other.replaces(act) for other in grants)]
        grant = min(last, key=_act_strength, default=None)
        return grant is not None and grant.role >= record.needs

    def _holds(self, act: Act) -> Asking:
        if (yield "stands", act.record):
            return False
        for other in self.acts(act.identity, since=act.record.past.base):
            beats = other.role is not Role.NONE and other.record.strength < act.record.strength
            concurrent = not act.record.knows(other.record) and not other.record.knows(act.record)
            if beats and concurrent and (yield "stands", other.record) is None:
                return False
        return True

    def _invites(self, record: Record) -> Asking:
        """An admission needs its invite to stand, not to be withdrawn by someone stronger, and a use of it."""
        for use in record.uses:
            key = use.invite.key
            if (yield "stands", use.invite.record):
                return Void("invite_void", use.invite.record)
            withdrawn = [
                other
                for other in self._index.uninvites.get(key, ())
                if self.has(other) and not other.knows(record) and other.strength < record.strength
            ]
            for other in sorted(withdrawn, key=_strength):
                if (yield "stands", other) is None:
                    return Void("invite_withdrawn", other)
            if use.invite.uses and (
                void := (yield from self._used_up(record, use.identity, use.invite.uses, key))
            ):
                return void
        return None

    def _used_up(self, record: Record, identity: bytes, uses: int, key: bytes) -> Asking:
        """Concurrent admissions by one invite: the stronger first, each with those its author had seen."""
        rivals = []
        for other in reversed(self._index.uses.get(key, ())):
            if other.record.number < record.past.base:
                break
            stronger = self.has(other.record) and other.record.strength < record.strength
            concurrent = not record.knows(other.record) and not other.record.knows(record)
            if stronger and concurrent and (yield "stands", other.record) is None:
                rivals.append(other.record)
        if not rivals:
            return None
        spent = {
            other.identity
            for other in self._index.uses[key]
            if record.knows(other.record)
            or other.record in rivals
            or any(rival.knows(other.record) for rival in rivals)
        }
        return Void("invite_used_up", min(rivals, key=_strength)) if len(spent - {identity}) >= uses else None

    def _forked(self, record: Record) -> Asking:
        """Does this log have, here or earlier, two commits in one place, and nobody had ended it before that?"""
        seen = [
            [one for one in at if self.has(one)] for at in self._index.log_forks(record.prefix, record.seq)
        ]
        forks = [at for at in seen if len(at) > 1]
        if self._forks.get(record.prefix, record.seq + 1) <= record.seq:
            forks.append([])  # content commits: who ended the log had not to know of them
        for at in forks:
            if not (yield from self._closed(record, at)):
                return True
        return False

    def _closed(self, record: Record, fork: list[Record]) -> Asking:
        """Was the author removed, or the device revoked, by someone stronger who knew this but not the fork?"""

        def before_fork(end: Record) -> bool:
            return end.knows(record) and sum(end.knows(one) for one in fork) < 2

        for act in self.acts(record.identity):
            ends = act.role is Role.NONE and before_fork(act.record) and act.record.strength < record.strength
            if ends and (yield "holds", act):
                return True
        for end, _ in self._index.revocations.get(record.device, ()):
            ends = self.has(end) and before_fork(end) and end.device_strength < record.device_strength
            if ends and (yield "by_device", end) is None:
                return True
        return False

    _rules: Mapping[str, Callable[[Standing, Any], Asking]] = {
        "bound": _bound, "by_device": _by_device, "stands": _stands, "holds": _holds,
    }  # fmt: skip


class Hindsight(Standing):
    """A set of commits as it is seen from a larger one: what of it stands, and holds, there."""

    def __init__(self, now: Standing, then: Standing) -> None:
        super().__init__(now._index, then._within, -1, {}, {})
        self._now = now

    def void(self, record: Record) -> Void | None:
        return self._now.void(record)

    def holds(self, act: Act) -> bool:
        return self._now.holds(act)

    def bound(self, binding: Binding) -> bool:
        return self._now.bound(binding)

    def revokes(self, record: Record) -> bool:
        return self._now.revokes(record)


def _strength(record: Record) -> Key:
    return record.strength


def _device_strength(record: Record) -> Key:
    return record.device_strength


def _act_strength(act: Act) -> Key:
    return act.record.strength


def cuts(act: Act, record: Record) -> bool:
    """Does this act, if it holds, end what its person did in `record`?"""
    taker = act.record
    if not act.lowers or taker is record or taker is record.grant or not taker.strength < record.strength:
        return False
    assert record.grant is not None
    if taker.knows(record) or record.grant.knows(taker):
        return False
    return act.role < record.needs or act.role is Role.NONE
