"""How IRC clients and bots write a line: its time, and what happened.

A log line is a stamp and a happening, and the programs differ in both independently. `split_stamp` knows
the stamps: time alone in brackets, parentheses or bare; ISO dates; XChat's month and day; Konversation's
two brackets; Unix seconds. `happening` knows the rest: `<nick> text` in all its variants, actions, and the
many words for joins, quits, nicks, topics and modes. `day_marker` knows the lines that only say which
day it is. Pure functions over one line; files, days and ids are in irc.py.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from quire.exchange.dateorder import ordered

MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1
    )
}

CLOCK = r"(?P<h>\d{1,2}):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,]\d{1,9})?)?(?: ?(?P<ap>[AaPp])\.?[Mm]\.?)?"
ZONE = r"(?: ?(?P<z>Z|UTC|GMT|[+-]\d\d:?\d\d))?"
STAMPS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\[{CLOCK}\][ \t]?",  # mIRC, ZNC, energymech, eggdrop, Ubuntu
        rf"{CLOCK}[ \t]",  # irssi
        # WeeChat, Limnoria, The Lounge
        rf"[\[(]?(?P<Y>\d{{4}})[-/.](?P<M>\d\d)[-/.](?P<D>\d\d)[T ]{CLOCK}{ZONE}[\])]?(?:[ \t]|$)[ ]?",
        # XChat
        (
            rf"(?:[A-Z][a-z]{{2}} )?(?P<b>[A-Z][a-z]{{2}}) {{1,2}}(?P<D>\d\d?),? (?:(?P<Y2>\d{{4}}) )?{CLOCK}"
            r"(?: (?P<Y>\d{4}))?[ \t]"
        ),
        # Konversation, in several countries' ways
        (
            rf"\[?(?:\w+,? (?P<D>\d{{1,2}})\.? (?P<b>[A-Z][a-z]{{2}})[a-z]*|\w+, (?P<b2>[A-Z][a-z]{{2}})[a-z]* (?P<D2>\d\d?),)"
            rf" (?P<Y>\d{{4}})\] \[{CLOCK}(?: [A-Z]{{1,5}})?\][ \t]"
        ),
        rf"\[(?P<Y>\d{{4}})-(?P<M>\d\d)-(?P<D>\d\d)\] \[{CLOCK}(?: [A-Z]{{1,5}})?\][ \t]",
        rf"\({CLOCK}\)[ \t]?",  # Pidgin
        rf"[\[(]?(?P<p1>\d\d?)[-/.](?P<p2>\d\d?)[-/.](?P<Y>\d{{4}}|\d\d),? {CLOCK}[\])]?[ \t]",
        r"\[?(?P<unix>\d{9,10})(?P<frac>\d{3})?(?:\.\d+)?\]?[ \t]",
    )
)

STYLING = re.compile("\x03(?:\\d{1,2}(?:,\\d{1,2})?)?|\x04(?:[0-9A-Fa-f]{6})?|[\x02\x0f\x11\x16\x1d\x1e\x1f]")

SPOKEN = re.compile(r"<\s?[@+%&~!*]?(?P<nick>[^\s<>][^<>\t]{0,63}?)\s?>(?:[ \t](?P<text>.*))?$", re.S)
COLUMNS = re.compile(r"(?P<nick>[^\t]{0,64})\t(?P<text>.*)$", re.S)
STARRED = re.compile(r"(?:\s{0,2}(?:\*|•|Action:)[ \t]|—[ \t]|-\*-[ \t])\s?(?P<rest>.*)$", re.S)
NOTICE = re.compile(
    r"(?P<sign>\*\*\*(?=\s)|\+\+\+(?=\s)|===|-!-|-->|<--|<->|---|--|->|<-|[→←⇐⇒↔])[ \t]?\s?(?P<rest>.*)$",
    re.S,
)
CLOG_ACTION = re.compile(r"--- action: (?P<nick>\S+) (?P<text>.*)$", re.S)
SENT_NOTICE = re.compile(r"-(?P<nick>[^\s:-][^\s:]{0,63}?)(?::[^\s-]+)?- ?(?P<text>.*)$", re.S)
COLON = re.compile(r"(?P<nick>[^\s:*]{1,32}): (?P<text>.*)$", re.S)
PIDGIN_ACTION = re.compile(r"\*\*\*(?P<rest>\S+ .*)$", re.S)
RAW = re.compile(
    r"(?:@\S+ )?:(?P<nick>[^\s!]+)(?:!\S+)? (?P<verb>PRIVMSG|NOTICE|JOIN|PART|QUIT|NICK|TOPIC|MODE"
    r"|KICK) ?(?P<rest>.*)$",
    re.S,
)

HOST = r"[(\[<][^\s)\]>]*[)\]>]"
ARRIVALS = re.compile(
    rf"Joins?: |\S+, joining\.|\S+ (?:{HOST} )?(?:has joined|joined(?: |$)|has entered|entered the room)"
    rf"|You have joined|Now talking",
    re.I,
)
LEAVINGS = re.compile(
    rf"(?:Parts?|Quits?|Kicks?): |\S+, (?:quitting|parting|leaving)\."
    rf"|\S+ (?:{HOST} )?(?:has (?:left|quit|parted|signed off)|left (?:irc|#"
    rf"|the (?:room|channel))"
    r"|(?:was |has been )?kicked |quit(?: |$))|(?:\S+ has kicked|You (?:have left|were kicked"
    r"|have been kicked))",
    re.I,
)
RENAMES = re.compile(
    r"\S+ is now known as |Nick(?: change)?: |You(?:'re| are) now known as |\S+ (?:→|changed nick to"
    r"|is known as) ",
    re.I,
)
TOPICS = re.compile(
    r"Topic(?:: | (?:for|is|on|changed|set|'|:))|The topic |\S+ (?:\S+ )?(?:has )?(?:changed|changes|set"
    r"|sets) (?:the )?topic"
    r"|\S+ has unset topic",
    re.I,
)
ADMIN = re.compile(
    r"\S+ (?:sets? (?:mode|ban)|gives (?:channel|voice)|removes (?:channel|voice|ban)"
    r"|has changed mode|removes? mode)"
    r"|(?:server)?mode/|mode change|#\S+: mode|Set by |Users on |Channel (?:modes?|created)|End of "
    r"|Disconnected"
    r"|Loaded log|mode: |log: |Retrieving|Attempting|Rejoined|Channel #|Mode \S|\[#?\S+(?: \(\S*\))?\]",
    re.I,
)
CHANNEL_NAME = re.compile(
    r"(?:has joined|has left|joined|left|talking (?:on|in)|opic (?:for|of|on)|Session Ident:"
    r"|PRIVMSG|JOIN|Conversation with"
    r"|mode/|topic of|Rejoined channel|Channel|joining\.|parting\.)[ :]+\(?(?P<name>[#&][^\s,:;\]\x07]{1,63})"
)

LONG_DATE = (
    r"(?:[A-Z][a-z]{2,8},? )?(?:(?P<b>[A-Z][a-z]{2})[a-z]* +(?P<D>\d{1,2}),?"
    r"|(?P<D2>\d{1,2}) (?P<b2>[A-Z][a-z]{2})[a-z]*)"
    r"(?: (?P<h>\d\d?):(?P<m>\d\d)(?::\d\d)?(?: ?(?P<ap>[AP])M)?)?(?: [A-Z]{2,5})?,? (?P<Y>\d{4})"
    r"(?: (?P<h2>\d\d?):(?P<m2>\d\d))?"
)
ISO_DATE = r"(?P<iy>\d{4})[-/.](?P<im>\d\d)[-/.](?P<id>\d\d)"
MARKER = re.compile(
    r"(?:(?P<changed>-{3} Day changed(?: to)?)|-{3} Log (?:opened|closed)|-{3}|Session (?:Start"
    r"|Time|Close)(?: \([^)]*\))?:"
    r"|\*{4} (?:BEGIN|ENDING) LOGGING AT|Conversation with \S+ at|-+ ?Day changed|={2,}|#|\[INFO\] Log)"
    rf" ?(?:{LONG_DATE}|{ISO_DATE})"
)


class Stamp(NamedTuple):
    """A line's time as written. Without a year the day comes from elsewhere; `unix_ms` needs nothing."""

    rest: str
    hour: int
    minute: int
    second: int | None
    year: int = 0
    month: int = 0
    day: int = 0
    zone: str = ""
    unix_ms: int | None = None


