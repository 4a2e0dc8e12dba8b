"""Two devices of one person meet over a network, by a code: at a real relay, and by real multicast on this machine's loop."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.core.bundle_file import write_bundle_file
from quire.core.crypto.link_code import LinkCode
from quire.core.crypto.mailboxes import link_mailbox
from quire.errors import MalformedError, UnauthorisedError, UsageError
from quire.node.linking import fetch_history, give_history, guest_road, host_roads, link_guest, link_host
from quire.store.linking import LinkGuest, LinkHost
from quire.store.local import LocalStore
from quire.testing.people import Person, key_of
from quire.transports import meeting
from quire.transports.meeting import PART_BYTES_MAX, RelayRoad
from quire.transports.relay import connect
from tests.cli.conftest import CHEAP, Quire
from tests.relay.running import relaying
from tests.sync.test_processes import bodies, person, running

LOOP = ("127.0.0.1",)
Road = dict[str, Any]


@pytest.fixture
def ada(tmp_path: Path) -> Person:
    ada = Person.create(tmp_path, "ada")
    team = ada.chat.create_channel("team").id
    for number in range(3):
        ada.chat.send_message(team, f"message {number}")
    return ada


def run(doing: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await doing

    asyncio.run(bounded())


async def host_side(ada: Person, host: LinkHost, relay: str = "", lan: tuple[str, ...] | None = None) -> bool:
    roads = await host_roads(host.code, relay=relay, lan=lan)
    road = await link_host(host, roads, name="laptop")
    try:
        return await give_history(ada.chat, host, road, relay=relay, lan=lan)
    finally:
        await road.close()


async def guest_side(code: str, folder: Path, relay: str = "") -> list[tuple[str, int]]:
    """The new device: what it has in the end."""
    guest = LinkGuest(code)
    road = await guest_road(guest.code, relay=relay, lan=LOOP)
    try:
        await link_guest(guest, road, folder, key_of(folder))
        with LocalStore.open(folder, key_of(folder)) as store:
            chat = ChannelManager(store)
            await fetch_history(chat, road, relay=relay, lan=LOOP)
            return [(one.name, one.messages) for one in chat.list_channels()]
    finally:
        await road.close()


@pytest.mark.parametrize(
    "by_relay", [True, pytest.param(False, marks=[pytest.mark.slow, pytest.mark.bounded])]
)
def test_a_code_makes_a_device_and_brings_all_history(
    ada: Person, tmp_path: Path, url: str, by_relay: bool
) -> None:
    """The old device waits on both roads; the new one takes either."""
    laptop = Person.create(tmp_path, "laptop").store.folder  # only for its key file
    new = laptop.with_name("new")
    key_of(laptop)
    Path(key_of(laptop).path).rename(key_of(new).path)

    async def main() -> None:
        host = LinkHost(ada.store)
        old = asyncio.create_task(host_side(ada, host, url, LOOP))
        there = await guest_side(host.code.text(), new, url if by_relay else "")
        assert there == [("team", 3)]
        assert await old

    run(main())
    assert len(ada.chat.devices()) == 2


def test_a_wrong_code_at_the_right_place_costs_the_attempt_and_makes_nothing(
    ada: Person, tmp_path: Path, url: str
) -> None:
    async def main() -> None:
        host = LinkHost(ada.store)
        old = asyncio.create_task(host_side(ada, host, url))
        right = host.code.text()
        wrong = LinkCode.generate(
            lambda size: bytes(map(ALPHABET.index, right.replace("-", "")[:4])) + b"x" * (size - 4)
        )
        assert wrong.place == host.code.place
        with pytest.raises(UnauthorisedError) as failure:
            await guest_side(wrong.text(), tmp_path / "eve", url)
        assert failure.value.rule == "code_wrong"
        old.cancel()
        await asyncio.gather(old, return_exceptions=True)
        with pytest.raises(MalformedError) as spent:  # the right one comes too late
            host.answer(LinkGuest(right).start())
        assert spent.value.rule == "linking_out_of_turn"

    run(main())
    assert not (tmp_path / "eve").exists()
    assert len(ada.chat.devices()) == 1


def test_what_lies_there_from_before_and_junk_are_stepped_over_and_a_long_message_goes_in_parts(
    url: str,
) -> None:
    place, long = b"PLAC", b"x" * (2 * PART_BYTES_MAX + 1)

    async def main() -> None:
        before = RelayRoad(url, place)
        await before.open()
        await before.send(1, b"of an attempt last year")
        await before.close()
        old, new = RelayRoad(url, place), RelayRoad(url, place)
        await old.open(fresh=True)
        await new.open(fresh=True)
        async with await connect(url) as eve:
            key = link_mailbox(place)
            await eve.open(key)
            for junk in (b"", b"\x01", b"\x01\0\x05\1late", b"\x09\0\0\1other"):
                if junk:
                    await eve.put(key.public, junk)
        await new.send(1, b"hello")
        assert await old.receive(1) == b"hello"
        assert old._client is not None
        await old._client.close()  # the link breaks: another is made
        await old.send(4, long)
        assert await new.receive(4) == long
        await old.close()
        await new.close()

    run(main())


def test_who_does_not_come_is_waited_for_no_longer_than_that(
    ada: Person, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "WAIT_S", 0.05)

    async def main() -> None:
        for doing in (
            host_side(ada, LinkHost(ada.store), url, LOOP),
            guest_road(LinkCode.generate(bytes), lan=LOOP),
        ):
            with pytest.raises(UsageError) as failure:
                await doing
            assert failure.value.rule == "link_timeout"

    run(main())


ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Linking:
    """A running `quire link` on the old machine, and the code it shows."""

    def __init__(self, run: Quire, *arguments: str) -> None:
        self.process = subprocess.Popen(
            run.command("link", *arguments), env=run.environment_with(), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.code = self.process.stdout.readline().removeprefix("code: ").strip()

    def end(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("by_relay", [True, False])
def test_link_as_processes(tmp_path: Path, by_relay: bool) -> None:
    ada = person(tmp_path, "Ada")
    ada("channel", "create", "team")
    ada("post", "team", "before")
    (tmp_path / "new").mkdir()
    new = Quire(tmp_path / "new")
    with relaying(tmp_path / "relay") as (_, url):
        road = ("--relay", url) if by_relay else ("--interface", "127.0.0.1")
        old = Linking(ada, *road, "--name", "laptop")
        call = f"quire:link:{old.code}@{url}" if by_relay else old.code.lower()
        done = new(
            "link", "--code", call, *(() if by_relay else road), "--key-file", str(new.key), "--json",
            before=CHEAP, QUIRE_KEY_FILE="",
        )  # fmt: skip
        assert old.end() == 0
        assert [(one["name"], one["messages"]) for one in done.json["channels"]] == [("team", 1)]
    assert bodies(new) == ["before"]
    assert "laptop" in new("devices").out


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("by_relay", [True, False])
def test_join_as_processes(tmp_path: Path, by_relay: bool) -> None:
    """The request goes, a member's `quire up` lets them in, history comes, all by one command."""
    ada, bob = person(tmp_path, "Ada"), person(tmp_path, "Bob")
    ada("channel", "create", "team")
    ada("post", "team", "before Bob")
    link = ada("invite", "team", "--quiet").out.strip()
    with relaying(tmp_path / "relay") as (_, url):
        road = ("--relay", url) if by_relay else ("--interface", "127.0.0.1")
        with running(
            ada, *(("--listen", "-", "--no-lan") if by_relay else ("--listen", "127.0.0.1:0")), *road
        ):
            done = bob("join", link, *road, "--json")
    assert (done.json["name"], done.json["messages"]) == ("team", 1)
    assert bodies(bob) == ["before Bob"]


