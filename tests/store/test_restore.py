"""Restores: a new device with everything, or with everything that is whole, and what is said of the rest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from quire.channels.manager import ChannelManager
from quire.core.backup import BackupKey, Kind, open_manifest, open_pack, pack_name, seal_manifest, seal_pack
from quire.core.crypto.secrets import RecoveryPhrase
from quire.core.encoding import encode
from quire.core.ids import MessageId
from quire.core.operation import Erase, Remains
from quire.core.reports import BackupProblem, RestoreReport
from quire.core.retention import Keeping
from quire.errors import CorruptError, QuireError, SchemaError, UnlockError, UsageError
from quire.storage import database, log
from quire.storage.erasures import LOCAL, POLICY, holes_between, is_missing_any
from quire.store import backup_found, backup_packing, restoring
from quire.store.backup_reading import check_backup
from quire.store.digest import timeline_digest
from quire.store.erasing import destroy
from quire.store.local import LocalStore
from quire.store.wallclock import now_ms
from quire.testing.people import Person, meet
from tests import vaults
from tests.crash import flows
from tests.oracle import check


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small history is in many."""
    monkeypatch.setattr(backup_packing, "PACK_BYTES", 2_000)
    monkeypatch.setattr(backup_found, "SMALL_COUNT", 1_000)
    monkeypatch.setattr(restoring, "PAGE_COMMITS", 3)
    monkeypatch.setattr(restoring, "BATCH_BYTES", 1_500)


