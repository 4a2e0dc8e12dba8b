"""The history that is measured: real messages if this machine has the corpora, else those of the demo.

All contenders are given the same messages in the same order: all channels together, oldest first, as a
server's own export has them. A history shorter than what there is takes one message in so many, a longer one
goes round again, later. One message in 2,000 begins a thread of 20 replies. Nothing is random but by seed, and
nothing is held in memory: the messages wait in a file of one JSON array a line, so that importing can be
measured as a stream.

Which words, phrase and author are searched for is decided by how often they occur, about once in a
thousand messages; they are never printed, since real people wrote them.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from quire.core.words import words
from quire.exchange import model
from quire.exchange.detect import detect
from quire.exchange.sources import open_source

ROOT = Path(__file__).parent.parent
CORPORA = Path(os.environ.get("QUIRE_CORPORA", ROOT.parent / "shared" / "corpora"))
REAL = CORPORA / "zulip-rust-lang" / "zulip_json.tar.xz"
DEMO = ROOT / "demo" / "pyscript-discord.zip"
BATCH = 10_000  # messages in a transaction, for every contender
BODY_BYTES_MIN = 32  # shorter ones are left out: then the mean body is the 140 bytes that targets are for
DEMO_CHANNELS, DEMO_MESSAGES, DEMO_STEP_MS = 40, 20_000, 61_000
THREAD_EVERY, THREAD_REPLIES = 2_000, 20
RARE = 1_000  # what is searched for stands in one of so many messages
SAMPLED = 20_000  # messages in which words are counted


class Line(msgspec.Struct, array_like=True, gc=False):
    """One message of the file."""

    channel: str
    author: str
    time_ms: int
    body: str


class Wanted(msgspec.Struct):
    """What is searched for."""

    word: str
    phrase: str
    author: str


class History:
    """A deterministic stream of messages of any length."""

    def __init__(self, file: Path, source: str, wanted: Wanted, lines: int, span_ms: int) -> None:
        self.file = file
        self.lines = lines
        self.source = source  # where the messages come from, in words
        self.wanted = wanted
        self.span_ms = span_ms
        self.body_bytes = 0.0  # mean, of what was streamed last

    def messages(self, count: int) -> Iterator[model.Message]:
        """The first `count` messages."""
        decode = msgspec.json.Decoder(Line).decode
        threads: dict[str, tuple[str, int, int]] = {}  # channel -> root, its time, replies to come
        number = size = 0
        step = max(1, self.lines // count)
        for turn in itertools.count():
            with self.file.open("rb") as lines:
                for encoded in itertools.islice(lines, 0, None, step):
                    if number == count:
                        self.body_bytes = size / count
                        return
                    line = decode(encoded)
                    time_ms = line.time_ms + turn * self.span_ms
                    channel, name = line.channel, str(number)
                    root, root_ms, left = threads.get(channel, ("", 0, 0))
                    if not left:
                        root = ""
                        if number % THREAD_EVERY == 0:
                            threads[channel] = (name, time_ms, THREAD_REPLIES)
                    else:
                        threads[channel] = (root, root_ms, left - 1)
                    size += len(line.body.encode())
                    yield model.Message(
                        channel, name, time_ms, line.author, line.body,
                        thread=root, thread_time_ms=root_ms if root else None,
                    )  # fmt: skip
                    number += 1

    def batches(self, count: int) -> Iterator[list[model.Record]]:
        """The same in lists, as an import takes them."""
        stream = self.messages(count)
        while batch := list(itertools.islice(stream, BATCH)):
            yield list[model.Record](batch)


def prepare(folder: Path, *, real: bool = True) -> History:
    """The history, its messages written to a file in `folder`; the demo's also where `real` ones are too slow."""
    if real and REAL.exists():
        lines, source = _of_export(REAL), "real messages of a public community"
    else:
        lines, source = _made_of_demo(), "the demo export's messages, repeated"
    lines.sort(key=lambda line: line.time_ms)
    file = folder / "history.jsonl"
    encode = msgspec.json.Encoder().encode
    with file.open("wb") as out:
        out.writelines(encode(line) + b"\n" for line in lines)
    span_ms = lines[-1].time_ms - lines[0].time_ms + 1
    return History(file, source, _wanted(lines[:: len(lines) // SAMPLED + 1]), len(lines), span_ms)


def _of_export(path: Path) -> list[Line]:
    """The messages of an export, but for notices and short ones."""
    with open_source(path) as source:
        return [
            Line(record.channel, record.author, record.time_ms, record.body)
            for record in detect(source).read(source, model.Options())
            if isinstance(record, model.Message)
            and not record.notice
            and len(record.body.encode()) >= BODY_BYTES_MIN
        ]


def _made_of_demo() -> list[Line]:
    """The demo's bodies, over as many channels as a community has, the largest with an eighth of all."""
    found = _of_export(DEMO)
    chance = random.Random(1)
    weights = [1 / (rank + 3) for rank in range(DEMO_CHANNELS)]
    channels = chance.choices(range(DEMO_CHANNELS), weights, k=DEMO_MESSAGES)
    chosen = chance.choices(found, k=DEMO_MESSAGES)
    start_ms = found[0].time_ms
    return [
        Line(f"channel-{channel}", line.author, start_ms + number * DEMO_STEP_MS, line.body)
        for number, (channel, line) in enumerate(zip(channels, chosen, strict=True))
    ]


def _wanted(lines: list[Line]) -> Wanted:
    """A word and a phrase that occur about once in `RARE` messages, and an author of one in twenty."""
    word_counts, phrase_counts = Counter[str](), Counter[str]()
    for line in lines:
        found = words(line.body)
        plain = {word for word in found if len(word) > 3 and word.isascii() and word.isalpha()}
        word_counts.update(plain)
        phrase_counts.update(
            {f"{one} {two}" for one, two in itertools.pairwise(found) if one in plain and two in plain}
        )
    authors = Counter(line.author for line in lines if '"' not in line.author)
    often = len(lines) / RARE
    return Wanted(
        _nearest(word_counts, often), _nearest(phrase_counts, often), _nearest(authors, len(lines) / 20)
    )


def _nearest(counts: Counter[str], wanted: float) -> str:
    return min(counts, key=lambda text: (abs(counts[text] - wanted), text))
