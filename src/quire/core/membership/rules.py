"""The rules that a control commit is judged by at its point: one named function for each clause.

A function returns True if its rule is broken, and the rule has its name. `RULES` is the order for each kind of
operation (docs/spec/06-membership.md, section 3). The point is what the commit's author knew: the membership of
the commit's past. So the verdict never changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quire.core import limits
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
from quire.core.membership.capabilities import least_outranking, outranks
from quire.core.membership.certificates import proves
from quire.core.membership.index import Binding, InviteAct, Record
from quire.core.membership.model import Key, Member, no_wider
from quire.core.membership.state import Membership


@dataclass(slots=True)
class Point:
    """Where a commit was written, by whom, and what its operations before this one were."""

    state: Membership  # of the commit's past
    channel: bytes
    record: Record
    author: Member | None  # None: the founding commit
    role: Role
    device_key: Key
    operations: tuple[ControlOperation, ...]
    bindings: list[Binding] = field(default_factory=list)  # what this operation's certificates say
    people: set[bytes] = field(default_factory=set)  # whom the operations before were about
    rotated: set[bytes] = field(default_factory=set)  # epochs that this commit begins

    @property
    def identity(self) -> bytes:
        return self.record.identity

    def person(self, operation: ControlOperation) -> bytes:
        """Whom an operation is about; empty if it is about no one."""
        match operation:
            case Admit() | Ask():
                return self.bindings[0].identity
            case SetRole(identity) | Remove(identity) | Unban(identity) | Decline(identity):
                return identity
        return b""

    def invite(self, operation: Any) -> InviteAct | None:
        """The invite that an operation names."""
        key = operation.key if isinstance(operation, Uninvite) else operation.invite
        return self.state.invite_act(key)

    def needed(self, operation: ControlOperation) -> Role:
        """The least role that may do this."""
        least = self.state.least_role
        match operation:
            case Admit(role=role, invite=invite):
                return least("invite") if invite else max(least("invite"), Role(role))
            case SetRole(identity, role) if identity != self.identity:
                return max(least("set_role"), Role(role), self._above(identity))
            case Remove(identity) if identity != self.identity:
                return max(least("remove"), self._above(identity))
            case Invite(role=role):
                return max(least("invite"), Role(role))
            case Uninvite(key) if (
                act := self.state.invite_act(key)
            ) and act.record.identity == self.identity:
                return Role.GUEST
            case Uninvite() | Decline():
                return least("invite")
            case Unban():
                return least("unban")
            case Policy():
                return least("policy")
            case Ask():
                return least("ask")
            case Rotate() | Seal() | Link():
                return least("rotate")
        return Role.GUEST

    def _above(self, identity: bytes) -> Role:
        target = self.state.member(identity)
        if target is None or self.author is None:
            return Role.NONE
        return least_outranking(self.state.role(identity), self.author.key < target.key)


Rule = Callable[[Point, Any], bool]


def self_channel(point: Point, operation: ControlOperation) -> bool:
    """The self-channel has one person: nobody comes, goes or gets a role."""
    return point.state.kind == "self"


def person_twice(point: Point, operation: ControlOperation) -> bool:
    """A commit stands or falls as a whole, so it does one thing to a person at most."""
    return point.person(operation) in point.people


def member_exists(point: Point, operation: ControlOperation) -> bool:
    return point.state.member(point.person(operation)) is not None


def member_banned(point: Point, operation: ControlOperation) -> bool:
    return point.state.is_banned(point.person(operation))


def member_unknown(point: Point, operation: SetRole | Remove) -> bool:
    """Only who is in gets another role or is put out; one can be banned beforehand."""
    is_ban = isinstance(operation, Remove) and operation.ban
    return not is_ban and point.state.member(operation.identity) is None


def already_banned(point: Point, operation: Remove) -> bool:
    is_out = point.state.member(operation.identity) is None
    return is_out and point.state.is_banned(operation.identity)


def not_banned(point: Point, operation: Unban) -> bool:
    return not point.state.is_banned(operation.identity)


def role_too_low(point: Point, operation: ControlOperation) -> bool:
    return point.role < point.needed(operation)


def not_outranked(point: Point, operation: SetRole | Remove) -> bool:
    """One acts only on oneself and on whom one outranks."""
    target = point.state.member(operation.identity)
    if target is None or operation.identity == point.identity or point.author is None:
        return False
    target_role = point.state.role(operation.identity)
    return not outranks(point.role, point.author.key, target_role, target.key)


def role_same(point: Point, operation: SetRole) -> bool:
    target = point.state.member(operation.identity)
    return target is not None and target.role == operation.role


def role_raised_by_oneself(point: Point, operation: SetRole) -> bool:
    return (
        operation.identity == point.identity
        and point.author is not None
        and operation.role > point.author.role
    )


def rotation_missing(point: Point, operation: Remove | RevokeDevice) -> bool:
    """Who puts someone else out changes the key with the same commit, once there is one, if they may."""
    if isinstance(operation, Remove):
        is_needed = (
            operation.identity != point.identity and point.state.member(operation.identity) is not None
        )
    else:
        is_needed = operation.device != point.record.device and point.role >= point.state.least_role("rotate")
    return (
        is_needed
        and len(point.state.epochs) > 0
        and not any(isinstance(one, Rotate) for one in point.operations)
    )


def members_max(point: Point, operation: Admit) -> bool:
    if point.state.people_at_most < limits.MEMBERS_MAX:
        return False
    return len(point.state.members) >= limits.MEMBERS_MAX


def device_taken(point: Point, operation: ControlOperation) -> bool:
    """A device is one person's for ever."""
    owners = ((one, point.state.owner_of(one.device)) for one in point.bindings)
    return any(owner not in (b"", one.identity) for one, owner in owners)


