"""Export to JSONL, import into a new vault: the same contents, to the digest, for every corpus there is.

The digest of the contents (store/digest.py) covers every message in order with its versions, reactions by whom and
when, deletion, pin, thread, attachments, mentions and origin, and everybody's name; nothing that a vault numbers.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.exchange.model import Options
from quire.storage import log
from quire.store.checking import check_export
from quire.store.digest import contents_digest
from quire.store.local import LocalStore
from tests import vaults
from tests.corpora import ROOT, corpus

SLOW = (pytest.mark.slow, pytest.mark.bounded)
SMALL = [
    "signal-text/test_export.txt",
    "mattermost-bulk/export.json",
    "slack-zulip-fixture/test_slack_importer.zip",
    "whatsapp-date-formats/test_ddmmyy_24hrs.txt",
    "discord-json-example-guild",
    "whatsapp-group-with-media/Conversa do WhatsApp com Teste.zip",
    "chat-analytics/discord",
    "chat-analytics/telegram",
    "chat-analytics/messenger",
]
LARGE = [
    pytest.param("discord-pyscript/html-export.tar.xz", marks=SLOW),
    pytest.param("matrix-array-langs/matrix_rooms.tar.xz", marks=SLOW),
    pytest.param("slack-r-contributors/slack-export.zip", marks=SLOW),
    pytest.param("slack-haskell-jp/slack-log.tar.xz", marks=pytest.mark.slow),
    pytest.param("gitter-freecodecamp/rooms.tar.xz", marks=pytest.mark.slow),
    pytest.param("irc-ubuntu/ubuntu-irc.tar.xz", marks=pytest.mark.slow),
    pytest.param("zulip-rust-lang/zulip_json.tar.xz", marks=pytest.mark.slow),
]


def contents(store: LocalStore) -> dict[tuple[str, str], str]:
    """The digest of each channel, by where it came from first."""
    return {
        (row.source or "jsonl", row.key or row.id.hex()): contents_digest(store, row.id).hex()
        for row in log.channels(store.database.reader)
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [*(f"small-samples/{name}" for name in SMALL), *LARGE])
def test_a_corpus_comes_back_the_same(
    name: str, store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    found = manager.import_(corpus(name), options=Options(date_order="dmy"))
    assert found.messages > 0
    exported = manager.export(tmp_path / "out.jsonl")
    standing = sum(row.messages for row in log.channels(store.database.reader))
    assert exported.messages >= standing  # deleted ones are in it, too, without their text
    assert exported.messages >= found.messages
    with vaults.fresh_store(tmp_path, "other") as other:
        second = ChannelManager(other).import_(tmp_path / "out.jsonl")
        assert (second.skipped, second.unresolved, second.duplicates, second.warnings) == (0, 0, 0, ())
        assert contents(other) == contents(store) != {}
        assert other.verify().ok


def test_what_was_exported_from_slack_is_still_slack_s(manager: ChannelManager, tmp_path: Path) -> None:
    """Its own export, imported after ours, finds every message there."""
    path = corpus("small-samples/slack-zulip-fixture/test_slack_importer.zip")
    first = manager.import_(path)
    manager.export(tmp_path / "out.jsonl")
    with vaults.fresh_store(tmp_path, "other") as other:
        chat = ChannelManager(other)
        chat.import_(tmp_path / "out.jsonl")
        before = contents(other)
        again = chat.import_(path)
        assert (again.messages, again.reactions, again.edit_events) == (0, 0, 0)
        assert again.duplicates >= first.messages
        assert contents(other) == before


def talk(chat: ChannelManager) -> None:
    """Everything that people can do, once."""
    chat.set_name("Ada")
    chat.create_channel("general", topic="What is up")
    first = chat.send_message("general", "Lunch at **noon**?")
    second = chat.send_message("general", "Gladly", thread=first.id, broadcast=True)
    chat.send_message("general", "With", reply_to=second.id, mentions=[chat.store.own_key])
    chat.edit_message(second.id, "Gladly!")
    chat.edit_message(second.id, "Gladly!!")
    chat.add_reaction(first.id, "👍")
    chat.add_reaction(first.id, "❤️")
    chat.remove_reaction(first.id, "❤️")
    chat.pin(first.id)
    gone = chat.send_message("general", "a slip of the tongue")
    chat.delete_message(gone.id, "wrong channel")


def test_what_people_wrote_comes_back_the_same(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    """Names, versions, threads, marks; a second trip changes nothing more; nothing deleted is in the file."""
    talk(manager)
    manager.export(tmp_path / "out.jsonl")
    text = (tmp_path / "out.jsonl").read_text("utf-8")
    assert "a slip of the tongue" not in text
    assert "❤️" not in text
    with vaults.fresh_store(tmp_path, "other") as other:
        chat = ChannelManager(other)
        chat.import_(tmp_path / "out.jsonl")
        assert contents(other) == contents(store)
        first, second, third, gone = chat.get_stored_messages("general")
        assert (first.author.name, first.author.imported, first.author.own) == ("Ada", True, False)
        assert (first.pinned, first.reactions[0].people) == (True, ("Ada",))
        assert first.thread is not None
        assert first.thread.replies == 1
        assert [version.body for version in chat.get_edit_history(second.id)] == [
            "Gladly",
            "Gladly!",
            "Gladly!!",
        ]
        assert (second.root, second.broadcast) == (first.id, True)
        assert (third.reply_to, third.mentions) == (second.id, (f"jsonl:{store.own_key}",))
        assert gone.deleted is not None
        assert (gone.deleted.reason, gone.deleted.by.name) == ("wrong channel", "Ada")
        assert chat.get_channel("general").topic == "What is up"
        chat.export(tmp_path / "again.jsonl")
        with vaults.fresh_store(tmp_path, "third") as third_store:
            ChannelManager(third_store).import_(tmp_path / "again.jsonl")
            assert contents(third_store) == contents(store)


def test_a_vault_that_has_the_channel_itself_takes_nothing_in(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    talk(manager)
    before = contents(store)
    manager.export(tmp_path / "out.jsonl")
    summary = manager.import_(tmp_path / "out.jsonl")
    assert (summary.messages, summary.duplicates) == (0, 4)
    assert "comes by sync" in summary.warnings[0]
    assert contents(store) == before


def test_messages_of_one_moment_keep_their_order(
    manager: ChannelManager, store: LocalStore, tmp_path: Path
) -> None:
    """Also beside one that answers another, which is written another way."""
    path = tmp_path / "chat.jsonl"
    lines = [
        {"id": "a", "time_ms": 1000, "body": "a"},
        {"id": "b", "time_ms": 2000, "body": "b", "thread": "a"},
    ]
    lines += [{"id": c, "time_ms": 2000, "body": c} for c in "cde"]
    lines.insert(1, {"id": "z", "time_ms": 2000, "body": "z"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    manager.import_(path, options=Options(channel="x"))
    assert vaults.bodies(store, "x") == ["a", "z", "b", "c", "d", "e"]


def test_concurrent_edits_stay_marked(store: LocalStore, manager: ChannelManager, tmp_path: Path) -> None:
    edits = [{"time_ms": 2000, "body": "b"}, {"time_ms": 3000, "body": "c", "replaces": 1}]
    lines = [
        {"type": "quire", "version": 1, "export": "test"},
        {
            "type": "message",
            "channel": "x",
            "id": "1",
            "time_ms": 1000,
            "author": "irc:ana",
            "body": "a",
            "edits": edits,
        },
        {"type": "end", "messages": 1},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manager.import_(tmp_path / "in.jsonl")
    [message] = manager.get_stored_messages("x")
    assert (message.body, message.concurrent_edits, message.author.id) == ("c", True, "irc:ana")
    manager.export(tmp_path / "out.jsonl")
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [edit.get("replaces") for edit in told[3]["edits"]] == [None, 1]
    with vaults.fresh_store(tmp_path, "other") as other:
        ChannelManager(other).import_(tmp_path / "out.jsonl")
        assert contents(other) == contents(store)


def test_a_file_cannot_speak_for_a_person_here(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    lines = [
        {"type": "quire", "version": 1, "export": "test"},
        {"type": "author", "key": store.own_key, "name": "Ada"},
        {
            "type": "message",
            "channel": "x",
            "id": "1",
            "time_ms": 1000,
            "author": store.own_key,
            "body": "I owe you",
        },
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = manager.import_(tmp_path / "in.jsonl")
    assert "was cut short" in summary.warnings[0]
    [message] = manager.get_stored_messages("x")
    assert (message.author.id, message.author.imported) == (f"jsonl:{store.own_key}", True)
    assert message.author.own is False


def test_every_corpus_is_here() -> None:
    if not ROOT.exists():
        pytest.skip("no corpora")
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"small-samples"}
    assert folders == {str(one.values[0]).partition("/")[0] for one in LARGE}


def test_what_was_erased_is_in_no_export_and_stays_gone(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    """A message, a first version and a later one; the receipt's author and reason stand in their place."""
    talk(manager)
    first, second, *_ = manager.get_stored_messages("general")
    manager.erase_version(second.id, 1)
    manager.erase_version(second.id, 2)
    manager.erase_message(first.id, "by mistake")
    for name, signed in (("out.jsonl", False), ("signed.jsonl", True)):
        manager.export(tmp_path / name, signed=signed)
        for line in map(json.loads, (tmp_path / name).read_text("utf-8").splitlines()):
            commit = base64.b64decode(line.get("commit", ""))
            assert b"noon" not in commit + json.dumps(line).encode()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    messages = [line for line in lines if line["type"] == "message"]
    assert messages[0]["deleted"]["erased"] is True
    assert messages[0]["deleted"]["reason"] == "by mistake"
    assert [edit["body"] for edit in messages[1]["edits"]] == ["Gladly!!"]
    assert messages[1]["body"] == ""
    with vaults.fresh_store(tmp_path, "other") as other:
        ChannelManager(other).import_(tmp_path / "out.jsonl")
        assert contents(other) == contents(store)
    assert check_export(tmp_path / "signed.jsonl").problems == ()


def test_a_later_export_brings_only_what_is_new(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    """Messages, and what came to messages that are there: a text, a reaction, a deletion, a pin."""
    talk(manager)
    manager.export(tmp_path / "first.jsonl")
    first, second, third, _ = manager.get_stored_messages("general")
    with vaults.fresh_store(tmp_path, "other") as other:
        chat = ChannelManager(other)
        assert chat.import_(tmp_path / "first.jsonl").messages == 4
        manager.send_message("general", "later", thread=first.id)
        manager.edit_message(second.id, "Gladly, at one")
        manager.add_reaction(second.id, "🎉")
        manager.pin(second.id)
        manager.delete_message(third.id, "no")
        manager.export(tmp_path / "second.jsonl")
        summary = chat.import_(tmp_path / "second.jsonl")
        assert (summary.messages, summary.duplicates, summary.edit_events) == (1, 4, 1)
        assert (summary.reactions, summary.deleted, summary.pins) == (1, 1, 1)
        assert contents(other) == contents(store)
        again = chat.import_(tmp_path / "second.jsonl")
        assert (again.messages, again.edit_events, again.reactions, again.pins) == (0, 0, 0, 0)
        assert contents(other) == contents(store)
