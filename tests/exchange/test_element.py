"""Element's HTML and plain text: events, headings of days, who goes on speaking, and lines of every language's order."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.exchange import element
from quire.exchange.detect import open_export
from quire.exchange.model import Attachment, Author, Channel, Options, Skipped
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

DAY = 1577923200000  # 2020-01-02T00:00:00Z
HOUR, MINUTE = 3_600_000, 60_000
ROOM = "!room:example.org"
ANN, BOB = "@ann:example.org", "@bob:example.org"


def tile(key: str, clock: str, content: str, who: str = "", avatar: str = "", mxid: str = "") -> str:
    name = f'<span class="mx_DisambiguatedProfile_displayName" dir="auto">{who}</span>'
    name += f'<span class="mx_DisambiguatedProfile_mxid">{mxid}</span>' if mxid else ""
    profile = f'<div class="mx_DisambiguatedProfile">{name}</div>' if who else ""
    picture = (
        f'<div class="mx_EventTile_avatar"><span class="mx_BaseAvatar" title="{avatar}">A</span></div>'
        if avatar
        else ""
    )
    return (
        f'<div class="mx_Export_EventWrapper" id="{key}"><li class="mx_EventTile" data-event-id="{key}">{profile}{picture}'
        f'<div class="mx_EventTile_line"><a href="https://matrix.to/#/{ROOM}/{key}"><span class="mx_MessageTimestamp">{clock}'
        f"</span></a>{content}</div></li></div>"
    )


def heading(day: str) -> str:
    return (
        f'<li><div class="mx_TimelineSeparator" role="separator"><div class="mx_DateSeparator_dateContent">'
        f'<h2 class="mx_DateSeparator_dateHeading">{day}</h2></div></div></li>'
    )


def said(html: str) -> str:
    return f'<div class="mx_MTextBody mx_EventTile_content"><div class="mx_EventTile_body">{html}</div></div>'


ANSWER = '<blockquote class="mx_ReplyChain">To <a class="mx_reply_anchor" href="#$2" data-scroll-to="$2">this</a></blockquote>'
HEAD = (
    '<!DOCTYPE html><html><head><meta charset="UTF-8"/></head><body><main class="mx_RoomView">'
    '<div class="mx_LegacyRoomHeader_nametext" title="Garden">Garden</div><div class="mx_LegacyRoomHeader_topic"> Plans </div>'
    '<ol class="mx_RoomView_MessageList">'
)
ONE = (
    HEAD
    + heading("Thu, Jan 2, 2020")
    + tile("$1", "10:00", '<div class="mx_TextualEvent">Ann joined the room</div>')
    + tile(
        "$2",
        "10:01",
        said('see <strong>this</strong> <div class="mx_EventTile_edited"><span>(edited)</span></div>'),
        "Ann",
        ANN,
    )
    + tile(
        "$3",
        "10:02",
        '<span class="mx_MImageBody"><a href="images/cat-1.png"><img src="images/cat-1.png" alt="cat.png"/></a></span>',
    )
    + heading("Fri, Jan 3, 2020")
    + tile("$4", "09:00", ANSWER + said("an answer"), "Bob", mxid=BOB)
    + tile("$5", "09:01", '<span class="mx_RedactedBody" title="x">Message deleted</span>')
    + tile(
        "$6",
        "09:02",
        '<div class="mx_MEmoteBody">* <span>Bob</span> <span class="mx_EventTile_body">waves</span></div>',
    )
    + "</ol></main></body></html>"
)
TWO = (
    HEAD
    + heading("Sat, Jan 4, 2020")
    + tile("$7", "08:00", ANSWER + said("on the next page"), "Ann", ANN)
    + "</ol></html>"
)


@pytest.mark.parametrize("how", PACKINGS)
def test_pages_of_a_room_in_any_packing(tmp_path: Path, how: str) -> None:
    path = pack(
        tmp_path,
        {"messages.html": ONE, "messages2.html": TWO, "images/cat-1.png": "cat", "css/style.css": ""},
        how,
    )
    with open_export(path) as (_, importer):
        assert importer.NAME == "element"
    found = records(element, path)
    assert only(found, Channel) == [Channel(ROOM, "Garden", topic="Plans")]
    assert set(only(found, Author)) == {Author(ANN, "Ann"), Author(BOB, "Bob")}
    joined, edited, picture, answer, gone, emote, later = messages(found)
    assert (joined.notice, joined.body, joined.time_ms) == ("join", "Ann joined the room", DAY + 10 * HOUR)
    assert (edited.id, edited.author, edited.body) == ("$2", ANN, "see **this**")
    assert edited.edited_ms == edited.time_ms == DAY + 10 * HOUR + MINUTE
    assert (picture.author, picture.attachments) == (ANN, (Attachment("cat.png", "images/cat-1.png"),))
    assert (answer.author, answer.body, answer.reply_to, answer.time_ms) == (
        BOB,
        "an answer",
        "$2",
        DAY + 33 * HOUR,
    )
    assert (gone.deleted, gone.body, gone.author) == (True, "", BOB)
    assert (emote.action, emote.body) == (True, "waves")
    assert (later.author, later.reply_to, later.time_ms) == (ANN, "$2", DAY + 56 * HOUR)


def test_the_zone_of_a_page_may_be_said(tmp_path: Path) -> None:
    path = pack(tmp_path, {"messages.html": ONE})
    first = messages(records(element, path, Options(timezone="Europe/Berlin")))[0]
    assert first.time_ms == DAY + 9 * HOUR


def test_an_event_without_a_time_is_reported_and_passed_over(tmp_path: Path) -> None:
    found = records(element, pack(tmp_path, {"messages.html": ONE.replace("10:01", "soon")}))
    assert only(found, Skipped) == [Skipped("messages.html", "event 2", "no time")]
    assert len(messages(found)) == 5


TEXT = """Fri, Apr 16, 2021, 17:20:00 - Ann joined the room
Fri, Apr 16, 2021, 17:20:05 - Ann: Hello: world
second line

