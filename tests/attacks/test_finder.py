"""Somebody who finds an invite link, a request on its way, a card, or a linking code over a shoulder."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from quire.core.bundle_file import Kind, Record
from quire.core.ids import ChannelId
from quire.core.invite import InviteLink, JoinRequest, join_proof, open_request, seal_request
from quire.errors import QuireError, UnauthorisedError
from quire.store import wallclock
from quire.store.linking import LinkGuest, LinkHost
from quire.testing.people import Person
from tests.attacks.attacker import rules, seen_afterwards, unmoved
from tests.people.conftest import Make, team_of


def asking(person: Person, link: InviteLink, **changed: object) -> Record:
    """A request that our program would not write."""
    key = link.secret.key(link.channel)
    fields = {
        "channel": link.channel, "card": person.chat._card(), "invite": key.public,
        "proof": join_proof(key, link.channel, person.identity), "name": person.name, "created_ms": 1,
    } | changed  # fmt: skip
    request = JoinRequest(**fields)  # type: ignore[arg-type]
    return Record(Kind.REQUEST, seal_request(request, person.store.ledger.signing_key, os.urandom))


def members(ada: Person, team: ChannelId) -> list[str]:
    return seen_afterwards(ada, team)["members"]


def test_a_link_that_is_no_longer_open_lets_nobody_in(people: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired (in the request's own words it is yesterday), withdrawn, used up, for another person."""
    ada, eve = people("ada", "eve")
    team = team_of(ada)
    withdrawn = ada.chat.create_invite(team, uses=0)
    ada.chat.withdraw_invite(team, withdrawn.secret.key(team).public)
    personal = ada.chat.create_invite(team, person=ada.identity)
    expired = ada.chat.create_invite(team, expires=timedelta(hours=1))
    now = wallclock.now_ms()
    before = ada.digest(team)
    lies = [asking(eve, withdrawn), asking(eve, personal), asking(eve, expired)]
    monkeypatch.setattr(wallclock, "now_ms", lambda: now + 7_200_000)
    assert rules(ada.take(lies)) == ["invite_withdrawn", "invite_personal", "invite_expired"]
    with unmoved(ada):  # she is told so, which is noted once
        assert len(rules(ada.take(lies))) == 3
    monkeypatch.undo()
    assert ada.digest(team) == before
    assert members(ada, team) == [ada.identity.hex()]


def test_what_is_in_somebody_elses_request_is_of_no_use(people: Make) -> None:
    """Whoever has the link opens it and finds a proof: it is that person's, in that channel, under that invite."""
    ada, bob, eve = people("ada", "bob", "eve")
    team = team_of(ada)
    link, other = ada.chat.create_invite(team, uses=0), ada.chat.create_invite(team, uses=0)
    key = link.secret.key(team)
    seen = open_request(asking(bob, link).data, key.public, team)
    for stolen in ({"proof": seen.proof}, {"proof": seen.proof, "invite": other.secret.key(team).public}):
        with pytest.raises(QuireError):  # our own program does not even write it
            asking(eve, link, **stolen)
    unchecked = pytest.MonkeyPatch()
    unchecked.setattr("quire.core.invite.check_request", lambda request: None)
    forged = [
        asking(eve, link, proof=seen.proof),
        asking(eve, link, card=seen.card),
        asking(eve, other, proof=seen.proof),
    ]
    unchecked.undo()
    with unmoved(ada):
        assert rules(ada.take(forged)) == ["request_proof", "request_proof", "request_proof"]
        stolen_card = asking(
            eve, link, card=seen.card, proof=seen.proof
        )  # true in all, but not signed by Bob
        assert rules(ada.take([stolen_card])) == ["request_device"]
    assert members(ada, team) == [ada.identity.hex()]


def test_a_name_of_any_kind_costs_nothing_but_itself(people: Make) -> None:
    """As long as it may be, of controls and marks; the request is answered, the rest of the file is read."""
    ada, bob = people("ada", "bob")
    team = team_of(ada)
    for name in ("x" * 256, "\x00\n\x1b[2J", "\u202e" * 200, "", "\u0301" * 256):
        link = ada.chat.create_invite(team, approval=True)
        report = ada.take([asking(bob, link, name=name), *bob.records()])
        assert (report.requests, rules(report)) == (1, [])
        ada.chat.decline(team, bob.identity)
    assert rules(ada.take([asking(bob, link, name="x" * 257)])) == ["request_structure"]
    assert members(ada, team) == [ada.identity.hex()]


def test_who_read_a_code_over_a_shoulder_has_one_guess_and_after_it_none(people: Make) -> None:
    """Another code, then the right one: the attempt was spent by the first, and nobody became a device."""
    [ada] = people("ada")
    host, other = LinkHost(ada.store), LinkHost(ada.store).code.text()
    before = ada.fingerprint()
    guessing, knowing = LinkGuest(other), LinkGuest(host.code.text())
    with pytest.raises(UnauthorisedError) as wrong:
        guessing.offer(host.answer(guessing.start()))
    assert wrong.value.rule == "code_wrong"
    with pytest.raises(QuireError):
        knowing.offer(host.answer(knowing.start()))
    with pytest.raises(QuireError):
        host.grant(os.urandom(1_400))
    assert ada.fingerprint() == before
    assert len(ada.chat.devices()) == 1
