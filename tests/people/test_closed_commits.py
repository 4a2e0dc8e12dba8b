"""Control commits under keys that some do not have: they reach everyone who must know them all the same."""

from __future__ import annotations

import os
from pathlib import Path

from quire.core.bundle import seal_bundle
from quire.core.bundle_file import Kind, Record
from quire.core.crypto.epochs import EpochKey
from quire.core.ids import ChannelId
from quire.storage import controls, keychain, log
from quire.store.behind import devices_behind, is_led
from quire.store.bundling import content_parts
from quire.store.people import read_graph
from quire.testing.authors import Author, Pen
from quire.testing.people import Person, carry, meet
from tests.people.conftest import Make, agree, sound, team_of
from tests.people.test_devices import linked


def test_a_link_that_names_what_it_opens_is_waited_for_by_nobody(people: Make) -> None:
    """Seed 187 of the simulation. Bob, who does not know that he is out, acts under a key of his own; Ada leads from hers
    to it, in a commit that knows his act: who joined since can open neither without the other."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    ada.chat.remove_member(team, bob.identity)
    bob.chat.rotate_key(team)
    bob.chat.rotate_key(team)  # this one travels under the first
    ada.chat.add_member(team, carol.chat.key_card())
    carol.take(ada.give())
    carol.say(team, "shows which key she has")  # so that no welcome comes any more
    ada.take(carol.give())
    ada.take(bob.give())
    ada.say(team, "knows all of it")
    carol.take(ada.give())
    assert carol.reads(team)[1:] == ["knows all of it"]
    agree(team, ada, carol)


def test_what_is_written_while_something_is_given_goes_the_next_time(people: Make) -> None:
    """Another thread gives Bob a new key and says something under it, after the one that gives has read who may what."""
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    db = ada.store.database.reader
    row = log.channel_by_id(db, team)
    assert row is not None
    graph = read_graph(db, row)
    before, [part] = devices_behind(db, row, graph), content_parts(db, row, graph)
    held, places = set(keychain.epoch_keys(db, team)), list(controls.control_places(db, row.n).values())
    ada.say(team, "before")
    ada.chat.rotate_key(team)
    ada.say(team, "meanwhile")
    assert devices_behind(db, row, graph) == before
    assert is_led(db, row, graph, bob.store.device, held, places, held)
    [now] = content_parts(db, row, graph)
    assert len(now.places) == len(part.places) + 1
    bob.take(ada.give())
    assert bob.reads(team) == ["before", "meanwhile"]
    agree(team, ada, bob)


def test_whom_a_stronger_word_keeps_in_reads_what_was_written_meanwhile(people: Make) -> None:
    """Seed 239 of the simulation that syncs. Bob removes Carol while Ada, who is senior to him, gives her a role: the
    removal does not hold. The key that came with it is Carol's once somebody knows of both, and not before."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    for _ in range(2):
        ada.chat.promote_member(team, bob.identity)
    meet(ada, bob, carol)
    bob.chat.remove_member(team, carol.identity)
    bob.say(team, "without carol")
    ada.chat.promote_member(team, carol.identity)
    carry(bob, carol)
    carry(ada, carol)
    assert carol.reads(team) == [], "who hears of the removal alone gives her nothing"
    carry(ada, bob)
    assert bob.role(team, carol) == "moderator"
    meet(ada, bob, carol)
    assert carol.reads(team) == ada.reads(team) == ["without carol"]
    agree(team, ada, bob, carol)
    ada.chat.remove_member(team, carol.identity)
    ada.say(team, "after a removal that holds")
    meet(ada, bob, carol)
    assert carol.reads(team) == ["without carol"]
    assert bob.reads(team)[-1] == "after a removal that holds"
    agree(team, ada, bob)
    sound(carol)


def a_key_for_nobody_else(liar: Person, team: ChannelId) -> list[Record]:
    """A new key of a channel that only the one who made it was given."""
    author, row = Author.of(liar.store), liar.store.channel_row(team)
    pen = Pen(author, team, liar.graph(team).heads, time=row.clock)
    current = liar.graph(team).state.epochs.current
    assert current is not None
    key = EpochKey(liar.keys(team)[current.epoch])
    made = pen.control(*pen.new_key(author)[1])
    return [_bundle(made, key, team)]


def test_who_leaves_under_a_key_that_they_lack_is_heard_by_their_other_devices(
    people: Make, tmp_path: Path
) -> None:
    """Seed 106 of the simulation: nothing that one has opens for others what was written under a liar's key."""
    ada, bob, mallory = people("ada", "bob", "mallory")
    team = team_of(ada, bob, mallory)
    laptop = linked(bob, tmp_path, "laptop")
    meet(ada, bob, laptop, mallory)
    bob.take(a_key_for_nobody_else(mallory, team))
    bob.say(team, "written under another key at once")
    bob.chat.leave_channel(team)
    records = bob.records()
    laptop.take(records)
    assert laptop.role(team) == "none"
    ada.take(records)
    assert bob.identity not in ada.roles(team)
    assert ada.reads(team) == ["written under another key at once"]
    sound(ada, bob, laptop)
    laptop.store.close()


def test_a_seal_that_names_what_is_closed_to_its_reader_brings_them_no_key(people: Make) -> None:
    """Seed 23 of thirty devices: Carol has the key that the next one came under, and not that of what it came after."""
    ada, carol, mallory = people("ada", "carol", "mallory")
    team = team_of(ada, carol, mallory)
    author, reader = Author.of(mallory.store), Author.of(ada.store)
    pen = Pen(author, team, mallory.graph(team).heads, time=mallory.store.channel_row(team).clock)
    (first,) = mallory.keys(team).values()
    second, made = pen.new_key(author, reader)
    open_to_all = pen.control(*made)
    closed = pen.control(*pen.new_key(author, reader)[1])
    ada.chat.rotate_key(team)
    carol.take(ada.give())
    carol.say(team, "shows which key she has")
    ada.take(carol.give())
    ada.take([_bundle(open_to_all, EpochKey(first), team), _bundle(closed, second, team)])
    ada.chat.rotate_key(team)
    ada.say(team, "under the next")
    carol.take(ada.give())
    assert carol.reads(team)[1:] == ["under the next"]
    agree(team, ada, carol)


def _bundle(commit: bytes, key: EpochKey, team: ChannelId) -> Record:
    return Record(Kind.BUNDLE, seal_bundle([commit], key, team, os.urandom))
