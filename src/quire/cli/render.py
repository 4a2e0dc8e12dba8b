"""Messages as a terminal shows them: by day, then by author, the newest at the bottom.

A line of a message is a gutter (the time), the text, and the id at the right edge, which is what
commands take. What belongs to a message stands below it in the same column: what it answers, files,
reactions, its thread. Everything is a `rich.text.Text` made of cleaned plain strings (text.py), so no
markup and no escape sequence of a stranger is ever obeyed; Rich measures wide characters and emoji.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from zlib import crc32

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from quire.cli.text import block, bytes_text, line, plural
from quire.core.ids import MessageId
from quire.core.operation import Attachment
from quire.core.views import Archived, Author, Message, Page, Reaction, Thread

__all__ = [
    "Renderer",
    "author_text",
    "clock",
    "day",
    "faint",
    "moment",
    "reactions_text",
    "stamp",
    "thread_line",
]

GUTTER = 7  # "09:14  "
ID_COLUMN_MIN = 60  # a narrower screen has no column for ids: they stand on a line of their own
SHOWN_CHARS_MAX = 4_000  # of one body on a page; `show` prints all of it
GROUP_MS = 15 * 60_000  # silence after which the author is named again
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
FAINT = "bright_black"
NOT_HERE = {"missing": "not here yet", "asked": "asked for", "dropped": "let go"}


class Renderer:
    """Turns messages into lines for one console.

    short    the id as people are shown it
    find     the message with that id, for what a message answers; None if it is gone
    state    what of an attached file is here, by its id
    full     show whole bodies, and who reacted
    """

    def __init__(
        self,
        console: Console,
        short: Callable[[MessageId], str],
        find: Callable[[MessageId], Message | None] = lambda _: None,
        state: Callable[[bytes], str] = lambda _: "here",
        *,
        full: bool = False,
    ) -> None:
        self.console = console
        self.short = short
        self.find = find
        self.state = state
        self.full = full
        self.with_ids = console.width >= ID_COLUMN_MIN
        self._last: Message | None = None

    def page(self, page: Page) -> Iterator[Text]:
        """A channel's page, oldest first."""
        for message in reversed(page.messages):
            yield from self.message(message)

    def message(self, message: Message) -> Iterator[Text]:
        """One message, with the headings that what was shown before it makes necessary."""
        last, self._last = self._last, message
        if last is None or day(last.time_ms) != day(message.time_ms):
            yield self._rule(day(message.time_ms))
            last = None
        if message.notice:
            yield from self._lines(message, _notice(message))
            return
        if last is None or last.notice or last.author.id != message.author.id or _apart(last, message):
            yield self._heading(message)
        yield from self._lines(message, self._body(message))
        yield from self._below(message)

    def _heading(self, message: Message) -> Text:
        """Who wrote, and in which thread unless that is all that is shown."""
        heading = author_text(message.author)
        if message.root and not self.full:
            root = self.find(message.root)
            about = line(root.title or root.body, 60) if root else ""
            heading.append(f"  in thread {self.short(message.root)}" + (f": {about}" if about else ""), FAINT)
        heading.truncate(self.console.width, overflow="ellipsis")
        return heading

    def _rule(self, words: str) -> Text:
        return Text(f"── {words} ".ljust(self.console.width, "─"), FAINT, no_wrap=True, overflow="crop")

    def _lines(self, message: Message, body: Text) -> Iterator[Text]:
        """The body beside its time and its id."""
        name = self.short(message.id)
        room = self.console.width - GUTTER - (cell_len(name) + 2 if self.with_ids else 0)
        for number, part in enumerate(body.wrap(self.console, max(room, 10), overflow="fold", tab_size=4)):
            part.rstrip()
            gutter = clock(message.time_ms) if number == 0 else ""
            whole = Text(gutter.ljust(GUTTER), FAINT, no_wrap=True, end="")
            whole.append_text(part)
            if number == 0 and self.with_ids:
                whole.append(" " * (room - part.cell_len + 2))
                whole.append(name, FAINT)
            whole.end = "\n"
            yield whole
        if not self.with_ids:
            yield Text(" " * GUTTER + name, FAINT)

    def _body(self, message: Message) -> Text:
        if message.deleted:
            by = "" if message.deleted.by.id == message.author.id else f" by {line(message.deleted.by.name)}"
            reason = f": {line(message.deleted.reason)}" if message.deleted.reason else ""
            what = "erased" if message.deleted.erased else "deleted"
            return Text(f"{what}{by}{reason}", f"italic {FAINT}")
        if message.archived:
            return Text(archived_text(message.archived), f"italic {FAINT}")
        shown = message.body if self.full else message.body[:SHOWN_CHARS_MAX]
        text = Text()
        if message.title:
            text.append(line(message.title) + "\n", "bold")
        text.append(f"* {line(message.author.name)} " if message.action else "", "italic")
        text.append(block(shown).rstrip("\n"), "italic" if message.action else "")
        if rest := len(message.body) - len(shown):
            text.append(f"\n… {plural(rest, 'more character')}: quire show {self.short(message.id)}", FAINT)
        text.append(_marks(message), FAINT)
        return text

    def _below(self, message: Message) -> Iterator[Text]:
        if message.reply_to:
            yield self._aside(f"↩ {self._answered(message.reply_to)}")
        for file in message.attachments:
            yield self._aside(f"📎 {line(file.name or file.url)}{self._about(file)}")
            if self.full and file.url and file.name:
                yield self._aside(f"   {line(file.url)}")
        if message.reactions:
            yield self._aside(reactions_text(message.reactions))
            if self.full:
                yield from (self._aside(_people(one)) for one in message.reactions if one.people)
        if message.thread and message.thread.replies and not self.full:
            yield self._aside(f"└ {thread_line(message.thread)}")

    def _about(self, file: Attachment) -> str:
        """What a file is, its size, and whether it is here; of one by name only, what is known."""
        facts = [bytes_text(file.size_bytes)] if file.size_bytes is not None else []
        if file.file is not None:
            facts.insert(0, line(file.media_type, 60))
            state = self.state(file.file.id)
            facts += [] if state == "here" else [NOT_HERE[state]]
        return f" ({', '.join(facts)})" if facts else ""

    def _aside(self, what: str | Text) -> Text:
        """Something that belongs to the message above, cut at the edge of the screen."""
        aside = Text(" " * GUTTER, no_wrap=True)
        aside.append_text(what if isinstance(what, Text) else Text(what, FAINT))
        aside.truncate(self.console.width, overflow="ellipsis")
        return aside

    def _answered(self, target: MessageId) -> str:
        message = self.find(target)
        if message is None:
            return f"answers {self.short(target)}"
        words = line(message.body, 120) or "…"
        return f"{line(message.author.name)}: {words}"


