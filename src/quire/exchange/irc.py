"""IRC logs of the usual clients and bots, alone or by the folder.

A log names neither itself nor, often, its day. So a first pass looks at the head of each file: is it a log
at all, in which stamps, does it mark its days, which channel do its joins name. The second pass reads.

Days. A line with a full date needs nothing. For lines with a time only, the day is the marker's ("Day
changed", "Session Start"), else the file name's, else `options.date`; it moves on when the clock runs
back by more than the hour that summer time takes. A clock that never shows more than 12 and jumps from
about 12 to about 1 is a twelve-hour clock without am and pm: the jump is half a day. Zones are not logged:
`options.timezone`, else UTC.

Channels. `options.channel`; else the `#name` in the path; else the one its joins name; else the one the
rest of the export names; else what the file name holds besides a date.

Replies. IRC has none, but where `X.annotation.txt` lies beside `X.raw.txt` (lines `A B -`: line B
answers line A, counted from 0) those links are kept: the nearest earlier line is the reply's target.
"""

from __future__ import annotations

import contextlib
import re
from array import array
from collections.abc import Iterator
from datetime import date
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from quire.errors import FormatError
from quire.exchange.irc_styles import (
    Stamp,
    day_marker,
    happening,
    plain,
    split_stamp,
    unstyled,
)
from quire.exchange.irc_survey import Head, Survey, look, may_be_log, peeked, stem, survey_of
from quire.exchange.lines import LineIds, WallClock, guarded, text_lines, uncopied
from quire.exchange.model import NOBODY, Author, Channel, Message, NotCarried, Options, Record, Skipped, Warn
from quire.exchange.sources import Source
from quire.exchange.text import iso_ms, valid_time_ms

NAME = "irc"
TITLE = "IRC logs (irssi, WeeChat, HexChat, mIRC, ZNC and the like)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = True

NICKS_MAX = 1_000_000
UNREADABLE_MAX = 50  # lines of one file reported one by one; then they are only counted
BACK_MAX = 61  # minutes a clock may run back without a new day: summer time ends, or it was set
TWELVE_GAP = 120  # minutes: the longest silence over which we see a twelve-hour clock turn

NAMED_DATE = re.compile(
    r"(?<!\d)(?P<y>(?:19|20)\d\d)(?P<sep>[-_./]?)(?P<m>0[1-9]|1[0-2])(?P=sep)(?P<d>0[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?<!\d)(?P<d2>\d{1,2})(?P<b>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*(?P<y2>(?:19|20)\d\d)(?!\d)",
    re.I,
)
NAMED_TIME = re.compile(rf"(?:{NAMED_DATE.pattern})(?:[-T_ ]\d\d[.:]?\d\d(?:[.:]?\d\d)?(?!\d))?", re.I)
SHORT_DATE = re.compile(
    r"(?:^|/)(?P<y>\d\d)\.(?P<m>\d\d)\.(?P<d>\d\d)(?:\.(?:txt|log))?$"
)  # clog's file a day
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
PERIOD = re.compile(
    r"\d{1,4}(?:[-_.]?\d\d){0,2}|logs?|irclogs?", re.I
)  # a folder of a year, a month or of all
NAMED_MONTH = re.compile(r"[._-](?:19|20)\d\d(?:[-_.]?(?:0[1-9]|1[0-2]))?$")
EXTENSION = re.compile(r"\.(?:txt|log|weechatlog|irclog|raw|ascii|\d+)$", re.I)
NETWORK = re.compile(  # the large ones, and whatever looks like a server
    r"(?<![a-z])(?:libera|freenode|oftc|efnet|undernet|quakenet|ircnet|dalnet|rizon|snoonet|hackint|esper(?:net)?|gimpnet|gamesurge"
    r"|geekshed|swiftirc|chatspike|slashnet|spotchat|tilde(?:chat)?|euirc|mozilla|moznet|w3c|twitch|bitlbee|ircnow)(?![a-z])"
    r"|(?<![a-z0-9.-])(?:irc|chat)\.(?:[a-z0-9-]+\.)+[a-z]{2,24}|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
)
ADDRESSED = re.compile(r"([^\s:,<>]{1,32})[:,](?:\s|$)")