third
Fri, Apr 16, 2021, 17:21:00 - @bob:example.com: <Ann "Hello: world"> an answer
Fri, Apr 16, 2021, 17:22:00 - Ann: cat.png (File Attached)
Fri, Apr 16, 2021, 17:22:30 - Ann: dog.png (Media omitted)
Fri, Apr 16, 2021, 17:23:00 - Ann: Message deleted
Fri, Apr 16, 2021, 17:24:00 - * Ann waves
Fri, Apr 16, 2021, 17:25:00 - Ann changed the topic to "New: one".
"""


def test_a_room_as_plain_text(tmp_path: Path) -> None:
    path = pack(tmp_path, {"matrix - Garden - Chat Export - 2022-11-17T16-58-32.517Z.txt": TEXT}, "file")
    assert certainty(element, path) == 3
    found = records(element, path)
    assert only(found, Channel) == [Channel("Garden", "Garden")]
    joined, hello, answer, cat, dog, gone, waves, topic = messages(found)
    assert (joined.notice, joined.time_ms) == ("join", 1618593600000)
    assert (hello.author, hello.body) == ("Ann", "Hello: world\nsecond line\n\nthird")
    assert (answer.author, answer.body) == ("@bob:example.com", "an answer")
    assert [file.name for file in (*cat.attachments, *dog.attachments)] == ["cat.png", "dog.png"]
    assert (gone.deleted, waves.action, waves.body) == (True, True, "Ann waves")
    assert (topic.notice, topic.body) == ("topic", 'Ann changed the topic to "New: one".')
    assert len({message.id for message in messages(found)}) == 8


@pytest.mark.parametrize(
    "beginning",
    ["Fri, Apr 16, 2021, 17:20:00", "Fri, Apr 16, 2021, 5:20:00 PM", "Fri, 16 Apr 2021, 17:20:00",
     "Fri, Apr 16, 2021, 5:20:00\u202fPM"],
)  # fmt: skip
def test_beginnings_of_a_line(tmp_path: Path, beginning: str) -> None:
    path = pack(tmp_path, {"export.txt": f"{beginning} - Ann: hi\n"}, "file")
    assert certainty(element, path) == 2
    (message,) = messages(records(element, path))
    assert (message.author, message.body, message.time_ms) == ("Ann", "hi", 1618593600000)


test_any_page_gives_records_or_a_format_error = fuzz(element, ONE.encode(), "messages.html", 30)
test_any_text_gives_records_or_a_format_error = fuzz(element, TEXT.encode(), "export.txt", 30)


def test_the_first_day_of_unix_time_is_a_day(tmp_path: Path) -> None:
    page = HEAD + heading("Thu, Jan 1, 1970") + tile("$1", "00:00", said("hi"), "Ann", ANN) + "</ol></html>"
    assert [m.time_ms for m in messages(records(element, pack(tmp_path, {"messages.html": page})))] == [0]
