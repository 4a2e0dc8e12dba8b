"""Mail: mbox files, the monthly archives of mailing lists (Mailman's `2020-January.txt.gz`), and a file a mail.

A message begins at a line `From ` with a date in it, after an empty line, if a header follows: a sentence
that begins so does not. Lines that were quoted as `>From ` lose that sign. Messages are taken one at a
time and at most MESSAGE_MAX of each, so memory is bounded whatever the file.

A file a mail is what Maildir and MH folders hold, and `.eml` and `.emlx` files are: it begins with its headers. The
folder is the channel; what a Maildir marks as trashed or as a draft stays behind.

Threads. A first pass collects a 64-bit digest of every Message-ID there is; then the thread of an answer
is the first of its References that is really here (with its own thread's root, if it was seen), and
archives in any order come out alike. The root's title is its subject.
"""

from __future__ import annotations

import io
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from quire.errors import FormatError
from quire.exchange.jsonin import Prefixed, taken
from quire.exchange.lines import LineIds, WallClock, guarded, is_clutter, uncopied
from quire.exchange.mail import Mail, message_ids, parse
from quire.exchange.model import NOBODY, Author, Channel, Message, NotCarried, Options, Record, Skipped
from quire.exchange.sources import Source

NAME = "mbox"
TITLE = "Mail (mbox, Mailman archives, Maildir, .eml)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = True

MESSAGE_MAX = 12 << 20  # bytes of one message that are looked at; the rest of it is passed over
LINE_MAX = 1 << 20
HEAD_BYTES = 64 << 10  # of a mail that is a file by itself: its headers
IDS_MAX = 10_000_000  # digests held, 8 bytes each
ROOTS_MAX = 100_000  # recent answers whose thread is remembered
PEEKED = 8

FROM_LINE = re.compile(  # as asctime() writes dates, with what programs added over the years
    rb"From .*\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +"
    rb"(?:(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* +\d|\d{1,2} +[A-Z][a-z]{2}).*\d"
    rb"|From \S+@\S+(?: +\d{4}-\d\d-\d\d[T ]\d\d:\d\d.{0,40})?\s*$"
)
HEADER_LINE = re.compile(rb"[!-9;-~]{1,80}:|>From ")
QUOTED_FROM = re.compile(rb">+From ")
ID_HEADER = re.compile(rb"message-id:", re.I)
CANDIDATE = re.compile(r"\.(?:mbox|mbx|txt|mail|emlx?)$|(?:^|/)[^./]+$|(?:^|/)mbox$", re.I)
ENDING = re.compile(r"(?:\.(?:mbox|mbx|txt|mail|emlx?|tar|zip|tgz|gz|bz2|xz))+$", re.I)
MAILDIR = re.compile(r"(?:^|/)(?:cur|new)/[^/]+$")
MAILDIR_FLAGS = re.compile(r"[:;!]2,([A-Za-z]*)$")  # a colon, where the file system has none
SINGLE = re.compile(r"\.(?:emlx?|mail)$|(?:^|/)\d+$|(?:^|/)(?:cur|new)/[^/]+$", re.I)  # MH numbers its files
SINGLE_HEADER = re.compile(
    rb"^(from|date|message-id|received|subject|to|return-path|mime-version):", re.I | re.M
)
EMLX_COUNT = re.compile(rb"\s{0,8}(\d{1,12})\s*\n")
DATED = re.compile(
    r"(?:[-_. ](?:19|20)\d\d(?:[-_.](?:\d\d?|[A-Z][a-z]{2,8})){0,2})+$"
)  # HyperKitty's downloads
PERIOD = re.compile(
    r"(?:\d{4}(?:[-_ ]?(?:\d\d?|q[1-4]|[a-z]{3,9}))?(?:[-_ ]?\d\d?)?|mbox|archive|messages|cur|all)$", re.I
)


