"""Kill -9 and full disks while a backup is written, brought up to date and restored.

Each step runs in a process that dies at one of its disk calls (SQLite's, or files made and renamed) or at one of the
points between statements. What is left is the backup of before or the new one, and a vault that verifies or none; saying
the same again brings it to its end. The fast suite takes one place to die, CI a sample, the slow suite every one.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.errors import FullError
from quire.store.backup_reading import check_backup
from quire.store.digest import timeline_digest
from quire.store.local import LocalStore
from tests import vaults
from tests.crash import flows
from tests.crash.kept import Kept, goes_on
from tests.crash.test_flows import Before

SAMPLE = 24
STEPS = ("first", "second", "restore", "compact")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The world before each step."""
    folder = tmp_path_factory.mktemp("kept")

    @cache
    def laid(step: str) -> Before:
        worlds = {
            "first": ("talk",),
            "second": ("talk", "first", "more"),
            "restore": ("talk", "first", "more", "second"),
            "compact": ("talk", "thin", "noting"),
        }
        world = folder / step
        world.mkdir()
        for one in worlds[step]:
            assert flows.outcome(flows.doomed(world, one, {}, Kept)) == 0
        after = folder / f"{step}.after"
        flows.duplicate(world, after)
        assert flows.outcome(flows.doomed(after, step, {}, Kept)) == 0
        return Before("kept", 0, step, world, *flows.told(after, step))

    return laid


def survive(before: Before, folder: Path, spec: dict[str, Any]) -> bool:
    """Die as `spec` says, and say the same again; False if the step was over before."""
    print(before.step, spec)
    world = folder / "world"
    flows.duplicate(before.folder, world)
    died = flows.outcome(flows.doomed(world, before.step, spec, Kept))
    assert died in (-9, 0)
    assert flows.outcome(flows.start(goes_on, str(world), before.step)) == 0
    return died == -9


def test_a_kill_leaves_nothing_half_done_somewhere(before: Any, tmp_path: Path) -> None:
    world = before("restore")
    assert survive(world, tmp_path, random.Random(1).choice(world.specs()))


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_nothing_half_done_in_a_sample(before: Any, tmp_path: Path, step: str) -> None:
    world = before(step)
    chance = random.Random(step)
    some = chance.sample(world.specs(), min(SAMPLE // len(STEPS), len(world.specs())))
    assert all([survive(world, tmp_path / str(n), spec) for n, spec in enumerate(some)])


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_nothing_half_done_wherever_it_comes(before: Any, tmp_path: Path, step: str) -> None:
    world = before(step)
    for number, spec in enumerate(world.specs()):
        survive(world, tmp_path / str(number), spec)
        shutil.rmtree(tmp_path / str(number))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small disk needs root, and a system that lets it")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_full_is_said_and_the_backup_is_that_of_before(
    tmp_path: Path, small_disk: Path
) -> None:
    with vaults.fresh_store(tmp_path) as store:
        chat = ChannelManager(store)
        chat.create_channel("general")
        chat.send_message("general", "before")
        target = small_disk / "backup"
        store.backup(target)
        manifest = (target / "manifest").read_bytes()
        for _ in range(8):
            chat.send_message("general", os.urandom(60_000).hex())  # it does not compress to less than half
        with pytest.raises(FullError) as failure:
            store.backup(target)
        assert (failure.value.rule, bool(failure.value.hint)) == ("disk_full", True)
        assert (target / "manifest").read_bytes() == manifest
        assert check_backup(target, vaults.key_of(store.folder)).ok
        with pytest.raises(FullError):
            store.backup(tmp_path / "elsewhere", second=small_disk / "second")
        assert check_backup(tmp_path / "elsewhere", vaults.key_of(store.folder)).ok, "the first place has it"
        chat.send_message("general", "the vault goes on")
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        store.backup(target)
        assert check_backup(target, vaults.key_of(store.folder)).ok
        assert store.verify().ok


def test_a_disk_that_is_full_while_restoring_leaves_nothing_or_what_goes_on(
    tmp_path: Path, small_disk: Path
) -> None:
    with vaults.fresh_store(tmp_path) as store:
        chat = ChannelManager(store)
        channel = chat.create_channel("general").id
        for number in range(12):
            chat.send_message("general", f"{number} " + os.urandom(30_000).hex())
        store.backup(tmp_path / "backup")
        key, digest = vaults.key_of(store.folder), timeline_digest(store, channel)
    again = small_disk / "again"
    with pytest.raises(FullError) as failure:
        LocalStore.restore(tmp_path / "backup", again, key)
    assert (failure.value.rule, bool(failure.value.hint)) == ("disk_full", True)
    assert [path.name for path in small_disk.iterdir()] in ([], ["again"])
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    LocalStore.restore(tmp_path / "backup", again, key)
    with LocalStore.open(again, key) as restored:
        assert restored.verify().ok
        assert timeline_digest(restored, channel) == digest
