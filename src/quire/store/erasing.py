"""Destroying the bytes of operations, so that the log still verifies: erasure, and what retention builds on.

What an Erase says is kept entry by entry (storage/erasures.py), also of what is not here yet. Every operation passes
`strike` before it is applied: what is erased loses its bytes there, before they were ever durable, and an erased message
goes on as what is left of it. So an old bundle, a restored peer or a late road brings nothing back, in whatever order
things come. An operation whose bytes are gone is an `Item` without an operation: a hole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
import msgspec

from quire.core.commit import decode_head
from quire.core.limits import ERASED_PER_OPERATION_MAX
from quire.core.operation import KINDS, SALT_SIZE, Edit, Erase, Gone, Post, Remains
from quire.core.operation_form import encode_operation
from quire.core.rights import MAY_POST
from quire.core.timeline import Erasure, goes_with, remaining_post, standing_erasure
from quire.storage import aboard, erasures, heights, log
from quire.storage import timeline as rows
from quire.storage.cold import commitment_of
from quire.storage.database import fault
from quire.storage.erasures import ERASED, KEPT_AWAY, LET_GO, LOCAL, MISSING, POLICY, WENT_WITH, Hole
from quire.store import owing
from quire.store.erasing_parked import strike_parked

if TYPE_CHECKING:
    from quire.store.apply import Applier, Item
    from quire.store.local import LocalStore

MADE_UP = bytes(SALT_SIZE)  # the salt of what stands in a message's row for bytes that are gone


class Signed(NamedTuple):
    """What a commit says of its operations."""

    signer: str
    time: int


def signed(db: apsw.Connection, channel: int, id: bytes) -> Signed | None:
    """Whose an operation is, and when it was signed; None if its commit is not here, or of another channel."""
    of, count = _signed_commit(db, channel, id[:14])
    return of if int.from_bytes(id[14:], "big") < count else None


def _signed_commit(db: apsw.Connection, channel: int, place: bytes) -> tuple[Signed | None, int]:
    """The same for all operations of a commit, and how many they are."""
    row, head = log.log_by_prefix(db, place[:10]), log.commit_at(db, place)
    if row is None or head is None or row.channel != channel:
        return None, 0
    decoded = decode_head(head)
    return Signed(row.signer, decoded.time), decoded.count


def standing(db: apsw.Connection, channel: int, ids: Sequence[bytes]) -> dict[bytes, Erasure]:
    """Those of these operations that are here and erased, each with the erasure that counts."""
    return {id: erasure for id, (_, erasure) in standing_on(db, channel, ids).items()}


def standing_on(
    db: apsw.Connection, channel: int, ids: Sequence[bytes]
) -> dict[bytes, tuple[Signed, Erasure]]:
    """The same, and what the commit of each says of it."""
    found: dict[bytes, tuple[Signed, Erasure]] = {}
    commits: dict[bytes, tuple[Signed | None, int]] = {}
    for id, said in erasures.erasures_on(db, channel, ids).items():
        place = id[:14]
        if place not in commits:
            commits[place] = _signed_commit(db, channel, place)
        of, count = commits[place]
        if of is None or int.from_bytes(id[14:], "big") >= count:
            continue
        erasure = standing_erasure(of.signer, of.time, said)
        if erasure is not None:
            found[id] = of, erasure
    return found


def strike(db: apsw.Connection, channel: log.ChannelRow, items: Sequence[Item]) -> list[Item]:
    """Operations that are about to be applied, as erasures leave them. What is erased leaves its commitment here."""
    if not items or not erasures.any_here(db):
        return list(items)
    return _Striking(db, channel, items).run()


class _Striking:
    """One call's work."""

    def __init__(self, db: apsw.Connection, channel: log.ChannelRow, items: Sequence[Item]) -> None:
        self._db = db
        self._channel = channel.n
        self._items = items
        self._about = {
            item.id: target for item in items if (target := getattr(item.operation, "target", None))
        }
        ids = [item.id for item in items]
        self._erased = standing(db, channel.n, [*ids, *set(self._about.values())])
        self._holes = erasures.holes_among(db, [*ids, *set(self._about.values())])
        self._fresh: list[tuple[bytes, int, bytes, int]] = []
        self._why: dict[int, list[bytes]] = {}  # new reasons of holes that were here

    def run(self) -> list[Item]:
        left = [one for item in self._items if (one := self._struck(item)) is not None]
        erasures.put_holes(self._db, self._fresh)
        for why, ids in self._why.items():
            erasures.set_why(self._db, ids, why)
        if MISSING in self._why:  # an erasure lost its right, and a relay may have what was dropped for it
            aboard.read_again(self._db)
        _note_heights(
            self._db, [row[0] for row in self._fresh], [id for ids in self._why.values() for id in ids]
        )
        return left

    def _struck(self, item: Item) -> Item | None:
        """What is to be applied of an operation."""
        erasure = self._erased.get(item.id)
        if erasure is not None and not isinstance(item.operation, Erase):
            return self._left(item, erasure)
        if item.operation is None:
            if self._holes[item.id].why == ERASED:
                self._why.setdefault(MISSING, []).append(item.id)
            return None
        why = self._goes_with_target(item)
        if why is not None:
            self._fresh.append((item.id, self._channel, commitment_of(item.salted), why))
            return None
        return item

    def _left(self, item: Item, erasure: Erasure) -> Item | None:
        hole = self._holes.get(item.id)
        if hole is None:
            assert item.operation is not None
            self._fresh.append((item.id, self._channel, commitment_of(item.salted), ERASED))
        elif hole.why in (POLICY, LOCAL):  # let go here before: it stays out of sight
            return None
        elif hole.why != ERASED:
            self._why.setdefault(ERASED, []).append(item.id)
        if not isinstance(erasure.what, Remains):
            return None
        post = remaining_post(erasure.what)
        hollow = rows.HOLLOW | (rows.ERASED | rows.DELETED if erasure.leaves_place else 0)
        return msgspec.structs.replace(
            item, operation=post, salted=MADE_UP + encode_operation(post), hollow=hollow
        )

    def _goes_with_target(self, item: Item) -> int | None:
        """Why an operation is not kept because the message that it is on is gone; None if it is kept."""
        target = self._about.get(item.id)
        if target is None:
            return None
        hole = self._holes.get(target)
        if hole is not None and hole.why in (POLICY, LOCAL):
            return hole.why
        erasure = self._erased.get(target)
        if erasure is not None and erasure.leaves_place and isinstance(item.operation, Edit):
            of = signed(self._db, self._channel, target)
            if of is not None and goes_with(item.operation, item.signer, of.signer):
                return WENT_WITH
        return None


