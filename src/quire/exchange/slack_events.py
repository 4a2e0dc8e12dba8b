"""Slack's event streams: what happened, in the order it was heard.

The Events API, Socket Mode and the old RTM send one object an event, which listeners write one a line or
as one list. A message comes as itself; its later fate as `message_changed` and `message_deleted`, whose
`message` and `previous_message` repeat it whole; reactions, pins and names come as events of their own.

A stream begins and ends anywhere and loses parts, so a change may concern a message that never came. It
waits here until its message comes or the stream ends, and then brings the message with it: the older
text that the event repeats, or a mark that it was deleted. An unfurl or a new reply also sends
`message_changed`: only a changed text is an edit.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from quire.exchange.loose_json import mapping
from quire.exchange.model import (
    Channel,
    DeleteEvent,
    Edit,
    EditEvent,
    Message,
    PinEvent,
    Reaction,
    ReactionEvent,
    Record,
    Skipped,
)
from quire.exchange.slack_files import ID, Place
from quire.exchange.slack_message import Converter, timestamp
from quire.exchange.text import string, time_ms

__all__ = ["Stream", "looks_like_event", "unwrap"]

SEEN_MAX = 500_000  # messages remembered; a change to one before those is taken as it stands
CONTENTS = ("text", "blocks", "attachments", "files")  # what a message can say something in
WAITING_MAX = 20_000  # messages that changes wait for

Target = tuple[str, str]  # channel, ts


def unwrap(item: dict[str, Any]) -> dict[str, Any]:
    """The event inside its envelopes (Socket Mode's `payload`, the Events API's `event`)."""
    for _ in range(3):
        if "payload" not in item and "event" not in item:
            break
        inner = item.get("payload") if "payload" in item else item.get("event")
        if not isinstance(inner, dict):
            break
        item = inner
    return item


def looks_like_event(item: dict[str, Any]) -> bool:
    """Something other than a plain message, and no stray object either."""
    kind = item.get("type")
    return isinstance(kind, str) and kind != "message" and ("event_ts" in item or kind in HANDLERS)


class Waiting:
    """Changes to a message that has not come."""

    def __init__(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        self.before = before  # the message as it was before the first change, if the event repeats it
        self.after = after  # as the first change left it
        self.later: list[Record] = []
        self.deleted = False


class Stream:
    """Takes event objects in order; `end` gives what still waits."""

    def __init__(self, converter: Converter) -> None:
        self.converter = converter
        self._seen: dict[Target, tuple[int, str]] = {}  # a hash of the text by now, and when it was edited
        self._forgetful = False
        self._waiting: dict[Target, Waiting] = {}

    def take(
        self, event: dict[str, Any], place: Place, channel: str, position: str, root: str = ""
    ) -> list[Record]:
        """The records of one event, unwrapped; `channel` is for those that name none."""
        kind = event.get("type")
        if "channel" in event or "channel_id" in event or "item" in event:
            channel = self._channel(event) or channel
        if isinstance(kind, str) and kind != "message":
            if (handler := HANDLERS.get(kind)) is not None:
                return handler(self, event, channel, Skipped(place.file, position, f"a broken {kind}"[:80]))
            if kind in ("file", "hello") or "ts" not in event or "text" not in event:
                self.converter.not_carried["events that are no messages (typing, presence, files)"] += 1
                return []
        broken = Skipped(place.file, position, "a change to no message")
        match event.get("subtype"):
            case "message_changed":
                return self._changed(event, channel, place, broken)
            case "message_deleted":
                return self._deleted(event, channel, broken)
            case "message_replied":
                return self._replied(event, channel)
        out = self.converter.message(event, channel, place, position, root)
        if place.kind != "other" or not isinstance(out[-1], Message):
            return out  # the files of an export hold no separate changes to remember messages for
        state = (hash(out[-1].body), timestamp(mapping(event.get("edited")).get("ts")))
        return out + self._arrived((channel, out[-1].id), state)

    def end(self) -> list[Record]:
        """Messages that were only ever heard of through their changes."""
        out: list[Record] = []
        for target in list(self._waiting):
            out += self._give_up(target)
        return out

    def _channel(self, event: dict[str, Any]) -> str:
        found = event.get("channel") or event.get("channel_id") or mapping(event.get("item")).get("channel")
        key = string(found.get("id")) if isinstance(found, dict) else string(found)
        return key if ID.fullmatch(key) else ""

    def _arrived(self, target: Target, state: tuple[int, str]) -> list[Record]:
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
            self._forgetful = True
        self._seen[target] = state
        waiting = self._waiting.pop(target, None)
        return waiting.later if waiting is not None else []

    def _wait(
        self, target: Target, before: dict[str, Any] | None, after: dict[str, Any] | None, later: list[Record]
    ) -> list[Record]:
        """Give `later` now if its message has come, else keep it."""
        if target in self._seen or self._forgetful:
            return later
        out: list[Record] = []
        if target not in self._waiting:
            if len(self._waiting) >= WAITING_MAX:
                out = self._give_up(next(iter(self._waiting)))
            self._waiting[target] = Waiting(before, after)
        waiting = self._waiting[target]
        waiting.later += later
        waiting.deleted |= any(isinstance(record, DeleteEvent) for record in later)
        return out

    def _give_up(self, target: Target) -> list[Record]:
        waiting = self._waiting.pop(target)
        base = waiting.before or waiting.after
        if base is None:
            return [*self.converter.channel(target[0]), *waiting.later]
        if waiting.deleted:  # what its author took back is not brought back
            base = {
                k: v
                for k, v in base.items()
                if k in ("user", "bot_id", "username", "thread_ts", "user_profile")
            }
            base["subtype"] = "tombstone"
        out = self.converter.message({**base, "ts": target[1]}, target[0], Place("", "event"), "")
        if not waiting.deleted and waiting.before is None:
            waiting.later = waiting.later[1:]  # the first change is all that is known: it is the message
        return out + [
            record for record in waiting.later if not (waiting.deleted and isinstance(record, EditEvent))
        ]

    def _changed(self, event: dict[str, Any], channel: str, place: Place, broken: Skipped) -> list[Record]:
        after = mapping(event.get("message"))
        before = mapping(event.get("previous_message")) or mapping(event.get("original")) or None
        ts = timestamp(after.get("ts")) or timestamp(mapping(before).get("ts"))
        when = time_ms(timestamp(event.get("ts"))) or time_ms(timestamp(event.get("event_ts")))
        if not after or time_ms(ts) is None:
            return [broken]
        out = self.converter.channel(channel)
        target = (channel, ts)
        edited = mapping(after.get("edited"))
        edited_ms = time_ms(timestamp(edited.get("ts"))) or when or time_ms(ts)
        assert edited_ms is not None  # `ts` is a time
        if after.get("subtype") == "tombstone":
            return out + self._wait(target, before, after, [DeleteEvent(channel, ts, when or edited_ms)])
        if not any(after.get(part) is not None for part in CONTENTS):
            return [replace(broken, reason="a change that does not say what the message says now")]
        body = self.converter.body(after)
        state = (hash(body), timestamp(edited.get("ts")))
        if self._is_known(target, before, state):
            self.converter.not_carried[
                "updates of messages that leave the text alone (unfurls, reply counts)"
            ] += 1
            if target not in self._seen and target not in self._waiting:
                out += self._wait(target, after, None, [])
            return out
        if target in self._seen:
            self._seen[target] = state
        author = string(edited.get("user"))
        if author:
            self.converter.person(out, author)
        name = timestamp(event.get("event_ts")) or timestamp(event.get("ts"))
        edit = EditEvent(channel, ts, Edit(edited_ms, body, author, name), time_ms(ts))
        return out + self._wait(target, before, after, [edit])

    def _is_known(self, target: Target, before: dict[str, Any] | None, state: tuple[int, str]) -> bool:
        """Is this how the message was anyway? Streams that hide what was taken back hide it in
        `previous_message` too, so what came as the message itself is the better witness."""
        text, edited = state
        if target in self._seen:
            known, when = self._seen[target]
        elif before is None:
            return not edited
        else:
            known, when = (
                hash(self.converter.body(before)),
                timestamp(mapping(before.get("edited")).get("ts")),
            )
        return known == text and edited in ("", when)

    def _deleted(self, event: dict[str, Any], channel: str, broken: Skipped) -> list[Record]:
        before = mapping(event.get("previous_message")) or mapping(event.get("original"))
        ts = timestamp(event.get("deleted_ts")) or timestamp(before.get("ts"))
        when = time_ms(timestamp(event.get("ts"))) or time_ms(timestamp(event.get("event_ts"))) or time_ms(ts)
        if time_ms(ts) is None or when is None:
            return [broken]
        delete = DeleteEvent(channel, ts, when, target_time_ms=time_ms(ts))
        return self.converter.channel(channel) + self._wait((channel, ts), before, None, [delete])

    def _replied(self, event: dict[str, Any], channel: str) -> list[Record]:
        """Tells the root's new reply count; the reply comes by itself. But the root may be news."""
        root = mapping(event.get("message"))
        ts = timestamp(root.get("ts"))
        if time_ms(ts) is None or (channel, ts) in self._seen or self._forgetful:
            return []
        return self._wait((channel, ts), root, None, [])

    def _reaction(self, event: dict[str, Any], channel: str, broken: Skipped) -> list[Record]:
        item = mapping(event.get("item"))
        ts = timestamp(item.get("ts"))
        name, user = string(event.get("reaction")), string(event.get("user"))
        if item.get("type") in ("file", "file_comment"):
            self.converter.not_carried["reactions on files"] += 1
            return []
        target_ms = time_ms(ts)
        when = time_ms(timestamp(event.get("event_ts"))) or time_ms(timestamp(event.get("ts"))) or target_ms
        if target_ms is None or when is None or not name or not user:
            return [broken]
        out = self.converter.channel(channel)
        self.converter.person(out, user)
        reaction = Reaction(self.converter.emoji(name), (user,))
        removed = event.get("type") == "reaction_removed"
        out.append(ReactionEvent(channel, ts, reaction, when, removed, target_ms))
        return out

    def _pin(self, event: dict[str, Any], channel: str, broken: Skipped) -> list[Record]:
        item = mapping(event.get("item"))
        message = mapping(item.get("message"))
        ts = timestamp(message.get("ts")) or timestamp(item.get("ts"))
        target_ms = time_ms(ts)
        when = time_ms(timestamp(event.get("event_ts"))) or time_ms(item.get("created")) or target_ms
        if item.get("type") in ("file", "file_comment"):
            self.converter.not_carried["pinned files"] += 1
            return []
        if target_ms is None or when is None:
            return [broken]
        out = self.converter.channel(channel)
        if user := string(event.get("user")):
            self.converter.person(out, user)
        removed = event.get("type") == "pin_removed"
        pin = PinEvent(channel, ts, when, user, removed, target_ms)
        return out + self._wait((channel, ts), message or None, None, [pin])

    def _named(self, event: dict[str, Any], channel: str, broken: Skipped) -> list[Record]:
        found = mapping(event.get("channel"))
        info = self.converter.directory.add_channel(
            found, "private" if "group" in str(event["type"]) else "channel"
        )
        if info is None:
            return [broken]
        self.converter.opened.add(info.key)
        return [Channel(info.key, info.name or info.key, info.topic, info.purpose, info.kind)]

    def _person(self, event: dict[str, Any], channel: str, broken: Skipped) -> list[Record]:
        key = self.converter.directory.add_user(mapping(event.get("user")))
        if not key:
            return [broken]
        out: list[Record] = []
        if key in self.converter.introduced:  # else when they first speak
            del self.converter.introduced[key]
            self.converter.person(out, key)
        return out


HANDLERS = {
    "reaction_added": Stream._reaction,
    "reaction_removed": Stream._reaction,
    "pin_added": Stream._pin,
    "pin_removed": Stream._pin,
    "channel_rename": Stream._named,
    "group_rename": Stream._named,
    "channel_created": Stream._named,
    "user_change": Stream._person,
    "user_profile_changed": Stream._person,
    "team_join": Stream._person,
}
