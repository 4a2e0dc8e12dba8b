"""Telegram on web pages: Telegram Desktop's export and tg-archive's sites."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import telegram_html as importer
from quire.exchange.model import (
    Attachment,
    Author,
    Channel,
    NotCarried,
    Options,
    PinEvent,
    Reaction,
    Skipped,
)
from quire.exchange.text import iso_ms
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records, survives

DESKTOP = """<!DOCTYPE html><html><head><meta charset="utf-8"/><title>Exported Data</title></head>
 <body onload="CheckLocation();"><div class="page_wrap"><div class="page_header"><div class="content">
 <div class="text bold">
{name}
 </div></div></div><div class="page_body chat_page"><div class="history">
{items}
 </div></div></div></body></html>"""


def desktop(*items: str, name: str = "Friends") -> str:
    return DESKTOP.format(name=name, items="\n".join(items))


def item(number: int, inside: str, name: str = "Ann", when: str = "05.07.2019 16:55:0{} UTC+02:00") -> str:
    who = f'<div class="from_name">\n{name} \n</div>' if name else ""
    joined = "" if name else " joined"
    return (
        f'<div class="message default clearfix{joined}" id="message{number}"><div class="body">'
        f'<div class="pull_right date details" title="{when.format(number % 10)}">\n16:55\n</div>\n{who}\n{inside}</div></div>'
    )


def text(html: str) -> str:
    return f'<div class="text">\n{html}\n </div>'


def service(number: int, html: str) -> str:
    return (
        f'<div class="message service" id="message{number}"><div class="body details">\n{html}\n</div></div>'
    )


START = iso_ms("2019-07-05T14:55:00Z") or 0


@pytest.mark.parametrize("how", PACKINGS)
def test_telegram_desktops_pages_in_any_packing(tmp_path: Path, how: str) -> None:
    files = {
        "ChatExport/messages.html": desktop(
            service(-1, "5 July 2019"), item(1, text("one")), item(2, text("two"), name=""),
            '<a class="pagination block_link" href="messages2.html">\nNext messages\n</a>',
        ),
        "ChatExport/messages2.html": desktop(item(3, text("three"), name="Bob Lee via @gif")),
        "ChatExport/css/style.css": ".message {}",
        "ChatExport/files/page.html": "<html><div class='message default'>x</div></html>",
    }  # fmt: skip
    path = pack(tmp_path, files, how)
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert only(found, Channel) == [Channel("Friends", "Friends")]
    assert only(found, Author) == [Author("Ann", "Ann"), Author("Bob Lee", "Bob Lee")]
    assert [(m.id, m.time_ms - START, m.author, m.body) for m in messages(found)] == [
        ("1", 1000, "Ann", "one"), ("2", 2000, "Ann", "two"), ("3", 3000, "Bob Lee", "three")
    ]  # fmt: skip
    assert not only(found, Skipped)


def test_formatting_replies_forwards_and_media(tmp_path: Path) -> None:
    html = (
        'see <strong>b</strong><br>&lt;i&gt; <a href="https://a.example/">here</a> <a href="" onclick="x">#tag</a> '
        '<span class="spoiler hidden"><span aria-hidden="true">end</span></span><pre>x\n  y</pre>'
    )
    reply = '<div class="reply_to details">\nIn reply to <a href="messages.html#go_to_message1">this message</a>\n</div>'
    other = '<div class="reply_to details">\nIn reply to a message in another chat\n</div>'
    eve = '<div class="from_name">\nEve <span class="details"> 01.01.2019</span></div>'
    forward = f'<div class="forwarded body">{eve}{text("old")}</div>'
    photo = (
        '<div class="media_wrap clearfix"><a class="photo_wrap clearfix pull_left" href="photos/p@1.jpg">'
        '<img class="photo" src="t"/></a></div>'
    )
    media = (
        '<div class="media_wrap clearfix"><{0} class="media clearfix pull_left {1}"{2}><div class="fill pull_left"></div>'
        '<div class="body"><div class="title bold">\n{3}\n</div><div class="status details">\n{4}\n</div></div></{0}></div>'
    )
    poll = (
        '<div class="media_wrap"><div class="media_poll"><div class="question bold">Q?</div><div class="details">Final'
        '</div><div class="answer">- A <span class="details">2 votes</span></div></div></div>'
    )
    reactions = (
        '<span class="reactions"><span class="reaction"><span class="emoji">\n👍\n</span><span class="userpics">'
        '<div class="userpic userpic1" title="Bob, 05.07.2019 17:00:00"></div></span><span class="count">3</span></span></span>'
    )
    page = desktop(
        item(1, text(html)), item(2, reply + text("r") + reactions), item(3, other + text("o")), item(4, forward),
        item(5, photo + text("caption")), item(6, media.format("a", "media_file", ' href="files/f.pdf"', "f.pdf", "1 KB")),
        item(7, media.format("div", "media_voice_message", "", "Voice message", "0:05")),
        item(8, media.format("div", "media_call", "", "Bob", "Outgoing (5 seconds)")), item(9, poll),
    )  # fmt: skip
    found = records(importer, pack(tmp_path, {"messages.html": page}))
    by_id = {m.id: m for m in messages(found)}
    assert by_id["1"].body == "see **b**\n<i> [here](https://a.example/) #tag ||end||\n\n```\nx\n  y\n```"
    assert {m.id: m.reply_to for m in by_id.values() if m.reply_to} == {"2": "1"}
    assert by_id["2"].reactions == (Reaction("👍", ("Bob",), 2),)
    assert (by_id["4"].body, by_id["4"].author) == ("Forwarded from Eve:\n> old", "Ann")
    assert by_id["5"].attachments == (Attachment("p@1.jpg", "photos/p@1.jpg"),)
    assert by_id["6"].attachments == (Attachment("f.pdf", "files/f.pdf"),)
    assert by_id["7"].attachments == (Attachment("Voice message"),)
    assert (by_id["8"].body, by_id["8"].attachments) == ("Bob: Outgoing (5 seconds)", ())
    assert by_id["9"].body == "Poll:\nQ?\nFinal\n- A 2 votes"
    assert NotCarried("polls (kept as text)", 1) in found
    assert Author("Bob", "Bob") in found


def test_service_lines_are_notices_at_the_time_before_them(tmp_path: Path) -> None:
    page = desktop(
        service(-1, "5 July 2019"),
        service(10, "Ann created group &laquo;Friends&raquo; with members Bob"),
        item(11, text("hi"), when="05.07.2019 16:55:01"),
        service(12, "Bob Lee joined group by link from Group"),
        service(
            13, 'Ann pinned <a href="#go_to_message11" onclick="return GoToMessage(11)">this message</a>'
        ),
        service(-2, "6 July 2019"),
        service(14, "Ann changed group title to &laquo;X&raquo;"),
    )
    found = records(importer, pack(tmp_path, {"messages.html": page}), Options(timezone="Europe/Berlin"))
    assert [(m.id, m.notice, m.author, m.time_ms) for m in messages(found)] == [
        ("10", "other", "Ann", iso_ms("2019-07-04T22:00:00Z")),
        ("11", "", "Ann", iso_ms("2019-07-05T14:55:01Z")),
        ("12", "join", "Bob Lee", iso_ms("2019-07-05T14:55:01Z")),
        ("13", "pin", "Ann", iso_ms("2019-07-05T14:55:01Z")),
        ("14", "name", "Ann", iso_ms("2019-07-05T22:00:00Z")),
    ]
    assert only(found, PinEvent) == [PinEvent("Friends", "11", iso_ms("2019-07-05T14:55:01Z") or 0, "Ann")]


def test_chats_of_an_account_that_are_called_the_same_stay_apart(tmp_path: Path) -> None:
    files = {
        "chats/chat_001/messages.html": desktop(item(1, text("a"))),
        "chats/chat_001/messages2.html": desktop(item(2, text("b"))),
        "chats/chat_002/messages.html": desktop(item(1, text("c"))),
        "lists/chats.html": '<div class="page_wrap"><div class="page_body list_page"></div></div>',
    }
    found = messages(records(importer, pack(tmp_path, files)))
    assert [(m.channel, m.id) for m in found] == [
        ("Friends", "1"),
        ("Friends", "2"),
        ("Friends (chat_002)", "1"),
    ]


SITE = """<!DOCTYPE html><html lang="en"><head><title>@club - Jul 2019 (page 1)</title></head><body><div class="wrap">
<nav class="nav"><a href="./">@club</a></nav><footer>Made with <a href="https://github.com/knadh/tg-archive">tg-archive</a>
</footer><ul class="messages"><li class="day" id="2019-07-05"><span class="title">05 July 2019</span></li>
{0}</ul><section class="dayline"><ul class="index"><li class="day-x"><a href="x">1</a></li></ul></section></div></body></html>"""


def post(
    number: int, html: str, user: str = "ann", shown: str = "@ann", kind: str = "message", more: str = ""
) -> str:
    return f"""<li class="message type-{kind}" id="{number}"><div class="avatar"><img src="media/a.jpg" alt="" /></div>
      <div class="body"><div class="meta"><a href="https://t.me/{user}" class="username" rel="nofollow">{shown}</a>
      {more} <a class="id" href="#{number}">#{number}</a><span class="date">04:55 PM, 05 Jul 2019</span></div>
      <div class="text">
        {html}
      </div></div></li>"""


@pytest.mark.parametrize("how", PACKINGS)
def test_tg_archives_site(tmp_path: Path, how: str) -> None:
    reply = '<a class="reply" href="2019-06.html#1">↶ Reply to #1</a>'
    media = (
        '<div class="media"><a href="{0}"><img src="media/t.jpg" class="thumb" /><br />'
        '<span class="filename">{1}</span></a></div>'
    )
    preview = '</div><div class="media"><a href="https://a.example/">Title</a><div>words</div></div><div>'
    page = SITE.format(
        post(1, "one\n<br />two &lt;3 <a href=\"https://a.example/x\" rel=\"noopener\">https://a.example/x</a>" + preview)
        + post(2, "answer</div>" + media.format("media/2.pdf", "doc.pdf") + "<div>", "bob", "Bob Lee (@bob)", more=reply)
        + post(3, "Joined.", kind="user_joined")
    )  # fmt: skip
    path = pack(
        tmp_path, {"site/2019-07.html": page, "site/index.html": page, "site/index.xml": "<rss/>"}, how
    )
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert only(found, Channel) == [Channel("club", "club")]
    assert only(found, Author) == [Author("ann", "ann"), Author("bob", "Bob Lee")]
    distinct = {m.id: m for m in messages(found)}
    assert len(messages(found)) == 2 * len(distinct)  # index.html repeats the last page
    assert distinct["1"].body == "one\ntwo <3 https://a.example/x"
    assert (distinct["2"].reply_to, distinct["2"].author) == ("1", "bob")
    assert distinct["2"].attachments == (Attachment("doc.pdf", "media/2.pdf"),)
    assert distinct["3"].notice == "join"
    assert {m.time_ms for m in messages(found)} == {iso_ms("2019-07-05T16:55:00Z")}
    assert NotCarried("link previews", 2) in found


def test_broken_messages_do_not_stop_the_rest(tmp_path: Path) -> None:
    page = desktop(
        service(5, "nobody knows when"),
        item(1, text("a"), when="sometime"),
        '<div class="message default clearfix"><div class="pull_right date details" title="05.07.2019 16:55:00"></div></div>',
        item(2, text("b")),
    )
    found = records(importer, pack(tmp_path, {"messages.html": page[: page.index("</body>")]}))
    assert [m.body for m in messages(found)] == ["b"]
    assert [(s.position, s.reason) for s in found if isinstance(s, Skipped)] == [
        ("message 5", "no time"), ("message 2", "no time"), ("message 3", "no id")
    ]  # fmt: skip


def test_foreign_files_are_not_recognised(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.html": "<html><div class='message'>x</div></html>", "b.txt": desktop()})
    assert certainty(importer, path) == 0
    with pytest.raises(FormatError):
        records(importer, path)


SAMPLE = desktop(item(1, text("<b>a</b>")), service(2, "Ann pinned <a href='#go_to_message1'>x</a>")).encode()
PAGE = SITE.format(post(1, "one") + post(2, "two")).encode()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([SAMPLE, PAGE]), st.integers(300, 1600), st.integers(0, 60),
    st.binary(max_size=6) | st.sampled_from([b"<div class='message service' id='message9'>", b"</div>", b"<", b"&#0;"]),
)  # fmt: skip
def test_any_content_gives_records_or_a_format_error(
    tmp_path: Path, data: bytes, at: int, gone: int, junk: bytes
) -> None:
    survives(importer, pack(tmp_path, {"messages.html": data[:at] + junk + data[at + gone :]}))
