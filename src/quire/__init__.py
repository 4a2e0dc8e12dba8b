"""Quire: durable, end-to-end-encrypted message history for groups.

from quire import ChannelManager, LocalStore

with LocalStore.open("book", "my passphrase") as store:
    chat = ChannelManager(store)
    chat.send_message("general", "hello")

Names load when they are first used, so a program pays for those it uses (PEP 562).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quire.channels.asynchronous import AsyncChannelManager
    from quire.channels.manager import ChannelManager
    from quire.core.crypto.secrets import DatabaseKey, KeyFile, Keyring, Passphrase, RawKey, RecoveryPhrase
    from quire.core.ids import ChannelId, MessageId
    from quire.core.retention import Keeping
    from quire.errors import QuireError
    from quire.node.node import Node
    from quire.store.local import LocalStore

__all__ = [
    "AsyncChannelManager", "ChannelId", "ChannelManager", "DatabaseKey", "Keeping", "KeyFile", "Keyring",
    "LocalStore", "MessageId", "Node", "Passphrase", "QuireError", "RawKey", "RecoveryPhrase",
]  # fmt: skip
__version__ = "0.1.0"

_HOMES = {
    "channels.asynchronous": ("AsyncChannelManager",),
    "channels.manager": ("ChannelManager",),
    "core.crypto.secrets": ("DatabaseKey", "KeyFile", "Keyring", "Passphrase", "RawKey", "RecoveryPhrase"),
    "core.ids": ("ChannelId", "MessageId"),
    "core.retention": ("Keeping",),
    "errors": ("QuireError",),
    "node.node": ("Node",),
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
