"""Write the first corpus: one or a few small, made-up inputs for each target. `python -m fuzz.seeds`.

Inputs that once failed are added to fuzz/corpus/TARGET/ by hand, under a name that says what they did.
"""

from __future__ import annotations

import io
import tarfile
import zipfile

from fuzz.targets import CORPUS
from quire.core.backup import (
    Away,
    ChannelEntry,
    EpochItem,
    FileEntry,
    HereItem,
    LogEntry,
    Manifest,
    OwnerItem,
    PackBody,
    PackEntry,
    PackSpan,
    SettingItem,
)
from quire.core.crypto.keys import SigningKey
from quire.core.encoding import encode
from quire.core.export_seal import seal_export
from quire.core.heights import LogHeight
from quire.core.ids import ChannelId, DeviceId
from quire.core.packing import packed
from quire.core.relay_frames import (
    CaughtUp,
    Challenge,
    Item,
    Left,
    Open,
    Put,
    Read,
    Refused,
    Stored,
    Subscribe,
    encode_frame,
)
from quire.core.relay_items import Need
from quire.core.segment import header
from quire.sync.messages import (
    Asked,
    Bye,
    Content,
    Have,
    Hello,
    Here,
    Lacks,
    Outline,
    Part,
    Piece,
    Rest,
    Sent,
    Taken,
    Want,
    channel_token,
    encode_message,
)


