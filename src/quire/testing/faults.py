"""Disks that fail on purpose: a VFS under SQLite whose every write a plan may cut, tear, refuse or lose.

    disk = FaultyDisk(Kill(at=17, tear=0.5))
    store = LocalStore.open(folder, unlock, vfs=disk.name)

The shim lies below the encryption, so it sees what the disk sees: ciphertext, page by page, and each sync.
A plan is asked before every write, sync, truncation and deletion, which are numbered from 1; the default
plan lets everything through and counts. `watch` has it asked, and numbers, also when this process itself makes,
renames or removes files and folders. `Kill` ends this process with SIGKILL, perhaps half-way through the
write. `PowerCut` is harsher: what was written but not synced lives only in memory, and at the cut an
arbitrary part of it reaches the disk, in any order, whole or torn. For use in a process made to die.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import apsw

SECTOR = 512  # what a disk writes at once


def die() -> NoReturn:
    """End this process as a crash does: no handler, no clean-up, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL returned")


class Plan:
    """What happens to writes. This one lets all through and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def write(self, file: DiskFile, data: bytes, offset: int) -> None:
        self.calls += 1
        file.through_write(data, offset)

    def sync(self, file: DiskFile, flags: int) -> None:
        self.calls += 1
        file.through_sync(flags)

    def truncate(self, file: DiskFile, size: int) -> None:
        self.calls += 1
        file.through_truncate(size)

    def delete(self, disk: FaultyDisk, name: str, sync_folder: bool) -> None:
        self.calls += 1
        disk.through_delete(name, sync_folder)

    def rearrange(self) -> None:
        """Before a file or folder is made, renamed or removed without SQLite."""
        self.calls += 1


class Kill(Plan):
    """SIGKILL at the `at`-th call; `tear` is how much of a write is done first (0 none … 1 all of it)."""

    def __init__(self, at: int, tear: float = 0.0, *, sectors: bool = False) -> None:
        super().__init__()
        self._at = at
        self._tear = tear
        self._unit = SECTOR if sectors else 1

    def write(self, file: DiskFile, data: bytes, offset: int) -> None:
        if self.calls + 1 == self._at:
            size = int(len(data) * self._tear)
            file.through_write(data[: size - size % self._unit], offset)
            die()
        super().write(file, data, offset)

    def sync(self, file: DiskFile, flags: int) -> None:
        self._maybe_die()
        super().sync(file, flags)

    def truncate(self, file: DiskFile, size: int) -> None:
        self._maybe_die()
        super().truncate(file, size)

    def delete(self, disk: FaultyDisk, name: str, sync_folder: bool) -> None:
        self._maybe_die()
        super().delete(disk, name, sync_folder)

    def rearrange(self) -> None:
        self._maybe_die()
        super().rearrange()

    def _maybe_die(self) -> None:
        if self.calls + 1 == self._at:
            die()


class Full(Plan):
    """A disk with room for `room` more bytes of growth (None = endless); set `room` anew to free space."""

    def __init__(self, room: int | None = None) -> None:
        super().__init__()
        self.room = room

    def write(self, file: DiskFile, data: bytes, offset: int) -> None:
        growth = max(0, offset + len(data) - file.xFileSize())
        if self.room is not None:
            if growth > self.room:
                raise apsw.FullError("no space left on this disk")
            self.room -= growth
        super().write(file, data, offset)


class Broken(Plan):
    """A disk that fails for good from the `at`-th call on, until `at` is set to 0."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def write(self, file: DiskFile, data: bytes, offset: int) -> None:
        self._fail()
        super().write(file, data, offset)

    def sync(self, file: DiskFile, flags: int) -> None:
        self._fail()
        super().sync(file, flags)

    def truncate(self, file: DiskFile, size: int) -> None:
        self._fail()
        super().truncate(file, size)

    def _fail(self) -> None:
        if self.at and self.calls + 1 >= self.at:
            raise apsw.IOError("this disk is broken")


