"""What a backup takes along besides the logs: whose it is, channel keys, settings, what is kept for others.

Never the device's own keys: a restore makes a new device (docs/decisions/0009-backup.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.backup import (
    EpochItem,
    ForgottenItem,
    HereItem,
    JoiningItem,
    KeptItem,
    Kind,
    OwnerItem,
    PackBody,
    ParkedItem,
    SettingItem,
    StateItem,
    WishItem,
    encode_state,
)
from quire.core.bundle import in_parts
from quire.storage import asking, keychain, log, retention
from quire.storage.meta import get_meta, set_meta
from quire.store import erase_entries, quota

if TYPE_CHECKING:
    from quire.store.local import LocalStore

STATE_BYTES = 1 << 20  # items of one pack: what changes is written again, the rest is not
SETTINGS = (quota.SOFT, quota.HARD)  # of this device, that its successor goes on with


def state_bodies(store: LocalStore) -> Iterator[PackBody]:
    """The packs of all this, the keys first; what is large in packs of its own."""
    with store.database.snapshot() as db:
        keys = [encode_state(item) for item in [*_meta(db), *_here(db), *_keys(db)]]
        rest = (encode_state(item) for item in _rest(db))
        for items in [*in_parts(keys, STATE_BYTES), *in_parts(rest, STATE_BYTES)]:
            yield PackBody(Kind.STATE, 0, b"", (), tuple(items))


def put_state(db: apsw.Connection, items: Iterable[StateItem]) -> None:
    """Take items over into a vault, inside a transaction. Identity and parked commits are for the caller."""
    for item in items:
        match item:
            case ForgottenItem(channel, epoch):
                keychain.forget_epochs(db, channel, [epoch])
            case EpochItem(channel, epoch, key):
                keychain.put_epoch(db, channel, epoch, key)
            case KeptItem(owner, stamp_ms, sealed):
                keychain.keep(db, owner, stamp_ms, sealed)
            case JoiningItem(channel, link, name, since_ms):
                asking.put_joining(db, channel, link, name, since_ms)
            case _:
                pass  # identity, parked commits, and what comes later: for the caller


def put_settings(db: apsw.Connection, items: Iterable[StateItem]) -> None:
    """The device's settings, last: a quota must not stop what brings the history back."""
    for item in items:
        if isinstance(item, SettingItem) and item.key in SETTINGS:
            set_meta(db, item.key, item.value)


def put_here(db: apsw.Connection, items: Iterable[StateItem]) -> None:
    """The device's own retention, and what it was still to erase, once the channels are there."""
    for item in items:
        channel = log.channel_by_id(db, item.channel) if isinstance(item, HereItem | WishItem) else None
        if channel is not None and isinstance(item, WishItem):
            erase_entries.wish(db, channel.n, [item.id], item.reason)
        if channel is not None and isinstance(item, HereItem):
            retention.put_here(db, channel.n, {**retention.here(db, channel.n), item.name: item.value})


def _meta(db: apsw.Connection) -> Iterator[StateItem]:
    identity = bytes.fromhex(str(get_meta(db, "own_key")).partition(":")[2])
    yield OwnerItem(identity, bytes(get_meta(db, "recovery")))
    for key in SETTINGS:
        value = get_meta(db, key)
        if value is not None:
            yield SettingItem(key, value)


def _keys(db: apsw.Connection) -> Iterator[StateItem]:
    rows: Any = db.execute("SELECT channel, epoch FROM forgotten ORDER BY channel, epoch")
    for channel, epoch in rows:
        yield ForgottenItem(channel, epoch)
    rows = db.execute("SELECT channel, id, key FROM epoch ORDER BY channel, id")
    for channel, epoch, key in rows:
        yield EpochItem(channel, epoch, key)


def _here(db: apsw.Connection) -> Iterator[StateItem]:
    for row in sorted(log.all_channels(db), key=lambda row: row.id):
        for name, value in sorted(retention.here(db, row.n).items()):
            yield HereItem(row.id, name, value)


def _rest(db: apsw.Connection) -> Iterator[StateItem]:
    wishes: Any = db.execute(
        "SELECT c.id, w.id, w.reason FROM wished w JOIN channel c ON c.n = w.channel ORDER BY 1, 2"
    )
    for channel, id, reason in wishes:
        yield WishItem(channel, id, reason)
    for asked in asking.joinings(db):
        yield JoiningItem(asked.channel, asked.link, asked.name, asked.since_ms)
    rows: Any = db.execute("SELECT encoded FROM parked ORDER BY id")
    for (encoded,) in rows:
        yield ParkedItem(encoded)
    rows = db.execute("SELECT owner, stamp, sealed FROM kept ORDER BY owner")
    for owner, stamp_ms, sealed in rows:
        yield KeptItem(owner, stamp_ms, sealed)
