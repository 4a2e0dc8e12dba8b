"""By which keys a vault makes itself known to its own on a local network, and knows them (core/crypto/beacons.py)."""

from __future__ import annotations

from quire.channels.manager import ChannelManager
from quire.core.crypto.beacons import invite_beacon, member_beacon
from quire.core.crypto.epochs import EpochKey
from quire.core.ids import ChannelId
from quire.core.invite import parse_link
from quire.storage import asking, keychain, log
from quire.storage.database import guarded
from quire.store.wallclock import now_ms


class Beacons:
    """What a node needs of a vault to find others. Thread-safe as `ChannelManager` is."""

    def __init__(self, chat: ChannelManager) -> None:
        self._store = chat.store

    @guarded
    def shown(self) -> list[bytes]:
        """Keys for what we announce, the most wanted first: what we ask to be let into, our own devices, then channels
        by their last message, each with its open invites. Only the newest key of each: who was put out knows it not."""
        db, people, now = self._store.database.reader, self._store.ledger.people, now_ms()
        found = self._asked()
        rows = [row for row in log.all_channels(db) if row.role]
        for row in sorted(rows, key=lambda row: (row.kind != "self", -row.last_time)):
            state = people.state(db, row)
            invites = [one for one in state.invites.values() if one.open_at(now)]
            current, keys = state.epochs.current, keychain.epoch_keys(db, row.id)
            if current is not None and current.epoch in keys and len(state.devices) > 1:
                found.append(member_beacon(EpochKey(keys[current.epoch]), row.id))
            found += [invite_beacon(invite.key, row.id) for invite in invites]
        return found

    @guarded
    def known(self) -> list[bytes]:
        """Keys by which we know others: also older ones, for whoever was away when they changed."""
        db, people, now = self._store.database.reader, self._store.ledger.people, now_ms()
        found = self._asked()
        found += [member_beacon(EpochKey(key), ChannelId(id)) for id, key in keychain.all_epoch_keys(db)]
        for row in log.all_channels(db):
            invites = people.state(db, row).invites.values() if row.role else ()
            found += [invite_beacon(one.key, row.id) for one in invites if one.open_at(now)]
        return found

    def _asked(self) -> list[bytes]:
        links = [parse_link(one.link) for one in asking.unanswered(self._store.database.reader)]
        return [invite_beacon(one.secret.key(one.channel).public, one.channel) for one in links]