def recognise(source: Source) -> int:
    sizes = source.sizes()
    names = [n for n, size in sorted(sizes.items()) if size and may_be_log(n)][:8]
    if not names:
        return 0
    best = 0
    for name in names:
        head = look(peeked(source.peek(name, 16_384)))
        if head is not None and not head.weak:
            best = max(best, 2 if head.sure else 1)
        if best == 2:
            break
    return best


def read(source: Source, options: Options) -> Iterator[Record]:
    """Every log, file by file. Raises FormatError if no line of any can be dated."""
    clock = WallClock(options.timezone)
    survey = survey_of(source, options)
    ids: dict[str, LineIds] = {}
    nicks: set[str] = set()
    undated = carried = 0
    channels = {
        name: _channel(name, head, survey, options, source.path) for name, head in survey.heads.items()
    }
    networks: dict[str, set[str]] = {}  # of each channel: two networks may have one of the same name
    for name, channel in channels.items():
        networks.setdefault(channel.lower(), set()).update({_network(name)} - {""})
    for name, stream in source.walk(lambda n: n in survey.heads):
        head = survey.heads[name]
        channel = channels[name]
        day = head.day or _named_day(name) or _asked_day(options)
        if day is None and not head.dated:
            undated += 1
            yield Skipped(name, "line 1", "nothing says on which day this log was written")
            continue
        carried += 1
        key, shown = channel.lower(), channel.lstrip("#") or channel
        if len(networks[key]) > 1 and (network := _network(name)):
            key, shown = f"{network}/{key}", f"{shown} ({network})"
        if key not in ids:
            ids[key] = LineIds()
            yield Channel(key, shown, kind="channel" if channel.startswith("#") else "group")
        if not head.order_sure:
            yield Warn(f"{name}: the dates read two ways; {head.order} was taken (see --date-order)")
        log = _Log(name, key, head, clock, day, options, ids[key], nicks)
        yield from guarded(name, log.records(stream, survey.links.get(stem(name))))
    if not carried:
        rule = "no_date" if undated else "unknown_format"
        raise FormatError(
            f"{source.path.name} holds no IRC log that can be read",
            rule=rule,
            hint="say on which day it begins: --date YYYY-MM-DD" if undated else "",
        )


