"""A world that reports nothing must be one that would: faults that are put in on purpose, each seen for what it is.

Each is a small patch of what an honest store does, at the one place that decides it. The seeds are the cheapest that
show it; a change of what a world does from a seed may need others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from quire.core.control import ControlOperation, Remove, RevokeDevice
from quire.core.membership import Change, rules
from quire.core.membership.content import Limit
from quire.core.membership.epochs import Epochs
from quire.core.membership.model import EpochInfo
from quire.storage import log
from quire.store import group, ingest
from quire.store.arrivals import Arrival, parked
from quire.store.local import LocalStore
from quire.testing.world import Violation, World

SMALL = {"devices": 6, "liars": 1, "channels": 1}


@contextmanager
def drops_a_waiting_commit() -> Iterator[None]:
    """Of what waits whole in a channel, the first is never taken up again."""

    def but_the_first(*where: Any) -> list[Arrival]:
        return parked(*where)[1:]

    with patch.object(ingest, "parked", but_the_first):
        yield


@contextmanager
def shows_what_lies_beyond_a_cut() -> Iterator[None]:
    """A removal ends nobody's right to what they write without knowing of it."""
    with patch.object(Limit, "spares", lambda *_: True):
        yield


@contextmanager
def skips_the_rotation_at_a_removal() -> Iterator[None]:
    """The key stays when somebody is put out, and nobody minds, now or later: three places see to it."""
    faults = Epochs._faults

    def but_who_is_out(self: Epochs, info: EpochInfo) -> list[Change]:
        return [one for one in faults(self, info) if one is not Change.KNOWN_OUTSIDE]

    with ExitStack() as stack:
        stack.enter_context(patch.object(group, "_new_key", lambda *_: []))
        stack.enter_context(patch.object(Epochs, "_faults", but_who_is_out))
        for operation in (Remove, RevokeDevice):
            left = tuple(rule for rule in rules.RULES[operation] if rule is not rules.rotation_missing)
            stack.enter_context(patch.dict(rules.RULES, {operation: left}))
        yield


@contextmanager
def seals_the_new_key_to_who_goes() -> Iterator[None]:
    """A removal changes the key, and gives it to whom it puts out as well; nobody minds afterwards."""
    new_key, faults = group._new_key, Epochs._faults

    def for_all(db: Any, channel: Any, graph: Any, without: set[bytes]) -> list[ControlOperation]:
        return new_key(db, channel, graph, set())

    def but_who_is_out(self: Epochs, info: EpochInfo) -> list[Change]:
        return [one for one in faults(self, info) if one is not Change.KNOWN_OUTSIDE]

    with patch.object(group, "_new_key", for_all), patch.object(Epochs, "_faults", but_who_is_out):
        yield


@contextmanager
def forgets_a_write_at_reopening() -> Iterator[None]:
    """The last that one wrote in each channel is not there at the next start."""
    whole = LocalStore.open

    def without_the_last(*where: Any) -> LocalStore:
        store = whole(*where)
        with store.database.transaction() as db:
            logs = [row for row in log.logs(db) if row.device == store.device and not row.branch]
            for row in logs:
                for seq, _, _ in log.content_commits(db, row)[-1:]:
                    db.execute("DELETE FROM commits WHERE log = ? AND seq = ?", (row.n, seq))
        return store

    with patch.object(LocalStore, "open", without_the_last):
        yield


@contextmanager
def believes_every_signature() -> Iterator[None]:
    with patch.object(ingest, "require_signature", lambda _: None):
        yield


CANARIES = [  # the fault, what says it, the cheapest world that sees it
    (drops_a_waiting_commit, "waiting_in_vain", 7, 50),
    (shows_what_lies_beyond_a_cut, "beyond a removal", 8, 40),
    (skips_the_rotation_at_a_removal, "has the key under which", 8, 12),
    (seals_the_new_key_to_who_goes, "has the key under which", 3, 14),
    (forgets_a_write_at_reopening, "lost 1 of its own commits", 2, 40),
    (believes_every_signature, "who did not write it", 17, 25),
]


@pytest.mark.parametrize(("fault", "said", "seed", "steps"), CANARIES)
def test_a_fault_is_seen(
    tmp_path: Path, fault: Callable[[], AbstractContextManager[None]], said: str, seed: int, steps: int
) -> None:
    with (
        pytest.raises(Violation, match=f"seed {seed}, .*{said}"),
        fault(),
        World(tmp_path, seed, **SMALL) as world,
    ):
        world.run(steps)


@pytest.mark.slow
@pytest.mark.bounded
def test_the_same_worlds_without_a_fault_are_sound(tmp_path: Path) -> None:
    for _, _, seed, steps in CANARIES:
        (folder := tmp_path / f"{seed} {steps}").mkdir()
        with World(folder, seed, **SMALL) as world:
            world.run(steps)
