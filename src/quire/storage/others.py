"""Other devices and relays that this one has met: when and how, and what each is known to have (with storage/aboard.py)."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec


class OtherRow(msgspec.Struct, frozen=True):
    """A device (32 bytes of id) or a relay (16)."""

    id: bytes
    road: str  # how it was reached last: direct, lan, relay; "": it came to us
    address: str
    seen_ms: int  # when we last heard it; 0: never
    tried_ms: int  # when we last failed to reach it; 0: not since
    rule: str  # why


def others(db: apsw.Connection) -> list[OtherRow]:
    """All that were met."""
    found: Any = db.execute(
        "SELECT id, road, address, seen_ms, tried_ms, rule FROM other ORDER BY seen_ms DESC"
    )
    return [OtherRow(*row) for row in found]


def note_met(db: apsw.Connection, id: bytes, road: str, address: str, now_ms: int) -> None:
    """We hear it. Who comes to us leaves the address where we reached it before."""
    db.execute(
        "INSERT INTO other VALUES(?1,?2,?3,?4,0,'') ON CONFLICT(id) DO UPDATE SET seen_ms = ?4, tried_ms = 0, rule = '',"
        " road = iif(?3 = '', road, ?2), address = iif(?3 = '', address, ?3)",
        (id, road, address, now_ms),
    )


def note_missed(db: apsw.Connection, address: str, rule: str, now_ms: int) -> None:
    """Whoever was there does not answer."""
    db.execute("UPDATE other SET tried_ms = ?, rule = ? WHERE address = ?", (now_ms, rule, address))


def kept_back(db: apsw.Connection, id: bytes) -> dict[bytes, tuple[bytes, int]]:
    """Of each channel, as we last compared with it: the digest of what we had, and how much of that it may not have."""
    found: Any = db.execute("SELECT channel, digest, commits FROM kept_back WHERE other = ?", (id,))
    return {channel: (digest, commits) for channel, digest, commits in found}


def set_kept_back(db: apsw.Connection, id: bytes, channel: bytes, digest: bytes, commits: int) -> None:
    db.execute("INSERT OR REPLACE INTO kept_back VALUES(?,?,?,?)", (id, channel, digest, commits))
