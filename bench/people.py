"""People: a new key for a thousand devices, membership after one more control commit, joining a channel from a file.

Joining is a vault that reads a bundle file of a channel into which the whole history was imported. Its floor writes the
same rows, in the order and the transactions in which they came: newest first, which costs a tree more than in order.
The first page is timed by another process, which asks for it until it is there.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.data import History
from bench.floor import Floor, catching
from bench.measuring import FLOOR, OURS, ROOT, Row, environment, python
from bench.ours import PAGE, SOURCE
from quire.core import commit
from quire.core.control import Admit, Device, Role
from quire.core.ids import ChannelId
from quire.core.membership import Graph
from quire.core.operation import SALT_SIZE
from quire.core.operation_form import decode_operation
from quire.exchange import model
from quire.storage import controls, log
from quire.store import placing
from quire.store.importing import ImportRun
from quire.store.local import LocalStore
from quire.store.people import as_control
from quire.store.tally import Tally
from quire.testing.authors import Author, Channel
from quire.testing.people import Person, key_of

PART = "people"
DEVICES, ADMITS_AT_ONCE = 1_000, 50
CONTROLS, MEMBERS, RESOLVED = 10_000, 1_000, 100
ROTATIONS = 3
NAME = "team"
WATCH_SECONDS_MAX = 600
WATCH = "import sys; from bench import people; people.watch(*sys.argv[1:])"


def groups(scratch: Path) -> list[Row]:
    """What does not depend on a history of messages."""
    seconds, sizes = rotations(scratch)
    added = resolving()
    return [
        Row(PART, DEVICES, "rotate", "s", {OURS: statistics.median(seconds)}),
        Row(PART, DEVICES, "rotate, a device", "bytes", {OURS: statistics.median(sizes) / DEVICES}),
        Row(PART, CONTROLS, "resolve, one more control commit", "ms", {OURS: statistics.median(added) * 1e3}),
        Row(PART, CONTROLS, "resolve, the slowest", "ms", {OURS: max(added) * 1e3}),
    ]


def rotations(scratch: Path) -> tuple[list[float], list[int]]:
    """Seconds and bytes of new keys for a channel of many people."""
    ada = Person.create(scratch, "rotating")
    id = ada.chat.create_channel(NAME).id
    store = ada.store
    entries = [Author(seed).entry for seed in range(DEVICES - 1)]
    for first in range(0, len(entries), ADMITS_AT_ONCE):
        some = entries[first : first + ADMITS_AT_ONCE]
        store.ledger.write_control(id, lambda db, row, graph, some=some: _admitting(some))  # type: ignore[misc]
    ada.chat.rotate_key(id)  # the first time everything is looked up
    seconds, sizes = [], []
    for _ in range(ROTATIONS):
        before = _control_bytes(store, id)
        start = time.perf_counter()
        ada.chat.rotate_key(id)
        seconds.append(time.perf_counter() - start)
        sizes.append(_control_bytes(store, id) - before)
    store.close()
    return seconds, sizes


def _admitting(entries: list[Device]) -> list[Admit]:
    return [Admit((entry,), Role.MEMBER) for entry in entries]


def _control_bytes(store: LocalStore, id: ChannelId) -> int:
    rows = controls.control_rows(store.database.reader, store.channel_row(id).n)
    return sum(len(operation) for _, operation in rows)


def resolving() -> list[float]:
    """Seconds that each of the last control commits of a long history takes, until who is in is known."""
    author = Author(seed=1)
    channel = author.channel()
    graph = Graph(channel.id)
    taken = []
    for number, encoded in enumerate(_history(channel)):
        received, head = commit.decode_commit(encoded)
        operations: Any = [decode_operation(salted[SALT_SIZE:]) for salted in received.operations]
        control = as_control(received.head, head, operations)
        start = time.perf_counter()
        graph.add(control)
        standing = graph.state.role(author.identity)
        if number >= CONTROLS:
            taken.append(time.perf_counter() - start)
        assert standing is Role.OWNER
    return taken


def _history(channel: Channel) -> Iterator[bytes]:
    """Control commits: many are let in, then roles change to and fro."""
    pen = channel.pen
    yield channel.founding
    members = [Author(seed) for seed in range(2, MEMBERS + 1)]
    for member in members:
        yield pen.admit(member)
    for number in range(CONTROLS + RESOLVED - 1 - len(members)):
        role = Role.MODERATOR if number // len(members) % 2 == 0 else Role.MEMBER
        yield pen.set_role(members[number % len(members)], role)


# Joining


def join(history: History, size: int, scratch: Path) -> list[Row]:
    """A newcomer reads a channel of `size` messages from a file."""
    folder = scratch / f"people-{size}"
    folder.mkdir()
    file = folder / "team.bundle"
    bob = _invited(history, size, folder, file)
    floor = Floor(folder)
    watcher = _watching(bob.store.folder, folder)
    checks, restore = _counted()
    with catching() as caught:
        run, aside = bob.store.ledger.run, 0.0

        def in_turns(*arguments: Any, **named: Any) -> Any:
            nonlocal aside
            result = run(*arguments, **named)
            if caught.posts:
                began = time.perf_counter()
                floor.load(caught.take())
                aside += time.perf_counter() - began  # also what it sorts before its own time begins
            return result

        bob.store.ledger.run = in_turns  # type: ignore[method-assign]
        start, began = time.perf_counter(), time.time()
        report = bob.chat.read_bundle(file)
        seconds = time.perf_counter() - start - aside
        floor.load(caught.take())
    floor.finish()
    restore()
    assert report.ok
    db = bob.store.database.reader
    [row] = log.channels(db)
    assert row.messages == size
    content = [log.content_commits(db, of) for of in log.logs_of(db, row.n)]
    signed = {commit.to_be_signed(head) for commits in content for _, head, _ in commits}
    logs = sum(map(bool, content))
    seen = float(watcher.communicate(timeout=WATCH_SECONDS_MAX)[0])
    bob.store.close()
    floor.close()
    size_mb = file.stat().st_size / 1e6
    shutil.rmtree(folder)
    return [
        Row(PART, size, "join, first page", "ms", {OURS: (seen - began) * 1e3}),
        Row(PART, size, "join", "messages/s", {OURS: size / seconds, FLOOR: size / floor.seconds}),
        Row(
            PART,
            size,
            "join, signature checks",
            "for a log",
            {OURS: sum(one in signed for one in checks) / logs},
        ),
        Row(PART, size, "bundle file", "MB", {OURS: size_mb}),
    ]


def _invited(history: History, size: int, folder: Path, file: Path) -> Person:
    """Somebody who was let into a channel with the history, which is in the file."""
    ada, bob, team = with_history(history, size, folder)
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    ada.take(bob.give())
    ada.chat.write_bundle(file)
    ada.store.close()
    return bob


def with_history(history: History, size: int, folder: Path) -> tuple[Person, Person, ChannelId]:
    """Somebody who has the history in one channel, somebody who has nothing, and the channel."""
    ada, bob = Person.create(folder, "ada"), Person.create(folder, "bob")
    run = ImportRun(ada.store, SOURCE, Tally(True))
    with ada.store.database.bulk():
        for _ in run.take_all(_in_one_channel(history, size)):
            pass
    [team] = ada.chat.list_channels()
    return ada, bob, team.id


def _in_one_channel(history: History, size: int) -> Iterator[list[model.Record]]:
    """The history, all of it in one channel."""
    for batch in history.batches(size):
        yield [msgspec.structs.replace(record, channel=NAME) for record in batch]


def _counted() -> tuple[list[bytes], Callable[[], None]]:
    """What is verified to be signed from here on; and what ends that."""
    checks: list[bytes] = []
    really = placing.verify  # type: ignore[attr-defined]

    def verify(public: bytes, signature: bytes, message: bytes) -> bool:
        checks.append(message)
        return bool(really(public, signature, message))

    placing.verify = verify  # type: ignore[attr-defined]
    return checks, lambda: setattr(placing, "verify", really)


def _watching(vault: Path, scratch: Path) -> subprocess.Popen[str]:
    """A process that says when it first had a page of a channel of that vault in hand."""
    command = python(WATCH, vault)
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(scratch), cwd=ROOT)
    assert watcher.stdout is not None
    watcher.stdout.readline()  # it is ready
    return watcher


def watch(folder: str) -> None:
    """In the child."""
    with LocalStore.open(folder, key_of(Path(folder)), read_only=True) as store:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        end = time.monotonic() + WATCH_SECONDS_MAX
        while time.monotonic() < end:
            for row in log.channels(store.database.reader):
                page = store.get_channel_messages_paginated(row.id, limit=PAGE)
                if len(page.messages) == PAGE:
                    sys.stdout.write(f"{time.time()}\n")
                    return
            time.sleep(0.01)