class Owner:
    """Somebody whose disk is lost."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        store = vaults.fresh_store(folder)
        assert store.recovery_phrase is not None
        self.words = store.recovery_phrase.words()
        self.key = vaults.key_of(store.folder)
        chat = ChannelManager(store)
        chat.set_name("Ada")
        for name in ("general", "other"):
            chat.create_channel(name)
        for number in range(24):
            name = ("general", "other")[number % 2]
            sent = chat.send_message(name, f"{name} {number}")
        chat.add_reaction(sent.id, "👍")
        chat.edit_message(sent.id, "the newest, edited")
        chat.bookmark(sent.id)
        chat.send_message("general", "in a thread", thread=chat.send_message("general", "a root").id)
        self.channels = {one.name: one.id for one in chat.list_channels()}
        self.digests = {id: timeline_digest(store, id) for id in self.channels.values()}
        self.bookmarks = [one.id for one in chat.bookmarks()]
        store.backup(self.backup)
        store.close()

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    @property
    def restored(self) -> Path:
        return self.folder / "restored"

    def restore(self, *, words: bool = False, damaged: bool = False) -> RestoreReport:
        phrase = self.words if words else None
        return LocalStore.restore(self.backup, self.restored, self.key, phrase=phrase, damaged=damaged)

    def open(self) -> LocalStore:
        return LocalStore.open(self.restored, self.key)

    def require_all(self) -> None:
        """All that was backed up is in the restored vault."""
        with self.open() as store:
            assert {id: timeline_digest(store, id) for id in self.channels.values()} == self.digests
            assert [one.id for one in ChannelManager(store).bookmarks()] == self.bookmarks
            assert store.verify().ok
            if not store.database.reader.execute("SELECT 1 FROM destroyed").fetchall():
                check(store)  # which knows nothing of roots that were let go


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path)


def test_with_the_words_it_is_a_device_at_once(owner: Owner) -> None:
    report = owner.restore(words=True)
    assert (report.channels, report.certified, report.refused, report.lost) == (2, True, 0, ())
    owner.require_all()
    with owner.open() as store:
        chat = ChannelManager(store)
        assert chat.me().name == "Ada"
        assert sorted((one.this, one.by_identity) for one in chat.devices()) == [(False, True), (True, True)]
        [old] = [one for one in chat.devices() if not one.this]
        said = chat.send_message("general", "from the new one")
        assert said.id[:10] not in {one[:10] for one in owner.bookmarks}, "the same log would fork"
        chat.revoke_device(old.id)
        assert chat.send_message("general", "alone").body == "alone"
        assert store.verify().ok


def test_the_words_alone_are_enough(owner: Owner) -> None:
    phrase = RecoveryPhrase(owner.words)
    assert LocalStore.restore(owner.backup, owner.restored, phrase, phrase=phrase).certified
    owner.require_all()


def test_without_the_words_it_reads_and_waits_for_them(owner: Owner) -> None:
    assert owner.restore().certified is False
    owner.require_all()
    with owner.open() as store:
        chat = ChannelManager(store)
        for write in (
            lambda: chat.send_message("general", "no"),
            lambda: chat.create_channel("no"),
            lambda: chat.create_invite("general"),
            lambda: chat.set_name("no"),
        ):
            with pytest.raises(UsageError) as failure:
                write()
            assert failure.value.rule == "device_uncertified"
            assert failure.value.hint
        assert store.search("newest").hits
        assert not [one for one in chat.devices() if one.this]
    owner.require_all()
    assert owner.restore(words=True).certified
    owner.require_all()
    with owner.open() as store:
        assert ChannelManager(store).send_message("general", "yes").body == "yes"
        assert store.verify().ok
    with pytest.raises(UsageError) as failure:
        owner.restore(words=True)
    assert failure.value.rule == "vault_exists"


def test_others_take_what_the_new_device_writes_and_it_catches_up(tmp_path: Path) -> None:
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    assert ada.store.recovery_phrase is not None
    words = ada.store.recovery_phrase.words()
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    ada.say(team, "before")
    meet(ada, bob)
    ada.store.backup(tmp_path / "backup")
    bob.say(team, "after the backup")
    meet(ada, bob)
    ada.say(team, "lost with the disk, and bob has it")
    meet(ada, bob)
    key = vaults.key_of(ada.store.folder)
    ada.store.close()
    LocalStore.restore(tmp_path / "backup", tmp_path / "again", key, phrase=words)
    again = Person("ada", LocalStore.open(tmp_path / "again", key))
    assert again.reads(team) == ["before"]
    meet(again, bob)
    again.say(team, "back")
    meet(again, bob)
    bob.say(team, "welcome")
    meet(again, bob)
    assert again.reads(team) == bob.reads(team)
    assert len(bob.reads(team)) == 5
    assert again.digest(team) == bob.digest(team)
    for one in (again, bob):
        assert one.store.verify().ok
        one.store.close()


def test_the_newest_page_is_there_before_the_rest_and_a_restore_goes_on(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(point: str) -> None:
        if point == "restore_appeared":
            raise KeyboardInterrupt

    monkeypatch.setattr(database, "fault_hook", stop)
    with pytest.raises(KeyboardInterrupt):
        owner.restore(words=True)
    monkeypatch.setattr(database, "fault_hook", None)
    with owner.open() as store:
        found = vaults.bodies(store, "general")
        assert 0 < len(found) < 10
        assert "in a thread" in found or "a root" in found
        ChannelManager(store).send_message("general", "said meanwhile")
    assert owner.restore(words=True).commits > 20
    with owner.open() as store:
        assert {"general 0", "said meanwhile"} <= set(vaults.bodies(store, "general"))
        assert store.verify().ok
        check(store)
    with pytest.raises(UsageError):
        owner.restore()


def test_a_fresh_process_shows_what_was_restored(owner: Owner) -> None:
    owner.restore(words=True)
    shutil.copyfile(owner.key.path, vaults.key_of(owner.restored).path)
    code = "answer = [one.body for one in manager.get_stored_messages('other')]"
    assert vaults.in_forked_process(owner.restored, code)[-1] == "the newest, edited"


def refusal(owner: Owner, **how: bool) -> QuireError:
    with pytest.raises(QuireError) as failure:
        owner.restore(**how)
    assert failure.value.hint
    return failure.value


def test_wrong_keys_words_and_places_are_refused(owner: Owner, tmp_path: Path) -> None:
    with vaults.fresh_store(tmp_path, "stranger") as other:
        assert other.recovery_phrase is not None
        theirs, key = other.recovery_phrase.words(), vaults.key_of(other.folder)
    with pytest.raises(UsageError) as failure:
        LocalStore.restore(owner.backup, owner.restored, owner.key, phrase=theirs)
    assert failure.value.rule == "phrase_foreign"
    with pytest.raises(UnlockError):
        LocalStore.restore(owner.backup, owner.restored, key)
    with pytest.raises(UsageError) as failure:
        LocalStore.restore(tmp_path / "stranger", owner.restored, owner.key)
    assert failure.value.rule in ("no_backup", "wrong_key_file")
    assert not owner.restored.exists()
    LocalStore.restore(owner.backup, tmp_path / "waits", owner.key)  # for its words
    with LocalStore.create(tmp_path / "second", owner.key) as other:  # that the same key opens
        assert other.recovery_phrase is not None
        words = other.recovery_phrase
        other.backup(tmp_path / "another")
    with pytest.raises(UsageError) as failure:
        LocalStore.restore(tmp_path / "another", tmp_path / "waits", owner.key, phrase=words)
    assert failure.value.rule == "backup_foreign"
    owner.restored.mkdir()
    (owner.restored / "letters").write_text("mine")
    assert refusal(owner).rule == "vault_exists"


# Damage


def problems(owner: Owner) -> list[BackupProblem]:
    return list(check_backup(owner.backup, owner.key).problems)


def kind_of(owner: Owner, path: Path) -> Kind:
    with LocalStore.open(owner.folder / "vault", owner.key) as store:
        key = BackupKey.of(store.database.key)
    return Kind(open_pack(path.read_bytes(), key).kind)


def require_the_rest(owner: Owner, path: Path, kind: Kind, problem: BackupProblem) -> None:
    """The damaged file is named, and everything else restored, or what is missing is said."""
    error = refusal(owner)
    assert (type(error), error.rule) == (CorruptError, "backup_damaged")
    assert path.name in str(error)
    if owner.restored.exists():  # it was found when the newest page was there already
        with owner.open() as store:
            assert store.verify().ok
    if kind == Kind.CONTROL:
        return  # who is in which channel is in there: see below
    report = owner.restore(words=kind == Kind.STATE, damaged=True)
    assert [one.file for one in report.lost] == [problem.file]
    assert not report.ok
    with owner.open() as store:
        assert store.verify().ok
        missing = 26 - sum(len(vaults.bodies(store, name)) for name in owner.channels)
        assert missing == 0 or kind == Kind.CONTENT
        check(store)


def files_of(owner: Owner) -> list[Path]:
    return sorted(path for path in owner.backup.rglob("*") if path.is_file() and path.name != "backup.lock")


def test_a_flipped_byte_anywhere_is_named_and_the_rest_restored(owner: Owner) -> None:
    assert problems(owner) == []
    seen = set()
    for number, path in enumerate(files_of(owner)):
        whole = path.read_bytes()
        at = (number * 7919) % len(whole)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        [problem] = problems(owner)
        assert problem.file == str(path.relative_to(owner.backup))
        if path.parent.name == "packs":
            path.write_bytes(whole)
            kind = kind_of(owner, path)
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            assert problem.rule == "pack_damaged"
            if kind not in seen:
                require_the_rest(owner, path, kind, problem)
            seen.add(kind)
        else:
            assert owner.restore(words=True).ok, "there is a copy of it"
        path.write_bytes(whole)
        shutil.rmtree(owner.restored, ignore_errors=True)
    assert seen == {Kind.STATE, Kind.CONTROL, Kind.CONTENT}
    assert owner.restore(words=True).ok
    owner.require_all()


def test_a_file_that_is_missing_or_cut_is_named_and_the_rest_restored(owner: Owner) -> None:
    for path in files_of(owner):
        whole = path.read_bytes()
        for damage in ("cut", "missing"):
            if damage == "cut":
                path.write_bytes(whole[: len(whole) // 2])
            else:
                path.unlink()
            [problem] = problems(owner)
            assert problem.file == str(path.relative_to(owner.backup))
            assert damage in problem.detail or problem.file.startswith("slots")
            if path.parent.name == "packs":
                assert path.name in str(refusal(owner))
                assert not owner.restored.exists(), "it is seen before anything is made"
        path.write_bytes(whole)
    path = next(one for one in (owner.backup / "packs").iterdir() if kind_of(owner, one) == Kind.CONTENT)
    path.unlink()
    require_the_rest(owner, path, Kind.CONTENT, problems(owner)[0])


def test_without_any_manifest_what_the_packs_say_is_restored(owner: Owner) -> None:
    for name in ("manifest", "manifest.copy"):
        whole = (owner.backup / name).read_bytes()
        (owner.backup / name).write_bytes(whole[:-1])
    assert [one.file for one in problems(owner)] == ["manifest", "manifest.copy"]
    assert "manifest" in str(refusal(owner))
    assert not owner.restored.exists()
    assert owner.restore(words=True, damaged=True).certified
    owner.require_all()


def test_without_the_slots_nothing_opens_and_that_is_said(owner: Owner) -> None:
    for name in ("slots", "slots.copy"):
        (owner.backup / name).write_bytes(b"nothing")
    assert refusal(owner).rule == "slots_damaged"


def test_what_a_newer_quire_wrote_is_left_alone(owner: Owner) -> None:
    for name in ("manifest", "manifest.copy"):
        whole = (owner.backup / name).read_bytes()
        newer = whole[:9] + b"\x02" + whole[10:-32]
        (owner.backup / name).write_bytes(newer + hashlib.sha256(newer).digest())
    error = refusal(owner)
    assert (type(error), error.rule) == (SchemaError, "backup_newer")
    assert {one.rule for one in problems(owner)} == {"manifest_version"}
    owner.restore(words=True, damaged=True)
    owner.require_all()


def test_when_the_own_channel_is_lost_that_is_said(owner: Owner) -> None:
    for path in (owner.backup / "packs").iterdir():
        if kind_of(owner, path) == Kind.CONTROL:
            path.unlink()
    assert refusal(owner, damaged=True).rule == "backup_self_lost"
    assert not owner.restored.exists()


def test_a_forged_pack_is_refused_commit_by_commit(owner: Owner) -> None:
    """By somebody with the passphrase: they can make packs, and yet no commit that counts."""
    with LocalStore.open(owner.folder / "vault", owner.key) as store:
        key = BackupKey.of(store.database.key)
    manifest = open_manifest((owner.backup / "manifest").read_bytes(), key)
    entry = next(one for one in manifest.packs if one.kind == Kind.CONTENT and one.count > 3)
    path = owner.backup / "packs" / entry.name.hex()
    body = open_pack(path.read_bytes(), key)
    head, signature, operations = msgspec.msgpack.decode(body.items[-1])
    changed = bytes(operations[0][:-1]) + b"!"
    forged = encode([head, signature, [changed, *operations[1:]]])
    body = msgspec.structs.replace(body, items=(*body.items[:-1], forged))
    sealed = seal_pack(encode(body), key, os.urandom)
    name = pack_name(sealed)
    (path.parent / name.hex()).write_bytes(sealed)
    fresh = msgspec.structs.replace(
        entry, name=name, size=len(sealed), plain=hashlib.sha256(encode(body)).digest()
    )
    packs = tuple(fresh if one == entry else one for one in manifest.packs)
    for copy in ("manifest", "manifest.copy"):
        file = seal_manifest(msgspec.structs.replace(manifest, packs=packs), key, os.urandom)
        (owner.backup / copy).write_bytes(file)
    report = owner.restore(words=True)
    assert (report.refused, report.ok) == (1, False)
    assert list(report.rules) == ["content_root_differs"]
    with owner.open() as store:
        assert store.verify().ok


# What was let go


def without(owner: Owner, work: Callable[[LocalStore, ChannelManager], None]) -> None:
    """Do something in the vault, and bring its backup up to date."""
    with LocalStore.open(owner.folder / "vault", owner.key) as store:
        work(store, ChannelManager(store))
        assert store.verify().ok
        owner.digests = {id: timeline_digest(store, id) for id in owner.channels.values()}
        report = store.backup(owner.backup)
        assert 1 <= report.rewritten <= 2, "only the packs that held it"
        assert store.backup(owner.backup).packs_written == 0
        key = BackupKey.of(store.database.key)
    bodies = [open_pack(path.read_bytes(), key) for path in (owner.backup / "packs").iterdir()]
    assert not any(b"general 4" in item for body in bodies for item in body.items)


def named(store: LocalStore, text: str) -> tuple[log.ChannelRow, bytes]:
    row = next(row for row in log.channels(store.database.reader) if row.name == "general")
    return row, next(one.id for one in store.get_channel_messages(row.id) if one.body == text)


def test_what_was_erased_is_not_in_the_backup_nor_restored(owner: Owner) -> None:
    def erase(store: LocalStore, chat: ChannelManager) -> None:
        row, id = named(store, "general 4")
        store.write_operations(row.id, Erase((Remains(id),)))

    without(owner, erase)
    owner.restore(words=True)
    owner.require_all()
    with owner.open() as store:
        assert "general 4" not in vaults.bodies(store, "general")


@pytest.mark.parametrize("why", [POLICY, LOCAL])
def test_what_retention_let_go_is_not_in_the_backup_and_not_missed(owner: Owner, why: int) -> None:
    def prune(store: LocalStore, chat: ChannelManager) -> None:
        row, id = named(store, "general 4")
        _, root = named(store, "a root")
        pen = store.ledger
        pen.run(lambda db: destroy(db, pen.applier, row, [id, root], why, now_ms()))

    without(owner, prune)
    owner.restore(words=True)
    owner.require_all()
    with owner.open() as store:
        db = store.database.reader
        assert [one.why for one in holes_between(db, bytes(16), b"\xff" * 16).values()] == [why, why]
        assert not is_missing_any(db), "nobody is asked for it"
        assert not store.database.reader.execute("SELECT 1 FROM gap").fetchall()
        assert "in a thread" in vaults.bodies(store, "general"), "a reply to what is gone waits for nothing"


@pytest.mark.parametrize("why", [POLICY, LOCAL])
def test_what_was_erased_and_then_let_go_leaves_no_place_in_what_is_restored(owner: Owner, why: int) -> None:
    ids: list[bytes] = []

    def erase_and_prune(store: LocalStore, chat: ChannelManager) -> None:
        row, id = named(store, "general 4")
        _, root = named(store, "a root")
        chat.erase_messages([MessageId(id), MessageId(root)])
        store.ledger.run(lambda db: destroy(db, store.ledger.applier, row, [id, root], why, now_ms()))
        ids.extend([id, root])

    without(owner, erase_and_prune)
    owner.restore(words=True)
    owner.require_all()
    with owner.open() as store:
        assert store.database.reader.execute("SELECT 1 FROM message WHERE id IN (?, ?)", ids).fetchall() == []
        assert "" not in vaults.bodies(store, "general")
        assert "in a thread" in vaults.bodies(store, "general")
        holes = holes_between(store.database.reader, bytes(16), b"\xff" * 16)
        assert [holes[id].why for id in ids] == [why, why]
        check(store)


def test_an_old_backup_brings_nothing_back_once_the_erasure_is_heard_of(tmp_path: Path) -> None:
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    assert ada.store.recovery_phrase is not None
    words = ada.store.recovery_phrase.words()
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    said = ada.chat.send_message(team, "regretted").id
    meet(ada, bob)
    ada.store.backup(tmp_path / "backup")
    ada.store.write_operations(team, Erase((Remains(said),)))
    meet(ada, bob)
    key = vaults.key_of(ada.store.folder)
    ada.store.close()
    LocalStore.restore(tmp_path / "backup", tmp_path / "again", key, phrase=words)
    again = Person("ada", LocalStore.open(tmp_path / "again", key))
    assert "regretted" in again.reads(team), "it is a true backup of that day"
    meet(again, bob)
    assert "regretted" not in again.reads(team)
    assert again.digest(team) == bob.digest(team)
    for one in (again, bob):
        assert one.store.verify().ok
        one.store.close()


# Attachments, and what this device lets go


def with_file(owner: Owner, *, runs: int = 1) -> tuple[bytes, Path]:
    """A message with a file in the backup; its id, and where the file is there."""
    (owner.folder / "plan.txt").write_bytes(PLAN)
    with LocalStore.open(owner.folder / "vault", owner.key) as store:
        chat = ChannelManager(store)
        message = chat.send_message("general", "look", files=[owner.folder / "plan.txt"])
        chat.set_retention("general", Keeping(age_ms=10 * 365 * 86_400_000), here=True)
        reports = [store.backup(owner.backup, second=owner.folder / "second") for _ in range(runs)]
        assert [one.files for one in reports] == [1] * runs
        assert all(one.bytes_written < len(PLAN) for one in reports[1:]), "it is there already"
        owner.digests = {id: timeline_digest(store, id) for id in owner.channels.values()}
    [copy] = (owner.backup / "attachments").iterdir()
    return message.id, copy


PLAN = b"a plan\n" * 300_000


def test_attachments_come_along(owner: Owner) -> None:
    message, copy = with_file(owner, runs=2)
    assert (owner.folder / "second" / "attachments" / copy.name).read_bytes() == copy.read_bytes()
    assert b"a plan" not in copy.read_bytes()
    owner.restore(words=True)
    owner.require_all()
    with owner.open() as store:
        chat = ChannelManager(store)
        with chat.open_attachment(MessageId(message)) as stream:
            assert stream.read() == PLAN
        assert chat.get_retention("general").here == Keeping(age_ms=10 * 365 * 86_400_000)


def test_a_damaged_attachment_is_named_and_the_rest_restored(owner: Owner) -> None:
    message, copy = with_file(owner)
    whole = copy.read_bytes()
    for damaged in (whole[:-1], whole[:1_500_000] + bytes([whole[1_500_000] ^ 1]) + whole[1_500_001:], b""):
        copy.write_bytes(damaged)
        [problem] = problems(owner)
        assert problem.file == f"attachments/{copy.name}"
        assert copy.name in str(refusal(owner))
        report = owner.restore(words=True, damaged=True)
        assert [one.file for one in report.lost] == [problem.file]
        owner.require_all()
        shutil.rmtree(owner.restored)
    with LocalStore.open(owner.folder / "vault", owner.key) as store:
        store.backup(owner.backup, reread=True)
        assert problems(owner) == []
        row, _ = named(store, "general 4")
        store.write_operations(row.id, Erase((Remains(message),)))
        store.backup(owner.backup)
    assert not copy.exists(), "what is erased leaves the backup"


def test_a_damaged_attachment_of_the_vault_keeps_nothing_else_from_the_backup(owner: Owner) -> None:
    (owner.folder / "plan.txt").write_bytes(PLAN)
    with LocalStore.open(owner.folder / "vault", owner.key) as store:
        ChannelManager(store).send_message("general", "look", files=[owner.folder / "plan.txt"])
        [sealed] = [
            one
            for one in Path(store.files.folder).rglob("*")
            if one.is_file() and one.stat().st_size > 10_000
        ]
        content = sealed.read_bytes()
        sealed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        report = store.backup(owner.backup)
        assert (report.files, report.unreadable) == (0, 1)
    assert problems(owner) == []


def test_a_log_that_was_continued_twice_is_restored_with_both_its_branches(tmp_path: Path) -> None:
    world, apart = tmp_path / "world", tmp_path / "apart"
    world.mkdir()
    ada, bob = Person.create(world, "ada"), Person.create(world, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    ada.say(team, "before")
    meet(ada, bob)
    ada.store.close()
    flows.duplicate(world, apart)  # a copy that does not know it is one
    for number, folder in enumerate((world, apart)):
        one = Person("ada", LocalStore.open(folder / "ada", vaults.key_of(folder / "ada")))
        for more in range(number + 2):
            one.say(team, f"on branch {number}, {more}")
        bob.take(one.give())
        one.store.close()
    assert bob.chat.forks(team), "the copy did fork"
    assert bob.store.recovery_phrase is not None
    words = bob.store.recovery_phrase.words()
    before, digest = bob.reads(team), timeline_digest(bob.store, team)
    assert len(before) == 6
    bob.store.backup(tmp_path / "backup")
    assert bob.store.backup(tmp_path / "backup").packs_written == 0
    key = vaults.key_of(bob.store.folder)
    bob.store.close()
    report = LocalStore.restore(tmp_path / "backup", tmp_path / "again", key, phrase=words)
    assert report.ok, report
    again = Person("bob", LocalStore.open(tmp_path / "again", key))
    assert (again.reads(team), timeline_digest(again.store, team)) == (before, digest)
    assert again.chat.forks(team)
    assert again.store.verify().ok
    again.store.close()