def seeds() -> dict[str, dict[str, bytes]]:
    """Target -> name -> input."""
    texts: dict[str, dict[str, str]] = {
        "query": {
            "words": 'deploy "release notes" migrat* -draft',
            "filters": 'from:"Ada L" in:#general after:2024-01 before:2024-03-05T10:00 has:link',
            "scripts": "東京 שָׁלוֹם café 👍🏽 -\"日本\"*",
            "operators": 'AND OR NOT NEAR(a, 2) ^x a:b "" * (',
            "nul": 'a\0b "c\0d"',
        },
        "message_id": {"short": "mzxw-1042.17", "whole": "aaaqeayeaudaocaj-1042.17", "edge": "a-4294967295.65535"},
        "cursor": {"place": "18bcfe568000000." + "00" * 16, "time": "18bcfe568000000.", "minus": "-1.", "under": "1_0."},
        "text": {
            "ascii": "The beans are up: see https://example.org/a_b?c=1",
            "scripts": "春の東京 שָׁלוֹם café e\u0301 Straße ΟΔΟΣ İstanbul ภาษาไทย हिन्दी 👨‍👩‍👧 ﷺ ｶﾞ",
            "jamo": "\u1112\u1161\u11ab\u1100\u1173\u11af 한글",
            "marks": "\u0301\u0301 か\u200d\u3099 \u09c7\u09be",
        },
        "import-slack": {"day": SLACK},
        "import-zulip": {"messages": ZULIP},
        "import-zulip-archive": {"topic": ZULIP_ARCHIVE},
        "import-discord": {"channel": DISCORD},
        "import-discord-html": {"page": DISCORD_HTML},
        "import-discord-text": {"page": DISCORD_TEXT, "groups": DISCORD_GROUPS},
        "import-telegram": {"chat": TELEGRAM},
        "import-telegram-html": {"page": TELEGRAM_HTML},
        "import-matrix": {"element": MATRIX, "lines": MATRIX_LINES},
        "import-element": {"page": ELEMENT},
        "import-gitter": {"room": GITTER},
        "import-mattermost": {"bulk": MATTERMOST},
        "import-messenger": {"old": MESSENGER},
        "import-jsonl": {"chat": JSONL},
        "import-whatsapp": {"android": WHATSAPP, "iphone": WHATSAPP_IPHONE},
        "import-signal": {"markdown": SIGNAL},
        "import-mbox": {"list": MBOX},
        "import-irc": {"irssi": IRC, "znc": IRC_ZNC},
    }  # fmt: skip
    found = {target: {name: text.encode() for name, text in of.items()} for target, of in texts.items()}
    found["query"]["surrogate"] = b"a\xffb from:\xff"
    found["text"]["surrogate"] = b"a\xffb c"
    found["source"] = archives()
    span = PackSpan(b"p" * 10, 1, 7, b"i" * 32)
    found["pack"] = {"plain": encode(PackBody(3, 5, b"", (span,), (b"one", b"two"), (Away(1, b"\3"),)))}
    entry = PackEntry(b"n" * 32, 9, 3, 5, b"", 2, b"d" * 32, (span,))
    files, logs = (FileEntry(b"f" * 32, 7, b""),), (LogEntry(b"p" * 10, b"c" * 32),)
    channels = (ChannelEntry(b"c" * 32, "general", 3),)
    found["segment"] = {
        "plain": b"\0" + bytes(40),
        "compressed": b"\1" + packed(JSONL.encode())[4:],
        "file": header(bytes(16)),
    }
    found["manifest"] = {"plain": encode(Manifest(b"v" * 16, 1, 1, (entry,), files, logs, channels))}
    found["backup_state"] = {
        "owner": encode(OwnerItem(b"i" * 32, b"")), "setting": encode(SettingItem("quota_soft", 7)),
        "epoch": encode(EpochItem(b"c" * 32, b"e" * 32, b"k" * 32)), "here": encode(HereItem(b"c" * 32, "keep", 9)),
    }  # fmt: skip
    found["packing"] = {"text": packed(JSONL.encode()), "empty": packed(b"")}
    found["sync_session"] = {"round": round_of_sync(), "files": files_of_sync()}
    found["relay_frame"] = relay_frames()
    found["attached"] = {
        "name": "../../plan \u202e (1).tar.gz".encode(), "device": b"CON.nul.txt", "jpeg": small_picture("JPEG"),
        "png": small_picture("PNG"), "elf": b"\x7fELF\2\1\1" + bytes(40), "markup": b" <svg onload=x>",
    }  # fmt: skip
    found["relay_item"] = {
        "part": bytes([32]) + b"w" * 16 + b"\0\1\0\2" + b"part", "mark": bytes([34]) + b"n" * 32,
        "record": bytes([2]) + b"bundle",
        "need": encode(Need(b"d" * 32, (LogHeight(b"d" * 32, b"i" * 16, b"", 9, b"n" * 32, ((2, 3),)),))),
    }  # fmt: skip
    height = LogHeight(b"d" * 32, b"i" * 16, b"", 9, b"n" * 32, ((2, 3), (5, 5)))
    device = SigningKey(bytes(32))
    statement, _ = seal_export(b"c" * 32, device.public, b"{}", 3, [height], device.sign)
    found["export_seal"] = {"statement": statement}
    found["export_text"] = {
        "signs": b"a **b** *c* _d_ ~~e~~ `f` [g](https://h.example/i) https://j.example/k.\n> l\n- m",
        "fences": b"```py\n<b>\n```\n~~~\n</code><script>\n ~~~\n- n\n  ```\n<img src=x onerror=o>",
        "links": b'[x](javascript:y) [x]: javascript:y\nhttps://z"onclick=1 <a href=x>',
        "cell": "\t=1+1 \uff1d2 @x |y".encode(),
    }
    found["handshake"] = {"opening": b"\1" + bytes(16), "client": bytes(112), "server": bytes(96)}
    found["pasted"] = {
        "code": b"7K2Q-M9XD",
        "zeros": b"oooo 0000",
        "card": b"quire:card:AAAA",
        "id": b"quire:id:AAAA",
    }
    return found


