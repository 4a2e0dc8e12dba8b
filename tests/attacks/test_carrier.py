"""Whoever carries a bundle file, or a relay that looks: they hold the bytes and no key. They read, cut, flip, repeat, mix."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from quire.core.bundle_file import Kind, Record, read_bundle_file, write_bundle_file
from quire.core.ids import ChannelId
from quire.testing.people import Person, in_file, meet
from tests.attacks.attacker import rules, seen_afterwards, unmoved
from tests.people.conftest import Make, agree, team_of

Road = tuple[Person, Person, ChannelId, bytes, bytes]


def a_road(people: Make) -> Road:
    """Ada wrote to Bob twice: an early file, and one with all that came since, a removal and new keys among it."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    ada.say(team, "the first confidential word")
    early = ada.give()
    for n in range(3):
        ada.say(team, f"confidential {n}")
        ada.chat.rotate_key(team)
    ada.chat.remove_member(team, "carol", reason="told too much")
    ada.say(team, "the last confidential word")
    return ada, bob, team, early, ada.give()


def flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def splice(data: bytes, chance: random.Random) -> bytes:
    first, second = sorted(chance.randrange(len(data)) for _ in range(2))
    return data[:first] + data[second:]


def repeat(data: bytes, chance: random.Random) -> bytes:
    first, second = sorted(chance.randrange(len(data)) for _ in range(2))
    return data[:second] + data[first:]


def inside(data: bytes, chance: random.Random) -> bytes:
    """Framed well, so that what is refused is refused for what it says."""
    records = in_file(data)
    chance.shuffle(records)
    at = chance.randrange(len(records))
    kind = chance.choice([records[at].kind, *Kind])
    records[at] = Record(kind, chance.choice([flip, cut, splice, repeat])(records[at].data, chance))
    del records[chance.randrange(len(records))]
    return b"".join(write_bundle_file(records))


def mixed(data: bytes, chance: random.Random) -> bytes:
    """Two records crossed: the beginning of one, the end of another."""
    records = in_file(data)
    one, other = chance.choice(records), chance.choice(records)
    at = chance.randrange(len(one.data))
    records.insert(chance.randrange(len(records)), Record(one.kind, one.data[:at] + other.data[at:]))
    return b"".join(write_bundle_file(records * 2))


WAYS: list[Callable[[bytes, random.Random], bytes]] = [flip, cut, splice, repeat, inside, mixed]


def mutations_do_no_harm(people: Make, rounds: int) -> None:
    """The report has errors of the peer only. A copy that brings nothing changes nothing, and the true file all the rest."""
    ada, bob, team, early, whole = a_road(people)
    bob.take(early)
    brought = 0
    for seed in range(rounds):
        chance = random.Random(seed)
        broken = WAYS[seed % len(WAYS)](whole, chance)
        if not list(read_bundle_file([broken])):
            continue
        before = bob.fingerprint() if seed % 10 == 0 else ""
        report = bob.take(broken)
        rules(report)
        brought += report.new
        if before and not (report.new or report.kept or report.requests or report.parked):
            assert bob.fingerprint() == before, seed
    assert brought > 0  # what was whole in them was taken
    assert rules(bob.take(whole)) == []
    assert bob.reads(team)[-1] == "the last confidential word"
    with unmoved(bob):
        bob.take(early)
    agree(team, ada, bob)


@pytest.mark.slow
@pytest.mark.bounded
def test_a_hundred_mutations_do_no_harm(people: Make) -> None:
    mutations_do_no_harm(people, 120)


@pytest.mark.slow
def test_thousands_of_mutations_do_no_harm(people: Make) -> None:
    mutations_do_no_harm(people, 6_000)


def test_nothing_that_is_said_stands_in_the_bytes(people: Make) -> None:
    ada, bob, team, early, whole = a_road(people)
    for data in (early, whole, bob.give()):
        for secret in (b"confidential", b"told too much", b"team", b"ada", b"carol", team):
            assert secret not in data
        for person in (ada, bob):
            unkept = [record.data for record in in_file(data) if record.kind != Kind.KEPT]
            assert bytes(person.store.device) not in b"".join(unkept)


def test_a_request_tells_who_carries_it_neither_who_nor_where(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada)
    bob.chat.join_channel(ada.chat.create_invite(team).text(), name="bob the newcomer")
    [request] = [record.data for record in bob.records() if record.kind == Kind.REQUEST]
    for secret in (b"bob", team, bob.identity, ada.identity, bob.store.device):
        assert secret not in request


@pytest.mark.slow
@pytest.mark.bounded
def test_an_old_file_brings_nothing_back(people: Make) -> None:
    """Not a member, not a deleted text, not an older self-channel in the place of a newer one."""
    ada, bob, team, early, whole = a_road(people)
    [gone] = [message for message in ada.chat.get_stored_messages(team) if message.body == "confidential 1"]
    ada.chat.delete_message(gone.id)
    meet(ada, bob)
    with unmoved(bob):
        for data in (early, whole, early):
            assert rules(bob.take(data)) == []
    seen = seen_afterwards(bob, team)
    assert "confidential 1" not in seen["bodies"]
    assert len(seen["members"]) == 2


@pytest.mark.slow
@pytest.mark.bounded
def test_records_of_nothing_are_stepped_over(people: Make) -> None:
    """Random bytes under every kind, at every size, as many as one likes, in front of the true ones."""
    ada, bob, team, _, whole = a_road(people)
    noise = [Record(kind, os.urandom(1 << size)) for kind in Kind for size in range(0, 16, 3)]
    report = bob.take([*noise, *in_file(whole)])
    assert set(rules(report)) <= {
        "welcome_size", "welcome_version", "welcome_recipients", "bundle_size", "bundle_version", "request_size",
        "request_version", "refusal_size", "refusal_version", "carried", "carried_not_canonical",
    }  # fmt: skip
    assert bob.reads(team)[-1] == "the last confidential word"
    agree(team, ada, bob)
