"""Stories: people act, the link between them breaks, both sides act, the link heals."""

from __future__ import annotations

import pytest

from quire.core.control import AddDevice, Cut, Device, Policy, Role, Uninvite
from quire.core.limits import CONTROL_HEADS_MAX
from quire.core.membership import Graph
from quire.errors import UnauthorisedError
from tests.core.membership.people import (
    CHANNEL,
    World,
    add_device,
    admit,
    asking,
    certificate,
    commit_of,
    device,
    device_of,
    id_of,
    invite,
    invited,
    prefix_of,
    remove,
    revoke,
    rotate,
    seal,
    sealing_of,
    set_role,
)


def four() -> World:
    """Alice owns it, Bob and then Carol are admins, Dave is a member."""
    world = World("Alice")
    world.write("Alice", admit("Bob", Role.ADMIN))
    world.write("Alice", admit("Carol", Role.ADMIN))
    world.write("Alice", admit("Dave"))
    return world


def check_any_order(world: World) -> None:
    """A replica that gets all this the other way round says the same."""
    other = world.resolved()
    assert other.story == world.state.story
    assert dict(other.members) == dict(world.state.members)


def refused(world: World, who: str, seq: int, heads: tuple[bytes, ...], number: int = 1) -> str:
    """Why a content commit has no effect; empty if it has one."""
    name = device_of(who, number)
    try:
        world.graph.authority(id_of(name), prefix_of(name), seq, heads)
    except UnauthorisedError as refusal:
        return refusal.rule
    return ""


# Removal.


def test_what_the_removed_does_meanwhile_has_no_effect() -> None:
    world = four()
    before = world.commits[-1]
    removal = world.write("Alice", remove("Bob"), knowing=[before])
    act = world.write("Bob", admit("Erin"), knowing=[before])
    after = world.write("Bob", set_role("Dave", Role.ADMIN), knowing=[act])
    assert (world.rule(act), world.rule(after)) == ("removed_before", "removed_before")
    assert world.verdict(act).by == removal.id
    assert world.roles() == {"Alice": Role.OWNER, "Carol": Role.ADMIN, "Dave": Role.MEMBER}
    assert [one.id for one in world.state.contested] == [act.id, after.id]
    check_any_order(world)


def test_what_the_remover_knew_of_stands() -> None:
    world = four()
    act = world.write("Bob", admit("Erin"))
    world.write("Alice", remove("Bob"))
    assert world.rule(act) == ""
    assert "Erin" in world.roles()


def test_backdating_is_useless() -> None:
    """Bob pretends not to know, and to have written long ago."""
    world = four()
    early = world.commits[1]
    world.write("Alice", remove("Bob"))
    act = world.write(
        "Bob", set_role("Bob", Role.MEMBER), admit("Erin"), knowing=[early], at_ms=(early.time >> 16) + 1
    )
    assert world.rule(act) == "removed_before"
    assert "Erin" not in world.roles()


def test_two_owners_remove_each_other_and_the_senior_stays() -> None:
    world = four()
    promoted = world.write("Alice", set_role("Bob", Role.OWNER), set_role("Carol", Role.OWNER))
    first = world.write("Bob", remove("Carol"), knowing=[promoted])
    second = world.write("Carol", remove("Bob"), knowing=[promoted])
    assert world.rule(first) == ""
    assert world.rule(second) == "not_outranked"
    assert set(world.roles()) == {"Alice", "Bob", "Dave"}
    check_any_order(world)


def test_mutual_removal_across_a_demotion() -> None:
    """Carol, not knowing that Bob is an owner now, and Bob remove each other: the owner's word counts."""
    world = World("Alice")
    world.write("Alice", admit("Carol", Role.ADMIN))
    before = world.write("Alice", admit("Bob", Role.ADMIN))
    promoted = world.write("Alice", set_role("Bob", Role.OWNER), knowing=[before])
    by_bob = world.write("Bob", remove("Carol"), knowing=[promoted])
    by_carol = world.write("Carol", remove("Bob"), knowing=[before])
    assert world.rule(by_bob) == ""
    assert (world.rule(by_carol), world.verdict(by_carol).by) == ("removed_before", by_bob.id)
    assert set(world.roles()) == {"Alice", "Bob"}
    check_any_order(world)


