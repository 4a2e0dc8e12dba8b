"""Which key is current, who has it, and when it must change: docs/spec/06-membership.md, section 8."""

from __future__ import annotations

from quire.core.control import HISTORY_JOINED, Link, Policy, Report, Role
from quire.core.membership import Change
from tests.core.membership.people import (
    START_MS,
    World,
    add_device,
    admit,
    device_of,
    epoch,
    id_of,
    remove,
    revoke,
    rotate,
    seal,
)

DAY_MS = 86_400_000


def link(later: str, earlier: str) -> Link:
    return Link(epoch(later), epoch(earlier), bytes(60))


def three() -> World:
    """Alice, Bob and Carol, all of whom have the key of epoch 1."""
    world = World("Alice")
    world.write("Alice", admit("Bob", Role.ADMIN), admit("Carol", Role.ADMIN))
    world.write("Alice", rotate("1"), seal("1", device_of("Bob"), device_of("Carol")))
    return world


def change(world: World, now_ms: int = START_MS) -> Change | None:
    return world.state.epochs.change_needed(now_ms)


def current(world: World) -> bytes:
    info = world.state.epochs.current
    assert info is not None
    return info.epoch


def test_none_yet_then_current_then_old() -> None:
    world = World("Alice")
    assert change(world) is Change.NONE_YET
    assert world.state.epochs.current is None
    world = three()
    assert change(world) is None
    assert change(world, START_MS + 31 * DAY_MS) is Change.OLD
    world.write("Alice", Policy("rotation", 60 * DAY_MS))
    assert change(world, START_MS + 31 * DAY_MS) is None


def test_a_newcomer_lacks_the_key_and_a_seal_is_enough() -> None:
    world = three()
    world.write("Alice", admit("Dave"))
    assert change(world) is Change.LACKING
    assert not Change.LACKING.needs_rotation
    assert world.state.epochs.lacking(epoch("1")) == {id_of(device_of("Dave"))}
    world.write("Bob", seal("1", device_of("Dave")))
    assert change(world) is None


def test_whose_history_begins_with_joining_must_not_have_the_old_key() -> None:
    world = three()
    world.write("Alice", admit("Dave", history=HISTORY_JOINED))
    assert change(world) is Change.NEWCOMER
    assert Change.NEWCOMER.needs_rotation
    world.write("Alice", rotate("2"), seal("2", *(device_of(who) for who in ("Bob", "Carol", "Dave"))))
    assert change(world) is None
    epochs = world.state.epochs
    assert epochs.admissible(id_of("Dave")) == {epoch("2")}
    assert epochs.admissible(id_of("Bob")) == {epoch("1"), epoch("2")}
    assert epochs.admissible(id_of("Mallory")) == set()


def test_a_date_admits_what_began_at_it_or_later() -> None:
    world = three()
    began = world.commits[-1].time >> 16
    world.write("Alice", rotate("2"))
    world.write("Alice", admit("Dave", history=began + 1), admit("Erin", history=began))
    assert world.state.epochs.admissible(id_of("Dave")) == {epoch("2")}
    assert world.state.epochs.admissible(id_of("Erin")) == {epoch("1"), epoch("2")}


def test_a_removed_person_knows_the_key_until_it_changes() -> None:
    world = three()
    world.write("Carol", remove("Carol"))
    assert change(world) is Change.KNOWN_OUTSIDE
    world.write("Bob", rotate("2"), seal("2", device_of("Alice")))
    assert change(world) is None
    assert current(world) == epoch("2")


def test_the_author_of_a_key_knows_it_though_it_was_sealed_to_others_only() -> None:
    """Carol begins an epoch while Bob removes her; hers looks as if made for the others."""
    world = three()
    before = world.commits[-1]
    world.write("Alice", remove("Carol"), rotate("2"), seal("2", device_of("Bob")), knowing=[before])
    later = world.commits[-1].time >> 16
    hers = world.write(
        "Carol",
        rotate("3"),
        seal("3", device_of("Alice"), device_of("Bob")),
        knowing=[before],
        at_ms=later + 1,
    )
    assert world.rule(hers) == "removed_before"
    assert current(world) == epoch("2")
    assert change(world) is None


def test_concurrent_rotations_both_stand_and_the_adequate_one_is_current() -> None:
    world = three()
    before = world.commits[-1]
    world.write("Bob", rotate("2"), seal("2", device_of("Alice"), device_of("Carol")), knowing=[before])
    world.write("Alice", rotate("3"), seal("3", device_of("Bob")), knowing=[before])
    assert {info.epoch for info in world.state.epochs.candidates} == {epoch("2"), epoch("3")}
    assert current(world) == epoch("2"), "the other is later, but Carol lacks it"
    world.write("Alice", seal("3", device_of("Carol")))
    assert current(world) == epoch("3")
    assert world.resolved().epochs.current == world.state.epochs.current


