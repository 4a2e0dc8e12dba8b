"""Archiving: the older half of a history moves into segments while somebody posts, is read and found there, and comes back."""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench.data import History
from bench.letting import Posting
from bench.measuring import OURS, Row, peak_mb, python, run_child
from bench.people import with_history
from quire.channels.manager import ChannelManager
from quire.core.ids import ChannelId
from quire.store.local import LocalStore
from quire.store.opening import FILE_NAME
from quire.testing.people import key_of

PART = "archive"
CALLS = 100
CODE = "import sys; from bench import archiving; getattr(archiving, sys.argv[1])(*sys.argv[2:])"


def measure(history: History, size: int, scratch: Path) -> list[Row]:
    """One channel's older half is archived by one process, and brought back by another."""
    folder = scratch / f"archiving-{size}"
    folder.mkdir()
    ada, bob, team = with_history(history, size, folder)
    file = ada.store.folder / FILE_NAME
    ada.store.database.checkpoint()
    before = file.stat().st_size
    for person in (ada, bob):
        person.store.close()
    out = _child("archive", scratch, ada.store.folder, team.hex())
    after = file.stat().st_size
    read = _child("read", scratch, ada.store.folder, team.hex(), history.wanted.word, out["middle_ms"])
    back = _child("unarchive", scratch, ada.store.folder, team.hex())
    shutil.rmtree(folder)
    return [
        Row(PART, size, "half archived", "messages/s", {OURS: out["messages"] / out["seconds"]}),
        Row(PART, size, "longest step, archiving", "ms", {OURS: out["longest_ms"]}),
        Row(PART, size, "a post while archiving, 99 % within", "ms", {OURS: out["most_ms"]}),
        Row(PART, size, "a post while archiving, the slowest", "ms", {OURS: out["slowest_ms"]}),
        Row(PART, size, "segments", "bytes/message", {OURS: out["segment_bytes"] / out["messages"]}),
        Row(PART, size, "file after archiving half", "of before", {OURS: after / before}),
        Row(PART, size, "50 of a segment", "us", {OURS: read["page_us"]}),
        Row(PART, size, "search, newest 20 in segments: word", "us", {OURS: read["search_us"]}),
        Row(PART, size, "brought back", "messages/s", {OURS: back["messages"] / back["seconds"]}),
        Row(PART, size, "archiving and bringing back", "MB", {OURS: max(out["peak_mb"], back["peak_mb"])}),
    ]


def _child(what: str, scratch: Path, *arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(run_child(python(CODE, what, *arguments), scratch))
    return found


def _say(**found: float) -> None:
    sys.stdout.write(msgspec.json.encode({**found, "peak_mb": peak_mb()}).decode() + "\n")


def archive(folder: str, channel: str) -> None:
    """In the child: the older half, with the posts that come meanwhile."""
    with LocalStore.open(folder, key_of(Path(folder))) as store:
        chat, team = ChannelManager(store), ChannelId(bytes.fromhex(channel))
        middle = store.get_channel_messages_paginated(team, offset=_count(chat, team) // 2).messages[0]
        with Posting(chat, team) as posting:
            start = time.perf_counter()
            done = chat.archive(team, middle.time_ms)
            seconds = time.perf_counter() - start
    _say(
        messages=done.messages, seconds=seconds, longest_ms=done.longest_ms, segment_bytes=done.segment_bytes,
        most_ms=posting.within(0.99), slowest_ms=posting.within(1.0), middle_ms=middle.time_ms,
    )  # fmt: skip


def read(folder: str, channel: str, word: str, before_ms: str) -> None:
    """In the child: pages and hits of what is archived, with no piece of a segment in memory."""
    with LocalStore.open(folder, key_of(Path(folder))) as store:
        chat, team = ChannelManager(store), ChannelId(bytes.fromhex(channel))
        count = _count(chat, team)
        spots = [
            store.get_channel_messages_paginated(team, offset=count // 2 + count * n // 250).older
            for n in range(1, CALLS)
        ]
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(before_ms) / 1000))
        _say(
            page_us=_median_us(
                store, [partial(store.get_channel_messages_paginated, team, before=at) for at in spots]
            ),
            search_us=_median_us(store, [lambda: store.search(f"{word} before:{until}")] * CALLS),
        )


def unarchive(folder: str, channel: str) -> None:
    """In the child."""
    with LocalStore.open(folder, key_of(Path(folder))) as store:
        start = time.perf_counter()
        done = ChannelManager(store).unarchive(ChannelId(bytes.fromhex(channel)))
        _say(messages=done.messages, seconds=time.perf_counter() - start)


def _count(chat: ChannelManager, channel: ChannelId) -> int:
    return next(info.messages for info in chat.list_channels() if info.id == channel)


def _median_us(store: LocalStore, calls: list[Callable[[], object]]) -> float:
    taken = []
    for call in calls:
        store.database.blocks.forget()
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6
