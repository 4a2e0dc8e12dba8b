"""What was destroyed of the log, and the erasures that say so: reading and writing rows.

`destroyed` is part of the log: of an operation whose bytes are gone its commitment, by which its commit still
verifies. `erasure` is a view: what every Erase that has its right says, entry by entry, also of what has not come yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import apsw

from quire.core.encoding import Codec, encode
from quire.core.heights import Span, joined
from quire.core.operation import Erase, Gone, Remains
from quire.core.timeline import Erasure

# destroyed.why
MISSING = 0  # not here, and nobody said why: whoever has the bytes may bring them
ERASED = 1  # by a standing erasure of it
WENT_WITH = 2  # a version of an erased message that the erasure does not name
POLICY = 3  # by the channel's retention: given as a hole, which who gets it finds justified themselves
LOCAL = 4  # by this device's own
KEPT_AWAY = (WENT_WITH, LOCAL)  # never fetched again, and not given as if it were gone for everybody
LET_GO = (WENT_WITH, POLICY, LOCAL)  # gone, though no erasure names it

_remains, _gone = Codec(Remains, "remains"), Codec(Gone, "gone")


class Hole(NamedTuple):
    """An operation whose bytes are not here."""

    commitment: bytes
    why: int


def any_here(db: apsw.Connection) -> bool:
    """Is anything destroyed or to be erased in this vault?"""
    row: Any = db.execute("SELECT EXISTS(SELECT 1 FROM destroyed), EXISTS(SELECT 1 FROM erasure)").fetchone()
    return bool(row[0] or row[1])


# Holes


def put_holes(db: apsw.Connection, rows: Iterable[tuple[bytes, int, bytes, int]]) -> None:
    """(id, channel, commitment, why) of operations whose bytes are not here; what was known keeps its reason."""
    db.executemany("INSERT OR IGNORE INTO destroyed(id, channel, commitment, why) VALUES(?,?,?,?)", rows)


def set_why(db: apsw.Connection, ids: Iterable[bytes], why: int) -> None:
    db.executemany("UPDATE destroyed SET why = ? WHERE id = ?", ((why, id) for id in ids))


def doubt_versions(db: apsw.Connection, channel: int) -> int:
    """An erasure is taken back: versions that went with a message may be wanted again; how many."""
    db.execute("UPDATE destroyed SET why = ? WHERE channel = ? AND why = ?", (MISSING, channel, WENT_WITH))
    return db.changes()


def unnamed(db: apsw.Connection) -> list[tuple[int, bytes]]:
    """(channel, id) of versions that went with an erased message and that no erasure names."""
    rows: Any = db.execute("SELECT channel, id FROM destroyed WHERE why = 2 ORDER BY id").fetchall()
    return list(rows)


def fill_holes(db: apsw.Connection, ids: Sequence[bytes]) -> None:
    """Their bytes have come."""
    db.execute("DELETE FROM destroyed WHERE id IN carray(?)", (apsw.carray(tuple(ids)),))


def holes_among(db: apsw.Connection, ids: Sequence[bytes]) -> dict[bytes, Hole]:
    """Those of these operations that are destroyed."""
    rows: Any = db.execute(
        "SELECT id, commitment, why FROM destroyed WHERE id IN carray(?)", (apsw.carray(tuple(ids)),)
    ).fetchall()
    return {id: Hole(commitment, why) for id, commitment, why in rows}


def holes_between(db: apsw.Connection, first: bytes, last: bytes) -> dict[bytes, Hole]:
    """The holes with ids from one to another, in order."""
    rows: Any = db.execute(
        "SELECT id, commitment, why FROM destroyed WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)
    ).fetchall()
    return {id: Hole(commitment, why) for id, commitment, why in rows}


def missing_places(db: apsw.Connection, prefix: bytes, seq: int | None = None) -> list[int]:
    """The seqs of a log's commits, or of this one, of which something is missing that nobody erased, ascending."""
    first, last = (0, 0xFFFFFFFF) if seq is None else (seq, seq)
    rows: Any = db.execute(
        "SELECT DISTINCT substr(id, 11, 4) FROM destroyed WHERE why = 0 AND id BETWEEN ? AND ? ORDER BY 1",
        (prefix + first.to_bytes(4, "big") + bytes(2), prefix + last.to_bytes(4, "big") + b"\xff\xff"),
    ).fetchall()
    return [int.from_bytes(seq, "big") for (seq,) in rows]


