"""What was destroyed against the erasures that say so: every hole has its reason, and nothing erased is here."""

from __future__ import annotations

from quire.core.commit import COMMITMENT_SIZE, Head
from quire.core.control import ControlOperation
from quire.core.operation import Erase, Operation, Remains
from quire.core.timeline import Erasure, lacks_right, remaining_post, standing_erasure
from quire.storage import erasures, log
from quire.storage.erasures import ERASED, LOCAL, MISSING
from quire.store.check_views import Views
from quire.store.erasing import MADE_UP
from quire.store.findings import Run, named

ROWS = "SELECT target, id, channel, time, signer, rights, message, what FROM erasure WHERE id = ? ORDER BY target"
COLUMNS = "target, id, channel, time, signer, rights, message, what"


class HoleCheck:
    """The holes of all commits, and what erasures say of the rest."""

    def __init__(self, run: Run, views: Views) -> None:
        self._run = run
        self._db = run.db
        self._views = views
        self._add = run.findings.add
        self._said = 0  # entries of erasures that there are to be
        found = run.db.execute("SELECT EXISTS(SELECT 1 FROM erasure)").fetchone()
        self._is_any = found is not None and bool(found[0])
        self._owed = {
            id for ids in run.owed.values() for id in ids
        }  # erased, and in a file that is not at hand

    def kept(
        self,
        channel: log.ChannelRow,
        of: log.LogRow,
        time: int,
        id: bytes,
        operation: Operation | ControlOperation | None,
    ) -> None:
        """An operation whose bytes are here: nobody may have erased it."""
        if isinstance(operation, Erase):
            self._check_rows(channel, of, time, id, operation)
        elif isinstance(operation, ControlOperation):
            return  # which nobody can erase
        elif self._is_any and id not in self._owed and self._standing(channel, of, time, id):
            self._add("erasure_view", named(id), "its bytes are here, though it is erased")

    def check(
        self,
        channel: log.ChannelRow,
        of: log.LogRow,
        head: Head,
        rights: int,
        hole: tuple[str, bytes, bytes, int, int],
        left: list[tuple[object, ...]],
    ) -> None:
        """A hole, with the rows of what is left of it."""
        _, id, commitment, channel_n, why = hole
        standing = self._standing(channel, of, head.time, id)
        if (channel_n, len(commitment)) != (channel.n, COMMITMENT_SIZE) or not MISSING <= why <= LOCAL:
            self._add("destroyed_view", named(id), "not of this channel, or without a reason")
        elif (why == ERASED) != (standing is not None) and why in (MISSING, ERASED):
            self._add("destroyed_view", named(id), "no erasure says so" if why == ERASED else "it is erased")
        shows = why == ERASED and rights and standing is not None and isinstance(standing.what, Remains)
        held = [one for one in left if one[0] == "waiting"]
        if len(left) > 1 or any(
            one[0] not in ("message", "waiting") or (one[0] == "waiting" and one[2]) for one in left
        ):
            self._add("erasure_view", named(id), "more is left of it than its place")
        elif held:
            self._views.skip(id)
        elif bool(left) != bool(shows):
            self._add("erasure_view", named(id), "its place is missing" if shows else "it has a place")
        elif left and standing is not None and isinstance(standing.what, Remains):
            self._check_left(channel, of, head.time, id, standing, left[0])
        if not left:
            self._views.skip(id)

    def _check_left(
        self,
        channel: log.ChannelRow,
        of: log.LogRow,
        time: int,
        id: bytes,
        standing: Erasure,
        row: tuple[object, ...],
    ) -> None:
        assert isinstance(standing.what, Remains)
        post = remaining_post(standing.what)
        made_up = row[2]
        if not isinstance(made_up, bytes) or made_up[: len(MADE_UP)] != MADE_UP:
            self._add("erasure_view", named(id), "its row holds other bytes")
        self._views.message(channel, of, time, post, row, erased=standing)

    def _standing(self, channel: log.ChannelRow, of: log.LogRow, time: int, id: bytes) -> Erasure | None:
        if not self._is_any:
            return None
        said = erasures.erasures_on(self._db, channel.n, [id]).get(id, [])
        return standing_erasure(of.signer, time, said)

    def _check_rows(
        self, channel: log.ChannelRow, of: log.LogRow, time: int, id: bytes, erase: Erase
    ) -> None:
        """The entries of an erasure are kept as it says."""
        rights = self._run.rights(id)
        found = self._db.execute(ROWS, (id,)).fetchall()
        right: list[tuple[object, ...]] = []
        in_force = self._db.execute("SELECT 1 FROM operation WHERE id = ? AND void = 0", (id,)).fetchone()
        if in_force and not lacks_right(erase, rights):
            right = erasures.rows_of(channel.n, erase, id, time, of.signer, rights)
        self._said += len(right)
        if found != sorted(right, key=lambda one: bytes(one[0])):  # type: ignore[call-overload]
            self._add("erasure_view", named(id), "its entries differ")

    def finish(self) -> None:
        """After the last: no entry is of an erasure that is not here."""
        count = self._db.execute("SELECT count(*) FROM erasure").fetchone()
        if count is None or count[0] != self._said:
            self._add("erasure_view", "erasure", "entries of nothing")
