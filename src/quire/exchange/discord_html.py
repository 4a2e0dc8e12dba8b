"""DiscordChatExporter's HTML pages, old and new: one file a channel (or a part of one).

What the page shows is all there is: names instead of a user table, counts of reactions instead of
people, times in the exporter's zone and language. But every message has its id, and a Discord id holds
its time to the millisecond; the printed time of the same message then tells how printed times are to
be read, which dates the edits. Pages of the first years have no ids: theirs are made from what is there.

The templates changed names over the years (`chatlog__reference` became `chatlog__reply`), and a
minifier took the quotes off attributes; the classes that matter are in one table.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from quire.errors import FormatError
from quire.exchange.datetext import date_ms
from quire.exchange.discord_json import snowflake_ms
from quire.exchange.discord_text import notice_of
from quire.exchange.lines import LineIds
from quire.exchange.markup import quote, to_markdown
from quire.exchange.model import (
    GONE,
    NOBODY,
    Attachment,
    Author,
    Channel,
    Message,
    NotCarried,
    Options,
    Reaction,
    Record,
    Skipped,
    Warn,
)
from quire.exchange.pages import Element, classes, inner_html, parse, pieces, text_of
from quire.exchange.sources import Source, heads, until_broken
from quire.exchange.text import clean, valid_time_ms

NAME = "discord-html"
TITLE = "DiscordChatExporter HTML (files, folder or zip)"
NOTICES_ARE_MESSAGES = True
EDITS_ARE_MARKED = True

WARNINGS_MAX = 20
QUARTER_MS = 900_000  # zones differ by quarters of an hour
ZONES_MS = 15 * 3_600_000  # and by less than this from UTC
EDITED = "(edited)"

NAMES = {  # a class of any template -> what it is here
    "chatlog__author": "author", "chatlog__author-name": "author", "chatlog__system-notification-author": "author",
    "chatlog__author-tag": "tag", "chatlog__bot-tag": "tag", "chatlog__bot-label": "tag",
    "chatlog__timestamp": "time", "chatlog__short-timestamp": "time", "chatlog__system-notification-timestamp": "time",
    "chatlog__content": "content",
    "chatlog__markdown-preserve": "text", "preserve-whitespace": "text",
    "chatlog__edited-timestamp": "edited",
    "chatlog__reply": "reply", "chatlog__reference": "reply",
    "chatlog__reply-link": "link", "chatlog__reference-link": "link",
    "chatlog__attachment": "file", "chatlog__forwarded-attachment": "file",
    "chatlog__attachment-generic": "generic",
    "chatlog__forwarded-content": "forwarded",
    "chatlog__reaction": "reaction",
    "chatlog__sticker": "sticker",
    "chatlog__embed": "embed",
    "chatlog__embed-title": "embed_text", "chatlog__embed-description": "embed_text",
    "chatlog__markdown-mention": "mention", "mention": "mention",
    "chatlog__system-notification-content": "notice",
    "chatlog__system-notification-icon": "icon",
}  # fmt: skip
ICONS = {"join-icon": "join", "leave-icon": "leave", "pin-icon": "pin"}
DIRECT = frozenset(["Direct Messages", "Direct Message", "Private Messages"])

_GROUP = re.compile(r"<div\s[^<>]{0,200}?\bclass\s*=\s*[\"']?chatlog__message-group\b")
_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\._)|_[Ff]iles/")
_FILE_ID = re.compile(r"[\[_](\d{15,21})\]?[^/]*$")
_TARGET = re.compile(r"\d{15,21}")
_NUMBER = re.compile(r"\d{1,9}")
_EXPORTED = re.compile(r"Exported ([\d.,\s]{1,20}) message")
_FILE_TITLE = re.compile(r"(?:Image|Video|Audio|File): (.+?)(?: \([^()]*\))?$", re.DOTALL)
_RANGE = re.compile(r"(?:Between|After|Before|From|Until) ")


def recognise(source: Source) -> int:
    """Certain for the exporter's own pages; likely for those of bots that took over its style."""
    best = 0
    for head in heads(source, _wanted):
        if b"chatlog__message" in head:
            own = b"preamble" in head or b"info__guild" in head
            best = max(best, 3 if own else 2)
    return best


