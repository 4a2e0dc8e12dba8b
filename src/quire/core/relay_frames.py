"""What a device and a relay say to each other: one message a WebSocket frame (docs/spec/10-relay.md).

A mailbox is named by an Ed25519 public key. Who can sign for it may put items into it and read them; the relay knows
nothing else about it. An item is bytes that the relay cannot read, under a cursor that only ever grows.
"""

from __future__ import annotations

import msgspec

from quire.core.encoding import Codec, encode
from quire.errors import MalformedError

VERSION = 2
MAILBOX_SIZE = NONCE_SIZE = 32
RELAY_ID_SIZE = 16
SIGNATURE_SIZE = 64
ITEM_BYTES_MAX = (2 << 20) - 1024  # with its frame: 2 MiB
READ_ITEMS_MAX = 1_024  # asked for at once
CURSOR_MAX = (1 << 63) - 1  # what a database keeps as an integer
OPEN_LABEL = b"quire/v1 relay open\x00"


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """One of those below."""


class Challenge(Frame, tag=1, frozen=True):
    """The relay's first word."""

    version: int
    nonce: bytes  # to be signed by whoever opens a mailbox on this connection
    relay: bytes  # which relay this is: cursors of another mean nothing here
    item_bytes_max: int


class Stored(Frame, tag=2, frozen=True):
    """An item is on the relay's disk, or was there already."""

    number: int
    cursor: int


class Item(Frame, tag=3, frozen=True):
    """An item of a mailbox that was asked for; without data if this connection put it there."""

    mailbox: bytes
    cursor: int
    data: bytes


class CaughtUp(Frame, tag=4, frozen=True):
    """All that was there of a mailbox has been sent; what comes is sent as it comes."""

    mailbox: bytes
    cursor: int


class Refused(Frame, tag=5, frozen=True):
    """A request was refused; the connection goes on."""

    number: int
    rule: str


class Bye(Frame, tag=6, frozen=True):
    """The relay ends the connection."""

    rule: str


class Left(Frame, tag=7, frozen=True):
    """What was asked for by Read has been sent, but for what lies between these cursors; nothing, if they are one."""

    mailbox: bytes
    after: int
    before: int


class Open(Frame, tag=16, frozen=True):
    """I may use this mailbox: here is its signature over this connection's nonce."""

    number: int
    mailbox: bytes
    signature: bytes


class Put(Frame, tag=17, frozen=True):
    """Keep this item."""

    number: int
    mailbox: bytes
    data: bytes


class Subscribe(Frame, tag=18, frozen=True):
    """Send me what is in a mailbox after a cursor, and what comes."""

    number: int
    mailbox: bytes
    after: int


class Read(Frame, tag=19, frozen=True):
    """Send me some of what lies between two cursors of a mailbox, neither of them included."""

    number: int
    mailbox: bytes
    after: int
    before: int
    newest: bool  # from its end on, backwards
    items_max: int


_from_relay = Codec(Challenge | Stored | Item | CaughtUp | Refused | Bye | Left, "relay_frame")
_from_device = Codec(Open | Put | Subscribe | Read, "relay_frame")


def encode_frame(frame: Frame) -> bytes:
    """Its bytes."""
    return encode(frame)


def decode_from_relay(data: bytes) -> Frame:
    """What a relay says. Raises: MalformedError."""
    frame: Frame = _from_relay.decode(data)
    match frame:
        case Challenge(nonce=nonce, relay=relay):
            _require((len(nonce), len(relay)) == (NONCE_SIZE, RELAY_ID_SIZE), "relay_challenge")
        case Item(mailbox=mailbox, cursor=cursor) | CaughtUp(mailbox=mailbox, cursor=cursor):
            _require(len(mailbox) == MAILBOX_SIZE and 0 <= cursor <= CURSOR_MAX, "relay_item")
        case Left(mailbox=mailbox, after=after, before=before):
            _require(len(mailbox) == MAILBOX_SIZE and 0 <= after <= before <= CURSOR_MAX, "relay_left")
        case Stored(cursor=cursor):
            _require(1 <= cursor <= CURSOR_MAX, "relay_item")
        case Refused(rule=rule) | Bye(rule=rule):
            _require(len(rule) <= 64 and rule.isascii(), "relay_rule")
    return frame


def decode_from_device(data: bytes) -> Frame:
    """What a device says. Raises: MalformedError."""
    frame: Frame = _from_device.decode(data)
    match frame:
        case Open(mailbox=mailbox, signature=signature):
            _require((len(mailbox), len(signature)) == (MAILBOX_SIZE, SIGNATURE_SIZE), "relay_open")
        case Put(mailbox=mailbox, data=item):
            _require(len(mailbox) == MAILBOX_SIZE, "relay_put")
            _require(1 <= len(item) <= ITEM_BYTES_MAX, "item_size")
        case Subscribe(mailbox=mailbox, after=after):
            _require(len(mailbox) == MAILBOX_SIZE and 0 <= after <= CURSOR_MAX, "relay_subscribe")
        case Read(mailbox=mailbox, after=after, before=before, items_max=items_max):
            fits = 0 <= after < before <= CURSOR_MAX and 1 <= items_max <= READ_ITEMS_MAX
            _require(len(mailbox) == MAILBOX_SIZE and fits, "relay_read")
    return frame


def to_be_signed(nonce: bytes, mailbox: bytes) -> bytes:
    """What opens a mailbox on the connection that has this nonce."""
    return OPEN_LABEL + nonce + mailbox


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise MalformedError(f"a relay frame: {rule.replace('_', ' ')}", rule=rule)
