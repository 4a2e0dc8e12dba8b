"""HTML: one folder that reads offline, prints, and has search (html_search.py). Begin with index.html.

A page has some hundred messages, a short thread stands under its root, a long one has pages of its own: a million messages
are as readable as ten. Nothing is fetched from anywhere, by a Content-Security-Policy in each page too; whatever people wrote
goes through `html_text.escape`. In memory are one page, the last few thousand messages that may be answered, and names.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.resources import files as resources
from pathlib import Path
from urllib.parse import quote

from quire.exchange.exported import AttachmentPart, AuthorLine, ChannelLine, EditPart, HeaderLine, MessageLine
from quire.exchange.html_search import SearchIndex, Text
from quire.exchange.html_text import escape, link, rendered
from quire.exchange.writing import Files, safe_name

NAME = "html"
TITLE = "a folder to read offline, with search"
FOLDER = THREADS = True

PAGE_MESSAGES = 300
INLINE_REPLIES = 30  # a longer thread has pages of its own
TOGETHER_MS = 5 * 60_000  # what one person writes within is one block
ANSWERABLE_MAX = 20_000  # messages remembered to show what an answer answers
SNIPPET_CHARS = 120
COLOURS = 12
PICTURES = frozenset(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"])
PEOPLE_MAX = 50  # names in a reaction's title
CSP = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"


class Page:
    """One page being filled."""

    def __init__(self, url: str, title: str) -> None:
        self.url = url  # from the folder of the export
        self.title = title
        self.parts: list[str] = []
        self.texts: list[Text] = []
        self.first_ms = self.last_ms = 0
        self.day = ""
        self.before: tuple[str, int] | None = None  # whose message is above, and when


class HtmlWriter:
    """Fills one folder."""

    def __init__(self, path: Path, header: HeaderLine, files: Files) -> None:
        self._path, self._header, self._files = path, header, files
        self._taken = {"index.html", "style.css", "search.js", "search", "files", "signed.jsonl"}
        self._names: dict[str, AuthorLine] = {}
        self._channels: list[str] = []  # of the index
        (path / "search").mkdir(mode=0o700)
        self._search = SearchIndex(path / "search", files)
        for name in ("style.css", "search.js"):
            files.write(path / name, (resources("quire.exchange.html") / name).read_bytes())
        self._channel: ChannelLine | None = None
        self._folder = ""
        self._pages: list[tuple[str, int, int, int]] = []  # url, first, last, messages
        self._page: Page | None = None
        self._messages = self._threads = 0
        self._answerable: OrderedDict[str, tuple[str, str, str]] = OrderedDict()  # id -> url, name, snippet
        self._root: MessageLine | None = None
        self._root_part = 0  # where on the page what follows the root is to stand
        self._replies: list[MessageLine] = []  # of a short thread, until it is over
        self._thread: Page | None = None  # of a long one, its page being filled
        self._thread_pages: list[Page] = []
        self._thread_count = 0

    # What a writer does

    def channel(self, channel: ChannelLine) -> None:
        self._end_channel()
        self._channel = channel
        self._folder = safe_name(channel.name, self._taken)
        (self._path / self._folder).mkdir(mode=0o700)
        self._pages, self._page = [], None
        self._messages = self._threads = 0
        self._answerable.clear()

    def tell(self, authors: Sequence[AuthorLine], messages: Sequence[MessageLine]) -> None:
        self._names |= {author.key: author for author in authors}
        self._messages += len(messages)
        for message in messages:
            if self._root is not None and message.thread == self._root.id:
                self._reply(message)
            else:
                self._end_thread()
                self._top(message)

    def finish(self) -> None:
        self._end_channel()
        self._search.finish()
        about = [
            f"Exported on {_day(self._header.exported_ms)} by {escape(self._header.export)}; times are UTC."
        ]
        if self._header.since_ms is not None:
            about.append(f"From {_day(self._header.since_ms)} on.")
        if self._header.until_ms is not None:
            about.append(f"Before {_day(self._header.until_ms)}.")
        body = f'<h1>Messages</h1><p class="about">{" ".join(about)}</p><ul class="list">{"".join(self._channels)}</ul>'
        self._files.write(self._path / "index.html", _document("Messages", "", "", body))

    # Messages outside threads, and roots

    def _top(self, message: MessageLine) -> None:
        if self._page is not None and len(self._page.texts) >= PAGE_MESSAGES:
            self._turn(last=False)
        if self._page is None:
            assert self._channel is not None
            url = f"{self._folder}/{len(self._pages) + 1}.html"
            self._page = Page(url, f"#{self._channel.name}")
        self._put(self._page, message)
        self._root, self._root_part = message, len(self._page.parts)
        self._page.parts.append("")

    def _reply(self, message: MessageLine) -> None:
        if self._thread is None and len(self._replies) < INLINE_REPLIES:
            self._replies.append(message)
            return
        if self._thread is None:
            self._begin_thread()
            for earlier in self._replies:
                self._thread_put(earlier)
        self._thread_put(message)

    def _end_thread(self) -> None:
        """The root's thread is over: show it, or where it is."""
        root, page = self._root, self._page
        if root is None or page is None:
            return
        if self._thread is not None:
            self._write_thread_page(None)
            first, count = self._thread_pages[0].url, self._thread_count
            page.parts[self._root_part] = (
                f'<a class="more" href="../{first}">{count:,} replies <small>until {_day(self._thread.last_ms)}</small></a>'
            )
            page.before = None
        elif self._replies:
            inner = Page(page.url, page.title)
            inner.day = _date(root.time_ms)
            for reply in self._replies:
                self._put(inner, reply, within=root)
            page.texts += inner.texts
            page.last_ms = max(page.last_ms, inner.last_ms)
            count = len(self._replies)
            said = f"{count} replies" if count > 1 else "1 reply"
            page.parts[self._root_part] = (
                f'<details class="th" open><summary>{said}</summary>{"".join(inner.parts)}</details>'
            )
            page.before = None
        self._root, self._replies, self._thread, self._thread_pages, self._thread_count = (
            None,
            [],
            None,
            [],
            0,
        )

    # Long threads

    def _begin_thread(self) -> None:
        assert self._root is not None
        self._threads += 1
        self._thread = self._thread_page()
        self._put(self._thread, self._root, again=True)

    def _thread_page(self) -> Page:
        assert self._root is not None
        assert self._channel is not None
        number = len(self._thread_pages) + 1
        name = f"thread-{self._threads}{f'-{number}' if number > 1 else ''}.html"
        title = self._root.title or self._root.text
        page = Page(f"{self._folder}/{name}", f"{_snippet(title)[:60] or 'Thread'} · #{self._channel.name}")
        self._thread_pages.append(page)
        return page

    def _thread_put(self, message: MessageLine) -> None:
        assert self._thread is not None
        if len(self._thread.texts) >= PAGE_MESSAGES:
            full, self._thread = self._thread, None
            following = self._thread_page()
            self._thread = full
            self._write_thread_page(following)
            self._thread = following
        self._put(self._thread, message)
        self._thread_count += 1

    def _write_thread_page(self, following: Page | None) -> None:
        assert self._thread is not None
        assert self._page is not None
        assert self._root is not None
        number = len(self._thread_pages) - (following is not None)
        previous = self._thread_pages[number - 2].url if number > 1 else ""
        up = f'<a href="../{self._page.url}#{self._root.id}">in the channel</a>'
        self._write(self._thread, previous, following.url if following else "", up)

    # Pages

    def _turn(self, last: bool) -> None:
        """Write the page; another follows unless it is the last."""
        page = self._page
        if page is None:
            return
        number = len(self._pages) + 1
        self._pages.append((page.url, page.first_ms, page.last_ms, len(page.texts)))
        previous = self._pages[-2][0] if number > 1 else ""
        self._write(page, previous, "" if last else f"{self._folder}/{number + 1}.html", "")
        self._page = None

    def _write(self, page: Page, previous: str, following: str, up: str) -> None:
        assert self._channel is not None
        links = [
            f'<a href="../{previous}">← Earlier</a>' if previous else "<span></span>",
            f'<a href="../{following}">Later →</a>' if following else "<span></span>",
        ]
        pages = f'<nav class="pages">{"".join(links)}</nav>' if previous or following else ""
        body = "".join(page.parts) + pages
        where = f'<a href="../index.html">Messages</a> › <a href="index.html"><bdi>#{escape(self._channel.name)}</bdi></a>'
        where += f" › {up}" if up else f" › <b>{_day(page.first_ms)}</b>"
        self._files.write(self._path / page.url, _document(page.title, "../", where, body))
        self._search.page(page.url, self._channel.name, page.last_ms, page.texts)
        page.parts, page.texts = [], []  # a long thread keeps its pages to the end

    def _end_channel(self) -> None:
        self._end_thread()
        self._turn(last=True)
        channel = self._channel
        if channel is None:
            return
        rows = "".join(
            f'<li><a href="{url.rpartition("/")[2]}"><b>{_span(first, last)}</b><small>{count:,} messages</small></a></li>'
            for url, first, last, count in reversed(self._pages)
        )
        title = f"#{channel.name}"
        topic = f'<p class="about" dir="auto">{escape(channel.topic)}</p>' if channel.topic else ""
        body = f'<h1><bdi>{escape(title)}</bdi></h1>{topic}<ul class="list">{rows}</ul>'
        where = f'<a href="../index.html">Messages</a> › <b><bdi>{escape(title)}</bdi></b>'
        self._files.write(self._path / self._folder / "index.html", _document(title, "../", where, body))
        said = f"{self._messages:,} messages"
        if self._pages:
            said += f", {_span(self._pages[0][1], max(last for _, _, last, _ in self._pages))}"
        latest = f"{self._folder}/index.html"
        topic = f"<small>{escape(_snippet(channel.topic))}</small>" if channel.topic else ""
        self._channels.append(
            f'<li><a href="{latest}"><b><bdi>{escape(title)}</bdi></b>{topic}<small>{said}</small></a></li>'
        )
        self._channel = None

    # One message

    def _put(
        self, page: Page, line: MessageLine, *, within: MessageLine | None = None, again: bool = False
    ) -> None:
        """Add a message to a page; `again` if it is shown, and found, elsewhere."""
        if not page.texts:
            page.first_ms = line.time_ms
        page.last_ms = max(page.last_ms, line.time_ms)
        author = self._names[line.author]
        day = _date(line.time_ms)
        if day != page.day and within is None:
            page.day, page.before = day, None
            page.parts.append(f'<h2 class="day">{_weekday(line.time_ms)}</h2>')
        text = line.text
        page.texts.append(
            (line.id, author.name, f"{_day(line.time_ms)} {_clock(line.time_ms)}", _searched(line))
        )
        if not again:
            self._answerable[line.id] = (page.url, author.name, _snippet(text))
            if len(self._answerable) > ANSWERABLE_MAX:
                self._answerable.popitem(last=False)
        when = (
            f"{_day(line.time_ms)} {_clock(line.time_ms)}"
            if within and day != page.day
            else _clock(line.time_ms)
        )
        stamp = (
            f'<time class="w" datetime="{_iso(line.time_ms)}" title="{_day(line.time_ms)} {_clock(line.time_ms)} UTC">'
            f'<a href="#{line.id}">{when}</a></time>'
        )
        if line.notice:
            page.before = None
            page.parts.append(
                f'<p class="notice" id="{line.id}" dir="auto">{escape(_snippet(text, 500))} {stamp}</p>'
            )
            return
        joined = (
            page.before is not None
            and page.before[0] == line.author
            and 0 <= line.time_ms - page.before[1] < TOGETHER_MS
            and not (
                line.title
                or line.reply_to
                or line.broadcast
                or line.pinned
                or (line.thread and within is None and not again)
            )
        )
        page.before = (line.author, line.time_ms)
        head = stamp if joined else self._head(line, author, stamp)
        page.parts.append(
            f'<article class="m{"" if joined else " h"}" id="{line.id}">{head}{self._body(line, within, page)}</article>'
        )

    def _head(self, line: MessageLine, author: AuthorLine, stamp: str) -> str:
        colour = blake2b(author.key.encode(), digest_size=2).digest()[0] % COLOURS
        tags = "".join(
            f' <span class="tag">{tag}</span>'
            for tag, holds in (
                ("bot", author.bot),
                ("pinned", line.pinned),
                ("also in the channel", line.broadcast),
            )
            if holds
        )
        return (
            f'<span class="av c{colour}" aria-hidden="true">{escape(_initials(author.name))}</span>'
            f"<header><b><bdi>{escape(author.name)}</bdi></b> {stamp}{tags}</header>"
        )

    def _body(self, line: MessageLine, within: MessageLine | None, page: Page) -> str:
        parts: list[str] = []
        answered = line.reply_to or (line.thread if within is None and not self._in_thread(line) else "")
        if answered:
            parts.append(self._quote(answered, page))
        if line.title:
            parts.append(f'<div class="t" dir="auto">{escape(line.title)}</div>')
        if line.deleted:
            reason = f": {escape(line.deleted.reason)}" if line.deleted.reason else ""
            parts.append(f'<div class="gone">deleted{reason}</div>')
        elif line.action:
            parts.append(f'<div class="b" dir="auto"><em>{escape(line.text)}</em></div>')
        elif line.text:
            parts.append(f'<div class="b" dir="auto">{rendered(line.text)}</div>')
        if line.edits:
            parts.append(_versions(line))
        elif line.edited_ms is not None:
            parts.append('<span class="w">edited</span>')
        if line.attachments:
            parts.append(f'<ul class="f">{"".join(_attachment(a) for a in line.attachments)}</ul>')
        if line.reactions:
            parts.append(
                f'<ul class="r">{"".join(self._reaction(r.emoji, r.authors, r.unknown) for r in line.reactions)}</ul>'
            )
        return "".join(parts)

    def _in_thread(self, line: MessageLine) -> bool:
        return self._root is not None and line.thread == self._root.id

    def _quote(self, id: str, page: Page) -> str:
        there = self._answerable.get(id)
        if there is None:
            return '<span class="q">↪ an earlier message</span>'
        url, name, snippet = there
        return f'<a class="q" href="../{url}#{id}">↪ <b><bdi>{escape(name)}</bdi></b> <bdi>{escape(snippet)}</bdi></a>'

    def _reaction(self, emoji: str, authors: Sequence[str], unknown: int) -> str:
        names = [self._names[key].name for key in authors[:PEOPLE_MAX]]
        more = len(authors) - len(names) + unknown
        people = ", ".join(names) + (f"{' and ' if names else ''}{more} more" if more else "")
        return f'<li title="{escape(people)}"><bdi>{escape(emoji)}</bdi> {len(authors) + unknown}</li>'


