"""`verify` calls no whole vault damaged and no damaged one whole; each kind of damage has its name."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.core import commit
from quire.core.control import Report
from quire.core.crypto.epochs import EpochKey, epoch_id
from quire.core.encoding import encode
from quire.core.ids import Incarnation, log_prefix
from quire.core.operation import (
    Attachment,
    Bookmark,
    Contact,
    DeviceName,
    Name,
    Post,
    Profile,
    React,
    ReadMarker,
    stored_operation,
)
from quire.core.operation import EpochKey as EpochKeyOperation
from quire.core.operation_form import encode_operation
from quire.errors import CorruptError
from quire.storage import log, search
from quire.store.findings import PROBLEMS_MAX, readable
from quire.store.local import LocalStore
from quire.testing.authors import START_MS, Author, Pen
from tests import vaults
from tests.corpora import corpus

SECRET = "zanzibar"
LONG = "x" * 40_000


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a vault with something of everything."""
    store = vaults.fresh_store(tmp_path_factory.mktemp("verify"))
    furnish(store)
    store.ledger.run(search.index_tail)
    ChannelManager(store).send_message("talk", "in the tail")
    store.compact()  # no free pages: what is in those matters to nobody, so nobody reads it
    store.close()
    return store.folder


@pytest.fixture
def furnished(template: Path, tmp_path: Path) -> Iterator[LocalStore]:
    """A copy of it, opened."""
    folder = tmp_path / "vault"
    shutil.copytree(template, folder)
    shutil.copyfile(vaults.key_of(template).path, vaults.key_of(folder).path)
    store = vaults.opened(folder)
    yield store
    store.close()


def furnish(store: LocalStore) -> None:
    manager = ChannelManager(store)
    talk = manager.create_channel("talk")
    texts = (
        f"{SECRET} one",
        "two `code` https://example.org",
        "three 東京タワー",
        "four\0nul",
        "🙂🙂",
        "",
        LONG,
        "é" * 20_000,
    )
    said = [manager.send_message(talk.id, text) for text in texts]
    store.store_message(
        talk.id, "with a file", attachments=[Attachment("plan.pdf")], mentions=[store.own_key]
    )
    for n in range(3):
        manager.send_message(talk.id, f"reply {n} {SECRET}", thread=said[0].id)
    manager.edit_message(said[1].id, f"edited {SECRET}")
    manager.edit_message(said[1].id, "edited again")
    manager.delete_message(said[2].id)
    manager.add_reaction(said[0].id, "👍")
    manager.add_reaction(said[0].id, "🎉")
    manager.remove_reaction(said[0].id, "🎉")
    manager.pin(said[3].id)
    own = store.ledger
    own.run(
        lambda db: own.append(
            db, store.channel_row(talk.id), [Post("titled", title="a title"), Profile("", "", "Me")]
        )
    )
    self_channel = log.self_channel(store.database.reader)
    store.write_operations(
        self_channel.id, ReadMarker(talk.id, said[0].time, said[0].id), Bookmark(talk.id, said[0].id)
    )
    author = Author(seed=3)
    channel = author.channel("theirs")
    pen = author.pen(channel)
    store.ingest(
        [channel.founding, pen.write(Post("reply to nothing yet", b"\x01" * 16)), pen.write(Post("theirs"))]
    )
    friend = Author(seed=4)
    admitted = pen.author.pen(channel)
    together = [admitted.admit(friend), admitted.control(Report(bytes(32)))]
    hers = friend.pen(channel)
    hers.see(admitted)
    together += [hers.write(Post("hers")), hers.write(Post("hers, too late"), React(hers.id_of(1, 0), "x"))]
    twin = hers.fork()
    together += [hers.write(Post("one side")), twin.write(Post("another side"))]
    together += [
        admitted.remove(friend, hers.cut(1)),
        Pen(friend, channel.id, (bytes(32),)).write(Post("parked")),
    ]
    report = store.ingest(together)
    assert (report.refused, report.parked) == ((), 1)
    key = EpochKey(bytes(32))
    keys = EpochKeyOperation(channel.id, epoch_id(key, channel.id), key.reveal())
    names = Contact(friend.identity, "Friend", True), DeviceName(store.device, "desk")
    store.write_operations(self_channel.id, keys, *names)
    far_ms = START_MS * 2
    store.ingest([pen.write(Post("from the far future"), time_ms=far_ms)])


