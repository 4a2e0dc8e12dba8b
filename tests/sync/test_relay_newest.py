"""By a relay, too, the newest comes first: to a machine that was just linked, in a process of its own, which is killed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from quire import Node
from quire.channels.manager import ChannelManager
from quire.channels.syncing import Syncing
from quire.core.crypto.secrets import KeyFile
from quire.errors import QuireError
from quire.store import bundling, importing_all
from quire.store.local import LocalStore
from quire.testing.people import Person
from quire.testing.proxy import Fault, Proxy
from quire.transports.interface import Address
from tests.cli.conftest import CHEAP, Quire
from tests.relay.running import relaying
from tests.sync.test_linking import Linking

IMPORTED, SAID = 10_000, 30  # twice
PAGE = 50
START_MS = 1_700_000_000_000
SMALL_PAGES = "import quire.cli.relay as r; r.OTHER_LIMITS['page_bytes'] = 32_768"
ENOUGH = 400_000  # bytes, of some 1,500,000
AGAIN = 100_000  # what was under way when it was killed


@contextlib.contextmanager
def through(url: str) -> Iterator[Proxy]:
    """A road to a relay, in a thread of its own."""
    host, _, port = url.removeprefix("ws://").partition(":")
    loop, ready = asyncio.new_event_loop(), threading.Event()
    proxy, ended = Proxy(Address(host, int(port))), asyncio.Event()

    async def carry() -> None:
        async with proxy:
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(carry()))
    thread.start()
    try:
        ready.wait()
        yield proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def history(ada: Person, folder: Path, first: int) -> None:
    """Ten thousand messages of another chat; noise, so that they stay large."""
    lines = []
    for number in range(first, first + IMPORTED):
        body = f"message {number} {hashlib.sha256(b'%d' % number).hexdigest()}"
        record = {"type": "message", "channel": "team", "id": str(number), "author": "bo", "body": body}
        lines.append(json.dumps(record | {"time_ms": START_MS + number}))
    path = folder / f"{first}.jsonl"
    path.write_text("\n".join(lines))
    ada.chat.import_(path, format="jsonl")


def by_relay(url: str, *people: Person) -> None:
    for one in people:
        asyncio.run(Node(one.chat).sync_with_relay(url))


def newest(vault: Path, key: Path) -> tuple[list[str], int, int]:
    """What another process, that of the new machine, has written so far: the newest page, all messages, what is lacking."""
    with LocalStore.open(vault, KeyFile(str(key))) as store:
        chat = ChannelManager(store)
        found = [one for one in chat.list_channels() if one.name == "team"]
        if not found:
            return [], 0, 0
        page = chat.get_stored_messages_paginated(found[0].id, limit=PAGE)
        [status] = [one for one in Syncing(chat).status() if one.channel == found[0].id]
        return [one.body for one in page.messages], found[0].messages, status.missing


@pytest.mark.slow
@pytest.mark.parametrize("put", ["as it came", pytest.param("at once", marks=pytest.mark.bounded)])
def test_a_new_machine_shows_the_newest_first_and_goes_on_backwards_after_a_kill(
    tmp_path: Path, put: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 messages lie at a relay: put there as they came, in four turns, or all at the end."""
    monkeypatch.setattr(bundling, "PART_BYTES", 1 << 16)
    monkeypatch.setattr(importing_all, "BATCH", 500)
    ada = Person.create(tmp_path, "ada")
    with relaying(tmp_path / "relay", before=SMALL_PAGES) as (_, url), through(url) as proxy:
        for turn in range(2):
            history(ada, tmp_path, turn * IMPORTED)
            team = next(one.id for one in ada.chat.list_channels() if one.name == "team")
            if put == "as it came":
                by_relay(url, ada)
            for number in range(SAID):
                ada.say(team, f"said {turn} {number}")
                if put == "as it came" and number % 10 == 0:
                    by_relay(url, ada)
        by_relay(url, ada)
        total = ada.chat.get_channel(team).messages
        assert total == 2 * (IMPORTED + SAID)
        ada.store.close()

        new = Quire(tmp_path / "new")
        new.folder.mkdir()
        new.key.write_bytes((tmp_path / "ada.key").read_bytes())
        old = Linking(_run(tmp_path), "--relay", url)
        proxy.fault = Fault(swallow_after=ENOUGH)
        heard = tmp_path / "heard"
        with heard.open("w") as words:
            guest = subprocess.Popen(
                new.command(
                    "link", "--code", old.code, "--relay", f"ws://{proxy.address}", "--key-file", str(new.key),
                    before=CHEAP,
                ),
                env=new.environment_with(QUIRE_KEY_FILE=""), stdout=words, stderr=words,
            )  # fmt: skip
        here = missing = 0
        page: list[str] = []
        while here <= PAGE or not any(link.swallows for link in tuple(proxy._links)):
            assert guest.poll() is None, heard.read_text()
            with contextlib.suppress(QuireError):  # it is being made
                page, here, missing = newest(new.vault, new.key)
        page, here, missing = newest(new.vault, new.key)
        guest.send_signal(signal.SIGKILL)
        guest.wait()
        assert old.end() == 0
        assert page[0] == f"said 1 {SAID - 1}"
        assert set(page[:SAID]) == {f"said 1 {number}" for number in range(SAID)}
        assert here < total
        assert missing > 0

        before, proxy.fault = proxy.bytes, Fault()
        told = new("sync", "--relay", f"ws://{proxy.address}", "--json").json
        second = proxy.bytes - before
        assert told["new"] > 0
        kept = json.loads(urllib.request.urlopen(url.replace("ws://", "http://") + "/healthz").read())[
            "bytes"
        ]
    page, here, missing = newest(new.vault, new.key)
    assert (here, missing) == (total, 0)
    told = [run("verify", "--digest", "--json").json["digests"] for run in (new, _run(tmp_path))]
    assert told[0] == told[1]
    assert second < kept - ENOUGH + AGAIN


def _run(tmp_path: Path) -> Quire:
    """The command line on the old machine's vault."""
    run = Quire(tmp_path / "old")
    run.folder.mkdir(exist_ok=True)
    run.environment |= {"QUIRE_VAULT": str(tmp_path / "ada"), "QUIRE_KEY_FILE": str(tmp_path / "ada.key")}
    return run
