"""Zulip's own export: tables joined, topics as threads, direct messages, edits, reactions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import zulip as importer
from quire.exchange.model import (
    Attachment,
    Author,
    Channel,
    Edit,
    Message,
    Reaction,
    ReactionEvent,
    Skipped,
    Warn,
)
from tests.exchange.counting import tally
from tests.exchange.mutating import VALUES
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records, survives

ANN, BOB, EVE, BOT = 11, 12, 13, 3
GENERAL, SECRET, TO_ANN, TO_BOB, TRIO, PAIR = 101, 102, 103, 104, 105, 106

REALM: dict[str, Any] = {
    "zerver_realm": [{"id": 1, "string_id": "x"}],
    "zerver_subscription": [
        {"id": n, "recipient": place, "user_profile": user}
        for n, (place, user) in enumerate(
            [(TRIO, ANN), (TRIO, BOB), (TRIO, EVE), (PAIR, BOB), (PAIR, ANN), (GENERAL, ANN)], 1
        )
    ],
    "zerver_userprofile": [
        {"id": ANN, "full_name": "Ann Example", "email": "user11@x.example", "is_bot": False},
        {"id": BOB, "full_name": "Bob", "email": "b@x.example", "is_bot": False},
        {"id": 14, "full_name": "Helper", "email": "h@x.example", "is_bot": True},
    ],
    "zerver_userprofile_mirrordummy": [{"id": EVE, "full_name": "Eve", "email": "e@x.example"}],
    "zerver_userprofile_crossrealm": [{"id": BOT, "email": "notification-bot@zulip.com", "recipient_id": 9}],
    "zerver_stream": [
        {"id": 21, "name": "general", "description": "all", "invite_only": False},
        {"id": 22, "name": "secret", "description": "", "invite_only": True},
    ],
    "zerver_recipient": [
        {"id": GENERAL, "type": 2, "type_id": 21},
        {"id": SECRET, "type": 2, "type_id": 22},
        {"id": TO_ANN, "type": 1, "type_id": ANN},
        {"id": TO_BOB, "type": 1, "type_id": BOB},
        {"id": TRIO, "type": 3, "type_id": 1},
        {"id": PAIR, "type": 3, "type_id": 2},
    ],
    "zerver_reaction": [
        {"id": 1, "user_profile": BOB, "message": 2, "emoji_name": "+1", "emoji_code": "1f44d",
         "reaction_type": "unicode_emoji"},
        {"id": 2, "user_profile": 14, "message": 2, "emoji_name": "ours", "emoji_code": "5",
         "reaction_type": "realm_emoji"},
        {"id": 3, "user_profile": BOB, "message": 999, "emoji_name": "x", "emoji_code": "1f44d"},
    ],
}  # fmt: skip


def message(number: int, content: str = "text", **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "sender": ANN,
        "recipient": GENERAL,
        "subject": "Plans",
        "content": content,
        "rendered_content": f"<p>{content}</p>",
        "date_sent": 1_600_000_000 + number + 0.25,
        "last_edit_time": None,
        "edit_history": None,
        **more,
    }


def export(*files: list[Any], **tables: Any) -> dict[str, Any]:
    pages = {
        f"messages-{n:06}.json": {"zerver_message": rows, "zerver_usermessage": [{"id": 1, "flags_mask": 1}]}
        for n, rows in enumerate(files, 1)
    }
    return {"realm.json": {**REALM, **tables}, **pages}


def one(tmp_path: Path, **more: Any) -> Message:
    content = more.pop("content", "text")
    (found,) = messages(records(importer, pack(tmp_path, export([message(2, content, **more)]))))
    return found


@pytest.mark.parametrize("how", PACKINGS)
@pytest.mark.parametrize("prefix", ["", "zulip-export-1a2b/"])
def test_an_organisation_in_any_packing(tmp_path: Path, how: str, prefix: str) -> None:
    files = export(
        [message(2), message(4, recipient=SECRET)], [message(1, sender=BOB), message(3, subject="plans")]
    )
    path = pack(tmp_path, {prefix + name: content for name, content in files.items()}, how)
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert only(found, Channel) == [
        Channel("21", "general", purpose="all"),
        Channel("22", "secret", kind="private"),
    ]
    # The second file begins with an earlier message of the same topic: that is the root.
    assert {m.id: (m.title, m.thread, m.time_ms) for m in messages(found)} == {
        "1": ("Plans", "", 1_600_000_001_250),
        "2": ("", "1", 1_600_000_002_250),
        "3": ("", "1", 1_600_000_003_250),
        "4": ("Plans", "", 1_600_000_004_250),
    }
    assert only(found, ReactionEvent) == [
        ReactionEvent(
            "21", "2", Reaction("👍", (str(BOB),)), 1_600_000_002_250, target_time_ms=1_600_000_002_250
        ),
        ReactionEvent(
            "21", "2", Reaction(":ours:", ("14",)), 1_600_000_002_250, target_time_ms=1_600_000_002_250
        ),
    ]
    assert [s.position for s in found if isinstance(s, Skipped)] == ["reaction 3"]
    assert Author("14", "Helper", bot=True) in found
    assert tally(found)["reactions"] == 2


def test_direct_messages_meet_whatever_their_direction(tmp_path: Path) -> None:
    rows = [
        message(1, sender=ANN, recipient=TO_BOB),
        message(2, sender=BOB, recipient=TO_ANN),
        message(3, sender=BOB, recipient=PAIR, subject="\x07"),
        message(4, sender=ANN, recipient=TO_ANN),
        message(5, sender=EVE, recipient=TRIO),
    ]
    found = records(importer, pack(tmp_path, export(rows)))
    assert only(found, Channel) == [
        Channel("dm:11,12", "Ann Example, Bob", kind="direct"),
        Channel("dm:11", "Ann Example", kind="direct"),
        Channel("dm:11,12,13", "Ann Example, Bob, Eve", kind="group"),
    ]
    assert [m.channel for m in messages(found)] == ["dm:11,12"] * 3 + ["dm:11", "dm:11,12,13"]
    assert all(not m.title and not m.thread for m in messages(found))


def test_edits_have_their_texts(tmp_path: Path) -> None:
    history = [
        {"user_id": BOB, "timestamp": 1_600_000_030, "prev_content": "two", "prev_rendered_content": "<p>two</p>"},
        {"user_id": ANN, "timestamp": 1_600_000_020, "prev_topic": "Old", "topic": "Plans"},
        {"user_id": ANN, "timestamp": 1_600_000_010, "prev_content": "one", "prev_subject": "x"},
        {"timestamp": "never", "prev_content": "zero"}, 7,
    ]  # fmt: skip
    for value in (json.dumps(history), history):
        found = one(tmp_path, content="three", edit_history=value, last_edit_time=1_600_000_030.0)
        assert found.body == "one"
        assert found.edits == (Edit(1_600_000_010_000, "two"), Edit(1_600_000_030_000, "three", str(BOB)))
    moved = one(tmp_path, edit_history=json.dumps(history[1:2]), last_edit_time=1_600_000_020)
    assert (moved.edits, moved.edited_ms) == ((), None)
    assert one(tmp_path, last_edit_time=1_600_000_020).edited_ms == 1_600_000_020_000
    assert one(tmp_path, edit_history="{broken").edits == ()


def test_zulips_markdown_is_read(tmp_path: Path) -> None:
    content = (
        "@**Bob** @_**Ann Example|11** @**all** @*team* #**general** #**general>Plans** :tada: :ours:\n"
        "```\n@**Bob** :tada:\n``` `@**Bob**` [a b.png](/user_uploads/1/ab/a_b.png) "
        "https://z.example/user_uploads/1/cd/c.pdf [again](/user_uploads/1/ab/a_b.png)"
    )
    files = export([message(2, content)]) | {
        "attachment.json": {"zerver_attachment": [
            {"id": 1, "path_id": "1/ab/a_b.png", "file_name": "a b.png", "size": 9, "content_type": "image/png"}
        ]}
    }  # fmt: skip
    (found,) = messages(records(importer, pack(tmp_path, files)))
    assert found.body.startswith("@Bob @Ann Example @all @team #general #general > Plans 🎉 :ours:\n")
    assert "```\n@**Bob** :tada:\n``` `@**Bob**`" in found.body
    assert found.mentions == (str(BOB), str(ANN))
    assert found.attachments == (
        Attachment("a b.png", "/user_uploads/1/ab/a_b.png", "image/png", 9),
        Attachment("c.pdf", "https://z.example/user_uploads/1/cd/c.pdf"),
    )
    assert (one(tmp_path, content="/me waves").body, one(tmp_path, content="/me waves").action) == (
        "waves",
        True,
    )


def test_the_notification_bot_writes_notices(tmp_path: Path) -> None:
    found = one(tmp_path, sender=BOT, content="@_**Bob|12** has marked this topic as resolved.")
    assert (found.notice, found.body) == ("topic", "@Bob has marked this topic as resolved.")
    assert one(tmp_path, subject="").title == "general chat"


def test_without_realm_json_numbers_stand_for_names(tmp_path: Path) -> None:
    files = {"messages-000001.json.partial": {"zerver_message": [message(1), message(2)]}}
    path = pack(tmp_path, files)
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert only(found, Channel) == [Channel("recipient:101", "recipient 101")]
    assert only(found, Author) == [Author("11", "user 11")]
    assert [m.thread for m in messages(found)] == ["", "1"]
    assert len(only(found, Warn)) == 1


def test_broken_rows_and_files_do_not_stop_the_rest(tmp_path: Path) -> None:
    bad: list[Any] = [
        None, 7, {}, message(1) | {"id": "1"}, message(1) | {"sender": None}, message(1) | {"date_sent": -1},
        message(1) | {"id": 1 << 70},
    ]  # fmt: skip
    odd = message(5) | {
        "content": None,
        "subject": 4,
        "edit_history": 7,
        "last_edit_time": {},
        "recipient": 555,
    }
    files = export([*bad, odd], [message(6)]) | {
        "messages-000003.json": '{"zerver_message": [{"id": 7, "sen',
        "messages-000004.json": b"\xff\xfe\x00",
        "messages-000005.json": {"zerver_message": 3},
        "messages-000006.json": {"zerver_message": [message(8)]},
        "messages-000006.json.partial": {"zerver_message": [message(9)]},
    }
    found = records(importer, pack(tmp_path, files))
    assert [m.id for m in messages(found)] == ["5", "6", "8"]
    places = [(s.file, s.position) for s in found if isinstance(s, Skipped)]
    assert [place for place in places if place[0] == "messages-000001.json"] == [
        ("messages-000001.json", f"zerver_message, row {n}") for n in range(1, 8)
    ]
    assert {file for file, _ in places} == {f"messages-00000{n}.json" for n in (1, 3, 4, 5)} | {"realm.json"}


def test_foreign_files_are_not_recognised(tmp_path: Path) -> None:
    path = pack(tmp_path, {"realm.json": {"a": 1}, "x.json": {"zerver_message": []}})
    assert certainty(importer, path) == 0
    with pytest.raises(FormatError):
        records(importer, path)


ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(["id", "type", "type_id", "recipient", "user_profile", "message", "emoji_code", "name", "size"]),
        VALUES | st.sampled_from([1, 2, 3, 11, 101]),
    ),
    max_size=3,
)  # fmt: skip


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from([*message(1)]), VALUES), max_size=3),
    st.dictionaries(st.sampled_from([*REALM]), ROWS | VALUES, max_size=3),
    st.integers(0, 300),
    st.binary(max_size=4),
)
def test_any_content_gives_records_or_a_format_error(
    tmp_path: Path, items: list[dict[str, Any]], tables: dict[str, Any], at: int, junk: bytes
) -> None:
    whole = export([message(1), *({**message(n), **item} for n, item in enumerate(items, 2))], **tables)
    survives(importer, pack(tmp_path, whole))
    data = json.dumps(whole["messages-000001.json"]).encode()
    realm = json.dumps(whole["realm.json"]).encode()
    broken = {"messages-000001.json": data[:at] + junk + data[at + 1 :], "realm.json": realm[:at] + junk}
    survives(importer, pack(tmp_path, broken))