class PowerCut(Plan):
    """The power fails at the `at`-th call; of what was not synced, a random part reaches the disk.

    One process only: unsynced bytes live in its memory, and all its connections see them.
    """

    def __init__(self, at: int, seed: int) -> None:
        super().__init__()
        self._at = at
        self._random = random.Random(seed)  # noqa: S311 - chooses faults, not keys
        self._images: dict[str, Image] = {}

    def image(self, file: DiskFile) -> Image:
        return self._images.setdefault(file.path, Image())

    def write(self, file: DiskFile, data: bytes, offset: int) -> None:
        self._maybe_cut()
        self.calls += 1
        self.image(file).write(file, data, offset)

    def sync(self, file: DiskFile, flags: int) -> None:
        self._maybe_cut()
        self.calls += 1
        self.image(file).sync(file)
        file.through_sync(flags)

    def truncate(self, file: DiskFile, size: int) -> None:
        self._maybe_cut()
        self.calls += 1
        self.image(file).truncate(file, size)

    def delete(self, disk: FaultyDisk, name: str, sync_folder: bool) -> None:
        self._maybe_cut()
        super().delete(disk, name, sync_folder)
        self._images.pop(name, None)

    def _maybe_cut(self) -> None:
        if self.calls + 1 != self._at:
            return
        for path, image in self._images.items():
            image.cut(path, self._random)
        die()


class Image:
    """One file as the process sees it, and what of that is not synced yet."""

    def __init__(self) -> None:
        self.content: bytearray | None = None  # None until something differs from the disk
        self.pending: list[tuple[int, bytes | None]] = []  # (offset, data), or (size, None): truncated

    def load(self, file: DiskFile) -> bytearray:
        if self.content is None:
            size = file.through_size()
            self.content = bytearray(file.through_read(size, 0))
        return self.content

    def write(self, file: DiskFile, data: bytes, offset: int) -> None:
        content = self.load(file)
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data
        self.pending.append((offset, bytes(data)))

    def truncate(self, file: DiskFile, size: int) -> None:
        del self.load(file)[size:]
        self.pending.append((size, None))

    def sync(self, file: DiskFile) -> None:
        for offset, data in self.pending:
            if data is None:
                file.through_truncate(offset)
            else:
                file.through_write(data, offset)
        self.pending.clear()

    def cut(self, path: str, chance: random.Random) -> None:
        """Some of the pending writes happen, in any order; some of those only in part."""
        survivors = [one for one in self.pending if chance.random() < 0.5]
        if not survivors:
            return
        chance.shuffle(survivors)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        for offset, data in survivors:
            if data is None:
                os.ftruncate(descriptor, offset)
            else:
                whole = chance.random() < 0.7
                os.pwrite(descriptor, data if whole else data[: chance.randrange(len(data) + 1)], offset)
        os.fsync(descriptor)
        os.close(descriptor)


def watch(folder: Path, plan: Plan) -> None:
    """Ask a plan before everything that this process does to files in `folder` without SQLite, as long as it lives."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            changes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
        if changes and str(folder) in str(arguments[0]):
            plan.rearrange()

    sys.addaudithook(hook)


class FaultyDisk(apsw.VFS):
    """A VFS that asks its plan. Give its `name` to `LocalStore.open`.

    SQLite's encryption keeps what it once laid over a VFS, by its name, for as long as the process lives. So no
    name comes twice, and no disk goes: a second one of the same name would be looked for where the first was.
    """

    _all: ClassVar[list[FaultyDisk]] = []

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        own = f"faulty-{len(self._all)}"
        self.name = f"multipleciphers-{own}"
        self._all.append(self)
        super().__init__(own, "unix")

    def xOpen(self, name: Any, flags: list[int]) -> DiskFile:  # noqa: N802 - SQLite's names
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.plan.delete(self, filename, syncdir)

    def through_delete(self, name: str, sync_folder: bool) -> None:
        super().xDelete(name, sync_folder)


class DiskFile(apsw.VFSFile):
    """An open file of a `FaultyDisk`. The `through_` methods reach the real disk."""

    def __init__(self, disk: FaultyDisk, name: Any, flags: list[int]) -> None:
        self._plan = disk.plan
        self.path: str = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._plan.write(self, bytes(data), offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._plan.sync(self, flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._plan.truncate(self, newsize)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if isinstance(self._plan, PowerCut):
            content = self._plan.image(self).content
            if content is not None:
                return bytes(content[offset : offset + amount])
        return super().xRead(amount, offset)

    def xFileSize(self) -> int:  # noqa: N802
        if isinstance(self._plan, PowerCut):
            content = self._plan.image(self).content
            if content is not None:
                return len(content)
        return super().xFileSize()

    def through_write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)

    def through_sync(self, flags: int) -> None:
        super().xSync(flags)

    def through_truncate(self, size: int) -> None:
        super().xTruncate(size)

    def through_read(self, amount: int, offset: int) -> bytes:
        return super().xRead(amount, offset)

    def through_size(self) -> int:
        return super().xFileSize()
