"""Quire: durable, end-to-end-encrypted message history for groups.

from quire import ChannelManager, LocalStore

with LocalStore.open("book", "my passphrase") as store:
    chat = ChannelManager(store)
    chat.send_message("general", "hello")

Names load when they are first used, so a program pays for those it uses (PEP 562).
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quire.channels.asynchronous import AsyncChannelManager
    from quire.channels.manager import ChannelManager
    from quire.core.crypto.secrets import DatabaseKey, KeyFile, Keyring, Passphrase, RawKey, RecoveryPhrase
    from quire.core.ids import ChannelId, MessageId
    from quire.errors import QuireError
    from quire.store.local import LocalStore

__all__ = [
    "AsyncChannelManager", "ChannelId", "ChannelManager", "DatabaseKey", "KeyFile", "Keyring", "LocalStore",
    "MessageId", "Passphrase", "QuireError", "RawKey", "RecoveryPhrase",
]  # fmt: skip
__version__ = "0.1.0"


def _import_msgspec() -> None:
    """Import msgspec without `typing_extensions`, which it looks for first and which takes a tenth of a start.

    What it wants of it (get_type_hints, Required, NotRequired) is Python's own from 3.11 on. Only where nobody
    else could be importing: another thread would be told that there is no such module.
    """
    if {"msgspec", "typing_extensions"} & sys.modules.keys() or len(sys._current_frames()) > 1:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # as Python marks what is not to be had
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]


_import_msgspec()

_HOMES = {
    "channels.asynchronous": ("AsyncChannelManager",),
    "channels.manager": ("ChannelManager",),
    "core.crypto.secrets": ("DatabaseKey", "KeyFile", "Keyring", "Passphrase", "RawKey", "RecoveryPhrase"),
    "core.ids": ("ChannelId", "MessageId"),
    "errors": ("QuireError",),
    "store.local": ("LocalStore",),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            value = globals()[name] = getattr(import_module(f"quire.{module}"), name)
            return value
    raise AttributeError(f"module 'quire' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
