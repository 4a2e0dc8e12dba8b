"""Is this vault the one last written here, or a copy? (design section 9)

A log that two copies of a vault both continue is forked. So beside each vault, outside its folder, stands
a witness: which file it was (device and inode), on which machine and since which boot, and how many
commits it held. Every write transaction notes the new number there just before it commits. When a session
first writes and the witness does not agree, the vault is not provably the one last written: restored,
copied, moved. It then starts new logs, which costs a few bytes; agreeing wrongly would cost a fork.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class Witness:
    """The witness of one vault file. Methods are called under the vault's write lock."""

    def __init__(self, vault: Path, vault_id: bytes) -> None:
        stat = vault.stat()
        place = f"{stat.st_dev}:{stat.st_ino}:{_machine()}".encode()
        name = hashlib.sha256(vault_id + place).hexdigest()[:32]
        self._path = _state_folder() / name
        self._descriptor: int | None = None

    def agrees(self, commits: int) -> bool:
        """Was this file, on this machine, since this boot, last seen with so many commits?"""
        try:
            return self._path.read_bytes() == self._line(commits)
        except OSError:
            return False

    def note(self, commits: int) -> None:
        """Remember the number; if the place cannot be written, the next session starts new logs."""
        try:
            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._descriptor, self._line(commits), 0)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _line(self, commits: int) -> bytes:
        return f"{commits:020d} {_boot()}\n".encode()


def _state_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "quire"


def _machine() -> str:
    return _read("/etc/machine-id") or os.uname().nodename


def _boot() -> str:
    """A rolled-back virtual machine boots anew, and so is seen."""
    return _read("/proc/sys/kernel/random/boot_id") or "-"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
