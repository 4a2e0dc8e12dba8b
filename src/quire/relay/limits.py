"""Every bound of a relay, with its reason. What an operator may want otherwise is an option of `quire relay`."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """How much one relay takes."""

    mailbox_bytes_max: int = 256 << 20  # of one mailbox; beyond it the oldest items go
    relay_bytes_max: int = 64 << 30  # of all; beyond it puts are refused
    ttl_ms: int = 365 * 24 * 3_600_000  # a device that was away for longer asks other devices
    connections_max: int = 12_000  # at once: some 60 KB each
    connections_per_address_max: int = 12_000  # many people share one; a public relay lowers it
    mailboxes_per_connection_max: int = 16_384  # open at once: 100 channels of weekly keys for three years
    put_bytes_per_s: int = 32 << 20  # of one connection, kept up; a burst of four times as much passes
    puts_waiting_max: int = 1_024  # of one connection: beyond it nothing more is read from it
    answers_waiting_max: int = 1_024  # likewise: who does not read its answers is not listened to
    opening_s: float = 10.0  # to open the first mailbox: who says nothing is parted with
    page_items: int = 256  # read from the disk at once, for one reader
    page_bytes: int = 4 << 20  # likewise


LIMITS = Limits()