def round_of_sync() -> bytes:
    """A peer's side of a round, as frames."""
    nonce, channel, peer = bytes(16), ChannelId(bytes(32)), DeviceId(b"p" * 32)
    token = channel_token(channel, peer, nonce)
    height = LogHeight(bytes(32), bytes(16), b"", 9, bytes(32), ((2, 3), (5, 5)))
    said = [
        Hello(1, nonce, ((token, b"d" * 16),)), Have(token, (height,), (bytes(16),)), Asked(), Part(1, 2, True, b"record"),
        Sent(), Rest(False), Taken(1), Bye("done"),
    ]  # fmt: skip
    return encode([encode_message(one) for one in said])


def files_of_sync() -> bytes:
    """What a peer says of files."""
    file = bytes(32)
    hello = Hello(1, bytes(16), ())
    said = [
        hello,
        Want(file, 0, 4),
        Outline(file, bytes(64)),
        Piece(file, 0, b"x"),
        Lacks(file),
        Here(file),
        Content(),
    ]
    return encode([encode_message(one) for one in said])


def small_picture(kind: str) -> bytes:
    """A few pixels."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (9, 7), "teal").save(out, kind)
    return out.getvalue()


def relay_frames() -> dict[str, bytes]:
    box = bytes(32)
    said = (
        Challenge(2, box, bytes(16), 1 << 20), Left(box, 3, 9), Read(4, box, 3, 9, True, 64), Stored(1, 2), Item(box, 3, b"item"), CaughtUp(box, 3), Refused(1, "rule"),
        Open(1, box, bytes(64)), Put(2, box, b"item"), Subscribe(3, box, 0),
    )  # fmt: skip
    return {type(one).__name__.lower(): encode_frame(one) for one in said}


def archives() -> dict[str, bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("chat.jsonl"), JSONL)
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        member = tarfile.TarInfo("a/chat.jsonl")
        member.size = len(JSONL.encode())
        tar.addfile(member, io.BytesIO(JSONL.encode()))
    whole = zipped.getvalue()
    return {
        "zip": whole, "zip-cut": whole[:-30], "tar": tarred.getvalue()[:2048], "gzip": b"\x1f\x8b\x08" + bytes(20),
        "plain": JSONL.encode(), "empty": b"",
    }  # fmt: skip


SLACK = """[
 {"type": "message", "ts": "1600000000.000100", "user": "U1", "text": "*hi* <@U1> :tada: <https://example.org|x>",
  "reactions": [{"name": "+1::skin-tone-2", "users": ["U1"], "count": 2}], "reply_count": 1,
  "edited": {"user": "U1", "ts": "1600000002.000000"}, "files": [{"name": "a.txt", "size": 3}]},
 {"type": "message", "subtype": "channel_join", "ts": "1600000001.000200", "user": "U1", "text": "<@U1> has joined"},
 {"type": "message", "ts": "1600000003.000000", "thread_ts": "1600000000.000100", "user": "U1", "text": "reply",
  "blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "reply"}]}]}]}
]"""
ZULIP = """{"zerver_message": [{"id": 1, "sender": 11, "recipient": 101, "subject": "Plans", "content": "text",
 "date_sent": 1600000001.5, "edit_history": "[{\\"prev_content\\": \\"old\\", \\"timestamp\\": 1600000002}]"}],
 "zerver_usermessage": []}"""
ZULIP_ARCHIVE = """[{"content": "<p>text <b>b</b> <a href=\\"/user_uploads/1/a.png\\">a.png</a></p>", "id": 1,
 "sender_full_name": "Ann Example", "timestamp": 1600000001}]"""
DISCORD = """{"guild": {"id": "5", "name": "Guild"},
 "channel": {"id": "100", "type": "GuildTextChat", "category": "Talk", "name": "general", "topic": "all"},
 "messages": [{"id": "754725000000000000", "type": "Default", "timestamp": "2020-09-13T14:26:40.5+02:00",
  "timestampEdited": "2020-09-13T14:27:40+02:00", "isPinned": true, "content": "text <@1> **b**",
  "author": {"id": "1", "name": "ann", "nickname": "Ann", "isBot": false},
  "attachments": [{"id": "7", "fileName": "a.png", "url": "a.png", "fileSizeBytes": 5}], "embeds": [{"title": "t"}],
  "reactions": [{"emoji": {"name": "👍"}, "count": 2, "users": [{"id": "1", "name": "ann"}]}],
  "mentions": [{"id": "1", "name": "ann"}], "reference": {"messageId": "754724000000000000", "channelId": "100"}}],
 "messageCount": 1}"""
DISCORD_HTML = """<!DOCTYPE html><html><head><title>Guild - general</title></head><body>
<div class="preamble"><div class="preamble__entries-container"><div class="preamble__entry">Guild</div>
<div class="preamble__entry">Talk / general</div></div></div><div class="chatlog"><div class="chatlog__message-group">
<div id="chatlog__message-container-1050761000000000000" class="chatlog__message-container" data-message-id="1050761000000000000">
<div class="chatlog__message"><div class="chatlog__message-primary"><div class="chatlog__header">
<span class="chatlog__author" title="ann#1" data-user-id="9">Ann</span>
<span class="chatlog__timestamp" title="Friday, December 9, 2022 2:35 PM"><a href="#x">x</a></span></div>
<div class="chatlog__content chatlog__markdown"><span class="chatlog__markdown-preserve">see <b>this</b></span>
<span class="chatlog__edited-timestamp" title="Friday, December 9, 2022 2:36 PM">(edited)</span></div>
<div class="chatlog__reactions"><div class="chatlog__reaction" title="tada"><img alt="🎉">
<span class="chatlog__reaction-count">3</span></div></div></div></div></div></div></div>
<div class="postamble"><div class="postamble__entry">Exported 1 message(s)</div></div></body></html>"""
DISCORD_TEXT = """==============================================================
Guild: G
Channel: Text / general
==============================================================

[1/2/2023 5:04 PM] ana (pinned)
hello

{Attachments}
https://cdn.example/1/2/a.png

{Reactions}
👍 (3) kek


==============================================================
Exported 1 message(s)
==============================================================
"""
DISCORD_GROUPS = """==============================================================
Guild: G
Channel: general
Topic:
==============================================================

ana#1 [02-Jan-18 05:04 PM]
hello
https://cdn.discordapp.com/attachments/1/2/y.png

"""
ELEMENT = """<html><ol class="mx_RoomView_MessageList"><li><h2 class="mx_DateSeparator_dateHeading">Thu, Jan 2, 2020</h2></li>
<div class="mx_Export_EventWrapper" id="$2"><li class="mx_EventTile" data-event-id="$2"><div><span class="mx_DisambiguatedProfile_displayName">
Ann</span></div><div class="mx_EventTile_line"><a href="https://matrix.to/#/!room:x/$2"><span class="mx_MessageTimestamp">10:01</span></a>
<div class="mx_MTextBody"><div class="mx_EventTile_body">see <strong>this</strong></div></div></div></li></div></ol></html>"""
TELEGRAM = """{"name": "Trip", "type": "private_group", "id": 7, "messages": [
 {"id": 1, "type": "message", "date": "2020-09-13T14:26:40", "date_unixtime": "1600000001", "from": "Ann", "from_id": "user1",
  "text": ["see ", {"type": "bold", "text": "this"}, {"type": "link", "text": "https://example.org"}],
  "reactions": [{"type": "emoji", "count": 2, "emoji": "👍",
   "recent": [{"from": "Ann", "from_id": "user1", "date": "2020-09-13T14:27:00"}]}]},
 {"id": 2, "type": "service", "date": "2020-09-13T14:28:00", "date_unixtime": "1600000080", "actor": "Ann", "actor_id": "user1",
  "action": "pin_message", "message_id": 1, "text": ""},
 {"id": 3, "type": "message", "date": "2020-09-13T14:29:00", "from": "Bob", "from_id": "user2", "reply_to_message_id": 1, "text": "ok",
  "edited": "2020-09-13T14:30:00", "file": "files/a.pdf"}]}"""
TELEGRAM_HTML = """<!DOCTYPE html><html><head><meta charset="utf-8"/><title>Exported Data</title></head><body>
<div class="page_wrap"><div class="page_header"><div class="content"><div class="text bold">Trip</div></div></div>
<div class="page_body chat_page"><div class="history">
<div class="message service" id="message-1"><div class="body details">13 September 2020</div></div>
<div class="message default clearfix" id="message1"><div class="body">
<div class="pull_right date details" title="13.09.2020 14:26:40 UTC+02:00">14:26</div><div class="from_name">Ann</div>
<div class="text">see <strong>this</strong><br><a href="https://example.org">x</a></div></div></div>
<div class="message default clearfix joined" id="message2"><div class="body">
<div class="pull_right date details" title="13.09.2020 14:27:40">14:27</div>
<div class="reply_to details">In reply to <a href="#go_to_message1">this message</a></div><div class="text">ok</div></div></div>
</div></div></div></body></html>"""
MATRIX = """{"room_name": "Trip", "topic": "", "messages": [
 {"type": "m.room.message", "event_id": "$a", "sender": "@ann:x", "origin_server_ts": 1600000000000, "room_id": "!r:x",
  "content": {"msgtype": "m.text", "body": "hi", "format": "org.matrix.custom.html", "formatted_body": "<b>hi</b>"}},
 {"type": "m.reaction", "event_id": "$b", "sender": "@bob:x", "origin_server_ts": 1600000001000, "room_id": "!r:x",
  "content": {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$a", "key": "👍"}}},
 {"type": "m.room.redaction", "event_id": "$c", "sender": "@bob:x", "origin_server_ts": 1600000002000, "redacts": "$b", "content": {}}]}"""
MATRIX_LINES = """{"type": "m.room.message", "event_id": "$a", "sender": "@ann:x", "origin_server_ts": 1600000000000, "room_id": "!r:x", "content": {"msgtype": "m.text", "body": "hi"}}
{"type": "m.room.message", "event_id": "$d", "sender": "@ann:x", "origin_server_ts": 1600000003000, "room_id": "!r:x", "content": {"body": "* ho", "m.new_content": {"body": "ho"}, "m.relates_to": {"rel_type": "m.replace", "event_id": "$a"}}}
{"type": "m.room.member", "event_id": "$e", "sender": "@ann:x", "state_key": "@ann:x", "origin_server_ts": 1, "content": {"membership": "join", "displayname": "Ann"}}
"""
GITTER = """555555555555555555555555\torg/room\t2016-01-02T03:04:05.678Z\taaaaaaaaaaaaaaaaaaaaaaaa\tann\t111111111111111111111111\t"hello ""there""
two lines"
555555555555555555555555\torg/room\t2016-01-02T03:04:04.000Z\tbbbbbbbbbbbbbbbbbbbbbbbb\tbob\t222222222222222222222222\t@ann hi
"""
MATTERMOST = """{"type": "version", "version": 1}
{"type": "team", "team": {"name": "t", "display_name": "T"}}
{"type": "channel", "channel": {"team": "t", "name": "town", "display_name": "Town", "type": "O"}}
{"type": "user", "user": {"username": "ann"}}
{"type": "post", "post": {"team": "t", "channel": "town", "user": "ann", "message": "hi @bob", "create_at": 1600000000000, "reactions": [{"user": "ann", "emoji_name": "+1", "create_at": 1600000000001}], "replies": [{"user": "bob", "message": "ho", "create_at": 1600000000002}]}}
"""
MESSENGER = """{"participants": [{"name": "Zo\\u00c3\\u00ab"}, {"name": "Bob"}], "messages": [
 {"sender_name": "Zo\\u00c3\\u00ab", "timestamp_ms": 1600000000009, "content": "gr\\u00c3\\u00bc\\u00c3\\u009fe",
  "reactions": [{"reaction": "\\u00e2\\u009d\\u00a4", "actor": "Bob"}], "photos": [{"uri": "photos/1.png"}]},
 {"sender_name": "Bob", "timestamp_ms": 1600000000001, "is_unsent": true}],
 "title": "Zo\\u00c3\\u00ab", "thread_path": "inbox/ann_1"}"""
JSONL = """{"type": "quire", "version": 1}
{"type": "channel", "key": "garden", "name": "Garden", "topic": "What grows"}
{"type": "author", "key": "ana", "name": "Ana"}
{"type": "message", "channel": "garden", "id": "1", "time": "2024-05-01T09:30:00Z", "author": "ana", "body": "The **beans** are up", "reactions": [{"emoji": "🌱", "authors": ["bo"], "unknown": 2}]}
{"type": "message", "channel": "garden", "id": "2", "time": 1714556100, "author": "bo", "body": "Photo?", "thread": "1", "edits": [{"time": 1714556101, "body": "Photo!"}]}
{"type": "edit", "channel": "garden", "target": "2", "time": "2024-05-01T09:40:00Z", "body": "Here it is"}
{"type": "reaction", "channel": "garden", "target": "2", "time_ms": 1714556160500, "author": "bo", "emoji": "👍", "removed": true}
{"type": "delete", "channel": "garden", "target": "2", "time": "2024-05-01T09:43:00Z", "author": "bo"}
"""
WHATSAPP = """15/01/20, 10:00 - Messages and calls are end-to-end encrypted.
15/01/20, 10:01 - Ann: hello
second line
16/01/20, 10:02 - Bob: IMG-1.jpg (file attached)
16/01/20, 10:03 - Ann: <Media omitted>
16/01/20, 10:04 - Bob: This message was deleted
"""
WHATSAPP_IPHONE = """\u200e[15.01.20, 13:05:00] Ann: \u200eMessages and calls are end-to-end encrypted.
[15.01.20, 13:06:00] Bob: hello
\u200e[16.01.20, 13:07:00] Ann: \u200e<attached: 1-PHOTO.jpg>
"""
SIGNAL = """[2020-01-31 18:05:00] Ann: hello there  \n(- Bob: 👍, Me: 👍 -)
[2020-01-31 18:06:00] Me: \n\n> hello there\n\ntwo ![a.png](./media/a.png)
[2020-01-31 18:07:00] Ann: (This message was deleted)
"""
MBOX = """From ann@example.org Thu Jan  2 14:04:05 2020
From: =?utf-8?q?Ann_M=C3=BCller?= <ann@example.org>
Date: Thu, 2 Jan 2020 14:04:05 +0000
Message-ID: <1@x>
Subject: Beans
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-15
Content-Transfer-Encoding: quoted-printable

plain =A4 text
--b
Content-Type: image/png; name=a.png
Content-Transfer-Encoding: base64

aGVsbG8=
--b--

From bob@example.org Thu Jan  2 15:04:05 2020
From: bob@example.org
Date: Thu, 2 Jan 2020 15:04:05 +0000
Message-ID: <2@x>
In-Reply-To: <1@x>

>From here
"""
IRC = """--- Log opened Thu Jan 02 10:00:00 2020
10:00 -!- ann [~ann@host.example] has joined #chan
10:01 < ann> hello there
10:02 <@bob> ann: hi
10:03  * ann waves
--- Day changed Fri Jan 03 2020
10:04 -!- bob is now known as bobby
"""
IRC_ZNC = """[2020-01-02 10:00:00] *** Joins: ann (~ann@host.example)
[2020-01-02 10:01:00] <ann> hello there
[2020-01-02 10:03:00] * ann waves
"""


def main() -> None:
    for target, inputs in seeds().items():
        for name, data in inputs.items():
            path = CORPUS / target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


if __name__ == "__main__":
    main()
