"""Disks that are full, read-only or broken: a clear error, nothing lost, and on it goes when they are well again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.errors import FullError, NotFoundError, StorageError
from quire.store.local import LocalStore
from quire.testing.faults import Broken, FaultyDisk, Full, Plan
from tests import vaults
from tests.oracle import check

NOBODY = 65_534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with vaults.fresh_store(tmp_path) as store:
        ChannelManager(store).create_channel("general")
        ChannelManager(store).send_message("general", "before")
    return tmp_path / "vault"


def on_disk(folder: Path, plan: Plan) -> Iterator[LocalStore]:
    disk = FaultyDisk(plan)
    store = vaults.opened(folder, vfs=disk.name)
    yield store
    store.close()


def fill(manager: ChannelManager, body: str = "x" * 20_000) -> tuple[list[str], StorageError]:
    """Send until it is refused: what was acknowledged, and the refusal."""
    sent: list[str] = []
    try:
        while len(sent) < 1_000:
            sent += [manager.send_message("general", f"{len(sent)} {body}").body]
    except StorageError as refusal:
        return sent, refusal
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("room", [0, 1, 5_000, 60_000, 300_000, 3_000_000])
def test_a_full_disk_is_said_and_the_same_store_goes_on_when_there_is_room(folder: Path, room: int) -> None:
    plan = Full()
    for store in on_disk(folder, plan):
        manager = ChannelManager(store)
        manager.send_message("general", "with room")
        plan.room = room
        sent, refusal = fill(manager)
        assert type(refusal) is FullError
        assert refusal.rule == "disk_full"
        assert refusal.hint
        assert vaults.bodies(store, "general") == ["before", "with room", *sent]  # still readable
        plan.room = None
        manager.send_message("general", "after")
        assert vaults.bodies(store, "general") == ["before", "with room", *sent, "after"]
        check(store)
    with vaults.opened(folder) as store:
        assert vaults.bodies(store, "general") == ["before", "with room", *sent, "after"]


def test_full_while_importing_and_rekeying(folder: Path, tmp_path: Path) -> None:
    """The large writes: each is refused whole, and done when there is room."""
    export = tmp_path / "export.jsonl"
    export.write_text(
        "".join(
            f'{{"channel": "old", "id": "{n}", "time_ms": {1_500_000_000_000 + n}, "author": "u", "body": "{"w" * 500} {n}"}}\n'
            for n in range(2_000)
        )
    )
    plan = Full()
    for store in on_disk(folder, plan):
        manager = ChannelManager(store)
        plan.room = 200_000
        with pytest.raises(FullError):
            manager.import_(export, format="jsonl")
        assert vaults.bodies(store, "general") == ["before"]
        plan.room = None
        manager.import_(export, format="jsonl")
        assert len(vaults.bodies(store, "old")) == 2_000
        plan.room = 100_000
        with pytest.raises(FullError):
            store.rekey()
        plan.room = None
    with vaults.opened(folder) as store:
        assert len(vaults.bodies(store, "old")) == 2_000
        check(store)
        store.rekey()
    with vaults.opened(folder) as store:
        check(store)


@pytest.mark.parametrize("at", [1, 2, 3, 7, 12, 16, 17, 18])
def test_a_disk_that_fails_is_said_and_nothing_acknowledged_is_lost(folder: Path, at: int) -> None:
    plan = Broken(0)
    for store in on_disk(folder, plan):
        manager = ChannelManager(store)
        manager.send_message("general", "with a good disk")
        plan.at = plan.calls + at
        sent, refusal = fill(manager, "y")
        assert refusal.rule == "disk_io"
        assert refusal.hint
        plan.at = 0
        manager.send_message("general", "after")
        found = vaults.bodies(store, "general")
        assert found == ["before", "with a good disk", *sent, "after"]
        check(store)
    with vaults.opened(folder) as store:
        assert vaults.bodies(store, "general") == found


def test_a_small_real_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small disk needs root, and a system that lets it")
    try:
        store = vaults.fresh_store(disk)
        manager = ChannelManager(store)
        manager.create_channel("general")
        sent, refusal = fill(manager)
        assert type(refusal) is FullError
        assert sent
        assert vaults.bodies(store, "general") == sent
        store.close()
        with pytest.raises(StorageError):
            vaults.fresh_store(disk, "second")
        with vaults.opened(disk / "vault") as found:
            assert vaults.bodies(found, "general") == sent
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            ChannelManager(found).send_message("general", "after")
            check(found)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


UNPRIVILEGED = """
import json, os, sys
from pathlib import Path
from quire.channels.manager import ChannelManager
from quire.errors import QuireError
from tests import vaults
folder = Path(sys.argv[1])
with vaults.fresh_store(folder.parent, "other") as store:  # imports all that may not be readable later
    ChannelManager(store).create_channel("general")
    ChannelManager(store).send_message("general", "x")
    vaults.reopened(store).close()
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
def tried(work):
    try:
        return work()
    except QuireError as error:
        return [type(error).__name__, error.rule, bool(error.hint)]
def write(read_only):
    with vaults.opened(folder, read_only=read_only) as store:
        return ChannelManager(store).send_message("general", "new").body
def read(read_only):
    with vaults.opened(folder, read_only=read_only) as store:
        return vaults.bodies(store, "general")
print(json.dumps([tried(lambda: work(read_only)) for work, read_only in
    [(write, False), (read, False), (read, True), (write, True)]]))
"""


def as_nobody(folder: Path) -> list[Any]:
    """Write and read a vault from a process without privileges: [write, read, read, write], the last two read-only."""
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED.format(nobody=NOBODY), str(folder)],
        cwd=vaults.ROOT, env=vaults.environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.fixture
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A vault that anyone may read: only what a test then forbids is forbidden."""
    base = Path("/tmp") / f"quire-public-{os.getpid()}-{tmp_path_factory.mktemp('p').name}"
    base.mkdir(mode=0o755)
    with vaults.fresh_store(base) as store:
        ChannelManager(store).create_channel("general")
        ChannelManager(store).send_message("general", "before")
    for path in [*base.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    yield base / "vault"
    for path in [base, *base.rglob("*")]:
        path.chmod(0o777)
    shutil.rmtree(base)


def test_everyone_may_write_where_nothing_forbids_it(public: Path) -> None:
    assert as_nobody(public) == [
        "new",
        ["before", "new"],
        ["before", "new"],
        ["FullError", "read_only", False],
    ]


def test_a_read_only_folder_is_said_and_nothing_is_lost(public: Path) -> None:
    for path in public.iterdir():
        path.chmod(0o444)
    public.chmod(0o555)
    assert as_nobody(public) == [["FullError", "read_only", True]] * 4
    public.chmod(0o755)
    with vaults.opened(public) as store:
        assert vaults.bodies(store, "general") == ["before"]
        check(store)


def test_a_read_only_file_in_a_writable_folder(public: Path) -> None:
    (public / "vault.db").chmod(0o444)
    write, read, read_only, _ = as_nobody(public)
    assert write[:2] == ["FullError", "read_only"]
    assert read == read_only == ["before"]


def test_a_folder_that_may_not_be_entered(public: Path) -> None:
    public.chmod(0o000)
    assert as_nobody(public) == [["StorageError", "folder_unreadable", True]] * 4


def test_no_vault_can_be_made_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StorageError):
        LocalStore.create(tmp_path / "file" / "vault", "passphrase")
    with pytest.raises(NotFoundError):
        vaults.opened(tmp_path / "nowhere")