def device_revoked(point: Point, operation: ControlOperation) -> bool:
    """A revoked device does not come back; the machine makes itself new keys."""
    return any(point.state.is_revoked(one.device) for one in point.bindings)


def device_foreign(point: Point, operation: AddDevice | RevokeDevice) -> bool:
    """Nobody adds or revokes another person's device."""
    if isinstance(operation, AddDevice):
        return point.bindings[0].identity != point.identity
    assert point.author is not None
    return operation.device not in point.author.devices


def device_exists(point: Point, operation: AddDevice) -> bool:
    """A standing device is added again to raise it, by a certificate that is senior to what it has, or because who issued
    that has ended, by one that leads from the identity to it."""
    assert point.author is not None
    binding = point.bindings[0]
    standing = point.author.devices.get(binding.device)
    if standing is None or (binding.issued_by is None and binding.key < standing.key):
        return False
    rooted = point.state.rooted(point.author.identity)
    return binding.device in rooted or binding.issuer not in rooted


def devices_max(point: Point, operation: AddDevice) -> bool:
    assert point.author is not None
    devices = point.author.devices
    return len(devices) >= limits.DEVICES_PER_MEMBER_MAX and point.bindings[0].device not in devices


def device_senior(point: Point, operation: RevokeDevice) -> bool:
    """A device revokes itself and those it outranks."""
    assert point.author is not None
    return point.author.devices[operation.device].key < point.device_key


def history_too_wide(point: Point, operation: Admit | Invite) -> bool:
    """Nobody is shown more of the past than the channel's policy says; an invite answers for itself."""
    if isinstance(operation, Admit) and operation.invite:
        return False
    return not no_wider(operation.history, point.state.policy("history"))


def invite_exists(point: Point, operation: Invite) -> bool:
    return point.state.invite_act(operation.key) is not None


def invite_unknown(point: Point, operation: Admit | Ask | Uninvite) -> bool:
    is_needed = not isinstance(operation, Admit) or operation.invite != b""
    return is_needed and point.invite(operation) is None


def invite_withdrawn(point: Point, operation: Admit | Ask | Uninvite) -> bool:
    key = operation.key if isinstance(operation, Uninvite) else operation.invite
    return key != b"" and point.state.is_withdrawn(key)


def invite_expired(point: Point, operation: Admit | Ask) -> bool:
    invite = point.invite(operation)
    return invite is not None and 0 < invite.expires_ms < point.record.time >> 16