def kinds(store: LocalStore) -> set[str]:
    report = store.verify()
    assert report.problem_count >= len(report.problems)
    assert not any(SECRET in f"{p.where} {p.detail}" for p in report.problems)
    return {problem.what for problem in report.problems}


def test_a_whole_vault_is_whole(furnished: LocalStore) -> None:
    report = furnished.verify()
    assert report.ok, report.problems
    assert report.messages == 16
    assert report.commits > 15
    assert report.operations > report.messages
    assert furnished.doctor() == []
    store = vaults.reopened(furnished)
    assert store.verify().ok
    store.close()
    store = vaults.opened(furnished.folder, read_only=True)
    assert store.verify().ok
    store.close()


def test_progress_is_told(furnished: LocalStore) -> None:
    told: list[tuple[str, int, int]] = []
    furnished.verify(lambda what, done, total: told.append((what, done, total)))
    assert {what for what, _, _ in told} >= {"checking the file", "comparing views"}
    assert all(0 <= done <= total for _, done, total in told)


FOURTH = "(SELECT head FROM commits c WHERE c.log = commits.log AND c.seq = 4)"
DAMAGE = [
    ("commit_signature", "UPDATE commits SET signature = zeroblob(64) WHERE seq = 3"),
    ("commit_missing", "DELETE FROM commits WHERE seq = 3"),
    ("operation_unsigned", "DELETE FROM commits WHERE seq = 3"),
    ("chain_broken", f"UPDATE commits SET head = {FOURTH} WHERE seq = 5"),
    ("head_misplaced", f"UPDATE commits SET head = {FOURTH} WHERE seq = 5"),
    ("head_malformed", "UPDATE commits SET head = x'00' WHERE seq = 2"),
    ("operation_missing", "DELETE FROM message WHERE id = (SELECT min(id) FROM message)"),
    ("operation_missing", "DELETE FROM operation WHERE kind = 2"),
    ("operation_missing", "DELETE FROM waiting WHERE target IS NOT NULL"),
    ("operation_malformed", "UPDATE message SET op = zeroblob(40) WHERE root IS NOT NULL"),
    ("genesis", "UPDATE channel SET genesis = zeroblob(32)"),
    ("log_misplaced", "UPDATE log SET signer = 'quire:00'"),
    ("log_misplaced", "DELETE FROM log WHERE n = 1"),
    ("message_view", "UPDATE message SET flags = (flags | 16) - (flags & 16) WHERE root IS NULL"),
    ("message_view", "UPDATE message SET flags = (flags | 64) - (flags & 64) WHERE root IS NULL"),
    ("message_view", "UPDATE message SET flags = (flags | 8) - (flags & 8)"),
    ("message_view", "UPDATE message SET flags = (flags | 1024) - (flags & 1024)"),
    ("message_view", "UPDATE message SET edit = NULL"),
    ("message_view", "UPDATE message SET root = NULL"),
    ("message_view", "UPDATE message SET time = time + 1"),
    ("message_view", "UPDATE message SET author = author + 1"),
    ("message_view", "UPDATE message SET channel = channel + 1"),
    ("message_view", "DELETE FROM author"),
    ("message_view", "DELETE FROM doc"),
    ("operation_view", "UPDATE operation SET void = 1 - void WHERE kind = 2"),
    ("operation_view", "UPDATE operation SET void = 1 - void WHERE kind = 11"),
    ("operation_view", "UPDATE operation SET time = time + 1 WHERE kind = 10"),
    ("operation_view", "UPDATE operation SET target = zeroblob(16) WHERE kind = 4"),
    ("target_missing", "UPDATE operation SET target = zeroblob(16) WHERE kind = 4"),
    ("reaction_view", "DELETE FROM reaction"),
    ("reaction_view", "UPDATE reaction SET people = people + 1"),
    ("reaction_view", "INSERT INTO reaction VALUES(zeroblob(16), 'x', 1, 1, zeroblob(16), 1)"),
    ("reaction_view", "INSERT INTO reaction SELECT target, 'x', author, time, id, people FROM reaction LIMIT 1"),
    ("thread_view", "DELETE FROM thread"),
    ("thread_view", "DELETE FROM thread WHERE replies = 0"),
    ("thread_view", "DELETE FROM thread WHERE replies > 0"),
    ("thread_view", "UPDATE thread SET replies = replies + 1"),
    ("thread_view", "UPDATE thread SET last_time = last_time + 1 WHERE replies = 0"),
    ("thread_view", "UPDATE thread SET last_id = NULL WHERE replies > 0"),
    ("thread_view", "DELETE FROM thread_author"),
    ("thread_view", "INSERT INTO thread_author VALUES(zeroblob(16), 1, 1)"),
    ("channel_view", "UPDATE channel SET name = 'x' WHERE kind <> 'self'"),
    ("channel_view", "UPDATE channel SET messages = messages + 1"),
    ("channel_view", "UPDATE channel SET threads = 0"),
    ("channel_view", "UPDATE channel SET clock = clock + 1"),
    ("channel_view", "UPDATE channel SET last_time = 0"),
    ("channel_view", "UPDATE channel SET kind = 'private' WHERE kind <> 'self'"),
    ("author_view", "UPDATE author SET name = 'x' WHERE id <> x''"),
    ("author_view", "UPDATE author SET bot = 1 WHERE id = x''"),
    ("author_view", "UPDATE author SET time = -1, id = x'', name = substr(key, 7, 8)"),
    ("marker_view", "DELETE FROM marker"),
    ("marker_view", "UPDATE marker SET read_time = 1"),
    ("bookmark_view", "DELETE FROM bookmark"),
    ("bookmark_view", "UPDATE bookmark SET standing = 0"),
    ("waiting_view", "UPDATE waiting SET target = zeroblob(16) WHERE target IS NOT NULL"),
    ("waiting_view", "UPDATE waiting SET due = due + 1"),
    ("channel_view", "UPDATE channel SET heads = zeroblob(32) WHERE kind <> 'self'"),
    ("channel_view", "UPDATE channel SET heads = genesis WHERE name = 'theirs'"),
    ("channel_view", "UPDATE channel SET role = role - 1 WHERE name = 'talk'"),
    ("channel_view", "UPDATE channel SET rights = 7 WHERE name = 'talk'"),
    ("channel_view", "UPDATE channel SET rights = 1 WHERE name = 'theirs'"),
    ("channel_view", "UPDATE channel SET rotate_ms = 1"),
    ("rights_view", "UPDATE commits SET rights = 15 WHERE rights = 0"),
    ("void_view", "UPDATE commits SET rights = 15 WHERE rights = 0"),
    ("rights_view", "UPDATE commits SET rights = 15 WHERE rights = 3"),
    ("rights_view", "UPDATE commits SET rights = 0 WHERE rights = 3"),
    ("void_view", "UPDATE commits SET rights = 0 WHERE rights = 3"),
    ("operation_missing", "DELETE FROM voided WHERE id = (SELECT min(id) FROM voided)"),
    ("void_view", "UPDATE voided SET channel = 1"),
    ("void_view", "INSERT INTO operation SELECT id, channel, 4, NULL, 0, 1, 0, NULL, op FROM voided"),
    ("waiting_view", "UPDATE waiting SET rights = 1 WHERE target IS NOT NULL"),
    ("control_missing", "DELETE FROM control WHERE kind = 33"),
    ("operation_missing", "DELETE FROM control WHERE kind = 33"),
    ("operation_missing", "DELETE FROM control WHERE kind = 47"),
    ("control_missing", "DELETE FROM control WHERE kind = 47"),
    ("operation_missing", "DELETE FROM control WHERE kind = 35"),
    ("channel_view", "DELETE FROM control WHERE kind = 35"),
    ("operation_malformed", "UPDATE control SET op = zeroblob(40) WHERE kind = 33"),
    ("control_missing", "UPDATE control SET op = zeroblob(40) WHERE kind = 33"),
    ("operation_misplaced", "UPDATE control SET kind = 34 WHERE kind = 33"),
    ("operation_misplaced", "UPDATE control SET channel = 1 WHERE kind = 33"),
    ("log_misplaced", "UPDATE log SET branch = zeroblob(32) WHERE branch <> x''"),
    ("log_misplaced", "UPDATE log SET branch = x'' WHERE branch <> x''"),
    ("log_misplaced", "UPDATE log SET signer = (SELECT signer FROM log WHERE n = 1) WHERE branch <> x''"),
    ("epoch_view", "UPDATE epoch SET key = zeroblob(31)"),
    ("epoch_view", "UPDATE epoch SET key = randomblob(32)"),
    ("epoch_view", "DELETE FROM epoch"),
    ("contact_view", "UPDATE contact SET name = 'x'"),
    ("contact_view", "UPDATE contact SET verified = 0"),
    ("contact_view", "DELETE FROM contact"),
    ("device_name_view", "UPDATE device_name SET name = 'x'"),
    ("device_name_view", "DELETE FROM device_name"),
    ("parked_view", "UPDATE parked SET encoded = zeroblob(40)"),
    ("parked_view", "UPDATE parked SET id = zeroblob(32)"),
    ("parked_view", "UPDATE parked SET channel = zeroblob(32)"),
    ("search_view", "INSERT INTO search(search) VALUES('delete-all')"),
    ("search_view", "INSERT INTO search(rowid, body, tags) VALUES(1, 'stray', 'c1')"),
    ("search_view", "INSERT INTO search(rowid, body, tags) SELECT n, 'more', '' FROM doc LIMIT 1"),
    ("search_view", "INSERT INTO doc VALUES(1, 1, 0)"),
    ("search_view", "DELETE FROM tail"),
    ("search_view", "UPDATE tail SET n = n + 1"),
    ("search_view", "UPDATE tail SET id = (SELECT min(id) FROM message)"),
    ("search_view", "INSERT INTO tail SELECT (time >> 26) + spill AS n, id, 0 FROM message WHERE n NOT IN (SELECT n FROM tail)"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "sql"), DAMAGE, ids=[f"{what}-{n}" for n, (what, _) in enumerate(DAMAGE)])
