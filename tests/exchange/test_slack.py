"""Slack's exports, API pages and event streams."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import slack, slack_events
from quire.exchange.model import (
    NOBODY,
    Attachment,
    Author,
    Channel,
    DeleteEvent,
    EditEvent,
    Message,
    NotCarried,
    Options,
    PinEvent,
    Reaction,
    ReactionEvent,
    Record,
    Skipped,
)
from quire.exchange.sources import open_source
from tests.corpora import corpus, expected
from tests.exchange.counting import tally

A, B, C = "1600000000.000100", "1600000001.000200", "1600086400.000300"
MS = 1_600_000_000_000


def msg(ts: str | None = A, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "ts": ts, "user": "U1", "text": "x", **fields}


USERS = [
    {"id": "U1", "name": "ana", "profile": {"display_name": "Ana", "real_name": "Ana Lu"}},
    {"id": "U2", "name": "bo", "real_name": "Bo T", "profile": {"display_name": ""}},
    {"id": "U3", "name": "rain", "is_bot": True},
]
EXPORT: dict[str, Any] = {
    "users.json": USERS,
    "channels.json": [
        {"id": "C00000001", "name": "garden", "topic": {"value": "T"}, "purpose": {"value": "P"},
         "pins": [{"id": A, "type": "C", "user": "U2", "created": 1600000500}, {"id": "F1", "type": "F"}]},
        {"id": "C00000002", "name": "empty"},
    ],
    "groups.json": [{"id": "G00000001", "name": "den", "members": ["U1"]}],
    "mpims.json": [{"id": "G00000002", "name": "mpdm-ana--bo--rain-1", "members": ["U1", "U2", "U3"]}],
    "dms.json": [{"id": "D00000001", "members": ["U1", "U2"]}, {"id": "D00000002", "members": ["U1", "U3"]}],
    "canvases.json": [{"id": "F1"}, {"id": "F2"}],
    "integration_logs.json": [],
    "garden/2020-09-13.json": [
        msg(A, text="*hi* <@U2> :tada:", reactions=[{"name": "+1::skin-tone-2", "users": ["U2"], "count": 3}],
            reply_count=2, thread_ts=A, edited={"user": "U1", "ts": "1600000002.000000"}),
        msg(B, subtype="channel_join", text="<@U1> has joined the channel"),
    ],
    "garden/2020-09-14.json": [
        msg(C, thread_ts=A, user="U2", text="reply"),
        msg("1600086401.000000", subtype="thread_broadcast", thread_ts=A, user="U3", text="to all"),
        msg("1600086402.000000", subtype="tombstone", text="This message was deleted.", user="USLACKBOT"),
        msg("1600086403.000000", subtype="me_message", text="waves"),
        msg("1600086404.000000", subtype="bot_message", user=None, bot_id="B1", username="Eva", text="over"),
        msg("1600086405.000000", subtype="bot_message", user=None, bot_id="B1", username="Otto", text="over"),
        msg("1600086406.000000", text="", files=[{"name": "a.txt", "url_private": "http://f", "size": 5,
                                                  "mimetype": "text/plain"},
                                                 {"id": "F9", "mode": "tombstone"}]),
        msg("1600086407.000000", text="<http://x>", attachments=[{"from_url": "http://x", "title": "X"}]),
        msg("1600086408.000000", subtype="channel_topic", text="set the channel topic: T"),
        msg("1600086409.000000", user="U9", user_profile={"real_name": "Newcomer"}),
    ],
    "garden/canvas_in_the_conversation.json": [{"id": "F3"}],
    "den/2020-09-13.json": [msg(A)],
    "mpdm-ana--bo--rain-1/2020-09-13.json": [msg(A)],
    "D00000001/2020-09-13.json": [msg(A)],
    "gone/2020-09-13.json": [msg(A)],
}  # fmt: skip


def pack(tmp_path: Path, files: dict[str, Any], how: str = "folder", top: str = "") -> Path:
    """The files as a folder, a zip or a tar.gz; what is not bytes becomes JSON."""
    contents = {top + n: c if isinstance(c, bytes) else json.dumps(c).encode() for n, c in files.items()}
    path = tmp_path / f"export.{how}"
    if how == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    elif how == "tar.gz":
        with tarfile.open(path, "w:gz") as tar:
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    else:
        for name, content in contents.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def read(tmp_path: Path, files: dict[str, Any], how: str = "folder", top: str = "") -> list[Record]:
    with open_source(pack(tmp_path, files, how, top)) as source:
        return list(slack.read(source, Options()))


def stream(tmp_path: Path, *events: Any) -> list[Record]:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    source = open_source(path)
    assert slack.recognise(source) >= 2
    return list(slack.read(source, Options()))


def messages(found: list[Record]) -> list[Message]:
    return [record for record in found if isinstance(record, Message)]


def skipped(found: list[Record]) -> list[Skipped]:
    return [record for record in found if isinstance(record, Skipped)]


def test_an_export_with_all_parts(tmp_path: Path) -> None:
    found = read(tmp_path, EXPORT)
    by_body = {m.body: m for m in messages(found) if m.channel == "C00000001"}
    root = by_body["**hi** @Bo T 🎉"]
    assert root == Message(
        "C00000001", A, MS, "U1", "**hi** @Bo T 🎉", mentions=("U2",),
        reactions=(Reaction("👍🏻", ("U2",), 2),), edited_ms=MS + 2000,
    )  # fmt: skip
    assert by_body["@Ana has joined the channel"].notice == "join"
    assert by_body["set the channel topic: T"].notice == "topic"
    reply, broadcast = by_body["reply"], by_body["to all"]
    assert (reply.thread, reply.thread_time_ms, reply.broadcast) == (A, MS, False)
    assert (broadcast.thread, broadcast.broadcast) == (A, True)
    assert by_body["waves"].action
    assert by_body["waves"].notice == ""
    assert {m.author for m in messages(found) if m.body == "over"} == {"B1:Eva", "B1:Otto"}
    (deleted,) = (m for m in messages(found) if m.deleted)
    assert deleted.body == ""
    (filed,) = (m for m in messages(found) if m.attachments)
    assert filed.attachments == (Attachment("a.txt", "http://f", "text/plain", 5), Attachment("F9"))
    authors = {r.key: (r.name, r.bot) for r in found if isinstance(r, Author)}
    assert authors == {
        "U1": ("Ana", False), "U2": ("Bo T", False), "U3": ("rain", True), "U9": ("Newcomer", False),
        "USLACKBOT": ("Slackbot", True), "B1:Eva": ("Eva", True), "B1:Otto": ("Otto", True),
    }  # fmt: skip
    assert {r.key: r for r in found if isinstance(r, Channel)} == {
        "C00000001": Channel("C00000001", "garden", "T", "P"),
        "C00000002": Channel("C00000002", "empty"),
        "G00000001": Channel("G00000001", "den", kind="private"),
        "G00000002": Channel("G00000002", "Ana, Bo T, rain", kind="group"),
        "D00000001": Channel("D00000001", "Ana, Bo T", kind="direct"),
        "gone": Channel("gone", "gone"),
    }
    assert [r for r in found if isinstance(r, PinEvent)] == [
        PinEvent("C00000001", A, MS + 500_000, "U2", target_time_ms=MS)
    ]
    assert tally(found)["not_carried"] == {"canvases": 3, "link previews": 1}
    assert not skipped(found)


@pytest.mark.parametrize("top", ["", "My export/", "a/b/"])
@pytest.mark.parametrize("how", ["folder", "zip", "tar.gz"])
def test_however_it_is_packed(tmp_path: Path, how: str, top: str) -> None:
    noise = {
        "__MACOSX/garden/._2020-09-13.json": b"\0\5",
        ".DS_Store": b"\0",
        "README.md": b"# hi",
        "LICENSE": b"MIT",
    }
    path = pack(tmp_path, EXPORT | noise, how, top)
    with open_source(path) as source:
        assert slack.recognise(source) == 3
        packed = tally(slack.read(source, Options()))
    assert packed == tally(read(tmp_path / "plain", EXPORT))
    assert packed["messages"] == 16


def test_without_any_table(tmp_path: Path) -> None:
    files = {name: content for name, content in EXPORT.items() if "/" in name}
    with open_source(pack(tmp_path, files)) as source:
        assert slack.recognise(source) == 3
        found = list(slack.read(source, Options()))
    assert {r.key for r in found if isinstance(r, Channel)} == {
        "garden", "den", "mpdm-ana--bo--rain-1", "D00000001", "gone",
    }  # fmt: skip
    assert tally(found)["messages"] == 16
    assert tally(found)["warnings"] == 1
    assert Author("U9", "Newcomer") in found


def test_profiles_name_people_that_no_table_does(tmp_path: Path) -> None:
    day = [
        msg(A, text="<@U5>"),
        msg(B, user="U5", user_profile={"display_name": "Eva"}),
        msg(C, text="<@U5>"),
    ]
    found = read(tmp_path, {"c/2020-01-01.json": day})
    assert [r.name for r in found if isinstance(r, Author) and r.key == "U5"] == ["U5", "Eva"]
    assert messages(found)[2].body == "@Eva"


def test_a_broken_day_gives_what_it_has(tmp_path: Path) -> None:
    good = json.dumps([msg(A), msg(B), msg(C)], indent=1).encode()
    files = {
        "c/2020-01-01.json": good[: good.index(C.encode())],
        "c/2020-01-02.json": [7, None, msg(None), msg("soon"), {"type": "message"}, msg("1600000009.000000")],
        "c/2020-01-03.json": {"ok": False},
        "c/2020-01-04.json": b"",
        "c/2020-01-05.json": [msg("1600000010.000000")],
        "users.json": b"[{",
    }
    found = read(tmp_path, files)
    assert [m.id for m in messages(found)] == [A, B, "1600000009.000000", "1600000010.000000"]
    assert [(s.file[-7:-5], s.position) for s in skipped(found)] == [
        ("rs", "the whole file"), ("01", "item 3"), ("02", "item 1"), ("02", "item 2"), ("02", "item 3"),
        ("02", "item 4"), ("02", "item 5"), ("03", "item 1"), ("04", "item 1"),
    ]  # fmt: skip


def test_text_of_every_encoding(tmp_path: Path) -> None:
    files = {
        "c/2020-01-01.json": b"\xef\xbb\xbf" + json.dumps([msg(A, text="bom")]).encode(),
        "c/2020-01-02.json": json.dumps([msg(B, text="sixteen")]).encode("utf-16"),
        "c/2020-01-03.json": b'[{"type":"message","ts":"%s","text":"lone \\ud83d","user":"U1"}]' % C.encode(),
    }
    assert [m.body for m in messages(read(tmp_path, files))] == ["bom", "sixteen", "lone \ufffd"]


def test_layouts_of_old(tmp_path: Path) -> None:
    day = [
        msg(A, subtype="file_share", file={"name": "p.md", "url_private": "http://p"},
            text="<@U1|ana> uploaded a file: <http://p|p.md> and commented: look"),
        msg(B, subtype="file_comment", user=None, comment={"user": "U2", "comment": "nice"}, text="nice"),
        {"ts": 1600000005.5, "user": {"id": "U4", "name": "dora"}, "text": "a number for a time"},
        msg(C, user=None, text="no one"),
        msg("1600086500.000000", user=None, bot_id="B7", text="",
            attachments=[{"text": "built", "title": "CI"}]),
    ]  # fmt: skip
    found = read(tmp_path, {"c/2014-01-01.json": day, "users.json": USERS})
    shared, comment, odd, nobody, bot = messages(found)
    assert (shared.body, shared.attachments) == ("look", (Attachment("p.md", "http://p"),))
    assert comment.author == "U2"
    assert (odd.id, odd.time_ms, odd.author) == ("1600000005.500000", MS + 5500, "U4")
    assert Author("U4", "dora") in found
    assert nobody.author == NOBODY
    assert (bot.author, bot.body) == ("B7", "**CI**\nbuilt")


def test_blocks_are_the_body_where_text_is_none_or_a_summary(tmp_path: Path) -> None:
    rich = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [
        {"type": "user", "user_id": "U2"},
        {"type": "text", "text": " there", "style": {"bold": True}}]}]}  # fmt: skip
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "*all* of the report"}}
    day = [
        msg(A, text="", blocks=[rich]),
        msg(B, text="report", blocks=[section]),
        msg(C, text="mine", blocks=[rich]),
    ]
    found = messages(read(tmp_path, {"c/2020-01-01.json": day, "users.json": USERS}))
    assert [m.body for m in found] == ["@Bo T **there**", "**all** of the report", "mine"]
    assert found[0].mentions == ("U2",)


PAGES: dict[str, Any] = {
    "slack-log.yaml": b"workspaceName: w\ntargetChannels:\n"
                      b"  C00000001: garden # green\n  G00000001: 'den'\nother: x\n",
    "docs/json/.users.json": {"U1": "Ana", "U2": ""},
    "docs/json/.timestamps.json": {"C00000001": B},
    "docs/json/C00000001/1.json": [
        msg(A), msg(B, text="also to the channel"), msg(C, text="<@U1> has left the channel")],
    "docs/json/C00000001/1/1600000000.000100.json": [
        msg(A), msg("1600000000.500000", user="U2", text="in the thread"), msg(B, text="also to the channel"),
    ],
    "docs/json/G00000001/1.json": {"ok": True, "messages": [msg(A)], "has_more": False},
}  # fmt: skip


@pytest.mark.parametrize("how", ["folder", "zip", "tar.gz"])
def test_api_pages_with_thread_files(tmp_path: Path, how: str) -> None:
    with open_source(pack(tmp_path, PAGES, how)) as source:
        assert slack.recognise(source) == 3
        found = list(slack.read(source, Options()))
    assert [r for r in found if isinstance(r, Channel)] == [
        Channel("C00000001", "garden"), Channel("G00000001", "den", kind="private"),
    ]  # fmt: skip
    assert {r.key: r.name for r in found if isinstance(r, Author)} == {"U1": "Ana", "U2": "U2"}
    threads = {(m.id, m.thread) for m in messages(found)}
    assert threads == {(A, ""), ("1600000000.500000", A), (B, A), (C, "")}  # in every copy alike
    assert any(m.broadcast for m in messages(found) if m.id == B)
    assert [m.notice for m in messages(found) if m.id == C] == ["leave"]
    assert tally(found)["duplicates"] == 2


def test_pages_of_other_tools(tmp_path: Path) -> None:
    files = {
        "C00000001.json": {"name": "garden", "channel_id": "C00000001", "messages": [
            msg(A, thread_ts=A, slackdump_thread_replies=[msg(B)]), msg(C)]},
        "any/messages.json": {"channel_info": {"id": "C00000002", "name": "den", "is_private": True},
                              "messages": [msg(A)]},
        "deep/lawn/messages_2.json": [msg(A)],
        "users.json": {"ok": True, "members": USERS},
        "package.json": {"messages": [msg(A)]},
        "notes.json": {"a": 1},
    }  # fmt: skip
    found = read(tmp_path, files)
    places = {(m.channel, m.id, m.thread) for m in messages(found)}
    assert places == {
        ("C00000001", A, ""), ("C00000001", B, A), ("C00000001", C, ""),
        ("C00000002", A, ""), ("lawn", A, ""),
    }  # fmt: skip
    assert Channel("C00000002", "den", kind="private") in found
    assert not skipped(found)


def event(**fields: Any) -> dict[str, Any]:
    return {"type": "event_callback", "team_id": "T", "event": {"channel": "C00000001", **fields}}


def changed(ts: str, new: str, old: str | None, at: str, **fields: Any) -> dict[str, Any]:
    after = msg(ts, text=new, edited={"user": "U1", "ts": at}) | fields
    before = {"previous_message": msg(ts, text=old)} if old is not None else {}
    return event(type="message", subtype="message_changed", ts=at, event_ts=at, message=after, **before)


def test_event_stream(tmp_path: Path) -> None:
    at = "1600000100.000000"
    found = stream(
        tmp_path,
        event(**msg(A, text="first")),
        {"type": "hello"},
        event(type="user_typing", user="U1"),
        changed(A, "second", "first", at),
        changed(A, "second", "second", at, attachments=[{"from_url": "http://x"}]),
        event(type="message", subtype="message_replied", message=msg(A, thread_ts=A, reply_count=1), ts=at),
        {"type": "reaction_added", "user": "U2", "reaction": "+1", "event_ts": at,
         "item": {"type": "message", "channel": "C00000001", "ts": A}},
        {"type": "reaction_removed", "user": "U2", "reaction": "+1", "event_ts": at,
         "item": {"type": "message", "channel": "C00000001", "ts": A}},
        {"type": "reaction_added", "user": "U2", "reaction": "+1", "event_ts": at, "item": {"type": "file"}},
        {"type": "pin_added", "user": "U2", "channel_id": "C00000001", "event_ts": at,
         "item": {"type": "message", "created": 1600000100, "message": msg(A)}},
        {"type": "channel_rename", "channel": {"id": "C00000001", "name": "garden"}, "event_ts": at},
        {"type": "user_change", "user": {"id": "U1", "name": "ana"}, "event_ts": at},
        {"envelope_id": "e", "type": "events_api", "payload": event(**msg(B, text="socket"))},
        event(type="message", subtype="message_deleted", deleted_ts=B, ts=at, previous_message=msg(B)),
    )  # fmt: skip
    assert [m.body for m in messages(found)] == ["first", "socket"]
    (edit,) = (r for r in found if isinstance(r, EditEvent))
    assert (edit.target, edit.edit.body, edit.edit.time_ms, edit.edit.author) == (
        A,
        "second",
        MS + 100_000,
        "U1",
    )
    assert [(r.reaction.emoji, r.removed) for r in found if isinstance(r, ReactionEvent)] == [
        ("👍", False),
        ("👍", True),
    ]
    assert [(r.target, r.time_ms) for r in found if isinstance(r, DeleteEvent)] == [(B, MS + 100_000)]
    assert [(r.target, r.author) for r in found if isinstance(r, PinEvent)] == [(A, "U2")]
    assert [r.name for r in found if isinstance(r, Channel)] == ["C00000001", "garden"]
    assert [r.name for r in found if isinstance(r, Author) and r.key == "U1"] == ["U1", "ana"]
    assert NotCarried("reactions on files", 1) in found
    assert not skipped(found)


def test_changes_to_messages_that_never_came(tmp_path: Path) -> None:
    at, later = "1600000100.000000", "1600000200.000000"
    gone = "1600000003.000000"
    found = stream(
        tmp_path,
        changed(A, "two", "one", at),
        changed(A, "three", "two", later),
        changed(B, "new, the old is lost", None, at),
        event(type="message", subtype="message_deleted", deleted_ts=gone, ts=at,
              previous_message=msg(gone, text="secret")),
        event(type="message", subtype="message_replied", message=msg(C, text="a root", thread_ts=C), ts=at),
    )  # fmt: skip
    by_id = {m.id: m for m in messages(found)}
    assert by_id[A].body == "one"
    assert [r.edit.body for r in found if isinstance(r, EditEvent)] == ["two", "three"]
    assert (by_id[B].body, by_id[B].edited_ms) == ("new, the old is lost", MS + 100_000)
    assert by_id[gone].deleted
    assert "secret" not in repr(found)
    assert by_id[C].body == "a root"


def test_a_change_waits_for_its_message(tmp_path: Path) -> None:
    found = stream(tmp_path, changed(A, "two", None, "1600000100.000000"), event(**msg(A, text="one")))
    (message,) = messages(found)
    assert (message.body, message.edited_ms) == ("one", None)
    assert [r.edit.body for r in found if isinstance(r, EditEvent)] == ["two"]


def test_streams_are_remembered_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_events, "SEEN_MAX", 3)
    monkeypatch.setattr(slack_events, "WAITING_MAX", 2)
    stamps = [f"16000000{n:02}.000000" for n in range(20)]
    unseen = [changed(ts, "new", "old", "1600000100.000000") for ts in stamps[10:16]]
    seen = [event(**msg(ts)) for ts in stamps[:9]]
    late = changed(stamps[0], "late", "x", "1600000100.000000")
    found = stream(tmp_path, *unseen, *seen, late)
    assert len(messages(found)) == 15
    assert sum(isinstance(r, EditEvent) for r in found) == 7


@pytest.mark.parametrize("wrap", [json.dumps, lambda events: "\ufeff" + json.dumps(events, indent=2)])
def test_events_as_one_list(tmp_path: Path, wrap: Any) -> None:
    path = tmp_path / "log.json"
    path.write_text(wrap([event(**msg(A)), {"type": "message", **msg(B), "channel": "D00000001"}]))
    source = open_source(path)
    assert slack.recognise(source) >= 2
    found = list(slack.read(source, Options()))
    assert [(m.channel, m.id) for m in messages(found)] == [("C00000001", A), ("D00000001", B)]
    assert Channel("D00000001", "D00000001", kind="direct") in found


@pytest.mark.parametrize(
    "broken",
    [
        {"subtype": "message_changed"}, {"subtype": "message_changed", "message": msg(None)},
        {"subtype": "message_deleted"},
        {"subtype": "message_deleted", "deleted_ts": "x", "previous_message": []},
        {"type": "reaction_added"}, {"type": "reaction_added", "item": {"ts": A}, "reaction": 5, "user": []},
        {"type": "pin_added", "item": None}, {"type": "channel_rename", "channel": "C1"},
        {"type": "user_change", "user": "U1"},
    ],
)  # fmt: skip
def test_half_an_event_is_skipped(tmp_path: Path, broken: dict[str, Any]) -> None:
    found = stream(
        tmp_path,
        event(**msg(A)),
        event(**{"type": "message", "ts": B, "event_ts": B, **broken}),
        event(**msg(C)),
    )
    assert [m.id for m in messages(found)] == [A, C]
    assert [s.position for s in skipped(found)] == ["line 2"]


def test_a_file_too_large_to_hold_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "WHOLE_MAX", 100)
    files = {"c/2020-01-01.json": [msg(A), msg(B)], "c/1.json": {"ok": True, "messages": [msg(C)]}}
    assert {m.id for m in messages(read(tmp_path, files))} == {A, B, C}


def test_names_of_old_zips_and_of_macs(tmp_path: Path) -> None:
    files = {
        "channels.json": [{"id": "C00000001", "name": "grüße"}, {"id": "C00000002", "name": "日本"}],
        "gru\u0308ße/2020-01-01.json": [msg(A)],
        "日本".encode().decode("cp437") + "/2020-01-01.json": [msg(B)],
    }
    assert [m.channel for m in messages(read(tmp_path, files, "zip"))] == ["C00000001", "C00000002"]


def test_foreign_files(tmp_path: Path) -> None:
    for name, content in {
        "a.json": b"[]", "b.jsonl": b'{"type":"m.room.message","origin_server_ts":1}', "c.txt": b"hello",
        "d.json": b'{"type":"message","time":1,"body":"x"}', "users.json": b"[]", "e.json": b"\xff\x00",
        "f.json": b'{"messages":[{"id":"1","timestamp":"2020-01-01T00:00:00Z","content":"x"}]}',
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert slack.recognise(open_source(tmp_path / name)) == 0, name
    with pytest.raises(FormatError):
        list(slack.read(open_source(tmp_path / "c.txt"), Options()))


@pytest.mark.slow
@pytest.mark.bounded
def test_corpus_r_contributors() -> None:
    want = expected("slack-r-contributors")
    with open_source(corpus("slack-r-contributors/slack-export.zip")) as source:
        assert slack.recognise(source) == 3
        found = list(slack.read(source, Options()))
    counts = tally(found, slack.NOTICES_ARE_MESSAGES)
    for name in ("records", "messages", "channels", "threads", "replies", "reactions", "reaction_kinds",
                 "edited", "deleted", "attachments"):  # fmt: skip
        assert counts[name] == want[name], name
    names = {r.key: r.name for r in found if isinstance(r, Channel)}
    per_channel = {names[key]: count for key, count in counts["messages_per_channel"].items()}
    assert per_channel == want["messages_per_channel"]
    # One less: the one `me_message` is a message here ("/me waves"), a notice there.
    assert counts["notices"] == want["notices"] - 1
    # Two bots of the 579 spoke under several names (a bridge for eight people, a notifier under two):
    # each name is an author here, (8 - 1) + (2 - 1) more.
    assert counts["authors"] == want["authors"] + 8
    # 1,093 message attachments are unfurls or contents of apps; the latter are in the bodies.
    assert counts["not_carried"]["link previews"] == 830 < want["unfurls"]
    assert counts["skipped"] == 0


@pytest.mark.slow
@pytest.mark.bounded
def test_corpus_haskell_jp() -> None:
    want = expected("slack-haskell-jp")
    with open_source(corpus("slack-haskell-jp/slack-log.tar.xz")) as source:
        assert slack.recognise(source) == 3
        found = list(slack.read(source, Options()))
    counts = tally(found, slack.NOTICES_ARE_MESSAGES)
    for name in (
        "records",
        "messages",
        "channels",
        "threads",
        "replies",
        "attachments",
        "messages_per_channel",
    ):
        assert counts[name] == want[name], name
    assert counts["authors"] == want["authors"]  # 761 messages of integrations name no one
    assert counts["duplicates"] == want["records"] - want["messages"]
    # The format has no subtypes; joins, leaves, topics and pins are told by their words. 233 replies
    # were also sent to the channel.
    assert counts["notices"] == 5026
    assert len({(m.channel, m.id) for m in messages(found) if m.broadcast}) == 233
    assert counts["skipped"] == counts["warnings"] == 0
    assert sum(isinstance(r, Channel) and r.name != r.key for r in found) == 24


def test_corpus_zulip_fixture() -> None:
    with open_source(corpus("small-samples/slack-zulip-fixture/test_slack_importer.zip")) as source:
        assert slack.recognise(source) == 3
        counts = tally(slack.read(source, Options()))
    wanted = {
        "messages": 91,
        "notices": 9,
        "threads": 1,
        "replies": 2,
        "reactions": 2,
        "attachments": 2,
        "skipped": 0,
    }
    assert {name: counts[name] for name in wanted} == wanted


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    | st.sampled_from([A, "U1", "C00000001"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["ts", "id", "type", "name", "user", "message"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
STREAM = [
    event(**msg(A)), changed(A, "b", "a", B), changed(B, "b", None, C),
    event(type="message", subtype="message_deleted", deleted_ts=C, ts=C, previous_message=msg(C)),
    {"type": "reaction_added", "user": "U2", "reaction": "x", "event_ts": B,
     "item": {"channel": "C00000001", "ts": A}},
    {"type": "pin_added", "user": "U2", "channel_id": "C00000001", "event_ts": B,
     "item": {"message": msg(A)}},
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_type_in_any_field(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    files = json.loads(
        json.dumps(EXPORT | {"events.json": STREAM, "C00000002/1/1600000000.000100.json": [msg(B)]})
    )
    for _ in range(data.draw(st.integers(1, 3))):
        target = files
        keys: list[Any] = sorted(files)
        while keys:
            key = data.draw(st.sampled_from(keys))
            inner = target[key]
            deeper = isinstance(inner, dict | list) and inner and data.draw(st.integers(0, 4))
            if not deeper:
                target[key] = data.draw(ANY)
                break
            target = inner
            keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
    with contextlib.suppress(FormatError):
        tally(read(tmp_path_factory.mktemp("fuzz"), files))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.binary(max_size=30))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, seed: int, noise: bytes) -> None:
    chance = random.Random(seed)
    contents = bytearray(json.dumps(STREAM + EXPORT["garden/2020-09-14.json"]).encode())
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(contents) + 1)
        swap = chance.choice([noise, b"null", b"[", b"}", b"-1", b'"', b"1e999", b"\n"])
        contents[at : at + chance.choice([0, 1, len(swap), 60, 3000])] = swap
    name = chance.choice(
        ["c/2020-01-01.json", "c/1.json", "c/1/1600000000.000100.json", "x.json", "x.jsonl", "users.json"]
    )
    with contextlib.suppress(FormatError):
        tally(read(tmp_path_factory.mktemp("fuzz"), {name: bytes(contents), "d/2020-01-01.json": [msg(A)]}))


def test_logs_of_events_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    """Listeners write an event a line into a text a day, and say the channel in each."""
    day = [msg(A, channel="C00000001"), msg(B, channel="C00000002", user="U2")]
    files = {
        "logs/2020-09-13.txt": "".join(json.dumps(one) + "\n" for one in day).encode(),
        "logs/2020-09-14.log": json.dumps(msg(C, channel="C00000001", thread_ts=A)).encode() + b"\n{broken\n",
        "notes.txt": b"not of Slack",
        "garden/2020-09-15.jsonl": json.dumps(msg("1600086500.000000")).encode(),
    }
    with open_source(pack(tmp_path, files)) as source:
        assert slack.recognise(source) >= 2
        found = list(slack.read(source, Options()))
    assert [(m.channel, m.id, m.thread) for m in messages(found)] == [
        ("garden", "1600086500.000000", ""), ("C00000001", A, ""), ("C00000002", B, ""), ("C00000001", C, A),
    ]  # fmt: skip
    assert [(one.file, one.position) for one in skipped(found)] == [("logs/2020-09-14.log", "line 2")]


def test_a_change_is_measured_by_the_message_itself(tmp_path: Path) -> None:
    """A stream that hides what was taken back hides it in `previous_message`: an unfurl then looks like an edit."""
    at, later = "1600000100.000000", "1600000200.000000"
    found = stream(
        tmp_path,
        event(**msg(A, text="see http://x")),
        event(type="message", subtype="message_changed", ts=at, message=msg(A, text="see http://x"),
              previous_message=msg(A, text="[hidden]")),
        changed(A, "see http://y", "[hidden]", at),
        changed(A, "see http://y", "[hidden]", at, attachments=[{"from_url": "http://y"}]),
        changed(A, "see http://y", "[hidden]", later),
    )  # fmt: skip
    edits = [record.edit for record in found if isinstance(record, EditEvent)]
    assert [(edit.time_ms, edit.body) for edit in edits] == [
        (MS + 100_000, "see http://y"), (MS + 200_000, "see http://y"),
    ]  # fmt: skip


def test_replies_that_stand_in_their_root(tmp_path: Path) -> None:
    """slack-archive puts whole messages there, Slack's own exports only who and when."""
    root = msg(A, text="root", thread_ts=A, replies=[msg(B, text="in it", thread_ts=A, user="U2")])
    short = msg(C, text="other", replies=[{"user": "U2", "ts": "1600086401.000000"}])
    found = messages(read(tmp_path, {"data/C00000001.json": [short, root]}))
    assert [(m.id, m.thread, m.body) for m in found] == [(C, "", "other"), (A, "", "root"), (B, A, "in it")]