def test_an_admin_is_demoted_while_promoting_another() -> None:
    world = four()
    before = world.commits[-1]
    demotion = world.write("Alice", set_role("Bob", Role.MEMBER), knowing=[before])
    promotion = world.write("Bob", set_role("Dave", Role.ADMIN), knowing=[before])
    key = world.write("Bob", rotate("x"), knowing=[before])
    assert (world.rule(promotion), world.verdict(promotion).by) == ("role_lowered_before", demotion.id)
    assert world.rule(key) == "", "a member may do this too"
    assert world.roles()["Dave"] is Role.MEMBER
    assert world.roles()["Bob"] is Role.MEMBER
    check_any_order(world)


def test_a_void_removal_gives_back_what_it_took() -> None:
    """Bob removes Dave; what Dave did meanwhile is void, until Alice's removal of Bob arrives."""
    world = four()
    before = world.commits[-1]
    world.write("Alice", set_role("Dave", Role.ADMIN))
    before = world.commits[-1]
    removal = world.write("Bob", remove("Dave"), knowing=[before])
    act = world.write("Dave", admit("Erin"), knowing=[before])
    assert world.rule(act) == "removed_before"
    assert not {"Dave", "Erin"} & set(world.roles())
    world.write("Alice", remove("Bob"), knowing=[before])
    assert world.rule(removal) == "removed_before"
    assert world.rule(act) == ""
    assert world.roles()["Dave"] is Role.ADMIN
    assert "Erin" in world.roles()
    check_any_order(world)


def test_whom_the_removed_let_in_meanwhile_is_out_with_all_they_did() -> None:
    world = four()
    before = world.commits[-1]
    entry = world.write("Bob", admit("Erin", Role.ADMIN), knowing=[before])
    act = world.write("Erin", set_role("Dave", Role.MODERATOR), knowing=[entry])
    assert world.roles()["Dave"] is Role.MODERATOR
    world.write("Alice", remove("Bob"), knowing=[before])
    assert world.rule(act) == "grant_void"
    assert world.roles() == {"Alice": Role.OWNER, "Carol": Role.ADMIN, "Dave": Role.MEMBER}
    check_any_order(world)


@pytest.mark.slow
@pytest.mark.bounded
def test_a_chain_of_thousands_of_invitations_is_no_deeper_than_one() -> None:
    world = World("Alice")
    before = world.write("Alice", admit("P0", Role.ADMIN))
    last = before
    for number in range(1, 2_000):
        last = world.write(f"P{number - 1}", admit(f"P{number}", Role.ADMIN), knowing=[last])
    assert len(world.state.members) == 2_001
    world.write("Alice", remove("P0"), knowing=[before])
    assert len(world.state.members) == 1
    assert world.rule(last) == "grant_void"


def test_an_outranked_remover_loses_to_a_concurrent_word_of_a_senior() -> None:
    """Carol removes Dave while Alice makes him moderator: Alice's word stands, and Carol's is shown as beaten."""
    world = four()
    before = world.commits[-1]
    removal = world.write("Carol", remove("Dave"), knowing=[before])
    world.write("Alice", set_role("Dave", Role.MODERATOR), knowing=[before])
    assert world.roles()["Dave"] is Role.MODERATOR
    assert world.verdict(removal).standing
    assert world.verdict(removal).contested
    heads = world.graph.heads
    assert refused(world, "Dave", 5, heads) == "", "who is in is heard"
    check_any_order(world)


def test_removed_and_invited_again() -> None:
    world = four()
    world.write("Alice", remove("Bob", cuts=(Cut(prefix_of(device_of("Bob")), 3),)))
    out = world.graph.heads
    assert refused(world, "Bob", 4, (world.commits[-2].id,)) == "removed_before"
    assert refused(world, "Bob", 4, out) == "author_not_member"
    world.write("Alice", admit("Bob", Role.MEMBER))
    again = world.graph.heads
    assert world.roles()["Bob"] is Role.MEMBER
    assert refused(world, "Bob", 4, again) == "", "knowing that they are in again"
    assert refused(world, "Bob", 4, (world.commits[-3].id,)) == "removed_before", "what was cut stays cut"
    assert refused(world, "Bob", 3, (world.commits[-3].id,)) == ""
    assert world.rule(world.write("Bob", admit("Erin"))) == "role_too_low"


