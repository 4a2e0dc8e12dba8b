"""Is this vault the one last written here, or a copy? (design section 9)

A log that two copies of a vault both continue is forked. So beside each vault, outside its folder, stands
a witness: for that file (device and inode) on that machine, since which boot, and the last commit written.
Every write transaction notes its last commit there just before it is committed. When a session first writes
and that commit is not in the vault, or there is no witness, the vault is not provably the one last written:
restored, copied, moved. It then starts new logs, which costs a few bytes; agreeing wrongly would be a fork.
"""

from __future__ import annotations

import contextlib
import hashlib
import os


class Witness:
    """The witness of one vault file. Methods are called under the vault's write lock."""

    def __init__(self, vault: str | os.PathLike[str], vault_id: bytes) -> None:
        stat = os.stat(vault)
        place = f"{stat.st_dev}:{stat.st_ino}:{_machine()}".encode()
        name = hashlib.sha256(vault_id + place).hexdigest()[:32]
        self._path = os.path.join(_state_folder(), name)
        self._boot = _boot()
        self._descriptor: int | None = None

    def last(self) -> bytes | None:
        """The place (log prefix || seq, 14 bytes) of the last commit written to this file since this boot."""
        try:
            place, _, boot = _read(self._path).partition(" ")
            return bytes.fromhex(place) if place and boot == self._boot else None
        except ValueError:
            return None

    def note(self, place: bytes) -> None:
        """Remember a place; if that cannot be written, the next session starts new logs."""
        try:
            if self._descriptor is None:
                os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._descriptor, f"{place.hex()} {self._boot}\n".encode(), 0)
        except OSError:
            self.close()
            with contextlib.suppress(OSError):
                os.unlink(self._path)  # an older place must not agree with an older vault

    def forget(self) -> None:
        """The vault is gone for good."""
        self.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _state_folder() -> str:
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "quire")


def _machine() -> str:
    return _read("/etc/machine-id") or os.uname().nodename


def _boot() -> str:
    """A rolled-back virtual machine boots anew, and so is seen."""
    return _read("/proc/sys/kernel/random/boot_id") or "-"


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
