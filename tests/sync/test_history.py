"""What a newcomer may read of the past, by sync: what honest peers give, and what a relay's items open to who has them all.

The newcomer is curious: they hold every item that anybody ever put into any mailbox, and try on each of them whatever in
their vault could be a key, and every key that any link leads to from there. (By bundle
files: tests/people/test_history_scope.py.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quire.channels.relay_notes import Found
from quire.channels.relaying import Relaying
from quire.core import relay_items
from quire.core.bundle import bundle_tag, open_bundle, tag_of
from quire.core.bundle_file import KNOWN, Kind, Record
from quire.core.commit import decode_commit
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.sealing import public_of
from quire.core.ids import ChannelId
from quire.core.welcome import open_welcome, recipient_tag, recipients
from quire.errors import MalformedError
from quire.node.peer import PeerSync
from quire.store import offering, wallclock
from quire.store.offering import Holding
from quire.sync.messages import Part, decode_message
from quire.testing.people import Person
from tests.people.test_history_scope import all_keys, values
from tests.sync.links import ends, sync

RELAY = b"r" * 16
PAST = ("before any key", "under the first key", "under the second", "just before")
LATER = ("just after", "under a new one")
SHOWN = {"all": (*PAST, *LATER), "date": (*PAST[2:], *LATER), "joined": LATER}


class Mailboxes:
    """A relay that forgets nothing, and shows everything to whoever asks."""

    def __init__(self) -> None:
        self.items: list[tuple[bytes, bytes]] = []

    def put_all_again(self, *people: Person) -> None:
        """As to another relay, now, with the keys that there are now."""
        for person in people:
            again = Relaying(person.chat).outgoing.items(b"another relay...", everything=True)
            self.items += [(item.mailbox.public, item.data) for item in again]

    def serve(self, *people: Person) -> None:
        """Everybody puts what they have and takes what is theirs, until nobody has anything new."""
        before = -1
        while len(self.items) != before:
            before = len(self.items)
            for person in people:
                vault = Relaying(person.chat)
                for item in list(vault.outgoing.items(RELAY, everything=True)):
                    self.items.append((item.mailbox.public, item.data))
                    vault.notes.given(RELAY, item)
                while found := self._for(vault):
                    vault.take(RELAY, found)
                    vault.notes.settle(RELAY)

    def _for(self, vault: Relaying) -> list[Found]:
        boxes = vault.boxes.all()
        reaches = vault.notes.reaches(RELAY, [*boxes.followed, *boxes.content])
        return [
            Found(mailbox, cursor, data)
            for cursor, (mailbox, data) in enumerate(self.items, start=1)
            if mailbox in reaches and cursor > reaches[mailbox].top
        ]

    def records(self) -> list[Record]:
        """All, those that lie here in parts put together."""
        found = [Record(Kind(data[0]), data[1:]) for _, data in self.items if data[0] in KNOWN]
        wholes: dict[bytes, dict[int, relay_items.Part]] = {}
        for _, data in self.items:
            if data[0] == relay_items.PART:
                part = relay_items.part_of(data)
                wholes.setdefault(part.whole, {})[part.number] = part
        for name, parts in wholes.items():
            assert len(parts) == parts[0].parts, "all of it lies there"
            found.append(relay_items.assembled(name, {n: part.data for n, part in parts.items()}))
        return found


def opened(records: list[Record], keys: set[bytes], channel: ChannelId, seeds: set[bytes]) -> bytes:
    """All that these keys and sealing seeds open, decrypted."""
    return b"\n".join(_opened(records, keys, channel, seeds))


def _opened(
    records: list[Record], keys: set[bytes], channel: ChannelId, seeds: set[bytes]
) -> Iterator[bytes]:
    # A bundle names the key that opens it, a welcome those whom it is sealed to.
    openers = {bundle_tag(EpochKey(key), channel): key for key in keys}
    readers = {recipient_tag(public_of(seed)): seed for seed in seeds}
    for record in records:
        found: list[bytes] = []
        if record.kind is Kind.BUNDLE:
            found = [key for tag, key in openers.items() if tag == tag_of(record.data)]
        elif record.kind is Kind.WELCOME:
            found = [seed for tag, seed in readers.items() if tag in recipients(record.data)]
        for key in found:
            try:
                if record.kind is Kind.BUNDLE:
                    commits = list(open_bundle(record.data, EpochKey(key), channel))
                else:
                    commits = list(open_welcome(record.data, key).commits)
            except MalformedError:
                continue
            for encoded in commits:
                yield b"".join(decode_commit(encoded)[0].operations)


@pytest.fixture
def three(tmp_path: Path) -> tuple[Person, Person, Person]:
    ada, bob, eve = (Person.create(tmp_path, name) for name in ("ada", "bob", "eve"))
    return ada, bob, eve


def tell(three: tuple[Person, Person, Person], relay: Mailboxes, scope: str) -> ChannelId:
    """Ada and Bob talk under several keys; Eve comes in with this scope, and they talk on. All by the relay."""
    ada, bob, eve = three
    team = ada.chat.create_channel("team").id
    ada.say(team, PAST[0])
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    relay.serve(ada, bob)
    bob.say(team, PAST[1])
    relay.serve(ada, bob)
    date = ada.graph(team).state.epochs.every()[0].time >> 16
    while wallclock.now_ms() <= date + 1:
        pass
    date = wallclock.now_ms()
    if scope == "date":  # the present key leads back: what begins at the date does not
        ada.chat.set_policy(team, "history", date)
    ada.chat.rotate_key(team)
    ada.say(team, PAST[2])
    relay.serve(ada, bob)
    bob.say(team, PAST[3])
    relay.serve(ada, bob)
    history = datetime.fromtimestamp(date / 1_000, UTC) if scope == "date" else scope
    eve.chat.join_channel(ada.chat.create_invite(team, history=history).text())
    relay.serve(ada, bob, eve)
    ada.say(team, LATER[0])
    relay.serve(ada, bob, eve)
    ada.chat.rotate_key(team)
    relay.serve(ada, bob, eve)
    bob.say(team, LATER[1])
    relay.serve(ada, bob, eve)
    return team


@pytest.mark.parametrize(
    ("scope", "in_parts"), [*((scope, False) for scope in SHOWN), ("date", True), ("joined", True)]
)
def test_all_that_a_relay_has_opens_to_a_newcomer_what_their_scope_says_and_not_one_byte_more(
    three: tuple[Person, Person, Person], scope: str, in_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_parts:  # as what is larger than an item is, so here everything
        monkeypatch.setattr(relay_items, "ITEM_BYTES_MAX", 600)
        monkeypatch.setattr(relay_items, "PART_BYTES_MAX", 500)
        monkeypatch.setattr(relay_items, "PARTS_MAX", 10_000)
    ada, bob, eve = three
    relay = Mailboxes()
    team = tell(three, relay, scope)
    relay.put_all_again(ada, bob)
    everything = [Found(mailbox, n, data) for n, (mailbox, data) in enumerate(relay.items, 1)]
    Relaying(eve.chat).take(RELAY, everything)  # not what is theirs only
    eve.reopen()
    shown = SHOWN[scope]
    assert eve.reads(team) == list(shown)
    assert bob.reads(team) == [*PAST, *LATER]
    ours, all_of_eve = all_keys(ada, team), all_keys(eve, team)
    whole = opened(relay.records(), ours, team, ours)
    theirs = opened(relay.records(), all_of_eve, team, all_of_eve)
    for body in (*PAST, *LATER):
        assert body.encode() in whole, "it lies in some mailbox"
        assert (body.encode() in theirs) == (body in shown)
    kept = repr(list(values(eve)))
    assert all(body in kept for body in shown)
    assert not any(body in kept for body in set(PAST) - set(shown))


@pytest.mark.parametrize("scope", SHOWN)
def test_an_honest_peer_gives_a_newcomer_who_claims_every_key_no_more_than_their_scope(
    three: tuple[Person, Person, Person], scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ada sends is opened with Ada's own keys: what is beyond the scope is not even sent sealed."""
    ada, _, eve = three
    team = tell(three, Mailboxes(), scope)
    tags = tuple(bundle_tag(EpochKey(key), team) for key in ada.keys(team).values())
    monkeypatch.setattr(offering, "holding", lambda *where: Holding((), tags))

    async def both() -> list[bytes]:
        here, there = ends(ada, eve)
        mine, yours = PeerSync(ada.chat, here), PeerSync(eve.chat, there)
        offers = yours._vault.offers
        yours._vault.offers = lambda: dict.fromkeys(offers(), b"?" * 16)  # type: ignore[method-assign]
        running = asyncio.gather(mine.run(), yours.run(), return_exceptions=True)
        async with asyncio.timeout(60):
            await running
        return here.sent

    parts = [one for one in map(decode_message, asyncio.run(both())) if isinstance(one, Part)]
    sent = [Record(Kind(part.kind), part.data) for part in parts if part.kind in (Kind.BUNDLE, Kind.WELCOME)]
    keys = all_keys(ada, team)
    said = opened(sent, keys, team, keys)
    for body in (*PAST, *LATER):
        assert (body.encode() in said) == (body in SHOWN[scope])
    monkeypatch.undo()
    sync(ada, eve)
    assert eve.reads(team) == list(SHOWN[scope])
