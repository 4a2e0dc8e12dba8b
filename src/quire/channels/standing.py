"""How far others are: who was met when and how, what each lacks, and what nobody else is known to have.

All of it is noted in the vault when a sync comes to rest, from what the peer itself said it has, so it is never more than
the truth of that moment: whoever lost their disk since has less. It serves people, and nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import apsw
import msgspec

from quire.channels.members import Names
from quire.core.heights import count, digest, lacking
from quire.core.ids import ChannelId
from quire.core.relay_frames import RELAY_ID_SIZE
from quire.storage import aboard, heights, log, others
from quire.storage import timeline as rows
from quire.storage.database import guarded
from quire.storage.others import OtherRow
from quire.store.offering import Holding, holding, lacking_of
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager


class OtherStatus(msgspec.Struct, frozen=True):
    """Another device, or a relay, as this one knows it."""

    id: bytes  # a device's, or 16 bytes of a relay's
    kind: str  # device, relay
    own: bool  # a device of ours
    identity: bytes  # whose; empty for a relay
    name: str  # the person's, or what we call our own device; of a relay its address
    road: str  # direct, lan, relay; "": it came to us, or was never met
    address: str
    seen_ms: int  # 0: never met
    tried_ms: int  # 0: reached at the last try
    rule: str  # why not
    channels: int  # that we share
    behind: int  # commits of these that it is not known to have, and may have


class Standing:
    """What a vault knows of others. Thread-safe as `ChannelManager` is."""

    def __init__(self, chat: ChannelManager) -> None:
        self._store = chat.store
        self._identity = chat.identity

    def note_met(
        self,
        id: bytes,
        road: str,
        address: str,
        *,
        equal: Mapping[ChannelId, bytes] | None = None,
        differing: Mapping[ChannelId, Holding] | None = None,
    ) -> None:
        """A device or relay was there.

        equal        channels of which it has what we have, with the digest of that
        differing    what it has of others; the rest it may not have
        """
        known = others.kept_back(self._store.database.reader, id)
        fresh = {one: said for one, said in (equal or {}).items() if known.get(one) != (said, 0)}

        def note(db: apsw.Connection) -> None:
            others.note_met(db, id, road, address, now_ms())
            for channel, said in fresh.items():
                row = log.channel_by_id(db, channel)
                if row is not None and digest(holding(db, row).heights) == said:  # nothing has come since
                    _set(db, id, row, Holding(holding(db, row).heights), said)
            for channel, theirs in (differing or {}).items():
                row = log.channel_by_id(db, channel)
                if row is not None:
                    _set(db, id, row, theirs, b"")

        self._store.ledger.run(note)

    def note_missed(self, address: str, rule: str) -> None:
        """Nobody answered at an address."""
        self._store.ledger.run(lambda db: others.note_missed(db, address, rule, now_ms()))

    @guarded
    def others(self) -> list[OtherStatus]:
        """All devices of people in our channels, our own first, then by when they were met; then relays."""
        db, people = self._store.database.reader, self._store.ledger.people
        met = {one.id: one for one in others.others(db)}
        shared: dict[bytes, list[log.ChannelRow]] = {}
        owner: dict[bytes, bytes] = {}
        for row in log.all_channels(db):
            if row.role:
                for device, info in people.state(db, row).devices.items():
                    shared.setdefault(device, []).append(row)
                    owner[device] = info.identity
        shared.pop(self._store.device, None)
        names, called = Names(self._store), rows.device_names(db)
        found = [
            self._other(db, met.get(device) or OtherRow(device, "", "", 0, 0, ""), in_, owner[device], names, called)
            for device, in_ in shared.items()
        ]  # fmt: skip
        found.sort(key=lambda one: (not one.own, -one.seen_ms, one.name, one.id))
        relays = [one for one in met.values() if len(one.id) == RELAY_ID_SIZE]
        used = [row for row in log.all_channels(db) if row.role and len(people.state(db, row).devices) > 1]
        return found + [self._other(db, one, used, b"", names, called) for one in relays]

    def _other(
        self,
        db: apsw.Connection,
        one: OtherRow,
        shared: list[log.ChannelRow],
        identity: bytes,
        names: Names,
        called: Mapping[bytes, str],
    ) -> OtherStatus:
        kept_back = others.kept_back(db, one.id)
        behind = 0
        for row in shared:
            lacks = sum(
                count(lacking(heights.here(db, of.n), aboard.aboard(db, one.id, of.n)))
                for of in log.logs_of(db, row.n)
            )
            behind += max(0, lacks - kept_back.get(row.id, (b"", 0))[1])
        own = identity == self._identity
        name = (called.get(one.id, "") if own else names(identity)) if identity else one.address
        return OtherStatus(
            one.id, "device" if identity else "relay", own, identity, name, one.road, one.address, one.seen_ms,
            one.tried_ms, one.rule, len(shared), behind,
        )  # fmt: skip

    @guarded
    def outbox(self) -> dict[ChannelId, int]:
        """Of each channel with others in it: our commits that no other device and no relay is known to have."""
        db, people = self._store.database.reader, self._store.ledger.people
        found = {}
        for row in log.all_channels(db):
            if row.role and len(people.state(db, row).devices) > 1:
                own = [of for of in log.logs_of(db, row.n) if of.device == self._store.device]
                found[row.id] = sum(
                    count(lacking(heights.here(db, of.n), aboard.anywhere(db, of.n))) for of in own
                )
        return found


def _set(db: apsw.Connection, id: bytes, row: log.ChannelRow, theirs: Holding, said: bytes) -> None:
    """It has exactly this of a channel, as far as we have it, too."""
    lacks = lacking_of(db, row, theirs)
    for of in log.logs_of(db, row.n):
        spans = lacking(heights.here(db, of.n), lacks.get(of.n, ()))
        if spans != aboard.aboard(db, id, of.n):
            aboard.set_aboard(db, id, of.n, spans)
    others.set_kept_back(db, id, row.id, said, sum(map(count, lacks.values())))
