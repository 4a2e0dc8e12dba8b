"""Who is not let in hears of it by a direct link and by a relay alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.core.ids import ChannelId
from quire.testing.people import Person, carry
from tests.cli.conftest import InProcess
from tests.sync.links import sync
from tests.sync.test_relay_needs import by_relay


@pytest.fixture
def three(tmp_path: Path) -> tuple[Person, Person, Person, ChannelId]:
    """Bob and Carol ask to be let into Ada's channel, by one invite for one."""
    ada, bob, carol = (Person.create(tmp_path, name) for name in ("ada", "bob", "carol"))
    team = ada.chat.create_channel("team").id
    link = ada.chat.create_invite(team).text()
    bob.chat.join_channel(link)
    carol.chat.join_channel(link)
    return ada, bob, carol, team


def heard(person: Person) -> list[str]:
    return [one.refused for one in person.chat.joining()]


def test_by_a_direct_link_in_one_sync(three: tuple[Person, Person, Person, ChannelId]) -> None:
    ada, bob, carol, team = three
    sync(bob, ada)
    assert bob.role(team) == "member"
    ours, _ = sync(carol, ada)
    assert heard(carol) == ["invite_used_up"]
    assert ours.rounds <= 3  # the answer is a reason for one more round, and no reason to go on
    assert team not in {info.id for info in carol.chat.list_channels()}


def test_by_a_relay_alone(three: tuple[Person, Person, Person, ChannelId], url: str) -> None:
    ada, bob, carol, team = three
    by_relay(url, bob, ada, bob)
    assert bob.role(team) == "member"
    by_relay(url, carol, ada, carol)  # the invite is used up when her request comes to lie there
    assert heard(carol) == ["invite_used_up"]
    before = carol.fingerprint()
    by_relay(url, ada)
    assert [one.rule for one in carol.take(ada.give()).refused] == []
    assert (carol.fingerprint(), bob.role(team)) == (before, "member")


def test_a_declined_request_by_a_relay_alone(tmp_path: Path, url: str) -> None:
    ada, bob = (Person.create(tmp_path, name) for name in ("ada", "bob"))
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team, approval=True).text())
    by_relay(url, bob, ada)
    ada.chat.decline(team, bob.identity)
    by_relay(url, ada, bob)
    assert heard(bob) == ["declined"]
    bob.chat.join_channel(ada.chat.create_invite(team, approval=True).text())
    by_relay(url, bob, ada)
    ada.chat.approve(team, bob.identity)
    by_relay(url, ada, bob)
    assert bob.role(team) == "member"


@pytest.mark.parametrize("aboard", [False, True])
def test_who_was_let_in_in_vain_hears_of_it_by_a_relay_alone(tmp_path: Path, url: str, aboard: bool) -> None:
    """Bob, who does not know that he is out, lets Carol in under a key of his own, which leads to no other. What put him out
    comes to her under that key, also if it lay there under another before (spec 06, 8.6)."""
    ada, bob, carol = (Person.create(tmp_path, name) for name in ("ada", "bob", "carol"))
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team, role="admin").text())
    by_relay(url, bob, ada, bob)
    ada.chat.remove_member(team, bob.identity)
    if aboard:
        by_relay(url, ada)
    bob.chat.add_member(team, carol.chat.key_card(), history="joined")
    carry(bob, carol)
    assert carol.role(team) == "member"
    carry(bob, ada)
    by_relay(url, ada, carol)
    assert carol.role(team) == "none"


def test_a_sync_on_the_command_line_tells_both_sides(tmp_path: Path, url: str, compiled: Path) -> None:
    for name in ("ada", "bob"):
        (tmp_path / name).mkdir()
    ada, bob = (InProcess(tmp_path / name, compiled) for name in ("ada", "bob"))
    ada("init", "--name", "ada")
    bob("init", "--name", "bob")
    ada("channel", "create", "club")
    bob("join", ada("invite", "club", "--approval", "--json").json["link"])
    bob("sync", "--relay", url)
    assert "bob (" in (said := ada("sync", "--relay", url).out)
    assert "asks to be a member of #club" in said
    ada("requests", "club", "--decline", "bob")
    ada("sync", "--relay", url)
    assert "you are not let into #club: the request was declined" in bob("sync", "--relay", url).out
    assert "not let into" not in bob("sync", "--relay", url).out