def _document(title: str, root: str, where: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="und" data-root="{root}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{CSP}">'
        '<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{root}style.css">'
        f'<script defer src="{root}search.js"></script></head><body>'
        f'<nav class="top"><span class="where">{where or "<b>Messages</b>"}</span>'
        '<input id="q" type="search" placeholder="Search" aria-label="Search all messages" autocomplete="off"></nav>'
        f'<div id="hits" role="region" aria-live="polite"></div><main>{body}</main></body></html>\n'
    )


def _versions(line: MessageLine) -> str:
    earlier = [EditPart(line.time_ms, line.body), *line.edits[:-1]]
    items = "".join(
        f'<li><span class="w">{_day(one.time_ms)} {_clock(one.time_ms)}</span><div class="b" dir="auto">{escape(one.body)}</div></li>'  # noqa: E501
        for one in earlier
    )
    return f'<details class="e"><summary>edited</summary><ol>{items}</ol></details>'


def _attachment(part: AttachmentPart) -> str:
    size = f" <small>{_size(part.size_bytes)}</small>" if part.size_bytes else ""
    name = f"<bdi>{escape(part.name)}</bdi>"
    if not part.file:
        return f"<li>{link(part.url, name)}{size}</li>"
    href = f"../{quote(part.file)}"
    if part.media_type in PICTURES:  # an element that runs nothing, whatever the file is
        name = f'<img loading="lazy" alt="{escape(part.name)}" src="{href}">'
    return f'<li><a href="{href}" download>{name}</a>{size}</li>'