def test_each_damage_has_its_name(what: str, sql: str, furnished: LocalStore) -> None:
    furnished.database.writer.execute(sql)
    assert what in kinds(furnished)


def test_a_changed_text_breaks_the_content_root(furnished: LocalStore) -> None:
    """Well formed, in its place, and signed nowhere."""
    db = furnished.database.writer
    row: Any = db.execute("SELECT id, op FROM message WHERE root IS NOT NULL LIMIT 1").fetchone()
    post = stored_operation(row[1])
    assert isinstance(post, Post)
    forged = row[1][:16] + encode_operation(Post("forged", post.root))
    db.execute("UPDATE message SET op = ? WHERE id = ?", (forged, row[0]))
    assert kinds(furnished) >= {"content_root", "search_view"}


def test_an_operation_of_no_commit_is_found(furnished: LocalStore) -> None:
    db = furnished.database.writer
    db.execute(
        "INSERT INTO waiting SELECT zeroblob(16), channel, target, due, time, signer, rights, op FROM waiting LIMIT 1"
    )
    db.execute("INSERT INTO waiting SELECT x'ffffffffffffffffffffffffffffffff', channel, target, due, time, signer, rights, op"
               " FROM waiting LIMIT 1")  # fmt: skip
    assert "operation_unsigned" in kinds(furnished)


