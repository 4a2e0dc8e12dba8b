"""Telegram Desktop's JSON: one chat or an account, texts of parts, services, topics, old versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import telegram_json as importer
from quire.exchange.model import (
    Attachment,
    Author,
    Channel,
    Message,
    NotCarried,
    Options,
    PinEvent,
    Reaction,
    Skipped,
)
from quire.exchange.text import iso_ms
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.mutating import VALUES
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records, survives


def message(number: int, text: Any = "text", **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "message",
        "date": "2020-09-13T14:26:40",
        "date_unixtime": str(1_600_000_000 + number),
        "from": "Ann",
        "from_id": "user1",
        "text": text,
        "text_entities": [{"type": "plain", "text": text}] if isinstance(text, str) else text,
        **more,
    }


def service(number: int, action: str, **more: Any) -> dict[str, Any]:
    facts = {"type": "service", "actor": "Ann", "actor_id": "user1", "action": action, "text": ""}
    return {"id": number, "date_unixtime": str(1_600_000_000 + number), **facts, **more}


def chat(
    *items: Any, name: str | None = "Friends", kind: str = "private_supergroup", number: Any = 7
) -> dict[str, Any]:
    return {"name": name, "type": kind, "id": number, "messages": list(items)}


def one(tmp_path: Path, item: dict[str, Any]) -> Message:
    (found,) = messages(records(importer, pack(tmp_path, {"result.json": chat(item)})))
    return found


@pytest.mark.parametrize("how", PACKINGS)
def test_one_chat_in_any_packing(tmp_path: Path, how: str) -> None:
    files = {
        "ChatExport/result.json": chat(message(1), message(2, **{"from": "Bob", "from_id": "user2"})),
        "ChatExport/photos/x.jpg": b"\xff\xd8",
        "ChatExport/files/package.json": {"name": "x", "type": "module", "messages": []},
    }
    path = pack(tmp_path, files, how)
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert only(found, Channel) == [Channel("7", "Friends", kind="private")]
    assert only(found, Author) == [Author("user1", "Ann"), Author("user2", "Bob")]
    assert [(m.id, m.time_ms, m.author) for m in messages(found)] == [
        ("1", 1_600_000_001_000, "user1"),
        ("2", 1_600_000_002_000, "user2"),
    ]
    assert not only(found, Skipped)


def test_an_account_with_many_chats(tmp_path: Path) -> None:
    account = {
        "about": "Here is the data you requested. Remember: Telegram is ad free.",
        "personal_information": {"user_id": 1},
        "contacts": {"about": "x", "list": [{"user_id": 2, "messages": []}]},
        "chats": {"about": "x", "list": [
            chat(message(1), kind="personal_chat", number=2, name=None),
            chat(message(1), kind="saved_messages", number=3, name=None) | {"unknown": {"deep": [1]}},
            chat(message(1, **{"from": "Helper", "from_id": "user4"}), kind="bot_chat", number=4, name="Helper"),
        ]},
        "left_chats": {"list": [chat(message(1), kind="public_channel", number=5, name="News")]},
    }  # fmt: skip
    path = pack(tmp_path, {"result.json": account}, "file")
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert only(found, Channel) == [
        Channel("2", "Deleted Account", kind="direct"),
        Channel("3", "Saved Messages", kind="direct"),
        Channel("4", "Helper", kind="direct"),
        Channel("5", "News", kind="channel"),
    ]
    assert len(messages(found)) == 4
    assert Author("user4", "Helper", bot=True) in found


def test_texts_of_parts_become_markdown(tmp_path: Path) -> None:
    parts = [
        "see ", {"type": "bold", "text": "a\nb"}, " ", {"type": "italic", "text": "i "},
        {"type": "strikethrough", "text": "s"}, {"type": "spoiler", "text": "end"}, " ",
        {"type": "code", "text": "c`d"}, {"type": "pre", "text": "x = 1", "language": "py"}, "\nafter ",
        {"type": "text_link", "text": "here", "href": "https://a.example/"}, " ",
        {"type": "link", "text": "https://b.example"}, " ",
        {"type": "mention_name", "text": "Bob", "user_id": 2}, {"type": "blockquote", "text": "old\nwords"},
        {"type": "custom_emoji", "text": "🎉", "document_id": "x"}, {"type": "underline", "text": "u"}, 7, None, {},
    ]  # fmt: skip
    found = one(tmp_path, message(1, parts))
    assert found.body == (
        "see **a**\n**b** *i* ~~s~~||end|| `` c`d ``\n```py\nx = 1\n```\nafter [here](https://a.example/) "
        "https://b.example Bob\n> old\n> words\n🎉u"
    )
    assert found.mentions == ("user2",)


def test_all_a_message_can_carry(tmp_path: Path) -> None:
    item = message(
        9, "caption", reply_to_message_id=3, edited="2020-09-13T16:26:40", edited_unixtime="1600000500",
        photo="photos/p@1.jpg", photo_file_size=10, file="files/f.pdf", file_name="f.pdf", file_size=20,
        mime_type="application/pdf",
        reactions=[
            {"type": "emoji", "count": 3, "emoji": "👍", "recent": [{"from": "Bob", "from_id": "user2", "date": "x"}]},
            {"type": "custom_emoji", "count": 2, "document_id": "stickers/party.webp"},
            {"type": "custom_emoji", "count": 1, "document_id": "(File not included.)"},
            {"type": "paid", "count": 5}, {"emoji": "👍", "count": "many"}, 3,
        ],
    )  # fmt: skip
    path = pack(tmp_path, {"result.json": chat(message(3), item)})
    found = records(importer, path)
    full = messages(found)[1]
    assert (full.reply_to, full.thread, full.edited_ms) == ("3", "", 1_600_000_500_000)
    assert full.attachments == (
        Attachment("p@1.jpg", "photos/p@1.jpg", size_bytes=10),
        Attachment("f.pdf", "files/f.pdf", media_type="application/pdf", size_bytes=20),
    )
    assert full.reactions == (
        Reaction("👍", ("user2",), 2),
        Reaction(":party:", unknown=2),
        Reaction(":custom_emoji:", unknown=1),
        Reaction("⭐", unknown=5),
    )
    assert Author("user2", "Bob") in found


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ({"forwarded_from": "Bob", "text": "one\ntwo"}, "Forwarded from Bob:\n> one\n> two"),
        ({"forwarded_from": None, "text": ""}, "Forwarded:"),
        ({"media_type": "sticker", "sticker_emoji": "😀", "file": "stickers/s.webp", "text": ""}, "😀"),
        ({"location_information": {"latitude": 1.5, "longitude": 2}, "text": ""}, "Location: 1.5, 2"),
        (
            {"contact_information": {"first_name": "B", "last_name": "", "phone_number": "1"}, "text": ""},
            "Contact: B 1",
        ),
        (
            {"poll": {"question": "Q?", "answers": [{"text": "A", "voters": 2}, 3]}, "text": ""},
            "Poll: Q?\n- A (2)",
        ),
        ({"game_title": "Chess", "text": ""}, "Game: Chess"),
    ],
)
def test_what_is_no_text_is_put_in_words(tmp_path: Path, more: dict[str, Any], body: str) -> None:
    item = message(1) | {"text_entities": []} | more
    assert one(tmp_path, item).body == body


@pytest.mark.parametrize(
    ("item", "notice", "body"),
    [
        (
            service(1, "create_group", title="T", members=["Bob", None]),
            "other",
            "Ann created the group “T” Bob, someone",
        ),
        (service(1, "edit_group_title", title="T"), "name", "Ann changed the name to “T”"),
        (service(1, "invite_members", members=["Bob"]), "join", "Ann added Bob"),
        (service(1, "remove_members", members=["Ann"]), "leave", "Ann left"),
        (service(1, "join_group_by_link", inviter="Group"), "join", "Ann joined by a link"),
        (service(1, "phone_call", duration_seconds=56), "other", "Ann phone call (56 s)"),
        (service(1, "some_new_thing"), "other", "Ann some new thing"),
        (service(1, "", information_text="x"), "other", "Ann x"),
    ],
)
def test_services_are_notices_in_words(tmp_path: Path, item: dict[str, Any], notice: str, body: str) -> None:
    found = one(tmp_path, item)
    assert (found.notice, found.body) == (notice, body)


def test_a_pin_is_a_notice_and_an_event(tmp_path: Path) -> None:
    path = pack(tmp_path, {"result.json": chat(message(3), service(9, "pin_message", message_id=3))})
    found = records(importer, path)
    assert messages(found)[1].notice == "pin"
    assert only(found, PinEvent) == [PinEvent("7", "3", 1_600_000_009_000, "user1")]


def test_topics_are_threads(tmp_path: Path) -> None:
    items = [
        message(1), service(2, "topic_created", title="Plans"), message(3, reply_to_message_id=2),
        message(4, reply_to_message_id=3), message(5, reply_to_message_id=1), message(6, reply_to_message_id=4),
        service(7, "topic_created"), message(8, reply_to_message_id=7),
        message(9, reply_to_message_id=3, reply_to_peer_id="channel9"),
    ]  # fmt: skip
    found = messages(records(importer, pack(tmp_path, {"result.json": chat(*items)})))
    assert {m.id: (m.title, m.thread, m.reply_to) for m in found} == {
        "1": ("", "", ""), "2": ("Plans", "", ""), "3": ("", "2", ""), "4": ("", "2", "3"), "5": ("", "", "1"),
        "6": ("", "2", "4"), "7": ("Topic", "", ""), "8": ("", "7", ""), "9": ("", "", ""),
    }  # fmt: skip
    assert found[2].thread_time_ms == 1_600_000_002_000


def test_old_exports(tmp_path: Path) -> None:
    old = {"id": 1, "type": "message", "date": "2019-07-05T16:55:32", "edited": "1970-01-01T01:00:00", "from": "Ann",
           "from_id": 4294967299, "file": "(File not included. Change data exporting settings to download.)",
           "media_type": "voice_message", "text": "x"}  # fmt: skip
    path = pack(tmp_path, {"result.json": chat(old, {**old, "id": 2, "from": None, "from_id": 12})})
    first, second = messages(records(importer, path, Options(timezone="Europe/Berlin")))
    assert first.time_ms == iso_ms("2019-07-05T14:55:32Z")
    assert (first.edited_ms, first.author, second.author) == (None, "chat3", "user12")
    assert first.attachments == (Attachment("voice message"),)
    assert Author("user12", "Deleted Account") in records(importer, path)


def test_broken_records_and_files_do_not_stop_the_rest(tmp_path: Path) -> None:
    bad: list[Any] = [
        None,
        1,
        [],
        {},
        message(2) | {"id": "2"},
        {"id": 3, "date": "never"},
        {"id": True, "date": "x"},
    ]
    odd = {"id": 4, "date_unixtime": 1_600_000_004, "type": [], "from": 5, "from_id": {}, "text": {"a": 1},
           "reactions": {"x": 1}, "photo": 3, "poll": 7, "members": 1, "action": None, "text_entities": 5,
           "reply_to_message_id": "x", "forwarded_from": [], "edited": 1e999}  # fmt: skip
    cut = json.dumps(chat(message(8), message(9)))[:-30]
    files = {
        "a.json": chat(*bad, {"id": 5, "type": "unsupported"}, odd),
        "b.json": cut,
        "c.json": '{"name": "x", "type": "personal_chat", "id": 1, "messages": 5}',
    }
    found = records(importer, pack(tmp_path, files))
    assert [m.id for m in messages(found)] == ["4", "8"]
    assert [s.position for s in found if isinstance(s, Skipped)] == [
        *(f"Friends, item {n}" for n in range(1, 8)), "Friends, item 2", "x, item 1"
    ]  # fmt: skip
    assert NotCarried("messages of kinds that Telegram did not export", 1) in found


def test_foreign_files_are_not_recognised(tmp_path: Path) -> None:
    path = pack(
        tmp_path,
        {"a.json": {"messages": [], "type": "personal"}, "b.txt": '"type": "personal_chat" "messages"'},
    )
    assert certainty(importer, path) == 0
    with pytest.raises(FormatError):
        records(importer, path)


INNER = st.sampled_from(
    ["type", "text", "emoji", "count", "recent", "from_id", "question", "answers", "user_id"]
)
DEEP = st.lists(st.dictionaries(INNER, VALUES, max_size=4), max_size=2) | st.dictionaries(
    INNER, VALUES, max_size=4
)
FIELDS = st.sampled_from([
    *message(1), "action", "reactions", "reply_to_message_id", "poll", "location_information", "photo", "edited",
    "members", "forwarded_from", "message_id", "title", "duration",
])  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.dictionaries(FIELDS, VALUES | DEEP | st.sampled_from(["service", "topic_created"])), max_size=3
    ),
    st.dictionaries(st.sampled_from(["name", "type", "id", "messages", "chats"]), VALUES | DEEP, max_size=2),
    st.integers(0, 300),
    st.binary(max_size=4),
)
def test_any_content_gives_records_or_a_format_error(
    tmp_path: Path, items: list[dict[str, Any]], outer: dict[str, Any], at: int, junk: bytes
) -> None:
    whole = chat(message(1), *({**message(n), **item} for n, item in enumerate(items, 2)))
    data = json.dumps(whole).encode()
    survives(importer, pack(tmp_path, {"result.json": data}))
    survives(importer, pack(tmp_path, {"result.json": {**whole, **outer}}))
    survives(importer, pack(tmp_path, {"result.json": data[:at] + junk + data[at + 1 :]}))


def test_the_real_sample() -> None:
    name = "chat-analytics/telegram/DM_2A_7M.json"
    found = tally(records(importer, corpus(f"small-samples/{name}")), importer.NOTICES_ARE_MESSAGES)
    counts = expected("small-samples")[name]
    for what in counts:
        assert found[what] == counts[what], what
