"""What proves a signed export: the commits of its channels as they were signed, and the exporter's seal.

Where bytes were destroyed, their commitment stands in their place, and the commit still verifies. Deleted is not
destroyed: the author's signature covers a deleted text, so it is in the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apsw

from quire.core.commit import Commit, decode_head, encode_commit, keyless, peek_commit, with_holes
from quire.core.export_seal import seal_export
from quire.core.membership import Graph
from quire.core.operation import SALT_SIZE, Profile, stored_operation
from quire.exchange.exported import CommitLine, SealLine
from quire.storage import contents, heights, log
from quire.storage.cold import opened_all
from quire.store.bundling import control_log

WINDOW = 64  # commits in memory, each of a megabyte at most


def proof(
    db: apsw.Connection,
    row: log.ChannelRow,
    graph: Graph,
    device: bytes,
    header: bytes,
    sign: Callable[[bytes], bytes],
) -> Iterator[CommitLine | SealLine]:
    """Every commit of a channel, the control log first, and the seal."""
    channel = row.id.hex()
    for encoded in control_log(db, row, graph):
        yield CommitLine(channel, _without_keys(encoded))
    logs = log.logs_of(db, row.n)
    for of in logs:
        for encoded in _content(db, of):
            yield CommitLine(channel, encoded)
    here = [height for of in logs if (height := heights.height(db, of)) is not None]
    statement, signature = seal_export(row.id, device, header, row.messages, here, sign)
    yield SealLine(channel, statement, signature)


def _without_keys(encoded: bytes) -> bytes:
    """A control commit without the keys that are sealed in it: it verifies all the same, and whoever is shown who wrote
    what is not handed what only members' devices are to open."""
    commit, _ = peek_commit(encoded)
    assert isinstance(commit, Commit)  # control operations are never destroyed whole
    return encode_commit(Commit(commit.head, commit.signature, tuple(map(_keyless, commit.operations))))


def _keyless(salted: bytes) -> bytes:
    return salted[:SALT_SIZE] + keyless(salted[SALT_SIZE:])


def _content(db: apsw.Connection, of: log.LogRow) -> Iterator[bytes]:
    """The content commits of a log, in order."""
    after = 0
    while True:
        window = [commit for commit, _ in zip(log.commits(db, of.n, after), range(WINDOW), strict=False)]
        if not window:
            return
        found = contents.operations_between(db, of.prefix, window[0][0], window[-1][0])
        for seq, head, signature in window:
            entries, holes = found.get(seq, ([], {}))
            entries = opened_all(db, entries)
            if entries and len(entries) == decode_head(head).count:
                yield encode_commit(with_holes(head, signature, entries, holes))
        after = window[-1][0]


def proven_names(db: apsw.Connection, rows: Sequence[log.ChannelRow]) -> dict[str, tuple[str, bool]]:
    """Author key -> (name, bot) as these channels alone say: a signed export can prove no other."""
    sql = (
        "SELECT o.op, a.key, o.time, o.id FROM operation o JOIN author a ON a.n = o.author"
        " WHERE o.channel = ? AND o.kind = 10 AND o.void = 0"
    )
    newest: dict[str, tuple[int, bytes, str, bool]] = {}
    for row in rows:
        found: list[Any] = db.execute(sql, (row.n,)).fetchall()
        for op, signer, time, id in found:
            profile = stored_operation(op)
            assert isinstance(profile, Profile)
            key = f"{profile.source}:{profile.author}" if profile.source else str(signer)
            fact = (int(time), bytes(id), profile.name, profile.bot)
            if key not in newest or newest[key][:2] < fact[:2]:
                newest[key] = fact
    return {key: (name, bot) for key, (_, _, name, bot) in newest.items()}