def archived_text(found: Archived) -> str:
    """Where the text of a message is that cannot be read now."""
    state = "damaged" if found.damaged else "not reachable"
    return f"archived in {line(found.segment, 60)} at {line(found.place, 200)}, {state}"


def faint(words: str) -> Text:
    """Something said beside the messages: an id, a command to go on with."""
    return Text(words, FAINT, no_wrap=True, overflow="fold")


def thread_line(thread: Thread) -> str:
    """`3 replies by 2 people, last 6 Mar 10:02, bob: the start of it …`."""
    words = (
        f"{plural(thread.replies, 'reply', 'replies')} by {plural(thread.participants, 'person', 'people')}"
    )
    words += f", last {stamp(thread.last_reply_ms)}"
    if thread.last_author:
        words += f", {line(thread.last_author.name, 40)}: {line(thread.preview, 120)}"
    return words


def reactions_text(reactions: Iterable[Reaction]) -> Text:
    """Emoji and counts; our own stand out."""
    text = Text(no_wrap=True)
    for number, one in enumerate(reactions):
        text.append("  " if number else "")
        text.append(f"{line(one.emoji, 40)} {one.count}", "bold" if one.own else FAINT)
    return text


def author_text(author: Author) -> Text:
    """A name, always in the same colour."""
    colour = COLOURS[crc32(author.id.encode()) % len(COLOURS)]
    text = Text(line(author.name, 60) or "?", f"bold {colour}", no_wrap=True)
    if author.bot:
        text.append(" bot", FAINT)
    if author.own:
        text.append(" (you)", FAINT)
    return text


def day(time_ms: int) -> str:
    """`Tuesday 5 March 2024`, in local time."""
    when = moment(time_ms)
    return f"{when:%A} {when.day} {when:%B %Y}"


def clock(time_ms: int) -> str:
    """`09:14`, in local time."""
    return f"{moment(time_ms):%H:%M}"


def stamp(time_ms: int | None) -> str:
    """`5 Mar 2024 09:14`; the year only if it is not this one; "" for no time."""
    if time_ms is None:
        return ""
    when = moment(time_ms)
    year = "" if when.year == date.today().year else f" {when.year}"
    return f"{when.day} {when:%b}{year} {when:%H:%M}"


def moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000).astimezone()


def _notice(message: Message) -> Text:
    who = line(message.author.name)
    words = line(message.body) or message.notice
    return Text(f"· {words}" if not who or words.startswith(who) else f"· {who} {words}", f"italic {FAINT}")


def _marks(message: Message) -> str:
    marks = ["edited"] if message.edited_ms is not None else []
    marks += ["edits at the same time: quire history"] if message.concurrent_edits else []
    marks += ["pinned"] if message.pinned else []
    return f"  ({', '.join(marks)})" if marks else ""


def _people(reaction: Reaction) -> str:
    names = ", ".join(line(name, 40) for name in reaction.people)
    more = reaction.count - len(reaction.people)
    return f"{line(reaction.emoji, 40)} {names}" + (f" and {more:,} more" if more > 0 else "")


def _apart(earlier: Message, later: Message) -> bool:
    return abs(later.time_ms - earlier.time_ms) > GROUP_MS or earlier.root != later.root
