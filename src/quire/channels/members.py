"""Who is in a channel, and who we are ourselves: cards, names, roles, devices. `ChannelManager` has it all.

A person is named by their identity, by what we or they call them, or by the start of their identity in hex.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quire.channels.bundles import Bundles
from quire.channels.naming import PREFIX_CHARS_MIN
from quire.core.control import Role
from quire.core.ids import ChannelId, IdentityId
from quire.core.operation import Contact, DeviceName
from quire.core.views import Event
from quire.errors import MalformedError, NotFoundError, UsageError, callers_mistake
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import guarded

if TYPE_CHECKING:
    import apsw

    from quire.core.circle import DeviceView, MemberView
    from quire.core.membership import Member, Membership
    from quire.store import group
    from quire.store.local import LocalStore

PersonRef = IdentityId | str


class Members(Bundles):
    """What `ChannelManager` knows of people."""

    # Ourselves

    @guarded
    def key_card(self) -> str:
        """Our key card, as one line to hand to whoever wants to invite us."""
        from quire.core.crypto.cards import card_text

        return card_text(self._card())

    def key_id(self) -> str:
        """Our identity alone, short enough for a QR code."""
        from quire.core.crypto.cards import id_text

        return id_text(self.identity)

    def safety_number(self, person: PersonRef) -> str:
        """60 digits that both people see alike."""
        from quire.core.crypto.cards import safety_number

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
        from quire.core.circle import MemberView

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
        from quire.core.membership import CAPABILITIES

        if capability not in CAPABILITIES:
            raise UsageError(
                f"there is no capability {capability}",
                rule="capability_unknown",
                hint=f"one of {', '.join(CAPABILITIES)}",
            )
        identity = self.identity if person is None else self.find_person(person, channel)
        return self._state(channel).may(identity, capability)

    @guarded
    @guarded
    def is_last_keyholder(self, channel: ChannelId | str) -> bool:
        """Are others in a channel, and has none of them who could pass its present key on shown to have it?

        If we left now, they might lose what was written under it: a device that was lost meanwhile and is recovered
        finds nobody who has it. True is no proof: who has read all and written nothing has not shown it either.
        """
        from quire.store.behind import devices_with_key

        db = self.store.database.reader
        row = self.store.channel_row(self.resolve(channel))
        graph = self.store.ledger.people.graph(db, row)
        others = [one for one in graph.state.members.values() if one.identity != self.identity]
        if not row.role or not others or graph.state.epochs.current is None:
            return False
        able = {device for one in others if graph.state.may(one.identity, "rotate") for device in one.devices}
        return not able & devices_with_key(db, row, graph)

    def find_person(self, person: PersonRef, channel: ChannelId | str | None = None) -> IdentityId:
        """The identity that is meant. Raises: NotFoundError(rule="no_person"), UsageError(rule="person_ambiguous")."""
        from quire.core.crypto.cards import parse_card

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
        from quire.core.circle import DeviceView

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

    # Our devices

    @guarded
    def devices(self) -> list[DeviceView]:
        """Our own devices, the senior first."""
        member = self._self_state().member(self.identity)
        return list(self._device_views(member)) if member else []

    def name_device(self, name: str, device: bytes | None = None) -> None:
        """What we call a device, by default this one; only our own devices see it."""
        self._note(DeviceName(self.store.device if device is None else device, name))

    def revoke_device(self, device: bytes, *, force: bool = False) -> None:
        """End one of our devices, in every channel. It must be junior to this one, or this one itself.

        force    also if the others lose by it whoever vouches for them (until one is made with the 24 words)

        Raises: UnauthorisedError(rule="device_senior"), UsageError(rule="device_vouches").
        """
        from quire.store import group

        ledger = self.store.ledger

        def end(db: apsw.Connection) -> list[ChannelId]:
            if not force:
                group.require_voucher(ledger, db, device)
            return group.end_device(ledger, db, device)

        for id in ledger.run(end):
            self._hub.publish(Event("people", id))

    # Acting

    def _act(self, id: ChannelId, prepare: group.Prepare) -> None:
        try:
            self.store.ledger.write_control(id, prepare)
        except MalformedError as error:
            raise callers_mistake(error) from error
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
