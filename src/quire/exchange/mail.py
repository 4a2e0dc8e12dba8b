"""One e-mail, from its bytes to what Quire keeps: who, when, what about, which text, which files.

Most mail of lists is one plain text: its few headers are read directly and its text decoded, at a tenth
of the cost of the standard library's parser. Everything with parts goes through that parser. Nothing
a mail says of itself is trusted: encodings that do not exist, zones that do not, base64 that is none.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message as Parsed
from email.utils import getaddresses, parseaddr, parsedate_tz
from html import unescape

import msgspec

from quire.exchange.lines import WallClock
from quire.exchange.markup import to_markdown
from quire.exchange.model import Attachment
from quire.exchange.text import clean, iso_ms, valid_time_ms

HTML_MAX = 2 << 20  # characters of a page that are turned to Markdown
PARTS_MAX = 500
REFERENCES_MAX = 200
ZONE_MAX_S = 15 * 3600  # no zone is further from UTC; more is a broken number

ID = re.compile(rb"<([^<>\s]{1,900})>")
FOLD = re.compile(rb"\r?\n(?=[ \t])")
HEADER = re.compile(rb"^([!-9;-~]{1,80}):[ \t]*(.*?)\r?$", re.M)
WANTED = frozenset(
    [b"from", b"date", b"subject", b"message-id", b"references", b"in-reply-to", b"content-type",
     b"content-transfer-encoding", b"x-mozilla-status", b"x-imap", b"received",
     b"reply-to", b"x-original-from", b"list-id"]
)  # fmt: skip
WORD = re.compile(r"=\?([A-Za-z0-9_.:+-]{1,40})(?:\*[A-Za-z-]{0,20})?\?([BbQq])\?([^?]{0,2000})\?=")
BETWEEN_WORDS = re.compile(r"(\?=)[ \t\r\n]+(?==\?)")
ARCHIVE_FROM = re.compile(r"(?P<local>\S+) at (?P<host>\S+)(?: \((?P<name>.*)\))?$")
HIDDEN = re.compile(
    r"(?P<local>(?<![^\s<\"'(])[\w.+=-]{1,64})(?: at | AT |\s?[\[(](?:at|AT|a)[\])]\s?)"
    r"(?P<host>[\w-]{1,63}(?:(?:\.| DOT | dot |\s?[\[(](?:dot|DOT)[\])]\s?)[\w-]{1,63}){1,6})(?=[>\s)\"'(]|$)"
)
DOT = re.compile(r" DOT | dot |\s?[\[(](?:dot|DOT)[\])]\s?")
VIA = re.compile(r"['\"]?(?P<name>\S.*?)['\"]? via \S.*")  # how lists that keep to DMARC name who wrote
CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:+-]{1,40})", re.I)
REAL_CHARSET = re.compile(
    r"utf[-_]?(?:7|8|16|32)|us-ascii|ascii|iso[-_]?\d|latin|windows-?\d|cp-?\d|koi8|big5|gb|hz|euc"
    r"|shift|s_?jis|ks_?c|mac|tis"
    r"|johab|l\d$",
    re.I,
)
ALIASES = {"iso-8859-8-i": "iso-8859-8", "iso-8859-8-e": "iso-8859-8", "x-sjis": "shift_jis", "x-gbk": "gbk",
           "x-euc-jp": "euc_jp", "unicode-1-1-utf-7": "utf-7", "cp-850": "cp850", "windows-874": "cp874",
           "us-ascii": "utf-8", "ascii": "utf-8", "gb2312": "gb18030", "iso-8859-1": "cp1252"}  # fmt: skip
SCRUBBED = re.compile(
    r"(?<!-)-{5,} next part -{5,}\n(?:(?:An? [^\n]*? (?:attachment|part|message) was scrubbed"
    r"|Skipped content)[^\n]*\n(?P<facts>(?:(?!-{5})[^\n]+\n?){0,12}))"
)
FACT = re.compile(r"^(Name|Type|Size|URL|Url)\s*: ?(.*)$", re.M)
NAMES_ZONE = re.compile(r"\d:\d\d\s*(?:\d{4}\s*)?(?:[+-]\d|\(?[A-Za-z])")
EXPUNGED = 0x0008  # in Mozilla's status: deleted, and still in the file until it is compacted


class Mail(msgspec.Struct, frozen=True):
    """What is kept of one mail."""

    id: str
    time_ms: int | None
    address: str  # lower case; "" if there is none
    name: str
    subject: str
    references: tuple[str, ...]  # oldest first
    body: str
    attachments: tuple[Attachment, ...] = ()
    expunged: bool = False


def parse(data: bytes, clock: WallClock) -> Mail:
    """One message of an mbox, its `From ` line first if it has one."""
    head, body = _split(data)
    fields = _fields(head)
    envelope = head.partition(b"\n")[0] if head.startswith(b"From ") else b""
    name, address = _sender(_header(fields.get(b"from", b"")), envelope)
    if " via " in name:
        name, address = _through_a_list(name, address, fields)
    text, files = _content(fields, body, data)
    text, scrubbed = _unscrubbed(text)
    references = (
        message_ids(fields.get(b"references", b""))[:REFERENCES_MAX]
        + message_ids(fields.get(b"in-reply-to", b""))[:1]
    )
    status = fields.get(b"x-mozilla-status", b"").strip()
    return Mail(
        id=(message_ids(fields.get(b"message-id", b"")) or [""])[0]
        or _bare_id(fields.get(b"message-id", b"")),
        time_ms=_time(fields, envelope, clock),
        address=address,
        name=name,
        subject=re.sub(r"\s+", " ", _header(fields.get(b"subject", b""))).strip(),
        references=tuple(dict.fromkeys(references)),
        body=text,
        attachments=(*files, *scrubbed),
        expunged=b"x-imap" in fields  # a mail server's own notes, kept as the first message
        or (re.fullmatch(rb"[0-9A-Fa-f]{4}", status) is not None and bool(int(status, 16) & EXPUNGED)),
    )


def message_ids(value: bytes) -> list[str]:
    """The ids in angle brackets."""
    return [clean(_decoded(found, "utf-8")) for found in ID.findall(value)]


def _bare_id(value: bytes) -> str:
    """An id that lost its brackets."""
    words = value.split()
    return clean(_decoded(words[0][:900], "utf-8")) if len(words) == 1 else ""


def _split(data: bytes) -> tuple[bytes, bytes]:
    found = re.search(rb"\r?\n\r?\n", data)
    return (data, b"") if found is None else (data[: found.start()], data[found.end() :])


def _fields(head: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in HEADER.findall(FOLD.sub(b"", head)):
        name = name.lower()
        if name in WANTED:
            fields.setdefault(name, value)
    return fields


def _header(value: bytes) -> str:
    """A header's text, its encoded words decoded."""
    text = _decoded(value, "utf-8")
    if "=?" in text:
        text = WORD.sub(_word, BETWEEN_WORDS.sub(r"\1", text))
    return clean(text).replace("\0", "").strip()


