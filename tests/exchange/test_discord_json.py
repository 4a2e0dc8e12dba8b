"""DiscordChatExporter JSON: every feature, every version's quirks, threads joined to their channels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import discord_json as importer
from quire.exchange.model import Attachment, Author, Channel, Message, NotCarried, Reaction, Skipped, Warn
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.mutating import VALUES
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records, survives

ANN = {
    "id": "900000000000000001",
    "name": "ann",
    "discriminator": "0000",
    "nickname": "Ann Example",
    "isBot": False,
}
BOT = {"id": "900000000000000002", "name": "helper", "isBot": True}


def snowflake(second: int) -> str:
    return str((1_600_000_000_000 + second * 1000 - importer.EPOCH_MS) << 22)


def message(second: int, content: str = "text", **more: Any) -> dict[str, Any]:
    return {
        "id": snowflake(second),
        "type": "Default",
        "timestamp": f"2020-09-13T14:{26 + (40 + second) // 60:02}:{(40 + second) % 60:02}.5+02:00",
        "timestampEdited": None,
        "isPinned": False,
        "content": content,
        "author": ANN,
        "attachments": [],
        "embeds": [],
        "reactions": [],
        "mentions": [],
        **more,
    }


GENERAL = {
    "id": "100", "type": "GuildTextChat", "categoryId": "50", "category": "Talk", "name": "general",
    "topic": "all things",
}  # fmt: skip


def export(*items: Any, channel: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "guild": {"id": "5", "name": "Guild", "iconUrl": "x"},
        "channel": {**GENERAL, **(channel or {})},
        "dateRange": {"after": None, "before": None},
        "messages": list(items),
        "messageCount": len(items),
        **more,
    }  # fmt: skip


def one(tmp_path: Path, **more: Any) -> Message:
    content = more.pop("content", "text")
    (found,) = messages(records(importer, pack(tmp_path, {"c.json": export(message(1, content, **more))})))
    return found


@pytest.mark.parametrize("how", PACKINGS)
def test_channels_in_any_packing(tmp_path: Path, how: str) -> None:
    other = export(message(4), channel={"id": "101", "name": "other"})
    files = {
        "out/Guild - Talk - general [100].json": export(message(1), message(2, author=BOT)),
        "out/Guild - Talk - general [100] [part 2].json": export(message(3)),
        "out/Guild - Talk - other [101].json": "\ufeff" + json.dumps(other),
        "out/Guild - Talk - general [100].json_Files/config.json": export(message(99)),
        "out/package.json": {"name": "unrelated"},
        "out/.DS_Store": b"\0\1",
    }  # fmt: skip
    path = pack(tmp_path, files, how)
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert sorted((m.channel, m.time_ms - 1_600_000_000_000) for m in messages(found)) == [
        ("100", 1500), ("100", 2500), ("100", 3500), ("101", 4500)
    ]  # fmt: skip
    assert only(found, Channel) == [
        Channel("100", "general", topic="all things"),
        Channel("101", "other", topic="all things"),
    ]
    assert {(a.key, a.name, a.bot) for a in found if isinstance(a, Author)} == {
        (ANN["id"], "Ann Example", False),
        (BOT["id"], "helper", True),
    }
    assert not only(found, Skipped)
    assert not only(found, Warn)


def test_all_a_message_can_carry(tmp_path: Path) -> None:
    found = one(
        tmp_path,
        content="hi <@!900000000000000002> <:party:900000000000000009> **b**",
        timestampEdited="2020-09-13T12:30:00+00:00",
        isPinned=True,
        mentions=[BOT],
        attachments=[
            {"id": "1", "url": "https://cdn.example/a/x.png?ex=1", "fileName": "x.png", "fileSizeBytes": 12},
            {"id": "2", "url": "c.json_Files\\y-AB.png", "fileSizeBytes": "big"},
        ],
        reactions=[
            {"emoji": {"id": None, "name": "❤"}, "count": 3},
            {"emoji": {"id": "", "name": "👍"}, "count": 2, "users": [BOT, ANN]},
            {"emoji": {"id": "77", "name": "party"}, "count": 3, "users": [BOT]},
            {"emoji": {"id": "77", "name": ""}, "count": 3},
        ],
    )
    assert found.body == "hi @helper :party: **b**"
    assert found.edited_ms == 1_600_000_200_000
    assert found.pinned
    assert found.mentions == (BOT["id"],)
    assert found.attachments == (
        Attachment("x.png", "https://cdn.example/a/x.png?ex=1", size_bytes=12),
        Attachment("y-AB.png", "c.json_Files/y-AB.png"),
    )
    assert found.reactions == (
        Reaction("❤", unknown=3),
        Reaction("👍", (BOT["id"], ANN["id"])),  # type: ignore[arg-type]
        Reaction(":party:", (BOT["id"],), 2),  # type: ignore[arg-type]
    )


def test_replies_name_what_they_answer_and_forwards_do_not(tmp_path: Path) -> None:
    reference = {"messageId": snowflake(1), "channelId": "100", "guildId": "5"}
    items = [
        message(1),
        message(2, type="Reply", reference=reference),
        message(3, type="Reply", reference={**reference, "messageId": None}),
        message(4, type="Reply", reference={**reference, "channelId": "999"}),
        message(5, type="19", reference={"messageId": snowflake(5)}),
        message(6, "", reference={**reference, "channelId": "999"}, forwardedMessage={
            "content": "old\nwords", "timestamp": "x", "attachments": [{"fileName": "f", "url": "u"}]}),
    ]  # fmt: skip
    found = messages(records(importer, pack(tmp_path, {"c.json": export(*items)})))
    assert [m.reply_to for m in found] == ["", snowflake(1), "?", "", "", ""]
    assert found[1].reply_to_time_ms == 1_600_000_001_000
    assert found[5].body == "Forwarded:\n> old\n> words"
    assert len(found[5].attachments) == 1


@pytest.mark.parametrize(
    ("kind", "notice"),
    [("RecipientAdd", "join"), ("2", "leave"), ("Call", "other"), ("ChannelNameChange", "name"), ("6", "pin"),
     ("ChannelPinnedMessage", "pin"), ("GuildMemberJoin", "join"), ("ThreadCreated", "other"), ("8", "other"),
     ("46", "other"), ("Default", ""), ("20", ""), ("SomethingNew", ""), (None, "")],
)  # fmt: skip
def test_types_are_messages_or_notices(tmp_path: Path, kind: str | None, notice: str) -> None:
    assert one(tmp_path, type=kind).notice == notice


def test_stickers_and_embeds_stand_in_for_an_empty_body(tmp_path: Path) -> None:
    embed = {
        "title": "Build",
        "url": "https://ci.example/1",
        "description": "failed",
        "fields": [{"name": "on", "value": "x"}],
    }
    items = [
        message(1, "", stickers=[{"id": "1", "name": "Laugh"}]),
        message(2, "", embeds=[embed], author=BOT),
        message(3, "https://ci.example/1", embeds=[embed]),
    ]
    found = records(importer, pack(tmp_path, {"c.json": export(*items)}))
    assert [m.body for m in messages(found)] == [
        ":Laugh:", "[Build](https://ci.example/1)\nfailed\n**on**: x", "https://ci.example/1"
    ]  # fmt: skip
    assert only(found, NotCarried) == [NotCarried("stickers", 1), NotCarried("embeds", 2)]


THREAD = {
    "id": snowflake(1),
    "type": "GuildPublicThread",
    "categoryId": "100",
    "category": "general",
    "name": "Plans",
}


@pytest.mark.parametrize("how", PACKINGS)
def test_a_thread_hangs_on_the_message_it_was_started_from(tmp_path: Path, how: str) -> None:
    starter = message(20, "", type="21", reference={"messageId": snowflake(1), "channelId": "100"})
    reply = message(22, type="Reply", reference={"messageId": snowflake(21), "channelId": snowflake(1)})
    files = {
        "a thread.json": export(starter, message(21), reply, channel=THREAD),
        "b parent.json": export(message(1), message(2)),
    }
    found = records(importer, pack(tmp_path, files, how))
    assert {m.channel for m in messages(found)} == {"100"}
    assert [(m.id, m.title, m.thread) for m in messages(found)] == [
        (snowflake(1), "Plans", ""),
        (snowflake(2), "", ""),
        (snowflake(21), "", snowflake(1)),
        (snowflake(22), "", snowflake(1)),
    ]
    assert messages(found)[3].reply_to == snowflake(21)
    channels = [c for c in found if isinstance(c, Channel)]
    assert (channels[-1].name, channels[-1].topic) == ("general", "all things")


def test_a_thread_without_its_parent_begins_with_its_first_message(tmp_path: Path) -> None:
    post = {**THREAD, "id": snowflake(30), "name": "Question", "type": "PublicThread"}
    for number, first in enumerate(
        (message(30), message(31, "", type="21", reference={"messageId": snowflake(30)}))
    ):
        path = pack(tmp_path, {"t.json": export(first, message(40), channel=post)}, name=f"e{number}")
        root, reply = messages(records(importer, path))
        assert (root.title, root.thread, reply.thread) == ("Question", "", root.id)
        assert root.channel == "100"


def test_a_thread_in_parts_has_one_root(tmp_path: Path) -> None:
    files = {
        "t [1] [part 2].json": export(message(41), message(42), channel=THREAD),
        "t [1].json": export(message(30), message(31), channel=THREAD),
    }
    found = messages(records(importer, pack(tmp_path, files)))
    assert {m.id: (m.title, m.thread) for m in found} == {
        snowflake(30): ("Plans", ""),
        **{snowflake(n): ("", snowflake(30)) for n in (31, 41, 42)},
    }


def test_older_and_odd_layouts(tmp_path: Path) -> None:
    bare = {"guild": None, "channel": {"type": 1, "name": "ann"}, "messages": [message(1)]}
    found = records(importer, pack(tmp_path, {"Direct Messages - ann [123456789012345678].json": bare}))
    assert only(found, Channel) == [Channel("123456789012345678", "ann", kind="direct")]
    utf16 = json.dumps(export(message(1))).encode("utf-16")
    path = pack(tmp_path, {"c.json": utf16}, "file")
    assert certainty(importer, path) == 3
    assert len(messages(records(importer, path))) == 1


def test_broken_records_and_files_do_not_stop_the_rest(tmp_path: Path) -> None:
    bad: list[Any] = [None, 1, [], {}, {"id": "x", "timestamp": "never"}, {**message(1), "id": None}]
    odd = {
        "id": snowflake(7),
        "timestamp": "not a time",
        "author": [],
        "reactions": {},
        "mentions": 4,
        "embeds": "x",
        "attachments": [1, {"url": None}],
        "stickers": [None],
        "reference": 1,
        "type": [],
        "isPinned": "yes",
    }
    text = json.dumps(export(*bad, odd, message(8)), indent=2).replace('"id": "x"', '"id": x', 1)
    files = {
        "a.json": text,
        "b.json": json.dumps(export(message(9), message(10), channel={"id": "2"}))[:-200],
        "c.json": '{"guild": {}, "channel": {',
        "d.json": export(channel={"id": "3"}, messageCount=9),
        "e.json": {"guild": {}, "channel": {}, "dateRange": {}, "messages": {"x": 1}},
    }  # fmt: skip
    found = records(importer, pack(tmp_path, files))
    assert [m.id for m in messages(found)] == [snowflake(7), snowflake(8), snowflake(9)]
    assert messages(found)[0].time_ms == 1_600_000_007_000
    places = [(s.file, s.position) for s in found if isinstance(s, Skipped)]
    broken = [("a.json", f"item {n}") for n in range(1, 7)]
    assert places == [*broken, ("b.json", "item 2"), ("e.json", "item 1")]
    assert [w.text for w in found if isinstance(w, Warn)] == ["d.json says it has 9 messages and has 0"]


def test_foreign_files_are_not_recognised(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.json": {"messages": []}, "b.txt": '"guild" "channel" "messages"'})
    assert certainty(importer, path) == 0
    with pytest.raises(FormatError):
        records(importer, path)


INNER = st.sampled_from(
    ["id", "name", "emoji", "count", "users", "url", "fileName", "messageId", "fields", "content"]
)
DEEP = st.lists(st.dictionaries(INNER, VALUES, max_size=4), max_size=2) | st.dictionaries(
    INNER, VALUES, max_size=4
)

FIELDS = st.sampled_from([*message(1), "reference", "forwardedMessage", "stickers"])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.dictionaries(FIELDS, VALUES | DEEP), max_size=3),
    st.dictionaries(st.sampled_from([*export()]), VALUES | DEEP, max_size=2),
    st.integers(0, 400),
    st.binary(max_size=4),
)  # fmt: skip
def test_any_content_gives_records_or_a_format_error(
    tmp_path: Path, items: list[dict[str, Any]], outer: dict[str, Any], at: int, junk: bytes
) -> None:
    whole = export(message(1), *({**message(n), **item} for n, item in enumerate(items, 2)))
    data = json.dumps(whole).encode()
    survives(importer, pack(tmp_path, {"c.json": data}))
    survives(importer, pack(tmp_path, {"c.json": {**whole, **outer}}))
    survives(importer, pack(tmp_path, {"c.json": data[:at] + junk + data[at + 1 :]}))


def test_the_real_samples() -> None:
    name = "chat-analytics/discord/SV_5A_5M.json"
    found = tally(records(importer, corpus(f"small-samples/{name}")), importer.NOTICES_ARE_MESSAGES)
    counts = expected("small-samples")[name]
    # counts.json counts records: the file has one edited message twice, under one id.
    assert found["records"] == counts["messages"] == 5
    assert (found["messages"], found["duplicates"]) == (4, 1)
    assert found["edited"] == counts["edited"] - 1
    for what in ("notices", "replies", "reactions", "attachments", "authors"):
        assert found[what] == counts[what], what
    assert found["not_carried"] == {"stickers": 1}

    name = "discord-json-example-guild"
    (counts,) = (value for key, value in expected("small-samples").items() if key.startswith(name))
    found = tally(records(importer, corpus(f"small-samples/{name}")), importer.NOTICES_ARE_MESSAGES)
    for what in counts:
        assert found[what] == counts[what], what
    assert found["pinned"] == 1
