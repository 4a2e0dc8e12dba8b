"""What one Matrix event means: a message, an edit, a reaction, a deletion, a notice, or nothing to keep.

Events carry relations in `m.relates_to`: `m.replace` (an edit; the message keeps its own old text),
`m.annotation` (a reaction), `m.thread`, and `m.in_reply_to` beside any of them. A redaction is an event
of its own, and the server also empties what it names; both are read, since an export may hold either.
Every field is a stranger's: absent, null or of another type is normal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, Protocol

from msgspec.structs import replace

from quire.exchange.emoji import replace_shortcodes
from quire.exchange.loose_json import mapping, sequence, strings
from quire.exchange.markup import to_markdown
from quire.exchange.model import (
    Attachment,
    Author,
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
from quire.exchange.moments import Moments
from quire.exchange.text import string

RECENT_MAX = 50_000  # reactions, and edits, remembered so that their redaction is understood

FALLBACK = re.compile(r"\A(?:(?:> .*\n|>\n)+(?:\n|\Z)|(?:> .*(?:\n|\Z))+\Z)")
PILL = re.compile(
    r"<a href=[\"']https://matrix\.to/#/(?P<user>(?:@|%40)[^\"'/?]+)[\"'][^>]*>(?P<name>[^<]*)</a>"
)
REPLACED_MARK = "* "  # before the text of an edit, for clients that know no edits
FILES = frozenset(["m.image", "m.file", "m.video", "m.audio", "m.sticker"])
SETTINGS = re.compile(r"m\.room\.(?!message$|encrypted$|redaction$)|m\.space\.|im\.vector\.|m\.policy\.")


class Names(Protocol):
    moments: Moments

    def learn(self, user: str, name: str, time_ms: int) -> None: ...
    def name(self, user: str) -> str: ...
    def told(self, user: str) -> Author | None: ...


class Room:
    """What is remembered of a room while its events go by: bounded, whatever the history."""

    def __init__(self, channel: Channel, people: Names) -> None:
        self.channel = channel
        self.people = people
        self.name_ms = self.topic_ms = -1
        self.reactions: dict[str, tuple[str, Reaction]] = {}
        self.edits: dict[str, str] = {}  # an edit -> the message it changed
        self.lost: Counter[str] = Counter()


def records(room: Room, event: dict[str, Any], file: str, where: str) -> Iterator[Record]:
    """The records of one event."""
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        return
    sender = string(event.get("sender")) or string(event.get("user_id"))
    time = room.people.moments.ms(event.get("origin_server_ts"))
    if time is None or not sender:
        if kind in KINDS:
            yield Skipped(file, where, "no time" if time is None else "no sender")
        return
    if (shown := event.get("_sender_name")) and isinstance(shown, str):  # another archiver's: `Ann <@ann:x>`
        room.people.learn(sender, string(shown).removesuffix(f"<{sender}>").strip(), time)
    read = KINDS.get(kind)
    if read is not None:
        yield from read(room, event, sender, time)
    elif kind.startswith("m.call."):
        room.lost["calls"] += 1
    elif SETTINGS.match(kind):
        room.lost["room settings"] += 1
    elif "poll" in kind:
        room.lost["poll votes"] += 1
    else:
        room.lost["events of other kinds"] += 1


def _message(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    content = mapping(event.get("content"))
    relation = mapping(content.get("m.relates_to"))
    key = _id(event)
    if author := room.people.told(sender):
        yield author
    if not content or (_redacted(event) and "body" not in content):
        yield Message(room.channel.key, key, time, sender, "", deleted=True)
        return
    if content.get("msgtype") == "m.bad.encrypted":  # how Element keeps what it could not open
        room.lost["encrypted messages without their keys"] += 1
        return
    target = string(relation.get("event_id"))
    kind = relation.get("rel_type")
    if kind == "m.replace" and target and target != key:
        text = mapping(content.get("m.new_content")) or content
        if not any(isinstance(text.get(part), str) for part in ("body", "formatted_body", "url")):
            room.lost["edits without their text"] += 1
            return
        target = room.edits.get(target, target)  # an edit of an edit changes the message
        _remember(room.edits, key, target)
        yield EditEvent(
            room.channel.key, target, Edit(time, _edited_body(content), sender, key), own=True, stands=True
        )
        return
    in_thread = kind in ("m.thread", "io.element.thread") and target != key
    answered = string(mapping(relation.get("m.in_reply_to")).get("event_id"))
    body, files = _body(content, bool(answered))
    if files and (path := string(event.get("_file_path"))):
        files = (replace(files[0], file=path),)
    edits, edited = _bundled(room, event)
    yield Message(
        room.channel.key,
        key,
        time,
        sender,
        body,
        thread=target if in_thread else "",
        reply_to=answered if answered != key and not in_thread else "",
        attachments=files,
        mentions=_mentions(content),
        edits=edits,
        edited_ms=edited,
        action=content.get("msgtype") == "m.emote",
    )


def _body(content: dict[str, Any], answer: bool) -> tuple[str, tuple[Attachment, ...]]:
    """The text as Markdown, and the file if it is one."""
    kind = content.get("msgtype")
    plain = string(content.get("body"))
    if kind in FILES or (kind is None and ("url" in content or "file" in content)):
        url = string(content.get("url")) or string(mapping(content.get("file")).get("url"))
        info = mapping(content.get("info"))
        name = string(content.get("filename"))
        size = info.get("size")
        file = Attachment(
            name or plain or "file",
            url,
            string(info.get("mimetype")),
            size if type(size) is int and 0 <= size < 1 << 53 else None,
        )
        caption = _text(content, plain, answer) if name and plain and plain != name else ""
        return caption, (file,)
    text = _text(content, plain, answer)
    if kind == "m.location" and (place := string(content.get("geo_uri"))):
        text = f"{text}\n{place}".strip()
    return text, ()


def _text(content: dict[str, Any], plain: str, answer: bool) -> str:
    html = content.get("formatted_body")
    if (
        isinstance(html, str)
        and html
        and content.get("format", "org.matrix.custom.html") == "org.matrix.custom.html"
    ):
        html = string(html)
        if "matrix.to" in html:
            html = PILL.sub(lambda pill: "@" + pill["name"].removeprefix("@"), html)
        if text := to_markdown(html):
            return text
    if answer and plain.startswith("> "):
        plain = FALLBACK.sub("", plain, count=1)
    return plain


def _edited_body(content: dict[str, Any]) -> str:
    new = mapping(content.get("m.new_content"))
    if new:
        return _body(new, False)[0]
    return _body(content, False)[0].removeprefix(REPLACED_MARK)


def _bundled(room: Room, event: dict[str, Any]) -> tuple[tuple[Edit, ...], int | None]:
    """The edit a server put into the message itself: its text, or only that there was one."""
    relations = mapping(mapping(event.get("unsigned")).get("m.relations"))
    if not relations:
        return (), None
    if mapping(relations.get("m.annotation")):
        room.lost["reaction counts beside the reactions"] += 1
    edit = mapping(relations.get("m.replace"))
    time = room.people.moments.ms(edit.get("origin_server_ts"))
    if time is None:
        return (), None
    content = mapping(edit.get("content"))
    if not content:
        return (), time
    author = string(edit.get("sender"))
    return (Edit(time, _edited_body(content), author, string(edit.get("event_id"))),), None


def _mentions(content: dict[str, Any]) -> tuple[str, ...]:
    listed = mapping(content.get("m.mentions"))
    if "user_ids" in listed:
        return tuple(dict.fromkeys(strings(listed["user_ids"])))
    html = content.get("formatted_body")
    if not isinstance(html, str) or "matrix.to" not in html:
        return ()
    html = re.sub(r"<mx-reply>.*?</mx-reply>", "", html, flags=re.S)
    users = (string(pill["user"]).replace("%40", "@").replace("%3A", ":") for pill in PILL.finditer(html))
    return tuple(dict.fromkeys(users))


def _reaction(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    content = mapping(event.get("content"))
    relation = mapping(content.get("m.relates_to"))
    target, emoji = string(relation.get("event_id")), string(relation.get("key"))
    if not target or not emoji:
        return  # emptied: it was taken back
    if emoji.startswith("mxc://"):
        name = string(content.get("shortcode")) or string(content.get("com.beeper.reaction.shortcode"))
        emoji = f":{name.strip(':')}:" if name else ":custom:"
    if author := room.people.told(sender):
        yield author
    reaction = Reaction(replace_shortcodes(emoji), (sender,))
    _remember(room.reactions, _id(event), (target, reaction))
    yield ReactionEvent(room.channel.key, target, reaction, time)


def _redaction(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    content = mapping(event.get("content"))
    target = string(event.get("redacts")) or string(content.get("redacts"))
    if not target:
        return
    if target in room.reactions:
        reacted_to, reaction = room.reactions.pop(target)
        yield ReactionEvent(room.channel.key, reacted_to, reaction, time, removed=True)
    elif target in room.edits:
        room.lost["deletions of one edit (its text stays in the versions)"] += 1
    else:
        if author := room.people.told(sender):
            yield author
        yield DeleteEvent(room.channel.key, target, time, sender, string(content.get("reason")))


def _encrypted(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    clear = (
        mapping(event.get("decrypted"))
        or mapping(event.get("clearEvent"))
        or mapping(event.get("clear_event"))
    )
    kind = clear.get("type")
    if (
        isinstance(kind, str)
        and kind in KINDS
        and kind != "m.room.encrypted"
        and mapping(clear.get("content"))
    ):
        yield from KINDS[kind](room, {**event, "type": kind, "content": clear["content"]}, sender, time)
    elif _redacted(event) and not mapping(event.get("content")):
        yield from _message(room, event, sender, time)
    else:
        room.lost["encrypted messages without their keys"] += 1
        return


def _poll(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    content = mapping(event.get("content"))
    poll = (
        mapping(content.get("m.poll.start"))
        or mapping(content.get("m.poll"))
        or mapping(content.get("org.matrix.msc3381.poll.start"))
    )
    lines = [_poll_text(poll.get("question"))] + [
        f"- {_poll_text(answer)}" for answer in sequence(poll.get("answers"))
    ]
    text = "\n".join(lines) if poll else string(content.get("body"))
    yield from _message(
        room, {**event, "content": {**content, "body": text} if content else {}}, sender, time
    )


def _poll_text(value: object) -> str:
    part = mapping(value)
    text = part.get("m.text") or part.get("org.matrix.msc1767.text") or part.get("body")
    if isinstance(text, list):
        text = mapping(text[0]).get("body") if text else ""
    return string(text)


def _sticker(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    content = mapping(event.get("content"))
    yield from _message(
        room, {**event, "content": {**content, "msgtype": "m.sticker"} if content else {}}, sender, time
    )


def _member(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    content = mapping(event.get("content"))
    user = string(event.get("state_key")) or sender
    shown = string(content.get("displayname"))
    old = _before(event)
    if content.get("membership") == "join":
        room.people.learn(user, shown, time)
    name = shown or room.people.name(user)
    if author := room.people.told(user):
        yield author
    if user != sender and (author := room.people.told(sender)):
        yield author
    notice, text = _membership(content, old, name, user != sender, room.people.name(sender))
    if reason := string(content.get("reason")):
        text = f"{text}: {reason}"
    yield Message(room.channel.key, _id(event), time, sender, text, notice=notice)


def _membership(
    content: dict[str, Any], old: dict[str, Any], name: str, by_other: bool, actor: str
) -> tuple[str, str]:
    """(kind of notice, its words)"""
    match content.get("membership"), old.get("membership"):
        case "join", "join":
            before = string(old.get("displayname"))
            if before and before != name:
                return "other", f"{before} is now called {name}"
            return "other", f"{name} changed their profile"
        case "join", _:
            return "join", f"{name} joined"
        case "invite", _:
            return "other", f"{actor} invited {name}"
        case "knock", _:
            return "other", f"{name} asked to join"
        case "ban", _:
            return "leave", f"{actor} banned {name}"
        case "leave", "ban":
            return "other", f"{actor} unbanned {name}"
        case "leave", "invite":
            return "other", f"{actor} withdrew the invitation of {name}" if by_other else f"{name} declined"
        case "leave", _:
            return "leave", f"{actor} removed {name}" if by_other else f"{name} left"
        case _:
            return "other", f"{name}'s membership changed"


def _name(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    name = string(mapping(event.get("content")).get("name"))
    if name and time > room.name_ms:
        room.name_ms = time
        room.channel = replace(room.channel, name=name)
        yield room.channel
    yield from _notice(
        room, event, sender, time, "name", f"{{}} named the room {name}" if name else "{} removed its name"
    )


def _topic(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    topic = string(mapping(event.get("content")).get("topic"))
    if time > room.topic_ms:
        room.topic_ms = time
        room.channel = replace(room.channel, topic=topic)
        yield room.channel
    yield from _notice(
        room,
        event,
        sender,
        time,
        "topic",
        f"{{}} set the topic: {topic}" if topic else "{} removed the topic",
    )


def _alias(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    alias = string(mapping(event.get("content")).get("alias"))
    room.lost["room settings"] += 1
    if alias and room.name_ms < 0 and room.channel.name == room.channel.key.lstrip("!").partition(":")[0]:
        room.channel = replace(room.channel, name=alias.lstrip("#").partition(":")[0] or room.channel.name)
        yield room.channel


def _pins(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    now = dict.fromkeys(strings(mapping(event.get("content")).get("pinned")))
    before = dict.fromkeys(strings(_before(event).get("pinned")))
    yield from _notice(room, event, sender, time, "pin", "{} changed the pinned messages")
    for key in now.keys() - before.keys():
        yield PinEvent(room.channel.key, key, time, sender)
    for key in before.keys() - now.keys():
        yield PinEvent(room.channel.key, key, time, sender, removed=True)


def _tombstone(room: Room, event: dict[str, Any], sender: str, time: int) -> Iterator[Record]:
    text = string(mapping(event.get("content")).get("body"))
    yield from _notice(
        room, event, sender, time, "other", "{} closed this room: " + text.replace("{", "(").replace("}", ")")
    )


def _notice(
    room: Room, event: dict[str, Any], sender: str, time: int, kind: str, words: str
) -> Iterator[Record]:
    if author := room.people.told(sender):
        yield author
    text = words.replace("{}", room.people.name(sender), 1)
    yield Message(room.channel.key, _id(event), time, sender, text, notice=kind)


def _before(event: dict[str, Any]) -> dict[str, Any]:
    """The state this event replaced, where the server told."""
    return mapping(mapping(event.get("unsigned")).get("prev_content")) or mapping(event.get("prev_content"))


def _redacted(event: dict[str, Any]) -> bool:
    unsigned = mapping(event.get("unsigned"))
    return bool(
        unsigned.get("redacted_because") or unsigned.get("redacted_by") or event.get("redacted_because")
    )


def _id(event: dict[str, Any]) -> str:
    """The event's id, or a stable one for an event kept without it."""
    key = string(event.get("event_id"))
    if key:
        return key
    facts = [event.get(field) for field in ("type", "sender", "origin_server_ts", "content")]
    return "$" + blake2b(repr(facts).encode("utf-8", "replace"), digest_size=16).hexdigest()


def _remember(table: dict[str, Any], key: str, value: Any) -> None:
    if len(table) >= RECENT_MAX:
        del table[next(iter(table))]
    table[key] = value


Reader = Callable[[Room, dict[str, Any], str, int], Iterator[Record]]
KINDS: dict[str, Reader] = {
    "m.room.message": _message,
    "m.room.encrypted": _encrypted,
    "m.sticker": _sticker,
    "m.reaction": _reaction,
    "m.room.redaction": _redaction,
    "m.room.member": _member,
    "m.room.name": _name,
    "m.room.topic": _topic,
    "m.room.canonical_alias": _alias,
    "m.room.pinned_events": _pins,
    "m.room.tombstone": _tombstone,
    "m.poll.start": _poll,
    "org.matrix.msc3381.poll.start": _poll,
}
