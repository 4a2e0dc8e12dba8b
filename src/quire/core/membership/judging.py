"""One control commit, judged at its point: who wrote it, by what right, how strong it is, and what it does.

docs/spec/06-membership.md, sections 3 and 4. The result is a `Record` that never changes.
"""

from __future__ import annotations

from quire.core.control import (
    AddDevice,
    Admit,
    Ask,
    ControlOperation,
    Create,
    Link,
    Remove,
    Report,
    Role,
    Rotate,
    Seal,
    SetRole,
)
from quire.core.limits import DEVICES_PER_MEMBER_MAX
from quire.core.membership import rules
from quire.core.membership.certificates import read_certificate, read_devices
from quire.core.membership.index import Act, Binding, Past, Record, Use
from quire.core.membership.model import ControlCommit, Member
from quire.core.membership.rules import Point
from quire.core.membership.state import Membership

KEYS_ALONE = (Rotate, Seal, Link, Report)


class Judgement:
    """A record and what it enters into the index."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.bindings: list[Binding] = []

    def void(self, rule: str) -> Judgement:
        self.record.rule = rule
        return self


def judge(
    state: Membership, commit: ControlCommit, channel: bytes, past: Past, number: int, newest: int
) -> Judgement:
    """The commit, judged in the membership of its past; `newest` is the greatest time of a valid commit there."""
    record = Record(number, commit.id, commit.device, commit.prefix, commit.seq, commit.time, past, newest)
    judgement = Judgement(record)
    if not commit.heads:
        return _found(judgement, state, commit, channel)
    if rule := _identify(judgement, state, commit):
        return judgement.void(rule)
    author = state.member(record.identity)
    if author is None or record.binding is None:
        return judgement.void("author_not_member")
    record.role = state.role(record.identity)
    record.grant = state.grant(record.identity).record
    record.device_strength = (record.binding.key, commit.time, commit.id)
    if commit.time <= newest:
        return judgement.void("time_not_after")
    point = Point(state, channel, record, author, record.role, record.binding.key, commit.operations)
    uses: list[Use] = []
    for place, operation in enumerate(commit.operations):
        if rule := _check(judgement, point, operation, place, uses):
            return judgement.void(rule)
    record.newest = commit.time
    record.uses = tuple(uses)
    own = (*author.key, record.binding.key)
    record.strength = (*max([own, *(use.invite.record.strength[:3] for use in uses)]), commit.time, commit.id)
    record.acts = tuple(_acts(point, author))
    record.keys_alone = all(isinstance(one, KEYS_ALONE) for one in commit.operations)
    return judgement


def _found(judgement: Judgement, state: Membership, commit: ControlCommit, channel: bytes) -> Judgement:
    """The founding commit: its author is the first owner."""
    record = judgement.record
    create = commit.operations[0]
    if state.heads or not isinstance(create, Create):
        return judgement.void("founded_twice" if state.heads else "create_misplaced")
    if rule := _founders(judgement, commit):
        return judgement.void(rule)
    author = next((one for one in judgement.bindings if one.device == commit.device), None)
    if author is None:
        return judgement.void("certificate_device")
    record.binding, record.identity = author, author.identity
    record.role = record.needs = Role.OWNER
    point = Point(state, channel, record, None, Role.OWNER, author.key, commit.operations)
    for operation in commit.operations[1:]:
        if isinstance(operation, AddDevice):
            continue
        rule = rules.broken(point, operation) if isinstance(operation, rules.FOUNDING) else "create_misplaced"
        if rule:
            return judgement.void(rule)
        if isinstance(operation, Rotate):
            point.rotated.add(operation.epoch)
    record.newest = commit.time
    record.strength = (-Role.OWNER - 1, (0, b"", 0), author.key, commit.time, commit.id)
    record.device_strength = record.strength[2:]
    key = (-Role.OWNER, (commit.time, commit.id, 0))
    record.acts = (Act(record, record.identity, Role.OWNER, False, key, 0, record, {}, False, ()),)
    return judgement


def _founders(judgement: Judgement, commit: ControlCommit) -> str:
    """The rule that the devices of a founding commit break, or nothing. Each after the first is by one before it, so
    that a device which another certified may found a channel, too.
    """
    for place, operation in enumerate(commit.operations):
        if not isinstance(operation, Create | AddDevice):
            continue
        known = {one.device: one for one in judgement.bindings}
        found = read_devices((operation.device,), judgement.record, place, known)
        if isinstance(found, str):
            return found
        if known and found[0].identity != judgement.bindings[0].identity:
            return "device_foreign"
        if found[0].device in known:
            return "device_exists"
        judgement.bindings += found
    return "devices_max" if len(judgement.bindings) > DEVICES_PER_MEMBER_MAX else ""


def _identify(judgement: Judgement, state: Membership, commit: ControlCommit) -> str:
    """Whose device wrote this? A device may also add itself, with a certificate by who may issue one."""
    record = judgement.record
    binding = state.binding(commit.device)
    if binding is not None:
        record.identity = binding.identity
        if state.is_revoked(commit.device):
            return "author_revoked"
        if state.device(commit.device):
            record.binding = state.binding_of(commit.device)
            return ""
        if state.member(record.identity) is None:
            return "author_not_member"
    for place, operation in enumerate(commit.operations):
        if isinstance(operation, AddDevice):
            certificate = read_certificate(operation.device.certificate)
            if not isinstance(certificate, str) and certificate.device == commit.device:
                standing = state.bindings_of(certificate.identity)
                bindings = read_devices((operation.device,), record, place, standing)
                if isinstance(bindings, str):
                    return bindings
                record.binding, record.identity = bindings[0], certificate.identity
                return ""
    return "device_unknown"


def _check(
    judgement: Judgement, point: Point, operation: ControlOperation, place: int, uses: list[Use]
) -> str:
    """The rule an operation breaks, or nothing; and what its certificates, epochs and invites come to."""
    record = point.record
    if isinstance(operation, Admit | Ask | AddDevice):
        is_added = isinstance(operation, AddDevice)
        devices = (operation.device,) if isinstance(operation, AddDevice) else operation.devices
        found = read_devices(
            devices, record, place, point.state.bindings_of(point.identity) if is_added else {}
        )
        if isinstance(found, str):
            return found
        point.bindings = found
    record.needs = max(record.needs, point.needed(operation))
    if rule := rules.broken(point, operation):
        return rule
    if isinstance(operation, Admit | AddDevice):
        judgement.bindings += point.bindings
    if isinstance(operation, Rotate):
        point.rotated.add(operation.epoch)
    if person := point.person(operation):
        point.people.add(person)
    if isinstance(operation, Admit) and (invite := point.invite(operation)):
        uses.append(Use(record, point.person(operation), invite))
    return ""


def _acts(point: Point, author: Member) -> list[Act]:
    """What the commit does to people, now that its strength is known."""
    record = point.record
    weight = -record.strength[0]
    acts = []
    for place, operation in enumerate(point.operations):
        if not isinstance(operation, Admit | SetRole | Remove):
            continue
        cuts = {} if isinstance(operation, Admit) else {cut.prefix: cut.seq for cut in operation.cuts}
        if isinstance(operation, Remove):
            act = Act(record, operation.identity, Role.NONE, True, (), 0, None, cuts, operation.ban, ())
        else:
            role = Role(operation.role)
            key = (-min(role, weight), (record.time, record.id, place))
            if isinstance(operation, Admit):
                certificate = read_certificate(operation.devices[0].certificate)
                assert not isinstance(certificate, str)
                ended = point.state.ended(certificate.identity)
                act = Act(
                    record,
                    certificate.identity,
                    role,
                    False,
                    key,
                    operation.history,
                    record,
                    cuts,
                    False,
                    ended,
                )
            else:
                target = point.state.member(operation.identity)
                assert target is not None
                admitted = point.state.grant(operation.identity).admitted
                lowers = role < target.role
                ended = point.state.ended(operation.identity)
                act = Act(
                    record,
                    operation.identity,
                    role,
                    lowers,
                    key,
                    target.history,
                    admitted,
                    cuts,
                    False,
                    ended,
                )
        acts.append(act)
    return acts