def _note_heights(db: apsw.Connection, fresh: Iterable[bytes], changed: Iterable[bytes]) -> None:
    """Holes are new, or have another reason: what of their logs is here, and what is kept away."""
    for prefix, seqs in _places(fresh).items():
        row = log.log_by_prefix(db, prefix)
        assert row is not None
        away = [seq for seq in seqs if any(hole.why in KEPT_AWAY for hole in _holes_of(db, prefix, seq))]
        if away:
            erasures.keep_away(db, row.n, away)
    for prefix, seqs in _places(changed).items():
        row = log.log_by_prefix(db, prefix)
        assert row is not None
        partial = {seq for seq in seqs if any(hole.why == MISSING for hole in _holes_of(db, prefix, seq))}
        heights.note_partial(db, row.n, partial)
        heights.note_whole(db, row.n, seqs - partial)
        erasures.put_kept_away(db, row.n, erasures.counted_kept_away(db, prefix))


def _places(ids: Iterable[bytes]) -> dict[bytes, set[int]]:
    """Log prefix -> seqs of the commits that these are in."""
    found: dict[bytes, set[int]] = {}
    for id in ids:
        found.setdefault(id[:10], set()).add(int.from_bytes(id[10:14], "big"))
    return found


def _holes_of(db: apsw.Connection, prefix: bytes, seq: int) -> Iterable[Hole]:
    place = prefix + seq.to_bytes(4, "big")
    return erasures.holes_between(db, place + bytes(2), place + b"\xff\xff").values()