def read(source: Source, options: Options) -> Iterator[Record]:
    """All pages, each its own channel unless their ids or names say that they are parts of one."""
    export = _Export(options)
    records = (export.page(name, stream) for name, stream in source.walk(_wanted))
    yield from until_broken(source, itertools.chain.from_iterable(records))
    for what, count in export.not_carried.items():
        yield NotCarried(what, count)
    if not export.pages:
        raise FormatError(f"{source.path.name} holds no exported channel", rule="no_messages")


class _Page:
    """What is known of the page in hand."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.channel = Channel("", "")
        self.author = ""
        self.order = "dmy"  # of printed dates
        self.ids = LineIds()
        self.says_what_happened = False  # older templates show Discord's own lines as messages


class _Export:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.pages = 0
        self.channels: set[str] = set()
        self.authors: dict[str, tuple[str, bool]] = {}
        self.people: dict[str, str] = {}  # full name, as mentions have it -> key
        self.not_carried: Counter[str] = Counter()
        self.warnings = 0

    def page(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        page, count, number = _Page(name), 0, 0
        page.order = self.options.date_order or "dmy"
        piece: str | None = ""
        try:
            for number, piece in enumerate(pieces(stream, _GROUP)):
                if not number:
                    if not piece or not _looks_right(piece):
                        return
                    self.pages += 1
                    page.channel = _channel(name, piece)
                    if page.channel.key not in self.channels:
                        self.channels.add(page.channel.key)
                        yield page.channel
                    continue
                tree = parse(piece) if piece else None
                if tree is None:
                    yield Skipped(name, f"group {number}", "too long" if piece is None else "not HTML")
                    continue
                for record in self.group(tree, page, number):
                    count += isinstance(record, Message | Skipped)
                    yield record
        except (FormatError, OSError) as error:
            yield Skipped(name, f"group {number + 1}", str(error))
        said = _EXPORTED.search((piece or "")[-4096:])
        if said and self.warnings < WARNINGS_MAX:
            total = int("".join(filter(str.isdecimal, said[1])) or count)
            if total != count:
                self.warnings += 1
                yield Warn(f"{name} says it has {total} messages and has {count}")

    def group(self, tree: Element, page: _Page, number: int) -> Iterator[Record]:
        """The messages of one group: only the first says who wrote them."""
        boxes = [e for e in tree.iter("div") if "chatlog__message-container" in classes(e)]
        page.says_what_happened = bool(boxes)
        boxes = boxes or [e for e in tree.iter("div") if "chatlog__message" in classes(e)]
        boxes = boxes or [e for e in tree.iter("div", "span") if "chatlog__content" in classes(e)]
        page.author = shared = ""
        for place, box in enumerate(boxes, 1):
            parts = _parts(box)
            if place == 1 and "author" not in parts:  # older templates: above all the messages
                above = _parts(tree)
                yield from self.author(above, page)
                shared = _time_text(above)
            yield from self.author(parts, page)
            message = self.message(box, parts, page, shared)
            if message is None:
                yield Skipped(page.name, f"group {number}, message {place}", "no id and no time")
            else:
                yield message

    def author(self, parts: dict[str, list[Element]], page: _Page) -> Iterator[Author]:
        if "author" not in parts:
            if not page.author:
                page.author = NOBODY
            return
        element = parts["author"][0]
        title = clean(element.get("title") or "")
        name = clean(text_of(element)) or title or NOBODY
        key = clean(element.get("data-user-id") or "") or title or name
        bot = any(text_of(tag).upper() in ("BOT", "APP") for tag in parts.get("tag", ()))
        page.author = key
        if title:
            self.people[title] = key
        known = self.authors.get(key)
        if known is None or known[0] != name or (bot and not known[1]):
            self.authors[key] = (name, bot or bool(known and known[1]))
            yield Author(key, *self.authors[key])

    def message(
        self, box: Element, parts: dict[str, list[Element]], page: _Page, shared: str
    ) -> Message | None:
        """None if nothing tells its time."""
        name = clean(box.get("data-message-id") or "") or _digits(box.get("id") or "")
        printed = _time_text(parts) or shared
        when = snowflake_ms(name)
        shift = 0
        if when is None:
            when = valid_time_ms(date_ms(printed, page.order))
            if when is None:
                return None
        elif "edited" in parts:
            shift = self.shift(printed, when, page)
        body = self.body(parts)
        link = (
            _digits(parts["link"][0].get("onclick") or parts["link"][0].get("href") or "")
            if "link" in parts
            else ""
        )
        asked = "reply" in parts and "used /" in text_of(parts["reply"][0])
        if "reply" in parts and not link:
            self.not_carried["slash commands before answers" if asked else "replies to deleted messages"] += 1
        mentions = (self.people.get(clean(e.get("title") or "")) for e in _inside(parts, "mention"))
        reactions = tuple(filter(None, map(_reaction, parts.get("reaction", ()))))
        name = name or page.ids.name(printed, page.author, body)
        files = tuple(map(_attachment, _boxes(parts)))
        own = "" if page.says_what_happened or files else notice_of(body)
        answered = link if link != name else ""
        if "reply" in parts and not link and not asked:
            answered = GONE
        return Message(
            channel=page.channel.key,
            id=name,
            time_ms=when,
            author=page.author,
            body=body,
            notice=_notice(parts) if "notice" in parts else own,
            reply_to=answered,
            reply_to_time_ms=snowflake_ms(link) if answered else None,
            attachments=files,
            mentions=tuple(dict.fromkeys(filter(None, mentions))),
            reactions=reactions,
            edited_ms=_edited(parts["edited"][0], when, shift, page) if "edited" in parts else None,
            pinned=any(token.endswith("--pinned") for token in classes(box)),
        )

    def body(self, parts: dict[str, list[Element]]) -> str:
        """The text, or what stands in for it."""
        if "notice" in parts:
            return clean(text_of(parts["notice"][0]))
        body = _text(parts)
        for element in parts.get("forwarded", ()):
            text = clean(to_markdown(inner_html(element), preserve=True))
            body = "\n".join(filter(None, (body, "Forwarded:", quote(text) if text else "")))
        if "sticker" in parts:
            self.not_carried["stickers"] += len(parts["sticker"])
            titles = [clean(element.get("title") or "sticker") for element in parts["sticker"]]
            body = body or " ".join(f":{title}:" for title in titles)
        if "embed" in parts:
            self.not_carried["embeds"] += len(parts["embed"])
            if not body and "file" not in parts:
                texts = (to_markdown(inner_html(e), preserve=True) for e in parts.get("embed_text", ()))
                body = clean("\n".join(filter(None, texts)))
        return body

    def shift(self, printed: str, when: int, page: _Page) -> int:
        """How far the exporter's clock is ahead of UTC, told by a message whose time is known."""
        for order in dict.fromkeys((page.order, "dmy", "mdy")):
            shown = date_ms(printed, order)
            if shown is not None and abs(shown - when) < ZONES_MS:
                page.order = order
                return round((shown - when) / QUARTER_MS) * QUARTER_MS
        return 0


