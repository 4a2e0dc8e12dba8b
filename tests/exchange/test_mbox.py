"""Mail: where messages begin, threads, texts and files, and what is broken in real mail."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from quire.errors import FormatError
from quire.exchange import mbox
from quire.exchange.model import NOBODY, Attachment, Author, Channel, NotCarried, Options, Skipped
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

T = 1577973845000  # 2020-01-02T14:04:05Z


def mail(number: int, body: str = "text", *headers: str, date: str = "Thu, 2 Jan 2020 14:04:05 +0000") -> str:
    lines = [
        f"From ann{number}@example.org Thu Jan  2 14:04:05 2020", f"From: Ann {number} <Ann{number}@Example.org>",
        f"Date: {date}", f"Message-ID: <{number}@x>", *headers,
    ]  # fmt: skip
    return "\n".join(lines) + f"\n\n{body}\n\n"


LIST = (
    mail(1, "root", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?b?IPCfkY0=?= to  all")
    + mail(2, "> root\n\nreply", "References: <gone@x> <1@x>", "Subject: Re: x")
    + mail(3, "deep", "In-Reply-To: Your message <2@x>")
    + mail(4, "forward", "References: <9@x>")
    + mail(5, "From the beginning of 2019 at 12:30, no mail\n>From here on\n>>From there")
    + mail(9, "comes last", "Subject: first")
)
ARCHIVE = """From ann at example.org  Thu Jan  2 15:04:05 2020
From: ann at example.org (=?iso-8859-1?q?Ann_M=FCller?=)
Date: Thu, 2 Jan 2020 15:04:05 +0100
Subject: [list] Files
Message-ID: <a@x>

see here
-------------- next part --------------
A non-text attachment was scrubbed...
Name: x.png
Type: image/png
Size: 123 bytes
Desc: not available
URL: <https://example.org/x.png>
-------------- next part --------------
An HTML attachment was scrubbed...
URL: <https://example.org/attachment.html>

"""
PARTS = mail(
    7,
    """--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/html; charset=utf-8

<p>rich <b>text</b></p>
--c
Content-Type: text/plain; charset=iso-8859-15
Content-Transfer-Encoding: quoted-printable

plain =A4 text
--c--
--b
Content-Type: image/png; name="=?utf-8?q?=C3=BC.png?="
Content-Transfer-Encoding: base64

aGVsbG8=
--b
Content-Type: text/x-diff
Content-Disposition: attachment; filename*=utf-8''a%20b.diff

