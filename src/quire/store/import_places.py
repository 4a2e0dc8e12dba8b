"""Where an import's messages go: channels made or found again by their origin, and authors, each introduced once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import apsw
import msgspec

from quire.core import limits
from quire.core.clock import at
from quire.core.operation import OWN_SOURCE, Name, Profile, Topic
from quire.core.retention import Bounds, Facts, goes
from quire.exchange import model
from quire.exchange.exported import IMPORTED_SOURCE
from quire.storage import log, retention
from quire.store import retention as deciding
from quire.store import wallclock
from quire.store.draft import Draft
from quire.store.origins import Origins
from quire.store.tally import Tally

if TYPE_CHECKING:
    from quire.store.local import LocalStore


class Place(msgspec.Struct, gc=False):
    """A channel of this run."""

    row: log.ChannelRow
    name: str
    fresh: bool  # it was empty when the run began, so nothing in it is of an earlier run
    made: bool = False  # by this run


class Places:
    """The channels and authors of one run, by their keys in the export."""

    def __init__(self, store: LocalStore, origins: Origins, tally: Tally, source: str) -> None:
        self.channels: dict[str, model.Channel] = {}
        self.authors: dict[str, model.Author] = {}
        self._store = store
        self._origins = origins
        self._tally = tally
        self._source = source
        self._made: dict[str, Place | None] = {}
        self._introduced: dict[str, tuple[str, bool]] = {}
        self._bounds: dict[int, Bounds] = {}  # channel number -> what it let go when this run came to it

    def place(self, db: apsw.Connection, key: str) -> Place | None:
        """The channel of a key, made if it is not there; None if it is here itself, and not to be written to."""
        if key in self._made:
            place = self._made[key]
            if place is not None:
                place.row = log.channel_by_n(db, place.row.n)  # its clock has moved
            return place
        facts = self.channels.get(key)
        name = self.name(key)
        source, stored_key = self.origin(key, facts)
        if self._origins.whole and source == IMPORTED_SOURCE and _is_here(db, stored_key):
            self._tally.warn(
                f"#{name} is in this vault itself: what it lacks of it comes by sync, not by import"
            )
            self._made[key] = None
            return None
        row = log.channel_by_origin(db, source, stored_key)
        made = row is None
        if row is None:
            kind = facts.kind if facts and facts.kind in ("private", "group", "direct") else "channel"
            row = self._store.ledger.create_channel(db, kind=kind, name=name, source=source, key=stored_key)
            about = (facts.topic or facts.purpose) if facts else ""
            if about:
                self._store.ledger.append(db, row, [Topic(about[: limits.TOPIC_CHARS_MAX])])
                row = log.channel_by_n(db, row.n)
        self._made[key] = place = Place(row, name, fresh=row.messages == 0, made=made)
        return place

    def lets_go(self, db: apsw.Connection, row: log.ChannelRow, time_ms: int) -> bool:
        """Is a message of this time, which is not here, one that the channel's retention let go, or would at once?

        What it would spare, for a pin or a thread that goes on, is here if it ever was.
        """
        return bool(goes(self._bounds_of(db, row), Facts(at(time_ms))))

    def keeps_all(self, db: apsw.Connection, row: log.ChannelRow) -> bool:
        """Has the channel let go of nothing, so that no message need be asked about?"""
        return self._bounds_of(db, row) == Bounds()

    def _bounds_of(self, db: apsw.Connection, row: log.ChannelRow) -> Bounds:
        bounds = self._bounds.get(row.n)
        if bounds is None:
            is_bounded = retention.is_bounded(db, row.n)
            bounds = deciding.bounds(db, row, wallclock.now_ms()) if is_bounded else Bounds()
            self._bounds[row.n] = bounds
        return bounds

    def name_anew(self, db: apsw.Connection) -> None:
        """Give the channels that this run made the names that stand behind their messages in the export."""
        for key, place in self._misnamed():
            row = log.channel_by_n(db, place.row.n)
            if row.name == place.name:
                place.name = self.name(key)
                self._store.ledger.append(db, row, [Name(place.name)])
                self._tally.channel_named(key, place.name)

    @property
    def named(self) -> bool:
        """Have all channels that this run made the last name that the export gave them?"""
        return not self._misnamed()

    def _misnamed(self) -> list[tuple[str, Place]]:
        made = ((key, place) for key, place in self._made.items() if place is not None and place.made)
        return [(key, place) for key, place in made if self.name(key) != place.name]

    def origin(self, key: str, facts: model.Channel | None) -> tuple[str, str]:
        """(source, key there) of a channel; two of one file stay two."""
        if not (self._origins.whole and facts and facts.source):
            return self._source, key[: limits.ORIGIN_CHARS_MAX]
        source, there = facts.source[: limits.NAME_CHARS_MAX], facts.origin[: limits.ORIGIN_CHARS_MAX]
        known = (place.row for place in self._made.values() if place is not None)
        taken = any((row.source, row.key) == (source, there) for row in known)
        refused = taken or source == OWN_SOURCE or ":" in source
        return (self._source, key[: limits.ORIGIN_CHARS_MAX]) if refused else (source, there)

    def name(self, key: str) -> str:
        """What a channel is called here."""
        facts = self.channels.get(key)
        return ((facts.name if facts else "") or key or self._source)[: limits.NAME_CHARS_MAX]

    def introduce(self, draft: Draft, keys: Iterable[str]) -> None:
        """Give each author's name once, and again when it changed."""
        for key in keys:
            author = self.authors.get(key)
            if author is None:
                continue
            facts = (author.name[: limits.NAME_CHARS_MAX], author.bot)
            if self._introduced.get(key) != facts:
                self._introduced[key] = facts
                source, there = self._origins.of(key)
                if facts != (there, False):  # its own key is its name already
                    draft.add(Profile(source, there[: limits.ORIGIN_CHARS_MAX], *facts))


def _is_here(db: apsw.Connection, key: str) -> bool:
    """Is this the id of a channel of this vault?"""
    try:
        return log.channel_by_id(db, bytes.fromhex(key)) is not None
    except ValueError:
        return False
