"""By what right a content commit was written (docs/spec/06-membership.md, section 7).

The right is that of its author where they wrote it, less what was taken without their knowing. If what gave it does
not count now, it is what they would have had there without that. It is the same for all commits of a device that name
the same control heads, up to the cuts: so a million of them cost a few lookups.
"""

from __future__ import annotations

from dataclasses import dataclass

from quire.core.control import Role
from quire.core.membership.index import Act, Index, Record
from quire.core.membership.model import refusal
from quire.core.membership.standing import Hindsight
from quire.core.membership.state import Membership


@dataclass(frozen=True, slots=True)
class Limit:
    """Beyond these places of their logs, commits have no more than this role. Logs not named: all."""

    role: Role
    rule: str
    cuts: dict[bytes, int]
    by: Record
    index: Index

    def spares(self, prefix: bytes, seq: int) -> bool:
        """Is this place before the cut? A cut is read as no earlier than what its author shows to have known."""
        return seq <= self.cuts.get(prefix, 0) or seq <= self.index.last_seq(prefix, self.by)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who speaks, in which role."""

    identity: bytes
    role: Role
    policies: Membership  # what stands of those where it was written: what the role may
    limits: tuple[Limit, ...] = ()

    def at(self, prefix: bytes, seq: int) -> Authority:
        """What is left of it at this place. Raises: UnauthorisedError."""
        role = self.role
        for limit in self.limits:
            if not limit.spares(prefix, seq):
                if limit.role is Role.NONE:
                    raise refusal(limit.rule)
                role = min(role, limit.role)
        return self if role is self.role else Authority(self.identity, role, self.policies)

    def may(self, capability: str) -> bool:
        """Does it reach for one of `CAPABILITIES`?"""
        return self.role >= self.policies.least_role(capability)


def authority(now: Membership, then: Membership, index: Index, device: bytes) -> Authority:
    """The right of what a device writes knowing `then`, as far as `now` has left it.

    Raises: UnauthorisedError with rule device_unknown, author_revoked, author_not_member or grant_void.
    """
    identity = then.owner_of(device)
    if not identity:
        raise refusal("device_unknown")
    if then.is_revoked(device):
        raise refusal("author_revoked")
    if then.member(identity) is None:
        raise refusal("author_not_member")
    if then.device(device) is None:
        raise refusal("device_unknown")
    left = Membership(index, Hindsight(now.standing, then.standing), then.heads, then.kind)
    if not now.standing.stands(then.grant(identity).record):
        if left.member(identity) is None:
            raise refusal("grant_void")
        then = left
    grant = then.grant(identity).record
    binding = then.binding_of(device)
    if binding is None or not now.standing.bound(binding):
        raise refusal("device_revoked_before")
    limits = [
        _limit(index, act, act.record, act.cuts)
        for act in now.standing.acts(identity)
        if _takes(now, act, grant)
    ]
    if now.is_revoked(device):
        for record, cuts in index.revocations[device]:
            if now.standing.has(record) and now.standing.revokes(record):
                limits.append(_limit(index, None, record, cuts))
    return Authority(identity, then.role(identity), left, tuple(limits))


def _takes(now: Membership, act: Act, grant: Record) -> bool:
    """Does an act take something that this grant gave?"""
    if not act.lowers or act.record is grant or grant.knows(act.record):
        return False
    return now.standing.holds(act)


def _limit(index: Index, act: Act | None, record: Record, cuts: dict[bytes, int]) -> Limit:
    role = act.role if act else Role.NONE
    rule = (
        "device_revoked_before"
        if act is None
        else "removed_before"
        if role is Role.NONE
        else "role_lowered_before"
    )
    return Limit(role, rule, cuts, record, index)
