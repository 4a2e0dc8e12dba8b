"""What attackers hold: people whose program writes what ours would not, and what they do with it on the road.

`Hostile` is a member (or was one) who signs and seals by hand: commits of any heads, time and place, under any key that
they have. `unmoved` is the law for what a victim refuses: it is an error of the peer, and nothing has changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from quire.core.bundle import seal_bundle
from quire.core.bundle_file import Kind, Record
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label
from quire.core.encoding import encode
from quire.core.ids import ChannelId
from quire.errors import PeerError
from quire.store.carrying import Carried
from quire.testing.authors import Author, Pen
from quire.testing.people import Person
from tests.vaults import in_fresh_process

LOOK = """
from quire.core.ids import ChannelId
channel = ChannelId(bytes.fromhex(arguments[0]))
known = any(info.id == channel for info in manager.list_channels())
answer = {
    "bodies": [message.body for message in manager.get_stored_messages(channel)] if known else [],
    "members": sorted(member.identity.hex() for member in manager.members(channel)) if known else [],
    "problems": [repr(problem) for problem in store.verify().problems],
}
"""


class Hostile:
    """A person whose program obeys no rule. Of their vault they use the keys."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.author = Author.of(person.store)

    def pen(self, channel: ChannelId, heads: tuple[bytes, ...] | None = None) -> Pen:
        """A log of its own, which names these control commits, or all that they know."""
        row = self.person.store.channel_row(channel)
        return Pen(self.author, channel, row.control_heads if heads is None else heads, time=row.clock)

    def sealed(self, channel: ChannelId, *commits: bytes, key: bytes | None = None) -> Record:
        """A bundle, under the present key or another one."""
        return sealed(channel, commits, self.key(channel) if key is None else key)

    def key(self, channel: ChannelId) -> bytes:
        """The newest key of a channel that they have."""
        keys, epochs = self.person.keys(channel), self.person.graph(channel).state.epochs
        return next(keys[info.epoch] for info in epochs.every() if info.epoch in keys)

    def carried(
        self,
        owner: bytes,
        parts: tuple[tuple[int, bytes], ...] = (),
        *,
        stamp_ms: int = 1,
        forged: bool = False,
    ) -> Record:
        """A self-channel to be kept for somebody, signed by their own device, or not well."""
        device = self.author.device
        plain = encode(Carried(owner, stamp_ms, device.public, parts))
        signature = device.sign((b"" if forged else Label.CARRIED.encode()) + plain)
        return Record(Kind.KEPT, encode([plain, signature]))


def sealed(channel: ChannelId, commits: Sequence[bytes], key: bytes) -> Record:
    """A bundle by whoever has a channel's key."""
    return Record(Kind.BUNDLE, seal_bundle(commits, EpochKey(key), channel, os.urandom))


def rules(report: Any) -> list[str]:
    """Why what was refused was refused; nothing but errors of a peer is among it."""
    assert all(isinstance(error, PeerError) for error in [*report.refused, *report.damaged])
    return [error.rule for error in [*report.refused, *report.damaged]]


@contextmanager
def unmoved(*victims: Person, besides: tuple[str, ...] = ()) -> Iterator[None]:
    """Whatever happens inside changes nothing in these vaults, but for the tables `besides`."""
    before = [one.fingerprint(*besides) for one in victims]
    yield
    assert [one.fingerprint(*besides) for one in victims] == before


def seen_afterwards(victim: Person, channel: ChannelId) -> dict[str, list[str]]:
    """What a fresh process shows of a channel; the vault is whole."""
    seen: dict[str, list[str]] = in_fresh_process(victim.store.folder, LOOK, channel.hex())
    assert seen["problems"] == []
    return seen
