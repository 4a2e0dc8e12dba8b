"""Mailboxes at a relay: key pairs that those derive who may use them (docs/spec/10-relay.md, section 1).

For each epoch of a channel one for its content, one for its control commits, which are read before that, and one for its
files, so that a relay sees neither channels nor which mailbox follows which; one for each person, where who knows them
leaves what is sealed to them; one for each invite, where join requests go; one where two devices that are being linked
meet.
"""

from __future__ import annotations

from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, SigningKey, derive_key
from quire.core.ids import ChannelId


def content_mailbox(key: EpochKey, channel: ChannelId) -> SigningKey:
    """Where the content of an epoch goes: known to who has its key."""
    return SigningKey(derive_key(key.reveal(), Label.MAILBOX, salt=channel))


def control_mailbox(key: EpochKey, channel: ChannelId) -> SigningKey:
    """Where its control commits go, and what is said of what lies there (core/relay_items.py): all that comes first."""
    return SigningKey(derive_key(key.reveal(), Label.CONTROL_MAILBOX, salt=channel))


def file_mailbox(key: EpochKey, channel: ChannelId) -> SigningKey:
    """Where files of an epoch's messages go: apart from the bundles, which they would crowd out."""
    return SigningKey(derive_key(key.reveal(), Label.FILE_MAILBOX, salt=channel))


def inbox(identity: bytes) -> SigningKey:
    """Where welcomes for a person go: known to who knows the person. All in it is sealed to their devices."""
    return SigningKey(derive_key(identity, Label.INBOX))


def invite_mailbox(invite: bytes, channel: ChannelId) -> SigningKey:
    """Where requests by an invite go: known to who has its link, and to the members.

    invite    its public key
    """
    return SigningKey(derive_key(invite, Label.INVITE_MAILBOX, salt=channel))


def link_mailbox(place: bytes) -> SigningKey:
    """Where two devices meet that are being linked: known to who knows the open half of their code.

    place    of the code (core/crypto/link_code.py)
    """
    return SigningKey(derive_key(place, Label.LINK_MAILBOX))