class Happening(NamedTuple):
    """What a line tells. kind: "" spoken | action | or a notice as Message.notice has it."""

    kind: str
    nick: str
    text: str


def split_stamp(line: str, likely: int, date_order: str) -> tuple[int, Stamp] | None:
    """(which of STAMPS, stamp), trying the likely one first; None if the line begins with no time."""
    if line[:1] < " " and line[:1] not in "\t":  # a coloured stamp
        line = unstyled(line)
    if (match := STAMPS[likely].match(line)) is None:
        for which, pattern in enumerate(STAMPS):
            if (match := pattern.match(line)) is not None:
                likely = which
                break
        else:
            return None
    stamp = _stamp(match, line[match.end() :], date_order)
    return None if stamp is None else (likely, stamp)


def _stamp(match: re.Match[str], rest: str, date_order: str) -> Stamp | None:
    parts = match.groupdict()
    if unix := parts.get("unix"):
        return Stamp(rest, 0, 0, None, unix_ms=int(unix) * 1000 + int(parts["frac"] or 0))
    hour, minute, second = int(parts["h"]), int(parts["m"]), parts["s"]
    if half := parts["ap"]:
        hour = hour % 12 + (12 if half in "Pp" else 0)
    if hour > 24 or minute > 59 or (second is not None and int(second) > 60):
        return None
    year, month, day = int(parts.get("Y") or parts.get("Y2") or 0), 0, 0
    if name := parts.get("b") or parts.get("b2"):
        month, day = MONTHS.get(name.lower(), 0), int(parts["D"] or parts["D2"])
    elif parts.get("M"):
        month, day = int(parts["M"]), int(parts["D"])
    elif parts.get("p1"):
        year, month, day = ordered((int(parts["p1"]), int(parts["p2"]), year), date_order or "dmy")
        if day <= 12 < month:  # a line that was written otherwise
            month, day = day, month
        year += 2000 if year < 70 else 1900 if year < 100 else 0
    if ("b" in parts or year) and not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return Stamp(
        rest,
        hour % 24,
        minute,
        None if second is None else min(int(second), 59),
        year,
        month,
        day,
        parts.get("z") or "",
    )


