"""What a simulated world takes for a leak of a key, and what not."""

from __future__ import annotations

from quire.core.control import HISTORY_JOINED, Role
from quire.core.membership import ControlCommit
from quire.testing.world_out import given_unheard
from tests.core.membership.people import World, admit, device_of, epoch, id_of, remove, rotate, seal, set_role

CAROL = device_of("Carol")


def removed() -> tuple[World, ControlCommit]:
    """A channel of which Bob put Carol out with a new key; and the commit before."""
    world = World("Alice")
    world.write("Alice", admit("Bob", Role.ADMIN), admit("Carol"))
    before = world.write("Alice", rotate("1"), seal("1", device_of("Bob"), CAROL))
    world.write("Bob", remove("Carol"), rotate("2"), seal("2", device_of("Alice")), knowing=[before])
    return world, before


def excused(world: World, heads: tuple[bytes, ...], name: str = "2") -> bool:
    """Is it no fault of who wrote under a key, naming these heads, that Carol has it?"""
    return given_unheard(world.graph, world.commits, heads, epoch(name), id_of(CAROL))


def test_a_seal_by_who_knows_that_a_removal_does_not_hold_is_no_leak() -> None:
    world, before = removed()
    heads = world.graph.heads
    world.write("Alice", set_role("Carol", Role.MODERATOR), knowing=[before])
    assert not excused(world, heads), "nobody gave it to her"
    world.write("Alice", seal("2", CAROL))
    assert excused(world, heads)
    given = world.graph.heads
    world.write("Alice", remove("Carol"), rotate("3"), seal("3", device_of("Bob")))
    assert excused(world, heads), "also when she is out again"
    assert not excused(world, given), "who writes under it and knows that she has it"
    assert not excused(world, world.graph.heads)
    assert not excused(world, heads, "3")


def test_a_seal_to_whom_its_author_knew_to_be_out_is_a_leak() -> None:
    world, _ = removed()
    heads = world.graph.heads
    world.write("Bob", seal("2", CAROL))
    assert not excused(world, heads)


def test_a_seal_by_who_did_not_know_of_the_removal_is_a_leak_of_the_old_key() -> None:
    """She had it before, as who wrote under it all the same knew."""
    world, before = removed()
    heads = world.graph.heads
    world.write("Alice", seal("1", CAROL), knowing=[before])
    assert not excused(world, heads, "1")


def test_a_seal_of_what_is_before_the_history_of_a_newcomer_is_a_leak() -> None:
    world, _ = removed()
    heads = world.graph.heads
    world.write("Alice", admit("Carol", history=HISTORY_JOINED), seal("2", CAROL))
    assert not excused(world, heads)