def test_let_in_again_lower_after_a_removal_that_is_void_now() -> None:
    """Bob removes Carol, and Dave lets her in again as a guest. When the removal falls, so does her demotion."""
    world = four()
    before = world.commits[-1]
    world.write("Alice", set_role("Dave", Role.MODERATOR), knowing=[before])
    removal = world.write("Bob", remove("Carol"), knowing=[before])
    world.write("Dave", rotate("x"))
    world.write("Alice", Policy("invite", Role.MODERATOR))
    world.write("Dave", admit("Carol", Role.GUEST))
    assert world.roles()["Carol"] is Role.GUEST
    world.write("Alice", remove("Bob"), knowing=[before])
    assert world.rule(removal) in ("removed_before", "not_outranked")
    assert world.roles()["Carol"] is Role.ADMIN
    check_any_order(world)


def test_banned_until_unbanned() -> None:
    from quire.core.control import Unban

    world = four()
    world.write("Carol", remove("Dave", ban=True))
    assert world.state.banned == {id_of("Dave")}
    assert world.rule(world.write("Alice", admit("Dave"))) == "member_banned"
    world.write("Alice", Unban(id_of("Dave")))
    assert world.rule(world.write("Alice", admit("Dave"))) == ""


# Owners.


def test_the_creator_cannot_be_locked_out_by_juniors() -> None:
    """All others make each other owners and remove Alice, in the open and behind her back."""
    world = four()
    world.write("Alice", set_role("Bob", Role.OWNER))
    world.write("Bob", set_role("Carol", Role.OWNER))
    attempts = [
        world.write("Bob", remove("Alice")),
        world.write("Carol", set_role("Alice", Role.GUEST)),
        world.write("Bob", remove("Alice"), knowing=[world.founded]),
    ]
    assert [world.rule(one) for one in attempts] == ["not_outranked", "not_outranked", "device_unknown"]
    assert world.roles()["Alice"] is Role.OWNER


def test_when_the_last_owner_leaves_the_most_senior_acts_as_one() -> None:
    world = four()
    world.write("Alice", remove("Alice"))
    assert world.state.acting_owner == id_of("Bob")
    assert world.state.role(id_of("Bob")) is Role.OWNER
    assert world.roles()["Bob"] is Role.ADMIN
    assert world.rule(world.write("Carol", set_role("Dave", Role.OWNER))) == "role_too_low"
    assert world.rule(world.write("Bob", set_role("Dave", Role.OWNER))) == ""
    assert world.state.acting_owner is None
    assert world.roles()["Dave"] is Role.OWNER
    assert world.rule(world.write("Dave", remove("Carol"))) == ""
    check_any_order(world)


def test_an_owner_made_by_an_acting_one_is_not_stronger_than_who_made_them() -> None:
    """Or two could void each other's ground: Dave's act, and what it stands on."""
    world = four()
    world.write("Alice", remove("Alice"))
    world.write("Bob", set_role("Dave", Role.OWNER))
    dave, bob = world.state.members[id_of("Dave")], world.state.members[id_of("Bob")]
    assert bob.key < dave.key


def test_everyone_leaves() -> None:
    world = World("Alice")
    world.write("Alice", remove("Alice"))
    assert not world.state.members
    assert world.state.acting_owner is None
    assert world.rule(world.write("Alice", admit("Bob"))) == "author_not_member"


# Invites.


def door(uses: int = 0, approval: bool = False) -> World:
    world = four()
    world.write("Alice", invite("door", uses=uses, approval=approval))
    return world


def test_one_use_and_two_who_come_at_once() -> None:
    world = door(1)
    before = world.commits[-1]
    first = world.write("Carol", invited("Erin", "door"), knowing=[before])
    second = world.write("Bob", invited("Frank", "door"), knowing=[before])
    assert world.rule(second) == "", "Bob is senior"
    assert (world.rule(first), world.verdict(first).by) == ("invite_used_up", second.id)
    assert set(world.roles()) == {"Alice", "Bob", "Carol", "Dave", "Frank"}
    assert world.state.invites[id_of("door")].used == 2
    check_any_order(world)


def test_uses_are_never_exceeded_however_they_come() -> None:
    world = door(2)
    before = world.commits[-1]
    x = world.write("Carol", invited("P1", "door"), knowing=[before])
    world.write("Alice", invited("P2", "door"), knowing=[x])
    world.write("Bob", invited("P3", "door"), knowing=[before])
    came = [who for who in ("P1", "P2", "P3") if id_of(who) in world.state.members]
    assert came == ["P1", "P2"]
    check_any_order(world)