FOREIGN_COLUMNS = {  # Konversation's, where others have a nick
    "Join": "join", "Part": "leave", "Quit": "leave", "Kick": "leave", "Nick": "name", "Topic": "topic",
    "Mode": "other", "Notice": "other", "Info": "other", "CTCP": "other", "Error": "other", "Netsplit": "other",
    "Channel": "other", "Created": "other", "Away": "other", "Invite": "other", "Ban": "other", "Names": "other",
}  # fmt: skip


ARROWS = {"-->": "join", "→": "join", "<--": "leave", "←": "leave", "⇐": "leave"}
SIGNS = {  # WeeChat's and ChatZilla's, where others have a nick
    "-->": "join", "-->|": "join", "<--": "leave", "|<--": "leave", "<--|": "leave", "--": "other", "-": "other",
    "---": "other", "=!=": "other", "=-=": "other", "===": "other", "***": "other", "": "other",
}  # fmt: skip


def happening(text: str, star_is_action: bool) -> Happening | None:
    """What the line after its stamp tells; None if it is in no style known.

    star_is_action: this log marks notices otherwise, so a line `* nick ...` is always an action.
    """
    if (match := SPOKEN.match(text)) and match["nick"] != "-":  # `<->` is Quassel's sign for a new nick
        return Happening("", match["nick"], match["text"] or "")
    if match := STARRED.match(text):
        rest = match["rest"]
        kind = "" if star_is_action or text.startswith(("Action:", "—", "•", "-*-")) else notice_kind(rest)
        if kind:
            return Happening(kind, _subject(rest, kind), rest)
        nick, _, deed = rest.partition(" ")
        return Happening("action", nick.lstrip("@+%&~").removesuffix(":"), deed)
    if "\t" in text and (match := COLUMNS.match(text)):
        return _column(match["nick"].strip(), match["text"])
    if match := CLOG_ACTION.match(text):
        return Happening("action", match["nick"], match["text"])
    if match := NOTICE.match(text):
        kind = notice_kind(match["rest"]) or ARROWS.get(match["sign"], "other")
        return Happening(kind, _subject(match["rest"], kind), match["rest"])
    if match := SENT_NOTICE.match(text):
        return Happening("other", match["nick"], match["text"])
    if match := RAW.match(text):
        return _raw(match["nick"], match["verb"], match["rest"])
    return None


