"""Where the space goes, limits to it, and giving it back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.operation import Erase, Remains
from quire.core.retention import Keeping
from quire.errors import FullError, UsageError
from quire.storage import freeing
from quire.storage.erasures import LOCAL
from quire.store.digest import timeline_digest
from quire.store.erasing import destroy
from quire.store.local import LocalStore
from quire.store.space import FILES, FREE, KEYS, SEARCH, TEXT, VERSIONS
from quire.store.wallclock import now_ms
from quire.testing.faults import Full
from quire.testing.people import Person, meet
from tests import vaults
from tests.crash.test_disk import on_disk
from tests.oracle import check

DAY_MS = 86_400_000


def filled(manager: ChannelManager, tmp_path: Path, count: int = 600) -> None:
    """Much that is old in one channel, and something new in another."""
    export = tmp_path / "export.jsonl"
    export.write_text(
        "".join(
            f'{{"channel": "old", "id": "{n}", "time_ms": {1_000_000_000_000 + n}, "author": "u",'
            f' "body": "{"word " * 60} {n}"}}\n'
            for n in range(count)
        )
    )
    manager.import_(export, format="jsonl")
    manager.create_channel("general")
    manager.edit_message(manager.send_message("general", "first").id, "second")


def test_the_parts_add_up_to_the_whole(manager: ChannelManager, tmp_path: Path) -> None:
    filled(manager, tmp_path)
    (tmp_path / "file").write_bytes(os.urandom(50_000))
    manager.send_message("general", "look", files=[tmp_path / "file"])
    store = manager.store
    store.database.checkpoint()
    found = store.space()
    pages = store.database.reader.pragma("page_count") * store.database.reader.pragma("page_size")
    assert sum(found.kinds.values()) - found.kinds[FILES] == pages
    assert found.kinds[FILES] > 50_000
    assert min(found.kinds[kind] for kind in (TEXT, SEARCH, VERSIONS, KEYS)) > 0
    assert found.used_bytes >= pages - found.kinds[FREE]
    old, general = found.channels[0], next(one for one in found.channels if one.name == "general")
    assert (old.name, old.messages) == ("old", 600)
    assert general.kinds[FILES] == found.kinds[FILES]
    assert old.bytes > 600 * 300
    assert [(one.days, one.messages) for one in found.ages if one.messages] == [(30, 2), (None, 600)]
    assert found.ages[-1].bytes > found.ages[0].bytes
    assert found.in_force == ()


def test_what_a_policy_in_force_would_free_is_said(manager: ChannelManager, tmp_path: Path) -> None:
    filled(manager, tmp_path)
    manager.set_retention("old", Keeping(age_ms=365 * DAY_MS))
    [one] = manager.store.space().in_force
    assert (one.name, one.messages) == ("old", 600)
    assert one.bytes > 600 * 300


def refusal(work: Callable[[], object]) -> FullError:
    with pytest.raises(FullError) as failure:
        work()
    assert (failure.value.rule, bool(failure.value.hint)) == ("quota_hard", True)
    return failure.value


def test_beyond_the_hard_quota_nothing_grows_and_everything_shrinks(
    manager: ChannelManager, tmp_path: Path
) -> None:
    filled(manager, tmp_path)
    store = manager.store
    kept = manager.send_message("general", "kept")
    gone = [manager.send_message("general", f"long {n} {'x' * 5_000}") for n in range(40)]
    store.database.checkpoint()
    used = store.quota().used_bytes
    assert store.set_quota(soft=1, hard=used - 100_000).state == "hard"
    (tmp_path / "file").write_bytes(b"x")
    for write in (
        lambda: manager.send_message("general", "no"),
        lambda: manager.edit_message(kept.id, "no"),
        lambda: manager.add_reaction(kept.id, "👍"),
        lambda: manager.send_message("general", "no", files=[tmp_path / "file"]),
    ):
        refusal(write)
    reopened = vaults.reopened(store)
    chat = ChannelManager(reopened)
    refusal(lambda: chat.send_message("general", "no"))
    chat.mark_read("general")
    chat.create_invite("general")
    chat.delete_message(gone[0].id)
    row = reopened.channel_row(chat.resolve("general"))
    reopened.write_operations(row.id, Erase(tuple(Remains(one.id) for one in gone[1:])))
    reopened.compact()
    assert reopened.quota().state == "soft"
    assert chat.send_message("general", "yes").body == "yes"
    assert reopened.verify().ok
    reopened.close()


def test_beyond_the_hard_quota_nothing_is_fetched_but_who_may_what_and_what_is_gone(tmp_path: Path) -> None:
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    said = ada.chat.send_message(team, "there").id
    meet(ada, bob)
    bob.store.set_quota(hard=1)
    ada.chat.send_message(team, "too much")
    ada.chat.delete_message(said)
    ada.chat.set_role(team, "bob", "moderator")
    given = ada.give()
    refusal(lambda: bob.take(given))
    assert bob.reads(team) in ([], [""]), "the deletion was taken, the message was not"
    assert bob.role(team) == "moderator"
    bob.store.set_quota()
    bob.take(given)
    assert "too much" in bob.reads(team)
    assert ada.digest(team) == bob.digest(team)
    for one in (ada, bob):
        assert one.store.verify().ok
        one.store.close()


def test_an_import_stops_at_the_quota_and_goes_on_beyond_it(manager: ChannelManager, tmp_path: Path) -> None:
    manager.create_channel("general")
    manager.store.set_quota(hard=1)
    refusal(lambda: filled(manager, tmp_path))
    manager.store.set_quota()
    filled_again = ChannelManager(manager.store).import_(tmp_path / "export.jsonl", format="jsonl")
    assert filled_again.messages == 600
    assert manager.store.verify().ok


def test_quotas_are_in_order(store: LocalStore) -> None:
    for soft, hard in ((2, 1), (0, None), (None, 0), (-1, 5)):
        with pytest.raises(UsageError):
            store.set_quota(soft=soft, hard=hard)
    assert store.set_quota(soft=10**9, hard=10**9).state == "ok"
    store.set_quota(soft=10**9)
    again = vaults.reopened(store)
    assert (again.quota().soft, again.quota().hard) == (10**9, None)
    again.close()


def thinned(manager: ChannelManager, tmp_path: Path) -> int:
    """Half of what was there is let go; pages that are free now."""
    filled(manager, tmp_path, 1_500)
    store = manager.store
    row = store.channel_row(manager.resolve("old"))
    ids = [one.id for one in store.get_channel_messages(row.id)][::2] + [
        one.id for one in store.get_channel_messages(row.id)
    ][:700]
    pen = store.ledger
    pen.run(lambda db: destroy(db, pen.applier, row, sorted(set(ids)), LOCAL, now_ms()))
    store.database.checkpoint()
    return freeing.free_pages(store.database.reader)


def test_compacting_gives_back_what_is_free_and_changes_nothing_else(
    manager: ChannelManager, tmp_path: Path
) -> None:
    assert thinned(manager, tmp_path) > 20
    store = manager.store
    before = timeline_digest(store, manager.resolve("old"))
    said: list[str] = []
    found = store.compact(lambda what, done, total: said.append(what))
    assert found.freed > 20 * 8_192
    assert found.bytes_after == store.database.path.stat().st_size
    assert {"giving back pages", "tidying the search index"} <= set(said)
    assert freeing.free_pages(store.database.reader) == 0
    assert timeline_digest(store, manager.resolve("old")) == before
    assert store.compact().freed == 0
    assert store.verify().ok
    check(store)


def test_another_writes_between_the_steps(manager: ChannelManager, tmp_path: Path) -> None:
    thinned(manager, tmp_path)
    said: list[str] = []

    def speak(what: str, done: int, total: int) -> None:
        if len(said) < 5:
            code = f"answer = manager.send_message('general', 's{len(said)}').body"
            said.append(vaults.in_forked_process(manager.store.folder, code))

    manager.store.compact(speak)
    assert said == [f"s{n}" for n in range(max(2, len(said)))]
    assert set(said) <= set(vaults.bodies(manager.store, "general"))
    assert manager.store.verify().ok


@pytest.mark.parametrize("room", [0, 10_000, 1_000_000])
def test_a_full_disk_ends_compacting_and_nothing_is_lost(tmp_path: Path, room: int) -> None:
    with vaults.fresh_store(tmp_path) as store:
        thinned(ChannelManager(store), tmp_path)
        before = timeline_digest(store, ChannelManager(store).resolve("old"))
    plan = Full()
    for store in on_disk(tmp_path / "vault", plan):
        plan.room = room
        with suppress(FullError):  # there may be room enough
            store.compact()
        assert timeline_digest(store, ChannelManager(store).resolve("old")) == before
        plan.room = None
        store.compact()
        ChannelManager(store).send_message("general", "it goes on")
        assert store.verify().ok


def test_compacting_on_a_small_real_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small disk needs root, and a system that lets it")
    try:
        with vaults.fresh_store(disk) as store:
            chat = ChannelManager(store)
            thinned(chat, tmp_path)
            room = os.statvfs(disk)
            (disk / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize))
            with pytest.raises(FullError) as failure:
                store.compact()
            assert (failure.value.rule, bool(failure.value.hint)) == ("disk_full", True)
            assert store.verify().ok
            (disk / "ballast").write_bytes(b"")
            (disk / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize - (2 << 20)))
            before = store.database.path.stat().st_size
            store.compact()
            assert store.database.path.stat().st_size < before, "two megabytes are room enough"
            assert store.verify().ok
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