def _wanted(name: str) -> bool:
    return name.lower().endswith((".html", ".htm")) and not _LITTER.search(name)


def _looks_right(preamble: str) -> bool:
    return "chatlog" in preamble or "preamble" in preamble


def _channel(name: str, preamble: str) -> Channel:
    """What the page says above its messages; the file's name knows the id."""
    tree = parse(preamble)
    entries: list[str] = []
    topic = title = ""
    for element in () if tree is None else tree.iter():
        found = classes(element)
        if "preamble__entry" in found or "info__guild-name" in found or "info__channel-name" in found:
            entries.append(clean(text_of(element)))
        elif "info__channel-topic" in found:
            topic = clean(text_of(element))
        elif element.tag == "title":
            title = clean(text_of(element))
    base = name.rpartition("/")[2].rpartition(".")[0]
    path = entries[1] if len(entries) > 1 else title or base
    if len(entries) > 2 and not _RANGE.match(entries[2]):
        topic = entries[2]
    number = _FILE_ID.search(name)
    return Channel(
        key=number[1] if number else path,
        name=path.partition(" / ")[2] or path,
        topic=topic,
        kind="direct" if entries and entries[0] in DIRECT else "channel",
    )


def _parts(element: Element) -> dict[str, list[Element]]:
    """The elements inside that mean something, by what they are."""
    found: dict[str, list[Element]] = {}
    for inner in element.iter():
        for token in classes(inner):
            what = NAMES.get(token)
            if what:
                found.setdefault(what, []).append(inner)
    return found


