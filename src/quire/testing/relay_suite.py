"""What every relay backend does (`quire.relay.backend.Backend`): one suite, run by each.

    class TestSqlite(BackendSuite):
        def opened(self, folder): return SqliteBackend(folder)

It asks for no more than a queue of many machines can give as well: cursors grow within one mailbox and need not be
comparable between two; old items go in any portions, so long as they go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import msgspec

from quire.core.relay_frames import CURSOR_MAX, ITEM_BYTES_MAX, RELAY_ID_SIZE
from quire.errors import StorageError
from quire.relay.backend import Backend, Kept, Usage
from quire.testing.people import refuses

ADA, BOB = hashlib.sha256(b"ada").digest(), hashlib.sha256(b"bob").digest()  # mailboxes
ROOM = 1 << 30
ALL = 1_000


class BackendSuite:
    """Subclass it, and open the backend that keeps its items in a folder: the same folder, the same items."""

    persists: ClassVar[bool] = True  # not so the one in memory

    def opened(self, folder: Path) -> Backend:
        raise NotImplementedError

    @contextmanager
    def backend(self, folder: Path) -> Iterator[Backend]:
        backend = self.opened(folder)
        try:
            yield backend
        finally:
            backend.close()

    def test_items_come_in_the_order_in_which_they_were_put(self, tmp_path: Path) -> None:
        items = [bytes([number]) * size for number, size in enumerate((1, 2, 1_000, ITEM_BYTES_MAX, 3))]
        with self.backend(tmp_path / "relay") as backend:
            assert len(backend.relay) == RELAY_ID_SIZE
            first = backend.put([(ADA, one) for one in items[:2]], 1, ROOM)
            rest = backend.put([(ADA, one) for one in items[2:]], 2, ROOM)
            cursors = first + rest
            assert cursors == sorted(set(cursors))
            assert cursors[0] > 0
            assert backend.after(ADA, 0, ALL, ROOM) == [*map(Kept, cursors, items)]
            assert backend.after(ADA, cursors[1], ALL, ROOM) == [*map(Kept, cursors[2:], items[2:])]
            assert backend.after(ADA, cursors[-1], ALL, ROOM) == []

    def test_a_mailbox_holds_what_was_put_there_and_nothing_else(self, tmp_path: Path) -> None:
        with self.backend(tmp_path / "relay") as backend:
            backend.put([(ADA, b"a"), (BOB, b"b"), (ADA, b"c"), (BOB, b"a")], 1, ROOM)
            assert _data(backend, ADA) == [b"a", b"c"]
            assert _data(backend, BOB) == [b"b", b"a"]
            assert _data(backend, bytes(32)) == []
            assert backend.usage() == Usage(2, 4)

    def test_the_same_item_is_kept_once(self, tmp_path: Path) -> None:
        with self.backend(tmp_path / "relay") as backend:
            first, other, again = backend.put([(ADA, b"item"), (ADA, b"other"), (ADA, b"item")], 1, ROOM)
            assert first == again
            assert backend.put([(ADA, b"item")], 2, ROOM) == [first]
            assert _data(backend, ADA) == [b"item", b"other"]
            assert other > first

    def test_a_page_is_bounded_and_never_empty_while_there_is_more(self, tmp_path: Path) -> None:
        with self.backend(tmp_path / "relay") as backend:
            backend.put([(ADA, bytes([number]) * 100) for number in range(10)], 1, ROOM)
            assert len(backend.after(ADA, 0, 3, ROOM)) == 3
            assert 1 <= len(backend.after(ADA, 0, ALL, 250)) <= 3
            assert len(backend.after(ADA, 0, ALL, 1)) == 1
            found: list[Kept] = []
            while page := backend.after(ADA, found[-1].cursor if found else 0, 4, 250):
                found += page
            assert [one.data[0] for one in found] == list(range(10))

    def test_what_lies_between_two_cursors_comes_backwards_page_by_page(self, tmp_path: Path) -> None:
        with self.backend(tmp_path / "relay") as backend:
            items = [bytes([number]) * 100 for number in range(10)]
            cursors = []
            for one in items:
                cursors += backend.put([(BOB, one), (ADA, one)], 1, ROOM)[1:]
            every = [*map(Kept, cursors, items)]
            assert backend.before(ADA, CURSOR_MAX, 0, ALL, ROOM) == every[::-1]
            assert backend.before(ADA, cursors[7], cursors[2], ALL, ROOM) == every[6:2:-1]
            assert backend.before(ADA, cursors[0], 0, ALL, ROOM) == []
            assert backend.before(ADA, cursors[5], cursors[4], ALL, ROOM) == []
            assert backend.before(bytes(32), CURSOR_MAX, 0, ALL, ROOM) == []
            assert len(backend.before(ADA, CURSOR_MAX, 0, ALL, 1)) == 1
            assert 1 <= len(backend.before(ADA, CURSOR_MAX, 0, ALL, 250)) <= 3
            found: list[Kept] = []
            while page := backend.before(ADA, found[-1].cursor if found else CURSOR_MAX, 0, 4, 250):
                assert len(page) <= 4
                found += page
            assert found == every[::-1]
            while backend.expire(2):
                pass
            assert backend.before(ADA, CURSOR_MAX, 0, ALL, ROOM) == []

    def test_of_a_full_mailbox_the_oldest_go_and_of_no_other(self, tmp_path: Path) -> None:
        with self.backend(tmp_path / "relay") as backend:
            backend.put([(BOB, b"b" * 100)], 1, 350)
            for number in range(10):
                backend.put([(ADA, bytes([number]) * 100)], number, 350)
            assert [one[0] for one in _data(backend, ADA)] == [7, 8, 9]
            assert len(_data(backend, BOB)) == 1
            backend.put([(ADA, b"large" * 200)], 11, 350)
            assert _data(backend, ADA) == [b"large" * 200]  # what comes is kept, whatever its size

    def test_what_is_older_goes_in_the_end_and_its_cursors_never_come_again(self, tmp_path: Path) -> None:
        with self.backend(tmp_path / "relay") as backend:
            last = 0
            for number in range(6):
                [last] = backend.put([(ADA, bytes([number]))], number, ROOM)
            while backend.expire(4):
                pass
            assert [one[0] for one in _data(backend, ADA)] == [4, 5]
            while backend.expire(100):
                pass
            assert backend.usage() == Usage(0, 0)
            assert backend.put([(ADA, b"new")], 200, ROOM)[0] > last

    def test_it_is_all_there_after_the_end_and_whose_cursors_they_are(self, tmp_path: Path) -> None:
        if not self.persists:
            return
        with self.backend(tmp_path / "relay") as backend:
            relay = backend.relay
            [cursor] = backend.put([(ADA, b"item")], 1, ROOM)
            usage = backend.usage()
        with self.backend(tmp_path / "relay") as backend:
            assert backend.relay == relay
            assert backend.after(ADA, 0, ALL, ROOM) == [Kept(cursor, b"item")]
            assert backend.usage() == usage
            assert backend.put([(ADA, b"item")], 2, ROOM) == [cursor]
        with self.backend(tmp_path / "other") as other:
            assert other.relay != relay

    def test_a_copy_of_a_moment_has_what_was_there(self, tmp_path: Path) -> None:
        if not self.persists:
            return
        (tmp_path / "copy").mkdir()
        with self.backend(tmp_path / "relay") as backend:
            backend.put([(ADA, b"before")], 1, ROOM)
            backend.backup(tmp_path / "copy" / "relay.db")
            backend.put([(ADA, b"after")], 1, ROOM)
            rule = refuses(lambda: backend.backup(tmp_path / "copy" / "relay.db"))
            assert rule == "backup_exists"  # it writes over no copy
        with self.backend(tmp_path / "copy") as copy:
            assert _data(copy, ADA) == [b"before"]


class MemoryBackend:
    """Keeps items as long as the process lives: for simulations, where the relay's disk is not what is tested."""

    def __init__(self, relay: bytes) -> None:
        self.relay = relay
        self._boxes: dict[bytes, dict[bytes, _Item]] = {}  # mailbox -> hash -> item, in order
        self._last = 0

    def put(self, items: Sequence[tuple[bytes, bytes]], now_ms: int, mailbox_bytes_max: int) -> list[int]:
        cursors = []
        for mailbox, data in items:
            box = self._boxes.setdefault(mailbox, {})
            digest = hashlib.sha256(data).digest()
            if digest not in box:
                self._last += 1
                box[digest] = _Item(self._last, data, now_ms)
                while len(box) > 1 and sum(len(one.data) for one in box.values()) > mailbox_bytes_max:
                    del box[next(iter(box))]
            cursors.append(box[digest].cursor)
        return cursors

    def after(self, mailbox: bytes, cursor: int, items_max: int, bytes_max: int) -> list[Kept]:
        found: list[Kept] = []
        for one in self._boxes.get(mailbox, {}).values():
            if (
                one.cursor > cursor
                and len(found) < items_max
                and sum(len(kept.data) for kept in found) < bytes_max
            ):
                found.append(Kept(one.cursor, one.data))
        return found

    def before(self, mailbox: bytes, cursor: int, after: int, items_max: int, bytes_max: int) -> list[Kept]:
        found: list[Kept] = []
        for one in reversed(self._boxes.get(mailbox, {}).values()):
            full = len(found) == items_max or sum(len(kept.data) for kept in found) >= bytes_max
            if after < one.cursor < cursor and not full:
                found.append(Kept(one.cursor, one.data))
        return found

    def expire(self, before_ms: int) -> int:
        gone = 0
        for mailbox, box in list(self._boxes.items()):
            left = {digest: one for digest, one in box.items() if one.stored_ms >= before_ms}
            gone += len(box) - len(left)
            self._boxes[mailbox] = left
            if not left:
                del self._boxes[mailbox]
        return gone

    def usage(self) -> Usage:
        sizes = [len(one.data) for box in self._boxes.values() for one in box.values()]
        return Usage(len(self._boxes), sum(sizes))

    def mailboxes(self) -> list[bytes]:
        """All that hold something."""
        return list(self._boxes)

    def backup(self, path: Path) -> None:
        raise StorageError("what is in memory has no copy", rule="backup_exists")

    def close(self) -> None: ...


class _Item(msgspec.Struct, frozen=True):
    cursor: int
    data: bytes
    stored_ms: int


def _data(backend: Backend, mailbox: bytes) -> list[bytes]:
    return [one.data for one in backend.after(mailbox, 0, ALL, ROOM)]
