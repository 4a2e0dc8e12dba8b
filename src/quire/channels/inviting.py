"""Letting people in: invites, requests by them, and approval; or by a key card. `ChannelManager` has it all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import apsw

from quire.core.control import (
    HISTORY_ALL,
    HISTORY_JOINED,
    Ask,
    ControlOperation,
    Decline,
    Device,
    Invite,
    Role,
    Uninvite,
)
from quire.core.ids import ChannelId
from quire.core.limits import INVITE_USES_MAX
from quire.core.operation import Contact
from quire.core.views import Event
from quire.errors import MalformedError, NotFoundError, UnauthorisedError, UsageError
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import guarded

if TYPE_CHECKING:
    from quire.core.circle import InviteView, Joining, RequestView
    from quire.core.crypto.cards import Card
    from quire.core.invite import InviteLink, JoinRequest
    from quire.core.membership import Graph, InviteInfo, Membership
from quire.channels.members import Members, PersonRef, as_role

EXPIRES = timedelta(days=7)
History = str | datetime


class Inviting(Members):
    """What `ChannelManager` does for who is to come."""

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
        from quire.core.invite import InviteLink, InviteSecret

        if not 0 <= uses <= INVITE_USES_MAX:
            raise UsageError(
                f"an invite is for 1 to {INVITE_USES_MAX:,} people, or 0: any number", rule="invite_uses"
            )
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
        from quire.core.circle import InviteView
        from quire.store.wallclock import now_ms

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
        from quire.core.crypto.cards import parse_card

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
        from quire.core.crypto.keys import decode_certificate
        from quire.storage import asking
        from quire.store import group

        ledger = self.store.ledger

        def work(db: apsw.Connection) -> None:
            row = log.channel_by_id(db, id)
            if row is None:
                raise NotFoundError("there is no such channel", rule="no_channel")
            group.admit(
                ledger, db, row, devices, role, _scope(ledger.people.state(db, row), history), invite, proof
            )
            asking.drop_refusals(db, row.n, decode_certificate(devices[0].certificate).identity)
            if called and log.self_channel(db).role:
                ledger.append(db, log.self_channel(db), called)

        ledger.run(work)
        self._hub.publish(Event("people", id))

    def join_channel(self, link: str, *, name: str = "") -> Joining:
        """Ask to be let into the channel that a link leads to. The request leaves with the next bundle.

        name    what we wish to be called; it becomes our name if we have none yet

        Raises: MalformedError (the link), UsageError with rule "invite_expired" or "member_exists".
        """
        from quire.core.circle import Joining
        from quire.core.invite import parse_link
        from quire.storage import asking
        from quire.store.wallclock import now_ms

        parsed = parse_link(link)
        if parsed.is_expired(now_ms()):
            raise UsageError("this invite has expired", rule="invite_expired", hint="ask for a new one")
        row = log.channel_by_id(self.store.database.reader, parsed.channel)
        if row is not None and row.role:
            raise UsageError("you are a member of this channel already", rule="member_exists")
        if name and not self._own_name():
            self.set_name(name)

        def ask(db: apsw.Connection) -> int:
            before = next((one for one in asking.joinings(db) if one.channel == parsed.channel), None)
            since = max(
                now_ms(), before.refused_ms + 1 if before else 0
            )  # so the same refusal says nothing of it
            asking.put_joining(db, parsed.channel, link, name, since)
            return since

        return Joining(parsed.channel, parsed.name, self.store.ledger.run(ask))

    @guarded
    def joining(self) -> list[Joining]:
        """Channels that we asked to be let into and are not in yet, also those where we were refused."""
        from quire.core.circle import Joining
        from quire.core.invite import parse_link
        from quire.storage import asking

        names = self._names()
        return [
            Joining(
                ChannelId(one.channel), parse_link(one.link).name, one.since_ms, one.rule, one.refused_ms,
                names(bytes.fromhex(one.by.partition(":")[2])) if one.by else "",
            )
            for one in asking.joinings(self.store.database.reader)
        ]  # fmt: skip

    def cancel_join(self, channel: ChannelId) -> None:
        """Ask no longer."""
        from quire.storage import asking

        self.store.ledger.run(lambda db: asking.drop_joining(db, channel))

    def answer_request(self, sealed: bytes) -> bool:
        """Deal with somebody's request to be let in: let them in, or pass it on where approval is asked.

        returns    False if it answers no invite that we know of, they are in already, or we may not let them in

        Raises: MalformedError, UnauthorisedError with the rule that the invite or the request breaks.
        """
        from quire.core.invite import open_request, request_tag, tag_of_request
        from quire.store.refusals import refuse

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
                    try:
                        return self._deal_with(row.id, state, invite, request, devices)
                    except UnauthorisedError as error:
                        refuse(self.store, row, invite.key, devices, error.rule or "", request.created_ms)
                        who = request.name or request.card.identity.hex()[:8]
                        words = f"{who} is not let into #{row.name}: {error}"
                        raise UnauthorisedError(
                            words, rule=error.rule, hint=error.hint, **error.details
                        ) from error
        return False

    def _deal_with(
        self,
        id: ChannelId,
        state: Membership,
        invite: InviteInfo,
        request: JoinRequest,
        devices: tuple[Device, ...],
    ) -> bool:
        from quire.store.refusals import is_declined

        if invite.approval:
            row = self.store.channel_row(id)
            if is_declined(self.store, row, request):
                return False  # until they ask anew
            return self._pass_on(id, state, request, devices)
        if not state.may(self.identity, "invite"):
            return False
        self._admit(
            id, devices, invite.role, invite.history, invite.key, request.proof, called=self._contact(request)
        )
        return True

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
        name, verified = rows.contacts(self.store.database.reader).get(identity, ("", False))
        return [] if name or not request.name else [Contact(identity, request.name, verified)]

    @guarded
    def requests(self, channel: ChannelId | str) -> list[RequestView]:
        """Who asks to be let in."""
        from quire.core.circle import RequestView

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
        from quire.storage import controls

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
    from quire.store.wallclock import now_ms

    if expires is None:
        return 0
    if isinstance(expires, datetime):
        return int((expires if expires.tzinfo else expires.replace(tzinfo=UTC)).timestamp() * 1000)
    return now_ms() + int(expires.total_seconds() * 1000)


def in_order(card: Card) -> tuple[Device, ...]:
    """A card's devices, each after the one that certified it."""
    from quire.core.crypto.keys import decode_certificate

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