def is_missing_any(db: apsw.Connection) -> bool:
    """Is anything missing anywhere that nobody erased?"""
    return db.execute("SELECT 1 FROM destroyed WHERE why = 0 LIMIT 1").fetchone() is not None


def move_holes(db: apsw.Connection, moves: Iterable[tuple[bytes, bytes]]) -> None:
    """(place, other place) of commits whose operations get other ids, all at once: some may change places."""
    taken: list[Any] = []
    for old, new in moves:
        rows: Any = db.execute(
            "DELETE FROM destroyed WHERE id BETWEEN ? AND ? RETURNING id, channel, commitment, why",
            (old + bytes(2), old + b"\xff\xff"),
        ).fetchall()
        taken += [(new + id[14:], channel, commitment, why) for id, channel, commitment, why in rows]
    put_holes(db, taken)


# What is kept away: not fetched again, not given


def kept_away(db: apsw.Connection, log: int) -> list[Span]:
    """The commits of a log of which something was destroyed here and not erased."""
    found: Any = db.execute("SELECT first, last FROM pruned WHERE log = ? ORDER BY first", (log,)).fetchall()
    return list(found)


def counted_kept_away(db: apsw.Connection, prefix: bytes) -> list[Span]:
    """The same, from the holes themselves."""
    rows: Any = db.execute(
        "SELECT DISTINCT substr(id, 11, 4) FROM destroyed WHERE why IN (?, ?) AND id BETWEEN ? AND ? ORDER BY 1",
        (*KEPT_AWAY, prefix + bytes(6), prefix + b"\xff" * 6),
    ).fetchall()
    seqs = (int.from_bytes(seq, "big") for (seq,) in rows)
    return joined((seq, seq) for seq in seqs)


def keep_away(db: apsw.Connection, log: int, seqs: Iterable[int]) -> None:
    """Something of these commits was destroyed here."""
    put_kept_away(db, log, joined([*kept_away(db, log), *((seq, seq) for seq in seqs)]))


def put_kept_away(db: apsw.Connection, log: int, spans: Iterable[Span]) -> None:
    db.execute("DELETE FROM pruned WHERE log = ?", (log,))
    db.executemany("INSERT INTO pruned(log, first, last) VALUES(?,?,?)", [(log, *span) for span in spans])


# Erasures


def put_erasures(
    db: apsw.Connection, channel: int, erase: Erase, id: bytes, time: int, signer: str, rights: int
) -> None:
    """What an Erase says, entry by entry."""
    db.executemany(
        "INSERT OR REPLACE INTO erasure(target, id, channel, time, signer, rights, message, what)"
        " VALUES(?,?,?,?,?,?,?,?)",
        rows_of(channel, erase, id, time, signer, rights),
    )


def rows_of(
    channel: int, erase: Erase, id: bytes, time: int, signer: str, rights: int
) -> list[tuple[Any, ...]]:
    """Its entries as they are kept, in table order."""
    return [
        (what.id, id, channel, time, signer, rights, getattr(what, "message", None), encode(what))
        for what in erase.entries
    ]


def drop_erasures(db: apsw.Connection, id: bytes) -> list[bytes]:
    """Forget what an Erase says; what it was on."""
    rows: Any = db.execute("DELETE FROM erasure WHERE id = ? RETURNING target", (id,)).fetchall()
    return [target for (target,) in rows]


def erasures_on(db: apsw.Connection, channel: int, ids: Sequence[bytes]) -> dict[bytes, list[Erasure]]:
    """What is said of these operations of a channel, whether it stands or not."""
    rows: Any = db.execute(
        "SELECT target, id, time, signer, rights, substr(what, 1, 1), what FROM erasure"
        " WHERE target IN carray(?) AND channel = ?",
        (apsw.carray(tuple(ids)), channel),
    ).fetchall()
    found: dict[bytes, list[Erasure]] = {}
    for target, id, time, signer, rights, kind, what in rows:
        codec = _remains if kind == _OF_FOUR else _gone
        found.setdefault(target, []).append(Erasure(id, time, signer, rights, codec.trusted(what)))
    return found


def erased_versions(db: apsw.Connection, message: bytes) -> list[bytes]:
    """The ids of what was erased as a version of a message."""
    rows: Any = db.execute(
        "SELECT DISTINCT e.target FROM erasure e JOIN destroyed d ON d.id = e.target WHERE e.message = ? AND d.why = ?",
        (message, ERASED),
    ).fetchall()
    return [id for (id,) in rows]


_OF_FOUR = b"\x94"  # an array of four fields is what remains, one of two what does not