def test_the_same_person_let_in_twice_at_once_is_one_use() -> None:
    world = door(1)
    before = world.commits[-1]
    both = [world.write(who, invited("Erin", "door"), knowing=[before]) for who in ("Bob", "Carol")]
    assert [world.rule(one) for one in both] == ["", ""]
    assert world.state.invites[id_of("door")].used == 1
    assert world.roles()["Erin"] is Role.MEMBER
    world.write("Alice", remove("Erin"))
    assert "Erin" not in world.roles()
    assert world.rule(world.write("Bob", invited("Erin", "door"))) == "invite_replayed"


def test_withdrawn_while_someone_comes() -> None:
    world = door()
    before = world.commits[-1]
    by_carol = world.write("Carol", invited("Erin", "door"), knowing=[before])
    world.write("Bob", Uninvite(id_of("door")), knowing=[before])
    by_alice = world.write("Alice", invited("Frank", "door"), knowing=[before])
    assert world.rule(by_carol) == "invite_withdrawn"
    assert world.rule(by_alice) == "", "Alice's word is stronger than Bob's"
    assert not world.state.invites[id_of("door")].open_at(0)
    check_any_order(world)


def test_an_invite_made_by_someone_already_removed() -> None:
    world = four()
    before = world.commits[-1]
    made = world.write("Bob", invite("door"), knowing=[before])
    entry = world.write("Carol", invited("Erin", "door"), knowing=[made])
    assert "Erin" in world.roles()
    world.write("Alice", remove("Bob"), knowing=[before])
    assert world.rule(entry) == "invite_void"
    assert "Erin" not in world.roles()
    check_any_order(world)


def test_approval() -> None:
    world = door(approval=True)
    ask = world.write("Dave", asking("Erin", "door"))
    assert world.state.asks == {id_of("Erin"): (id_of("door"), ask.id, 0)}
    assert world.rule(world.write("Dave", invited("Erin", "door"))) == "role_too_low"
    world.write("Bob", invited("Erin", "door"))
    assert world.roles()["Erin"] is Role.MEMBER
    assert not world.state.asks


def test_an_admission_is_no_stronger_than_its_invite() -> None:
    world = four()
    world.write("Carol", invite("door", Role.ADMIN))
    world.write("Alice", invited("Erin", "door", Role.ADMIN))
    world.write("Bob", admit("Frank", Role.ADMIN))
    carol, erin = world.state.members[id_of("Carol")], world.state.members[id_of("Erin")]
    assert carol.key < erin.key


# Forks.


def test_a_fork_voids_what_the_log_holds_from_there_on() -> None:
    world = four()
    good = world.write("Bob", admit("Erin"))
    one = world.write("Bob", admit("Frank"), knowing=[good], seq=7)
    later = world.write("Bob", rotate("x"), seq=8)
    assert {"Erin", "Frank"} <= set(world.roles())
    other = world.write("Bob", admit("Mallory"), knowing=[good], seq=7)
    assert [world.rule(c) for c in (good, one, later, other)] == ["", "forked", "forked", "forked"]
    assert "Erin" in world.roles()
    assert not {"Frank", "Mallory"} & set(world.roles())
    check_any_order(world)


def test_who_was_removed_cannot_undo_their_past_by_a_fork() -> None:
    world = four()
    entry = world.write("Bob", admit("Erin"))
    world.write("Alice", remove("Bob"))
    world.write("Bob", rotate("x"), knowing=[world.commits[3]], seq=entry.seq)
    assert world.rule(entry) == ""
    assert "Erin" in world.roles()
    check_any_order(world)


def test_a_fork_after_a_long_history_is_found_in_any_order() -> None:
    world = four()
    entry = world.write("Bob", admit("Erin"))
    for number in range(50):
        world.write("Alice", rotate(f"{number}"))
    world.write("Bob", rotate("again"), seq=entry.seq)
    assert world.rule(entry) == "forked"
    world.write("Alice", rotate("on"))
    assert "Erin" not in world.roles()
    check_any_order(world)


def test_a_fork_of_content_voids_control_commits_from_there_on() -> None:
    world = four()
    entry = world.write("Bob", admit("Erin"))
    world.write("Alice", rotate("on"))
    held = world.state
    world.graph.add_fork(entry.prefix, entry.seq + 1)
    assert world.rule(entry) == ""
    world.graph.add_fork(entry.prefix, entry.seq)
    assert world.rule(entry) == "forked"
    assert "Erin" not in world.roles()
    assert id_of("Erin") in held.members, "what someone holds does not change"
    world.graph.add_fork(prefix_of(device_of("Alice")), 1)
    assert world.roles() == {"Alice": Role.OWNER}, "the founding commit stands"


