"""Signal: the text of the known tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.errors import FormatError
from quire.exchange import signal, whatsapp
from quire.exchange.model import (
    GONE,
    Attachment,
    Author,
    Channel,
    Edit,
    NotCarried,
    Options,
    Reaction,
    Skipped,
)
from tests.corpora import corpus
from tests.exchange.counting import tally
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

AT = 1580493900000  # 2020-01-31T18:05:00Z

MARKDOWN = (
    "[2020-01-31 18:05:00] Ann: hello there  \n(- Bob: 👍, Me: 👍, Cat: 😂 -)\n"
    "[2020-01-31 18:06:00] Me: \n\n> hello there\n\ntwo\nlines![a.png](./media/a.png)  [b.pdf](media/b.pdf)  \n"
    "[2020-01-31 18:07:00] Ann: (This message was deleted)\n"
    "[2020-01-31 18:08:00] No-Sender: \n"
    "[2020-01-31 18:09:00] Ann: [text](https://example.org) stays\n(( 🐈 ))\n"
)
SHORT = (
    "2020-01-31 18:05 Ann: hello\nsecond line\n"
    "2020-01-31 18:06 You: [reply to Ann on 2020-01-31 18:05, edited, 2 attachments] an answer\n"
    "2020-01-31 18:07 Ann: [keychange message]\n"
)
TOOLS = (
    "[Jan 31, 2020 18:05:00] <Ann> hello\nsecond line\n"
    '[Jan 31, 2020 18:06:00] *** <Ann> sent file "a.png"\n'
    "[Jan 31, 2020 18:07:00] *** <Ann> sent file of type image/jpeg\n"
    "[Jan 31, 2020 18:08:00] *** Ann changed the timer\n"
)
LONG = """Conversation: Trip (group)

From: Ann (+441234)
Type: incoming
Sent: Fri, 31 Jan 2020 18:05:00 +0000
Received: Fri, 31 Jan 2020 18:05:01 +0000
Attachment: a.png (image/png, 77 bytes)
Attachment: no filename (audio/aac, 5 bytes)
Reaction: 👍 from Bob
Reaction: 👍 from You

hello

From: nobody, this is text

From: You
Type: outgoing
Sent: Fri, 31 Jan 2020 20:06:00 +0200

> From: Ann (+441234)
> Sent: Fri, 31 Jan 2020 18:05:00 +0000
>
> hello

an answer

From: Bob
Type: incoming
Sent: Fri, 31 Jan 2020 18:07:00 +0000
Edited: 2 versions

| Version: 2
| Sent: Fri, 31 Jan 2020 18:08:00 +0000
|
| new text
|
| Version: 1
| Sent: Fri, 31 Jan 2020 18:07:00 +0000
|
| old text

Type: group-v2-change
Sent: Fri, 31 Jan 2020 18:09:00 +0000

From: Ann
Type: incoming
Sent: unknown