class _Log:
    """One file being read."""

    def __init__(
        self, name: str, channel: str, head: Head, clock: WallClock, day: date | None, options: Options,
        ids: LineIds, nicks: set[str],
    ) -> None:  # fmt: skip
        self.name = name
        self.channel = channel
        self.head = head
        self.likely = head.stamp
        self.clock = clock
        self.date_order = options.date_order or head.order
        self.ids = ids
        self.nicks = nicks
        self.day = day.toordinal() if day else 0
        self.year = head.year or (day.year if day else 0)
        self.month = 0
        self.minute: int | None = None  # of the day, of the last line; with `shift`
        self.shift = 0  # minutes added to the clock's: half days that went by unmarked
        self.hour_max = 0
        self.now: tuple[int, str] | None = None  # the last line's time: ms, and as written
        self.styled = 0
        self.named_day = False  # did the last line, stamped as any other, only name a day?

    def records(self, stream: BinaryIO, links: array[int] | None) -> Iterator[Record]:
        answers, targets, further = _answers(links)
        named: dict[int, tuple[str, int]] = {}  # line -> id and time, of lines that are answered
        unreadable = 0
        for number, line in enumerate(text_lines(stream)):
            if line is not None and not line.strip():
                continue
            message = self.message(line) if line is not None else None
            if message is None:
                if line is None or not (self.named_day or self.is_marker(line)):
                    unreadable += 1
                    if unreadable <= UNREADABLE_MAX:
                        yield Skipped(self.name, f"line {number + 1}", "this is no line of an IRC log")
                continue
            if message.author and message.author not in self.nicks and len(self.nicks) < NICKS_MAX:
                self.nicks.add(message.author)
                yield Author(message.author, message.author)
            if number in targets:
                named[number] = message.id, message.time_ms
            if (target := answers.get(number)) is not None and target in named:
                reply_to, reply_to_time = named[target]
                if reply_to != message.id:
                    message = msgspec.structs.replace(
                        message, reply_to=reply_to, reply_to_time_ms=reply_to_time
                    )
            yield message
        if unreadable > UNREADABLE_MAX:
            yield NotCarried("further unreadable log lines", unreadable - UNREADABLE_MAX)
        if further:
            yield NotCarried("further reply links of one line", further)
        if self.styled:
            yield NotCarried("coloured or styled texts", self.styled)

    def message(self, line: str) -> Message | None:
        """The line as a record; None if it has no time, tells no happening, or only names a day."""
        found = split_stamp(line, self.likely, self.date_order)
        self.named_day = False
        if found is None:
            told = (
                happening(line, self.head.star_is_action)
                if line.startswith(("===", "***", "-->", "<--"))
                else None
            )
            if told is None or day_marker(line) is not None:
                return None
            time = self.now or self.at(Stamp("", 0, 0, None))
        else:
            self.likely, stamp = found
            time = self.at(stamp)
            if stamp.rest.startswith("--- ") and day_marker(stamp.rest) and self.is_marker(stamp.rest):
                self.named_day = True
                return None
            told = happening(stamp.rest, self.head.star_is_action) or plain(stamp.rest)
        if time is None:
            return None
        self.now = time
        text = told.text
        if not text.isprintable():
            text = unstyled(text)
            self.styled += text != told.text
        spoken = told.kind in ("", "action")
        mentions: tuple[str, ...] = ()
        if spoken and (called := ADDRESSED.match(text)) and called[1] in self.nicks:
            mentions = (called[1],)
        return Message(
            self.channel,
            self.ids.name(time[1], told.nick, f"{told.kind}\0{text}"),
            time[0],
            told.nick or (NOBODY if spoken else ""),
            text,
            notice="" if spoken else told.kind,
            mentions=mentions,
            action=told.kind == "action",
        )

    def is_marker(self, line: str) -> bool:
        """Takes the day from a line that names one."""
        marked = day_marker(line)
        if marked is not None:
            self.day, self.year, self.month = marked[0].toordinal(), marked[0].year, marked[0].month
            self.minute, self.shift = None, 0
            return True
        return line.startswith(("Session ", "****", "---", "Conversation with"))

    def at(self, stamp: Stamp) -> tuple[int, str] | None:
        """The time of a line: milliseconds, and as written (for its id)."""
        if stamp.unix_ms is not None:
            return None if valid_time_ms(stamp.unix_ms) is None else (stamp.unix_ms, str(stamp.unix_ms))
        second = stamp.second or 0
        if stamp.zone:
            zone = "+0000" if stamp.zone.isalpha() else stamp.zone
            written = f"{stamp.year:04}-{stamp.month:02}-{stamp.day:02}"
            text = f"{written}T{stamp.hour:02}:{stamp.minute:02}:{second:02}{zone}"
            exact = iso_ms(text)
            return None if exact is None else (exact, text)
        if stamp.month:
            year = stamp.year or self.year_of(stamp.month)
            return self.made(year, stamp.month, stamp.day, stamp.hour * 60 + stamp.minute, second)
        if not self.day:
            return None
        minute = self.onwards(stamp.hour, stamp.minute)
        days, minute = divmod(minute, 1440)
        try:
            day = date.fromordinal(self.day + days)
        except (ValueError, OverflowError):
            return None
        return self.made(day.year, day.month, day.day, minute, second)

    def made(self, year: int, month: int, day: int, minute: int, second: int) -> tuple[int, str] | None:
        ms = self.clock.ms(year, month, day, minute // 60, minute % 60, second)
        return None if ms is None else (ms, f"{year}-{month}-{day} {minute} {second}")

    def year_of(self, month: int) -> int:
        """For stamps of month and day: the year goes on when December turns into January."""
        if self.month - month > 6:
            self.year += 1
        self.month = month
        return self.year

    def onwards(self, hour: int, minute: int) -> int:
        """Minutes since `self.day` began, never far back: past midnight the day goes on."""
        shown = hour * 60 + minute
        self.hour_max = max(self.hour_max, hour)
        if self.hour_max > 12 and self.shift % 1440:
            self.shift += 720  # it was a full clock after all
        now = shown + self.shift
        if self.minute is not None and now < self.minute - BACK_MAX:
            turned = now + 720
            twelve = self.hour_max <= 12 and 0 <= turned - self.minute <= TWELVE_GAP
            self.shift += 720 if twelve else 1440
            now = shown + self.shift
        self.minute = now
        return now


def _answers(links: array[int] | None) -> tuple[dict[int, int], set[int], int]:
    """(line -> the nearest line it answers, all lines answered, how many links are left out)."""
    answers: dict[int, int] = {}
    further = 0
    for one, other in zip(links[::2], links[1::2], strict=True) if links else ():
        earlier, later = min(one, other), max(one, other)
        if earlier == later:
            continue  # begins a conversation
        further += later in answers
        answers[later] = max(earlier, answers.get(later, 0))
    return answers, set(answers.values()), further


def _named_day(name: str) -> date | None:
    """The last date in the path: `2004-11-15_03.raw.txt`, `2020/01/02/#chan.txt`, `chan.log.20200102`, `15.01.02`."""
    for match in reversed(list(NAMED_DATE.finditer(name))):
        try:
            if match["y"]:
                return date(int(match["y"]), int(match["m"]), int(match["d"]))
            month = MONTH_NAMES.index(match["b"][:3].lower()) + 1
            return date(int(match["y2"]), month, int(match["d2"]))
        except ValueError:
            continue
    if short := SHORT_DATE.search(name):
        with contextlib.suppress(ValueError):
            century = 2000 if int(short["y"]) < 80 else 1900  # IRC began in 1988
            return date(century + int(short["y"]), int(short["m"]), int(short["d"]))
    return None


def _asked_day(options: Options) -> date | None:
    try:
        return date.fromisoformat(options.date) if options.date else None
    except ValueError:
        return None


def _channel(name: str, head: Head, survey: Survey, options: Options, path: Path) -> str:
    if options.channel:
        return "#" + options.channel.lstrip("#")
    if named := _named_channel(name) or _named_channel(f"{path.absolute().parent.name}/{path.name}/"):
        return named
    if head.channel or survey.channel:
        return head.channel or survey.channel
    rest = _undated(SHORT_DATE.sub("", NAMED_TIME.sub("", PurePosixPath(name).name))).lstrip("._- ")
    folders = (folder for folder in PurePosixPath(name).parts[-2::-1] if not PERIOD.fullmatch(folder))
    return rest or next(folders, "irc")


def _named_channel(name: str) -> str:
    """The channel in the path: `irc.libera.#c.weechatlog`, `#c/2020-01-02.log`, `net_#c_20200102.log.txt`."""
    *folders, file = name.split("/")
    for part in (
        _undated(NAMED_TIME.split(file[file.find("#") :])[0]) if "#" in file else "",
        *folders[::-1],
    ):
        channel = part[part.find("#") :].split()[0] if "#" in part else ""
        if channel.strip("#"):
            return channel
    return ""


def _network(name: str) -> str:
    """The network that a path names: a folder, or what stands before the channel in the file's name."""
    *folders, file = name.lower().split("/")
    for part in (file.partition("#")[0] if "#" in file else "", *folders[::-1]):
        if found := NETWORK.search(part):
            return found[0]
    return ""


def _undated(name: str) -> str:
    """A file's name without its endings and without a month or year before them."""
    rest = uncopied(name).rstrip("._- ")
    while (shorter := EXTENSION.sub("", rest).rstrip("._- ")) != rest:
        rest = shorter
    return NAMED_MONTH.sub("", rest)