# Devices.


def test_a_second_device_and_its_revocation() -> None:
    world = four()
    world.write("Bob", add_device("Bob", 2, device_of("Bob")))
    before = world.commits[-1]
    assert list(world.state.members[id_of("Bob")].devices) == [
        id_of(device_of("Bob")),
        id_of(device_of("Bob", 2)),
    ]
    cut = Cut(prefix_of(device_of("Bob", 2)), 4)
    world.write("Bob", revoke("Bob", 2, (cut,)), rotate("x"), knowing=[before])
    stolen = world.write("Bob", admit("Erin"), number=2, knowing=[before])
    chained = world.write("Bob", add_device("Bob", 3, device_of("Bob", 2)), number=2, knowing=[before])
    assert [world.rule(one) for one in (stolen, chained)] == ["device_revoked_before"] * 2
    assert list(world.state.members[id_of("Bob")].devices) == [id_of(device_of("Bob"))]
    assert refused(world, "Bob", 5, (before.id,), 2) == "device_revoked_before"
    assert refused(world, "Bob", 4, (before.id,), 2) == ""
    assert refused(world, "Bob", 4, world.graph.heads, 2) == "author_revoked"
    assert refused(world, "Bob", 400, world.graph.heads) == ""
    check_any_order(world)


def test_a_thief_s_devices_of_devices_fall_with_the_first() -> None:
    world = four()
    before = world.commits[-1]
    second = world.write("Bob", add_device("Bob", 2, device_of("Bob")), knowing=[before])
    third = world.write("Bob", add_device("Bob", 3, device_of("Bob", 2)), number=2, knowing=[second])
    recovered = world.write("Bob", add_device("Bob", 4, created_ms=5_000), number=4, knowing=[before])
    assert len(world.state.members[id_of("Bob")].devices) == 4
    world.write("Bob", revoke("Bob", 1), rotate("x"), number=4, knowing=[recovered])
    assert list(world.state.members[id_of("Bob")].devices) == [id_of(device_of("Bob", 4))]
    assert world.rule(third) == "device_revoked_before"
    check_any_order(world)


def test_who_has_the_phrase_outranks_every_older_device() -> None:
    world = four()
    world.write("Bob", add_device("Bob", 2, created_ms=9_000), number=2)
    assert world.rule(world.write("Bob", revoke("Bob", 2), rotate("x"))) == "device_senior"
    assert world.rule(world.write("Bob", revoke("Bob", 1), rotate("x"), number=2)) == ""
    assert world.rule(world.write("Bob", rotate("y"))) == "author_revoked"


def test_a_device_certified_anew_by_the_identity_rises() -> None:
    world = four()
    world.write("Bob", add_device("Bob", 2, device_of("Bob")))
    assert world.rule(world.write("Bob", revoke("Bob", 1), number=2)) == "device_senior"
    world.write("Bob", add_device("Bob", 2, created_ms=9_000), number=2)
    assert world.rule(world.write("Bob", revoke("Bob", 1), number=2)) == ""


def test_removal_ends_devices_that_the_next_admission_does_not_list() -> None:
    world = four()
    world.write("Bob", add_device("Bob", 2, device_of("Bob")))
    before = world.commits[-1]
    world.write("Alice", remove("Bob"))
    world.write("Bob", add_device("Bob", 3), knowing=[before])
    world.write("Alice", admit("Bob", devices=(device("Bob", 4, created_ms=9_000),)))
    assert list(world.state.members[id_of("Bob")].devices) == [id_of(device_of("Bob", 4))]
    assert world.rule(world.write("Bob", rotate("x"))) == "device_unknown"
    assert world.rule(world.write("Bob", rotate("x"), number=4)) == ""
    check_any_order(world)


def test_two_people_certify_one_device_at_once_and_it_is_the_first_one_s() -> None:
    """It consented to both, so its owner plays two people: it speaks for one of them, the same one everywhere."""
    world = four()
    before = world.commits[-1]
    shared = device_of("Bob", 9)
    consenting = certificate("Carol", shared, "Carol", 1_000)
    carols = Device(consenting.encode(), sealing_of(shared))
    world.write("Carol", AddDevice(carols), knowing=[before])
    world.write("Bob", AddDevice(device("Bob", 9)), knowing=[before])
    assert world.state.owner_of(id_of(shared)) == id_of("Carol")
    assert id_of(shared) not in world.state.members[id_of("Bob")].devices
    assert id_of(shared) in world.state.members[id_of("Carol")].devices
    assert world.rule(world.write("Bob", AddDevice(device("Bob", 9, created_ms=9_000)))) == "device_taken"
    check_any_order(world)


