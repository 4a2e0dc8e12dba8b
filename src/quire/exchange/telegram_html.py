"""Telegram as web pages: Telegram Desktop's `messages.html` and the sites that tg-archive makes.

Both are lists of messages with Telegram's own numbers as ids, so replies hold across pages. Neither has
user ids: people are known by name (Telegram Desktop) or user name (tg-archive). Telegram Desktop
prints the zone since 2022; elsewhere times are the exporter's clock. Its service lines ("joined", "pinned")
have no time at all and take that of the message before them; the date lines between days are no
messages. tg-archive copies its last page to `index.html`: its messages come twice and count once.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from quire.errors import FormatError
from quire.exchange.datetext import date_ms
from quire.exchange.lines import WallClock
from quire.exchange.markup import quote, to_markdown
from quire.exchange.model import (
    NOBODY,
    Attachment,
    Author,
    Channel,
    Message,
    NotCarried,
    Options,
    PinEvent,
    Reaction,
    Record,
    Skipped,
)
from quire.exchange.pages import Element, classes, inner_html, parse, pieces, text_of
from quire.exchange.sources import Source, heads, until_broken
from quire.exchange.text import clean, valid_time_ms

NAME = "telegram-html"
TITLE = "Telegram Desktop HTML or tg-archive site (folder or zip)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = False


WANTED = frozenset([
    "from_name", "username", "date", "text", "reply_to", "reply", "forwarded", "forwarded_from", "media_wrap",
    "media", "reaction", "details", "media_poll", "poll", "signature",
])  # fmt: skip
NOT_FILES = frozenset([
    "media_call", "media_contact", "media_live_location", "media_location", "media_venue", "media_game",
    "media_invoice",
])  # fmt: skip
KINDS = (  # words of Telegram Desktop's service lines -> kind of notice
    ("joined", "join"), ("invited", "join"), ("added", "join"), ("removed", "leave"), ("left", "leave"),
    ("pinned", "pin"), ("title", "name"), ("topic", "topic"),
)  # fmt: skip

_MESSAGE = re.compile(r"<(?:li|div)\s[^<>]{0,200}?\bclass\s*=\s*[\"']?message[\s\"'>]")
_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\._)")
_NUMBER = re.compile(r"-?\d{1,18}")
_TARGET = re.compile(r"(\d{1,18})\D*$")
_DATED = re.compile(r",?\s*\d{1,2}\.\d{1,2}\.\d{4}.*$", re.DOTALL)
_COUNT = re.compile(r"\d{1,9}")
_FULL_NAME = re.compile(r"(.*\S)\s*\(@[^()]*\)", re.DOTALL)
_ACTOR = re.compile(
    r"(.{1,200}?) (?:joined|invited|added|removed|left|pinned|changed|created|converted|took|scored|set|started)\b"
)


def recognise(source: Source) -> int:
    """Certain by the bones of either kind of page."""
    pages = (head.decode("utf-8", "replace") for head in heads(source, _wanted))
    return 3 if any(map(_looks_right, pages)) else 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """All pages that hold messages."""
    export = _Export(options)
    records = (export.page(name, stream) for name, stream in source.walk(_wanted))
    yield from until_broken(source, itertools.chain.from_iterable(records))
    for what, count in export.not_carried.items():
        yield NotCarried(what, count)
    if not export.pages:
        raise FormatError(f"{source.path.name} holds no exported messages", rule="no_messages")


class _Page:
    """What is known of the page in hand."""

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.channel = channel
        self.author = NOBODY
        self.time_ms: int | None = None  # of the last message, or of the last date line


class _Export:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.zone = WallClock(options.timezone).zone
        self.pages = 0
        self.authors: dict[str, str] = {}
        self.channels: dict[str, str] = {}  # key -> the folder it came from
        self.not_carried: Counter[str] = Counter()

    def page(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        page: _Page | None = None
        number = 0
        try:
            for number, piece in enumerate(pieces(stream, _MESSAGE)):
                if page is None:
                    if not piece or not _looks_right(piece):
                        return
                    page = _Page(name, self.channel(name, piece))
                    self.pages += 1
                    if page.channel.key not in self.channels:
                        self.channels[page.channel.key] = name.rpartition("/")[0]
                        yield page.channel
                    continue
                tree = parse(piece) if piece else None
                box = (
                    None if tree is None else next((e for e in tree.iter() if "message" in classes(e)), None)
                )
                if box is None:
                    yield Skipped(name, f"message {number}", "too long" if piece is None else "not HTML")
                else:
                    yield from self.box(box, page, number)
        except (FormatError, OSError) as error:
            yield Skipped(name, f"message {number + 1}", str(error))

    def channel(self, name: str, preamble: str) -> Channel:
        tree = parse(preamble)
        title = ""
        for element in () if tree is None else tree.iter():
            found = classes(element)
            if ("text" in found and "bold" in found) or "nav" in found:
                title = clean(text_of(element)).removeprefix("@")
                break
        folder = name.rpartition("/")[0]
        title = self.options.channel or title or folder.rpartition("/")[2] or "telegram"
        key = title
        if self.channels.get(key, folder) != folder and re.search(r"chat_\d+$", folder):
            key = f"{title} ({folder.rpartition('/')[2]})"  # another chat of an account, called the same
        return Channel(key, title)

    def box(self, box: Element, page: _Page, number: int) -> Iterator[Record]:
        """One message, or a service line, or a date line (nothing)."""
        found = _NUMBER.search(box.get("id") or "")
        parts = _parts(box)
        if "service" in classes(box):
            yield from self.service(parts, page, found[0] if found else "")
            return
        when = self.time(parts)
        if when is None or found is None:
            yield Skipped(page.name, f"message {number}", "no id" if when is not None else "no time")
            return
        page.time_ms = when
        forwarded = parts.get("forwarded", ())
        names = [e for e in parts.get("from_name", ()) if not _is_inside(e, forwarded)]
        yield from self.author(names, parts.get("username", ()), page)
        notice = {"type-user_joined": "join", "type-user_left": "leave"}
        kind = next((notice[c] for c in classes(box) if c in notice), "")
        target = _reply(parts)
        reactions = tuple(filter(None, map(_reaction, parts.get("reaction", ()))))
        for person in (person for reaction in reactions for person in reaction.authors):
            if person not in self.authors:
                self.authors[person] = person
                yield Author(person, person)
        yield Message(
            channel=page.channel.key,
            id=found[0],
            time_ms=when,
            author=page.author,
            body=self.body(parts),
            notice=kind,
            reply_to=target if target != found[0] else "",
            attachments=tuple(self.attachments(parts)),
            reactions=reactions,
        )

    def service(self, parts: dict[str, list[Element]], page: _Page, number: str) -> Iterator[Record]:
        text = clean(text_of(parts["details"][0])) if "details" in parts else ""
        if number.startswith("-") or not number:  # the date line of a new day
            day = date_ms(text)
            if day is not None and (page.time_ms is None or day > page.time_ms):
                page.time_ms = valid_time_ms(self.shifted(day))
            return
        if page.time_ms is None:
            yield Skipped(page.name, f"message {number}", "no time")
            return
        kind = next((kind for word, kind in KINDS if word in text), "other")
        actor = _ACTOR.match(text)
        author = actor[1] if actor else ""
        if author and author not in self.authors:
            self.authors[author] = author
            yield Author(author, author)
        yield Message(page.channel.key, number, page.time_ms, author, text, notice=kind)
        if kind == "pin":
            for link in parts["details"][0].iter("a"):
                target = _TARGET.search(link.get("href") or "")
                if target:
                    yield PinEvent(page.channel.key, target[1], page.time_ms, author)
                    break

    def author(self, names: list[Element], users: list[Element] | tuple[()], page: _Page) -> Iterator[Author]:
        if users:  # tg-archive: the link knows the user name
            text = clean(text_of(users[0]))
            full = _FULL_NAME.fullmatch(text)
            name = full[1] if full else text.removeprefix("@")
            key = clean((users[0].get("href") or "").rstrip("/").rpartition("/")[2]) or name
        elif names:  # Telegram Desktop: a run of messages says it once
            name = key = clean(text_of(names[0])).partition(" via @")[0].strip()
        else:
            return
        page.author = key or NOBODY
        if self.authors.get(page.author) != (name or NOBODY):
            self.authors[page.author] = name or NOBODY
            yield Author(page.author, name or NOBODY)

    def time(self, parts: dict[str, list[Element]]) -> int | None:
        for element in parts.get("date", ()):
            text = element.get("title") or text_of(element)
            when = date_ms(text)
            if when is not None:
                return valid_time_ms(when if "UTC" in text else self.shifted(when))
        return None

    def shifted(self, wall_ms: int) -> int:
        """A time that the exporter's clock showed, in UTC."""
        if self.zone is UTC:
            return wall_ms
        try:
            moment = datetime.fromtimestamp(wall_ms / 1000, UTC).replace(tzinfo=self.zone)
            return round(moment.timestamp() * 1000)
        except (ValueError, OverflowError, OSError):
            return wall_ms

    def body(self, parts: dict[str, list[Element]]) -> str:
        texts = [e for e in parts.get("text", ()) if "bold" not in classes(e)]
        body = clean(to_markdown(inner_html(texts[0]))) if texts else ""
        for media in parts.get("media", ()):
            if NOT_FILES.intersection(classes(media)):
                said = (
                    e for e in media.iter() if {"title", "description", "status"}.intersection(classes(e))
                )
                body = "\n".join(
                    filter(None, (": ".join(filter(None, (clean(text_of(e)) for e in said))), body))
                )
        for poll in (*parts.get("media_poll", ()), *parts.get("poll", ())):
            self.not_carried["polls (kept as text)"] += 1
            lines = [
                clean(text_of(e))
                for e in poll.iter("div", "h4", "li")
                if e is not poll and not len(e.findall("li"))
            ]
            body = "\n".join(filter(None, (body, "Poll:", *dict.fromkeys(lines))))
        if "forwarded" in parts or "forwarded_from" in parts:
            names = [e for e in parts.get("from_name", ()) if _is_inside(e, parts.get("forwarded", ()))]
            names = names or parts.get("forwarded_from", [])
            source = clean((names[0].text or "").strip()).removeprefix("Forwarded from ") if names else ""
            first = f"Forwarded from {source}:" if source else "Forwarded:"
            body = f"{first}\n{quote(body)}" if body else first
        return body

    def attachments(self, parts: dict[str, list[Element]]) -> Iterator[Attachment]:
        wraps = parts.get("media_wrap", ())
        for wrap in (*wraps, *(e for e in parts.get("media", ()) if not _is_inside(e, wraps))):
            named = {name: e for e in wrap.iter() for name in classes(e)}
            if named.keys() & NOT_FILES or "media_poll" in named or "poll" in named:
                continue
            link = next(iter(wrap.iter("a")), None)
            url = clean(link.get("href") or "") if link is not None else ""
            if url.startswith(("http://", "https://")):
                self.not_carried["link previews"] += 1
                continue
            title = named.get("title", named.get("filename"))
            name = clean(text_of(title)) if title is not None else ""
            base = url.rpartition("/")[2]
            if base and "." not in name:  # "Photo", "Voice message"
                name = base
            if name or url:
                yield Attachment(name or "file", url)