def recognise(source: Source) -> int:
    for name in [n for n, size in sorted(source.sizes().items()) if size and _may_be_mail(n)][:PEEKED]:
        head = source.peek(name, 16_384).lstrip()
        first, _, rest = head.partition(b"\n")
        if (FROM_LINE.match(first) and HEADER_LINE.match(rest)) or _is_single(name, head):
            return 3
    return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """Every mailbox of the export. Raises FormatError if there is none."""
    clock = WallClock(options.timezone)
    known, boxes = _survey(source)
    if not boxes:
        raise FormatError(f"{source.path.name} holds no mailbox", rule="unknown_format")
    reader = _Reader(clock, known)
    for name, stream in source.walk(lambda n: n in boxes):
        shown = options.channel or _box_name(source, name)
        if shown not in reader.channels:
            reader.channels.add(shown)
            yield Channel(shown, shown)
        yield from guarded(name, reader.box(name, stream, shown))
    if reader.drafts:
        yield NotCarried("drafts", reader.drafts)
    if reader.expunged:
        yield NotCarried("messages marked as deleted in the mailbox", reader.expunged)
    if reader.cut:
        yield NotCarried("ends of very large messages", reader.cut)


class _Reader:
    """What is remembered from message to message."""

    def __init__(self, clock: WallClock, known: array[int]) -> None:
        self.clock = clock
        self.known = known
        self.channels: set[str] = set()
        self.names: dict[str, str] = {}
        self.roots: dict[str, str] = {}
        self.ids: dict[str, LineIds] = {}
        self.expunged = self.drafts = self.cut = 0

    def box(self, file: str, stream: BinaryIO, channel: str) -> Iterator[Record]:
        flags = found[1] if (found := MAILDIR_FLAGS.search(file)) else ""
        if "D" in flags or "T" in flags:
            self.drafts += "T" not in flags
            self.expunged += "T" in flags
            return
        for line, data, whole in messages(stream) if not SINGLE.search(file) else single(file, stream):
            self.cut += not whole
            mail = parse(data, self.clock)
            if mail.expunged:
                self.expunged += 1
            elif mail.time_ms is None:
                yield Skipped(file, f"line {line}", "no date that can be read")
            else:
                yield from self.message(channel, mail, mail.time_ms)

    def message(self, channel: str, mail: Mail, time: int) -> Iterator[Record]:
        author = mail.address or mail.name or NOBODY
        if self.names.get(author) != mail.name:
            self.names[author] = mail.name
            yield Author(author, mail.name or author)
        key = mail.id or self.ids.setdefault(channel, LineIds()).name(
            str(time), author, mail.subject + mail.body
        )
        root = self.root(key, mail.references)
        yield Message(
            channel, key, time, author, mail.body,
            thread=root,
            title="" if root else mail.subject,
            attachments=mail.attachments,
        )  # fmt: skip

    def root(self, key: str, references: tuple[str, ...]) -> str:
        for reference in references:
            if reference != key and self.is_here(reference):
                root = self.roots.get(reference, reference)
                if root == key:
                    return ""  # two messages that name each other
                if len(self.roots) >= ROOTS_MAX:
                    del self.roots[next(iter(self.roots))]
                self.roots[key] = root
                return root
        return ""

    def is_here(self, key: str) -> bool:
        digest = _digest(key)
        place = bisect_left(self.known, digest)
        return place < len(self.known) and self.known[place] == digest