def plain(text: str) -> Happening:
    """A stamped line in none of the marked styles: Pidgin's and eggdrop's, or just something logged."""
    if kind := notice_kind(text):
        return Happening(kind, _subject(text, kind), text)
    if match := PIDGIN_ACTION.match(text):
        nick, _, deed = match["rest"].partition(" ")
        return Happening("action", nick, deed)
    if match := COLON.match(text):
        return Happening("", match["nick"], match["text"])
    return Happening("other", "", text)


def notice_kind(text: str) -> str:
    """join | leave | name | topic | other, or "" if the words are no notice we know."""
    if TOPICS.match(text):
        return "topic"
    if ARRIVALS.match(text):
        return "join"
    if LEAVINGS.match(text):
        return "leave"
    if RENAMES.match(text):
        return "name"
    return "other" if ADMIN.match(text) else ""


def day_marker(line: str) -> tuple[date, bool] | None:
    """(the day it names, whether it is the day that begins here after another) for a line that tells one."""
    match = MARKER.match(line)
    if match is None:
        return None
    try:
        if match["iy"]:
            day = date(int(match["iy"]), int(match["im"]), int(match["id"]))
        else:
            month = MONTHS[(match["b"] or match["b2"]).lower()]
            day = date(int(match["Y"]), month, int(match["D"] or match["D2"]))
    except (ValueError, KeyError):
        return None
    return day, bool(match["changed"])


def channel_in(line: str) -> str:
    """The channel's name, '#' included, if the line tells it."""
    match = CHANNEL_NAME.search(line)
    return match["name"].rstrip(".'\")") if match else ""


def unstyled(text: str) -> str:
    """Without mIRC's colour and style bytes."""
    return STYLING.sub("", text)


def _column(nick: str, text: str) -> Happening | None:
    """WeeChat's `nick <tab> text`, with signs for what is not speech."""
    if nick in ("*", "•"):
        who, _, deed = text.partition(" ")
        return Happening("action", who.lstrip("@+%&~"), deed)
    if nick in SIGNS:
        kind = notice_kind(text) or SIGNS[nick]
        return Happening(kind, _subject(text, kind), text)
    if (kind := FOREIGN_COLUMNS.get(nick, "")) and notice_kind(text) in (kind, ""):
        return Happening(kind, _subject(text, kind), text)
    if sent := SENT_NOTICE.fullmatch(nick):
        return Happening("other", sent["nick"].partition("/")[0], text)
    nick = nick.strip("<>").lstrip("@+%&~!")
    plainly = nick.endswith(":")  # `nick: text` with a tab in the text
    return Happening("", nick, text) if nick and " " not in nick and not plainly else None


def _raw(nick: str, verb: str, rest: str) -> Happening:
    text = rest.partition(" :")[2] if " :" in rest else rest.removeprefix(":")
    if verb == "PRIVMSG":
        if text.startswith("\x01ACTION "):
            return Happening("action", nick, text[8:].rstrip("\x01"))
        return Happening("", nick, text)
    kind = {
        "JOIN": "join",
        "PART": "leave",
        "QUIT": "leave",
        "KICK": "leave",
        "NICK": "name",
        "TOPIC": "topic",
    }
    return Happening(kind.get(verb, "other"), nick, f"{nick} {verb} {rest}".rstrip())


def _subject(text: str, kind: str) -> str:
    """The nick a join, leaving or renaming is about."""
    if kind not in ("join", "leave", "name"):
        return ""
    words = re.sub(r"^(?:Joins?|Parts?|Quits?|Kicks?|Nick(?: change)?): ", "", text, count=1, flags=re.I)
    nick = words.split(" ", 1)[0].lstrip("@+%&~").removesuffix(",")
    return (
        "" if nick in ("You", "Now", "You're", "Joined", "Left", "Disconnected") or len(nick) > 64 else nick
    )