@pytest.mark.slow
@pytest.mark.bounded
def test_restore_and_link_as_processes(tmp_path: Path) -> None:
    """A disk is lost, the words are not at hand: restored by what opened the vault, it is linked to the other device."""
    ada = person(tmp_path, "Ada")
    ada("channel", "create", "team")
    ada("post", "team", "before")
    ada("backup", str(tmp_path / "backup"))
    ada("post", "team", "newer than the backup")
    (tmp_path / "again").mkdir()
    again = Quire(tmp_path / "again")
    again.key.write_bytes(ada.key.read_bytes())
    again("restore", str(tmp_path / "backup"))
    assert bodies(again) == ["before"]
    assert again("post", "team", "not yet", "--json", code=2).error["rule"] == "device_uncertified"
    with relaying(tmp_path / "relay") as (_, url):
        old = Linking(ada, "--relay", url, "--name", "laptop")
        again("link", "--code", f"quire:link:{old.code}@{url}", "--json", before=CHEAP)
        assert old.end() == 0
        assert bodies(again) == ["before", "newer than the backup"]
        again("post", "team", "from the restored one")
        again("sync", "--relay", url)
        ada("sync", "--relay", url)
    assert bodies(ada)[-1] == "from the restored one"
    assert "laptop" in again("devices").out
    again("link", "--code", old.code, code=2)  # once is enough