def _digits(text: str) -> str:
    found = _TARGET.search(text)
    return found[0] if found else ""


def _time_text(parts: dict[str, list[Element]]) -> str:
    if "time" not in parts:
        return ""
    element = parts["time"][0]
    return element.get("title") or text_of(element)


def _edited(element: Element, when: int, shift: int, page: _Page) -> int:
    """When it was edited, as far as the page tells; the message's own time if it does not."""
    shown = date_ms(element.get("title") or "", page.order)
    edited = valid_time_ms(shown - shift) if shown is not None else None
    return when if edited is None else max(when, edited)


def _text(parts: dict[str, list[Element]]) -> str:
    if "content" not in parts:
        return ""
    inside = _inside(parts, "text")
    html = inner_html(inside[0] if inside else parts["content"][0])
    return clean(to_markdown(html, preserve="<br" not in html).removesuffix(EDITED).rstrip())


def _inside(parts: dict[str, list[Element]], what: str) -> list[Element]:
    """Those in the message's own content, not in what it quotes or answers."""
    content = parts.get("content", ())[:1]
    return [element for element in parts.get(what, ()) if any(e in content for e in element.iterancestors())]


def _boxes(parts: dict[str, list[Element]]) -> list[Element]:
    """The files' boxes; a forwarded file of no kind that is shown has none but its own."""
    files = parts.get("file", [])
    alone = [e for e in parts.get("generic", ()) if not any(above in files for above in e.iterancestors())]
    return files + alone


def _notice(parts: dict[str, list[Element]]) -> str:
    for icon in parts.get("icon", ()):
        for use in icon.iter("use"):
            known = ICONS.get(
                (use.get("href") or use.get("{http://www.w3.org/1999/xlink}href") or "").lstrip("#")
            )
            if known:
                return known
    return "name" if "channel name" in text_of(parts["notice"][0]) else "other"


def _reaction(element: Element) -> Reaction | None:
    count, sign = 0, ""
    for inner in element.iter():
        if "chatlog__reaction-count" in classes(inner):
            number = _NUMBER.search(text_of(inner))
            count = int(number[0]) if number else 0
        elif inner.tag == "img":
            sign = clean(inner.get("alt") or "")
    sign = sign or clean(element.get("title") or "")
    if not sign or not count:
        return None
    custom = sign.isascii() and not sign.startswith(":") and not sign.isdecimal()
    return Reaction(f":{sign}:" if custom else sign, unknown=count)


def _attachment(element: Element) -> Attachment:
    url = name = ""
    for inner in element.iter():
        if not isinstance(inner.tag, str):
            continue
        url = url or inner.get("href") or inner.get("src") or ""
        title = _FILE_TITLE.match(inner.get("title") or "")
        if title:
            name = title[1]
        elif "chatlog__attachment-generic-name" in classes(inner) or (inner.tag == "a" and not name):
            name = text_of(inner)
    url = url if "://" in url else url.replace("\\", "/")
    return Attachment(clean(name or url.partition("?")[0].rpartition("/")[2] or "file"), clean(url))
