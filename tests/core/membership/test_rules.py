"""Each rule of docs/spec/06-membership.md, section 3, refuses what it is for, by its name, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quire.core import clock, limits
from quire.core.control import (
    HISTORY_JOINED,
    ControlOperation,
    Decline,
    Device,
    Link,
    Policy,
    Report,
    Role,
    Seal,
    SealedKey,
    Unban,
    Uninvite,
)
from quire.core.membership.rules import RULES
from quire.errors import UnauthorisedError, UsageError
from tests.core.membership.people import (
    SEALED,
    START_MS,
    World,
    add_device,
    admit,
    asking,
    certificate,
    commit_of,
    create,
    device,
    device_of,
    epoch,
    id_of,
    invite,
    invited,
    proof,
    remove,
    revoke,
    rotate,
    seal,
    sealing_of,
    set_role,
)

Refused = tuple[str, str, tuple[ControlOperation, ...]]  # who, rule, operations


def channel() -> World:
    """Alice owns it, Bob and Carol are admins, Dave a moderator, Erin a member, Frank a guest; Mallory is banned."""
    world = World("Alice", "group", rotate("first"))
    world.write(
        "Alice", admit("Bob", Role.ADMIN, devices=(device("Bob"), device("Bob", 2, created_ms=2_000)))
    )
    world.write("Alice", admit("Carol", Role.ADMIN))
    world.write("Alice", admit("Dave", Role.MODERATOR), admit("Erin"), admit("Frank", Role.GUEST))
    world.write("Alice", remove("Mallory", ban=True))
    world.write(
        "Alice", invite("open"), invite("gone"), invite("late", expires_ms=START_MS), invite("once", uses=1)
    )
    world.write("Alice", invite("for Grace", identity=id_of("Grace")), invite("ask", approval=True))
    world.write("Alice", invite("narrow", history=HISTORY_JOINED), Uninvite(id_of("gone")))
    world.write("Alice", invited("Heidi", "once"))
    world.write("Alice", invited("Ivan", "open"))
    world.write("Alice", remove("Ivan"), rotate("second"))
    world.write("Bob", revoke("Bob"), rotate("third"), number=2)
    assert all(one.standing for one in world.graph.story())
    return world


def lifted(person: str, invite_name: str, from_whom: str) -> ControlOperation:
    return admit(person, invite=id_of(invite_name), proof=proof(from_whom, invite_name))


def spoiled(encoded: bytes) -> Device:
    return Device(encoded, sealing_of(device_of("Grace")))


GOOD = certificate("Grace", device_of("Grace"), "Grace", 1_000).encode()
CASES: list[Refused] = [
    ("Grace", "device_unknown", (rotate("x"),)),
    ("Ivan", "author_not_member", (rotate("x"),)),
    ("Bob", "author_revoked", (rotate("x"),)),
    ("Alice", "create_misplaced", (create("Alice"),)),
    ("Alice", "person_twice", (set_role("Erin", Role.ADMIN), remove("Erin"), rotate("x"))),
    ("Erin", "role_too_low", (admit("Grace"),)),
    ("Erin", "role_too_low", (invited("Grace", "open"),)),
    ("Carol", "role_too_low", (admit("Grace", Role.OWNER),)),
    ("Alice", "member_exists", (admit("Erin"),)),
    ("Alice", "member_banned", (admit("Mallory"),)),
    ("Alice", "certificate_length", (admit("Grace", devices=(spoiled(GOOD[:-1]),)),)),
    ("Alice", "certificate_version", (admit("Grace", devices=(spoiled(b"\x07" + GOOD[1:]),)),)),
    ("Alice", "certificate_time", (admit("Grace", devices=(spoiled(GOOD[:129] + b"\xff" + GOOD[130:]),)),)),
    ("Alice", "certificate_signature", (admit("Grace", devices=(spoiled(GOOD[:140] + bytes(61) + GOOD[201:]),)),)),
    ("Alice", "certificate_consent", (admit("Grace", devices=(spoiled(GOOD[:-64] + bytes(64)),)),)),
    ("Alice", "certificate_sealing", (admit("Grace", devices=(Device(GOOD, bytes(1216)),)),)),
    ("Alice", "certificate_identity", (admit("Grace", devices=(device("Grace"), device("Judy"))),)),
    ("Alice", "certificate_chain", (admit("Grace", devices=(device("Grace", 2, device_of("Grace")),)),)),
    ("Alice", "device_twice", (admit("Grace", devices=(device("Grace"), device("Grace"))),)),
    ("Alice", "device_taken", (admit("Grace", devices=(Device(
        certificate("Grace", device_of("Erin"), "Grace", 1_000).encode(), sealing_of(device_of("Erin"))),)),)),
    ("Bob 2", "device_revoked", (add_device("Bob", 1, created_ms=9_000),)),
    ("Bob 2", "device_exists", (add_device("Bob", 2, created_ms=2_000),)),
    ("Erin", "device_foreign", (add_device("Frank", 2),)),
    ("Erin", "device_foreign", (revoke("Frank"), rotate("x"))),
    ("Alice", "invite_unknown", (invited("Grace", "nowhere"),)),
    ("Alice", "invite_withdrawn", (invited("Grace", "gone"),)),
    ("Alice", "invite_expired", (invited("Grace", "late"),)),
    ("Alice", "invite_proof", (lifted("Grace", "open", "Judy"),)),
    ("Alice", "invite_personal", (invited("Judy", "for Grace"),)),
    ("Alice", "invite_role", (invited("Grace", "open", Role.ADMIN),)),
    ("Alice", "invite_history", (invited("Grace", "narrow"),)),
    ("Alice", "invite_replayed", (invited("Ivan", "open"),)),
    ("Alice", "invite_used_up", (invited("Grace", "once"),)),
    ("Alice", "invite_exists", (invite("open"),)),
    ("Carol", "role_too_low", (invite("x", Role.OWNER),)),
    ("Erin", "role_too_low", (Uninvite(id_of("open")),)),
    ("Alice", "invite_unknown", (Uninvite(id_of("nowhere")),)),
    ("Alice", "invite_withdrawn", (Uninvite(id_of("gone")),)),
    ("Alice", "member_unknown", (set_role("Grace", Role.ADMIN),)),
    ("Carol", "not_outranked", (set_role("Alice", Role.MEMBER),)),
    ("Carol", "not_outranked", (set_role("Bob", Role.MEMBER),)),
    ("Carol", "role_raised_by_oneself", (set_role("Carol", Role.OWNER),)),
    ("Dave", "role_too_low", (set_role("Erin", Role.GUEST),)),
    ("Carol", "role_too_low", (set_role("Erin", Role.OWNER),)),
    ("Alice", "role_same", (set_role("Erin", Role.MEMBER),)),
    ("Alice", "member_unknown", (remove("Grace"),)),
    ("Alice", "already_banned", (remove("Mallory", ban=True),)),
    ("Carol", "not_outranked", (remove("Bob"), rotate("x"))),
    ("Dave", "not_outranked", (remove("Carol"), rotate("x"))),
    ("Erin", "role_too_low", (remove("Frank"), rotate("x"))),
    ("Alice", "rotation_missing", (remove("Erin"),)),
    ("Alice", "not_banned", (Unban(id_of("Erin")),)),
    ("Dave", "role_too_low", (Unban(id_of("Mallory")),)),
    ("Dave", "role_too_low", (Policy("post", Role.ADMIN),)),
    ("Frank", "role_too_low", (asking("Grace", "ask"),)),
    ("Erin", "invite_needs_no_approval", (asking("Grace", "open"),)),
    ("Erin", "member_exists", (asking("Frank", "ask"),)),
    ("Alice", "nobody_asked", (Decline(id_of("Grace")),)),
    ("Frank", "role_too_low", (rotate("x"),)),
    ("Alice", "epoch_exists", (rotate("first"),)),
    ("Alice", "epoch_exists", (rotate("x"), rotate("x"))),
    ("Alice", "epoch_unknown", (seal("x", device_of("Erin")),)),
    ("Alice", "epoch_unknown", (rotate("x"), Link(epoch("x"), epoch("nowhere"), bytes(60)))),
    ("Frank", "epoch_unknown", (Report(epoch("x")),)),
]  # fmt: skip


@pytest.mark.parametrize(("who", "rule", "operations"), CASES, ids=[f"{one[1]}-{one[0]}" for one in CASES])
def test_refused_for_its_name_and_without_effect(
    who: str, rule: str, operations: tuple[ControlOperation, ...]
) -> None:
    world = channel()
    before = world.roles()
    who, _, number = who.partition(" ")
    device_id = id_of(device_of(who, int(number or 1)))
    with pytest.raises(UnauthorisedError) as refusal:
        world.graph.check(operations, device_id, clock.at(START_MS + 1_000_000))
    assert refusal.value.rule == rule
    void = world.write(who, *operations, number=int(number or 1))
    assert world.rule(void) == rule
    assert not world.verdict(void).contested
    assert world.roles() == before
    assert world.rule(world.write("Alice", rotate("after"))) == "", "a void commit stops nobody who names it"


def test_every_rule_has_a_case_and_a_line_in_the_spec() -> None:
    page = (Path(__file__).parents[3] / "docs" / "spec" / "06-membership.md").read_text()
    names = {rule.__name__ for rules in RULES.values() for rule in rules}
    elsewhere = {
        "self_channel",
        "history_too_wide",
        "members_max",
        "devices_max",
        "device_senior",
        "ask_exists",
    }
    assert names - elsewhere <= {rule for _, rule, _ in CASES}
    points = (
        {rule for _, rule, _ in CASES} | names | {"time_not_after", "founded_twice", "certificate_device"}
    )
    later = {
        "grant_void", "forked", "removed_before", "role_lowered_before", "device_revoked_before", "invite_void",
        "invite_withdrawn", "invite_used_up",
    }  # fmt: skip
    assert not {rule for rule in points | later if f"`{rule}`" not in page}


def test_the_role_that_would_do_is_told() -> None:
    world = channel()

    def role(who: str, *operations: ControlOperation) -> Role:
        with pytest.raises(UnauthorisedError) as refusal:
            world.graph.check(operations, id_of(device_of(who)), clock.at(START_MS + 1_000_000))
        found = refusal.value.details["role"]
        assert isinstance(found, Role)
        return found

    assert role("Erin", remove("Frank"), rotate("x")) is Role.MODERATOR
    assert role("Dave", remove("Carol"), rotate("x")) is Role.OWNER, "Carol has been admin for longer"
    assert role("Carol", remove("Bob"), rotate("x")) is Role.OWNER
    assert role("Erin", admit("Grace", Role.ADMIN)) is Role.ADMIN
    assert role("Erin", Policy("post", Role.ADMIN)) is Role.ADMIN
    assert role("Alice", remove("Erin")) is Role.NONE, "no role would do"
    assert world.graph.check(
        [remove("Erin"), rotate("x")], id_of(device_of("Dave")), clock.at(START_MS + 10**6)
    ) is (Role.MODERATOR)


def test_time_must_pass() -> None:
    world = channel()
    last = world.commits[-1].time >> 16
    assert world.rule(world.write("Alice", rotate("x"), at_ms=last)) == "time_not_after"
    assert world.rule(world.write("Alice", rotate("x"), at_ms=last + 1)) == ""


def test_a_void_commit_from_the_future_does_not_hold_up_the_others() -> None:
    world = channel()
    world.write("Grace", rotate("x"), at_ms=START_MS + 10**12)
    assert world.rule(world.write("Alice", rotate("y"))) == ""


def test_a_channel_is_founded_once_and_by_its_creator() -> None:
    world = channel()
    second = world.write("Mallory", create("Mallory"), knowing=[])
    assert world.rule(second) == "founded_twice"
    assert World("Alice").write("Alice", rotate("x"), create("Alice")) is not None
    other = World("Alice")
    foreign = commit_of(device_of("Bob"), 1, clock.at(START_MS), (), (create("Alice"),))
    graph = type(other.graph)(other.graph.channel)
    assert graph.add(foreign).rule == "certificate_device"
    assert not graph.state.members


def test_a_channel_is_founded_by_any_device_whose_certificates_lead_to_its_creator() -> None:
    second, third = add_device("Alice", 2, device_of("Alice")), add_device("Alice", 3, device_of("Alice", 2))
    cases: list[tuple[str, str, tuple[ControlOperation, ...]]] = [
        ("", device_of("Alice", 3), (second, third)),
        ("", device_of("Alice"), (second,)),
        ("certificate_chain", device_of("Alice", 3), (third, second)),  # each after the one that certified it
        ("certificate_chain", device_of("Alice", 3), (third,)),
        ("certificate_device", device_of("Mallory"), (second,)),  # who copied them and owns none
        ("device_foreign", device_of("Mallory", 2), (add_device("Mallory", 2),)),
        ("device_exists", device_of("Alice"), (second, second)),
        ("devices_max", device_of("Alice"), tuple(add_device("Alice", n) for n in range(2, 34))),
    ]
    for rule, writer, added in cases:
        world = World("Alice")
        graph = type(world.graph)(world.graph.channel)
        founding = commit_of(writer, 1, clock.at(START_MS), (), (create("Alice"), *added))
        assert graph.add(founding).rule == rule
        if rule:
            assert not graph.state.members
        else:
            assert set(graph.state.devices) == {
                id_of(device_of("Alice", n)) for n in range(1, len(added) + 2)
            }
            assert graph.state.role(graph.verdict(founding.id).identity) is Role.OWNER


def test_the_self_channel_has_one_person() -> None:
    world = World("Alice", "self")
    for operation in (
        admit("Bob"), invite("x"), remove("Alice"), set_role("Alice", Role.MEMBER), Uninvite(bytes(32)),
        asking("Bob", "x"), Decline(bytes(32)), Unban(bytes(32)),
    ):  # fmt: skip
        assert world.rule(world.write("Alice", operation)) == "self_channel"
    assert world.rule(world.write("Alice", add_device("Alice", 2))) == ""
    world.write("Alice", rotate("x"), seal("x", device_of("Alice", 2)))
    assert world.state.epochs.lacking(epoch("x")) == {id_of("Alice")}, (
        "the recovery key, under the identity's name"
    )
    key = Seal(epoch("x"), (SealedKey(id_of("Alice"), SEALED),))
    world.write("Alice", key)
    assert world.state.epochs.change_needed(START_MS) is None


def test_nobody_is_shown_more_than_the_policy_says() -> None:
    world = channel()
    world.write("Alice", Policy("history", HISTORY_JOINED))
    assert world.rule(world.write("Carol", admit("Grace"))) == "history_too_wide"
    assert world.rule(world.write("Carol", invite("wide"))) == "history_too_wide"
    assert world.rule(world.write("Carol", invited("Judy", "open"))) == "", "that invite was made before"
    assert world.rule(world.write("Carol", admit("Grace", history=HISTORY_JOINED))) == ""
    world.write("Alice", Policy("history", START_MS))
    assert world.rule(world.write("Carol", invite("earlier", history=START_MS - 1))) == "history_too_wide"
    assert world.rule(world.write("Carol", invite("later", history=START_MS + 1))) == ""


def test_the_same_request_is_passed_on_once() -> None:
    world = channel()
    assert world.rule(world.write("Erin", asking("Grace", "ask"))) == ""
    assert id_of("Grace") in world.state.asks
    assert world.rule(world.write("Dave", asking("Grace", "ask"))) == "ask_exists"
    assert world.rule(world.write("Carol", Decline(id_of("Grace")))) == ""
    assert not world.state.asks
    assert world.rule(world.write("Dave", asking("Grace", "ask"))) == ""
    assert world.rule(world.write("Carol", invited("Grace", "ask"))) == ""
    assert not world.state.asks


@pytest.mark.parametrize("limit", ["MEMBERS_MAX", "DEVICES_PER_MEMBER_MAX"])
def test_limits_hold_and_one_more_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, limit, 3)
    world = World("Alice")
    act: Callable[[int], ControlOperation]
    if limit == "MEMBERS_MAX":
        rule, act = "members_max", lambda number: admit(f"P{number}")
    else:
        rule, act = "devices_max", lambda number: add_device("Alice", number)
    assert [world.rule(world.write("Alice", act(number))) for number in (2, 3, 4)] == ["", "", rule]


def test_an_unknown_ancestor_is_the_caller_s_mistake() -> None:
    world = channel()
    orphan = commit_of(device_of("Alice"), 99, clock.at(START_MS + 10**6), (bytes(32),), (rotate("x"),))
    for ask in (lambda: world.graph.add(orphan), lambda: world.graph.at([bytes(32)])):
        with pytest.raises(UsageError) as mistake:
            ask()
        assert mistake.value.rule == "control_head_unknown"
    assert world.rule(world.write("Alice", rotate("x"))) == ""
