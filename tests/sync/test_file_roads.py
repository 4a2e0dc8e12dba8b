"""Files by roads that keep things: bundle files, and relays."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from quire.channels import relay_outgoing
from quire.channels.relay_notes import Found
from quire.channels.relaying import Relaying
from quire.core.bundle_file import Kind
from quire.core.ids import MessageId
from quire.core.sealed_file import PIECE_PLAIN
from quire.errors import TransportError
from quire.node.node import Node
from quire.testing.people import Person
from quire.transports.interface import parse_address
from quire.transports.relay import RelayClient
from tests.cli.conftest import Quire
from tests.security.scanning import found_in
from tests.sync.links import sync

DATA = os.urandom(2 * PIECE_PLAIN + 77)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Person, Person]:
    """Ada and Bob, both in `team`; Bob takes no files from peers by himself."""
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    ada.chat.create_channel("team")
    bob.chat.join_channel(ada.chat.create_invite("team").text())
    sync(ada, bob)
    return ada, bob


def post(person: Person, data: bytes = DATA, name: str = "a.bin") -> MessageId:
    file = person.store.folder.with_name(name)
    file.write_bytes(data)
    return person.chat.send_message("team", name, files=[file]).id


def has(person: Person, id: MessageId, data: bytes = DATA) -> bool:
    if [view.state for view in person.chat.get_attachments(id)] != ["here"]:
        return False
    with person.chat.open_attachment(id) as stream:
        return stream.read() == data


def test_a_bundle_file_carries_files_if_it_is_told_to(two: tuple[Person, Person], tmp_path: Path) -> None:
    ada, bob = two
    id = post(ada)
    ada.chat.write_bundle(tmp_path / "without")
    assert bob.chat.read_bundle(tmp_path / "without").files == []
    assert not has(bob, id)
    ada.chat.write_bundle(tmp_path / "with", files=True)
    assert (tmp_path / "with").stat().st_size > len(DATA) > (tmp_path / "without").stat().st_size
    report = bob.chat.read_bundle(tmp_path / "with")
    assert (len(report.files), report.refused, report.damaged) == (1, [], [])
    assert has(bob, id)
    assert bob.chat.read_bundle(tmp_path / "with").files == []
    assert bob.store.verify().ok


def test_a_bundle_file_that_was_cut_brings_a_part_and_a_peer_the_rest(
    two: tuple[Person, Person], tmp_path: Path
) -> None:
    ada, bob = two
    id = post(ada)
    ada.chat.write_bundle(tmp_path / "whole", files=True)
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-1_000])
    report = bob.chat.read_bundle(tmp_path / "cut")
    assert [error.rule for error in report.damaged] == ["file_truncated"]
    assert bob.chat.get_attachments(id)[0].received_bytes == 2 << 20
    _, yours = sync(ada, bob)
    assert has(bob, id)
    assert 0 < yours.files.came_bytes < 1 << 20  # the last piece


def test_a_bundle_file_tells_a_stranger_nothing_of_its_files(
    two: tuple[Person, Person], tmp_path: Path
) -> None:
    ada, _ = two
    eve = Person.create(tmp_path, "eve")
    id = post(ada, b"lanternquux" * 1_000, "blueprintquux.txt")
    [one] = ada.chat.get_message(id).attachments
    assert one.file
    (tmp_path / "out").mkdir()
    ada.chat.write_bundle(tmp_path / "out" / "talk.bundle", files=True)
    assert found_in([tmp_path / "out"], ["lanternquux", "blueprintquux", one.file.id, one.file.key]) == []
    report = eve.chat.read_bundle(tmp_path / "out" / "talk.bundle")
    assert (report.files, report.new) == ([], 0)


def by_relay(person: Person, url: str) -> int:
    """How many files came."""
    return asyncio.run(Node(person.chat).sync_with_relay(url)).files


def test_a_relay_carries_small_files_of_our_own_once(
    two: tuple[Person, Person], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = two
    monkeypatch.setattr(relay_outgoing, "FILE_BYTES_MAX", len(DATA))
    id, large = post(ada), post(ada, DATA + b"one more", "large.bin")
    put: list[int] = []
    honest = RelayClient.put

    async def counted(self: RelayClient, mailbox: bytes, item: bytes) -> Any:
        put.append(item[0])
        return await honest(self, mailbox, item)

    monkeypatch.setattr(RelayClient, "put", counted)
    by_relay(ada, url)
    assert put.count(Kind.FILE) == 3
    assert by_relay(bob, url) == 1
    assert has(bob, id)
    assert not has(bob, large, DATA + b"one more")
    assert found_in([tmp_path / "relay"], [DATA[:64], b"a.bin"]) == []
    for one in (ada, bob, ada):
        by_relay(one, url)
    assert put.count(Kind.FILE) == 3  # nobody puts it twice, and nobody another's
    assert bob.store.verify().ok


def test_a_relay_without_room_for_files_still_carries_messages(
    two: tuple[Person, Person], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = two
    id = post(ada, b"small", "b.txt")
    ada.say(ada.chat.resolve("team"), "after it")
    honest = RelayClient.put

    async def full(self: RelayClient, mailbox: bytes, item: bytes) -> Any:
        if item[0] == Kind.FILE:
            raise TransportError("the relay refused it: relay_full", rule="relay_refused", by="relay_full")
        return await honest(self, mailbox, item)

    with monkeypatch.context() as patch:
        patch.setattr(RelayClient, "put", full)
        by_relay(ada, url)
    by_relay(bob, url)
    assert bob.reads(bob.chat.resolve("team"))[-1] == "after it"
    assert not has(bob, id, b"small")
    by_relay(ada, url)
    assert by_relay(bob, url) == 1
    assert has(bob, id, b"small")


def test_pieces_that_come_before_their_message_are_kept_for_it(two: tuple[Person, Person]) -> None:
    ada, bob = two
    id = post(ada)
    relay = bytes(32)
    items = [item for item in Relaying(ada.chat).outgoing.items(relay, everything=True) if item.data]
    found = [Found(item.mailbox.public, number, item.data) for number, item in enumerate(items, start=1)]
    files = [one for one in found if one.data[0] == Kind.FILE]
    assert len(files) == 3
    theirs = Relaying(bob.chat)
    assert theirs.take(relay, files).files == []
    assert len(theirs.take(relay, [one for one in found if one not in files]).files) == 1
    assert has(bob, id)


def test_a_file_beyond_our_limit_is_not_taken_from_a_relay_unless_asked_for(
    two: tuple[Person, Person],
) -> None:
    ada, bob = two
    bob.chat.set_fetch_limit(1_000)
    id = post(ada)
    relay = bytes(32)
    items = [
        Found(item.mailbox.public, number, item.data)
        for number, item in enumerate(Relaying(ada.chat).outgoing.items(relay, everything=True), start=1)
    ]
    assert Relaying(bob.chat).take(relay, items).files == []
    bob.chat.fetch_attachment(id)
    assert len(Relaying(bob.chat).take(relay, items).files) == 1


def test_live_over_a_socket_a_file_comes_and_is_told(two: tuple[Person, Person]) -> None:
    ada, bob = two

    async def live() -> tuple[MessageId, bytes]:
        async with (
            asyncio.timeout(30),
            Node(bob.chat, listen=parse_address("127.0.0.1:0")) as theirs,
            Node(ada.chat) as ours,
        ):
            assert theirs.address is not None
            ours.keep(theirs.address)
            id = await asyncio.to_thread(post, ada)
            async for event in theirs.events():
                if event.kind == "file":
                    return id, event.message
        raise AssertionError

    id, told = asyncio.run(live())
    assert id == told
    assert has(bob, id)


@pytest.mark.slow
@pytest.mark.bounded
def test_two_people_s_programs_by_a_relay(tmp_path: Path, url: str, compiled: Path) -> None:
    """Every step a process of its own: attached, carried, saved, and the same bytes."""
    people = {}
    for name in ("ann", "ben"):
        people[name] = Quire(tmp_path / name, compiled)
        people[name].folder.mkdir()
        people[name].key.write_bytes(os.urandom(32))
        people[name]("init")
    ann, ben = people["ann"], people["ben"]
    ann("channel", "create", "team")
    ben("join", ann("invite", "team", "--json").json["link"])
    for one in (ann, ben, ann, ben):
        one("sync", "--relay", url)
    (tmp_path / "plan.bin").write_bytes(DATA)
    id = ann.id_of("attach", "team", str(tmp_path / "plan.bin"), "--text", "the plan")
    ann("sync", "--relay", url)
    assert "1 file came" in ben("sync", "--relay", url).out
    assert "📎 plan.bin (application/octet-stream, 2.1 MB)" in ben("read", "team").out
    (tmp_path / "out").mkdir()
    ben("save", id, "--to", str(tmp_path / "out"))
    assert (tmp_path / "out" / "plan.bin").read_bytes() == DATA
    assert "files" in ben("stats").out
    ben("verify")