def test_two_who_remove_two_at_once_leave_no_adequate_key_and_the_next_rotates() -> None:
    world = World("Alice")
    world.write("Alice", admit("Bob", Role.ADMIN), admit("Carol"), admit("Dave"), rotate("1"))
    before = world.commits[-1]
    world.write(
        "Alice",
        remove("Carol"),
        rotate("2"),
        seal("2", device_of("Bob"), device_of("Dave")),
        knowing=[before],
    )
    world.write(
        "Bob",
        remove("Dave"),
        rotate("3"),
        seal("3", device_of("Alice"), device_of("Carol")),
        knowing=[before],
    )
    assert set(world.roles()) == {"Alice", "Bob"}
    assert change(world) is Change.KNOWN_OUTSIDE
    world.write("Bob", rotate("4"), seal("4", device_of("Alice")))
    assert change(world) is None


def test_a_wrong_key_is_reported_and_sealed_again() -> None:
    world = three()
    world.write("Carol", Report(epoch("1")))
    assert change(world) is Change.REPORTED
    assert world.state.epochs.lacking(epoch("1")) == {id_of(device_of("Carol"))}
    world.write("Bob", seal("1", device_of("Carol")))
    assert change(world) is None
    world.write("Carol", Report(epoch("1")))
    assert change(world) is Change.REPORTED


def test_a_seal_that_did_not_know_of_the_report_does_not_answer_it() -> None:
    world = three()
    before = world.commits[-1]
    world.write("Carol", Report(epoch("1")), knowing=[before])
    world.write("Bob", seal("1", device_of("Carol")), knowing=[before])
    assert change(world) is Change.REPORTED


def test_devices_come_and_go() -> None:
    world = three()
    world.write("Bob", add_device("Bob", 2, device_of("Bob")))
    assert change(world) is Change.LACKING
    world.write("Bob", seal("1", device_of("Bob", 2)))
    assert change(world) is None
    world.write("Bob", revoke("Bob", 2), rotate("2"), seal("2", device_of("Alice"), device_of("Carol")))
    assert change(world) is None


def test_what_a_commit_was_written_under() -> None:
    world = three()
    then = world.graph.heads
    world.write("Alice", rotate("2"))
    before, after = world.graph.epoch_at(then), world.graph.epoch_at(world.graph.heads)
    assert before is not None
    assert after is not None
    assert (before.epoch, after.epoch) == (epoch("1"), epoch("2"))
    assert world.graph.epoch_at([world.founded.id]) is None


def test_links_lead_back_as_far_as_they_go() -> None:
    world = three()
    world.write("Alice", rotate("2"), link("2", "1"))
    world.write("Alice", rotate("3"))
    world.write("Alice", rotate("4"), link("4", "3"))

    def reach(of: bytes) -> frozenset[bytes]:
        return world.state.epochs.reach(of)

    assert reach(epoch("2")) == {epoch("1"), epoch("2")}
    assert reach(epoch("4")) == {epoch("3"), epoch("4")}
    world.write("Bob", link("3", "2"), link("1", "4"))
    assert reach(epoch("4")) == {epoch(one) for one in "1234"}, "a ring ends too"


def test_who_may_not_read_what_a_key_leads_to_is_not_given_it() -> None:
    """Dave is let in for what comes; Bob, who knows nothing of it, begins an epoch that leads back to the first."""
    world = three()
    before = world.commits[-1]
    readers = [device_of(who) for who in ("Alice", "Bob", "Carol", "Dave")]
    world.write(
        "Alice", admit("Dave", history=HISTORY_JOINED), rotate("2"), seal("2", *readers), knowing=[before]
    )
    kept = [device_of("Alice"), device_of("Bob")]
    world.write("Bob", remove("Carol"), rotate("3"), seal("3", *kept), link("3", "1"), knowing=[before])
    assert current(world) == epoch("3"), "Carol has the other"
    assert epoch("3") in world.state.epochs.admissible(id_of("Dave"))
    assert change(world) is Change.NEWCOMER, "sealed to Dave, it would open the first"


def test_what_a_link_opens_it_opens_though_its_commit_is_void_now() -> None:
    world = three()
    before = world.commits[-1]
    world.write("Carol", rotate("2"), seal("2", device_of("Bob")), link("2", "1"), knowing=[before])
    world.write("Alice", remove("Carol"), rotate("3"), seal("3", device_of("Bob")), knowing=[before])
    assert not world.verdict(world.commits[-2]).standing
    assert world.state.epochs.reach(epoch("2")) == {epoch("1"), epoch("2")}
