"""Texts of Telegram's JSON: parts with entities to Markdown, service actions to sentences.

Telegram exports a text as a string, or as a list of strings and of `{type, text}` parts, nested
formatting already flattened. Service messages (joins, calls, new titles) come as an action and its
facts, not as words: those are made here, in English.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quire.exchange.markup import fence, inline_code, link, mark, quote
from quire.exchange.text import string

MARKS = {"bold": "**", "italic": "*", "strikethrough": "~~", "spoiler": "||"}
NOTICES = {
    "join_group_by_link": "join", "join_group_by_request": "join", "invite_members": "join",
    "remove_members": "leave", "leave_group": "leave",
    "edit_group_title": "name", "topic_created": "topic", "topic_edit": "topic", "pin_message": "pin",
}  # fmt: skip
SENTENCES = {
    "create_group": "created the group", "create_channel": "created the channel",
    "edit_group_title": "changed the name to", "edit_group_photo": "changed the photo",
    "delete_group_photo": "deleted the photo", "pin_message": "pinned a message",
    "invite_members": "added", "remove_members": "removed", "join_group_by_link": "joined by a link",
    "join_group_by_request": "joined on request", "joined_telegram": "joined Telegram",
    "migrate_to_supergroup": "made the group a supergroup", "migrate_from_group": "made from the group",
    "topic_created": "created the topic", "topic_edit": "changed the topic", "clear_history": "cleared the history",
    "phone_call": "phone call", "group_call": "group call", "take_screenshot": "took a screenshot",
}  # fmt: skip


def markdown(text: Any) -> str:
    """The body of a message: `text` or `text_entities` as exported."""
    if type(text) is str:
        return string(text)
    if not isinstance(text, list):
        return ""
    parts: list[str] = []
    for part in text:
        if isinstance(part, str):
            part = {"text": part}
        if isinstance(part, dict) and (words := string(part.get("text"))):
            _add(parts, part, words)
    return "".join(parts).strip("\n")


def _add(parts: list[str], part: dict[str, Any], words: str) -> None:
    kind = part.get("type")
    if kind in ("pre", "blockquote"):
        block = fence(words, string(part.get("language"))) if kind == "pre" else quote(words.strip("\n"))
        if parts and not parts[-1].endswith("\n"):
            parts.append("\n")
        parts += (block, "\n")
        return
    if parts and parts[-1] == "\n" and words.startswith("\n"):
        words = words[1:]  # the block before has ended its line
    sign = MARKS.get(kind) if isinstance(kind, str) else None
    if sign:
        words = "\n".join(mark(line, sign) for line in words.split("\n"))
    elif kind == "code":
        words = inline_code(words)
    elif kind == "text_link":
        words = link(words, string(part.get("href")))
    parts.append(words)


def mentioned(text: Any) -> Iterator[str]:
    """The people named by id. (`@names` are no ids, and the export has no table of them.)"""
    for part in text if isinstance(text, list) else ():
        if isinstance(part, dict) and part.get("type") == "mention_name":
            user = string(part.get("user_id"))
            if user:
                yield user if user.startswith("user") else f"user{user}"


def action_text(item: dict[str, Any], actor: str) -> str:
    """A service message in words."""
    action = string(item.get("action"))
    members = item.get("members")
    names = ", ".join(string(name) or "someone" for name in members) if isinstance(members, list) else ""
    if action == "remove_members" and names and names == string(item.get("actor")):
        return f"{actor} left".strip()
    words = SENTENCES.get(action) or action.replace("_", " ") or string(item.get("information_text"))
    words = words or "service message"
    title = string(item.get("new_title")) or string(item.get("title"))
    facts = [f"“{title}”" if title else "", names]
    seconds = item.get("duration_seconds") or item.get("duration")
    if type(seconds) is int:
        facts.append(f"({seconds} s)")
    said = markdown(item.get("text"))
    return " ".join(filter(None, (actor, words, *facts))) + (f": {said}" if said else "")


def stand_in(item: dict[str, Any]) -> str:
    """Words for contents that are neither text nor file: a place, a contact, a poll, a game, a sticker."""
    lines: list[str] = []
    place, contact, poll = (item.get(key) for key in ("location_information", "contact_information", "poll"))
    if isinstance(place, dict):
        names = " ".join(filter(None, (string(item.get("place_name")), string(item.get("address")))))
        where = f"{string(place.get('latitude'))}, {string(place.get('longitude'))}"
        lines.append(f"Location: {names} ({where})" if names else f"Location: {where}")
    if isinstance(contact, dict):
        facts = (string(contact.get(key)) for key in ("first_name", "last_name", "phone_number"))
        lines.append("Contact: " + " ".join(filter(None, facts)))
    if isinstance(poll, dict):
        lines.append(f"Poll: {markdown(poll.get('question'))}")
        answers = poll.get("answers")
        lines += [
            f"- {markdown(answer.get('text'))} ({string(answer.get('voters')) or '0'})"
            for answer in (answers if isinstance(answers, list) else ())
            if isinstance(answer, dict)
        ]
    if string(item.get("game_title")):
        lines.append(f"Game: {string(item.get('game_title'))}")
    if isinstance(item.get("invoice_information"), dict):
        invoice = item["invoice_information"]
        lines.append(f"Invoice: {string(invoice.get('title'))}".rstrip(": "))
    return "\n".join(lines) or string(item.get("sticker_emoji"))
