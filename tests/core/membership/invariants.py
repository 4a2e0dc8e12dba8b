"""What must hold in every history, one named function a clause of docs/spec/06-membership.md, section 9.

They look at a graph from outside: pasts are found here anew, from the heads that commits name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property

from quire.core.control import Remove, RevokeDevice, Role
from quire.core.membership import ControlCommit, Graph, Membership, Verdict, outranks, resolve
from quire.core.membership.index import Record
from tests.core.membership.people import CHANNEL, id_of


class History:
    """Commits, founding one first, and the graph that they came to."""

    def __init__(self, commits: Iterable[ControlCommit], graph: Graph, creator: str = "Alice") -> None:
        self.commits = {commit.id: commit for commit in commits}
        self.graph = graph
        self.creator = id_of(creator)

    @cached_property
    def state(self) -> Membership:
        return self.graph.state

    @cached_property
    def verdicts(self) -> dict[bytes, Verdict]:
        return {one.id: one for one in self.state.story}

    @cached_property
    def standing(self) -> set[bytes]:
        return {id for id, one in self.verdicts.items() if one.standing}

    @cached_property
    def pasts(self) -> dict[bytes, set[bytes]]:
        found: dict[bytes, set[bytes]] = {}
        for id, commit in self.commits.items():
            found[id] = set(commit.heads).union(*(found[head] for head in commit.heads))
        return found

    def record(self, id: bytes) -> Record:
        return self.graph._records[id]

    def without(self, id: bytes) -> Membership:
        return resolve(CHANNEL, [one for one in self.commits.values() if one.id != id])


def creator_is_in_unless_they_left(history: History) -> None:
    """9.4: nobody outranks them, so nobody puts them out."""
    left = any(
        isinstance(operation, Remove) and operation.identity == history.creator
        for id in history.standing
        for operation in history.commits[id].operations
    )
    assert (history.creator in history.state.members) != left
    for id in history.standing:
        for act in history.record(id).acts:
            theirs = act.identity == history.creator and act.lowers
            assert not theirs or history.record(id).identity == history.creator


def grants_lead_to_the_founding(history: History) -> None:
    """5.1: who gave a role had theirs from a standing act, and so on, each stronger than the next, up to Create."""
    founding = next(iter(history.commits))
    for identity in history.state.members:
        record = history.state.grant(identity).record
        while record.grant is not None:
            assert record.id in history.standing
            assert record.grant.strength < record.strength
            record = record.grant
        assert record.id == founding


def removed_do_nothing_the_remover_had_not_seen(history: History) -> None:
    """9.3: what they wrote outside the removal's past has no effect, but after being let in again, or as a senior."""
    for identity in history.state.everybody:
        for removal in history.state.removals(identity):
            taker = removal.record
            for id in history.standing - history.pasts[taker.id] - {taker.id}:
                record = history.record(id)
                if record.identity == identity:
                    let_in_again = record.grant is not None and taker.id in history.pasts[record.grant.id]
                    assert let_in_again or record.strength < taker.strength


def nobody_in_by_who_was_out(history: History) -> None:
    """5.1: members whom only a void commit let in, or gave their role, are not members."""
    for member in history.state.members.values():
        assert history.state.grant(member.identity).record.id in history.standing
        ended = [one.record.id for one in history.state.removals(member.identity)]
        assert all(one in history.pasts[history.state.grant(member.identity).record.id] for one in ended)


def only_who_outranks_takes(history: History) -> None:
    """3.2: each standing act against another was by who outranked them there, and gave no more than they had."""
    for id in history.standing:
        record = history.record(id)
        for act in record.acts:
            if not record.grant or act.identity == record.identity:
                continue
            assert act.role <= record.role
            before = history.graph.at(history.commits[id].heads)
            if act.lowers:
                author, target = before.member(record.identity), before.member(act.identity)
                assert author is not None
                assert target is not None
                theirs = before.role(target.identity)
                assert outranks(before.role(author.identity), author.key, theirs, target.key)


def what_was_overruled_is_told(history: History) -> None:
    """7.4: what was valid at its point and is void is contested, and says what made it so."""
    for verdict in history.verdicts.values():
        at_its_point = history.record(verdict.id).rule
        if verdict.standing:
            assert not verdict.rule
        elif at_its_point:
            assert (verdict.rule, verdict.by, verdict.contested) == (at_its_point, b"", False)
        else:
            assert verdict.contested
            assert verdict.rule == "forked" or verdict.by in history.commits
            if verdict.rule in ("removed_before", "role_lowered_before", "invite_withdrawn"):
                assert verdict.by in history.standing
                assert history.record(verdict.by).strength < history.record(verdict.id).strength


def somebody_owns_it(history: History) -> None:
    """2.4: while anybody is in, somebody has an owner's capabilities; one acts as owner only if nobody is."""
    state = history.state
    owners = [one for one in state.members.values() if one.role is Role.OWNER]
    if owners:
        assert state.acting_owner is None
    else:
        assert state.acting_owner in (state.members or {None})


def void_commits_do_nothing(history: History) -> None:
    """9.5: without a void commit that nobody knows everything is as with it: what it would have voided stands.

    A revocation is a person's word about their own device, and counts even where they may do nothing else (4.2).
    """
    for id in history.graph.heads:
        revokes = any(isinstance(one, RevokeDevice) for one in history.commits[id].operations)
        used = any(use.invite for use in history.record(id).uses)  # 5.4: a use stays used
        if id in history.standing or revokes or used:
            continue
        assert outcome(history.without(id)) == outcome(history.state, but=id)


def outcome(state: Membership, but: bytes = b"") -> object:
    """Who is what, and what became of each commit."""
    people = {who: (m.role, m.since, m.admitted, m.key, tuple(m.devices)) for who, m in state.members.items()}
    return people, state.banned, [(one.id, one.standing, one.rule) for one in state.story if one.id != but]


def wrongful_commits_are_as_if_never_written(history: History) -> None:
    """1.3, 3.1: without all that was void at its point, and with who named it naming what it named, all is the same."""
    wrongful = {id for id in history.commits if history.record(id).rule}
    if not wrongful:
        return
    named: dict[bytes, tuple[bytes, ...]] = {}
    rest = []
    for id, commit in history.commits.items():
        heads = tuple(dict.fromkeys(one for head in commit.heads for one in named[head]))
        named[id] = heads if id in wrongful else (id,)
        if id not in wrongful:
            rest.append(replace(commit, heads=heads))
    whole = outcome(history.state)
    story = [(one.id, one.standing, one.rule) for one in history.state.story if one.id not in wrongful]
    assert outcome(resolve(CHANNEL, rest)) == (*whole[:2], story)  # type: ignore[index]


INVARIANTS: tuple[Callable[[History], None], ...] = (
    creator_is_in_unless_they_left, grants_lead_to_the_founding, removed_do_nothing_the_remover_had_not_seen,
    nobody_in_by_who_was_out, only_who_outranks_takes, what_was_overruled_is_told, somebody_owns_it,
    void_commits_do_nothing, wrongful_commits_are_as_if_never_written,
)  # fmt: skip


def check_invariants(history: History) -> None:
    for invariant in INVARIANTS:
        invariant(history)