def _word(match: re.Match[str]) -> str:
    charset, encoding, text = match.groups()
    try:
        if encoding in "Bb":
            raw = base64.b64decode(text + "=" * (-len(text) % 4))
        else:
            raw = quopri.decodestring(text.replace("_", " ").encode("latin-1", "replace"), header=True)
    except (binascii.Error, ValueError):
        return match[0]
    return _decoded(raw, charset)


def _decoded(raw: bytes, charset: str) -> str:
    """`raw` as text in what it says it is, else in what it turns out to be."""
    name = charset.lower()
    name = ALIASES.get(name, name)
    for encoding in (name, "utf-8"):
        if REAL_CHARSET.match(encoding):
            try:
                return raw.decode(encoding)
            except (LookupError, UnicodeError, ValueError):
                continue
    return raw.decode("cp1252", "replace")


def _sender(value: str, envelope: bytes) -> tuple[str, str]:
    """(name, address)"""
    if "&lt;" in value:  # saved from a web page
        value = unescape(value)
    value = HIDDEN.sub(_shown_address, value)
    if match := ARCHIVE_FROM.match(value):
        address = f"{match['local']}@{match['host']}".lower()
        return (match["name"] or address).strip(), address
    try:
        name, address = parseaddr(value[:2000])
    except (ValueError, IndexError, RecursionError):
        name, address = "", ""
    if not address and not name:
        name = value[:200]
    if not name and not address and envelope:
        words = _decoded(envelope, "utf-8").split()
        address = words[1] if len(words) > 1 and "@" in words[1] else ""
    name = WORD.sub(_word, name) if "=?" in name else name
    if len(name) > 2 and name[0] == name[-1] == "'":
        name = name[1:-1]
    return (name or address).strip(), address.strip().lower()