def test_what_could_apply_may_not_wait(furnished: LocalStore) -> None:
    """A reply moved back into `waiting` though its thread is here."""
    db = furnished.database.writer
    db.execute(
        "INSERT INTO waiting SELECT m.id, m.channel, m.root, NULL, m.time, a.key, 15, m.op FROM message m"
        " JOIN author a ON a.n = m.author WHERE root IS NOT NULL LIMIT 1"
    )
    db.execute("DELETE FROM message WHERE id IN (SELECT id FROM waiting)")
    assert "waiting_in_vain" in kinds(furnished)


def test_a_rewritten_channel_needs_its_key(furnished: LocalStore) -> None:
    """Someone who can write the file, and sign with another device, still cannot take a channel over."""
    db = furnished.database.writer
    stranger = Author(seed=8)
    db.execute("UPDATE log SET device = ? WHERE n = 2", (stranger.device.public,))
    assert kinds(furnished) & {"log_misplaced", "device_unknown"}


def test_a_foreign_device_seed_is_found(furnished: LocalStore) -> None:
    furnished.database.writer.execute(
        "UPDATE meta SET value = ? WHERE key = 'device_seed'", (secrets.token_bytes(32),)
    )
    assert "certificate" in kinds(furnished)
    assert "certificate" in {problem.what for problem in furnished.doctor()}


