"""Backups: the first one beside a plain copy of the file, one after a thousand new messages, a restore, the storage report.

Each backup is sealed, flushed and read back; the plain copy is flushed once. A restore counts from the call: to the moment when
another process could open the vault and read its newest page, and to its end, every signature, view and index made anew.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from bench.building import Built
from bench.measuring import OURS, Row, peak_mb, python, run_child
from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import KeyFile
from quire.storage import database
from quire.store.local import LocalStore

PART = "backup"
NEW = 1_000  # messages between two backups
CODE = "import sys; from bench import backing; getattr(backing, sys.argv[1])(*sys.argv[2:])"


def measure(built: Built, scratch: Path) -> list[Row]:
    """One after the other; `built` is closed."""
    size, ours = built.size, built.ours
    target, restored = scratch / "backup", scratch / "restored"
    megabytes = (ours.folder / "vault.db").stat().st_size / 1e6
    begun = time.perf_counter()
    _copy(ours.folder / "vault.db", scratch / "copy")
    copying = time.perf_counter() - begun
    (scratch / "copy").unlink()
    seconds, memory = _child("back_up", scratch, ours.folder, ours.key_file, target)
    rows = [
        Row(PART, size, "first backup", "MB/s", {OURS: megabytes / seconds}),
        Row(PART, size, "a plain copy of the file", "MB/s", {"": megabytes / copying}),
        Row(PART, size, "backing up", "MB", {OURS: memory}),
    ]
    with LocalStore.open(ours.folder, KeyFile(ours.key_file)) as store:
        chat = ChannelManager(store)
        channel = chat.create_channel("since").id
        for number in range(NEW):
            chat.send_message(
                channel, f"Message {number} of those that came after the first backup. {number * 7919}"
            )
        begun = time.perf_counter()
        report = store.backup(target)
        again = time.perf_counter() - begun
        begun = time.perf_counter()
        store.space()
        looking = time.perf_counter() - begun
    first, whole, memory = _child("restore", scratch, target, ours.key_file, restored)
    shutil.rmtree(target)
    shutil.rmtree(restored)
    return [
        *rows,
        Row(PART, size, "backup, disk", "bytes/message", {OURS: report.bytes / size}),
        Row(PART, size, "a backup after 1,000 messages", "s", {OURS: again}),
        Row(PART, size, "a backup after 1,000 messages, written", "MB", {OURS: report.bytes_written / 1e6}),
        Row(PART, size, "restore, first page", "s", {OURS: first}),
        Row(PART, size, "restore", "messages/s", {OURS: size / whole}),
        Row(PART, size, "restoring", "MB", {OURS: memory}),
        Row(PART, size, "quire storage", "s", {OURS: looking}),
    ]


def _child(what: str, scratch: Path, *arguments: object) -> list[float]:
    return [float(word) for word in run_child(python(CODE, what, *arguments), scratch).split()]


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def back_up(folder: str, key_file: str, target: str) -> None:
    """In the child."""
    with LocalStore.open(folder, KeyFile(key_file)) as store:
        begun = time.perf_counter()
        store.backup(target)
        sys.stdout.write(f"{time.perf_counter() - begun} {peak_mb()}\n")


def restore(backup: str, key_file: str, folder: str) -> None:
    """In the child."""
    first: list[float] = []
    begun = time.perf_counter()

    def note(point: str) -> None:
        if point == "restore_appeared":
            first.append(time.perf_counter() - begun)

    database.fault_hook = note
    LocalStore.restore(backup, folder, KeyFile(key_file))
    sys.stdout.write(f"{first[0]} {time.perf_counter() - begun} {peak_mb()}\n")
