"""A relay forgets, and has items of a size: what is lacking is asked for and put again, what is large goes in parts, and
of several members who could welcome somebody one does."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from quire import Node
from quire.channels import relay_outgoing
from quire.channels.needs import Needs
from quire.channels.relaying import Relaying
from quire.core import relay_items
from quire.core.bundle_file import Kind, Record
from quire.core.control import Admit, Role
from quire.core.crypto.epochs import EpochKey
from quire.core.ids import ChannelId
from quire.core.relay_frames import ITEM_BYTES_MAX
from quire.core.relay_items import PART, Need, seal_need
from quire.node import relays
from quire.node.relays import fetch_inbox
from quire.storage import aboard, heights, keychain, log
from quire.testing.authors import Author
from quire.testing.people import Person
from quire.transports.relay import connect
from tests.cli.conftest import Quire
from tests.relay.running import relaying
from tests.sync.test_node import kind, two, until

__all__ = ["two"]  # a fixture


def by_relay(url: str, *people: Person) -> None:
    for one in people:
        asyncio.run(Node(one.chat).sync_with_relay(url))


def believe_all_is_there(one: Person, url: str) -> None:
    """As after years: all was put once, and the relay has let it go."""

    async def relay() -> bytes:
        async with await connect(url) as client:
            return client.relay

    id = asyncio.run(relay())

    def note(db: apsw.Connection) -> None:
        for of in log.logs(db):
            aboard.set_aboard(db, id, of.n, heights.here(db, of.n))

    one.store.ledger.run(note)


def test_what_a_relay_has_no_more_is_put_there_again_for_who_lacks_it(
    two: tuple[Person, Person, ChannelId], url: str
) -> None:
    ada, bob, team = two
    wanted = [f"message {number}" for number in range(20)]
    for text in wanted:
        ada.chat.send_message(team, text)
    believe_all_is_there(ada, url)
    by_relay(url, bob, ada)
    ada.chat.send_message(team, "the newest")
    by_relay(url, ada, bob)
    assert bob.reads(team) == ["the newest"]  # and Bob has said what he lacks
    by_relay(url, ada, bob)
    assert bob.reads(team) == [*wanted, "the newest"]
    report = asyncio.run(Node(ada.chat).sync_with_relay(url))
    assert (report.new, report.given) == (0, 0)


def test_a_need_is_heeded_once_in_a_while_and_of_a_member_only(
    two: tuple[Person, Person, ChannelId], url: str
) -> None:
    ada, bob, team = two
    ada.chat.send_message(team, "one")
    by_relay(url, bob, ada, bob)
    db = ada.store.database.reader
    row = log.channel_by_id(db, team)
    assert row is not None
    key = EpochKey(next(iter(keychain.epoch_keys(db, team).values())))
    relay = b"r" * 16

    def note(db: apsw.Connection) -> None:
        for of in log.logs_of(db, row.n):
            aboard.set_aboard(db, relay, of.n, heights.here(db, of.n))

    ada.store.ledger.run(note)
    needs = Needs(ada.store)

    def says(device: bytes, under: EpochKey = key) -> bool:
        return needs.heed(relay, seal_need(Need(device, ()), under, team, os.urandom))

    assert not says(b"stranger".ljust(32))
    assert not says(bytes(ada.store.device))
    assert not says(bytes(bob.store.device), EpochKey(bytes(32)))
    assert not needs.heed(relay, b"\x21junk")
    assert says(bytes(bob.store.device))
    assert not says(bytes(bob.store.device))
    assert not Needs(ada.store).heed(relay, b"")


def test_with_small_items_everything_goes_in_parts(
    two: tuple[Person, Person, ChannelId], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, team = two
    monkeypatch.setattr(relay_items, "ITEM_BYTES_MAX", 1_000)
    monkeypatch.setattr(relay_items, "PART_BYTES_MAX", 900)
    monkeypatch.setattr(relay_items, "PARTS_MAX", 10_000)
    ada.chat.send_message(team, "long " * 2_000)
    by_relay(url, bob, ada, bob)
    assert bob.reads(team) == ["long " * 2_000]
    bob.chat.send_message(team, "and back " * 500)
    by_relay(url, bob, ada)
    assert ada.reads(team)[-1] == "and back " * 500
    left = ada.store.database.reader.execute("SELECT count(*) FROM relay_part").fetchone()
    assert left == (0,)


def test_who_let_somebody_in_welcomes_them_and_others_see_that_it_is_done(tmp_path: Path, url: str) -> None:
    ada, bob, carol = (Person.create(tmp_path, name) for name in ("ada", "bob", "carol"))
    team = ada.chat.create_channel("team").id
    link = ada.chat.create_invite(team, uses=2).text()
    bob.chat.join_channel(link)
    by_relay(url, bob, ada, bob)
    carol.chat.join_channel(link)
    by_relay(url, carol, ada)  # Ada lets Carol in

    def welcomes() -> list[Record]:
        found = asyncio.run(fetch_inbox(url, carol.identity))
        return [one for one in found if one.kind == Kind.WELCOME]

    before = welcomes()
    assert len(before) == 2  # to her own self-channel, from herself, and Ada's
    by_relay(url, bob)
    assert welcomes() == before
    by_relay(url, carol)
    assert [info.name for info in carol.chat.list_channels()] == ["team"]


def test_a_live_member_leaves_a_welcome_to_who_let_somebody_in_for_a_while_and_then_puts_it(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ada lets Carol in by another road and is gone: Bob, live at the relay, welcomes her there after a pause."""
    monkeypatch.setattr(relays, "OTHERS_S", (0.05, 0.05))
    ada, bob, carol = (Person.create(tmp_path, name) for name in ("ada", "bob", "carol"))
    team = ada.chat.create_channel("team").id
    link = ada.chat.create_invite(team, uses=2).text()
    bob.chat.join_channel(link)
    by_relay(url, bob, ada, bob)
    carol.chat.join_channel(link)
    ada.take(carol.give())
    bob.take(ada.give())

    async def main() -> None:
        node = Node(bob.chat)
        async with node, until(node) as events:
            node.keep_relay(url)
            await kind(events, "synced")
            while not any(one.kind == Kind.WELCOME for one in await fetch_inbox(url, carol.identity)):
                await kind(events, "synced")

    asyncio.run(main())
    by_relay(url, carol)
    assert [info.name for info in carol.chat.list_channels()] == ["team"]