def messages(stream: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """(number of its first line, its bytes with the `From ` line, are they all) of each message."""
    lines: list[bytes] = []
    at = size = 0
    blank, whole = True, True
    held = b""  # a `From ` line that begins a message if a header follows
    for number, line in enumerate(_lines(stream), start=1):
        if held:
            if HEADER_LINE.match(line):
                if lines:
                    yield at, b"".join(lines), whole
                lines, at, size, whole = [], number - 1, 0, True
            if lines or HEADER_LINE.match(line):
                lines.append(held)
            held = b""
        if blank and line.startswith(b"From ") and FROM_LINE.match(line):
            held = line
        elif lines:
            size += len(line)
            if size <= MESSAGE_MAX:
                lines.append(line[1:] if line.startswith(b">") and QUOTED_FROM.match(line) else line)
            else:
                whole = False
        blank = not line.strip()
    if lines:
        yield at, b"".join(lines), whole


def single(name: str, stream: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """The one mail of a file, or, where it is a mailbox all the same, its messages."""
    head = taken(stream, HEAD_BYTES)
    if not _is_single(name, head.lstrip()):
        yield from messages(cast(BinaryIO, Prefixed(head, stream)))
        return
    data = head + taken(stream, MESSAGE_MAX + 1 - len(head))
    if counted := EMLX_COUNT.match(
        data
    ):  # Apple Mail's: how long the mail is, the mail, and a list of its own
        data = data[counted.end() : counted.end() + int(counted[1])]
    yield 1, data[:MESSAGE_MAX], len(data) <= MESSAGE_MAX
    stream.read(1)  # a damaged file says so now


def _is_single(name: str, head: bytes) -> bool:
    """Does a file that may be one mail begin as one?"""
    if not SINGLE.search(name) or FROM_LINE.match(head):
        return False
    if counted := EMLX_COUNT.match(head):
        head = head[counted.end() :]
    top = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    return HEADER_LINE.match(top) is not None and len(set(map(bytes.lower, SINGLE_HEADER.findall(top)))) >= 2


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; an overlong one comes in pieces."""
    reader = io.BufferedReader(stream, 1 << 18)  # type: ignore[type-var]  # only readinto() is used
    try:
        while line := reader.readline(LINE_MAX):
            yield line
    finally:
        reader.detach()


def _survey(source: Source) -> tuple[array[int], set[str]]:
    """(digests of all Message-IDs, sorted; names of the files that are mailboxes)"""
    known = array("Q")
    boxes: set[str] = set()
    for name, stream in source.walk(_may_be_mail):
        try:
            for key in _ids_in(stream) if not SINGLE.search(name) else _id_of(name, stream):
                boxes.add(name)
                if key and len(known) < IDS_MAX:
                    known.append(_digest(key))
        except FormatError:
            continue  # the second pass reports what is damaged
    return array("Q", sorted(known)), boxes


def _id_of(name: str, stream: BinaryIO) -> Iterator[str]:
    """As `_ids_in`, for a file that may be one mail."""
    head = taken(stream, HEAD_BYTES)
    if not _is_single(name, head.lstrip()):
        yield from _ids_in(cast(BinaryIO, Prefixed(head, stream)))
        return
    yield ""
    if found := re.search(rb"^message-id:[^<\r\n]*(?:\r?\n[ \t][^<\r\n]*)?(<[^<>\s]+>)", head, re.I | re.M):
        yield from message_ids(found[1])


def _ids_in(stream: BinaryIO) -> Iterator[str]:
    """The Message-ID of each message, "" at each beginning; nothing if it begins as no mailbox does."""
    in_header = started = False
    held = wrapped = False
    for line in _lines(stream):
        if not started and line.strip() and not held and not FROM_LINE.match(line):
            return
        if held and HEADER_LINE.match(line):
            in_header = started = True
            yield ""
        held = not in_header and line.startswith(b"From ") and FROM_LINE.match(line) is not None
        if in_header:
            if not line.strip():
                in_header = False
            elif wrapped or ID_HEADER.match(line):
                found = message_ids(line)
                wrapped = not found and not wrapped
                yield from found[:1]


def _digest(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _may_be_mail(name: str) -> bool:
    if MAILDIR.search(name):  # whose folders may have names like `.Sent`
        return True
    return CANDIDATE.search(name) is not None and not is_clutter(name)


def _folder_name(source: Source, name: str) -> str:
    """The folder of a mail that is a file by itself: `.lists.garden/cur/1.a:2,S` is of `lists.garden`."""
    folders = [part for part in name.split("/")[:-1] if part not in ("cur", "new")]
    whole = ENDING.sub("", source.path.name) if "/" in name or name not in source.path.name else ""
    return (folders[-1] if folders else whole).lstrip(".") or "mail"


def _box_name(source: Source, name: str) -> str:
    """The list's name: the file's, or its folder's or archive's where the file is called after a month."""
    if SINGLE.search(name):
        return _folder_name(source, name)
    path = PurePosixPath(uncopied(name))
    for part in (path.name, path.parent.name, source.path.name):
        stem = DATED.sub("", ENDING.sub("", part))
        if stem and not PERIOD.fullmatch(stem):
            return stem
    return ENDING.sub("", path.name) or "mail"