def _wanted(name: str) -> bool:
    return name.lower().endswith((".html", ".htm")) and not _LITTER.search(name)


def _looks_right(head: str) -> bool:
    if "page_wrap" in head and "chat_page" in head:
        return True
    ours = "tg-archive" in head or "t.me/" in head or 'class="dayline' in head or "message type-" in head
    return ours and 'class="messages"' in head


def _parts(box: Element) -> dict[str, list[Element]]:
    found: dict[str, list[Element]] = {}
    for element in box.iter():
        for name in classes(element):
            if name in WANTED:
                found.setdefault(name, []).append(element)
    return found


def _is_inside(element: Element, outer: list[Element] | tuple[()]) -> bool:
    return any(parent in outer for parent in element.iterancestors())


def _reply(parts: dict[str, list[Element]]) -> str:
    for element in (*parts.get("reply_to", ()), *parts.get("reply", ())):
        for link in element.iter("a"):
            target = _TARGET.search(link.get("href") or "")
            if target:
                return target[1]
    return ""


def _reaction(element: Element) -> Reaction | None:
    sign, count, people = "", 0, []
    for inner in element.iter():
        found = classes(inner)
        if "emoji" in found:
            sign = clean(text_of(inner))
        elif "count" in found:
            number = _COUNT.search(text_of(inner))
            count = int(number[0]) if number else 0
        elif "userpic" in found and inner.get("title"):
            people.append(clean(_DATED.sub("", inner.get("title") or "")))
    authors = tuple(dict.fromkeys(filter(None, people)))
    unknown = max(count - len(authors), 0)
    return Reaction(sign, authors, unknown) if sign and (authors or unknown) else None
