"""What the author of content from elsewhere may do in it, and whether we have the key that it was written under."""

from __future__ import annotations

import apsw

from quire.core import commit
from quire.core.membership import EpochInfo, Graph
from quire.errors import PeerError, UnauthorisedError
from quire.storage import keychain, log
from quire.store.forgetting import is_over
from quire.store.people import content_rights
from quire.store.retention import bounds_apart

PERMANENT = {"device_unknown", "author_revoked", "author_not_member"}  # had no right where it was written


def rights_of(graph: Graph, head: commit.Head) -> int:
    """What its author may do; 0 for what a removal has cut off since, which may be void itself one day.

    Raises: UnauthorisedError for who had no right when it was written.
    """
    try:
        return content_rights(graph, head)
    except UnauthorisedError as error:
        if error.rule in PERMANENT:
            raise
        return 0


class KeysHeld:
    """Which control heads of a batch's commits lead to an epoch whose key is here; each looked up once."""

    def __init__(self, db: apsw.Connection, now_ms: int) -> None:
        self._db = db
        self._now = now_ms
        self._under: dict[tuple[bytes, ...], bool] = {}  # control heads -> do we have the key of their epoch?

    def require(self, graph: Graph, head: commit.Head) -> None:
        """We must have the key that it was written under: what we cannot seal we could not hand on.

        A liar may put it into a bundle under another key, for some of us only, and we would never agree.
        """
        heads = head.control_heads
        if heads not in self._under:
            epoch = graph.epoch_at(heads)
            held = keychain.epoch_keys(self._db, head.channel) if epoch else {}
            self._under[heads] = epoch is None or epoch.epoch in held or self._is_over(graph, epoch)
        if not self._under[heads]:
            raise PeerError("it was written under a key that is not here", rule="epoch_key_unknown")

    def _is_over(self, graph: Graph, epoch: EpochInfo) -> bool:
        """Is it an epoch whose key nobody is to have any more? What stands of it goes under the present one."""
        channel = log.channel_by_id(self._db, graph.channel)
        if channel is None:
            return False
        bounds, _ = bounds_apart(self._db, channel, self._now, counted=False)
        return is_over(graph, bounds, epoch)