def erase_here(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    erases: Sequence[Item],
    struck: set[bytes],
    now_ms: int,
) -> None:
    """Take what new erasures name, and is here, out of the views and out of the log.

    struck    what came with them
    """
    targets = {
        what.id for item in erases if isinstance(item.operation, Erase) for what in item.operation.entries
    }
    strike_parked(db, channel)
    new = {item.id for item in erases}
    found = standing_on(db, channel.n, sorted(targets))
    ids = [id for id, (_, erasure) in found.items() if erasure.id in new]
    ids = _without_what_stays(db, ids) if ids else []
    away = owing.out_of_reach(db, ids)
    if away:
        owing.owe(db, channel.n, away)
        ids = [id for id in ids if id not in away]
    if ids:
        _destroy_erased(db, applier, channel, {id: found[id] for id in ids}, now_ms, struck)


def destroy_erased(
    db: apsw.Connection, applier: Applier, channel: log.ChannelRow, ids: Sequence[bytes], now_ms: int
) -> None:
    """Take those of these operations on which an erasure stands out of the views and out of the log."""
    _destroy_erased(db, applier, channel, standing_on(db, channel.n, ids), now_ms)


def _destroy_erased(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    found: Mapping[bytes, tuple[Signed, Erasure]],
    now_ms: int,
    struck: Collection[bytes] = (),
) -> None:
    """The same.

    struck    those of them that are in neither yet
    """
    from quire.store.emptying import empty_in_place
    from quire.store.people import put_back
    from quire.store.withdraw import take_out, take_waiting

    fault("before_erase")
    emptied = empty_in_place(db, applier, channel, {id: one for id, one in found.items() if id not in struck})
    fault("erase_emptied")
    ids = [id for id in found if id not in emptied]
    if ids:
        items = take_out(db, applier, channel, [id for id in ids if id not in struck])
        items += take_waiting(db, channel, [id for id in ids if found[id][1].leaves_place])
        fault("erase_taken")
        files = _files_of(items, set(ids))
        put_back(db, applier, channel, items, now_ms)
        _drop_files(db, files)
    fault("after_erase")


def _files_of(items: Iterable[Item], gone: set[bytes]) -> set[bytes]:
    """The files that messages which go came with."""
    return {
        one.file.id
        for item in items
        if item.id in gone and isinstance(item.operation, Post)
        for one in item.operation.attachments
        if one.file is not None
    }


def _drop_files(db: apsw.Connection, files: Iterable[bytes]) -> None:
    """Files that no message refers to any more go; their bytes when the transaction is durable (`attachments.sweep`)."""
    from quire.storage.attachments import is_used
    from quire.store.attachments import drop

    drop(db, [file for file in files if not is_used(db, file)])


def name_versions(store: LocalStore) -> int:
    """Erase by name our own edits that went with an erased message, not known to who erased it; how many.

    Until somebody does, each who has both destroys such an edit, and nobody can show others why it is gone.
    """
    db = store.database.reader
    ours: dict[int, list[Gone]] = {}
    for channel, id in erasures.unnamed(db):
        row = log.log_by_prefix(db, id[:10])
        if row is not None and row.signer == store.own_key:
            ours.setdefault(channel, []).append(Gone(id))
    count = 0
    for n, some in ours.items():
        channel_row = log.channel_by_n(db, n)
        if channel_row.rights & MAY_POST:
            first = tuple(some[:ERASED_PER_OPERATION_MAX])
            store.write_operations(channel_row.id, Erase((), first))
            count += len(first)
    return count


def _without_what_stays(db: apsw.Connection, ids: list[bytes]) -> list[bytes]:
    """An erasure is not erased, since what it destroyed would have no reason any more, nor a control operation."""
    rows: Any = db.execute(
        "SELECT id FROM operation WHERE id IN carray(?1) AND kind = ?2 UNION ALL SELECT id FROM control WHERE id IN carray(?1)",
        (apsw.carray(tuple(ids)), KINDS[Erase]),
    ).fetchall()
    stays = {id for (id,) in rows}
    return [id for id in ids if id not in stays]


