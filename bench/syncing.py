"""Sync: a history over a direct link on loopback, nothing new, one message by a relay, and a relay's puts.

The floor of a sync copies the rows that the receiver has in the end, all of them, from its file to another of the same
schema: messages, log, their indexes, and the rows of the search index; in transactions of 10,000, with the vaults' cipher
and pragmas, and no other work. A second row holds the same sync against less than
it does: the rows of messages and log alone, into tables without any index, and no search index. Each end of a link is a
process of its own, as it is at home; both share this machine's processors.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from bench.data import History
from bench.floor import Caught, Floor, catching
from bench.measuring import FLOOR, OURS, ROOT, Row, environment, python
from bench.people import with_history
from quire.channels.manager import ChannelManager
from quire.channels.syncing import Syncing
from quire.core.crypto.keys import SigningKey
from quire.core.crypto.secrets import DatabaseKey
from quire.core.ids import ChannelId, DeviceId
from quire.core.relay_frames import Item
from quire.core.views import Event
from quire.node.node import Node
from quire.node.peer import PeerSync, SyncReport
from quire.storage.database import Database
from quire.storage.search import TAIL_MAX
from quire.store.local import LocalStore
from quire.testing.people import Person, key_of
from quire.transports.direct import DirectLink, connect, listen
from quire.transports.interface import Address
from quire.transports.relay import connect as connect_relay

PART = "sync"
HERE = Address("127.0.0.1", 0)
CHANNELS = 100
ROUNDS = 20  # with nothing new
MESSAGES = 200  # by the relay, one after the other
PUTS, PUTTERS, PUT_BYTES = 20_000, 32, 512
SUBSCRIBERS, HEARD = 1_000, 20
BARE = "sync, beside rows without indexes"
TABLES = ("commits", "message", "operation")
NOT_ROWS = ("search", "sqlite_")  # what the search index is made of, which is written by its own statement
COPY_AT_ONCE = 10_000
SERVE = "import sys; from bench import syncing; syncing.serve(*sys.argv[1:])"


def measure(history: History, size: int, scratch: Path) -> list[Row]:
    """A history of `size` messages, from a full device to an empty one."""
    folder = scratch / f"sync-{size}"
    folder.mkdir()
    ada, bob, team = with_history(history, size, folder)
    asyncio.run(_sync(ada, bob))  # their devices are known to each other from here on
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    with catching() as caught:
        came = _kept_apart(bob, caught)
        seconds, first_page, report = asyncio.run(_join(ada, bob, team, size))
    floor, bare = _copied(bob, came, folder), _copied_bare(ada, folder)
    rows = [
        Row(PART, size, "sync", "messages/s", {OURS: size / seconds, FLOOR: size / floor}),
        Row(PART, size, BARE, "messages/s", {OURS: size / seconds, FLOOR: size / bare}),
        Row(PART, size, "sync, on the wire", "bytes a message", {OURS: report.received_bytes / size}),
        Row(PART, size, "sync, first page", "ms", {OURS: first_page * 1e3}),
    ]
    rows.append(
        Row(PART, size, "first page by a relay", "ms", {OURS: _first_by_relay(ada, team, folder) * 1e3})
    )
    for number in range(CHANNELS - 1):
        id = ada.chat.create_channel(f"channel {number}").id
        bob.chat.join_channel(ada.chat.create_invite(id).text())
    asyncio.run(_sync(ada, bob))
    taken, said = asyncio.run(_nothing_new(ada, bob))
    rows += [
        Row(PART, size, "nothing new, 100 channels", "ms", {OURS: taken * 1e3}),
        Row(PART, size, "nothing new, both ways", "bytes", {OURS: said}),
    ]
    for person in (ada, bob):
        person.store.close()
    shutil.rmtree(folder)
    return rows


def relayed(scratch: Path) -> list[Row]:
    """A relay in a process of its own: one message from writer to reader, and what it takes and sends."""
    folder = scratch / "relayed"
    folder.mkdir()
    with _relay(folder) as url:
        taken = sorted(asyncio.run(_messages(folder, url)))
        puts = asyncio.run(_puts(url))
        heard = asyncio.run(_heard(url))
    return [
        Row(
            PART, MESSAGES, "a message by a relay, half within", "ms", {OURS: statistics.median(taken) * 1e3}
        ),
        Row(
            PART,
            MESSAGES,
            "a message by a relay, 99 % within",
            "ms",
            {OURS: taken[-1 - len(taken) // 100] * 1e3},
        ),
        Row(PART, PUTS, "a relay's durable puts", "puts/s", {OURS: puts}),
        Row(PART, SUBSCRIBERS, "1,000 subscribers of one mailbox", "deliveries/s", {OURS: heard}),
    ]


@contextmanager
def _relay(folder: Path) -> Iterator[str]:
    """A relay in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "quire", "relay", str(folder / "relay"), "--listen", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _served(ada: Person) -> Iterator[Address]:
    """Her vault, answering from another process."""
    folder = ada.store.folder
    process = subprocess.Popen(
        python(SERVE, folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(folder.parent),
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield Address(*json.loads(process.stdout.readline()))
    finally:
        process.communicate()  # it ends when nothing more can come


def serve(folder: str) -> None:
    """In the child: answer whoever connects, until the parent is done."""
    with LocalStore.open(folder, key_of(Path(folder))) as store:
        asyncio.run(_serve(ChannelManager(store)))


async def _serve(chat: ChannelManager) -> None:
    async def accepts(device: DeviceId) -> bool:
        return True

    async def on_link(link: DirectLink) -> None:
        await PeerSync(chat, link).run()

    listener = await listen(HERE, Syncing(chat).key, accepts, on_link)
    sys.stdout.write(json.dumps([listener.address.host, listener.address.port]) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await listener.close()


async def _sync(ada: Person, bob: Person) -> SyncReport:
    with _served(ada) as address:
        return await Node(bob.chat).sync_with(address)


async def _join(ada: Person, bob: Person, team: ChannelId, size: int) -> tuple[float, float, SyncReport]:
    """Seconds until all is there, and until the first page is."""
    with _served(ada) as address:
        start = time.perf_counter()
        shown = asyncio.create_task(_first_page(bob, team, start))
        report = await Node(bob.chat).sync_with(address)
        seconds = time.perf_counter() - start
        assert bob.chat.get_channel(team).messages == size
        return seconds, await shown, report


def _first_by_relay(ada: Person, team: ChannelId, folder: Path) -> float:
    """Seconds until somebody new, who has met nobody but a relay where the whole history lies, has the newest page."""
    carol = Person.create(folder, "carol")
    carol.chat.join_channel(ada.chat.create_invite(team).text())

    async def story(url: str) -> float:
        for one in (ada, carol, ada):  # all is put; she asks; she is let in
            await Node(one.chat).sync_with_relay(url)
        start = time.perf_counter()
        reading = asyncio.create_task(Node(carol.chat).sync_with_relay(url))
        seconds = await _first_page(carol, team, start)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        return seconds

    with _relay(folder) as url:
        seconds = asyncio.run(story(url))
    carol.store.close()
    return seconds


async def _first_page(bob: Person, team: ChannelId, start: float) -> float:
    while True:
        if any(
            info.id == team and info.messages >= 50
            for info in await asyncio.to_thread(bob.chat.list_channels)
        ):
            return time.perf_counter() - start
        await asyncio.sleep(0.005)


async def _nothing_new(ada: Person, bob: Person) -> tuple[float, int]:
    taken, said = [], 0
    with _served(ada) as address:
        for _ in range(ROUNDS):
            link = await connect(address, Syncing(bob.chat).key)
            start = time.perf_counter()
            report = await PeerSync(bob.chat, link).run()
            taken.append(time.perf_counter() - start)
            assert (report.new, report.differing) == (0, ())
            said = report.sent_bytes + report.received_bytes
    return statistics.median(taken), said


def _copied(bob: Person, came: list[Caught], folder: Path) -> float:
    """Seconds that copying all rows of the receiver takes, read and written, with all that finds them again."""
    floor = Floor(folder)
    seconds = 0.0
    for table in _tables(bob.store.database.reader):
        floor.empty(table)
        start = time.perf_counter()
        found = iter(bob.store.database.reader.execute(f"SELECT * FROM {table}"))
        while some := list(itertools.islice(found, COPY_AT_ONCE)):
            floor.insert(table, some)
        seconds += time.perf_counter() - start
    words = sorted(row for one in came for row in one.found)
    start = time.perf_counter()
    for first in range(0, len(words), COPY_AT_ONCE):
        floor.insert("search(rowid, body, tags)", words[first : first + COPY_AT_ONCE])
    seconds += time.perf_counter() - start
    floor.finish()
    seconds += floor.seconds
    _same(bob.store.database.reader, floor.db, len(words))
    floor.close()
    return seconds


def _tables(db: apsw.Connection) -> list[str]:
    plain = "type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    names: Any = db.execute(f"SELECT name FROM sqlite_master WHERE {plain} ORDER BY name").fetchall()
    return [name for (name,) in names if not name.startswith(NOT_ROWS)]


def _same(theirs: apsw.Connection, copied: apsw.Connection, words: int) -> None:
    """The copy has every row, or it is the floor of something else; of the search index all but the newest, as the tail is."""
    docs: Any = theirs.execute("SELECT count(*) FROM doc").fetchone()
    assert docs[0] - TAIL_MAX <= words <= docs[0], (words, docs)
    for table in _tables(theirs):
        counts: Any = [db.execute(f"SELECT count(*) FROM {table}").fetchone() for db in (theirs, copied)]
        assert counts[0] == counts[1], (table, counts)


def _copied_bare(ada: Person, folder: Path) -> float:
    """Seconds that copying the rows of messages and log takes, into tables without indexes."""
    source = ada.store.database
    key = DatabaseKey.generate(os.urandom)
    target = Database(folder / "copy.db", key)
    target.connect(create=True).execute("PRAGMA journal_mode=WAL")
    seconds = 0.0
    db = source.reader
    for table in TABLES:
        sql: Any = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        with target.transaction() as writing:
            writing.execute(sql[0])
        start = time.perf_counter()
        found = iter(db.execute(f"SELECT * FROM {table}"))
        while some := list(itertools.islice(found, COPY_AT_ONCE)):
            with target.transaction() as writing:
                writing.executemany(f"INSERT INTO {table} VALUES({','.join('?' * len(some[0]))})", some)
        seconds += time.perf_counter() - start
    target.close()
    return seconds


def _kept_apart(bob: Person, caught: Caught) -> list[Caught]:
    """What each of his transactions is going to write."""
    run, came = bob.store.ledger.run, list[Caught]()

    def watched(*arguments: Any, **named: Any) -> Any:
        result = run(*arguments, **named)
        if caught.posts:
            came.append(caught.take())
        return result

    bob.store.ledger.run = watched  # type: ignore[method-assign]
    return came


async def _messages(folder: Path, url: str) -> list[float]:
    """Seconds from the writer's call to the reader's event, each durable on both sides."""
    ada, bob = Person.create(folder, "ada"), Person.create(folder, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    for person in (bob, ada, bob):
        await Node(person.chat).sync_with_relay(url)
    taken = []
    came: asyncio.Queue[float] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    async with Node(ada.chat) as mine, Node(bob.chat) as yours:
        mine.keep_relay(url)
        yours.keep_relay(url)

        def heard(event: Event) -> None:
            loop.call_soon_threadsafe(came.put_nowait, time.perf_counter())

        with Syncing(bob.chat).delivering(heard):
            await asyncio.to_thread(ada.chat.send_message, team, "the first")
            await came.get()
            for number in range(MESSAGES):
                start = time.perf_counter()
                await asyncio.to_thread(ada.chat.send_message, team, f"message {number}")
                taken.append(await came.get() - start)
    for person in (ada, bob):
        person.store.close()
    return taken


async def _puts(url: str) -> float:
    clients = [await connect_relay(url) for _ in range(4)]
    keys = [SigningKey(bytes([number]) * 32) for number in range(PUTTERS)]
    for client in clients:
        for key in keys:
            await client.open(key)

    async def put(number: int) -> None:
        for at in range(PUTS // PUTTERS):
            item = number.to_bytes(4, "big") + at.to_bytes(4, "big") + bytes(PUT_BYTES)
            await clients[number % 4].put(keys[number].public, item)

    start = time.perf_counter()
    await asyncio.gather(*map(put, range(PUTTERS)))
    seconds = time.perf_counter() - start
    for client in clients:
        await client.close()
    return PUTS / seconds


async def _heard(url: str) -> float:
    key = SigningKey(b"h" * 32)
    clients = [await connect_relay(url) for _ in range(SUBSCRIBERS)]

    async def hear(number: int) -> None:
        left = HEARD
        async for frame in clients[number].frames():
            left -= isinstance(frame, Item)
            if not left:
                return

    for client in clients:
        await client.open(key)
        await client.subscribe(key.public, 0)
    async with await connect_relay(url) as ada:
        await ada.open(key)
        start = time.perf_counter()
        hearing = asyncio.gather(*map(hear, range(SUBSCRIBERS)))
        for number in range(HEARD):
            await ada.put(key.public, bytes([number]) * PUT_BYTES)
        await hearing
        seconds = time.perf_counter() - start
    for client in clients:
        await client.close()
    return SUBSCRIBERS * HEARD / seconds