def test_a_running_relay_is_copied_and_the_copy_is_a_relay(tmp_path: Path) -> None:
    run = Quire(tmp_path)
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    with relaying(tmp_path / "relay") as (_, url):
        by_relay(url, bob, ada)
        ada.chat.send_message(team, "kept")
        by_relay(url, ada)
        copy = tmp_path / "copied" / "relay.db"
        copy.parent.mkdir()
        run("relay", str(tmp_path / "relay"), "--backup", str(copy))
        again = run("relay", str(tmp_path / "relay"), "--backup", str(copy), "--json", code=6)
        assert again.error["rule"] == "backup_exists"
        assert run("relay", str(tmp_path), "--backup", "x", "--json", code=3).error["rule"] == "no_relay"
    process = subprocess.Popen(
        run.command("relay", str(copy.parent), "--listen", url.removeprefix("ws://"), "--json"),
        env=run.environment_with(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        by_relay(url, bob)
    finally:
        process.kill()
        process.communicate()
    assert bob.reads(team) == ["kept"]


def test_a_mark_that_lies_keeps_nobody_out_whom_we_let_in(
    two: tuple[Person, Person, ChannelId], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, _team = two
    monkeypatch.setattr("quire.storage.aboard.is_done", _all_is_marked(aboard.is_done))
    by_relay(url, bob, ada, bob)
    assert [info.name for info in bob.chat.list_channels()] == ["team"]


def _all_is_marked(
    is_done: Callable[[apsw.Connection, bytes, bytes], bool],
) -> Callable[[apsw.Connection, bytes, bytes], bool]:
    """As if somebody had marked whatever one asks for."""
    asked: set[bytes] = set()

    def lied(db: apsw.Connection, relay: bytes, what: bytes) -> bool:
        if what in asked:
            return True
        asked.add(hashlib.sha256(b"mark" + what).digest())
        return is_done(db, relay, what)

    return lied


def test_who_was_let_in_is_welcomed_even_if_only_a_guest_is_left(
    two: tuple[Person, Person, ChannelId], url: str, tmp_path: Path
) -> None:
    """The owner lets Carol in and leaves, on the road between two devices: the relay hears of it from the guest alone."""
    ada, bob, team = two
    ada.take(bob.give())
    bob.take(ada.give())
    carol = Person.create(tmp_path, "carol")
    ada.chat.set_role(team, bob.chat.identity, "guest")
    ada.chat.add_member(team, carol.chat.key_card())
    ada.chat.leave_channel(team)
    bob.take(ada.give())
    assert bob.role(team) == "guest"
    by_relay(url, bob, carol, bob, carol)
    assert [one.name for one in carol.chat.list_channels()] == ["team"]
    assert carol.role(team) == "owner"  # there is no other who could be


ADMITS_AT_ONCE = 50
DEVICES = 1_760  # a new key sealed to each is more than an item may hold


@pytest.mark.slow
@pytest.mark.bounded
def test_a_new_key_for_1_760_devices_goes_in_parts_as_large_as_they_are(
    two: tuple[Person, Person, ChannelId], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, team = two
    by_relay(url, bob, ada, bob)
    monkeypatch.setattr(relay_outgoing, "devices_behind", lambda *of: set())  # nobody is there to be welcomed
    entries = [Author(seed).entry for seed in range(DEVICES)]
    for first in range(0, DEVICES, ADMITS_AT_ONCE):
        some = [Admit((entry,), Role.MEMBER) for entry in entries[first : first + ADMITS_AT_ONCE]]
        ada.store.ledger.write_control(team, lambda db, row, graph, some=some: some)  # type: ignore[misc]
    by_relay(url, ada)
    before = ada.keys(team)
    ada.chat.rotate_key(team)
    ada.chat.send_message(team, "under the new key")
    again = list(Relaying(ada.chat).outgoing.items(b"another relay...", everything=True))
    parts = [one for one in again if one.data[0] == PART]
    assert len(parts) >= 2
    assert max(len(one.data) for one in parts) == ITEM_BYTES_MAX
    by_relay(url, ada, bob)
    assert set(bob.keys(team)) == set(ada.keys(team)) > set(before)
    assert bob.reads(team) == ["under the new key"]
    assert bob.store.database.reader.execute("SELECT count(*) FROM relay_part").fetchone() == (0,)
