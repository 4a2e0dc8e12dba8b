"""People whose clocks are wrong."""

from __future__ import annotations

import time

import pytest

from quire.testing.people import meet
from tests.people.conftest import Make, agree, team_of

HOURS_NS = 6 * 3_600 * 10**9


def test_a_clock_that_was_set_back_keeps_nobody_from_acting(
    people: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 268 of the simulation: what Ada did had to come after what she knew, and her clock would not have it, so that
    she could not even write a bundle while a key was to be changed."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    bob.chat.rotate_key(team)
    meet(ada, bob, carol)
    real = time.time_ns
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time_ns", lambda: real() - HOURS_NS)
        ada.chat.remove_member(team, carol.identity)
        ada.say(team, "said at a wrong time")
        records = ada.give()
    bob.take(records)
    assert set(bob.roles(team)) == {ada.identity, bob.identity}
    bob.say(team, "heard")
    meet(ada, bob)
    assert set(ada.reads(team)) == {"said at a wrong time", "heard"}
    agree(team, ada, bob)


def test_who_learns_while_giving_that_their_time_is_over_gives_what_they_may(
    people: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """World 47 of those that erase: a removal from the future waits whole, and its time comes as Bob says what he is called."""
    ada, bob = people("ada", "bob")
    team = team_of(ada)
    ada.chat.add_member(team, bob.chat.key_card())
    bob.take(ada.give())
    assert bob.role(team) == "member"
    real = time.time_ns
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time_ns", lambda: real() + HOURS_NS)
        ada.chat.remove_member(team, bob.identity)
        records = ada.give()
    assert bob.take(records).parked
    assert bob.role(team) == "member"
    with monkeypatch.context() as later:
        later.setattr(time, "time_ns", lambda: real() + HOURS_NS)
        bob.give()
        assert bob.role(team) == "none"
