"""A later export of the same chats: what was there is known again, and what changed in between is found."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.store import importing_all
from quire.store.local import LocalStore
from tests.exchange.packing import pack

Files = dict[str, Any]
SNOWFLAKE = 900_000_000_000_000_000


def slack(new: bool) -> Files:
    rows: list[Files] = [
        {"type": "message", "user": "U1", "ts": "1600000000.000100", "text": "first"},
        {"type": "message", "user": "U2", "ts": "1600000001.000100", "text": "second"},
        {"type": "message", "user": "U1", "ts": "1600000002.000100", "text": "third"},
    ]
    if new:
        rows[0] |= {"text": "changed", "edited": {"user": "U1", "ts": "1600000100.000000"}}
        rows[1] |= {"reactions": [{"name": "+1", "users": ["U1"], "count": 1}]}
        rows[2] |= {"subtype": "tombstone", "text": "This message was deleted.", "user": "USLACKBOT"}
        rows.append({"type": "message", "user": "U2", "ts": "1600000003.000100", "text": "fourth"})
    return {"garden/2020-09-13.json": rows}


def discord(new: bool) -> Files:
    def message(number: int, text: str, **fields: Any) -> Files:
        return {"id": str(SNOWFLAKE + number), "type": "Default", "timestamp": f"2021-01-01T00:00:0{number}+00:00",
                "content": text, "author": {"id": "1", "name": "ana"}, **fields}  # fmt: skip

    rows = [message(0, "first"), message(1, "second"), message(2, "third")]
    if new:
        rows[0] |= {"content": "changed", "timestampEdited": "2021-01-02T00:00:00+00:00"}
        rows[1] |= {
            "reactions": [
                {"emoji": {"id": "", "name": "👍"}, "count": 1, "users": [{"id": "1", "name": "ana"}]}
            ]
        }
        rows.append(message(3, "fourth"))
    return {"g [2].json": {"guild": {"id": "9"}, "channel": {"id": "2", "name": "garden"}, "messages": rows}}


def telegram(new: bool) -> Files:
    def message(number: int, text: str, **fields: Any) -> Files:
        return {"id": number, "type": "message", "date": f"2020-01-01T00:00:0{number}",
                "date_unixtime": str(1577836800 + number), "from": "Ana", "from_id": "user1", "text": text, **fields}  # fmt: skip

    rows = [message(1, "first"), message(2, "second"), message(3, "third")]
    if new:
        rows[0] |= {"text": "changed", "edited_unixtime": "1577839999"}
        rows[1] |= {
            "reactions": [
                {"type": "emoji", "count": 1, "emoji": "👍", "recent": [{"from": "B", "from_id": "user2"}]}
            ]
        }
        rows.append(message(4, "fourth"))
    return {"result.json": {"name": "garden", "type": "private_group", "id": 5, "messages": rows}}


def zulip(new: bool) -> Files:
    def message(number: int, text: str, **fields: Any) -> Files:
        return {"id": number, "sender": 10, "recipient": 20, "subject": "soil", "content": text,
                "date_sent": 1600000000.5 + number, **fields}  # fmt: skip

    rows = [message(1, "first"), message(2, "second"), message(3, "third")]
    realm = {"zerver_realm": [{}], "zerver_userprofile": [{"id": 10, "full_name": "Ana"}],
             "zerver_stream": [{"id": 5, "name": "garden"}], "zerver_recipient": [{"id": 20, "type": 2, "type_id": 5}],
             "zerver_reaction": []}  # fmt: skip
    if new:
        history = json.dumps([{"user_id": 10, "timestamp": 1600001000, "prev_content": "first"}])
        rows[0] |= {"content": "changed", "edit_history": history, "last_edit_time": 1600001000.0}
        realm["zerver_reaction"] = [{"id": 1, "user_profile": 10, "message": 2, "emoji_name": "thumbs_up",
                                     "emoji_code": "1f44d", "reaction_type": "unicode_emoji"}]  # fmt: skip
        rows.append(message(4, "fourth"))
    return {"realm.json": realm, "messages-000001.json": {"zerver_message": rows}}


def zulip_archive(new: bool) -> Files:
    texts = ["changed", "second", "third", "fourth"] if new else ["first", "second", "third"]
    rows = [{"id": at, "content": f"<p>{text}</p>", "sender_full_name": "Ana", "timestamp": 1600000000 + at}
            for at, text in enumerate(texts, 1)]  # fmt: skip
    return {"stream_index.json": {"streams": {"garden": {"id": 1}}}, "1-garden/soil.json": rows}


def gitter(new: bool) -> Files:
    texts = ["changed", "second", "third", "fourth"] if new else ["first", "second", "third"]
    lines = [
        f"{'a' * 24}\tgarden/soil\t2015-01-01T00:00:0{at}.000Z\tu1\tana\tm{at}\t{text}"
        for at, text in enumerate(texts)
    ]
    return {"garden.tsv": "\n".join(reversed(lines))}


def matrix(new: bool) -> Files:
    def event(number: int, kind: str, content: Files) -> Files:
        return {"type": kind, "event_id": f"${number}", "sender": "@ana:x", "room_id": "!r:x",
                "origin_server_ts": 1600000000000 + number * 1000, "content": content}  # fmt: skip

    def message(number: int, text: str, **fields: Any) -> Files:
        return event(number, "m.room.message", {"msgtype": "m.text", "body": text, **fields})

    rows = [message(1, "first"), message(2, "second"), message(3, "third")]
    if new:
        relation = {"rel_type": "m.replace", "event_id": "$1"}
        rows += [message(4, "fourth"),
                 message(5, "* changed", **{"m.new_content": {"body": "changed"}, "m.relates_to": relation}),
                 event(6, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$2", "key": "👍"}}),
                 event(7, "m.room.redaction", {"redacts": "$3"})]  # fmt: skip
    return {"garden.json": {"room_name": "garden", "messages": rows}}


def mattermost(new: bool) -> Files:
    def post(number: int, text: str, **fields: Any) -> Files:
        return {"type": "post", "post": {"team": "t", "channel": "garden", "user": "ana", "message": text,
                                         "create_at": 1600000000000 + number, **fields}}  # fmt: skip

    rows: list[Files] = [
        {"type": "version", "version": 1},
        post(1, "first"),
        post(2, "second"),
        post(3, "third"),
    ]
    if new:
        rows[1] = post(1, "changed", edit_at=1600000900000)
        rows[2] = post(
            2, "second", reactions=[{"user": "bo", "emoji_name": "+1", "create_at": 1600000000500}]
        )
        rows.append(post(4, "fourth"))
    return {"export.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}


def telegram_html(new: bool) -> Files:
    texts = ["changed", "second", "third", "fourth"] if new else ["first", "second", "third"]
    boxes = "".join(
        f'<div class="message default clearfix" id="message{at}"><div class="body">'
        f'<div class="pull_right date details" title="01.01.2022 00:00:0{at} UTC+00:00">00:00</div>'
        f'<div class="from_name">Ana</div><div class="text">{text}</div></div></div>'
        for at, text in enumerate(texts, 1)
    )
    head = '<html><body><div class="page_wrap"><div class="page_header"><div class="text bold">garden</div></div>'
    return {
        "messages.html": f'{head}<div class="page_body chat_page"><div class="history">{boxes}</div></div></div>'
    }


def messenger(new: bool) -> Files:
    rows: list[Files] = [{"sender_name": "Ana", "timestamp_ms": 1600000000000 + at, "content": text}
                         for at, text in enumerate(["first", "second", "third", "fourth"][: 4 if new else 3])]  # fmt: skip
    if new:
        rows[1]["reactions"] = [{"reaction": "\u00f0\u009f\u0091\u008d", "actor": "Bo"}]
    return {"inbox/garden_1/message_1.json": {"participants": [{"name": "Ana"}, {"name": "Bo"}], "messages": rows[::-1],
                                              "title": "garden", "thread_path": "inbox/garden_1"}}  # fmt: skip


Case = tuple[Callable[[bool], Files], int, int, int]
CASES: list[Case] = [  # the format; edits, reactions and deletions that the newer one brings
    (slack, 1, 1, 1), (discord, 1, 1, 0), (telegram, 1, 1, 0), (zulip, 1, 1, 0), (zulip_archive, 1, 0, 0),
    (gitter, 1, 0, 0), (matrix, 1, 1, 1), (mattermost, 1, 1, 0), (telegram_html, 1, 0, 0), (messenger, 0, 1, 0),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case[0].__name__ for case in CASES])
def test_a_newer_export_brings_what_changed(
    tmp_path: Path, manager: ChannelManager, store: LocalStore, case: Case
) -> None:
    make, edits, reactions, deletions = case
    older = pack(tmp_path, make(False), name="older")
    newer = pack(tmp_path, copy.deepcopy(make(True)), name="newer")
    assert manager.import_(older).messages == 3
    found = manager.import_(newer)
    assert (found.messages, found.duplicates) == (1, 3)
    assert (found.edited, found.reactions, found.deleted) == (edits, reactions, deletions)
    for path in (newer, older):  # nothing comes twice, and nothing old comes back
        again = manager.import_(path)
        assert (again.messages, again.edit_events, again.reactions, again.deleted) == (0, 0, 0, 0)
    (channel,) = manager.list_channels()
    shown = [one.body for one in manager.get_stored_messages_paginated(channel.id, limit=9).messages]
    changed = "changed" if edits else "first"
    assert sorted(shown) == sorted([changed, "second", "" if deletions else "third", "fourth"])
    assert store.verify().problems == ()


def test_a_name_that_stands_behind_the_messages_is_the_channels(
    tmp_path: Path, manager: ChannelManager, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of Matrix come newest first: a room's name is its first event."""
    monkeypatch.setattr(importing_all, "BATCH", 2)
    events = [
        {"type": "m.room.message", "event_id": f"${at}", "sender": "@ana:x", "room_id": "!r:x",
         "origin_server_ts": 1600000000000 + at, "content": {"msgtype": "m.text", "body": f"b{at}"}}
        for at in range(9, 1, -1)
    ]  # fmt: skip
    events.append(
        {
            **events[0],
            "type": "m.room.name",
            "event_id": "$1",
            "state_key": "",
            "content": {"name": "Orchard"},
        }
    )
    path = pack(tmp_path, {"page.json": {"chunk": events}})
    summary = manager.import_(path)
    assert [channel.name for channel in manager.list_channels()] == ["Orchard"]
    assert summary.channel_messages == {"Orchard": 8}
    manager.rename_channel("Orchard", "Meadow")
    manager.import_(path)
    assert [channel.name for channel in manager.list_channels()] == ["Meadow"]
    assert store.verify().problems == ()


