"""What a newcomer can read of the past, down to the bytes; and wrong keys that are told and mended, through vaults.

The newcomer holds a copy of every bundle that anybody ever made, and tries on each of them every key that their vault
has, and every key that any link leads to from there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from quire.core.bundle import open_bundle
from quire.core.bundle_file import Kind, Record, write_bundle_file
from quire.core.commit import decode_commit
from quire.core.control import Link, Report, Rotate, Seal, SealedKey, decode_control
from quire.core.crypto import epochs as crypto
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.secrets import KEY_SIZE
from quire.core.ids import ChannelId
from quire.core.operation import SALT_SIZE
from quire.errors import MalformedError
from quire.store import wallclock
from quire.testing.people import Person, meet
from tests.attacks.attacker import Hostile
from tests.people.conftest import Make, agree, sound, team_of


@dataclass
class Archive:
    """Every record that anybody ever gave anybody."""

    channel: ChannelId
    records: list[Record] = field(default_factory=list)

    def gather(self, *people: Person) -> None:
        for person in people:
            self.records += person.records(self.channel)
        meet(*people)

    def opened_by(self, keys: set[bytes]) -> Iterator[bytes]:
        """What these keys open, decrypted."""
        for record in self.records:
            for key in keys if record.kind is Kind.BUNDLE else ():
                try:
                    commits = open_bundle(record.data, EpochKey(key), self.channel)
                except MalformedError:
                    continue
                for encoded in commits:
                    yield b"".join(decode_commit(encoded)[0].operations)


def values(person: Person) -> Iterator[Any]:
    """Everything in every table of a vault, those that the search index is made of included."""
    db = person.store.database.reader
    plain = "type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    for (table,) in db.execute(f"SELECT name FROM sqlite_master WHERE {plain}").fetchall():
        for row in db.execute(f"SELECT * FROM {table}"):
            yield from row


def all_keys(person: Person, channel: ChannelId) -> set[bytes]:
    """Whatever in a vault could be a key, and what any link opens with any of these."""
    found = {bytes(one) for one in values(person) if isinstance(one, bytes) and len(one) == KEY_SIZE}
    links = [one for one in control_operations(person, channel) if isinstance(one, Link)]
    while fresh := {key for key in _behind(links, found, channel) if key not in found}:
        found |= fresh
    return found


def _behind(links: list[Link], keys: set[bytes], channel: ChannelId) -> Iterator[bytes]:
    for link in links:
        for key in keys:
            try:
                yield crypto.open_link(link.sealed, EpochKey(key), channel, link.parent).reveal()
            except MalformedError:
                continue


def control_operations(person: Person, channel: ChannelId) -> list[Any]:
    row = person.store.channel_row(channel)
    rows: Any = person.store.database.reader.execute("SELECT op FROM control WHERE channel = ?", (row.n,))
    return [decode_control(op[SALT_SIZE:]) for (op,) in rows]


PAST = ("before any key", "under the first key", "under the second", "just before")
LATER = ("just after", "under a new one")


@pytest.mark.parametrize("scope", ["all", "date", "joined"])
def test_who_comes_later_opens_what_their_scope_says_and_not_one_byte_more(people: Make, scope: str) -> None:
    ada, bob, eve = people("ada", "bob", "eve")
    team = ada.chat.create_channel("team").id
    archive = Archive(team)
    ada.say(team, PAST[0])
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    archive.gather(ada, bob)
    bob.say(team, PAST[1])
    archive.gather(ada, bob)
    date = ada.graph(team).state.epochs.every()[0].time >> 16
    while wallclock.now_ms() <= date + 1:
        pass
    date = wallclock.now_ms()
    if scope == "date":  # the present key leads back: what begins at the date does not
        ada.chat.set_policy(team, "history", date)
    ada.chat.rotate_key(team)
    ada.say(team, PAST[2])
    bob.take(ada.give())
    bob.say(team, PAST[3])
    archive.gather(ada, bob)

    history = datetime.fromtimestamp(date / 1_000, UTC) if scope == "date" else scope
    eve.chat.join_channel(ada.chat.create_invite(team, history=history).text())
    archive.gather(ada, bob, eve)
    ada.say(team, LATER[0])
    archive.gather(ada, bob, eve)
    ada.chat.rotate_key(team)
    bob.take(ada.give())
    bob.say(team, LATER[1])
    archive.gather(ada, bob, eve)
    eve.take(b"".join(write_bundle_file(archive.records)))

    shown = {"all": (*PAST, *LATER), "date": (*PAST[2:], *LATER), "joined": LATER}[scope]
    hidden = set(PAST) - set(shown)
    assert eve.reads(team) == list(shown)
    opened = b"\n".join(archive.opened_by(all_keys(eve, team)))
    everything = b"\n".join(archive.opened_by(all_keys(ada, team)))
    for body in (*PAST, *LATER):
        assert body.encode() in everything, "it was in some bundle"
        assert (body.encode() in opened) == (body in shown)
    kept = repr(list(values(eve)))
    assert all(body in kept for body in shown)
    assert not any(body in kept for body in hidden)
    assert set(eve.keys(team)) == ada.graph(team).state.epochs.admissible(eve.identity)
    sound(ada, bob, eve)


def test_the_present_key_is_not_sealed_to_a_newcomer_if_it_leads_further_back(people: Make) -> None:
    """Ada lets Eve in for what comes; Bob, who knows nothing of it, puts Carol out, and his key leads back."""
    ada, bob, carol, eve = people("ada", "bob", "carol", "eve")
    team = team_of(ada, bob, carol)
    ada.chat.set_role(team, "bob", "admin")
    ada.say(team, "long before")
    meet(ada, bob, carol)
    eve.chat.join_channel(ada.chat.create_invite(team, history="joined").text())
    ada.take(eve.give())
    bob.chat.remove_member(team, "carol")
    bob.say(team, "meanwhile")
    meet(ada, bob)
    meet(ada, bob, eve)
    bob.say(team, "now")
    meet(ada, bob, eve)
    assert "now" in eve.reads(team)
    assert "long before" not in eve.reads(team)
    admissible = ada.graph(team).state.epochs.admissible(eve.identity)
    theirs = all_keys(eve, team)
    assert {epoch for epoch, key in ada.keys(team).items() if key in theirs} <= admissible
    agree(team, ada, bob)


def test_who_was_sealed_a_wrong_key_reports_it_and_reads_after_the_next_writer(people: Make) -> None:
    """Mallory changes the key, and seals to Carol, who only reads, something else."""
    ada, mallory, carol = people("ada", "mallory", "carol")
    team = team_of(ada, mallory, carol)
    ada.chat.set_role(team, "carol", "guest")
    meet(ada, mallory, carol)
    hostile = Hostile(mallory)
    key = EpochKey(os.urandom(32))
    epoch = crypto.epoch_id(key, team)
    seals = []
    for one in sorted((ada, mallory, carol), key=lambda one: one.store.device):
        good = crypto.seal_to(key, team, one.store.device, Hostile(one).author.sealing)
        seals.append(SealedKey(one.store.device, os.urandom(len(good)) if one is carol else good))
    record = hostile.sealed(team, hostile.pen(team).control(Rotate(epoch), Seal(epoch, tuple(seals))))
    ada.take([record])
    carol.take([record])
    assert epoch in ada.keys(team)
    assert epoch not in carol.keys(team)
    assert [one.epoch for one in control_operations(carol, team) if isinstance(one, Report)] == [epoch]
    assert carol.store.verify().ok

    carol.reopen()
    ada.take(carol.give())
    assert ada.graph(team).state.epochs.reported(epoch) == {carol.store.device}
    ada.say(team, "can you read this")
    assert ada.digest(team).epoch == epoch, "a seal was enough"
    assert not ada.graph(team).state.epochs.reported(epoch)
    carol.take(ada.give())
    assert epoch in carol.keys(team)
    assert carol.reads(team) == ["can you read this"]
    agree(team, ada, carol)


def test_who_may_not_read_back_hears_what_the_others_are_called(people: Make) -> None:
    """They said it once, before; and say it again, once, to who came since."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    carol.chat.join_channel(ada.chat.create_invite(team, history="joined").text())
    meet(ada, bob, carol)
    assert sorted(one.name for one in carol.chat.members(team)) == ["ada", "bob", "carol"]
    before = [one.digest(team) for one in (ada, bob)], [len(one.records()) for one in (ada, bob)]
    meet(ada, bob, carol)
    assert ([one.digest(team) for one in (ada, bob)], [len(one.records()) for one in (ada, bob)]) == before
    sound(ada, bob, carol)
