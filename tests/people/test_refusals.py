"""Who is not let in hears of it, from who invited them and from nobody else in their name."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from quire.core.bundle_file import Kind, Record
from quire.core.crypto.sealing import public_of
from quire.core.ids import ChannelId
from quire.core.invite import parse_link
from quire.core.refusal import DECLINED, Refusal, seal_refusal
from quire.core.views import Event
from quire.storage.asking import joinings
from quire.storage.meta import get_meta
from quire.store import wallclock
from quire.store.wallclock import now_ms
from quire.testing.people import Person, carry, meet
from tests import vaults
from tests.people.conftest import Make, sound

STILL_REFUSED = """
answer = [[one.refused, one.refused_by] for one in manager.joining()]
"""


def refusals(person: Person) -> list[Record]:
    return [one for one in person.records() if one.kind == Kind.REFUSAL]


def heard(person: Person) -> list[tuple[str, str]]:
    """Of each channel that one asked for: the rule, and who says so."""
    return [(one.refused, one.refused_by) for one in person.chat.joining()]


def link_of(person: Person) -> str:
    """By which they ask."""
    return joinings(person.store.database.reader)[0].link


def asking(founder: Person, who: Person, **invite: object) -> ChannelId:
    team = founder.chat.create_channel("team").id
    who.chat.join_channel(founder.chat.create_invite(team, **invite).text())  # type: ignore[arg-type]
    return team


def test_who_is_declined_hears_of_it_once_and_may_ask_again(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = asking(ada, bob, approval=True)
    request = bob.give()
    assert ada.take(request).requests == 1
    ada.chat.decline(team, bob.identity)
    before = ada.digest(team)
    assert ada.take(request).requests == 0  # it is on its way still, and asks nobody again
    assert ada.digest(team) == before
    answer = ada.give()
    assert len(refusals(ada)) == 1
    with bob.chat.events() as events:
        bob.take(answer)
        assert next(events) == Event("refused", team)
        after = bob.fingerprint()
        bob.take(answer)
        assert bob.fingerprint() == after
    assert heard(bob) == [(DECLINED, ada.identity.hex()[:8])]
    assert not [one for one in bob.records() if one.kind == Kind.REQUEST]
    assert vaults.in_forked_process(bob.store.folder, STILL_REFUSED) == [[DECLINED, ada.identity.hex()[:8]]]
    bob.chat.join_channel(ada.chat.create_invite(team).text())  # anew
    bob.take(answer)
    assert heard(bob) == [("", "")]
    carry(bob, ada)
    carry(ada, bob)
    assert bob.role(team) == "member"
    assert (bob.chat.joining(), refusals(ada)) == ([], [])
    sound(ada, bob)


def test_who_invited_tells_what_another_declined(people: Make) -> None:
    ada, bob, carol, dave = people("ada", "bob", "carol", "dave")
    team = ada.chat.create_channel("team").id
    link = ada.chat.create_invite(team, uses=0, role="admin").text()
    bob.chat.join_channel(link)
    carol.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob, carol)
    dave.chat.join_channel(ada.chat.create_invite(team, approval=True).text())
    meet(ada, carol)
    carry(dave, carol)
    meet(ada, bob, carol)
    bob.chat.decline(team, dave.identity)
    carry(bob, dave)
    carry(carol, dave)
    assert heard(dave) == [("", "")]  # Dave knows nobody but Ada
    meet(ada, bob)
    carry(ada, dave)
    assert heard(dave) == [(DECLINED, ada.identity.hex()[:8])]


@pytest.mark.parametrize(
    "rule", ["member_banned", "invite_used_up", "invite_withdrawn", "invite_expired", "invite_personal"]
)
def test_whom_a_rule_keeps_out_hears_which(people: Make, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    only = {"person": carol.identity} if rule == "invite_personal" else {}
    team = asking(ada, bob, expires=timedelta(hours=1), **only)
    if rule == "member_banned":
        ada.chat.ban_member(team, bob.identity)
    elif rule == "invite_used_up":
        carol.chat.join_channel(link_of(bob))
        carry(carol, ada)
    elif rule == "invite_withdrawn":
        ada.chat.withdraw_invite(team, ada.chat.invites(team)[0].key)
    elif rule == "invite_expired":
        then = now_ms() + 2 * 3_600_000
        monkeypatch.setattr(wallclock, "now_ms", lambda: then)
    [report] = carry(bob, ada)
    assert ([error.rule for error in report.refused], report.answers) == ([rule], True)
    assert carry(bob, ada)[0].answers is False  # noted already: no reason to sync on
    monkeypatch.undo()
    carry(ada, carol)
    assert heard(carol) in ([], [("", "")])  # sealed to Bob alone
    carry(ada, bob)
    assert [one for one, _ in heard(bob)] == [rule]


def lie(by: Person, to: Person, team: ChannelId, ahead_ms: int = 0, card: Person | None = None) -> Record:
    parsed = parse_link(link_of(to))
    invite = parsed.secret.key(parsed.channel).public
    public = public_of(bytes(get_meta(to.store.database.reader, "sealing_seed")))
    made = Refusal(team, to.identity, invite, DECLINED, now_ms() + ahead_ms, (card or by).chat._card())
    return Record(Kind.REFUSAL, seal_refusal(made, by.store.ledger.signing_key, public))


def test_a_liar_refuses_nobody_in_another_s_name(people: Make) -> None:
    ada, bob, eve = people("ada", "bob", "eve")
    team = asking(ada, bob, uses=2)
    eve.chat.join_channel(ada.chat.create_invite(team).text())
    carry(eve, ada)
    carry(ada, eve)
    assert eve.role(team) == "member"  # of the channel, even
    before = bob.fingerprint()
    true = lie(ada, bob, team)
    flipped = Record(Kind.REFUSAL, true.data[:-1] + bytes([true.data[-1] ^ 1]))
    lies = {
        "refusal_stranger": lie(eve, bob, team),
        "refusal_device": lie(eve, bob, team, card=ada),
        "refusal_ahead": lie(ada, bob, team, ahead_ms=10**9),
        "sealing_open": flipped,
        "refusal_version": Record(Kind.REFUSAL, b"\2" + true.data[1:]),
        "refusal_size": Record(Kind.REFUSAL, b"\1" + os.urandom(100)),
    }
    for rule, record in lies.items():
        assert [error.rule for error in bob.take([record]).refused] == [rule]
    somebody_else_s = Record(Kind.REFUSAL, b"\1" + os.urandom(2000))
    assert bob.take([somebody_else_s]).closed == 1
    assert bob.fingerprint() == before
    bob.take([true])
    assert heard(bob) == [(DECLINED, ada.identity.hex()[:8])]


def test_who_was_in_believes_whoever_may_let_them_in(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = ada.chat.create_channel("team").id
    for one, role in ((bob, "admin"), (carol, "member")):
        one.chat.join_channel(ada.chat.create_invite(team, role=role).text())
    meet(ada, bob, carol)
    ada.chat.ban_member(team, carol.identity)
    meet(ada, bob, carol)
    carol.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    carry(carol, bob)
    carry(bob, carol)
    assert heard(carol) == [("member_banned", "bob")]


def test_refusals_are_bounded_and_go_in_time(
    people: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, carol, dave = people("ada", "bob", "carol", "dave")
    monkeypatch.setattr("quire.core.limits.REFUSALS_PER_CHANNEL_MAX", 2)
    team = ada.chat.create_channel("team").id
    link = ada.chat.create_invite(team, uses=0).text()
    ada.chat.withdraw_invite(team, ada.chat.invites(team)[0].key)
    for one in (bob, carol, dave):
        one.chat.join_channel(link)
        carry(one, ada)
    assert len(refusals(ada)) == 2
    carry(ada, bob, dave)
    assert [heard(one)[0][0] for one in (bob, dave)] == ["", "invite_withdrawn"]