def test_channels_of_one_name_are_two(tmp_path: Path, manager: ChannelManager) -> None:
    def post(team: str) -> str:
        line = {"team": team, "channel": "square", "user": "ana", "message": "x", "create_at": 1600000000000}
        return json.dumps({"type": "post", "post": line}) + "\n"

    summary = manager.import_(pack(tmp_path, {"export.jsonl": post("t") + post("u")}))
    assert summary.channels == 2
    assert sorted(summary.channel_messages) == ["square (t/square)", "square (u/square)"]


def test_of_copies_that_disagree_the_one_edited_last_shows(tmp_path: Path, manager: ChannelManager) -> None:
    def message(number: int, text: str, edited: int = 0) -> Files:
        mark = {"edited": {"user": "U1", "ts": f"{1600000000 + edited}.000000"}} if edited else {}
        return {"type": "message", "user": "U1", "ts": f"160000000{number}.000100", "text": text, **mark}

    first = [
        message(1, "newest", 300),
        message(2, "newest", 200),
        message(3, "older", 200),
        message(4, "first"),
    ]
    other = [
        message(1, "older", 200),
        message(2, "first"),
        message(3, "newest", 300),
        message(4, "newest", 300),
    ]
    path = pack(tmp_path, {"garden/2020-09-13.json": first, "garden/2020-09-14.json": other})
    for _ in range(2):
        manager.import_(path)
        (channel,) = manager.list_channels()
        page = manager.get_stored_messages_paginated(channel.id, limit=9)
        assert [one.body for one in page.messages] == ["newest"] * 4