def _through_a_list(name: str, address: str, fields: dict[bytes, bytes]) -> tuple[str, str]:
    """(name, address) of who wrote what a list sent as `Ann via Garden <garden@lists.example>`."""
    found = VIA.fullmatch(name)
    if found is None:
        return name, address
    for field in (b"x-original-from", b"reply-to"):
        people = getaddresses([_header(fields.get(field, b""))[:2000]])
        others = [(who, where.lower()) for who, where in people if "@" in where and where.lower() != address]
        named = [person for person in others if person[0] == found["name"]] or others
        if len(named) == 1:
            return named[0][0] or found["name"], named[0][1]
    return (found["name"], "") if b"list-id" in fields else (name, address)


def _shown_address(match: re.Match[str]) -> str:
    """`ann at garden.example`, `ann(at)garden.example`, `ann AT garden DOT example`: hidden from machines."""
    return f"{match['local']}@{DOT.sub('.', match['host'])}"


def _time(fields: dict[bytes, bytes], envelope: bytes, clock: WallClock) -> int | None:
    """When it was written: its date, else when the last server had it, else the `From ` line's."""
    received = fields.get(b"received", b"").rpartition(b";")[2]
    sent = re.search(rb"(?:[A-Z][a-z]{2},? )?[A-Z][a-z]{2} +\d.*", envelope)
    for raw in (fields.get(b"date", b""), received, sent[0] if sent else b""):
        if raw and (time := _date(_decoded(raw, "utf-8")[:200], clock)) is not None:
            return time
    return None


def _date(text: str, clock: WallClock) -> int | None:
    if text[:4].isdecimal():
        return iso_ms(re.sub(r" ?([+-]\d\d):?(\d\d)$", r"\1:\2", text.strip()), clock.zone)
    try:
        parts = parsedate_tz(re.sub(r"([+-]\d\d):(\d\d)\b", r"\1\2", text))
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts[:6]
    zone = parts[9] or 0
    if NAMES_ZONE.search(text) is None:  # which the parser takes for UTC
        return clock.ms(year, month, day, hour, minute, min(second, 59)) if 0 <= hour < 24 else None
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
    return valid_time_ms(since - (zone * 1000 if abs(zone) <= ZONE_MAX_S else 0))


def _content(fields: dict[bytes, bytes], body: bytes, data: bytes) -> tuple[str, tuple[Attachment, ...]]:
    kind = _decoded(fields.get(b"content-type", b""), "utf-8")
    plain = kind.partition(";")[0].strip().lower()
    if plain in ("", "text", "text/plain") or "/" not in plain:
        encoding = fields.get(b"content-transfer-encoding", b"").strip().lower()
        charset = CHARSET.search(kind)
        return _text(_untransferred(body, encoding), charset[1] if charset else "utf-8"), ()
    if data.startswith(b"From "):
        data = data.partition(b"\n")[2]
    try:
        return _parts(message_from_bytes(data))
    except (ValueError, LookupError, RecursionError, TypeError, AttributeError, KeyError, IndexError):
        return _text(body, "utf-8"), ()  # the parser's own faults on what no mail should be