def invite_proof(point: Point, operation: Admit | Ask) -> bool:
    """The person proved to hold the invite, for this channel and themselves: it cannot be lifted from another's."""
    if not operation.invite:
        return False
    return not proves(operation.invite, operation.proof, point.channel, point.person(operation))


def invite_personal(point: Point, operation: Admit | Ask) -> bool:
    """A personal invite is of no use to whom it was forwarded."""
    invite = point.invite(operation)
    return invite is not None and invite.identity not in (b"", point.person(operation))


def invite_role(point: Point, operation: Admit) -> bool:
    invite = point.invite(operation)
    return invite is not None and operation.role > invite.role


def invite_history(point: Point, operation: Admit) -> bool:
    invite = point.invite(operation)
    return invite is not None and not no_wider(operation.history, invite.history)


def invite_replayed(point: Point, operation: Admit) -> bool:
    """Who was removed does not come in again by the invite they came by."""
    return operation.invite != b"" and point.person(operation) in point.state.used(operation.invite)


def invite_used_up(point: Point, operation: Admit) -> bool:
    invite = point.invite(operation)
    return invite is not None and 0 < invite.uses <= len(point.state.used(invite.key))


def invite_needs_no_approval(point: Point, operation: Ask) -> bool:
    invite = point.invite(operation)
    return invite is not None and not invite.approval


def ask_exists(point: Point, operation: Ask) -> bool:
    """The same request is passed on once."""
    ask = point.state.ask(point.person(operation))
    return ask is not None and ask[0] == operation.invite


def nobody_asked(point: Point, operation: Decline) -> bool:
    return point.state.ask(operation.identity) is None


def epoch_exists(point: Point, operation: Rotate) -> bool:
    return operation.epoch in point.rotated or operation.epoch in point.state.epochs


def epoch_unknown(point: Point, operation: Seal | Link | Report) -> bool:
    named = (operation.epoch, operation.parent) if isinstance(operation, Link) else (operation.epoch,)
    return any(epoch not in point.rotated and epoch not in point.state.epochs for epoch in named)


def create_misplaced(point: Point, operation: Create) -> bool:
    """A channel is created once."""
    return True


RULES: dict[type, tuple[Rule, ...]] = {
    Create: (create_misplaced,),
    Admit: (
        self_channel, person_twice, role_too_low, member_exists, member_banned, members_max, device_taken,
        device_revoked, history_too_wide, invite_unknown, invite_withdrawn, invite_expired, invite_proof,
        invite_personal, invite_role, invite_history, invite_replayed, invite_used_up,
    ),
    SetRole: (
        self_channel, person_twice, member_unknown, role_raised_by_oneself, not_outranked, role_too_low, role_same,
    ),
    Remove: (
        self_channel, person_twice, member_unknown, already_banned, not_outranked, role_too_low, rotation_missing,
    ),
    Unban: (self_channel, person_twice, role_too_low, not_banned),
    AddDevice: (device_foreign, device_taken, device_revoked, device_exists, devices_max),
    RevokeDevice: (device_foreign, device_senior, rotation_missing),
    Policy: (role_too_low,),
    Invite: (self_channel, role_too_low, invite_exists, history_too_wide),
    Uninvite: (self_channel, role_too_low, invite_unknown, invite_withdrawn),
    Ask: (
        self_channel, person_twice, role_too_low, member_exists, member_banned, device_taken, device_revoked,
        invite_unknown, invite_withdrawn, invite_expired, invite_proof, invite_personal, invite_needs_no_approval,
        ask_exists,
    ),
    Decline: (self_channel, person_twice, role_too_low, nobody_asked),
    Rotate: (role_too_low, epoch_exists),
    Seal: (role_too_low, epoch_unknown),
    Link: (role_too_low, epoch_unknown),
    Report: (epoch_unknown,),
}  # fmt: skip
FOUNDING = (Policy, Rotate, Seal, Link)  # what may stand beside Create


def broken(point: Point, operation: ControlOperation) -> str:
    """The first rule that an operation breaks; empty if none."""
    return next((rule.__name__ for rule in RULES[type(operation)] if rule(point, operation)), "")
