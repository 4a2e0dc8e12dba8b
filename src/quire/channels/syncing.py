"""A vault as a sync sees it: what we offer, what we hold, what a peer may be given, and taking in what it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from quire.channels.attachments import publish_came
from quire.channels.manager import ChannelManager
from quire.core.bundle_file import Record
from quire.core.crypto.keys import SigningKey
from quire.core.heights import count
from quire.core.ids import ChannelId, DeviceId
from quire.core.views import Event
from quire.storage import asking, backlog, heights, log
from quire.storage.database import guarded
from quire.store import offering, refusals
from quire.store.offering import Holding
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.storage.attachments import Wanted
    from quire.store.fetching import Incoming, Server
    from quire.store.unbundling import BundleReport


class ChannelStatus(msgspec.Struct, frozen=True):
    """How whole a channel is here."""

    channel: ChannelId
    name: str
    messages: int
    missing: int  # commits that later ones show there to be, and that are not here
    waiting: int  # operations and commits that are here and wait for what they name, or for their time
    missing_of: tuple[tuple[bytes, int], ...] = ()  # by the device that wrote them
    waiting_for: tuple[
        tuple[str, int], ...
    ] = ()  # rules, of commits that wait whole; "target": operations, for theirs

    @property
    def complete(self) -> bool:
        """Is all here that is known of?"""
        return not self.missing and not self.waiting


class Syncing:
    """What a node needs of a vault. Thread-safe as `ChannelManager` is."""

    def __init__(self, chat: ChannelManager) -> None:
        self._chat = chat
        self._store = chat.store
        self._bulk = ExitStack()
        self._is_in_bulk = False

    @property
    def device(self) -> DeviceId:
        """This device."""
        return self._store.device

    @property
    def key(self) -> SigningKey:
        """Its key."""
        return self._store.ledger.signing_key

    def prepare(self) -> None:
        """Before anything leaves: our devices are in all our channels, and where others are, what we are called."""
        self._chat._prepare_to_give()

    @guarded
    def offers(self) -> dict[ChannelId, bytes]:
        """Our channels, also those that we ask to be let into, and 16 bytes that tell what we have of each."""
        return offering.offers(self._store.database.reader)

    @guarded
    def holding(self, channel: ChannelId) -> Holding:
        """What we have of a channel: heights of its logs, and keys by their tags."""
        db = self._store.database.reader
        row = log.channel_by_id(db, channel)
        return Holding() if row is None else offering.holding(db, row)

    def giving(self, channel: ChannelId, theirs: Holding, peer: bytes) -> Generator[Record, None, None]:
        """What a device lacks of a channel and may have; our request, where we ask to be let in; or that it is not."""
        db = self._store.database.reader
        row = log.channel_by_id(db, channel)
        if row is None or not row.role:
            yield from (
                self._chat._request(asked) for asked in asking.unanswered(db) if asked.channel == channel
            )
        else:
            yield from refusals.refusals(db, row, peer)
        yield from offering.giving(self._store, channel, theirs, peer)

    def letting_go(self) -> Iterator[float]:
        """What retention says is to go, if any is due: one short step each time, how long it took, ms."""
        from quire.store import pruning

        if pruning.is_due(self._store):
            yield from pruning.steps(self._store, None, pruning.Pruned())

    @guarded
    def is_in(self, channel: ChannelId, device: bytes) -> bool:
        """Is a device in a channel that we are in?"""
        return offering.is_in(self._store, device, channel)

    @guarded
    def speaks_to(self, device: bytes) -> bool:
        """Would we speak to this device: is it in a channel of ours, is it owed an answer, may a stranger come by an
        open invite, or do we wait to be let in ourselves?"""
        db, people, now = self._store.database.reader, self._store.ledger.people, now_ms()
        states = [people.state(db, row) for row in log.all_channels(db)]
        return (
            any(device in state.devices for state in states)
            or asking.has_refusal(db, device)
            or any(invite.open_at(now) for state in states for invite in state.invites.values())
            or bool(asking.unanswered(db))
        )

    def take(self, records: Iterable[Record], *, much: bool = False) -> BundleReport:
        """Take in records that came on any road.

        much    more than a page of it is there, and more comes: then `rest` is to be called
        """
        given = list(records)
        if much and not self._is_in_bulk:
            self._bulk.enter_context(self._store.database.bulk())
            self._is_in_bulk = True
        return self._chat._take(lambda: given, goes_on=much)

    @guarded
    def rest(self) -> None:
        """No more comes for now."""
        self._is_in_bulk = False
        self._bulk.close()

    @guarded
    def wanted_files(self, channels: Iterable[ChannelId], peer: bytes) -> list[Wanted]:
        """Files that are to come here and that a device may have: of channels that it is in, the newest first."""
        from quire.store.fetching import wanted

        return wanted(self._store, channels, self._chat.fetch_limit(), peer)

    @guarded
    def begin_file(self, file: Wanted) -> Incoming | None:
        """Begin or go on with a file; None if it is here, or comes by another way."""
        from quire.store.fetching import begin

        return begin(self._store, file)

    def file_server(self, peer: bytes) -> Server:
        """What a device may have of our files."""
        from quire.store.fetching import Server

        return Server(self._store, peer)

    def file_came(self, file: bytes) -> None:
        """Tell whoever listens that an attachment is here now."""
        publish_came(self._store, self._chat._hub, file)

    @guarded
    def status(self) -> list[ChannelStatus]:
        """Of each channel, what is here and what is known to be missing."""
        db = self._store.database.reader
        waiting = backlog.waiting_counts(db)
        return [_status(db, row, waiting.get(row.n, 0)) for row in log.channels(db)]

    def delivering(self, deliver: Callable[[Event], None]) -> AbstractContextManager[None]:
        """Call `deliver` with every event from here on, in the thread that wrote it; it must be quick and may not raise."""
        return self._chat._hub.delivering(deliver)

    @guarded
    def version(self) -> Any:
        """Changes when anybody else, also another process, has changed the vault; of this thread's connection."""
        return self._store.database.reader.pragma("data_version")


def _status(db: apsw.Connection, row: log.ChannelRow, waiting: int) -> ChannelStatus:
    missing: Counter[bytes] = Counter()
    for of in log.logs_of(db, row.n):
        missing[of.device] += count(heights.gaps(db, of.n))
    reasons = backlog.parked_reasons(db, row.id)
    if rest := waiting - sum(reasons.values()):
        reasons["target"] = rest
    return ChannelStatus(
        row.id,
        row.name,
        row.messages,
        missing.total(),
        waiting,
        tuple((+missing).items()),
        tuple(reasons.items()),
    )