def _untransferred(body: bytes, encoding: bytes) -> bytes:
    if encoding == b"quoted-printable":
        return quopri.decodestring(body)
    if encoding == b"base64":
        # A list's footer may follow the base64; what cannot be decoded stays as it is.
        coded = re.match(rb"[A-Za-z0-9+/=\s]*", body)
        assert coded is not None  # it matches nothing, too
        try:
            return base64.b64decode(coded[0]) + body[coded.end() :]
        except binascii.Error:
            return body
    return body


def _text(raw: bytes, charset: str) -> str:
    return clean(_decoded(raw, charset)).replace("\r\n", "\n").strip("\n ")


def _parts(mail: Parsed) -> tuple[str, tuple[Attachment, ...]]:
    """The text of all shown parts, and the files."""
    texts: list[str] = []
    pages: list[str] = []
    files: list[Attachment] = []
    for part in _leaves(mail):
        kind = part.get_content_type()
        name = _filename(part)
        attached = str(part.get("content-disposition", "")).lower().startswith("attachment")
        if part.get_content_maintype() == "multipart":
            kind = "text/plain"  # the parts are not there: what there is, is text
        if kind in ("text/plain", "text/html") and not attached and not name:
            charset = CHARSET.search(str(part.get("content-type", "")))
            text = _text(_payload(part), charset[1] if charset else "utf-8")
            if kind == "text/plain":
                texts.append(text)
            else:
                pages.append(text)
        elif kind == "message/rfc822":
            files.append(Attachment(name or "message.eml", media_type=kind))
        elif kind not in ("application/pgp-signature", "application/pkcs7-signature") or name:
            files.append(
                Attachment(name or kind.replace("/", "."), media_type=kind, size_bytes=len(_payload(part)))
            )
    if not any(texts) and pages:
        texts = [to_markdown(page[:HTML_MAX]) for page in pages]
    return "\n\n".join(text for text in texts if text), tuple(files)


def _leaves(mail: Parsed) -> Iterator[Parsed]:
    """The parts that have no parts, in order; a forwarded message is one, whatever is in it."""
    pending: list[Parsed] = [mail]
    seen = 0
    while pending and seen < PARTS_MAX:
        part = pending.pop(0)
        seen += 1
        inner = part.get_payload()
        if isinstance(inner, list) and part.get_content_type() != "message/rfc822":
            pending[:0] = [piece for piece in inner if isinstance(piece, Parsed)]
        else:
            yield part


def _payload(part: Parsed) -> bytes:
    try:
        payload = part.get_payload(decode=True)
    except (ValueError, LookupError, UnicodeError):
        return b""
    return payload if isinstance(payload, bytes) else b""


def _filename(part: Parsed) -> str:
    try:
        name = part.get_filename() or ""
    except (ValueError, LookupError, TypeError, IndexError):
        return "file"
    name = _header(name.encode("utf-8", "surrogateescape"))
    return re.sub(r"\s+", " ", name)[:255]


def _unscrubbed(text: str) -> tuple[str, tuple[Attachment, ...]]:
    """A list archive's notes on the files it took out, as files."""
    if "next part -----" not in text:
        return text, ()
    files: list[Attachment] = []

    def noted(match: re.Match[str]) -> str:
        facts = dict(FACT.findall(match["facts"]))
        size = re.match(r"(\d{1,15})", facts.get("Size", ""))
        url = (facts.get("URL") or facts.get("Url") or "").strip("<> ")
        name = facts.get("Name", "").strip()
        name = name if name not in ("", "not available") else url.rsplit("/", 1)[-1]
        if name:
            files.append(Attachment(name, url, facts.get("Type", "").strip(), int(size[1]) if size else None))
        return ""

    text = SCRUBBED.sub(noted, text + "\n").strip("\n ")
    return text, tuple(files)
