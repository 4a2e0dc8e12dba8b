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
    mailboxes_per_connection_max: int = (
        32_768  # open at once: 100 channels of weekly keys for three years, two of each
    )
    put_bytes_per_s: int = 32 << 20  # of one connection, kept up; a burst of four times as much passes
    puts_waiting_max: int = 1_024  # of one connection: beyond it nothing more is read from it
    answers_waiting_max: int = (
        1_024  # likewise: who does not read its answers, or what it asked for, is not listened to
    )
    head_s: float = 10.0  # for a whole HTTP request: who asks slower means no good
    opening_s: float = 10.0  # to open the first mailbox: who says nothing is parted with
    alive_s: float = 20.0  # of silence of our own, then a ping
    silence_s: float = 60.0  # without any byte, or without taking any: whoever it was is gone
    page_items: int = 256  # read from the disk at once, for one reader
    page_bytes: int = 1 << 20  # likewise
    memory_bytes_max: int = (
        512 << 20
    )  # held for all: half frames, waiting puts, pages on their way, open mailboxes
    memory_per_address_max: int = 128 << 20  # the same, of one address: four floods leave the others room
    mailbox_cost: int = 512  # of that, an open mailbox
    requests_per_s: float = (
        2_000.0  # mailboxes opened, read and subscribed to by one address, kept up: 0.1 ms each
    )
    requests_at_once: int = 196_608  # likewise, in a burst: two devices with all that one connection may open


LIMITS = Limits()
