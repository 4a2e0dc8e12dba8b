"""DiscordChatExporter's pages: today's template, minified or not, and those of earlier years."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import discord_html as importer
from quire.exchange import pages
from quire.exchange.discord_json import EPOCH_MS
from quire.exchange.model import Attachment, Author, Channel, NotCarried, Options, Reaction, Skipped, Warn
from quire.exchange.text import iso_ms
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records, survives

NOON = iso_ms("2022-12-09T12:35:07Z") or 0


def snowflake(second: int) -> str:
    return str((NOON + second * 1000 - EPOCH_MS) << 22)


HEAD = """<!DOCTYPE html><html lang="en"><head><title>Guild - general</title><meta charset="utf-8">
<style>.chatlog__message-group{margin:0}</style></head><body>
<div class="preamble"><div class="preamble__entries-container"><div class="preamble__entry">Guild</div>
<div class="preamble__entry">Talk / general</div>
<div class="preamble__entry preamble__entry--small">all &amp; sundry</div></div></div>
<div class="chatlog">
"""
FOOT = """</div><div class="postamble"><div class="postamble__entry">Exported {0:,} message(s)</div>
<div class="postamble__entry">Timezone: UTC+2</div></div></body></html>"""


def header(
    name: str = "Ann Example", key: str = "900000000000000001", tag: str = "", printed: str = ""
) -> str:
    return (
        f'<div class="chatlog__header"><span class="chatlog__author" style="color:rgb(1,2,3)" title="{name.lower()}"'
        f' data-user-id="{key}">{name}</span> {tag} <span class="chatlog__timestamp" title="{printed}">'
        f'<a href="#x">short</a></span></div>'
    )


def box(second: int, inside: str, css: str = "") -> str:
    name = snowflake(second)
    return (
        f'<div id="chatlog__message-container-{name}" class="chatlog__message-container {css}" data-message-id="{name}">'
        f'<div class="chatlog__message"><div class="chatlog__message-aside"></div>'
        f'<div class="chatlog__message-primary">{inside}</div></div></div>'
    )


def content(html: str, edited: str = "") -> str:
    mark = f' <span class="chatlog__edited-timestamp" title="{edited}">(edited)</span>' if edited else ""
    text = f'<span class="chatlog__markdown-preserve">{html}</span>' if html else ""
    return f'<div class="chatlog__content chatlog__markdown">{text}{mark}</div>'


def page(*groups: str, count: int | None = None) -> str:
    wrapped = "\n".join(f'<div class="chatlog__message-group">{group}</div>' for group in groups)
    total = sum(group.count("data-message-id") for group in groups) if count is None else count
    return HEAD + wrapped + FOOT.format(total)


@pytest.mark.parametrize("how", PACKINGS)
def test_channels_in_any_packing(tmp_path: Path, how: str) -> None:
    name = "out/Guild - Talk - general [123456789012345678]"
    files = {
        f"{name}.html": page(box(1, header() + content("one")) + box(2, content("two"))),
        f"{name} [part 2].html": page(box(3, header("Bob", "9") + content("three"))),
        f"{name}.html_Files/saved.html": page(box(4, content("an attachment"))),
        "out/index.html": "<html><body>not an export</body></html>",
        "out/plain.htm": page(box(5, header() + content("five"))),
    }
    path = pack(tmp_path, files, how)
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert sorted((m.channel, m.time_ms - NOON, m.author, m.body) for m in messages(found)) == [
        ("123456789012345678", 1000, "900000000000000001", "one"),
        ("123456789012345678", 2000, "900000000000000001", "two"),
        ("123456789012345678", 3000, "9", "three"),
        ("Talk / general", 5000, "900000000000000001", "five"),
    ]
    assert {(c.name, c.topic) for c in found if isinstance(c, Channel)} == {("general", "all & sundry")}
    assert not only(found, Skipped)
    assert not only(found, Warn)


def test_unquoted_attributes_as_the_minifier_leaves_them(tmp_path: Path) -> None:
    text = page(box(1, header(tag='<span class="chatlog__author-tag">BOT</span>') + content("<em>hi</em>")))
    bare = re.sub(r'="([\w-]+)"', r"=\1", text)
    assert "class=chatlog__message-group" in bare
    found = records(importer, pack(tmp_path, {"a.html": bare}, "file"))
    assert [m.body for m in messages(found)] == ["*hi*"]
    assert only(found, Author) == [Author("900000000000000001", "Ann Example", bot=True)]


def test_formatting_becomes_markdown(tmp_path: Path) -> None:
    html = (
        "<strong>b</strong> line\n  two\n"
        '<code class="chatlog__markdown-pre chatlog__markdown-pre--multiline language-py">if x:\n    y &lt; z</code>\n'
        '<div class="chatlog__markdown-quote"><div class="chatlog__markdown-quote-border"></div>'
        '<div class="chatlog__markdown-quote-content">old\nwords</div></div>\n'
        '<code class="chatlog__markdown-pre chatlog__markdown-pre--inline">c</code> '
        '<span class="chatlog__markdown-spoiler chatlog__markdown-spoiler--hidden">end</span> '
        '<img class="chatlog__emoji" alt="😅" title="sweat_smile" src="https://cdn.example/1f605.svg">'
        '<img class="chatlog__emoji" alt="party" title="party" src="https://cdn.example/emojis/7.png">'
    )
    (found,) = messages(records(importer, pack(tmp_path, {"a.html": page(box(1, header() + content(html)))})))
    assert (
        found.body == "**b** line\n  two\n```py\nif x:\n    y < z\n```\n> old\n> words\n`c` ||end|| 😅:party:"
    )


def test_all_a_message_can_carry(tmp_path: Path) -> None:
    mention = '<span class="chatlog__markdown-mention" title="{0}">@{0}</span>'
    reply = (
        f'<div class="chatlog__reply"><div class="chatlog__reply-author">Bob</div><div class="chatlog__reply-content">'
        f'<span class="chatlog__reply-link" onclick="scrollToMessage(event,\'{snowflake(1)}\')">'
        f"{mention.format('bob')}</span></div></div>"
    )
    files = (
        '<div class="chatlog__attachment"><a href="https://cdn.example/a/x.png?e=1"><img class="chatlog__attachment-media"'
        ' src="https://cdn.example/a/x.png?e=1" alt="alt" title="Image: my x (1).png (18.23 KB)"></a></div>'
        '<div class="chatlog__attachment"><div class="chatlog__attachment-generic"><div class="chatlog__attachment-generic-'
        'name"><a href="a.html_Files\\f.txt"> f.txt </a></div></div></div>'
        '<div class="chatlog__attachment"><video><source src="v.mp4" title="Video: v.mp4 (1 MB)"></video></div>'
    )
    reactions = (
        '<div class="chatlog__reactions"><div class="chatlog__reaction" title="ant"><img class="chatlog__emoji" alt="🐜">'
        '<span class="chatlog__reaction-count">3</span></div><div class="chatlog__reaction" title="ours"><img alt="ours">'
        '<span class="chatlog__reaction-count">1</span></div></div>'
    )
    own = content(mention.format("ann example") + " hi", "09 December 2022 14:40")
    text = page(
        box(1, header("Bob", "9") + content("first")),
        box(2, reply + header(printed="09 December 2022 14:35") + own + files + reactions, "chatlog__message-container--pinned"),
    )  # fmt: skip
    found = messages(records(importer, pack(tmp_path, {"a.html": text})))[1]
    assert (found.body, found.reply_to, found.reply_to_time_ms) == (
        "@ann example hi",
        snowflake(1),
        NOON + 1000,
    )
    assert found.mentions == ("900000000000000001",)
    assert found.edited_ms == iso_ms("2022-12-09T12:40:00Z")  # the exporter's clock is two hours ahead
    assert found.pinned
    assert found.attachments == (
        Attachment("my x (1).png", "https://cdn.example/a/x.png?e=1"),
        Attachment("f.txt", "a.html_Files/f.txt"),
        Attachment("v.mp4", "v.mp4"),
    )
    assert found.reactions == (Reaction("🐜", unknown=3), Reaction(":ours:", unknown=1))


@pytest.mark.parametrize(
    ("icon", "text", "notice"),
    [("join-icon", "joined the server.", "join"), ("leave-icon", "left the group.", "leave"),
     ("pin-icon", "pinned a message", "pin"), ("pencil-icon", "changed the channel name: x", "name"),
     ("thread-icon", "started a thread.", "other")],
)  # fmt: skip
def test_system_notifications_are_notices(tmp_path: Path, icon: str, text: str, notice: str) -> None:
    inside = (
        f'<svg class="chatlog__system-notification-icon"><use href="#{icon}"></use></svg>'
        f'<span class="chatlog__system-notification-author" data-user-id="9">Bob</span> <span> </span>'
        f'<span class="chatlog__system-notification-content"> <span>{text}</span> </span>'
    )
    (found,) = messages(records(importer, pack(tmp_path, {"a.html": page(box(1, inside))})))
    assert (found.notice, found.body, found.author) == (notice, text, "9")


def test_what_is_not_carried_is_counted_and_stood_in_for(tmp_path: Path) -> None:
    unknown = '<div class="chatlog__reply"><div class="chatlog__reply-unknown">Original message was deleted</div></div>'
    command = '<div class="chatlog__reply"><div class="chatlog__reply-content">used /poll</div></div>'
    sticker = '<div class="chatlog__sticker" title="Wave"><img class="chatlog__sticker--media" src="s"></div>'
    embed = (
        '<div class="chatlog__embed"><div class="chatlog__embed-title"><a href="https://ci.example/1">Build</a></div>'
        '<div class="chatlog__embed-description"><div class="chatlog__markdown">failed</div></div></div>'
    )
    name = '<div class="chatlog__attachment-generic-name"><a href="x/a.zip">a.zip</a></div>'
    file = f'<div class="chatlog__attachment-generic">{name}</div>'
    forward = (
        '<div class="chatlog__forwarded"><div class="chatlog__forwarded-content">old\nwords</div>'
        f'<div class="chatlog__forwarded-attachments">{file}</div></div><div class="chatlog__attachment">{file}</div>'
    )
    text = page(
        box(1, unknown + header() + content("a")),
        box(2, command + header() + content("b") + embed),
        box(3, header() + sticker),
        box(4, header() + embed),
        box(5, header() + forward),
    )
    found = records(importer, pack(tmp_path, {"a.html": text}))
    assert [len(m.attachments) for m in messages(found)] == [0, 0, 0, 0, 2]
    bodies = [m.body for m in messages(found)]
    assert bodies == [
        "a",
        "b",
        ":Wave:",
        "[Build](https://ci.example/1)\nfailed",
        "Forwarded:\n> old\n> words",
    ]
    assert {(n.what, n.count) for n in found if isinstance(n, NotCarried)} == {
        ("replies to deleted messages", 1),
        ("slash commands before answers", 1),
        ("stickers", 1),
        ("embeds", 2),
    }


INFO = """<html><head><title>Guild - old</title></head><body><div class="info"><div class="info__metadata">
<div class="info__guild-name">Guild</div><div class="info__channel-name">old</div>
<div class="info__channel-topic">then</div></div></div><div class="chatlog">"""


def test_the_template_of_2021(tmp_path: Path) -> None:
    name = snowflake(7)
    text = f"""{INFO}<div class="chatlog__message-group">
      <div class="chatlog__author-avatar-container"><img class="chatlog__author-avatar" src="a"></div>
      <div class="chatlog__messages">
        <div class="chatlog__reference-symbol"></div><div class="chatlog__reference"><span class="chatlog__reference-link"
          onclick="scrollToMessage(event, '{snowflake(1)}')">first</span></div>
        <span class="chatlog__author-name" title="Ann#1234" data-user-id="31">Ann</span>
        <span class="chatlog__bot-tag">BOT</span><span class="chatlog__timestamp">09-Dec-22 01:35 PM</span>
        <div class="chatlog__message chatlog__message--pinned" data-message-id="{name}" id="message-{name}">
          <div class="chatlog__content"><div class="markdown"><span class="preserve-whitespace">a
 b</span></div> <span class="chatlog__edited-timestamp" title="09-Dec-22 01:40 PM">(edited)</span></div></div>
        <div class="chatlog__message" data-message-id="{snowflake(8)}">
          <div class="chatlog__content"><div class="markdown">c</div></div></div>
      </div></div></div></body></html>"""
    found = records(importer, pack(tmp_path, {"a.html": text}))
    assert only(found, Channel) == [Channel("old", "old", topic="then")]
    assert only(found, Author) == [Author("31", "Ann", bot=True)]
    first, second = messages(found)
    assert (first.id, first.body, first.pinned, first.author) == (name, "a\n b", True, "31")
    assert (second.body, second.author, second.time_ms) == ("c", "31", NOON + 8000)


def test_the_template_of_2018_has_no_ids(tmp_path: Path) -> None:
    group = """<div class="chatlog__message-group"><div class="chatlog__messages">
      <span class="chatlog__author-name" title="Ann#1234">Ann</span>
      <span class="chatlog__timestamp">{0}</span>
      <div class="chatlog__content">one<br />two <span class="chatlog__edited-timestamp" title="x">(edited)</span></div>
      <div class="chatlog__content">same</div><div class="chatlog__content">same</div></div></div>"""
    text = INFO + group.format("17-Sep-18 03:04 AM") + group.format("sometime") + "</div></body></html>"
    path = pack(tmp_path, {"a.html": text})
    found = records(importer, path)
    assert [m.body for m in messages(found)] == ["one\ntwo", "same", "same"]
    assert {m.time_ms for m in messages(found)} == {iso_ms("2018-09-17T03:04:00Z")}
    assert len({m.id for m in messages(found)}) == 3
    assert messages(records(importer, path)) == messages(found)  # the same names in every run
    assert len(only(found, Skipped)) == 3


def test_what_happened_is_a_notice_in_templates_that_show_it_as_a_message(tmp_path: Path) -> None:
    group = """<div class="chatlog__message-group"><div class="chatlog__messages">
      <span class="chatlog__author-name" title="Ann#1234">Ann</span><span class="chatlog__timestamp">17-Sep-18 03:04 AM</span>
      <div class="chatlog__content">Pinned a message.</div><div class="chatlog__content">pinned a message</div></div></div>"""
    found = messages(records(importer, pack(tmp_path, {"a.html": INFO + group + "</div></body></html>"})))
    assert [m.notice for m in found] == ["pin", ""]
    new = messages(
        records(
            importer,
            pack(tmp_path, {"b.html": page(box(1, header() + content("Pinned a message.")))}, name="new"),
        )
    )
    assert [m.notice for m in new] == [""]  # there it has a mark of its own


def test_day_and_month_are_told_apart_by_the_ids(tmp_path: Path) -> None:
    text = page(box(1, header(printed="12/9/2022 12:35 PM") + content("x", "12/9/2022 12:50 PM")))
    (found,) = messages(records(importer, pack(tmp_path, {"a.html": text})))
    assert found.edited_ms == iso_ms("2022-12-09T12:50:00Z")


def test_an_unreadable_edit_time_is_the_messages_own(tmp_path: Path) -> None:
    text = page(box(1, header(printed="9 décembre 2022 12:35") + content("x", "9 décembre 2022 12:50")))
    (found,) = messages(records(importer, pack(tmp_path, {"a.html": text})))
    assert found.edited_ms == found.time_ms


def test_counts_that_differ_are_a_warning(tmp_path: Path) -> None:
    found = records(importer, pack(tmp_path, {"a.html": page(box(1, header() + content("x")), count=1234)}))
    assert [w.text for w in found if isinstance(w, Warn)] == ["a.html says it has 1234 messages and has 1"]


def test_pieces_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PIECE_CHARS_MAX", 4000)
    monkeypatch.setattr(pages, "WINDOW_BYTES", 500)
    groups = [box(n, header() + content("x" * (9000 if n == 2 else 10))) for n in range(1, 5)]
    found = records(importer, pack(tmp_path, {"a.html": page(*groups)}))
    assert [m.id for m in messages(found)] == [snowflake(1), snowflake(3), snowflake(4)]
    assert [(s.position, s.reason) for s in found if isinstance(s, Skipped)] == [("group 2", "too long")]


def test_a_cut_page_gives_what_is_there(tmp_path: Path) -> None:
    text = page(box(1, header() + content("one")), box(2, header() + content("two")))
    found = messages(records(importer, pack(tmp_path, {"a.html": text[: text.index("two") + 1]})))
    assert [m.body for m in found] == ["one", "t"]


def test_foreign_files_are_not_recognised(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.html": "<html></html>", "b.txt": page()})
    assert certainty(importer, path) == 0
    with pytest.raises(FormatError):
        records(importer, path)


SAMPLE = page(
    box(1, header() + content("<b>one</b>", "09 December 2022 14:40")),
    box(
        2,
        header()
        + '<div class="chatlog__reaction"><img alt="x"><span class="chatlog__reaction-count">3</span></div>',
    ),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(len(HEAD) - 60, len(SAMPLE)), st.integers(0, 60), st.binary(max_size=6) | st.sampled_from(
    [b"<div class=chatlog__message-group>", b"</div>", b"<", b'"', b"&#xD800;", b"data-message-id=9"]))  # fmt: skip
def test_any_content_gives_records_or_a_format_error(tmp_path: Path, at: int, gone: int, junk: bytes) -> None:
    data = SAMPLE.encode()
    survives(importer, pack(tmp_path, {"a.html": data[:at] + junk + data[at + gone :]}))
    survives(importer, pack(tmp_path, {"a.html": b"chatlog" + junk + data[at:]}))


def test_the_pyscript_pages() -> None:
    counts = expected("discord-pyscript")
    path = corpus("discord-pyscript/html-export.tar.xz")
    found = records(importer, path, Options())
    counted = tally(found, importer.NOTICES_ARE_MESSAGES)
    same = ("records", "messages", "notices", "channels", "threads", "reactions", "reaction_kinds", "edited",
            "attachments", "authors")  # fmt: skip
    for what in same:
        assert counted[what] == counts[what], what
    # counts.json counts reply headers. Of those, 3 stand above the answer to a slash command, which is no message;
    # of 13 the message answered is gone.
    assert counted["not_carried"]["replies to deleted messages"] == 13
    assert counted["not_carried"]["slash commands before answers"] == 3
    assert counted["replies"] == counts["replies"] - 3
    assert counted["skipped"] == counted["warnings"] == 0  # every page's own total agrees
    names = {channel.key: channel.name for channel in found if isinstance(channel, Channel)}
    assert {names[key]: count for key, count in counted["messages_per_channel"].items()} == {
        name.partition(" / ")[2]: count for name, count in counts["messages_per_channel"].items()
    }
