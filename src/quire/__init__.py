"""Quire: durable, end-to-end-encrypted message history for groups.

from quire import ChannelManager, LocalStore

with LocalStore.open("book", "my passphrase") as store:
    chat = ChannelManager(store)
    chat.send_message("general", "hello")
"""

from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import DatabaseKey, KeyFile, Keyring, Passphrase, RawKey, RecoveryPhrase
from quire.core.ids import ChannelId, MessageId
from quire.errors import QuireError
from quire.store.local import LocalStore

__all__ = [
    "ChannelId", "ChannelManager", "DatabaseKey", "KeyFile", "Keyring", "LocalStore", "MessageId", "Passphrase",
    "QuireError", "RawKey", "RecoveryPhrase",
]  # fmt: skip
__version__ = "0.1.0"