def test_a_revoked_device_does_not_come_back_also_by_who_did_not_know() -> None:
    world = four()
    world.write("Bob", add_device("Bob", 2, device_of("Bob")), add_device("Bob", 3, device_of("Bob")))
    before = world.commits[-1]
    world.write("Bob", revoke("Bob", 2), rotate("x"), knowing=[before])
    world.write("Bob", add_device("Bob", 2, device_of("Bob", 3)), number=3, knowing=[before])
    assert id_of(device_of("Bob", 2)) not in world.state.members[id_of("Bob")].devices
    again = world.write("Bob", add_device("Bob", 2, created_ms=9_000))
    assert world.rule(again) == "device_revoked"
    check_any_order(world)


def test_two_devices_revoke_each_other_at_once_and_the_senior_stays() -> None:
    """The second was certified anew by the phrase where the first knew nothing of it: now it is the senior."""
    world = four()
    world.write("Bob", add_device("Bob", 2, device_of("Bob")))
    before = world.commits[-1]
    raised = world.write("Bob", add_device("Bob", 2, created_ms=9_000), number=2, knowing=[before])
    first = world.write("Bob", revoke("Bob", 2), rotate("x"), knowing=[before])
    second = world.write("Bob", revoke("Bob", 1), rotate("y"), number=2, knowing=[raised])
    assert world.rule(second) == ""
    assert world.rule(first) == "device_revoked_before"
    assert list(world.state.members[id_of("Bob")].devices) == [id_of(device_of("Bob", 2))]
    check_any_order(world)


def test_a_device_whose_issuer_ended_is_certified_anew_by_one_that_the_identity_leads_to() -> None:
    """Alice's second device made the third and the fourth, and ends. The first vouches for the third, that for the fourth."""
    world = World("Alice")
    first, second, third = (device_of("Alice", number) for number in (1, 2, 3))
    world.write("Alice", add_device("Alice", 2, first))
    world.write("Alice", add_device("Alice", 3, second), add_device("Alice", 4, second))
    world.write("Alice", add_device("Alice", 5, third))
    assert world.rule(world.write("Alice", add_device("Alice", 3, first))) == "device_exists"
    assert set(world.state.rooted(id_of("Alice"))) == {id_of(device_of("Alice", n)) for n in (1, 2, 3, 4, 5)}
    world.write("Alice", revoke("Alice", 2))
    assert set(world.state.rooted(id_of("Alice"))) == {id_of(first)}
    assert len(world.state.members[id_of("Alice")].devices) == 4  # they go on where they are known
    by_an_orphan = world.write("Alice", add_device("Alice", 4, third), number=3)
    assert world.rule(by_an_orphan) == "device_exists"
    assert world.rule(world.write("Alice", add_device("Alice", 3, first))) == ""
    assert world.rule(world.write("Alice", add_device("Alice", 4, third), number=3)) == ""
    rooted = world.state.rooted(id_of("Alice"))
    assert list(rooted)[:2] == [id_of(first), id_of(third)]
    assert set(rooted) == {id_of(device_of("Alice", n)) for n in (1, 3, 4, 5)}
    late = world.write("Alice", revoke("Alice", 2), knowing=[world.founded, world.commits[1]])
    assert world.rule(late) == ""  # it knew of none that the second made, nor of what was made of those
    assert world.state.device(id_of(third)) is not None
    assert world.state.device(id_of(device_of("Alice", 5))) is None
    check_any_order(world)


# Content and policies.


def test_a_demotion_ends_what_the_lower_role_may_not_do_and_nothing_else() -> None:
    world = four()
    before = world.graph.heads
    world.write("Alice", set_role("Bob", Role.MEMBER, cuts=(Cut(prefix_of(device_of("Bob")), 9),)))
    name = device_of("Bob")
    early = world.graph.authority(id_of(name), prefix_of(name), 9, before)
    late = world.graph.authority(id_of(name), prefix_of(name), 10, before)
    assert (early.role, late.role) == (Role.ADMIN, Role.MEMBER)
    assert early.may("delete_others")
    assert not late.may("delete_others")
    assert late.may("post")


