"""Valid files, randomly spoiled, and values of any kind: what the fuzz tests of the importers feed."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from quire.exchange.detect import Importer
from tests.exchange.packing import survives

SWAPS = (
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b'"',
    b"1e999",
    b"\n",
    b"true",
    b":",
    b"\t",
    b"\xff",
    b"<",
    b"9999999999",
)

# Whatever JSON may hold where something else is expected.
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


def spoiled(valid: bytes, seed: int, changes: int, noise: bytes) -> bytes:
    chance = random.Random(seed)
    data = bytearray(valid if chance.random() < 0.95 else b"")
    for _ in range(changes):
        at = chance.randrange(len(data) + 1)
        swap = chance.choice((noise, *SWAPS))
        data[at : at + chance.choice([0, 1, len(swap), 40])] = swap
    return bytes(data)


def fuzz(importer: Importer, valid: bytes, name: str, examples: int = 60) -> Callable[[], None]:
    """A test: whatever happens to `valid`, the importer yields sound records or raises FormatError."""

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.integers(0, 2**32), st.integers(0, 10), st.binary(max_size=24))
    def test(seed: int, changes: int, noise: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(spoiled(valid, seed, changes, noise))
            survives(importer, path)

    return test
