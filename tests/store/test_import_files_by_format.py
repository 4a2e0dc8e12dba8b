"""Every format whose exports carry files brings them along: layouts as the exporters write them, in a folder and in a zip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.store.local import LocalStore
from tests.exchange import test_discord_html, test_discord_json, test_telegram_html, test_zulip
from tests.exchange.packing import pack

T = 1_600_000_000_000

DISCORD = {
    "Guild - Talk - general [100].json": test_discord_json.export(
        test_discord_json.message(1, attachments=[
            {"id": "9", "url": "Guild - Talk - general [100].json_Files/cat-AB12C.png", "fileName": "cat.png"},
            {"id": "10", "url": "https://cdn.example/left.png", "fileName": "left.png", "fileSizeBytes": 9},
        ])
    ),
    "Guild - Talk - general [100].json_Files/cat-AB12C.png": b"the cat",
}  # fmt: skip
DISCORD_HTML = {
    "general.html": test_discord_html.page(
        test_discord_html.box(1, test_discord_html.content("look") + (
            '<div class="chatlog__attachment"><a href="general.html_Files/cat-AB12C.png">'
            '<img class="chatlog__attachment-media" src="general.html_Files/cat-AB12C.png" title="Image: cat.png (9 bytes)">'
            "</a></div>"
        ))
    ),
    "general.html_Files/cat-AB12C.png": b"the cat",
}  # fmt: skip
TELEGRAM_HTML = {
    "ChatExport/messages.html": test_telegram_html.desktop(
        test_telegram_html.item(
            1,
            '<div class="media_wrap clearfix"><a class="photo_wrap clearfix pull_left" href="photos/p@1.jpg">'
            '<img class="photo" src="photos/p@1_thumb.jpg"/></a></div>',
        )
    ),
    "ChatExport/photos/p@1.jpg": b"the cat",
    "ChatExport/photos/p@1_thumb.jpg": b"small",
}
TG_ARCHIVE = {
    "site/index.html": '<html><body><ul class="messages" title="tg-archive"><li class="message text" id="m1">'
    '<a href="https://t.me/x">x</a><div class="meta"><span class="username">Ann</span>'
    '<span class="date">2020-09-13 12:26:40</span></div><div class="text">see</div>'
    '<div class="media"><a href="media/2.jpg"><img src="media/thumb_2.jpg"></a></div></li></ul></body></html>',
    "site/media/2.jpg": b"the cat",
}
ZULIP = test_zulip.export(
    [test_zulip.message(2, "see [cat.png](/user_uploads/1/ab/cdEF/cat.png)")], zerver_reaction=[]
) | {
    "attachment.json": {"zerver_attachment": [
        {"id": 1, "path_id": "1/ab/cdEF/cat.png", "file_name": "cat.png", "size": 7, "content_type": "image/png"}
    ]},
    "uploads/1/ab/cdEF/cat.png": b"the cat",
    "uploads/records.json": [{"path": "1/ab/cdEF/cat.png", "s3_path": "1/ab/cdEF/cat.png", "size": 7}],
    "avatars/1/cat.png": b"a face",
}  # fmt: skip
POST = {"team": "o", "channel": "pears", "user": "ana", "message": "look", "create_at": T}
MATTERMOST = {
    "import.jsonl": "\n".join(json.dumps(line) for line in (
        {"type": "version", "version": 1},
        {"type": "team", "team": {"name": "o", "display_name": "O"}},
        {"type": "channel", "channel": {"team": "o", "name": "pears", "display_name": "pears", "type": "O"}},
        {"type": "post", "post": {**POST, "attachments": [{"path": "20200913/teams/noteam/channels/c/users/u/i/cat.png"}]}},
    )),
    "data/20200913/teams/noteam/channels/c/users/u/i/cat.png": b"the cat",
}  # fmt: skip
MESSENGER = {
    "your_activity_across_facebook/messages/inbox/ann_1/message_1.json": {
        "participants": [{"name": "Ann"}, {"name": "Bob"}], "title": "Ann", "is_still_participant": True,
        "thread_path": "inbox/ann_1", "magic_words": [],
        "messages": [{"sender_name": "Ann", "timestamp_ms": T, "photos": [
            {"uri": "your_activity_across_facebook/messages/inbox/ann_1/photos/1_n.jpg", "creation_timestamp": 1}
        ]}],
    },
    "your_activity_across_facebook/messages/inbox/ann_1/photos/1_n.jpg": b"the cat",
}  # fmt: skip
SLACK_FILE = {"id": "F0A1", "name": "cat.png", "mimetype": "image/png", "size": 7}


def slack(url: str, at: str) -> dict[str, Any]:
    """As slackdump writes it: the links of Slack itself stay, or lead to the file beside."""
    said = {"type": "message", "ts": "1600000000.000100", "user": "U1", "text": "look"}
    return {
        "users.json": [{"id": "U1", "name": "ana", "profile": {"display_name": "Ana"}}],
        "channels.json": [
            {"id": "C00000001", "name": "general", "topic": {"value": ""}, "purpose": {"value": ""}}
        ],
        "general/2020-09-13.json": [{**said, "files": [{**SLACK_FILE, "url_private": url}]}],
        at: b"the cat",
    }


EXPORTS: dict[str, dict[str, Any]] = {
    "discord": DISCORD, "discord-html": DISCORD_HTML, "telegram-html": TELEGRAM_HTML, "tg-archive": TG_ARCHIVE,
    "zulip": ZULIP, "mattermost": MATTERMOST, "messenger": MESSENGER,
    "slack, links rewritten": slack("general/attachments/F0A1-cat.png", "general/attachments/F0A1-cat.png"),
    "slack, as for Mattermost": slack("https://files.slack.com/files-pri/T1-F0A1/cat.png", "__uploads/F0A1/cat.png"),
}  # fmt: skip


@pytest.mark.parametrize("how", ["folder", "zip"])
@pytest.mark.parametrize("name", EXPORTS)
def test_what_lies_in_the_export_comes_along(
    store: LocalStore, manager: ChannelManager, tmp_path: Path, name: str, how: str
) -> None:
    files = EXPORTS[name]
    summary = manager.import_(pack(tmp_path, files, how))
    assert summary.format.split("-")[0] == name.split(",")[0].split("-")[0].replace("tg", "telegram")
    assert summary.problems == ()
    [channel] = [one for one in manager.list_channels() if one.messages]
    found = [
        (message.id, number)
        for message in manager.get_stored_messages(channel.id)
        for number, one in enumerate(message.attachments, start=1)
        if one.file is not None
    ]
    assert len(found) == summary.files == 1
    with manager.open_attachment(*found[0]) as stream:
        assert stream.read() == b"the cat"
    assert store.verify().ok
