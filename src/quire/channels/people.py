"""The use cases of people: invite, join, roles, removal, devices, bundles. `ChannelManager` has them all.

A person is named by their identity, by what we or they call them, or by the start of their identity in hex.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import apsw

from quire.channels.bundles import Bundles
from quire.core.circle import (
    DeviceView,
    ForkView,
    InviteView,
    Joining,
    MemberView,
    RequestView,
    StoryLine,
)
from quire.core.control import (
    HISTORY_ALL,
    HISTORY_JOINED,
    POLICIES,
    Ask,
    ControlOperation,
    Decline,
    Device,
    Invite,
    Policy,
    Role,
    Unban,
    Uninvite,
)
from quire.core.crypto.cards import Card, card_text, id_text, parse_card, safety_number
from quire.core.crypto.keys import decode_certificate
from quire.core.ids import ChannelId, IdentityId
from quire.core.invite import (
    InviteLink,
    InviteSecret,
    JoinRequest,
    open_request,
    parse_link,
    request_tag,
    tag_of_request,
)
from quire.core.membership import CAPABILITIES, Graph, Member, Membership
from quire.core.operation import Contact, DeviceName
from quire.core.views import Event
from quire.errors import MalformedError, NotFoundError, UsageError
from quire.storage import backlog, controls, log
from quire.storage import timeline as rows
from quire.storage.database import guarded
from quire.store import group
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.local import LocalStore

PREFIX_CHARS_MIN = 4
EXPIRES = timedelta(days=7)
PersonRef = IdentityId | str
History = str | datetime


class People(Bundles):
    """What `ChannelManager` does with people."""

    # Ourselves

    @guarded
    def key_card(self) -> str:
        """Our key card, as one line to hand to whoever wants to invite us."""
        return card_text(self._card())

    def key_id(self) -> str:
        """Our identity alone, short enough for a QR code."""
        return id_text(self.identity)

    def safety_number(self, person: PersonRef) -> str:
        """60 digits that both people see alike."""
        return safety_number(self.identity, self.find_person(person))

    def set_contact(
        self, person: PersonRef, *, name: str | None = None, verified: bool | None = None
    ) -> None:
        """What we call a person, and that we compared safety numbers; only our own devices see it."""
        identity = self.find_person(person)
        known = rows.contacts(self.store.database.reader).get(identity, ("", False))
        self._note(
            Contact(identity, known[0] if name is None else name, known[1] if verified is None else verified)
        )

    def _note(self, operation: Contact | DeviceName) -> None:
        self.store.write_operations(log.self_channel(self.store.database.reader).id, operation)

    # Who is here

    @guarded
    def members(self, channel: ChannelId | str) -> list[MemberView]:
        """Everyone in a channel, the senior first."""
        state = self._state(channel)
        everyone = sorted(
            state.members.values(), key=lambda member: (-state.role(member.identity), member.key)
        )
        names, known = self._names(), rows.contacts(self.store.database.reader)
        return [
            MemberView(
                member.identity, names(member.identity), state.role(member.identity).name.lower(),
                member.since >> 16, member.history, tuple(self._device_views(member)),
                member.identity == self.identity, known.get(member.identity, ("", False))[1],
            )
            for member in everyone
        ]  # fmt: skip

    @guarded
    def get_member_role(self, channel: ChannelId | str, person: PersonRef | None = None) -> str:
        """The role of a person, or our own: "none", "guest", "member", "moderator", "admin" or "owner"."""
        identity = self.identity if person is None else self.find_person(person, channel)
        return self._state(channel).role(identity).name.lower()

    def is_admin(self, channel: ChannelId | str, person: PersonRef | None = None) -> bool:
        """Is a person (or are we) an admin or an owner?"""
        return self.get_member_role(channel, person) in ("admin", "owner")

    @guarded
    def can(self, channel: ChannelId | str, capability: str, person: PersonRef | None = None) -> bool:
        """May a person (or may we) do this? Raises: UsageError(rule="capability_unknown")."""
        if capability not in CAPABILITIES:
            raise UsageError(
                f"there is no capability {capability}",
                rule="capability_unknown",
                hint=f"one of {', '.join(CAPABILITIES)}",
            )
        identity = self.identity if person is None else self.find_person(person, channel)
        return self._state(channel).may(identity, capability)

    @guarded
    def find_person(self, person: PersonRef, channel: ChannelId | str | None = None) -> IdentityId:
        """The identity that is meant. Raises: NotFoundError(rule="no_person"), UsageError(rule="person_ambiguous")."""
        if isinstance(person, bytes):
            return IdentityId(person)
        if person.startswith("quire:card:"):
            return IdentityId(parse_card(person).identity)
        wanted = person.removeprefix("@").removeprefix("quire:").casefold()
        names = self._names()
        everyone = self._everyone(channel)
        found = [one for one in everyone if names(one).casefold() == wanted]
        if not found and len(wanted) >= PREFIX_CHARS_MIN:
            found = [one for one in everyone if one.hex().startswith(wanted)]
        if not found:
            raise NotFoundError(
                f"there is no {person} here", rule="no_person", hint="`quire members` lists them"
            )
        if len(found) > 1:
            choices = ", ".join(one.hex()[:8] for one in found[:8])
            raise UsageError(
                f"{person} may be any of {choices}", rule="person_ambiguous", hint="write one of these"
            )
        return found[0]

    def _everyone(self, channel: ChannelId | str | None) -> list[IdentityId]:
        db = self.store.database.reader
        ids = [self.resolve(channel)] if channel is not None else [row.id for row in log.channels(db)]
        found = dict.fromkeys(rows.contacts(db))
        for id in ids:
            state = self._state(id)
            found.update(dict.fromkeys([*state.members, *state.asks, *state.everybody]))
        return [IdentityId(one) for one in found]

    def _names(self) -> Names:
        return Names(self.store)

    def _device_views(self, member: Member) -> Iterator[DeviceView]:
        own = member.identity == self.identity
        names = rows.device_names(self.store.database.reader) if own else {}
        for device in member.devices.values():
            yield DeviceView(
                device.device, names.get(device.device, ""), own, device.device == self.store.device,
                device.created_ms, device.by_identity, log.has_log_of(self.store.database.reader, device.device),
            )  # fmt: skip

    def _state(self, channel: ChannelId | str) -> Membership:
        row = self.store.channel_row(self.resolve(channel))
        return self.store.ledger.people.state(self.store.database.reader, row)

    # Letting in

    def create_invite(
        self,
        channel: ChannelId | str,
        *,
        role: str = "member",
        uses: int = 1,
        expires: timedelta | datetime | None = EXPIRES,
        history: History | None = None,
        person: PersonRef | None = None,
        approval: bool = False,
    ) -> InviteLink:
        """A link by which people join; it is shown now or never.

        uses       how many people may come by it; 0: any number
        expires    after this, or then; None: never
        history    what they may read: "all", "joined" or from a date on; default: what the channel's policy says
        person     only this one (their key card, or who they are here)
        approval   somebody who may invite must agree to each

        Raises: UnauthorisedError, UsageError.
        """
        id = self.resolve(channel)
        secret = InviteSecret.generate(os.urandom)
        expires_ms = _expiry(expires)
        only = b"" if person is None else self.find_person(person)

        def prepare(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> list[ControlOperation]:
            scope = graph.state.policy("history") if history is None else history_scope(history)
            return [Invite(secret.key(id).public, as_role(role), uses, expires_ms, scope, only, approval)]

        row = self.store.ledger.write_control(id, prepare)
        self._hub.publish(Event("people", id))
        return InviteLink(secret, id, self.identity, expires_ms, row.name)

    @guarded
    def invites(self, channel: ChannelId | str) -> list[InviteView]:
        """Standing invites of a channel, also those that are used up or expired."""
        names, now = self._names(), now_ms()
        return [
            InviteView(
                one.key, one.role.name.lower(), one.uses, one.used, one.expires_ms, one.history, one.identity,
                one.approval, names(one.author), one.open_at(now),
            )
            for one in self._state(channel).invites.values()
        ]  # fmt: skip

    def withdraw_invite(self, channel: ChannelId | str, key: bytes | str) -> None:
        """End an invite: its key, or the start of it in hex. Raises: NotFoundError(rule="no_invite")."""
        id = self.resolve(channel)
        found = [
            one.key
            for one in self.invites(id)
            if one.key == key or (isinstance(key, str) and one.key.hex().startswith(key.lower()))
        ]
        if len(found) != 1:
            raise NotFoundError("there is no such invite", rule="no_invite")
        self._act(id, lambda db, row, graph: [Uninvite(found[0])])

    def add_member(
        self, channel: ChannelId | str, card: str, *, role: str = "member", history: History | None = None
    ) -> None:
        """Let somebody in whose key card we have. They learn of it from the next bundle.

        Raises: MalformedError (the card), UnauthorisedError.
        """
        devices = in_order(parse_card(card))
        self._admit(self.resolve(channel), devices, as_role(role), history)

    def _admit(
        self,
        id: ChannelId,
        devices: tuple[Device, ...],
        role: Role,
        history: History | int | None,
        invite: bytes = b"",
        proof: bytes = b"",
        called: Sequence[Contact] = (),
    ) -> None:
        ledger = self.store.ledger

        def work(db: apsw.Connection) -> None:
            row = log.channel_by_id(db, id)
            if row is None:
                raise NotFoundError("there is no such channel", rule="no_channel")
            group.admit(
                ledger, db, row, devices, role, _scope(ledger.people.state(db, row), history), invite, proof
            )
            if called and log.self_channel(db).role:
                ledger.append(db, log.self_channel(db), called)

        ledger.run(work)
        self._hub.publish(Event("people", id))

    def join_channel(self, link: str, *, name: str = "") -> Joining:
        """Ask to be let into the channel that a link leads to. The request leaves with the next bundle.

        name    what we wish to be called; it becomes our name if we have none yet

        Raises: MalformedError (the link), UsageError with rule "invite_expired" or "member_exists".
        """
        parsed = parse_link(link)
        if parsed.is_expired(now_ms()):
            raise UsageError("this invite has expired", rule="invite_expired", hint="ask for a new one")
        row = log.channel_by_id(self.store.database.reader, parsed.channel)
        if row is not None and row.role:
            raise UsageError("you are a member of this channel already", rule="member_exists")
        if name and not self._own_name():
            self.set_name(name)
        since = now_ms()
        self.store.ledger.run(lambda db: backlog.put_joining(db, parsed.channel, link, name, since))
        return Joining(parsed.channel, parsed.name, since)

    @guarded
    def joining(self) -> list[Joining]:
        """Channels that we asked to be let into, and are not in yet."""
        return [
            Joining(ChannelId(channel), parse_link(link).name, since)
            for channel, link, _, since in backlog.joinings(self.store.database.reader)
        ]

    def cancel_join(self, channel: ChannelId) -> None:
        """Ask no longer."""
        self.store.ledger.run(lambda db: backlog.drop_joining(db, channel))

    def answer_request(self, sealed: bytes) -> bool:
        """Deal with somebody's request to be let in: let them in, or pass it on where approval is asked.

        returns    False if it answers no invite that we know of, they are in already, or we may not let them in

        Raises: MalformedError, UnauthorisedError with the rule that the invite or the request breaks.
        """
        tag = tag_of_request(sealed)
        db = self.store.database.reader
        for row in log.channels(db):
            state = self.store.ledger.people.state(db, row)
            for invite in state.invites.values():
                if row.role and request_tag(invite.key, row.id) == tag:
                    request = open_request(sealed, invite.key, row.id)
                    devices = in_order(request.card)
                    if state.member(request.card.identity):
                        return False
                    if invite.approval:
                        return self._pass_on(row.id, state, request, devices)
                    if not state.may(self.identity, "invite"):
                        return False
                    self._admit(
                        row.id, devices, invite.role, invite.history, invite.key, request.proof,
                        called=self._contact(request),
                    )  # fmt: skip
                    return True
        return False

    def _pass_on(
        self, id: ChannelId, state: Membership, request: JoinRequest, devices: tuple[Device, ...]
    ) -> bool:
        if not state.may(self.identity, "ask"):
            return False
        if state.ask(request.card.identity) is None:
            self._act(id, lambda db, row, graph: [Ask(devices, request.invite, request.proof)])
        for one in self._contact(request):
            self._note(one)
        return True

    def _contact(self, request: JoinRequest) -> list[Contact]:
        """What somebody wishes to be called, if we call them nothing yet."""
        identity = request.card.identity
        if not request.name or identity in rows.contacts(self.store.database.reader):
            return []
        return [Contact(identity, request.name, False)]

    @guarded
    def requests(self, channel: ChannelId | str) -> list[RequestView]:
        """Who asks to be let in."""
        state = self._state(channel)
        names = self._names()
        return [
            RequestView(identity, names(identity), invite, state.invites[invite].role.name.lower(), at)
            for identity, (invite, commit, _) in state.asks.items()
            if (at := self._time_ms(state, commit)) is not None
        ]

    @staticmethod
    def _time_ms(state: Membership, commit: bytes) -> int | None:
        return next((one.time >> 16 for one in state.story if one.id == commit), None)

    def approve(self, channel: ChannelId | str, person: PersonRef) -> None:
        """Let in somebody who asked. Raises: NotFoundError(rule="no_request"), UnauthorisedError."""
        id = self.resolve(channel)
        identity = self.find_person(person, id)
        db = self.store.database.reader
        state = self._state(id)
        asked = state.ask(identity)
        if asked is None:
            raise NotFoundError("nobody of that name asks to be let in", rule="no_request")
        invite, commit, place = asked
        where = controls.control_places(db, self.store.channel_row(id).n)[commit]
        operation = controls.control_operation(db, where + place.to_bytes(2, "big"))
        assert isinstance(operation, Ask)
        wanted = state.invites[invite]
        self._admit(id, operation.devices, wanted.role, wanted.history, invite, operation.proof)

    def decline(self, channel: ChannelId | str, person: PersonRef) -> None:
        """Refuse somebody who asked."""
        id = self.resolve(channel)
        identity = self.find_person(person, id)
        self._act(id, lambda db, row, graph: [Decline(identity)])

    # Roles, and putting out

    def set_role(self, channel: ChannelId | str, person: PersonRef, role: str) -> None:
        """Give a member another role. Raises: UnauthorisedError, naming the role that would do."""
        id = self.resolve(channel)
        identity = self.find_person(person, id)
        self._act(id, lambda db, row, graph: group.set_role(db, row, graph, identity, as_role(role)))

    def promote_member(self, channel: ChannelId | str, person: PersonRef) -> str:
        """The next higher role; which it is."""
        return self._step(channel, person, 1)

    def demote_member(self, channel: ChannelId | str, person: PersonRef) -> str:
        """The next lower role; which it is."""
        return self._step(channel, person, -1)

    def _step(self, channel: ChannelId | str, person: PersonRef, by: int) -> str:
        id = self.resolve(channel)
        identity = self.find_person(person, id)
        role = self._state(id).role(identity)
        if role is Role.NONE or not Role.GUEST <= role + by <= Role.OWNER:
            raise UsageError(
                f"a {role.name.lower()} cannot be {'promoted' if by > 0 else 'demoted'}", rule="role_range"
            )
        new = Role(role + by).name.lower()
        self.set_role(id, identity, new)
        return new

    def remove_member(self, channel: ChannelId | str, person: PersonRef, *, reason: str = "") -> None:
        """Put somebody out; the channel's key changes with it. Raises: UnauthorisedError."""
        self._remove(channel, person, ban=False, reason=reason)

    def ban_member(self, channel: ChannelId | str, person: PersonRef, *, reason: str = "") -> None:
        """Put somebody out, and let nobody let them in again."""
        self._remove(channel, person, ban=True, reason=reason)

    def unban_member(self, channel: ChannelId | str, person: PersonRef) -> None:
        """Lift a ban; they are not in by that."""
        id = self.resolve(channel)
        identity = self.find_person(person, id)
        self._act(id, lambda db, row, graph: [Unban(identity)])

    def leave_channel(self, channel: ChannelId | str) -> None:
        """Go. What is here stays here."""
        id = self.resolve(channel)
        self._act(id, lambda db, row, graph: group.remove(db, row, graph, self.identity, leaving=True))

    def _remove(self, channel: ChannelId | str, person: PersonRef, *, ban: bool, reason: str) -> None:
        id = self.resolve(channel)
        identity = self.find_person(person, id)
        if identity == self.identity:
            raise UsageError("you cannot put yourself out", rule="remove_oneself", hint="`quire leave`")
        self._act(id, lambda db, row, graph: group.remove(db, row, graph, identity, ban=ban, reason=reason))

    @guarded
    def policies(self, channel: ChannelId | str) -> dict[str, int]:
        """Every policy of a channel: `post`, `pin`, `name`, `invite` (roles), `history`, `rotation` (ms)."""
        return self._state(channel).policies

    def set_policy(self, channel: ChannelId | str, name: str, value: int) -> None:
        """Change a policy. Raises: UnauthorisedError, UsageError(rule="policy_unknown" or "policy_range")."""
        if name not in POLICIES:
            raise UsageError(
                f"there is no policy {name}", rule="policy_unknown", hint=f"one of {', '.join(POLICIES)}"
            )
        self._act(self.resolve(channel), lambda db, row, graph: [Policy(name, value)])

    def rotate_key(self, channel: ChannelId | str) -> None:
        """A new key for the channel, now."""
        from quire.store import epochs

        def prepare(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> list[ControlOperation]:
            readers = epochs.recipients(db, row, graph.state, graph.state.epochs.expected())
            return epochs.rotation(db, row, graph, readers)

        self._act(self.resolve(channel), prepare)

    def _act(self, id: ChannelId, prepare: group.Prepare) -> None:
        try:
            self.store.ledger.write_control(id, prepare)
        except MalformedError as error:  # of our caller's making
            raise UsageError(str(error), rule=error.rule, hint="see docs/limits.md") from error
        self._hub.publish(Event("people", id))

    # The story

    @guarded
    def story(self, channel: ChannelId | str) -> list[StoryLine]:
        """What was done with people and keys, oldest first; what was void, and why."""
        from quire.channels.story import tell

        return tell(self.store, self.store.channel_row(self.resolve(channel)), self._names())

    @guarded
    def forks(self, channel: ChannelId | str) -> list[ForkView]:
        """Logs that were continued twice, with the proof."""
        from quire.channels.story import forks

        return forks(self.store, self.store.channel_row(self.resolve(channel)), self._names())

    # Our devices

    @guarded
    def devices(self) -> list[DeviceView]:
        """Our own devices, the senior first."""
        member = self._self_state().member(self.identity)
        return list(self._device_views(member)) if member else []

    def name_device(self, name: str, device: bytes | None = None) -> None:
        """What we call a device, by default this one; only our own devices see it."""
        self._note(DeviceName(self.store.device if device is None else device, name))

    def revoke_device(self, device: bytes) -> None:
        """End one of our devices, in every channel. It must be junior to this one.

        Raises: UnauthorisedError(rule="device_senior").
        """
        ledger = self.store.ledger
        for id in ledger.run(lambda db: group.end_device(ledger, db, device)):
            self._hub.publish(Event("people", id))


class Names:
    """What people are called: by us, by themselves, or by the start of their identity."""

    def __init__(self, store: LocalStore) -> None:
        self._db = store.database.reader
        self._contacts = rows.contacts(self._db)

    def __call__(self, identity: bytes) -> str:
        name, _ = self._contacts.get(identity, ("", False))
        if name:
            return name
        key = f"quire:{identity.hex()}"
        n = rows.authors_by_key(self._db, [key]).get(key)
        return identity.hex()[:8] if n is None else str(rows.author(self._db, n)[1])


def as_role(text: str) -> Role:
    """Raises: UsageError(rule="role_unknown")."""
    try:
        role = Role[text.upper()]
    except KeyError:
        role = Role.NONE
    if role is Role.NONE:
        choices = ", ".join(one.name.lower() for one in Role if one)
        raise UsageError(f"there is no role {text}", rule="role_unknown", hint=f"one of {choices}")
    return role


def history_scope(history: History) -> int:
    """How much of the past somebody may read: "all", "joined", or from a date on."""
    if isinstance(history, datetime):
        return max(
            HISTORY_JOINED + 1,
            int((history if history.tzinfo else history.replace(tzinfo=UTC)).timestamp() * 1000),
        )
    if history not in ("all", "joined"):
        raise UsageError("history is all, joined or a date", rule="history_unknown")
    return HISTORY_ALL if history == "all" else HISTORY_JOINED


def _scope(state: Membership, history: History | int | None) -> int:
    if history is None:
        return state.policy("history")
    return history if isinstance(history, int) else history_scope(history)


def _expiry(expires: timedelta | datetime | None) -> int:
    if expires is None:
        return 0
    if isinstance(expires, datetime):
        return int((expires if expires.tzinfo else expires.replace(tzinfo=UTC)).timestamp() * 1000)
    return now_ms() + int(expires.total_seconds() * 1000)


def in_order(card: Card) -> tuple[Device, ...]:
    """A card's devices, each after the one that certified it."""
    left = {decode_certificate(device.certificate).device: device for device in card.devices}
    placed: dict[bytes, Device] = {}
    known = {card.identity}
    while left:
        ready = [id for id, one in left.items() if decode_certificate(one.certificate).issuer in known]
        if not ready:
            raise MalformedError("key card: card chain", rule="card_chain")
        for id in ready:
            placed[id] = left.pop(id)
            known.add(id)
    return tuple(placed.values())
