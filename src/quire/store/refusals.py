"""Telling people that they are not let in, and being told so.

A refusal is noted when a request breaks a rule that will not go away by itself, and when the control log shows that one was
declined; from then on it goes to who asked by every road, for some time. Only those say it whose word can count: the author
of the invite, whom the link names, and, to who has been in the channel and so knows its members, whoever may invite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import apsw

from quire.core import limits
from quire.core.bundle_file import Kind, Record
from quire.core.commit import commit_id, decode_head
from quire.core.control import Ask, Decline, Device, decode_control
from quire.core.crypto.cards import Card, make_card
from quire.core.crypto.keys import decode_certificate
from quire.core.ids import ChannelId, IdentityId
from quire.core.invite import JoinRequest, parse_link
from quire.core.membership import Membership
from quire.core.operation import SALT_SIZE
from quire.core.refusal import DECLINED, Refusal, open_refusal, seal_refusal
from quire.errors import UnauthorisedError
from quire.storage import asking, controls, log
from quire.storage.meta import get_meta
from quire.store import epochs, group
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.core.membership import Graph
    from quire.store.ledger import Ledger
    from quire.store.local import LocalStore

KEPT_MS = 30 * 24 * 3_600_000  # who has not fetched it by then asks again
ASK, DECLINE = 42, 43  # the kinds of these operations
LASTING = frozenset({  # what a request breaks tomorrow, too
    DECLINED, "member_banned", "invite_used_up", "invite_withdrawn", "invite_expired", "invite_personal", "invite_replayed",
})  # fmt: skip


def refuse(
    store: LocalStore, row: log.ChannelRow, invite: bytes, devices: Sequence[Device], rule: str, asked_ms: int
) -> None:
    """Note for each device of somebody that they are not let in, if our word counts with them and it is not noted yet."""
    ledger, db = store.ledger, store.database.reader
    identity = decode_certificate(devices[0].certificate).identity
    believed = _counts(ledger.people.state(db, row), ledger.people.identity, invite, identity)
    if rule not in LASTING or not believed or _is_refused(db, row, invite, devices, asked_ms):
        return
    now = now_ms()
    until_ms = max(asked_ms, now)

    def work(db: apsw.Connection) -> None:
        card = _card(ledger, db)
        for one in devices if card else ():
            assert card is not None
            refusal = Refusal(row.id, identity, invite, rule, until_ms, card)
            device = decode_certificate(one.certificate).device
            if epochs.is_usable(one.sealing):
                owed = asking.Owed(
                    device, invite, identity, seal_refusal(refusal, ledger.signing_key, one.sealing)
                )
                asking.put_refusal(db, row.n, owed, until_ms, now)
        asking.trim_refusals(db, row.n, now - KEPT_MS, limits.REFUSALS_PER_CHANNEL_MAX)

    ledger.run(work)


def refuse_declined(store: LocalStore, row: log.ChannelRow) -> None:
    """Note a refusal for everybody whose request was declined lately, whoever declined it."""
    graph = store.ledger.people.graph(store.database.reader, row)
    for (who, _), (operation, when) in _declined(store.database.reader, row, graph).items():
        person = IdentityId(who)
        settled = graph.state.member(person) is not None or graph.state.ask(person) is not None
        if when > now_ms() - KEPT_MS and not settled:
            refuse(store, row, operation.invite, operation.devices, DECLINED, when)


def is_declined(store: LocalStore, row: log.ChannelRow, request: JoinRequest) -> bool:
    """Was a request declined after it was made?"""
    db = store.database.reader
    if not controls.has_kind(db, row.n, DECLINE):
        return False
    found = _declined(db, row, store.ledger.people.graph(db, row)).get(
        (request.card.identity, request.invite)
    )
    return found is not None and found[1] >= request.created_ms


def _is_refused(
    db: apsw.Connection, row: log.ChannelRow, invite: bytes, devices: Sequence[Device], asked_ms: int
) -> bool:
    """Is there an answer to what was asked then? It is noted for all devices that anything can be sealed to."""
    ids = [decode_certificate(one.certificate).device for one in devices]
    return any(asking.refusal_until(db, row.n, id, invite) >= asked_ms for id in ids)


def refusals(db: apsw.Connection, row: log.ChannelRow, device: bytes | None = None) -> Iterator[Record]:
    """What is to be given to those who are not let into a channel, or to one device."""
    for owed in asking.refusals(db, row.n, device) if row.role else ():
        yield Record(Kind.REFUSAL, owed.sealed)


def take_refusal(store: LocalStore, sealed: bytes) -> ChannelId | None:
    """Believe a refusal that is for us; the channel, if that is news.

    Raises: MalformedError (with rule "refusal_not_ours" if it is for somebody else), UnauthorisedError with rule
    "refusal_identity", "refusal_ahead" (from the future) or "refusal_stranger" (whose word does not count with us).
    """
    ledger = store.ledger
    refusal = open_refusal(sealed, bytes(get_meta(store.database.reader, "sealing_seed")))
    if refusal.identity != ledger.people.identity:
        raise UnauthorisedError("a refusal of somebody else", rule="refusal_identity")
    if refusal.created_ms > now_ms() + limits.AHEAD_MS_MAX:
        raise UnauthorisedError("a refusal from the future", rule="refusal_ahead")

    def work(db: apsw.Connection) -> ChannelId | None:
        asked = next((one for one in asking.joinings(db) if one.channel == refusal.channel), None)
        if asked is None or asked.since_ms > refusal.created_ms or asked.rule:
            return None  # we ask no longer, asked again since, or know it
        link = parse_link(asked.link)
        if link.secret.key(link.channel).public != refusal.invite:
            return None
        if refusal.card.identity != link.inviter and not _may_invite(ledger, db, refusal):
            raise UnauthorisedError(
                "somebody says that we are not let in, who did not invite us", rule="refusal_stranger"
            )
        by = f"id:{refusal.card.identity.hex()}"
        asking.refuse_joining(db, refusal.channel, refusal.rule, refusal.created_ms, by)
        return ChannelId(refusal.channel)

    return ledger.run(work)


def _may_invite(ledger: Ledger, db: apsw.Connection, refusal: Refusal) -> bool:
    """Is it by somebody of whom we know, since we were in the channel, that they may let people in?"""
    row = log.channel_by_id(db, ChannelId(refusal.channel))
    state = ledger.people.state(db, row) if row is not None else None
    return state is not None and state.may(IdentityId(refusal.card.identity), "invite")


def _counts(state: Membership, own: IdentityId, invite: bytes, identity: bytes) -> bool:
    """Would who asked believe us?"""
    found = state.invites.get(invite)
    if found is not None and found.author == own:
        return True
    return identity in state.everybody and state.may(own, "invite")


def _card(ledger: Ledger, db: apsw.Connection) -> Card | None:
    """This device, and those that lead to it from our identity; None if it can be shown to nobody."""
    entries = group.rooted_entries(ledger, db)
    chain: list[Device] = []
    device = bytes(ledger.device)
    while device in entries and len(chain) < len(entries):
        chain.append(entries[device])
        device = decode_certificate(entries[device].certificate).issuer
    return make_card(ledger.people.identity, chain) if chain else None


def _declined(
    db: apsw.Connection, row: log.ChannelRow, graph: Graph
) -> dict[tuple[bytes, bytes], tuple[Ask, int]]:
    """(identity, invite) of each request that was passed on and declined since -> it, and when that was last, Unix ms."""
    when: dict[bytes, int] = {}
    for id, encoded in controls.control_rows(db, row.n, DECLINE):
        operation, time_ms = decode_control(encoded[SALT_SIZE:]), _standing_ms(db, graph, id)
        assert isinstance(operation, Decline)
        when[operation.identity] = max(when.get(operation.identity, -1), time_ms)
    found: dict[tuple[bytes, bytes], tuple[Ask, int]] = {}
    for id, encoded in controls.control_rows(db, row.n, ASK) if when else ():
        ask = decode_control(encoded[SALT_SIZE:])
        assert isinstance(ask, Ask)
        who = decode_certificate(ask.devices[0].certificate).identity
        if 0 <= _standing_ms(db, graph, id) <= when.get(who, -1):
            found[who, ask.invite] = ask, when[who]
    return found


def _standing_ms(db: apsw.Connection, graph: Graph, id: bytes) -> int:
    """When the control commit of an operation was written, Unix ms; -1 if it does not stand."""
    head = log.commit_at(db, id[:14])
    commit = commit_id(head) if head is not None else b""
    if head is None or commit not in graph or not graph.verdict(commit).standing:
        return -1
    return decode_head(head).time >> 16
