"""Somebody who hands us bytes: a stranger who knows our card, or a member whose program lies. Whatever is refused is
refused by its name, and leaves our vault as it was."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from quire.core.bundle import seal_bundle
from quire.core.bundle_file import Kind, Record
from quire.core.commit import Commit, decode_commit, encode_commit
from quire.core.control import HISTORY_ALL, Admit, Policy, Role
from quire.core.crypto import aead
from quire.core.crypto.epochs import EpochKey
from quire.core.ids import ChannelId
from quire.core.invite import InviteSecret, JoinRequest, join_proof, seal_request
from quire.core.limits import AHEAD_MS_MAX
from quire.core.operation import Post
from quire.core.packing import packed
from quire.core.welcome import seal_welcome
from quire.store.wallclock import now_ms
from quire.testing.authors import Author
from quire.testing.people import Person
from tests.attacks.attacker import Hostile, rules, sealed, seen_afterwards, unmoved
from tests.people.conftest import Make, team_of

Lie = Callable[[Person, Hostile, ChannelId], Record]
LIES: dict[str, Lie] = {}


def lie(rule: str) -> Callable[[Lie], Lie]:
    """Name a lie by the rule that refuses it."""

    def note(told: Lie) -> Lie:
        assert rule not in LIES
        LIES[rule] = told
        return told

    return note


def welcome(to: Person, channel: ChannelId, *commits: bytes) -> Record:
    return Record(Kind.WELCOME, seal_welcome(channel, commits, [Author.of(to.store).sealing], os.urandom))


# Bundles


@lie("bundle_size")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.BUNDLE, b"\1" * 20)


@lie("bundle_version")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.BUNDLE, b"\2" + bob.sealed(team).data[1:])


@lie("bundle_open")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    data = bob.sealed(team, bob.pen(team).write(Post("x"))).data
    return Record(Kind.BUNDLE, data[:-1] + bytes([data[-1] ^ 1]))


@lie("bundle_commits")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.BUNDLE, seal_bundle([7], EpochKey(bob.key(team)), team, os.urandom))  # type: ignore[list-item]


@lie("bundle_channel")
def a_commit_of_another_channel_under_a_key_that_is_ours(
    ada: Person, bob: Hostile, team: ChannelId
) -> Record:
    other = bob.author.channel()
    return sealed(team, [other.founding], bob.key(team))


@lie("commit")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return bob.sealed(team, b"\x93\xc0\xc0\xc0")


@lie("commit_signature")
def in_somebody_elses_name(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    hers = Hostile(ada)
    hers.author.device = bob.author.device
    pen = hers.pen(team)
    forged, head = decode_commit(pen.write(Post("I, Ada")))
    swapped = forged.head.replace(head.device, Author.of(ada.store).device.public)
    return bob.sealed(team, encode_commit(Commit(swapped, forged.signature, forged.operations)))


@lie("content_root_differs")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    said, _ = decode_commit(bob.pen(team).write(Post("one")))
    other, _ = decode_commit(bob.pen(team).write(Post("two")))
    return bob.sealed(team, encode_commit(Commit(said.head, said.signature, other.operations)))


@lie("control_mixed")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return bob.sealed(team, bob.pen(team).write(Post("x"), Policy("rotation", 7_200_000)))


@lie("device_unknown")
def a_stranger_who_was_given_the_key(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    pen = bob.pen(team)
    pen.author = Author(seed=99)
    return bob.sealed(team, pen.write(Post("let me talk")))


@lie("log_of_another_channel")
def the_same_log_in_two_channels(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    second = ada.chat.create_channel("second").id
    ada.chat.add_member(second, bob.person.chat.key_card())
    bob.person.take(ada.give())
    pen, twin = bob.pen(team), bob.pen(second)
    assert rules(ada.take([bob.sealed(team, pen.write(Post("here")))])) == []
    twin.incarnation, twin.prefix = pen.incarnation, pen.prefix
    return bob.sealed(second, twin.write(Post("and there")))


# Welcomes


@lie("welcome_size")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.WELCOME, b"\1")


@lie("welcome_version")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.WELCOME, b"\2" + welcome(ada, team).data[1:])


@lie("welcome_recipients")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.WELCOME, b"\1\0" + bytes(2_000))


@lie("sealing_open")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    data = bytearray(welcome(ada, team).data)
    data[40] ^= 1
    return Record(Kind.WELCOME, bytes(data))


@lie("welcome_open")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    data = welcome(ada, team).data
    return Record(Kind.WELCOME, data[:-1] + bytes([data[-1] ^ 1]))


@lie("welcome_not_member")
def into_a_channel_that_we_are_not_in(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    channel = Author(seed=5).channel("spam")
    return welcome(ada, channel.id, channel.founding, channel.pen.admit(bob.author))


@lie("channel_id_differs")
def with_somebody_elses_founding(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    eve = Author(seed=5)
    channel, other = eve.channel("spam"), eve.channel("else")
    pen = eve.pen(channel)
    pen.control_heads = ()
    create = decode_commit(other.founding)[0].operations[0][16:]
    founding = pen.write_raw([create])
    pen.note()
    return welcome(ada, channel.id, founding, pen.admit(Author.of(ada.store)))


@lie("founded_ahead")
def a_channel_from_the_future(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    eve = Author(seed=5)
    channel = eve.channel("tomorrow", time_ms=now_ms() + 2 * AHEAD_MS_MAX)
    return welcome(ada, channel.id, channel.founding, channel.pen.admit(Author.of(ada.store)))


# Requests


def request(bob: Hostile, team: ChannelId, **changed: object) -> bytes:
    secret = InviteSecret(bytes(16))
    key = secret.key(team)
    fields = {
        "channel": team, "card": bob.person.chat._card(), "invite": key.public,
        "proof": join_proof(key, team, bob.person.identity), "name": "bob", "created_ms": 1,
    } | changed  # fmt: skip
    return seal_request(JoinRequest(**fields), bob.author.device, os.urandom)  # type: ignore[arg-type]


@lie("request_size")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.REQUEST, bytes(81_921))


@lie("request_version")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.REQUEST, b"\2" + request(bob, team)[1:])


@lie("request_open")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    link = ada.chat.create_invite(team)
    key = link.secret.key(team)
    whole = request(bob, team, invite=key.public, proof=join_proof(key, team, bob.person.identity))
    return Record(Kind.REQUEST, whole[:-1] + bytes([whole[-1] ^ 1]))


# Carried self-channels


@lie("carried")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return Record(Kind.KEPT, b"\x93\1\2\3")


@lie("carried_signature")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return bob.carried(bob.person.identity, forged=True)


@lie("carried_part")
def _(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return bob.carried(ada.identity, ((int(Kind.REQUEST), b"x"),))


@lie("carried_ahead")
def nothing_would_ever_replace_it(ada: Person, bob: Hostile, team: ChannelId) -> Record:
    return bob.carried(bob.person.identity, stamp_ms=now_ms() + 2 * AHEAD_MS_MAX)


def test_every_lie_has_its_name_and_leaves_nothing(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    for rule, tell in LIES.items():
        told = tell(ada, Hostile(bob), team)
        with unmoved(ada):
            refused = rules(ada.take([told]))
        assert refused[0] == rule
        assert set(refused[1:]) <= {"channel_unknown"}, rule  # of a channel that did not come to be
    seen = seen_afterwards(ada, team)
    assert seen["members"] == sorted([ada.identity.hex(), bob.identity.hex()])


def test_a_stamp_that_is_no_time_is_refused(people: Make) -> None:
    """An integer that the database has no room for was a crash."""
    ada, bob = people("ada", "bob")
    team_of(ada, bob)
    with unmoved(ada):
        for stamp_ms in (-1, 1 << 63, (1 << 64) - 1):
            assert rules(ada.take([Hostile(bob).carried(bob.identity, stamp_ms=stamp_ms)])) == ["carried"]


def test_what_unpacks_to_more_than_it_may_is_refused_unopened(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    hostile = Hostile(bob)
    header = hostile.sealed(team).data[:49]
    from quire.core.bundle import _key

    key = _key(EpochKey(hostile.key(team)), team, header[17:])
    bomb = header + aead.encrypt(key, aead.ZERO_NONCE, packed(bytes(17 << 20)), header)
    assert len(bomb) < 10_000
    with unmoved(ada):
        assert rules(ada.take([Record(Kind.BUNDLE, bomb)])) == ["bundle_too_large"]


@pytest.mark.slow
@pytest.mark.bounded
def test_a_welcome_makes_nobody_more_than_its_commits_prove(people: Make) -> None:
    """A stranger founds a channel, admits us and claims that an honest person is in it; nothing of ours is in it."""
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    eve = Author(seed=5)
    channel = eve.channel("come in")
    pen = channel.pen
    admitted = pen.admit(Author.of(ada.store), Role.OWNER)
    claimed = pen.control(Admit((Author.of(bob.store).entry,), Role.OWNER, HISTORY_ALL))
    assert rules(ada.take([welcome(ada, channel.id, channel.founding, admitted, claimed)])) == []
    assert ada.role(channel.id) == "owner"  # which anybody can give in a channel of their own
    ada.chat.leave_channel(channel.id)
    assert seen_afterwards(ada, team)["members"] == sorted([ada.identity.hex(), bob.identity.hex()])


def test_a_junk_copy_does_not_stand_in_for_the_true_commit(people: Make) -> None:
    """It waits for control commits that are not here yet: under the same id as the true one, which must still count."""
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    hostile = Hostile(bob)
    granted = hostile.pen(team).control(Policy("rotation", 7_200_000))
    decoded, _ = decode_commit(granted)
    from quire.core.commit import commit_id

    late = hostile.pen(team, (commit_id(decoded.head),)).write(Post("true"))
    received, _ = decode_commit(late)
    junk = encode_commit(Commit(received.head, bytes(64), received.operations))
    with unmoved(ada):
        assert rules(ada.take([hostile.sealed(team, junk)])) == ["commit_signature"]
    assert ada.take([hostile.sealed(team, late)]).parked == 1
    ada.take([hostile.sealed(team, granted)])
    assert seen_afterwards(ada, team)["bodies"] == ["true"]
