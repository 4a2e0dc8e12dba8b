"""Every small history: the same state in every order of arrival, and what must hold in each.

Histories of three acts are all there, of the whole alphabet, the wrongful acts included; of four those that dispute
most, and every rightful one of the acts on members and admins in every order of time; of five every rightful one, up to
symmetry (histories.py says why nothing is lost by that).

pytest tests/core/membership/test_small_scopes.py -m slow      # a quarter of an hour of one core
pytest tests/core/membership/test_small_scopes.py -m slow -k "five and 3"     # an eighth of those of five, to go on where one was
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import product

import pytest

from quire.core.membership import ControlCommit, Graph
from tests.core.membership.histories import (
    Acts,
    arrive,
    arrive_together,
    fork,
    histories,
    history,
    names_of,
    rightful,
    rights,
    shapes,
    start,
    started,
    summary,
)
from tests.core.membership.invariants import History, check_invariants

# Alice demotes Bob; Bob and Carol put each other out; Bob lets Erin in as admin.
DISPUTES: Acts = (1, 2, 5, 7)
# Alice puts Bob out, demotes him and lets him in again; Bob and Carol put each other out, and Bob demotes Carol; Carol makes
# Dave an admin, who then puts Bob out.
MEMBERS_AND_ADMINS: Acts = (0, 1, 2, 3, 7, 14, 15, 16)
# And Carol and Dave put each other out.
ALL_MEMBERS_AND_ADMINS: Acts = (*MEMBERS_AND_ADMINS, 4, 13)
# Alice demotes Bob; Bob and Carol put each other out; Carol makes Dave an admin, who changes the key.
SPEAKERS: Acts = (1, 2, 3, 7, 17)
PARTS = 8  # each is a test of its own, so a run that was ended goes on where it was


def explore(
    found: Iterable[list[ControlCommit]], tell: Callable[[Graph], object] = lambda graph: summary(graph.state)
) -> int:
    """Every order of arrival comes to one state, and what must hold does; how many histories there were."""
    made = 0
    for commits, graph in arrive_together(list(found), tell):
        check_invariants(History([*start(), *commits], graph))
        made += 1
    return made


def test_there_are_as_many_shapes_as_there_should_be() -> None:
    """Orders on 1 .. n in which no number is below a smaller one (naturally labelled posets, OEIS A006455)."""
    assert [len(shapes(count)) for count in range(1, 6)] == [1, 2, 7, 40, 357]


def test_every_rightful_history_is_there_up_to_symmetry() -> None:
    """Made one by one, and found among all shapes with all acts: the same histories of three."""
    found = set()
    for shape in shapes(3):
        for acts in product((0, 7, 2), repeat=3):
            graph = fork(started())
            for commit in history(acts, shape):
                graph.add(commit)
            if not any(record.rule for record in graph._records.values()):
                found.add(names_of(acts, shape))
    assert len(rightful(3, (0, 7, 2))) == len(found) == 25


def test_a_removal_in_the_past_of_a_newer_grant_still_ends_an_older_one() -> None:
    """Found by all histories of three: Bob removed and let in again, and made a member by who knew of neither."""
    arrive(history((0, 7, 14), ((), (), (0,))))


def test_a_sample_of_histories() -> None:
    assert explore(histories(2, keep=0.3)) > 80
    assert explore(histories(3, keep=0.005)) > 60
    assert explore(rightful(3, MEMBERS_AND_ADMINS)[::10]) == 28


def test_in_a_sample_what_everybody_may_write_is_the_same_in_every_order() -> None:
    assert explore(rightful(3, SPEAKERS)[::2], rights) == 67


@pytest.mark.slow
def test_what_everybody_may_write_is_the_same_in_every_order() -> None:
    assert explore(rightful(4, SPEAKERS), rights) == 1_204


@pytest.mark.slow
@pytest.mark.bounded
def test_a_larger_sample_of_histories() -> None:
    assert explore(histories(2)) > 300
    assert explore(histories(3, keep=0.03)) > 300
    assert explore(rightful(4, MEMBERS_AND_ADMINS)[::25]) == 137
    assert explore(rightful(4, ALL_MEMBERS_AND_ADMINS, timed=True)[::200]) == 92


@pytest.mark.slow
def test_all_histories_of_three() -> None:
    assert explore(histories(3)) == 25_116


@pytest.mark.slow
def test_all_disputes_of_four() -> None:
    assert explore(histories(4, DISPUTES)) == 6_223


@pytest.mark.slow
def test_all_rightful_histories_of_four_in_every_order_of_time() -> None:
    assert explore(rightful(4, ALL_MEMBERS_AND_ADMINS, timed=True)) == 18_213


@cache
def of_five() -> list[list[ControlCommit]]:
    return rightful(5, MEMBERS_AND_ADMINS)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_all_rightful_histories_of_five(part: int) -> None:
    assert len(of_five()) == 62_498
    size = -(-62_498 // PARTS)  # neighbours begin alike
    some = of_five()[part * size :][:size]
    assert explore(some) == len(some) > 0
