"""Messages on a screen: made by hand, so that what is shown can be compared to the letter."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from quire.cli.differences import changes, history_lines
from quire.cli.render import Renderer
from quire.cli.searching import snippet
from quire.core.ids import ChannelId, MessageId
from quire.core.operation import Attachment
from quire.core.views import Author, Deletion, Message, Page, Reaction, Thread, Version

ADA = Author(id="quire:ada", name="ada", own=True)
BOB = Author(id="slack:U1", name="bob", imported=True)
MORNING = 1_709_629_200_000  # 2024-03-05 09:00 UTC
CHANNEL = ChannelId(bytes(32))


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def message(number: int, body: str, *, author: Author = ADA, minutes: int = 0, **facts: Any) -> Message:
    return Message(
        id=MessageId(number.to_bytes(16, "big")),
        channel=CHANNEL,
        time=(MORNING + minutes * 60_000) << 16,
        author=author,
        body=body,
        **facts,
    )


def shown(*messages: Message, width: int = 70, full: bool = False, colour: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=colour,
        color_system="256" if colour else None,
    )
    by_id = {one.id: one for one in messages}
    renderer = Renderer(console, lambda one: f"ab-{int.from_bytes(one, 'big')}.0", by_id.get, full=full)
    for part in renderer.page(Page(messages=tuple(reversed(messages)), older=None, newer=None)):
        console.print(part)
    return file.getvalue()


def row(left: str, right: str) -> str:
    return left.ljust(70 - len(right)) + right


def test_a_page_groups_by_day_and_author() -> None:
    page = shown(
        message(1, "first\nsecond line"),
        message(2, "again", minutes=1),
        message(3, "hello", author=BOB, minutes=2),
        message(4, "later", author=BOB, minutes=60),
        message(5, "next day", author=BOB, minutes=24 * 60),
    )
    assert page.splitlines() == [
        "── Tuesday 5 March 2024 " + "─" * 46,
        "ada (you)",
        row("09:00  first", "ab-1.0"),
        "       second line",
        row("09:01  again", "ab-2.0"),
        "bob",
        row("09:02  hello", "ab-3.0"),
        "bob",
        row("10:00  later", "ab-4.0"),
        "── Wednesday 6 March 2024 " + "─" * 44,
        "bob",
        row("09:00  next day", "ab-5.0"),
    ]


def test_what_belongs_to_a_message_stands_below_it() -> None:
    root = message(
        1,
        "look",
        edited_ms=MORNING,
        pinned=True,
        title="A plan",
        attachments=(Attachment(name="plan.pdf", url="https://example.org/p", size_bytes=12_300),),
        reactions=(Reaction("👍", 3, True, ("ada", "bob")), Reaction("🎉", 1, False, ("bob",))),
        thread=Thread(MessageId(bytes(16)), CHANNEL, "A plan", 2, 1, MORNING, None, BOB, "fine with me"),
    )
    answer = message(2, "ok", author=BOB, minutes=1, reply_to=root.id)
    assert shown(root, answer).splitlines()[2:] == [
        row("09:00  A plan", "ab-1.0"),
        "       look  (edited, pinned)",
        "       📎 plan.pdf (12.3 kB)",
        "       👍 3  🎉 1",
        "       └ 2 replies by 1 person, last 5 Mar 2024 09:00, bob: fine with…",
        "bob",
        row("09:01  ok", "ab-2.0"),
        "       ↩ ada: look",
    ]
    whole = shown(root, full=True)
    assert "👍 ada, bob and 1 more" in whole
    assert "https://example.org/p" in whole


def test_notices_deletions_and_actions() -> None:
    lines = shown(
        message(1, "bob joined", author=BOB, notice="join"),
        message(2, "", deleted=Deletion(by=BOB, time_ms=MORNING, reason="twice")),
        message(3, "waves", action=True),
    ).splitlines()
    assert [part[:30].rstrip() for part in lines[1:]] == [
        "09:00  · bob joined",
        "ada (you)",
        "09:00  deleted by bob: twice",
        "09:00  * ada waves",
    ]


def test_wide_characters_align_and_long_words_fold() -> None:
    lines = shown(message(1, "日本語" * 30), message(2, "x" * 200), message(3, "👩‍👩‍👧 family")).splitlines()
    assert all(cell_len(part) <= 70 for part in lines)
    ids = [part for part in lines if part.endswith(".0")]
    assert len(ids) == 3
    assert {cell_len(part) for part in ids} == {70}


def test_a_narrow_screen_loses_nothing() -> None:
    lines = shown(message(1, "one two three four five six seven"), width=24).splitlines()
    assert all(cell_len(part) <= 24 for part in lines)
    assert "".join(lines).count("seven") == 1
    assert lines[-1].strip() == "ab-1.0"


HOSTILE = "\x1b[2J[red]x[/red][link=file:///]\u202e:wave:\x9b1m"


def test_no_text_of_others_is_obeyed() -> None:
    evil = Author(id="irc:x", name=f"mal{HOSTILE}")
    everything = message(
        1,
        HOSTILE,
        author=evil,
        title=HOSTILE,
        attachments=(Attachment(name=HOSTILE, url=HOSTILE),),
        reactions=(Reaction(HOSTILE, 1, False, (HOSTILE,)),),
        thread=Thread(MessageId(bytes(16)), CHANNEL, HOSTILE, 1, 1, MORNING, None, evil, HOSTILE),
    )
    deleted = message(2, "", author=evil, deleted=Deletion(by=ADA, time_ms=0, reason=HOSTILE))
    notice = message(3, HOSTILE, author=evil, notice="topic")
    for full in (False, True):
        page = shown(everything, deleted, notice, width=300, full=full)
        assert not any(char in page for char in "\x1b\x9b\u202e\x07")
        assert "[red]x[/red]" in page  # markup is text
        assert ":wave:" in page
    coloured = shown(everything, deleted, notice, width=300, colour=True)
    assert "\x1b[2J" not in coloured
    assert "\x1b]8" not in coloured  # no link


def test_a_huge_body_is_cut_on_a_page_and_whole_when_asked_for() -> None:
    huge = message(1, "word " * 20_000)
    page = shown(huge)
    assert len(page) < 10_000
    assert "… 96,000 more characters: quire show ab-1.0" in page
    assert shown(huge, full=True).count("word") == 20_000


def version(number: int, body: str, **facts: Any) -> Version:
    facts = {"shown": False, "concurrent": False} | facts
    return Version(number=number, body=body, time_ms=MORNING, author=ADA, **facts)


def test_changes_word_by_word() -> None:
    assert changes("the red house", "the blue house!", colour=False).plain == "the [-red-]{+blue+} house{+!+}"
    coloured = changes("the red house", "the blue house", colour=True)
    assert coloured.plain == "the redblue house"
    assert [(span.start, span.end, span.style) for span in coloured.spans] == [
        (4, 7, "red strike"),
        (7, 11, "green underline"),
    ]


def test_a_huge_change_takes_no_time() -> None:
    started = time.process_time()
    assert changes("a " * 500_000, "b " * 500_000, colour=False).plain == "b " * 500_000
    assert time.process_time() - started < 5


def test_history() -> None:
    lines = [
        part.plain for part in history_lines([version(1, "one"), version(2, "two", shown=True)], colour=False)
    ]
    assert lines == [
        "version 1  ada (you)  5 Mar 2024 09:00",
        "one",
        "version 2  ada (you)  5 Mar 2024 09:00  this one stands",
        "[-one-]{+two+}",
    ]


def test_snippets_mark_the_right_words_in_text_that_had_to_be_cleaned() -> None:
    body = "\r\n" * 10 + "a \x1bneedle b needle" + " tail" * 200
    first = body.index("needle")
    text = snippet(body, ((first, first + 6), (first + 9, first + 15)))
    marked = [text.plain[span.start : span.end] for span in text.spans]
    assert marked == ["needle", "needle"]
    assert "\x1b" not in text.plain
    assert text.plain.endswith("…")
    assert len(text.plain) < 700


def test_a_snippet_is_around_the_first_match() -> None:
    body = "x" * 10_000 + " needle " + "y" * 10_000
    text = snippet(body, ((10_001, 10_007),))
    assert text.plain.startswith("…x")
    assert "needle" in text.plain
    assert snippet("no spans at all", ()).plain == "no spans at all"