def test_a_restored_vault_becomes_a_device_by_linking_it_to_an_old_one(
    ada: Person, tmp_path: Path, url: str
) -> None:
    """No words are needed where another device is at hand; what is newer than the backup comes by sync."""
    ada.store.backup(tmp_path / "backup")
    [team] = [one.id for one in ada.chat.list_channels()]
    ada.chat.send_message(team, "newer than the backup")
    again = tmp_path / "again"
    report = LocalStore.restore(tmp_path / "backup", again, key_of(ada.store.folder))
    assert not report.certified
    code = LinkHost(ada.store)

    async def main() -> None:
        old = asyncio.create_task(host_side(ada, code, url))
        with LocalStore.open(again, key_of(ada.store.folder)) as store:
            chat = ChannelManager(store)
            with pytest.raises(UsageError) as refused:
                chat.send_message(team, "not yet")
            assert refused.value.rule == "device_uncertified"
            guest = LinkGuest(code.code.text(), store)
            road = await guest_road(guest.code, relay=url)
            await link_guest(guest, road, again, None)
            await fetch_history(chat, road, relay=url)
            await road.close()
            assert await old
            assert [m.body for m in chat.get_stored_messages(team)][-1] == "newer than the backup"
            assert chat.send_message(team, "from the restored one").body
            assert sum(one.this for one in chat.devices()) == 1
            assert store.verify().ok
            ada.take(b"".join(write_bundle_file(chat._outgoing(None))))

    run(main())
    with LocalStore.open(again, key_of(ada.store.folder)) as store:  # and it stays one
        assert ChannelManager(store).send_message(team, "after it was opened again").body
    assert len(ada.chat.devices()) == 2
    assert [m.body for m in ada.chat.get_stored_messages(team)][-1] == "from the restored one"


def test_a_restored_vault_is_certified_by_nobody_else(ada: Person, tmp_path: Path) -> None:
    ada.store.backup(tmp_path / "backup")
    again = tmp_path / "again"
    LocalStore.restore(tmp_path / "backup", again, key_of(ada.store.folder))
    eve = Person.create(tmp_path, "eve")
    with LocalStore.open(again, key_of(ada.store.folder)) as store:
        host = LinkHost(eve.store)
        guest = LinkGuest(host.code.text(), store)
        message = host.grant(guest.offer(host.answer(guest.start())))
        with pytest.raises(UsageError) as refused:
            guest.finish(message, again, None)
        assert refused.value.rule == "link_foreign"
        assert not store.ledger.is_certified