+x
--b--""",
    "Content-Type: multipart/mixed; boundary=b",
)


@pytest.mark.parametrize("how", PACKINGS)
def test_threads_and_beginnings(tmp_path: Path, how: str) -> None:
    path = pack(tmp_path, {"top/devel.mbox": LIST, "top/README": "From nobody"}, how)
    assert certainty(mbox, path) == 3
    found = records(mbox, path)
    root, reply, deep, forward, quoted, last = messages(found)
    assert only(found, Channel) == [Channel("devel", "devel")]
    assert (root.id, root.time_ms, root.author, root.title) == (
        "1@x",
        T,
        "ann1@example.org",
        "Grüße 👍 to all",
    )
    assert (reply.thread, reply.title, reply.body) == ("1@x", "", "> root\n\nreply"), (
        "the first reference that is here"
    )
    assert deep.thread == "1@x", "an answer to an answer belongs to the root"
    assert (forward.thread, last.title) == ("9@x", "first"), "the root may come later"
    assert quoted.body == "From the beginning of 2019 at 12:30, no mail\nFrom here on\n>From there"
    assert only(found, Author)[0] == Author("ann1@example.org", "Ann 1")
    assert not only(found, Skipped)


@pytest.mark.parametrize("how", PACKINGS)
def test_monthly_archives(tmp_path: Path, how: str) -> None:
    files = {
        "devel/2020-January.txt.gz": gzip.compress(ARCHIVE.encode()),
        "devel/2020-February.txt": mail(2, "x", "References: <a@x>"),
    }
    path = pack(tmp_path, files, how)
    assert certainty(mbox, path) == 3
    found = records(mbox, path)
    by_id = {m.id: m for m in messages(found)}
    assert only(found, Channel) == [Channel("devel", "devel")]
    assert Author("ann@example.org", "Ann Müller") in found
    assert (by_id["a@x"].body, by_id["2@x"].thread) == ("see here", "a@x")
    assert by_id["a@x"].attachments == (
        Attachment("x.png", "https://example.org/x.png", "image/png", 123),
        Attachment("attachment.html", "https://example.org/attachment.html"),
    )


def test_parts(tmp_path: Path) -> None:
    html = mail(8, "<p>only <i>rich</i></p>", "Content-Type: text/html")
    forwarded = mail(
        9,
        "--b\nContent-Type: message/rfc822\n\nSubject: in\n\nx\n--b--",
        "Content-Type: multipart/mixed; boundary=b",
    )
    many, rich, forward = messages(records(mbox, pack(tmp_path, {"a.mbox": PARTS + html + forwarded})))
    assert many.body == "plain € text"
    assert many.attachments == (
        Attachment("ü.png", media_type="image/png", size_bytes=5),
        Attachment("a b.diff", media_type="text/x-diff", size_bytes=2),
    )
    assert (rich.body, forward.body) == ("only *rich*", "")
    assert forward.attachments == (Attachment("message.eml", media_type="message/rfc822"),)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Thu, 2 Jan 2020 16:04:05 +0200 (EET)", T), ("2 Jan 20 14:04:05 GMT", T), ("Thu, 2 Jan 2020 09:04:05 EST", T),
        ("Thu, 02 Jan 2020 16:04:05 +02:00", T), ("Thu Jan  2 14:04:05 2020", T), ("Thu, 2 Jan 2020 14:04:05 +9900", T),
        ("Thu, 2 Jan 2020 14:04:05 XYZ", T), ("nonsense", T), ("Thu, 45 Jan 2020 14:04:05 +0000", T),
        ("Thu, 2 Jan 9999 14:04:05 +0000", T),
    ],
)  # fmt: skip
def test_dates(tmp_path: Path, date: str, expected: int) -> None:
    (message,) = messages(records(mbox, pack(tmp_path, {"a.mbox": mail(1, date=date)})))
    assert message.time_ms == expected, "from the date, or else from the line that begins the mail"


def test_a_date_without_zone_is_in_the_one_said(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.mbox": mail(1, date="Thu, 2 Jan 2020 15:04:05")})
    assert messages(records(mbox, path, Options(timezone="Europe/Berlin")))[0].time_ms == T


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (["Content-Type: text/plain; charset=windows-1251"], "Привет".encode("cp1251"), "Привет"),
        (["Content-Type: text/plain; charset=x-unknown"], "Grüße".encode(), "Grüße"),
        (["Content-Type: text/plain; charset=us-ascii"], b"caf\xe9", "café"),
        (["Content-Type: text/plain; charset=unicode_escape"], b"a\\x41", "a\\x41"),
        (
            ["Content-Transfer-Encoding: base64", "Content-Type: text; charset=utf-8"],
            b"R3LDvMOfZQ==\n",
            "Grüße",
        ),
        (["Content-Transfer-Encoding: base64"], b"!not base64", "!not base64"),
        (["Content-Transfer-Encoding: quoted-printable"], b"a=3Db=\nc", "a=bc"),
        (["Content-Type: multipart/mixed"], b"no boundary at all", "no boundary at all"),
    ],
)
def test_encodings(tmp_path: Path, headers: list[str], body: bytes, expected: str) -> None:
    data = mail(1, "BODY", *headers).encode().replace(b"BODY", body).replace(b"\n", b"\r\n")
    assert messages(records(mbox, pack(tmp_path, {"a.mbox": data})))[0].body == expected


def test_mail_without_id_date_or_sender(tmp_path: Path) -> None:
    text = "From x Thu Jan  2 14:04:05 2020\nSubject: a\n\none\n\nFrom x Thu Jan  2 14:04:05 2020\nSubject: a\n\none\n\n"
    text += "From x Thu Jan 2 unknown 0\nSubject: b\n\ntwo\n"
    found = records(mbox, pack(tmp_path, {"Inbox": text}))
    one, two = messages(found)
    assert one.author == two.author == NOBODY
    assert one.id != two.id
    assert [s.position for s in only(found, Skipped)] == ["line 11"]  # type: ignore[attr-defined]


def test_expunged_and_very_large_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "MESSAGE_MAX", 5000)
    text = mail(1, "gone", "X-Mozilla-Status: 0009") + mail(2, "line\n" * 5000) + mail(3, "after")
    found = records(mbox, pack(tmp_path, {"a.mbox": text}))
    large, after = messages(found)
    assert 3000 < len(large.body) < 5000
    assert after.body == "after"
    assert only(found, NotCarried) == [
        NotCarried("messages marked as deleted in the mailbox", 1),
        NotCarried("ends of very large messages", 1),
    ]


def test_mails_that_name_each_other_make_no_circle(tmp_path: Path) -> None:
    found = messages(
        records(
            mbox,
            pack(tmp_path, {"a.mbox": mail(1, "a", "References: <2@x>") + mail(2, "b", "References: <1@x>")}),
        )
    )
    assert [m.thread for m in found] == ["2@x", ""]


def test_a_damaged_archive_keeps_what_came_before(tmp_path: Path) -> None:
    data = gzip.compress("".join(mail(n, f"{n} " * 2000) for n in range(200)).encode())
    found = records(mbox, pack(tmp_path, {"2020-01.txt.gz": data[: len(data) // 2]}))
    assert 50 < len(messages(found)) < 150
    assert len(only(found, Skipped)) == 1


def test_other_files_are_no_mail(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.txt": "From here to there\nSubject: x\n", "b": b"\x00\x01"})
    assert certainty(mbox, path) == 0
    with pytest.raises(FormatError):
        records(mbox, path)


test_spoiled_mail = fuzz(mbox, (LIST + ARCHIVE + PARTS).encode(), "a.mbox", 200)
test_spoiled_archives = fuzz(mbox, gzip.compress((LIST + ARCHIVE).encode()), "a.txt.gz", 60)