def test_a_cut_is_no_earlier_than_what_its_author_shows_to_have_known() -> None:
    world = four()
    before = world.graph.heads
    world.write("Bob", rotate("x"), seq=20)
    world.write("Alice", remove("Bob", cuts=()), rotate("y"))
    assert refused(world, "Bob", 20, before) == ""
    assert refused(world, "Bob", 21, before) == "removed_before"


def test_content_of_whom_the_removed_let_in_meanwhile() -> None:
    world = four()
    before = world.commits[-1]
    entry = world.write("Bob", admit("Erin"), knowing=[before])
    assert refused(world, "Erin", 1, (entry.id,)) == ""
    world.write("Alice", remove("Bob"), knowing=[before])
    assert refused(world, "Erin", 1, (entry.id,)) == "grant_void"
    assert refused(world, "Mallory", 1, world.graph.heads) == "device_unknown"


def test_who_was_given_a_role_in_vain_speaks_in_the_one_they_had() -> None:
    """Bob makes Dave a moderator and, when Alice's removal of him arrives, never did: Dave is a member all the time."""
    world = four()
    before = world.commits[-1]
    promotion = world.write("Bob", set_role("Dave", Role.MODERATOR), knowing=[before])
    name = device_of("Dave")
    there = (id_of(name), prefix_of(name), 1, (promotion.id,))
    assert world.graph.authority(*there).role is Role.MODERATOR
    world.write("Alice", remove("Bob"), knowing=[before])
    assert world.rule(promotion) == "removed_before"
    assert world.graph.authority(*there).role is Role.MEMBER
    world.write("Alice", remove("Dave"), knowing=[before])
    assert refused(world, "Dave", 1, (promotion.id,)) == "removed_before"
    check_any_order(world)


def test_who_was_put_out_and_let_in_again_in_vain_does_not_speak_by_what_they_were() -> None:
    world = four()
    world.write("Alice", remove("Dave"))
    before = world.commits[-1]
    again = world.write("Bob", admit("Dave"), knowing=[before])
    assert refused(world, "Dave", 1, (again.id,)) == ""
    world.write("Alice", remove("Bob"), knowing=[before])
    assert refused(world, "Dave", 1, (again.id,)) == "grant_void"


def test_a_policy_that_does_not_count_lets_nobody_speak_and_silences_nobody() -> None:
    world = four()
    world.write("Alice", admit("Erin", Role.GUEST))
    before = world.commits[-1]
    name = {who: device_of(who) for who in ("Dave", "Erin")}
    for value, may in (
        (Role.MODERATOR, {"Dave": False, "Erin": False}),
        (Role.GUEST, {"Dave": True, "Erin": True}),
    ):
        other = four()
        other.write("Alice", admit("Erin", Role.GUEST))
        before = other.commits[-1]
        policy = other.write("Bob", Policy("post", value), knowing=[before])
        there = {who: (id_of(one), prefix_of(one), 1, (policy.id,)) for who, one in name.items()}
        assert {who: other.graph.authority(*at).may("post") for who, at in there.items()} == may
        other.write("Alice", remove("Bob"), knowing=[before])
        assert {who: other.graph.authority(*at).may("post") for who, at in there.items()} == {
            "Dave": True,
            "Erin": False,
        }


def test_a_key_made_with_a_role_given_in_vain_stands_and_nothing_else_does() -> None:
    world = four()
    before = world.commits[-1]
    promotion = world.write("Bob", set_role("Dave", Role.ADMIN), knowing=[before])
    key = world.write("Dave", rotate("x"), seal("x", device_of("Dave")), knowing=[promotion])
    act = world.write("Dave", rotate("y"), admit("Erin"), knowing=[key])
    world.write("Alice", remove("Bob"), rotate("z"), knowing=[before])
    assert (world.rule(key), world.rule(act)) == ("", "grant_void")
    world.write("Alice", remove("Dave"), rotate("w"), knowing=[before])
    assert world.rule(key) == "removed_before"
    check_any_order(world)


