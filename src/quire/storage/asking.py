"""Asking to be let in: the channels that we asked for, and the refusals that we have for others."""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw


class Asked(NamedTuple):
    """We asked to be let into a channel."""

    channel: bytes
    link: str
    name: str  # what we wish to be called
    since_ms: int
    rule: str = ""  # why we are not let in; empty: nobody has answered
    refused_ms: int = 0
    by: str = ""  # author key of who says so


class Owed(NamedTuple):
    """A refusal that we have for a device."""

    device: bytes
    invite: bytes
    identity: bytes
    sealed: bytes


def put_joining(db: apsw.Connection, channel: bytes, link: str, name: str, since_ms: int) -> None:
    """Remember that we asked to be let into a channel; what was answered before is forgotten."""
    db.execute(
        "INSERT OR REPLACE INTO joining(channel, link, name, since_ms) VALUES(?,?,?,?)",
        (channel, link, name, since_ms),
    )


def refuse_joining(db: apsw.Connection, channel: bytes, rule: str, refused_ms: int, by: str) -> None:
    """We are not let into a channel."""
    db.execute(
        "UPDATE joining SET rule = ?, refused_ms = ?, by = ? WHERE channel = ?",
        (rule, refused_ms, by, channel),
    )


def drop_joining(db: apsw.Connection, channel: bytes) -> None:
    db.execute("DELETE FROM joining WHERE channel = ?", (channel,))


def joinings(db: apsw.Connection) -> list[Asked]:
    """Every channel that we asked to be let into, and are not in yet, by when."""
    rows: Any = db.execute(
        "SELECT channel, link, name, since_ms, rule, refused_ms, by FROM joining ORDER BY since_ms"
    ).fetchall()
    return [Asked(*row) for row in rows]


def unanswered(db: apsw.Connection) -> list[Asked]:
    """Those that nobody has refused: our requests still go out."""
    return [one for one in joinings(db) if not one.rule]


def put_refusal(db: apsw.Connection, channel: int, owed: Owed, until_ms: int, since_ms: int) -> None:
    """Have a refusal for a device, in place of one that it had.

    until_ms    it answers what was asked until then
    """
    db.execute(
        "INSERT OR REPLACE INTO refusal(channel, device, invite, identity, until_ms, since_ms, sealed) VALUES(?,?,?,?,?,?,?)",
        (channel, owed.device, owed.invite, owed.identity, until_ms, since_ms, owed.sealed),
    )


def refusal_until(db: apsw.Connection, channel: int, device: bytes, invite: bytes) -> int:
    """Until when what a device asked by an invite is answered already; -1: there is no refusal for it."""
    row: Any = db.execute(
        "SELECT until_ms FROM refusal WHERE channel = ? AND device = ? AND invite = ?",
        (channel, device, invite),
    ).fetchone()
    return row[0] if row else -1


def refusals(db: apsw.Connection, channel: int, device: bytes | None = None) -> list[Owed]:
    """What we have to say to those whom a channel does not let in; or to one device."""
    rows: Any = db.execute(
        "SELECT device, invite, identity, sealed FROM refusal WHERE channel = ?1 AND (?2 IS NULL OR device = ?2)"
        " ORDER BY n DESC",
        (channel, device),
    ).fetchall()
    return [Owed(*row) for row in rows]


def has_refusal(db: apsw.Connection, device: bytes) -> bool:
    """Have we a refusal for this device?"""
    return db.execute("SELECT 1 FROM refusal WHERE device = ? LIMIT 1", (device,)).fetchone() is not None


def newest_refusal(db: apsw.Connection) -> int:
    """A number that grows with each refusal that we have to give."""
    row: Any = db.execute("SELECT coalesce(max(n), 0) FROM refusal").fetchone()
    return int(row[0])


def drop_refusals(db: apsw.Connection, channel: int, identity: bytes) -> None:
    """Somebody is let in after all."""
    db.execute("DELETE FROM refusal WHERE channel = ? AND identity = ?", (channel, identity))


def trim_refusals(db: apsw.Connection, channel: int, before_ms: int, most: int) -> None:
    """Drop what was noted before, and the oldest beyond so many."""
    db.execute("DELETE FROM refusal WHERE channel = ? AND since_ms < ?", (channel, before_ms))
    db.execute(
        "DELETE FROM refusal WHERE n IN (SELECT n FROM refusal WHERE channel = ? ORDER BY n DESC LIMIT -1 OFFSET ?)",
        (channel, most),
    )
