"""Epochs: a channel's key, its name, sealing it to readers and linking it to the key before.

An epoch is named by a commitment to its key, so what opens under a name is that key or is refused: a member who
seals different keys to different people is caught by each of them (a `Report` asks for the right one). A
newcomer is given one key and walks back over the links; where a link was left out or destroyed, the walk ends.
docs/spec/07-channel-keys.md.
"""

from __future__ import annotations

from quire.core.crypto import aead
from quire.core.crypto.keys import Label, derive_key
from quire.core.crypto.sealing import open_sealed, seal
from quire.core.crypto.secrets import KEY_SIZE, RandomBytes, Secret
from quire.core.ids import ChannelId
from quire.errors import MalformedError, UsageError


class EpochKey(Secret):
    """The 32 random bytes that an epoch's bundles are sealed with."""

    __slots__ = ()

    def __init__(self, value: bytes) -> None:
        if not isinstance(value, bytes) or len(value) != KEY_SIZE:
            raise UsageError(f"an epoch's key is {KEY_SIZE} bytes", rule="key_length")
        super().__init__(value)

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> EpochKey:
        return cls(random_bytes(KEY_SIZE))


def epoch_id(key: EpochKey, channel: ChannelId) -> bytes:
    """The epoch's name, 32 bytes: nobody finds two keys with one name."""
    return derive_key(key.reveal(), Label.EPOCH, salt=channel)


def seal_to(key: EpochKey, channel: ChannelId, recipient: bytes, public: bytes) -> bytes:
    """The key for one reader, 1,168 bytes.

    recipient   who it is for: a device id, or an identity for its recovery key
    public      its sealing public key

    Raises: MalformedError(rule="sealing_public").
    """
    return seal(key.reveal(), public, _info(channel, epoch_id(key, channel), recipient))


def open_from(sealed: bytes, seed: bytes, channel: ChannelId, epoch: bytes, recipient: bytes) -> EpochKey:
    """The key of `epoch`, by the recipient's sealing seed.

    Raises: MalformedError with rule "sealing_open" (not sealed to it, or for something else), or
    "epoch_key_differs": it opens, but is not the key that the epoch is named after. Either way, report it.
    """
    opened = open_sealed(sealed, seed, _info(channel, epoch, recipient))
    return _committed(opened, channel, epoch)


def seal_link(child: EpochKey, parent: EpochKey, channel: ChannelId, random_bytes: RandomBytes) -> bytes:
    """An earlier epoch's key for the holders of a later one's, 60 bytes: nonce || ciphertext || tag."""
    nonce = random_bytes(aead.NONCE_SIZE)
    bound = channel + epoch_id(child, channel) + epoch_id(parent, channel)
    return nonce + aead.encrypt(_link_key(child, channel), nonce, parent.reveal(), bound)


def open_link(link: bytes, child: EpochKey, channel: ChannelId, parent: bytes) -> EpochKey:
    """The key of the epoch `parent`. Raises: MalformedError with rule "link_open" or "epoch_key_differs"."""
    bound = channel + epoch_id(child, channel) + parent
    nonce, sealed = link[: aead.NONCE_SIZE], link[aead.NONCE_SIZE :]
    opened = aead.decrypt(_link_key(child, channel), nonce, sealed, bound, rule="link_open")
    return _committed(opened, channel, parent)


def _committed(opened: bytes, channel: ChannelId, epoch: bytes) -> EpochKey:
    if len(opened) != KEY_SIZE or epoch_id(EpochKey(opened), channel) != epoch:
        raise MalformedError("this is not the key that the epoch is named after", rule="epoch_key_differs")
    return EpochKey(opened)


def _info(channel: ChannelId, epoch: bytes, recipient: bytes) -> bytes:
    """What a seal is for. After the label every part is 32 bytes, so no two purposes read alike."""
    return Label.EPOCH_SEAL.encode() + channel + epoch + recipient


def _link_key(child: EpochKey, channel: ChannelId) -> bytes:
    return derive_key(child.reveal(), Label.EPOCH_LINK, salt=channel)
