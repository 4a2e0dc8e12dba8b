"""Records of an export whose message is in no file of it: found in an earlier import, or kept for what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quire.channels.manager import ChannelManager
from quire.store.local import LocalStore
from tests.exchange.packing import pack

ANN, BOB = "@ann:x.example", "@bob:x.example"


def event(
    key: str, sender: str = ANN, kind: str = "m.room.message", content: dict[str, Any] | None = None
) -> dict[str, Any]:
    at = 1_600_000_000_000 + int(key) * 1000
    body = {"msgtype": "m.text", "body": key} if kind == "m.room.message" else {}
    return {
        "event_id": f"${key}", "type": kind, "sender": sender, "origin_server_ts": at, "room_id": "!r:x.example",
        "content": {**body, **(content or {})},
    }  # fmt: skip


def edit(key: str, of: str, text: str, sender: str = ANN) -> dict[str, Any]:
    new = {"msgtype": "m.text", "body": text}
    return event(
        key,
        sender,
        content={"m.new_content": new, "m.relates_to": {"rel_type": "m.replace", "event_id": f"${of}"}},
    )


def answer(key: str, to: str) -> dict[str, Any]:
    return event(key, BOB, content={"m.relates_to": {"m.in_reply_to": {"event_id": f"${to}"}}})


def reaction(key: str, to: str) -> dict[str, Any]:
    relation = {"rel_type": "m.annotation", "event_id": f"${to}", "key": "👍"}
    return event(key, BOB, "m.reaction", {"m.relates_to": relation})


def exported(folder: Path, name: str, *events: dict[str, Any]) -> Path:
    return pack(folder, {"room.json": {"messages": events}}, name=name)


def shown(manager: ChannelManager) -> list[tuple[str, bool]]:
    (channel,) = manager.list_channels()
    page = manager.get_stored_messages_paginated(channel.id).messages
    return [(message.body, message.edited_ms is not None) for message in reversed(page)]


def test_an_edit_of_a_message_that_is_nowhere_is_kept_as_the_message(
    tmp_path: Path, store: LocalStore, manager: ChannelManager
) -> None:
    events = (
        edit("5", "1", "newer"),
        edit("3", "1", "new"),
        answer("6", "1"),
        reaction("7", "1"),
        event("2"),
    )
    path = exported(tmp_path, "partial", *events)
    dry = manager.import_(path, dry_run=True)
    summary = manager.import_(path)
    assert shown(manager) == [("2", False), ("newer", True), ("6", False)]
    counts = (summary.messages, summary.edited, summary.replies, summary.reactions, summary.unresolved)
    assert counts == (3, 1, 1, 1, 0)
    assert (dry.messages, dry.edited, dry.edit_events) == (3, 1, summary.edit_events)
    again = manager.import_(path)
    assert (again.messages, again.edit_events, again.reactions, again.duplicates) == (0, 0, 0, 3)
    assert store.verify().problems == ()


def test_what_an_earlier_import_brought_is_found_by_its_name_alone(
    tmp_path: Path, store: LocalStore, manager: ChannelManager
) -> None:
    manager.import_(exported(tmp_path, "monday", event("1"), event("2")))
    summary = manager.import_(
        exported(tmp_path, "tuesday", edit("11", "1", "changed"), reaction("12", "2"), answer("13", "2"))
    )
    assert (summary.messages, summary.edited, summary.reactions, summary.unresolved) == (1, 1, 1, 0)
    assert shown(manager) == [("changed", True), ("2", False), ("13", False)]
    assert store.verify().problems == ()


def test_an_edit_by_somebody_else_changes_nothing(
    tmp_path: Path, store: LocalStore, manager: ChannelManager
) -> None:
    summary = manager.import_(exported(tmp_path, "room", event("1"), edit("2", "1", "forged", BOB)))
    assert shown(manager) == [("1", False)]
    assert (summary.edited, summary.not_carried) == (0, {"edits of what somebody else wrote": 1})
    assert store.verify().problems == ()
