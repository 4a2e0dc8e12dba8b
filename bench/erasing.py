"""Erasing everything of one author: 10,000 messages spread over a channel's whole history, or every second one of a short one.

Destroyed are their bytes in the log and their words in the search index; the journal is emptied at the end.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.data import History
from bench.measuring import OURS, Row
from bench.ours import SOURCE
from quire.exchange import model
from quire.store.importing import ImportRun
from quire.store.tally import Tally
from quire.testing.people import Person

PART = "erasing"
MESSAGES = 10_000
NAME, AUTHOR = "team", "somebody who leaves"


def measure(history: History, size: int, scratch: Path) -> list[Row]:
    """A vault with `size` messages in one channel forgets an author."""
    folder = scratch / f"erasing-{size}"
    folder.mkdir()
    ada = Person.create(folder, "ada")
    run = ImportRun(ada.store, SOURCE, Tally(True))
    with ada.store.database.bulk():
        for _ in run.take_all(_with_author(history, size)):
            pass
    start = time.perf_counter()
    receipt = ada.chat.erase_author(f"{SOURCE}:{AUTHOR}")
    seconds = time.perf_counter() - start
    count = len(receipt.erased)
    assert count > min(MESSAGES, size) // 4
    ada.store.close()
    shutil.rmtree(folder)
    return [Row(PART, size, "erase an author's 10,000 messages", "s", {OURS: seconds * MESSAGES / count})]


def _with_author(history: History, size: int) -> Iterator[list[model.Record]]:
    """The history in one channel; one message in so many is by the author who is to go."""
    every, number = max(2, size // MESSAGES), 0
    for batch in history.batches(size):
        changed: list[model.Record] = []
        for record in batch:
            if isinstance(record, model.Message):
                number += 1
                author = AUTHOR if number % every == 0 and not record.thread else record.author
                changed.append(msgspec.structs.replace(record, channel=NAME, author=author))
            else:
                changed.append(record)
        yield changed
