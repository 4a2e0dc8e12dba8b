"""Mattermost's bulk export."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import mattermost
from quire.exchange.model import Attachment, Author, Channel, Message, Options, Record, Skipped
from quire.exchange.sources import open_source
from tests.corpora import corpus, expected
from tests.exchange.counting import tally

T = 1_600_000_000_000

LINES: list[dict[str, Any]] = [
    {"type": "version", "version": 1, "info": {"generator": "mattermost-server"}},
    {"type": "role", "role": {"name": "x"}},
    {"type": "emoji", "emoji": {"name": "tick", "image": "e/tick.png"}},
    {"type": "team", "team": {"name": "orchard", "display_name": "Orchard"}},
    {"type": "channel", "channel": {"team": "orchard", "name": "pears", "display_name": "Pears", "type": "P",
                                    "header": "head", "purpose": "grow"}},
    {"type": "user", "user": {"username": "ana", "nickname": "", "first_name": "Ana", "last_name": "Lu"}},
    {"type": "user", "user": {"username": "bo.t", "nickname": "Bo"}},
    {"type": "bot", "bot": {"username": "rain", "owner": "ana", "display_name": "Rain bot"}},
    {"type": "post", "post": {
        "team": "orchard", "channel": "pears", "user": "ana", "message": "hi @bo.t. :tada: `:tada:`",
        "create_at": T, "edit_at": T + 5, "is_pinned": True, "flagged_by": ["bo.t"],
        "reactions": [{"user": "bo.t", "emoji_name": "+1", "create_at": T + 1},
                      {"user": "ana", "emoji_name": "+1", "create_at": T + 2},
                      {"user": "ana", "emoji_name": "tick", "create_at": T + 3}],
        "attachments": [{"path": "20200913/teams/x/pear.png"}],
        "replies": [{"user": "rain", "message": "wet", "create_at": T + 10,
                     "reactions": [{"user": "ana", "emoji_name": "smile", "create_at": T + 11}]}]}},
    {"type": "post", "post": {"team": "orchard", "channel": "pears", "user": "bo.t", "create_at": T + 20,
                              "type": "system_join_channel", "message": "bo.t joined the channel."}},
    {"type": "post", "post": {"team": "orchard", "channel": "pears", "user": "rain", "create_at": T + 30,
                              "message": "", "props": {"attachments": [
                                  {"title": "Report", "title_link": "http://r", "text": "3 mm",
                                   "fields": [{"title": "Wind", "value": "weak"}]}]}}},
    {"type": "direct_channel", "direct_channel": {"members": ["ana", "bo.t"], "header": ""}},
    {"type": "direct_post", "direct_post": {"channel_members": ["bo.t", "ana"], "user": "ana",
                                            "message": "psst", "create_at": T + 40}},
    {"type": "direct_post", "direct_post": {"channel_members": ["bo.t", "ana", "rain"], "user": "ana",
                                            "message": "three of us", "create_at": T + 50}},
]  # fmt: skip


def dump(*lines: Any) -> bytes:
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


def records(tmp_path: Path, *lines: Any) -> list[Record]:
    path = tmp_path / "export.jsonl"
    path.write_bytes(dump(*lines))
    return list(mattermost.read(open_source(path), Options()))


def messages(found: list[Record]) -> list[Message]:
    return [record for record in found if isinstance(record, Message)]


def post(**fields: Any) -> dict[str, Any]:
    base = {"team": "t", "channel": "c", "user": "ana", "message": "x", "create_at": T}
    return {"type": "post", "post": base | fields}


def test_all_parts(tmp_path: Path) -> None:
    found = records(tmp_path, *LINES)
    assert [r for r in found if isinstance(r, Channel)] == [
        Channel("orchard/pears", "Pears", "head", "grow", "private"),
        Channel("@ana,bo.t", "Ana Lu, Bo", kind="direct"),
        Channel("@ana,bo.t,rain", "Bo, Ana Lu, Rain bot", kind="group"),
    ]
    assert {r.key: (r.name, r.bot) for r in found if isinstance(r, Author)} == {
        "ana": ("Ana Lu", False), "bo.t": ("Bo", False), "rain": ("Rain bot", True),
    }  # fmt: skip
    root, reply, join, report, direct, three = messages(found)
    assert root.body == "hi @bo.t. 🎉 `:tada:`"
    assert (root.edited_ms, root.pinned, root.mentions) == (T + 5, True, ("bo.t",))
    assert root.attachments == (Attachment("pear.png", "20200913/teams/x/pear.png"),)
    assert [(r.emoji, r.authors) for r in root.reactions] == [("👍", ("bo.t", "ana")), (":tick:", ("ana",))]
    assert (reply.thread, reply.thread_time_ms, reply.author) == (root.id, T, "rain")
    assert reply.reactions[0].emoji == "😄"
    assert join.notice == "join"
    assert report.body == "**[Report](http://r)**\n3 mm\n**Wind**: weak"
    assert (direct.channel, three.channel) == ("@ana,bo.t", "@ana,bo.t,rain")
    assert tally(found)["not_carried"] == {
        "custom emoji images": 1, "permission schemes and roles": 1, "saved marks of other people": 1,
    }  # fmt: skip


def test_a_later_export_names_an_edited_post_alike(tmp_path: Path) -> None:
    before = messages(records(tmp_path, post(message="old")))
    after = messages(records(tmp_path, post(message="new", edit_at=T + 9)))
    assert before[0].id == after[0].id
    one, two, again = messages(records(tmp_path, post(message="a"), post(message="b"), post(message="a")))
    assert one.id != two.id
    assert again.id == one.id  # the same line twice is the same post


def test_metadata_may_be_missing(tmp_path: Path) -> None:
    found = records(tmp_path, post(user="nobody"))
    assert [r for r in found if isinstance(r, Channel)] == [Channel("t/c", "c")]
    assert Author("nobody", "nobody") in found
    assert tally(found)["warnings"] == 1


@pytest.mark.parametrize(
    "line",
    [
        post(create_at=None), post(create_at=-1), post(create_at="soon"), post(user=None),
        post(user=[]), post(channel=None), {"type": "post", "post": []}, {"type": "post"}, {"type": 7},
        [], 5, b"{broken\n",
        {"type": "direct_post", "direct_post": {"user": "ana", "message": "x", "create_at": T}},
        {"type": "direct_channel", "direct_channel": {}}, {"type": "channel", "channel": {}},
        {"type": "user", "user": {}}, {"type": "poem", "poem": {}},
    ],
)  # fmt: skip
def test_a_broken_line_is_reported_and_passed_over(tmp_path: Path, line: Any) -> None:
    found = records(tmp_path, post(message="before"), line, post(create_at=T + 1, message="after"))
    assert [m.body for m in messages(found)] == ["before", "after"]
    (skipped,) = (record for record in found if isinstance(record, Skipped))
    assert (skipped.file, skipped.position) == ("export.jsonl", "line 2")


def test_broken_replies(tmp_path: Path) -> None:
    replies = [7, {"user": "bo", "create_at": T + 1, "message": "fine"}, {"user": "bo"}, None]
    found = records(tmp_path, post(replies=replies), post(create_at=None, replies=replies[1:2]))
    assert [(m.body, bool(m.thread)) for m in messages(found)] == [
        ("x", False),
        ("fine", True),
        ("fine", False),
    ]
    assert [r.position for r in found if isinstance(r, Skipped)] == [
        "line 1, reply 1", "line 1, reply 3", "line 1, reply 4", "line 2",
    ]  # fmt: skip


def test_zip_tar_and_folder_with_data(tmp_path: Path) -> None:
    files = {
        "top/import.jsonl": dump(*LINES),
        "top/data/20200913/pear.png": b"\x89PNG",
        "top/data/x.json": dump(post(message="an attached file, not a post")),
        "__MACOSX/top/._import.jsonl": b"\0\0",
        "top/README.txt": b"hello",
    }
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    for name, content in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    counts = []
    for name in ("folder", "x.zip", "x.tar.gz"):
        source = open_source(tmp_path / name)
        assert mattermost.recognise(source) == 3
        counts.append(tally(mattermost.read(source, Options())))
    assert counts[0]["messages"] == 6
    assert counts[0]["skipped"] == 0
    assert counts[0] == counts[1] == counts[2]


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content in (b"", b"[]", b'{"type":"message","ts":"1"}', b'{"type":"channel","key":"a"}', b"\xff\xfe"):
        path.write_bytes(content)
        assert mattermost.recognise(open_source(path)) == 0
        with pytest.raises(FormatError):
            list(mattermost.read(open_source(path), Options()))


def test_corpus() -> None:
    source = open_source(corpus("small-samples/mattermost-bulk/export.json"))
    want = expected("small-samples")["mattermost-bulk/export.json"]
    assert mattermost.recognise(source) == 3
    counts = tally(mattermost.read(source, Options()), mattermost.NOTICES_ARE_MESSAGES)
    for name in ("messages", "reactions", "attachments", "replies", "authors"):
        assert counts[name] == want[name], name
    assert counts["channels_listed"] == want["type_channel"]
    assert counts["not_carried"] == {"custom emoji images": want["type_emoji"]}
    assert counts["skipped"] == 0


VALID = dump(*LINES)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.binary(max_size=30))
def test_anything_gives_records_or_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int, noise: bytes
) -> None:
    chance = random.Random(seed)
    data = bytearray(VALID if chance.random() < 0.9 else b"")
    for _ in range(changes):
        at = chance.randrange(len(data) + 1)
        swap = chance.choice([noise, b"null", b"[]", b"{}", b"-1", b'"', b"1e999", b"\n", b"true"])
        data[at : at + chance.choice([0, 1, len(swap), 40])] = swap
    path = tmp_path_factory.mktemp("fuzz") / "x.json"
    path.write_bytes(data)
    with contextlib.suppress(FormatError):
        source = open_source(path)
        mattermost.recognise(source)
        tally(mattermost.read(source, Options()))


@settings(max_examples=100, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
), st.data())  # fmt: skip
def test_any_type_in_any_field(
    tmp_path_factory: pytest.TempPathFactory, value: object, data: st.DataObject
) -> None:
    lines = json.loads(json.dumps(LINES))
    line = data.draw(st.sampled_from(lines))
    inner = line.get(line["type"])
    target = inner if isinstance(inner, dict) else line
    target[data.draw(st.sampled_from(sorted(target)))] = value
    path = tmp_path_factory.mktemp("fuzz") / "x.json"
    path.write_bytes(dump(*lines))
    with contextlib.suppress(FormatError):
        tally(mattermost.read(open_source(path), Options()))


def test_a_hook_speaks_under_its_own_name(tmp_path: Path) -> None:
    hook = {"from_webhook": "true", "override_username": "Deploy"}
    found = records(
        tmp_path,
        post(user="ana", message="built", props=hook),
        post(user="ana", message="good", create_at=T + 1),
    )
    built, good = messages(found)
    assert (built.author, good.author) == ("ana:Deploy", "ana")
    assert Author("ana:Deploy", "Deploy", bot=True) in found