def _searched(line: MessageLine) -> str:
    parts = (line.title, line.text, *(file.name for file in line.attachments))
    return " ".join(part for part in parts if part)


def _snippet(text: str, chars: int = SNIPPET_CHARS) -> str:
    short = " ".join(text[: chars * 4].split())
    return short if len(short) <= chars else f"{short[:chars]}…"


def _initials(name: str) -> str:
    found = [word[0] for word in name.split() if word[0].isalnum()]
    return "".join(found[:1] + found[-1:] if len(found) > 1 else found).upper()[:2] or _first(name)


def _first(name: str) -> str:
    return next((c.upper() for c in name if unicodedata.category(c)[0] in "LNS"), "·")


def _size(size_bytes: int) -> str:
    value, units = float(size_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _iso(time_ms: int) -> str:
    return f"{_moment(time_ms):%Y-%m-%dT%H:%M:%SZ}"


def _date(time_ms: int) -> str:
    return f"{_moment(time_ms):%Y-%m-%d}"


def _clock(time_ms: int) -> str:
    return f"{_moment(time_ms):%H:%M}"


def _day(time_ms: int) -> str:
    moment = _moment(time_ms)
    return f"{moment.day} {moment:%b %Y}"


def _weekday(time_ms: int) -> str:
    moment = _moment(time_ms)
    return f"{moment:%A}, {moment.day} {moment:%B %Y}"


def _span(first_ms: int, last_ms: int) -> str:
    first, last = _day(first_ms), _day(last_ms)
    return first if first == last else f"{first} – {last}"


open_writer = HtmlWriter