def test_a_large_file_is_read_piece_by_piece_whatever_its_size_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quire.exchange.slack.WHOLE_MAX", 300)
    rows = [msg(f"16000000{at:02}.000100", text="x") for at in range(40)]
    assert len(messages(read(tmp_path, {"garden/2020-09-13.json": rows}))) == 40


def test_a_change_that_says_nothing_changes_nothing(tmp_path: Path) -> None:
    half = event(type="message", subtype="message_changed", ts=B, message={"ts": A, "edited": {"ts": B}})
    found = stream(tmp_path, event(**msg(A, text="whole")), half)
    assert [m.body for m in messages(found)] == ["whole"]
    assert not [record for record in found if isinstance(record, EditEvent)]
    (one,) = skipped(found)
    assert one.position == "line 2"


def test_workspaces_of_one_organisation_have_channels_of_one_name(tmp_path: Path) -> None:
    files = {
        f"teams/T{at}/{name}": content
        for at in (1, 2)
        for name, content in (
            ("channels.json", [{"id": f"C0000000{at}", "name": "general"}]),
            ("general/2020-09-13.json", [msg(A, text=f"of {at}")]),
        )
    }
    found = messages(read(tmp_path, files))
    assert {(message.channel, message.body) for message in found} == {
        ("C00000001", "of 1"),
        ("C00000002", "of 2"),
    }