def test_what_would_never_count_is_refused_to_who_knows_of_a_fork() -> None:
    """The fork is told from outside: no head says that its writer knew of it."""
    world = four()
    world.write("Bob", set_role("Dave", Role.ADMIN), seq=7)
    world.graph.add_fork(prefix_of(device_of("Bob")), 7)
    assert world.state.role(id_of("Dave")) is Role.MEMBER
    now = world.commits[-1].time + 1
    device = id_of(device_of("Dave"))
    with pytest.raises(UnauthorisedError) as refusal:
        world.graph.check([admit("Erin")], device, now)
    assert refusal.value.rule == "grant_void"
    world.graph.check([rotate("x")], device, now)
    assert world.rule(world.write("Dave", rotate("x"))) == ""
    assert (
        world.graph.authority(device, prefix_of(device_of("Dave")), 2, world.graph.heads).role is Role.MEMBER
    )


def test_policies_say_who_may() -> None:
    world = four()
    assert not world.state.may(id_of("Dave"), "invite")
    assert world.state.may(id_of("Dave"), "post")
    world.write("Alice", Policy("invite", Role.MEMBER))
    world.write("Bob", Policy("post", Role.MODERATOR))
    assert world.state.may(id_of("Dave"), "invite")
    assert not world.state.may(id_of("Dave"), "post")
    assert world.rule(world.write("Dave", admit("Erin"))) == ""


def test_of_concurrent_policies_the_stronger_stands_until_someone_knows_both() -> None:
    world = four()
    before = world.commits[-1]
    world.write("Alice", Policy("post", Role.ADMIN), knowing=[before])
    world.write("Carol", Policy("post", Role.MODERATOR), knowing=[before])
    assert world.state.policy("post") == Role.ADMIN
    check_any_order(world)
    world.write("Carol", Policy("post", Role.MEMBER))
    assert world.state.policy("post") == Role.MEMBER


def test_adding_again_changes_nothing_and_the_past_can_be_asked() -> None:
    world = four()
    heads = world.graph.heads
    world.write("Alice", remove("Dave"))
    assert world.graph.add(world.commits[-1]).standing
    assert len(world.graph) == 5
    assert id_of("Dave") in world.graph.at(heads).members
    assert id_of("Dave") not in world.graph.state.members
    assert world.commits[-1].id in world.graph


@pytest.mark.parametrize("count", [3_000])
def test_one_more_commit_costs_the_same_in_a_long_history(count: int) -> None:
    """By work, not by the clock: the last commit looks at no more of the records than the hundredth."""
    graph = Graph(CHANNEL)
    world = four()
    for commit in world.commits:
        graph.add(commit)
    looked: list[int] = []
    for number in range(count):
        commit = commit_of(
            device_of("Alice"), 10 + number, world.commits[-1].time + 1 + number, graph.heads,
            (set_role("Dave", Role.GUEST if number % 2 == 0 else Role.MEMBER),),
        )  # fmt: skip
        graph.add(commit)
        assert graph.state.role(id_of("Dave")) is (Role.GUEST if number % 2 == 0 else Role.MEMBER)
        looked.append(len(graph.state.standing._known))
    assert looked[-1] <= looked[100]


def test_what_a_commit_names_of_too_many_heads_follows_what_comes() -> None:
    """Answered once and remembered, and asked anew when a fork is told or a commit comes."""
    world = World("Alice")
    world.write("Alice", admit("Bob", Role.ADMIN))
    known = world.write("Alice", admit("Carol", Role.ADMIN))
    half = CONTROL_HEADS_MAX // 2 + 3
    ids = {
        name: {world.write(name, rotate(f"{name} {number}"), knowing=[known]).id for number in range(half)}
        for name in ("Bob", "Carol")
    }
    devices = [id_of(device_of(name)) for name in ("Alice", "Carol")]
    forks: list[int] = []

    def named() -> list[set[bytes]]:
        fresh = Graph(CHANNEL)
        for commit in world.commits:
            fresh.add(commit)
        for seq in forks:
            fresh.add_fork(prefix_of(device_of("Bob")), seq)
        found = [world.graph.frontier(device) for device in devices]
        assert found == [world.graph.frontier(device) for device in devices]
        assert found == [fresh.frontier(device) for device in devices]
        assert all(len(one) == CONTROL_HEADS_MAX for one in found)
        return [set(one) for one in found]

    assert all(ids["Bob"] <= one and not ids["Carol"] <= one for one in named())
    forks.append(1)
    world.graph.add_fork(prefix_of(device_of("Bob")), 1)
    assert all(ids["Carol"] <= one and not ids["Bob"] <= one for one in named())
    removal = world.write("Alice", remove("Carol"), knowing=[known])
    assert all(removal.id in one for one in named())