def destroy(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    ids: Sequence[bytes],
    why: int,
    now_ms: int,
) -> int:
    """Let operations of one channel go on this device: out of every view, their bytes destroyed, commitments kept.

    applier    of the ledger whose transaction this is (`store.ledger.run(lambda db: destroy(db, store.ledger.applier, …))`)
    ids        messages (what is on them, edits, reactions, pins and deletions, goes along) or other operations;
               replies stay: name them too, or they stand alone once their root is gone. Some thousands at a time:
               all are in memory, with what stands in their threads
    why        `storage.erasures.POLICY` or `LOCAL`
    now_ms     the clock
    returns    bytes of operations freed in the vault; the file gets smaller when it is compacted

    What is destroyed so counts as here: it is never fetched again, and if an old road brings it, it is known and
    dropped. What is `LOCAL` is not given to others: they see a hole only where an erasure or the policy stands. What comes
    later on a message that was let go goes the same way. `verify` holds and `rebuild` keeps it. Call `Database.checkpoint` after
    the last transaction, so that the WAL forgets it, too, and `attachments.sweep` for the files that went.

    Raises: CorruptError if an id is of nothing here.
    """
    from quire.store.people import put_back
    from quire.store.withdraw import take_out

    assert why in (POLICY, LOCAL)
    named = set(ids)
    gone: list[Item] = []
    left: list[Item] = []
    for item in take_out(db, applier, channel, ids):
        goes = item.id in named or getattr(item.operation, "target", None) in named
        (gone if goes else left).append(item)
    kept = [
        (item.id, channel.n, commitment_of(item.salted), why) for item in gone if item.operation is not None
    ]
    erasures.put_holes(db, kept)
    _note_heights(db, [row[0] for row in kept], [])
    change_holes(db, [item.id for item in gone if item.operation is None], why)
    fault("destroyed")
    put_back(db, applier, channel, left, now_ms)
    _drop_files(db, _files_of(gone, named))
    return sum(len(item.salted) for item in gone)


def say_let_go(
    db: apsw.Connection, applier: Applier, channel: log.ChannelRow, whys: dict[bytes, int], now_ms: int
) -> None:
    """Of operations that came as holes: they were let go before (a restore), and are not missing.

    whys    of `LET_GO`; of others nothing is said
    """
    from quire.store.people import put_back
    from quire.store.withdraw import take_waiting

    here = erasures.holes_among(db, sorted(whys))
    ids = [id for id, hole in here.items() if hole.why == MISSING and whys[id] in LET_GO]
    for why in LET_GO:
        change_holes(db, [id for id in ids if whys[id] == why], why)
    put_back(db, applier, channel, take_waiting(db, channel, ids), now_ms)
    for why in (POLICY, LOCAL):  # erased as well, and shown as an empty place since
        places = [id for id, hole in here.items() if hole.why == ERASED and whys[id] == why]
        if places:
            destroy(db, applier, channel, places, why, now_ms)


def is_let_go(db: apsw.Connection, id: bytes) -> bool:
    """Was a message let go by retention here, so that what names it need not wait for it?"""
    hole = erasures.holes_among(db, [id]).get(id)
    return hole is not None and hole.why in (POLICY, LOCAL)


def leave_holes(db: apsw.Connection, channel: int, gone: Sequence[tuple[bytes, bytes]], why: int) -> None:
    """Keep the commitments of operations (id, salt || operation) whose rows were deleted."""
    erasures.put_holes(db, [(id, channel, commitment_of(op), why) for id, op in gone])
    for prefix, seqs in _places(id for id, _ in gone).items() if why in KEPT_AWAY else ():
        row = log.log_by_prefix(db, prefix)
        assert row is not None
        erasures.keep_away(db, row.n, seqs)


def change_holes(db: apsw.Connection, ids: Collection[bytes], why: int) -> None:
    """Give holes another reason: what was erased before is let go, too, and its place does not come back."""
    erasures.set_why(db, ids, why)
    _note_heights(db, [], ids)


def take_waiting_for(db: apsw.Connection, channel: log.ChannelRow, ids: Sequence[bytes]) -> list[Item]:
    """Take out what waits for messages that were let go."""
    from quire.store.withdraw import take_waiting

    return take_waiting(db, channel, ids)
