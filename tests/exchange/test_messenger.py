"""Facebook Messenger and Instagram JSON: both forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quire.errors import FormatError
from quire.exchange import messenger
from quire.exchange.model import NOBODY, Attachment, Author, Channel, Options, Reaction, Skipped
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

T = 1_600_000_000_000


def broken(text: str) -> str:
    """As Facebook writes it: each byte of the UTF-8 a character."""
    return text.encode().decode("latin-1")


def said(at: int, **more: Any) -> dict[str, Any]:
    return {"sender_name": broken("Zoë"), "timestamp_ms": T + at, **more}


def part(*items: Any, title: str = "Zoë and Bob") -> dict[str, Any]:
    return {
        "participants": [{"name": broken("Zoë")}, {"name": "Bob"}, {"name": "Cat"}], "messages": list(items),
        "title": broken(title), "is_still_participant": True, "thread_path": "inbox/zoeandbob_abc123", "magic_words": [],
    }  # fmt: skip


FILES = {
    "messages/inbox/zoeandbob_abc123/message_1.json": part(
        said(9, content=broken("grüße 👍"), reactions=[
            {"reaction": broken("❤"), "actor": "Bob"}, {"reaction": broken("❤"), "actor": broken("Zoë")},
        ]),
        said(8, content="see", share={"link": "https://example.org/x", "share_text": "a page"}),
        said(7, photos=[{"uri": "messages/inbox/zoeandbob_abc123/photos/1_n.jpg", "creation_timestamp": 1}]),
        said(6, content=broken("Zoë unsent a message"), is_unsent=True),
        said(5, content=broken("Zoë named the group Reise."), type="Generic"),
    ),
    "messages/inbox/zoeandbob_abc123/message_2.json": part(
        said(4, content="Bob added Cat to the group.", type="Subscribe", users=[{"name": "Cat"}]),
        said(3, sticker={"uri": "messages/stickers_used/5.png"}),
        said(2, videos=[{"uri": "x/v.mp4?dl=1"}], files=[{"uri": "x/d.pdf"}], gifs=[{"uri": "x/g.gif"}]),
        {"sender_name": "Bob", "timestamp": 1_600_000_000, "content": "an old one, in seconds"},
        {"sender_name": "Bob", "content": "no time"}, "no message", None, {"timestamp_ms": T, "content": "no sender"},
    ),
    "messages/autofill_information.json": {"autofill_information_v2": {}},
}  # fmt: skip


@pytest.mark.parametrize("how", PACKINGS)
@pytest.mark.parametrize("top", ["", "facebook-zoe/your_activity_across_facebook/"])
def test_the_older_form(tmp_path: Path, top: str, how: str) -> None:
    path = pack(tmp_path, {top + name: content for name, content in FILES.items()}, how)
    assert certainty(messenger, path) == 3
    found = records(messenger, path)
    assert {m.channel for m in messages(found)} == {"zoeandbob_abc123"}
    assert only(found, Channel)[-1] == Channel("zoeandbob_abc123", "Zoë and Bob", kind="group")
    text, shared, photo, gone, named, added, sticker, several, old, nobody = messages(found)
    assert (text.author, text.body, text.time_ms) == ("Zoë", "grüße 👍", T + 9)
    assert text.reactions == (Reaction("❤", ("Bob", "Zoë")),)
    assert shared.body == "see\na page\nhttps://example.org/x"
    assert photo.attachments == (
        Attachment("1_n.jpg", "messages/inbox/zoeandbob_abc123/photos/1_n.jpg", "image"),
    )
    assert (gone.deleted, gone.body) == (True, "")
    assert (named.notice, added.notice, sticker.attachments[0].name) == ("name", "join", "5.png")
    assert [a.name for a in several.attachments] == ["v.mp4", "d.pdf", "g.gif"]
    assert (old.time_ms, nobody.author) == (T, NOBODY)
    assert [(s.position, s.reason) for s in only(found, Skipped)] == [  # type: ignore[attr-defined]
        ("item 5", "no time"), ("item 6", "this is no message"), ("item 7", "this is no message"),
    ]  # fmt: skip
    assert Author("Zoë", "Zoë") in found


@pytest.mark.parametrize("how", PACKINGS)
def test_the_newer_form(tmp_path: Path, how: str) -> None:
    chat = {
        "participants": ["Zoë", "Bob"], "threadName": "Zoë_12",
        "messages": [
            {"isUnsent": False, "media": [], "reactions": [{"actor": "Bob", "reaction": "😂"}], "senderName": "Zoë",
             "text": "Ã¼ stays", "timestamp": T, "type": "text"},
            {"isUnsent": False, "media": [{"uri": "./media/a.jpeg"}], "reactions": [], "senderName": "Bob", "text": "",
             "timestamp": T + 1},
            {"isUnsent": True, "media": [], "reactions": [], "senderName": "Bob", "text": "", "timestamp": T + 2,
             "type": "placeholder"},
        ],
    }  # fmt: skip
    path = pack(tmp_path, {"x/Zoë_12.json": chat, "x/media/a.jpeg": b"x"}, how)
    assert certainty(messenger, path) == 3
    found = records(messenger, path)
    first, photo, gone = messages(found)
    assert (first.channel, first.author, first.body) == ("Zoë_12", "Zoë", "Ã¼ stays")
    assert first.reactions == (Reaction("😂", ("Bob",)),)
    assert (photo.attachments, gone.deleted) == ((Attachment("a.jpeg", "./media/a.jpeg"),), True)
    assert only(found, Channel)[-1] == Channel("Zoë_12", "Zoë", kind="direct")


def test_text_is_mended_only_where_it_is_broken() -> None:
    assert messenger.mended(broken("Привет — ü 👍")) == "Привет — ü 👍"
    for sound in ("plain", "ü", "Привет", "50 £", "naïve", "日本"):
        assert messenger.mended(sound) == sound


def test_overlapping_downloads_give_one_name_to_one_message(tmp_path: Path) -> None:
    items = [said(n // 2, content="ok") for n in range(60, 0, -1)]
    name = "inbox/a_b/message_1.json"
    one = messages(records(messenger, pack(tmp_path, {name: part(*items[:40])}, name="a")))
    two = messages(records(messenger, pack(tmp_path, {name: part(*items[20:])}, name="b")))
    assert len({m.id for m in one}) == 40
    assert len({m.id for m in one} & {m.id for m in two}) >= 19


def test_a_truncated_file_keeps_what_came_before(tmp_path: Path) -> None:
    whole = json.dumps(part(*(said(n, content=str(n)) for n in range(50))))
    found = records(
        messenger, pack(tmp_path, {"message_1.json": whole[: len(whole) // 2]}, "file"), Options(channel="Us")
    )
    assert 20 <= len(messages(found)) <= 26
    assert len(only(found, Skipped)) == 1
    assert only(found, Channel)[0].name == "Us"  # type: ignore[attr-defined]


def test_other_json_is_not_messenger(tmp_path: Path) -> None:
    path = pack(
        tmp_path, {"result.json": {"name": "x", "messages": [{"id": 1, "text": "y", "date": "2020"}]}}
    )
    assert certainty(messenger, path) == 0
    with pytest.raises(FormatError):
        records(messenger, path)


def test_the_sample() -> None:
    path = corpus("small-samples/chat-analytics/messenger/2A_7M.json")
    assert "chat-analytics/messenger/2A_7M.json" not in expected("small-samples"), (
        "counted by its name: 2 people, 7 messages"
    )
    assert certainty(messenger, path) == 3
    found = tally(records(messenger, path), messenger.NOTICES_ARE_MESSAGES)
    assert (found["messages"], found["authors"], found["attachments"], found["skipped"]) == (7, 2, 4, 0)


test_spoiled_parts = fuzz(
    messenger,
    json.dumps(FILES["messages/inbox/zoeandbob_abc123/message_2.json"]).encode(),
    "message_1.json",
    200,
)


def test_the_title_behind_the_messages_names_the_channel_before_them(tmp_path: Path) -> None:
    """Also in downloads of 2017, whose files have no number and whose times are in seconds."""
    first = {"sender_name": "Ann", "timestamp": 1500000000, "content": "hi"}
    for name in ("message.json", "message_1.json"):
        document = {"participants": [{"name": "Ann"}], "messages": [first], "title": "Hill walkers"}
        found = records(messenger, pack(tmp_path, {f"inbox/hill_1/{name}": document}, name=name))
        (channel,) = only(found, Channel)
        assert (channel.key, channel.name) == ("hill_1", "Hill walkers")  # type: ignore[attr-defined]
        assert messages(found)[0].time_ms == 1_500_000_000_000


@pytest.mark.parametrize(
    ("text", "notice"),
    [("Reacted 😂 to your message ", "other"), ("Ana set the emoji to 👍.", "other"),
     ("Ana set her own nickname to An.", "other"),
     ("You set the nickname for Bob to B.", "other"), ("Ana changed the theme to Love.", "other"),
     ("Ana pinned a message.", "other"),
     ("Ana created a poll: Where?", "other"), ("Ana missed your video call.", "other"), ("Ana named the group Trip.", "name"),
     ("Ana set the table", ""), ("set the emoji to 👍.", ""), ("Bob pinned a message.", ""), ("Ana created a mess", "")],
)  # fmt: skip
def test_what_the_service_says_that_somebody_did_is_a_notice(tmp_path: Path, text: str, notice: str) -> None:
    mojibake = text.encode().decode("latin-1")
    one = {"sender_name": "Ana", "timestamp_ms": 1_600_000_000_000, "content": mojibake}
    chat = {"participants": [{"name": "Ana"}, {"name": "Bob"}], "messages": [one], "title": "Bob"}
    (message,) = messages(records(messenger, pack(tmp_path, {"inbox/bob_1/message_1.json": chat})))
    assert (message.body, message.notice) == (text, notice)


def test_one_part_alone_is_the_conversation_of_its_folder(tmp_path: Path) -> None:
    one = {"sender_name": "Ana", "timestamp_ms": 1_600_000_000_000, "content": "hi"}
    chat = {"participants": [{"name": "Ana"}], "messages": [one], "title": "Bob"}
    folder = pack(tmp_path, {"bob_1/message_1.json": chat})
    whole = messages(records(messenger, folder))
    assert messages(records(messenger, folder / "bob_1" / "message_1.json")) == whole
    assert whole[0].channel == "bob_1"