def test_people_who_were_only_counted_are_not_counted_again_when_they_are_named(
    tmp_path: Path, manager: ChannelManager, store: LocalStore
) -> None:
    """Telegram names the newest few of those who reacted: other people in each export."""

    def export(name: str, people: str, count: int) -> Path:
        recent = [
            {"from": who, "from_id": f"user{ord(who)}", "date": "2020-01-01T00:00:00"} for who in people
        ]
        reactions = [{"type": "emoji", "count": count, "emoji": "👍", "recent": recent}]
        files = telegram(False)
        files["result.json"]["messages"][1]["reactions"] = reactions
        return pack(tmp_path, files, name=name)

    older, newer, whole = (
        export("older", "ABC", 10),
        export("newer", "DEF", 12),
        export("whole", "ABCDEFGHIJKL", 12),
    )
    for path, total, named in (
        (older, 10, 3),
        (newer, 12, 6),
        (older, 12, 6),
        (newer, 12, 6),
        (whole, 12, 12),
        (older, 12, 12),
    ):
        manager.import_(path)
        (channel,) = manager.list_channels()
        (message,) = [
            m for m in manager.get_stored_messages_paginated(channel.id, limit=9).messages if m.reactions
        ]
        (shown,) = message.reactions
        assert shown.count == total
        assert len(shown.people) == named
    assert store.verify().problems == ()