def test_many_problems_are_all_counted_and_some_listed(store: LocalStore) -> None:
    manager = ChannelManager(store)
    channel = manager.create_channel("talk")
    store.ledger.run(
        lambda db: store.ledger.append(db, store.channel_row(channel.id), [Post(str(n)) for n in range(500)])
    )
    store.database.writer.execute("UPDATE message SET flags = (flags | 8) - (flags & 8)")
    report = store.verify()
    assert len(report.problems) == PROBLEMS_MAX
    assert report.problem_count >= 500
    assert not report.ok


def test_flipped_bytes_in_the_file_are_reported(furnished: LocalStore) -> None:
    """Pages are authenticated: damage is named, and what other parts hold is still checked."""
    furnished.close()
    path = furnished.folder / "vault.db"
    whole = path.read_bytes()
    found = 0
    for page in range(3, len(whole) // 8192, 4):
        flipped = bytearray(whole)
        flipped[page * 8192 + 4_000] ^= 1
        path.write_bytes(flipped)
        try:
            store = vaults.opened(furnished.folder)
        except CorruptError:
            continue  # seen at once
        report = store.verify()
        assert not report.ok, page
        found += "page_damaged" in {problem.what for problem in report.problems}
        store.close()
    assert found >= 2
    path.write_bytes(whole)


def test_an_old_page_put_back_is_found(furnished: LocalStore) -> None:
    """Each page is authentic by itself; that the whole is not of one time only the log can tell."""
    furnished.close()
    path = furnished.folder / "vault.db"
    before = path.read_bytes()
    store = vaults.opened(furnished.folder)
    manager = ChannelManager(store)
    [channel] = [info for info in manager.list_channels() if info.name == "talk"]
    for n in range(20):
        manager.send_message(channel.id, f"later {n}")
    store.close()
    after = path.read_bytes()
    changed = [
        n
        for n in range(1, len(before) // 8192)
        if before[n * 8192 : (n + 1) * 8192] != after[n * 8192 : (n + 1) * 8192]
    ]
    with vaults.opened(furnished.folder) as store:
        right = answers(store)
    found = 0
    for page in changed:
        path.write_bytes(
            after[: page * 8192] + before[page * 8192 : (page + 1) * 8192] + after[(page + 1) * 8192 :]
        )
        with vaults.opened(furnished.folder) as store:
            if store.verify().ok:  # a page of the index may differ in what it takes for granted only
                assert answers(store) == right, f"page {page}"
            else:
                found += 1
    assert found >= 4


def answers(store: LocalStore) -> object:
    """What readers see."""
    manager = ChannelManager(store)
    texts = [list(store.get_channel_messages(info.id)) for info in manager.list_channels()]
    hits = [store.search(word, limit=1_000) for word in (SECRET, "later", "edited", "19", "theirs", "plan")]
    return manager.list_channels(), texts, hits, manager.bookmarks()


def test_doctor_sees_a_folder_that_others_may_enter(furnished: LocalStore) -> None:
    furnished.folder.chmod(0o755)
    assert [problem.what for problem in furnished.doctor()] == ["permissions"]
    furnished.folder.chmod(0o700)


@pytest.mark.parametrize("name", ["vault.db", "slots"])
def test_doctor_sees_a_file_that_others_may_read(furnished: LocalStore, name: str) -> None:
    file = furnished.folder / name
    file.chmod(0o640)
    problems = [(problem.what, problem.where) for problem in furnished.doctor()]
    file.chmod(0o600)
    assert problems == [("permissions", str(file))]


def test_vaults_and_backups_are_their_owner_s_alone(store: LocalStore, tmp_path: Path) -> None:
    """Under any umask, the WAL too."""
    ChannelManager(store).create_channel("general")
    store.backup(tmp_path / "backup")
    for folder, one in ((store.folder, "vault.db"), (tmp_path / "backup", "manifest")):
        files = sorted(folder.rglob("*"))
        assert folder / one in files
        assert [file.name for file in [folder, *files] if file.stat().st_mode & 0o077] == []
    assert (store.folder / "vault.db-wal").exists()
    assert store.doctor() == []


def test_doctor_sees_damaged_slots(furnished: LocalStore) -> None:
    slots = furnished.folder / "slots"
    slots.write_bytes(slots.read_bytes()[:-1] + b"\x00")
    assert "slots_damaged" in {problem.what for problem in furnished.doctor()}


@pytest.mark.parametrize(
    "path",
    [
        "discord-pyscript/html-export.tar.xz",
        pytest.param("slack-r-contributors/slack-export.zip", marks=pytest.mark.slow),
        pytest.param("slack-haskell-jp/slack-log.tar.xz", marks=pytest.mark.slow),
    ],
)
def test_a_real_import_is_whole(path: str, tmp_path: Path) -> None:
    with vaults.fresh_store(tmp_path) as store:
        summary = ChannelManager(store).import_(corpus(path))
        report = store.verify()
        assert report.ok, report.problems
        assert report.messages >= summary.messages > 0


def test_a_commit_signed_by_nobody_is_found(furnished: LocalStore) -> None:
    """A row of `log` and a commit made up by someone with the key of the file, but not of the device."""
    db = furnished.database.writer
    row: Any = db.execute("SELECT id, genesis FROM channel WHERE kind <> 'self' LIMIT 1").fetchone()
    stranger = Author(seed=8)
    device: Any = db.execute("SELECT device FROM log WHERE own = 1").fetchone()
    incarnation = Incarnation(bytes(16))
    salted = commit.with_salts([encode_operation(Post("made up"))], secrets.token_bytes)
    head = commit.build_head(
        channel=row[0], device=device[0], incarnation=incarnation, seq=1, previous=b"", control_heads=(row[1],),
        time=START_MS << 16, salted=salted,
    )  # fmt: skip
    prefix = log_prefix(device[0], incarnation)
    db.execute(
        "INSERT INTO log(channel, device, incarnation, prefix, signer, own, branch) SELECT channel, ?, ?, ?, signer, 0, x''"
        " FROM log WHERE channel = (SELECT n FROM channel WHERE id = ?) LIMIT 1",
        (device[0], incarnation, prefix, row[0]),
    )
    db.execute(
        "INSERT INTO commits SELECT max(n), 1, ?, ?, 15 FROM log",
        (head, stranger.device.sign(commit.to_be_signed(head))),
    )
    assert {"commit_signature", "operation_missing"} <= kinds(furnished)


def test_a_stored_text_that_is_no_utf8_says_nothing() -> None:
    """So a check goes on over it, and the log says that it is damaged."""
    stored = bytes(16) + encode(Name("general"))
    assert readable(stored) == Name("general")
    assert readable(stored[:-1] + b"\xff") is None
