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


def letter(name: str, subject: str = "beans", more: str = "") -> str:
    return (
        f"Received: by mx.example; Wed, 3 Mar 2004 09:07:00 -0500\nFrom: Ana <Ana@garden.example>\n"
        f"Date: Wed, 3 Mar 2004 09:06:06 -0500\nSubject: {subject}\nMessage-ID: <{name}@garden.example>\n{more}\nIt is {name}.\n"
    )


@pytest.mark.parametrize("how", PACKINGS)
def test_a_maildir_is_a_channel_a_folder(tmp_path: Path, how: str) -> None:
    files = {
        "cur/1.M1P2.host:2,S": letter("one"),
        "new/2.M1P2.host": letter("two", "Re: beans", "In-Reply-To: <one@garden.example>\n"),
        "cur/3.M1P2.host:2,ST": letter("trashed"),
        "cur/4.M1P2.host;2,DS": letter("draft"),
        "tmp/5.M1P2.host": "half a mail",
        ".lists.garden/cur/6.M1P2.host!2,": letter("three"),
        "dovecot-uidlist": "3 V1 N5\n1 :1.M1P2.host\n",
    }
    path = pack(tmp_path, files, how, "home")
    assert certainty(mbox, path) == 3
    found = records(mbox, path)
    assert {c.name for c in found if isinstance(c, Channel)} == {"home", "lists.garden"}
    by_body = {message.body: message for message in messages(found)}
    assert set(by_body) == {"It is one.", "It is two.", "It is three."}
    assert by_body["It is two."].thread == by_body["It is one."].id == "one@garden.example"
    assert by_body["It is three."].channel == "lists.garden"
    assert sorted((r.what, r.count) for r in found if isinstance(r, NotCarried)) == [
        ("drafts", 1), ("messages marked as deleted in the mailbox", 1),
    ]  # fmt: skip


def test_single_mails_of_other_programs(tmp_path: Path) -> None:
    mail = letter("one").encode()
    apple = b"%d\n" % len(mail) + mail + b"<?xml version='1.0'?><plist><dict/></plist>"
    for name, content in {"note.eml": mail, "inbox/12": mail, "Messages/9.emlx": apple}.items():
        path = pack(tmp_path, {name: content}, "folder", name.partition("/")[0] + "-folder")
        assert certainty(mbox, path) == 3, name
        assert [message.body for message in messages(records(mbox, path))] == ["It is one."], name
    path = pack(tmp_path, {"alone.eml": mail}, "file")
    found = records(mbox, path)
    assert [c.name for c in found if isinstance(c, Channel)] == ["mail"]
    assert [m.title for m in messages(found)] == ["beans"]
    box = pack(tmp_path, {"all.eml": b"From ana Wed Mar  3 09:06:06 2004\n" + mail}, "file")
    assert [message.body for message in messages(records(mbox, box))] == [
        "It is one."
    ]  # not what its name says
    assert certainty(mbox, pack(tmp_path, {"a.eml": b"To whom it may concern\n\nhello"}, "file")) == 0


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("Reply-To: Ana <ana@garden.example>\n", "ana@garden.example"),
        (
            "Reply-To: Ana <ana@garden.example>, Garden <all@garden.example>, Bob <bob@x.example>\n",
            "ana@garden.example",
        ),
        ("X-Original-From: Ana <ana@garden.example>\n", "ana@garden.example"),
        ("List-Id: <all.garden.example>\nReply-To: all@garden.example\n", "Ana"),
    ],
)
def test_who_wrote_through_a_list_that_puts_itself_first(tmp_path: Path, more: str, key: str) -> None:
    mail = letter("one", more=more).replace(
        "Ana <Ana@garden.example>", "\"'Ana' via Garden\" <all@garden.example>", 1
    )
    path = pack(tmp_path, {"list.mbox": "From x Wed Mar  3 09:06:06 2004\n" + mail}, "file")
    found = records(mbox, path)
    assert only(found, Author) == [Author(key, "Ana")]
    assert [message.author for message in messages(found)] == [key]


@pytest.mark.parametrize(
    "name",
    ["list@x.example-2020-01.mbox", "list@x.example-2020-01-2020-02.mbox", "list@x.example-2020-01-01.mbox"],
)
def test_months_of_one_list_are_one_channel(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path, {name: "From x Wed Mar  3 09:06:06 2004\n" + letter("one")}, "file")
    assert [c.name for c in records(mbox, path) if isinstance(c, Channel)] == ["list@x.example"]


def test_a_line_of_spaces_before_the_next_message_is_an_empty_line(tmp_path: Path) -> None:
    text = (
        "From x Wed Mar  3 09:06:06 2004\n"
        + letter("one")
        + " \nFrom x Wed Mar  3 09:06:07 2004\n"
        + letter("two")
    )
    path = pack(tmp_path, {"list.mbox": text}, "file")
    assert [message.body for message in messages(records(mbox, path))] == ["It is one.", "It is two."]


@pytest.mark.parametrize(
    ("sender", "key", "name"),
    [("Ana Lim <ana at garden.example>", "ana@garden.example", "Ana Lim"),
     ("ana(at)garden.example (Ana)", "ana@garden.example", "Ana"),
     ("ana AT garden DOT example", "ana@garden.example", "ana@garden.example"),
     ("'Ana' <ana@garden.example>", "ana@garden.example", "Ana"), ("Ana <ana [at] garden.example>", "ana@garden.example", "Ana"),
     ("Ana &lt;ana@garden.example&gt;", "ana@garden.example", "Ana"),
     ("Ana at work <ana@garden.example>", "ana@garden.example", "Ana at work")],
)  # fmt: skip
def test_addresses_that_an_archive_hid(tmp_path: Path, sender: str, key: str, name: str) -> None:
    text = "From x Wed Mar  3 09:06:06 2004\n" + letter("one").replace("Ana <Ana@garden.example>", sender, 1)
    assert only(records(mbox, pack(tmp_path, {"list.mbox": text}, "file")), Author) == [Author(key, name)]


@pytest.mark.parametrize("line", ["From ana@garden.example", "From ana@garden.example 2004-03-03 09:06:06"])
def test_from_lines_without_a_date_of_the_usual_form_begin_a_message_before_a_header(
    tmp_path: Path, line: str
) -> None:
    text = f"{line}\n{letter('one')}\n{line}\n{letter('two')}\n{line}\nsaid something\n"
    path = pack(tmp_path, {"list.mbox": text}, "file")
    one, two = messages(records(mbox, path))
    assert (one.body, two.body) == ("It is one.", f"It is two.\n\n{line}\nsaid something")


def test_dates_as_programs_print_them(tmp_path: Path) -> None:
    for date in ("2004-03-03 09:06:06 -0500", "2004-03-03T14:06:06Z", "2004-03-03 14:06:06"):
        text = "From x Thu Mar  4 09:06:06 2004\n" + letter("one").replace(
            "Wed, 3 Mar 2004 09:06:06 -0500", date
        )
        (message,) = messages(records(mbox, pack(tmp_path, {"list.mbox": text}, "file")))
        assert message.time_ms == 1078322766000
