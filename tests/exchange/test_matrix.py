"""Matrix rooms: what events mean, in every wrapping, and two real rooms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quire.exchange import matrix
from quire.exchange.model import (
    Attachment,
    Author,
    Channel,
    DeleteEvent,
    Edit,
    EditEvent,
    NotCarried,
    Options,
    PinEvent,
    Reaction,
    ReactionEvent,
    Record,
    Skipped,
)
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

ANN, BOB, ROOM = "@ann:example.org", "@bob:example.org", "!room:example.org"


def event(key: str, kind: str = "m.room.message", sender: str = ANN, **more: Any) -> dict[str, Any]:
    content = more.pop("content", {"msgtype": "m.text", "body": key})
    at = 1_600_000_000_000 + int("".join(c for c in key if c.isdigit()) or 0) * 1000
    return {
        "event_id": f"${key}",
        "type": kind,
        "sender": sender,
        "origin_server_ts": at,
        "room_id": ROOM,
        "content": content,
        **more,
    }


def relates(key: str, to: str, rel: str, body: Any = "x", **more: Any) -> dict[str, Any]:
    relation = {"rel_type": rel, "event_id": f"${to}", **more.pop("relation", {})}
    return event(key, content={"msgtype": "m.text", "body": body, "m.relates_to": relation, **more})


def read(tmp_path: Path, *events: Any, options: Options | None = None) -> list[Record]:
    return records(matrix, pack(tmp_path, {"room.json": {"messages": events}}), options)


def test_an_edit_without_its_text_changes_nothing(tmp_path: Path) -> None:
    half = event(
        "2", content={"m.new_content": {}, "m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}}
    )
    found = read(tmp_path, event("1"), half)
    assert [message.body for message in messages(found)] == ["1"]
    assert [one for one in found if isinstance(one, NotCarried)] == [
        NotCarried("edits without their text", 1)
    ]
    assert not only(found, EditEvent)


def test_messages_replies_threads_and_edits(tmp_path: Path) -> None:
    reply = {"m.in_reply_to": {"event_id": "$1"}}
    found = read(
        tmp_path,
        event("1"),
        event("2", content={
            "msgtype": "m.text", "body": "> <@ann:example.org> 1\n> more\n\nan answer\n\n> kept", "m.relates_to": reply,
        }),
        event("3", content={
            "msgtype": "m.text", "body": "fallback", "format": "org.matrix.custom.html", "m.relates_to": reply,
            "formatted_body": "<mx-reply><blockquote>old</blockquote></mx-reply>see <b>this</b>, "
            f'<a href="https://matrix.to/#/{BOB}">Bob</a>',
        }),
        relates("4", "1", "m.thread", relation={"m.in_reply_to": {"event_id": "$2"}, "is_falling_back": True}),
        relates("5", "1", "m.replace", "* new", **{"m.new_content": {"msgtype": "m.text", "body": "new"}}),
        relates("6", "5", "m.replace", "* newer"),
        relates("7", "7", "m.thread"),
    )  # fmt: skip
    one, two, three, four, seven = messages(found)
    assert (two.body, two.reply_to, two.thread) == ("an answer\n\n> kept", "$1", "")
    assert (three.body, three.mentions) == ("see **this**, @Bob", (BOB,))
    assert (four.thread, four.reply_to) == ("$1", "")
    assert (seven.thread, one.body) == ("", "1")
    assert only(found, EditEvent) == [
        EditEvent(ROOM, "$1", Edit(1_600_000_005_000, "new", ANN, "$5"), own=True, stands=True),
        EditEvent(ROOM, "$1", Edit(1_600_000_006_000, "newer", ANN, "$6"), own=True, stands=True),
    ], "an edit of an edit changes the message"


def test_deletions_and_reactions(tmp_path: Path) -> None:
    annotation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$1", "key": "👍"}}
    found = read(
        tmp_path,
        event("1"),
        event("2", content={}, unsigned={"redacted_because": {"type": "m.room.redaction"}}),
        event("3", content={}, redacted_because={}),
        event("4", "m.room.redaction", BOB, redacts="$1", content={"reason": "spam"}),
        event("5", "m.room.redaction", content={"redacts": "$2"}),
        event("6", "m.reaction", BOB, content=annotation),
        event("7", "m.room.redaction", BOB, redacts="$6"),
        event("8", "m.reaction", content={}),
        relates("9", "1", "m.replace"),
        event("10", "m.room.redaction", redacts="$9"),
    )
    assert [(m.id, m.deleted, m.body) for m in messages(found)] == [
        ("$1", False, "1"),
        ("$2", True, ""),
        ("$3", True, ""),
    ]
    assert only(found, DeleteEvent) == [
        DeleteEvent(ROOM, "$1", 1_600_000_004_000, BOB, "spam"),
        DeleteEvent(ROOM, "$2", 1_600_000_005_000, ANN),
    ]
    thumb = Reaction("👍", (BOB,))
    assert only(found, ReactionEvent) == [
        ReactionEvent(ROOM, "$1", thumb, 1_600_000_006_000),
        ReactionEvent(ROOM, "$1", thumb, 1_600_000_007_000, removed=True),
    ]
    assert only(found, NotCarried) == [
        NotCarried("deletions of one edit (its text stays in the versions)", 1)
    ]


def test_files_emotes_places_and_polls(tmp_path: Path) -> None:
    image = {
        "msgtype": "m.image",
        "body": "cat.png",
        "url": "mxc://x/1",
        "info": {"mimetype": "image/png", "size": 7},
    }
    poll = {
        "m.poll.start": {"question": {"m.text": "Tea?"}, "answers": [{"m.text": "yes"}, {"m.text": "no"}]}
    }
    found = read(
        tmp_path,
        event("1", content=image),
        event("2", content={**image, "filename": "cat.png", "body": "my cat", "file": {"url": "mxc://x/2"}, "url": None}),
        event("3", content={"msgtype": "m.emote", "body": "waves"}),
        event("4", content={"msgtype": "m.location", "body": "here", "geo_uri": "geo:1,2"}),
        event("5", "m.sticker", content={"body": "hug", "url": "mxc://x/3"}),
        event("6", "m.poll.start", content=poll),
        event("7", "m.room.encrypted", content={"ciphertext": "x"}),
        event("8", "m.room.encrypted", content={"ciphertext": "x"}, decrypted={
            "type": "m.room.message", "content": {"msgtype": "m.text", "body": "readable"},
        }),
    )  # fmt: skip
    one, two, three, four, five, six, eight = messages(found)
    assert one.attachments == (Attachment("cat.png", "mxc://x/1", "image/png", 7),)
    assert (one.body, two.body, two.attachments[0].url) == ("", "my cat", "mxc://x/2")
    assert (three.action, four.body, five.attachments[0].name) == (True, "here\ngeo:1,2", "hug")
    assert (six.body, eight.body) == ("Tea?\n- yes\n- no", "readable")
    assert NotCarried("encrypted messages without their keys", 1) in found


def test_notices_names_and_pins(tmp_path: Path) -> None:
    def member(
        key: str, user: str, now: str, before: str = "", name: str = "", sender: str = ""
    ) -> dict[str, Any]:
        return event(
            key, "m.room.member", sender or user, state_key=user, content={"membership": now, "displayname": name},
            unsigned={"prev_content": {"membership": before, "displayname": "Old"}} if before else {},
        )  # fmt: skip

    found = read(
        tmp_path,
        member("1", ANN, "join", name="Ann"),
        member("2", BOB, "invite", sender=ANN),
        member("3", BOB, "join", "invite", "Bob"),
        member("4", BOB, "join", "join", "Robert"),
        member("5", BOB, "leave", "join", sender=ANN),
        event("6", "m.room.name", content={"name": "Quire talk"}),
        event("7", "m.room.topic", content={"topic": "books"}),
        event("8", "m.room.pinned_events", content={"pinned": ["$1"]}, prev_content={"pinned": ["$0"]}),
        event("9", "m.room.power_levels", content={"users": {}}),
    )
    assert [(m.notice, m.body) for m in messages(found)] == [
        ("join", "Ann joined"), ("other", "Ann invited bob"), ("join", "Bob joined"), ("other", "Old is now called Robert"),
        ("leave", "Ann removed Robert"), ("name", "Ann named the room Quire talk"), ("topic", "Ann set the topic: books"),
        ("pin", "Ann changed the pinned messages"),
    ]  # fmt: skip
    assert only(found, Channel)[-1] == Channel(ROOM, "Quire talk", topic="books")
    assert only(found, PinEvent) == [
        PinEvent(ROOM, "$1", 1_600_000_008_000, ANN),
        PinEvent(ROOM, "$0", 1_600_000_008_000, ANN, removed=True),
    ]
    assert only(found, Author)[-1] == Author(BOB, "Robert")
    assert NotCarried("room settings", 1) in found


WRAPPINGS: dict[str, Callable[[list[Any]], dict[str, Any]]] = {
    "element": lambda events: {"export.json": {"room_name": "Talk", "exported_by": ANN, "messages": events}},
    "array": lambda events: {"a/room.json": json.dumps(events, indent=1)},
    "lines": lambda events: {"events": "\n".join(map(json.dumps, events))},
    "archive": lambda events: {
        "talk": "\n".join([json.dumps({ANN: "Ann", BOB: {"displayname": "Bob"}}), *map(json.dumps, events), "s58_7_0_1"])
    },
    "pages": lambda events: {
        "talk/1.json": {"chunk": events[2:][::-1], "start": "t2", "end": "t1"},
        "talk/2.json": {"chunk": events[:2][::-1], "start": "t1"},
    },
    "page lines": lambda events: {"talk.jsonl": "".join(json.dumps({"chunk": [e], "start": "t"}) + "\n" for e in events)},
    "sync": lambda events: {
        "sync.json": {"next_batch": "s1", "rooms": {"join": {ROOM: {"timeline": {"events": events}, "state": {"events": []}}}}}
    },
}  # fmt: skip


@pytest.mark.parametrize("how", PACKINGS)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_holds_the_same(tmp_path: Path, wrapping: str, how: str) -> None:
    events = [
        event("1"),
        event("2"),
        event("3", "m.room.topic", content={"topic": "t"}),
        event("4", sender=BOB),
    ]
    path = pack(tmp_path, {**WRAPPINGS[wrapping](events), "README.md": "{", "media/x.png": b"\x89PNG"}, how)
    assert certainty(matrix, path) == 3
    found = records(matrix, path)
    assert sorted((m.id, m.author) for m in messages(found)) == [
        ("$1", ANN),
        ("$2", ANN),
        ("$3", ANN),
        ("$4", BOB),
    ]
    assert {m.channel for m in messages(found)} == {ROOM}
    assert not only(found, Skipped)


def test_a_room_without_id_is_its_file(tmp_path: Path) -> None:
    bare = event("1")
    del bare["room_id"]
    files = {"talk.json": {"chunk": [bare]}, "other/messages_1.json": {"chunk": [bare]}}
    assert [c.key for c in only(records(matrix, pack(tmp_path, files)), Channel)] == ["other", "talk"]  # type: ignore[attr-defined]


def test_broken_events_are_reported_and_passed_over(tmp_path: Path) -> None:
    lines = [
        json.dumps(event("1")), '{"type": "m.room.message", "sender"', json.dumps([1]), json.dumps({"event_id": None, "type": 3}),
        json.dumps({**event("2"), "origin_server_ts": "soon"}), json.dumps({**event("3"), "sender": None}),
        json.dumps({**event("4"), "content": {"body": 5, "formatted_body": ["x"], "m.relates_to": "no", "url": {}}}),
        json.dumps({**event("5"), "origin_server_ts": -5}),
        json.dumps(event("s", content={"msgtype": "m.text", "body": "half \ud83d"})),
    ]  # fmt: skip
    found = records(matrix, pack(tmp_path, {"talk.jsonl": "\n".join(lines)}))
    assert [m.id for m in messages(found)] == ["$1", "$4", "$s"]
    assert messages(found)[2].body == "half \ufffd"
    assert [s.position for s in only(found, Skipped)] == ["line 2", "line 3", "line 5", "line 6", "line 8"]  # type: ignore[attr-defined]


def test_a_truncated_document_keeps_what_came_before(tmp_path: Path) -> None:
    whole = json.dumps({"messages": [event(str(n)) for n in range(50)]})
    found = records(matrix, pack(tmp_path, {"x.json": whole[: len(whole) // 2]}, "file"))
    assert 20 <= len(messages(found)) <= 26
    assert len(only(found, Skipped)) == 1


def test_an_event_without_id_is_named_by_what_it_is(tmp_path: Path) -> None:
    bare = event("1")
    del bare["event_id"]
    one, two, three = messages(read(tmp_path, bare, bare, {**bare, "content": {"body": "else"}}))
    assert one.id == two.id != three.id


def test_the_corpus_counts_as_it_should() -> None:
    counts = expected("matrix-array-langs")
    path = corpus("matrix-array-langs/matrix_rooms.tar.xz")
    assert certainty(matrix, path) == 3
    found = tally(records(matrix, path), matrix.NOTICES_ARE_MESSAGES)
    for name in ("messages", "channels", "replies", "attachments", "deleted", "edit_events", "reactions",
                 "reaction_kinds", "authors", "messages_per_channel"):  # fmt: skip
        assert found[name] == counts[name], name
    # The counts' notices are membership events; two names and one topic are notices here too.
    assert found["notices"] == counts["notices"] + 3
    # Nine of the events edited are edits themselves (a bridge chains them): those edit the message behind.
    assert found["edited"] == counts["edited"] - 9
    types = counts["event_types"]
    settings = sum(count for kind, count in types.items() if kind.startswith("m.room.")) - sum(
        types[f"m.room.{kind}"] for kind in ("message", "member", "redaction", "name", "topic")
    )
    assert found["not_carried"] == {"room settings": settings}
    assert (found["duplicates"], found["skipped"], found["warnings"]) == (0, 0, 0)


EVENTS = [
    event("1"), relates("2", "1", "m.replace", **{"m.new_content": {"body": "n"}}), relates("3", "1", "m.thread"),
    event("4", "m.reaction", content={"m.relates_to": {"rel_type": "m.annotation", "event_id": "$1", "key": "x"}}),
    event("5", "m.room.member", state_key=ANN, content={"membership": "join"}), event("6", "m.room.redaction", redacts="$1"),
]  # fmt: skip
test_spoiled_lines = fuzz(matrix, "\n".join(map(json.dumps, EVENTS)).encode(), "room.jsonl")
test_spoiled_documents = fuzz(matrix, json.dumps({"messages": EVENTS}, indent=1).encode(), "room.json")


def test_what_was_encrypted_beside_what_it_says(tmp_path: Path) -> None:
    sealed = event("1", "m.room.encrypted", content={"algorithm": "m.megolm.v1.aes-sha2"})
    found = read(
        tmp_path, {"encrypted": sealed, "decrypted": event("1")}, {"encrypted": {**sealed, "event_id": "$2"}}
    )
    assert [message.body for message in messages(found)] == ["1"]
    assert not only(found, Skipped)


def test_an_event_that_does_not_name_its_room_is_of_the_room_of_its_file(tmp_path: Path) -> None:
    lone = {key: value for key, value in event("2").items() if key != "room_id"}
    found = read(tmp_path, event("1"), lone)
    assert [message.channel for message in messages(found)] == [ROOM, ROOM]


def test_what_element_could_not_open_is_counted_with_what_is_encrypted(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        event("1", content={"msgtype": "m.bad.encrypted", "body": "** Unable to decrypt **"}),
        event("2"),
    )
    assert [message.body for message in messages(found)] == ["2"]
    assert only(found, NotCarried) == [NotCarried("encrypted messages without their keys", 1)]


@pytest.mark.parametrize("field", ["json", "event_json", "event"])
def test_rows_of_a_servers_table_hold_events(tmp_path: Path, field: str) -> None:
    inner = {key: value for key, value in event("1").items() if key not in ("event_id", "room_id")}
    value = inner if field == "event" else json.dumps(inner)
    row = json.dumps({"event_id": "$1", "room_id": ROOM, field: value})
    path = pack(tmp_path, {"dump.jsonl": row + "\n"}, "file")
    assert certainty(matrix, path) == 3
    (message,) = messages(records(matrix, path))
    assert (message.channel, message.id, message.body) == (ROOM, "$1", "1")


def test_matrix_archives_own_names_of_fields(tmp_path: Path) -> None:
    item = {"room_id": ROOM, "event_id": "$1", "sender": "ann", "user_id": ANN, "messageType": "m.room.message",
            "timestamp": "2020-09-13T12:26:40.500000", "content": {"msgtype": "m.text", "body": "hi"}}  # fmt: skip
    path = pack(tmp_path, {"archive.json": [item, {**item, "event_id": "$2", "timestamp": "never"}]}, "file")
    assert certainty(matrix, path) == 3
    found = records(matrix, path)
    (message,) = messages(found)
    assert (message.author, message.time_ms, message.channel) == (ANN, 1_600_000_000_500, ROOM)


def test_documents_that_follow_each_other_and_what_their_archiver_adds(tmp_path: Path) -> None:
    one = event("1", _sender_name=f"Ann Lim <{ANN}>")
    picture = event(
        "2",
        content={"msgtype": "m.image", "body": "a.png", "url": "mxc://x/y"},
        _file_path="out/Garden_media/a.png",
    )
    text = json.dumps([one], indent=4) + json.dumps([picture], indent=4) + json.dumps([])
    found = records(matrix, pack(tmp_path, {f"Garden_{ROOM}.json": text}))
    assert only(found, Skipped) == []
    assert only(found, Channel)[0] == Channel(ROOM, "Garden")
    assert only(found, Author) == [Author(ANN, "Ann Lim")]
    first, second = messages(found)
    assert (first.id, second.attachments[0].file) == ("$1", "out/Garden_media/a.png")
