"""The membership that a set of control commits comes to (docs/spec/06-membership.md, sections 7 and 8).

A `Membership` never changes. It looks at the commits that a question is about, when it is asked, and remembers
the answer; the next one, after a commit that knew all of this, begins with what is remembered here and that
commit does not touch. So one more commit in ten thousand costs as much as in ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType

from quire.core.control import POLICIES, Role
from quire.core.membership.capabilities import least_role
from quire.core.membership.certificates import info_of
from quire.core.membership.epochs import Epochs
from quire.core.membership.index import Act, Binding, Index, InviteAct, Record
from quire.core.membership.model import DeviceInfo, InviteInfo, Key, Member, Verdict
from quire.core.membership.standing import Standing


class Membership:
    """Who is here, what they may do, and the channel's keys."""

    def __init__(self, index: Index, standing: Standing, heads: tuple[bytes, ...], kind: str) -> None:
        self.heads = heads
        self.kind = kind
        self.standing = standing
        self._index = index
        self._members: dict[bytes, Member | None] = {}
        self._grants: dict[bytes, Act] = {}
        self._bindings: dict[bytes, Binding | None] = {}

    def inherit(self, before: Membership, touched: Iterable[bytes]) -> None:
        """Take over what another has found out about all but some people."""
        self._members, self._grants = dict(before._members), dict(before._grants)
        for identity in touched:
            self._members.pop(identity, None)
            self._grants.pop(identity, None)

    # People.

    @property
    def members(self) -> Mapping[bytes, Member]:
        """Everyone who is in."""
        everyone = ((identity, self.member(identity)) for identity in list(self._index.about))
        return MappingProxyType({identity: member for identity, member in everyone if member})

    @property
    def everybody(self) -> list[bytes]:
        """Everyone who was ever let in, put out or given a role."""
        return list(self._index.about)

    def member(self, identity: bytes) -> Member | None:
        """A person who is in; None for anyone else."""
        if identity not in self._members:
            self._members[identity] = self._find(identity)
        return self._members[identity]

    def role(self, identity: bytes) -> Role:
        """What a person may do here: their role, or that of an owner for the most senior if there is no owner."""
        member = self.member(identity)
        if member is None:
            return Role.NONE
        return Role.OWNER if self.acting_owner == identity else member.role

    def may(self, identity: bytes, capability: str) -> bool:
        """Has a person one of the capabilities of `CAPABILITIES`?"""
        return self.role(identity) >= self.least_role(capability)

    def least_role(self, capability: str) -> Role:
        """The least role that has this capability here."""
        return least_role(capability, self.policy)

    @cached_property
    def acting_owner(self) -> bytes | None:
        """Who counts as owner because nobody is; None while somebody is."""
        owners = (self.member(identity) for identity in self._index.owners)
        if any(member and member.role is Role.OWNER for member in owners):
            return None
        return (
            min(self.members.values(), key=lambda member: (-member.role, member.key)).identity
            if self.members
            else None
        )

    def grant(self, identity: bytes) -> Act:
        """The act that made a member what they are."""
        assert self.member(identity)
        return self._grants[identity]

    def _find(self, identity: bytes) -> Member | None:
        alive = self._alive(identity)
        if not alive:
            return None
        last = [act for act in alive if not any(other.replaces(act) for other in alive)]
        grant = min(last, key=lambda act: act.record.strength)
        self._grants[identity] = grant
        assert grant.admitted is not None
        return Member(
            identity, grant.role, grant.record.time, grant.admitted.id, grant.history,
            MappingProxyType({device: info_of(one) for device, one in self._devices(identity).items()}), grant.key,
        )  # fmt: skip

    def _alive(self, identity: bytes) -> list[Act]:
        """Grants that stand and that no removal has ended. Those that one of them certainly replaces are left out."""
        # All removals: one may be in the past of a newer grant, and yet end an older one that did not know it.
        removals = self.removals(identity)
        least = max((removal.record.past.base for removal in removals), default=0)
        grants: list[Act] = []
        for act in self.standing.acts(identity):
            if act.record.number < least:
                break
            if act.role is not Role.NONE and self.standing.stands(act.record):
                grants.append(act)
                if all(self.standing.holds(removal) for removal in self._acts_of(act.ended, identity)):
                    least = max(least, act.record.past.base)
        return [act for act in grants if all(act.record.knows(removal.record) for removal in removals)]

    def ended(self, identity: bytes) -> tuple[Record, ...]:
        """The latest removals of a person that hold."""
        records = [act.record for act in self.removals(identity)]
        return tuple(one for one in records if not any(other.knows(one) for other in records))

    def _acts_of(self, records: tuple[Record, ...], identity: bytes) -> list[Act]:
        return [act for record in records for act in record.acts if act.identity == identity]

    def removals(self, identity: bytes) -> list[Act]:
        """The removals of a person that hold."""
        acts = self._index.removals.get(identity, ())
        return [act for act in acts if self.standing.has(act.record) and self.standing.holds(act)]

    @property
    def people_at_most(self) -> int:
        """No more people can be in than this."""
        return len(self._index.about)

    @property
    def banned(self) -> frozenset[bytes]:
        """Who may not be let in."""
        return frozenset(identity for identity in self._index.about if self.is_banned(identity))

    def is_banned(self, identity: bytes) -> bool:
        unbans = [
            record
            for record in self._index.unbans.get(identity, ())
            if self.standing.has(record) and self.standing.stands(record)
        ]
        return any(
            act.ban and not any(unban.knows(act.record) for unban in unbans)
            for act in self.removals(identity)
        )

    # Devices.

    def owner_of(self, device: bytes) -> bytes:
        """Whose device this is or was; empty if nobody's."""
        binding = self.binding(device)
        return binding.identity if binding else b""

    def binding(self, device: bytes) -> Binding | None:
        """The certificate by which a device is somebody's: the most senior; of two people, the earlier one's."""
        if device not in self._bindings:
            self._bindings[device] = self._find_binding(device)
        return self._bindings[device]

    def _find_binding(self, device: bytes) -> Binding | None:
        bindings = [
            binding
            for binding in self._index.bindings.get(device, ())
            if self.standing.has(binding.record) and self.standing.bound(binding)
        ]
        if not bindings:
            return None
        first = min(bindings, key=lambda binding: (binding.record.time, binding.record.id, binding.place))
        return min((one for one in bindings if one.identity == first.identity), key=_seniority)

    def binding_of(self, device: bytes) -> Binding | None:
        """The binding that makes a device stand now."""
        return self.bindings_of(self.owner_of(device)).get(device)

    def bindings_of(self, identity: bytes) -> dict[bytes, Binding]:
        """The bindings of a member's standing devices."""
        return self._devices(identity) if self.member(identity) else {}

    def is_revoked(self, device: bytes) -> bool:
        """Has a revocation ended this device, and no more senior certificate that it did not know saved it?"""
        binding = self.binding(device)
        return any(
            self.standing.revokes(record) and not _saved(binding, record)
            for record, _ in self._index.revocations.get(device, ())
            if self.standing.has(record)
        )

    def revoked(self, identity: bytes) -> list[bytes]:
        """The devices of a person that came to their end by a revocation."""
        known = self._index.devices.get(identity, ())
        return [device for device in known if self.owner_of(device) == identity and self.is_revoked(device)]

    def revoked_by(self, device: bytes) -> list[bytes]:
        """Devices that this one revoked, whatever became of it."""
        return [
            ended
            for ended, acts in self._index.revocations.items()
            if any(record.device == device and self.standing.has(record) for record, _ in acts)
        ]

    def device(self, device: bytes) -> DeviceInfo | None:
        """A standing device of a member."""
        member = self.member(self.owner_of(device))
        return member.devices.get(device) if member else None

    @property
    def devices(self) -> dict[bytes, DeviceInfo]:
        """All standing devices of all members."""
        return {device: info for member in self.members.values() for device, info in member.devices.items()}

    def rooted(self, identity: bytes) -> dict[bytes, DeviceInfo]:
        """Standing devices of a member by the certificates that lead from the identity to them over standing ones alone:
        each after the one that issued its. A device whose issuer has ended is not among them."""
        if self.member(identity) is None:
            return {}
        left = self._certified(identity)
        found: dict[bytes, DeviceInfo] = {}
        while left:
            ready = {
                device: one
                for device, some in left.items()
                if (one := next((one for one in some if one.issued_by is None or one.issuer in found), None))
            }
            if not ready:
                break
            for device, one in ready.items():
                found[device] = info_of(one)
                del left[device]
        return found

    def _devices(self, identity: bytes) -> dict[bytes, Binding]:
        """Those certified since the last removal and not revoked, the senior first."""
        found = [some[0] for some in self._certified(identity).values()]
        return {binding.device: binding for binding in sorted(found, key=lambda binding: binding.key)}

    def _certified(self, identity: bytes) -> dict[bytes, list[Binding]]:
        """The same with all certificates of each that count, the senior first."""
        removals = [act.record for act in self.removals(identity)]
        admitted = self._grants[identity].admitted  # void perhaps, if a senior gave a role since
        found: dict[bytes, list[Binding]] = {}
        for device in self._index.devices.get(identity, ()):
            since = [
                binding
                for binding in self._index.bindings[device]
                if binding.identity == identity
                and self.standing.has(binding.record)
                and (binding.record is admitted or self.standing.stands(binding.record))
                and all(binding.record.knows(removal) for removal in removals)
                and self.standing.bound(binding)
            ]
            if since and self.owner_of(device) == identity and not self.is_revoked(device):
                found[device] = sorted(since, key=_seniority)
        return found

    # Policies, invites, requests.

    @property
    def policies(self) -> dict[str, int]:
        """Every policy's value."""
        return {name: self.policy(name) for name in POLICIES}

    def policy(self, name: str) -> int:
        """The value of a policy: of the latest standing acts that do not know each other, the strongest."""
        found: list[tuple[Record, int]] = []
        least = 0
        for record, value in reversed(self._index.policies.get(name, ())):
            if record.number < least:
                break
            if self.standing.has(record) and self.standing.stands(record):
                if not any(other.knows(record) for other, _ in found):
                    found.append((record, value))
                least = max(least, record.past.base)
        return min(found, key=lambda one: one[0].strength)[1] if found else POLICIES[name][0]

    def policy_acts(self, name: str) -> list[tuple[int, int]]:
        """(hybrid time, value) of every standing act that set a policy, in order of time and id.

        The last one has the value that stands: where several that do not know each other are the latest, it is said once more.
        """
        found = sorted(
            (record.time, record.id, value)
            for record, value in self._index.policies.get(name, ())
            if self.standing.has(record) and self.standing.stands(record)
        )
        acts = [(time, value) for time, _, value in found]
        if acts and acts[-1][1] != self.policy(name):
            acts.append((acts[-1][0], self.policy(name)))
        return acts

    @property
    def invites(self) -> dict[bytes, InviteInfo]:
        """Standing invites, also those no longer open."""
        found = ((key, self.invite(key)) for key in self._index.invites)
        return {key: invite for key, invite in found if invite}

    def invite(self, key: bytes) -> InviteInfo | None:
        act = self.invite_act(key)
        if act is None:
            return None
        return InviteInfo(
            act.key, act.role, act.uses, len(self.used(key)), act.expires_ms, act.history, act.identity,
            act.approval, act.record.identity, act.record.id, self.is_withdrawn(key),
        )  # fmt: skip

    def invite_act(self, key: bytes) -> InviteAct | None:
        acts = [
            act
            for act in self._index.invites.get(key, ())
            if self.standing.has(act.record) and self.standing.stands(act.record)
        ]
        return min(acts, key=lambda act: act.record.strength) if acts else None

    def is_withdrawn(self, key: bytes) -> bool:
        return any(
            self.standing.has(record) and self.standing.stands(record)
            for record in self._index.uninvites.get(key, ())
        )

    def used(self, key: bytes) -> frozenset[bytes]:
        """Who came in by an invite, those since removed and those whose admission became void included."""
        return frozenset(
            use.identity for use in self._index.uses.get(key, ()) if self.standing.has(use.record)
        )

    @property
    def asks(self) -> dict[bytes, tuple[bytes, bytes, int]]:
        """Who asks to be let in -> (invite, commit, place of the operation in it)."""
        found = ((identity, self.ask(identity)) for identity in self._index.asks)
        return {identity: ask for identity, ask in found if ask}

    def ask(self, identity: bytes) -> tuple[bytes, bytes, int] | None:
        """A request that nobody has answered since, by a standing invite."""
        if self.member(identity) or self.is_banned(identity):
            return None
        answers = [act.record for act in self._index.about.get(identity, ())]
        answers += self._index.declines.get(identity, ())
        answers = [record for record in answers if self.standing.has(record) and self.standing.stands(record)]
        asks = [
            (record, invite, place)
            for record, invite, place in self._index.asks.get(identity, ())
            if self.standing.has(record)
            and self.standing.stands(record)
            and not any(answer.knows(record) for answer in answers)
            and self.invite_act(invite)
            and not self.is_withdrawn(invite)
        ]
        if not asks:
            return None
        record, invite, place = max(asks, key=lambda ask: (ask[0].time, ask[0].id, ask[2]))
        return invite, record.id, place

    # Keys, and what is disputed.

    @cached_property
    def epochs(self) -> Epochs:
        """The channel's keys."""
        return Epochs(self, self._index)

    def verdict(self, record: Record) -> Verdict:
        """What became of a commit of this set."""
        void = self.standing.void(record)
        fields = (record.id, record.identity, record.device, record.time)
        if void is None:
            beaten = any(act.lowers and not self.standing.holds(act) for act in record.acts)
            return Verdict(*fields, standing=True, contested=beaten)
        role = record.needs if record.rule and record.needs > record.role else Role.NONE
        by = void.by.id if void.by else b""
        return Verdict(*fields, False, void.rule, by, role, contested=not record.rule)

    @property
    def story(self) -> list[Verdict]:
        """What became of each commit, in order of (time, id)."""
        within = [record for record in self._index.records if self.standing.has(record)]
        return [self.verdict(one) for one in sorted(within, key=lambda record: (record.time, record.id))]

    @property
    def contested(self) -> list[Verdict]:
        """What was rightful when written and is void by what others wrote at the same time, or beaten by it."""
        return [verdict for verdict in self.story if verdict.contested]


def _seniority(binding: Binding) -> Key:
    """One certificate may come in several commits: the first of them is where its keys are looked up."""
    return (binding.key, binding.record.time, binding.record.id, binding.place)


def _saved(binding: Binding | None, revocation: Record) -> bool:
    if binding is None or binding.issued_by is not None or revocation.knows(binding.record):
        return False
    revoker: Key = revocation.device_strength[0]
    return binding.key < revoker
