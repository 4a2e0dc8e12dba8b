"""The kept corpus of the fuzz targets, and a second of luck: the fast part of `make fuzz`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz.run import inputs, mutated
from fuzz.targets import BESIDE, CORPUS, TARGETS, imported, kept, lay_out

from quire.exchange.detect import Importer, importers
from quire.exchange.model import Message, Options
from quire.exchange.sources import open_source

KEPT = [(target, path) for target in TARGETS for path in kept(target)]
MUTATIONS = 40


@pytest.mark.parametrize(("target", "path"), KEPT, ids=lambda value: getattr(value, "name", value))
def test_kept_input(target: str, path: Path) -> None:
    TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_inputs(target: str) -> None:
    """The same ones each time: luck belongs to `make fuzz`."""
    begin = inputs(target)
    assert begin != [b""], "a target without a corpus"
    chance = random.Random(target)
    for _ in range(MUTATIONS):
        TARGETS[target](mutated(chance, begin))


def test_nothing_lies_in_the_corpus_unused() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= set(TARGETS)
    assert {importer.NAME for importer in importers()} == set(BESIDE)


@pytest.mark.parametrize("importer", importers(), ids=lambda importer: importer.NAME)
def test_seeds_are_of_their_format(importer: Importer, tmp_path: Path) -> None:
    """A corpus that no importer reads would fuzz its first line only."""
    for seed in kept(f"import-{importer.NAME}"):
        lay_out(importer.NAME, seed.read_bytes(), tmp_path / seed.name)
        with open_source(tmp_path / seed.name) as source:
            assert importer.recognise(source) > 0
            assert any(isinstance(record, Message) for record in importer.read(source, Options())), seed.name


def test_a_target_that_is_given_no_file_at_all() -> None:
    for importer in importers():
        imported(importer, b"")
