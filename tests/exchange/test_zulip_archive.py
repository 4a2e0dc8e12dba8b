"""zulip-archive's JSON: topics as threads, names decoded, HTML read; and the whole Rust archive."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import zulip_archive as importer
from quire.exchange.model import Author, Channel, Options, Skipped, Warn
from quire.exchange.sources import open_source
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.mutating import VALUES
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records, survives


def message(
    number: int, content: str = "<p>text</p>", name: str = "Ann Example", **more: Any
) -> dict[str, Any]:
    return {
        "content": content,
        "id": number,
        "sender_full_name": name,
        "timestamp": 1_600_000_000 + number,
        **more,
    }


FILES: dict[str, Any] = {
    "stream_index.json": {
        "time": 1.0,
        "streams": {
            "team/tools é": {"id": 12, "latest_id": 9, "topic_data": {}},
            "general chat": {"id": 7, "latest_id": 9, "topic_data": {}},
            "renamed": {"id": 8, "latest_id": 9, "topic_data": {}},
        },
    },
    "7-general-chat/.E2.9C.94.20done.2C.20100.25.json": [message(1), message(2), message(3)],
    "7-general-chat/v1.2E2.json": [message(4)],
    "8-before/(no.20topic).json": [message(5)],
    "12-team/tools-/a.2Fb.json": [message(6)],
    "README.md": "not read",
    "css/style.json": "{}",
    "__MACOSX/7-general-chat/x.json": "junk",
}


@pytest.mark.parametrize("how", PACKINGS)
@pytest.mark.parametrize("prefix", ["", "zulip_json/", "a/b/"])
def test_topics_are_threads_and_names_are_true(tmp_path: Path, how: str, prefix: str) -> None:
    path = pack(tmp_path, {prefix + name: content for name, content in FILES.items()}, how)
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert {(c.key, c.name) for c in found if isinstance(c, Channel)} == {
        ("7-general-chat", "general chat"),
        ("8-before", "before"),
        ("12-team/tools-", "team/tools é"),
    }
    by_id = {m.id: m for m in messages(found)}
    assert {m.title for m in by_id.values()} == {"✔ done, 100%", "", "v1.2", "(no topic)", "a/b"}
    assert [(by_id[i].thread, by_id[i].thread_time_ms) for i in ("1", "2", "3")] == [
        ("", None),
        ("1", 1_600_000_001_000),
        ("1", 1_600_000_001_000),
    ]
    assert not only(found, Skipped)
    assert not only(found, Warn)


def test_without_an_index_folders_name_the_channels(tmp_path: Path) -> None:
    path = pack(tmp_path, {"x/5-some-room/sub/t.json": [message(1)]})
    assert certainty(importer, path) == 3
    (channel,) = only(records(importer, path), Channel)
    assert channel == Channel(key="5-some-room/sub", name="some-room/sub")


def test_one_stream_or_one_topic_by_itself(tmp_path: Path) -> None:
    stream = pack(tmp_path, {"t.json": [message(1)]}, name="9-lone")
    assert certainty(importer, stream) == 3
    assert messages(records(importer, stream))[0].channel == "9-lone"
    assert messages(records(importer, stream / "t.json"))[0].channel == "9-lone"
    topic = pack(tmp_path, {"t.json": [message(1)]}, "file")
    assert certainty(importer, topic) == 3
    assert messages(records(importer, topic, Options(channel="mine")))[0].channel == "mine"


def test_bodies_mentions_and_uploads(tmp_path: Path) -> None:
    upload = '<a href="/user_uploads/2/ab/my%20pic.png"'
    html = (
        f'<p><span class="user-mention" data-user-id="3">@Bob &amp; Co</span> '
        f'<span class="user-mention" data-user-id="*">@all</span> {upload}>my pic.png</a> '
        f'<a href="https://z.example/user_uploads/2/ab/my%20pic.png">again</a></p>\n'
        f'<div class="message_inline_image">{upload} title="my pic.png"><img src="/thumb"></a></div>'
    )
    path = pack(tmp_path, {"1-a/t.json": [message(1, html), message(2, "<p>/me waves</p>")]})
    first, second = messages(records(importer, path))
    assert first.body == (
        "@Bob & Co @all [my pic.png](/user_uploads/2/ab/my%20pic.png) "
        "[again](https://z.example/user_uploads/2/ab/my%20pic.png)"
    )
    assert first.mentions == ("Bob & Co",)
    assert [(a.name, a.url) for a in first.attachments] == [("my pic.png", "/user_uploads/2/ab/my%20pic.png")]
    assert (second.body, second.action) == ("waves", True)


def test_the_notification_bot_writes_notices(tmp_path: Path) -> None:
    bot = "Notification Bot"
    topic = [
        message(1, "<p>Stream created by X.</p>", bot),
        message(2, "<p>X has marked this topic as resolved.</p>", bot),
        message(3, "<p>X renamed stream <strong>a</strong> to <strong>b</strong>.</p>", bot),
    ]
    found = records(importer, pack(tmp_path, {"1-a/t.json": topic}))
    assert [m.notice for m in messages(found)] == ["other", "topic", "name"]
    assert [a.bot for a in found if isinstance(a, Author)] == [True]


def test_what_forks_keep_is_read(tmp_path: Path) -> None:
    reactions = [
        {"emoji_name": "+1", "emoji_code": "1f44d", "reaction_type": "unicode_emoji", "user_id": 3},
        {"emoji_name": "+1", "emoji_code": "1f44d", "reaction_type": "unicode_emoji", "user": {"id": 4}},
        {"emoji_name": "ours", "emoji_code": "77", "reaction_type": "realm_emoji"},
        7,
    ]
    item = message(1, "*raw* <b>", content_type="text/x-markdown", sender_id=5, reactions=reactions)
    item["last_edit_timestamp"] = 1_600_000_009
    (found,) = messages(records(importer, pack(tmp_path, {"1-a/t.json": [item]})))
    assert (found.body, found.author, found.edited_ms) == ("*raw* <b>", "5", 1_600_000_009_000)
    assert [(r.emoji, r.authors, r.unknown) for r in found.reactions] == [
        ("👍", ("3", "4"), 0),
        (":ours:", (), 1),
    ]


def test_broken_records_and_files_do_not_stop_the_rest(tmp_path: Path) -> None:
    bad: list[Any] = [
        None, [], "x", {},
        message(2, timestamp="never"), message(3, timestamp=-1), message(4, timestamp=1e300),
        {**message(5), "id": None}, {**message(6), "id": True}, {**message(7), "id": ""},
    ]  # fmt: skip
    odd = {"id": "text-id", "timestamp": 1_600_000_000.5, "content": None, "sender_full_name": 7}
    files = {
        "1-a/bad.json": [*bad, odd],
        "1-a/cut.json": json.dumps([message(10), message(11), message(12)])[:-20],
        "1-a/empty.json": b"",
        "1-a/none.json": [],
        "1-a/object.json": {"error": "x"},
        "1-a/surrogate.json": '\ufeff[{"id": 20, "timestamp": 1, "content": "\\ud800x"}]',
        "1-a/latin.json": b'[{"id": 21, "timestamp": 1, "content": "\xe9", "sender_full_name": "A"}]',
        "1-a/z.json": [message(30)],
    }
    found = records(importer, pack(tmp_path, files))
    assert [m.id for m in messages(found)] == ["text-id", "10", "11", "21", "20", "30"]
    assert [m.body for m in messages(found)][3:5] == ["�", "�x"]
    skipped = [(s.file, s.position) for s in found if isinstance(s, Skipped)]
    assert [position for file, position in skipped if file == "1-a/bad.json"] == [
        f"item {n}" for n in range(1, 11)
    ]
    assert {file for file, _ in skipped} == {
        "1-a/bad.json", "1-a/cut.json", "1-a/empty.json", "1-a/object.json",
    }  # fmt: skip


def test_a_broken_index_is_a_warning(tmp_path: Path) -> None:
    files = {"stream_index.json": '{"streams": {"a', "1-a/t.json": [message(1)]}
    found = records(importer, pack(tmp_path, files))
    assert len(only(found, Warn)) == 1
    assert len(messages(found)) == 1


def test_foreign_files_are_not_recognised(tmp_path: Path) -> None:
    for number, files in enumerate(
        ({"a.json": "[]"}, {"1-a/b.json": '{"x": 1}'}, {"a.txt": "x"}, {"a.json": "[{}]"})
    ):
        path = pack(tmp_path, files, name=f"e{number}")
        assert certainty(importer, path) == 0
    with pytest.raises(FormatError):
        records(importer, pack(tmp_path, {"a.txt": "x"}, name="none"))


KEYS = st.sampled_from(
    ["id", "timestamp", "content", "sender_full_name", "sender_id", "reactions", "last_edit_timestamp"]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES), max_size=4), st.integers(0, 300), st.binary(max_size=4))
def test_any_content_gives_records_or_a_format_error(
    tmp_path: Path, items: list[dict[str, Any]], at: int, junk: bytes
) -> None:
    good = [message(1), *({**message(n), **item} for n, item in enumerate(items, 2))]
    data = json.dumps(good).encode()
    survives(importer, pack(tmp_path, {"1-a/t.json": data}))
    survives(
        importer, pack(tmp_path, {"1-a/t.json": data[:at] + junk + data[at + 1 :], "stream_index.json": junk})
    )


@pytest.mark.slow
def test_the_rust_archive() -> None:
    counts = expected("zulip-rust-lang")
    with open_source(corpus("zulip-rust-lang/zulip_json.tar.xz")) as source:
        assert importer.recognise(source) == 3
        found = tally(importer.read(source, Options()), importer.NOTICES_ARE_MESSAGES)
        links = distinct = 0
        for _, stream in source.walk(lambda name: name.endswith(".json") and "stream_index" not in name):
            for item in json.loads(stream.read()):
                if "/user_uploads/" in item["content"]:
                    links += item["content"].count('<a href="/user_uploads/')
                    distinct += len(set(re.findall(r'href="[^"]*(/user_uploads/[^"]+)"', item["content"])))
    for what in ("records", "messages", "notices", "channels", "threads", "authors", "messages_per_channel"):
        assert found[what] == counts[what], what
    assert found["replies"] == counts["messages"] - counts["threads"]  # all but the roots
    assert found["skipped"] == 0
    # counts.json counts links to uploads. An image is linked twice, in the text and as its preview below, and
    # some links name the server: as attachments, each upload counts once a message.
    assert links == counts["attachments"]
    assert found["attachments"] == distinct == 1434


def test_folders_of_the_tools_first_versions_have_no_numbers(tmp_path: Path) -> None:
    row = {"id": 1, "content": "<p>hi</p>", "sender_full_name": "Ann", "timestamp": 1600000000}
    files = {
        "a/stream_index.json": {"streams": {"new members": {"id": 5}}},
        "a/new-members/hi.20all.json": [row],
    }
    path = pack(tmp_path, files)
    assert certainty(importer, path) == 3
    found = records(importer, path)
    assert [channel.name for channel in only(found, Channel)] == ["new members"]  # type: ignore[attr-defined]
    assert [message.title for message in messages(found)] == ["hi all"]
