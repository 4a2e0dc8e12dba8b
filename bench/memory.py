"""Peak memory of a process that reads much of a vault, and of one that imports a stream."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.building import Built
from bench.data import History, Wanted
from bench.measuring import OURS, Row, peak_mb, python, run_child
from bench.ours import Ours
from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import KeyFile
from quire.store.local import LocalStore

PART = "memory"
PAGES, SEARCHES = 200, 20
CODE = "import sys; from bench import memory; getattr(memory, sys.argv[1])(*sys.argv[2:])"


def measure(built: Built, scratch: Path) -> list[Row]:
    """Peaks of two children; `built` is closed."""
    size, history, ours = built.size, built.history, built.ours
    reading = python(CODE, "read", ours.folder, ours.key_file, history.wanted.word)
    folder = scratch / f"memory-{size}"
    importing = python(CODE, "load", history.file, history.lines, history.span_ms, size, folder)
    return [
        Row(PART, size, what, "MB", {OURS: float(run_child(command, scratch))})
        for what, command in (("reading", reading), ("importing", importing))
    ]


def read(folder: str, key_file: str, word: str) -> None:
    """In the child: pages of every channel, the largest one whole, and searches, page after page."""
    with LocalStore.open(folder, KeyFile(key_file)) as store:
        manager = ChannelManager(store)
        channels = sorted(manager.list_channels(), key=lambda channel: -channel.messages)
        for channel in channels:
            cursor: str | None = None
            for _ in range(PAGES):
                page = store.get_channel_messages_paginated(channel.id, before=cursor)
                cursor = page.older
                if cursor is None:
                    break
        assert sum(1 for _ in store.get_channel_messages(channels[0].id)) == channels[0].messages
        older: str | None = None
        for _ in range(SEARCHES):
            older = store.search(word, before=older).older
            if older is None:
                break
    sys.stdout.write(f"{peak_mb()}\n")


def load(history_file: str, lines: str, span_ms: str, size: str, folder: str) -> None:
    """In the child: import a history that is streamed from its file."""
    Path(folder).mkdir()
    ours = Ours(Path(folder))
    history = History(Path(history_file), "", Wanted("", "", ""), int(lines), int(span_ms))
    for _ in ours.load(history.batches(int(size))):
        pass
    ours.close()
    sys.stdout.write(f"{peak_mb()}\n")