lost
"""


@pytest.mark.parametrize("how", PACKINGS)
def test_signal_export(tmp_path: Path, how: str) -> None:
    path = pack(
        tmp_path, {"out/Ann/chat.md": MARKDOWN, "out/Ann/media/a.png": b"x", "out/README.md": "no"}, how
    )
    assert certainty(signal, path) == 3
    found = records(signal, path)
    hello, answer, gone, nobody, sticker = messages(found)
    assert only(found, Channel) == [Channel("Ann", "Ann", kind="direct")]
    assert (hello.time_ms, hello.author, hello.body) == (AT, "Ann", "hello there")
    assert hello.reactions == (Reaction("👍", ("Bob", "Me")), Reaction("😂", ("Cat",)))
    assert answer.body == "> hello there\n\ntwo\nlines"
    assert answer.attachments == (Attachment("a.png", "./media/a.png"), Attachment("b.pdf", "media/b.pdf"))
    assert (gone.deleted, gone.body, nobody.notice, nobody.author) == (True, "", "other", "")
    assert sticker.body == "[text](https://example.org) stays\n🐈"
    assert only(found, Author) == [Author("Ann", "Ann"), Author("Me", "Me")]


def test_sigtop_short(tmp_path: Path) -> None:
    path = pack(tmp_path, {"Ann.txt": SHORT}, "file")
    assert certainty(signal, path) == 2
    found = records(signal, path, Options(timezone="Europe/Paris"))
    hello, answer, changed = messages(found)
    assert (hello.time_ms, hello.body, hello.channel) == (AT - 3_600_000, "hello\nsecond line", "Ann")
    assert (answer.body, answer.edited_ms, len(answer.attachments)) == ("an answer", answer.time_ms, 2)
    assert changed.notice == "other"
    assert answer.reply_to == hello.id


def test_an_answer_to_one_of_several_messages_of_a_minute_is_an_answer_to_none_that_is_known(
    tmp_path: Path,
) -> None:
    text = (
        "2020-01-31 18:05 You: hi\n2020-01-31 18:05 You: ho\n2020-01-31 18:05 Bob: hu\n"
        "2020-01-31 18:06 Ann: [reply to You on 2020-01-31 18:05] to which?\n"
        "2020-01-31 18:07 Ann: [reply to Bob on 2020-01-31 18:05] to you\n"
    )
    found = records(signal, pack(tmp_path, {"Ann.txt": text}, "file"))
    _, _, hu, which, you = messages(found)
    assert (which.reply_to, you.reply_to) == (GONE, hu.id)
    assert NotCarried("which of a minute's messages a reply answers", 1) in found


def test_signalbackup_tools(tmp_path: Path) -> None:
    path = pack(tmp_path, {"Ann.txt": TOOLS}, "file")
    assert certainty(signal, path) == 3
    hello, named, typed, timer = messages(records(signal, path))
    assert (hello.time_ms, hello.author, hello.body) == (AT, "Ann", "hello\nsecond line")
    assert (named.author, named.attachments) == ("Ann", (Attachment("a.png"),))
    assert typed.attachments == (Attachment("file", media_type="image/jpeg"),)
    assert (timer.notice, timer.body) == ("other", "Ann changed the timer")


@pytest.mark.parametrize("how", PACKINGS)
def test_sigtop_long(tmp_path: Path, how: str) -> None:
    path = pack(tmp_path, {"x/Trip.txt": LONG.replace("\n", "\r\n")}, how)
    assert certainty(signal, path) == 3
    found = records(signal, path)
    hello, answer, edited, changed = messages(found)
    assert only(found, Channel) == [Channel("Trip", "Trip", kind="direct")]
    assert (hello.author, hello.body) == ("Ann", "hello\n\nFrom: nobody, this is text")
    assert hello.attachments == (
        Attachment("a.png", media_type="image/png", size_bytes=77),
        Attachment("file", media_type="audio/aac", size_bytes=5),
    )
    assert hello.reactions == (Reaction("👍", ("Bob", "You")),)
    assert (answer.body, answer.reply_to, answer.reply_to_time_ms) == ("an answer", hello.id, AT)
    assert answer.time_ms == AT + 60_000
    assert (edited.body, edited.edits) == ("old text", (Edit(AT + 180_000, "new text"),))
    assert (changed.notice, changed.body) == ("other", "[group-v2-change]")
    assert [s.reason for s in only(found, Skipped)] == ["no time"]  # type: ignore[attr-defined]


def test_overlapping_exports_give_one_name_to_one_message(tmp_path: Path) -> None:
    lines = [f"[2020-01-31, 18:{n:02}] Ann: ok\n[2020-01-31, 18:{n:02}] Ann: ok\n" for n in range(30)]
    one = messages(records(signal, pack(tmp_path, {"Ann/chat.md": "".join(lines[:20])}, name="a")))
    two = messages(records(signal, pack(tmp_path, {"Ann/index.md": "".join(lines[10:])}, name="b")))
    assert len({m.id for m in one}) == 40
    assert len({(m.channel, m.id) for m in one} & {(m.channel, m.id) for m in two}) == 20


def test_other_texts_are_no_conversations(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.md": "# A title\n\n[2020] Ann: x\n"})
    assert certainty(signal, path) == 0
    with pytest.raises(FormatError):
        records(signal, path)


def test_the_sample() -> None:
    path = corpus("small-samples/signal-text/test_export.txt")
    assert certainty(signal, path) > certainty(whatsapp, path), "no seconds: not an iPhone's WhatsApp"
    found = records(signal, path)
    counts = tally(found, signal.NOTICES_ARE_MESSAGES)
    assert (counts["messages"], counts["notices"], counts["authors"], counts["skipped"]) == (2, 0, 2, 0)
    assert [m.body.count("\n") for m in messages(found)] == [0, 1]


test_spoiled_markdown = fuzz(signal, MARKDOWN.encode(), "chat.md")
test_spoiled_short = fuzz(signal, SHORT.encode(), "a.txt", 60)
test_spoiled_long = fuzz(signal, LONG.encode(), "b.txt")
