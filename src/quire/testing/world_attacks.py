"""What liars do who have a member's keys: every way that we know of to say what is not so.

    parcels = attack(world, liar, channel, "backdated")     # lists of records, for anybody

A liar has a vault like everybody, so that they are let in and learn keys; what they make up is signed by their device
in logs of its own (`Pen`) and sealed under a key that they hold. Honest devices must take nothing from it that the
liar had no right to, must not choke, and must lose nothing of others'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from quire.core import commit
from quire.core.bundle import seal_bundle
from quire.core.bundle_file import Kind, Record
from quire.core.control import (
    Admit,
    Create,
    Invite,
    Link,
    Policy,
    Remove,
    Report,
    RevokeDevice,
    Role,
    Rotate,
    Seal,
    SealedKey,
    SetRole,
)
from quire.core.crypto.epochs import EpochKey, epoch_id, seal_to
from quire.core.crypto.keys import SigningKey
from quire.core.ids import ChannelId, DeviceId, Incarnation
from quire.core.limits import BODY_BYTES_MAX, SEQ_MAX
from quire.core.operation import Delete, Edit, Pin, Post, React
from quire.core.operation_form import encode_operation
from quire.storage import contents, log
from quire.testing.authors import Author, Pen

if TYPE_CHECKING:
    from quire.testing.world import Machine, World

DAY_MS = 24 * 3_600_000
FLOOD = 40  # commits at once that will never be of use
MANY = 2_000  # operations in one commit


class Scene(NamedTuple):
    """A liar in a channel, about to act."""

    world: World
    liar: Machine
    channel: ChannelId
    pen: Pen  # a new log, whose author knows all that the liar's vault knows

    @property
    def now_ms(self) -> int:
        return self.world.edge.now_ms

    def draw(self, count: int = 32) -> bytes:
        return self.world.random.randbytes(count)

    def somebody(self) -> bytes:
        """A person who is or was in the channel."""
        return self.world.random.choice(sorted(self.liar.graph(self.channel).state.everybody))

    def message(self) -> bytes:
        """Somebody's message."""
        found = self.liar.store.get_channel_messages_paginated(self.channel, limit=20).messages
        return self.world.random.choice(found).id if found else self.draw(16)

    def sealed(self, *commits: bytes) -> list[Record]:
        """Commits as a bundle under one of the keys that the liar has."""
        keys = self.liar.keys(self.channel)
        key = EpochKey(keys[self.world.random.choice(sorted(keys))])
        return [Record(Kind.BUNDLE, seal_bundle(list(commits), key, self.channel, self.draw))]


Parcels = list[list[Record]]


def attack(world: World, liar: Machine, channel: ChannelId, name: str) -> Parcels:
    """What a liar makes up: parcels, each for somebody else."""
    author = Author.of(liar.store, seed=world.random.randrange(1 << 30))
    heads = liar.graph(channel).heads
    row = liar.store.channel_row(channel)
    scene = Scene(world, liar, channel, Pen(author, channel, heads, time=row.clock))
    return ATTACKS[name](scene)


def backdated(on: Scene) -> Parcels:
    """As if the liar knew less than they do, at a time when they may have been more."""
    story = on.liar.graph(on.channel).story()
    then = on.world.random.choice(story)
    on.pen.control_heads = (then.id,)
    time_ms = (then.time >> 16) + 1
    said = on.pen.write(Post("said long ago"), time_ms=time_ms)
    did = on.pen.control(on.world.random.choice(_usurpations(on)), time_ms=time_ms + 1)
    return [on.sealed(said, did), on.sealed(did)]


def forked(on: Scene) -> Parcels:
    """Two ways to go on from one place, each told to others."""
    first = on.pen.write(Post("both agree"), time_ms=on.now_ms)
    other = on.pen.fork()
    if on.world.random.random() < 0.5:
        ways = on.pen.write(Post("one way")), other.write(Post("the other way"))
    else:
        ways = on.pen.control(_harmless(on)), other.control(_harmless(on))
    after = on.pen.write(Post("one way, later"))
    return [on.sealed(first, ways[0], after), on.sealed(first, ways[1]), on.sealed(ways[1])]


def own_log_forked(on: Scene) -> Parcels:
    """A copy of the liar's vault goes on where its own log is."""
    db = on.liar.store.database.reader
    own = log.own_log(db, on.liar.store.channel_row(on.channel).n)
    if own is None:
        return forked(on)
    seq, previous = log.newest_commit(db, own.n)
    back = on.world.random.choice((0, 1))
    if back and seq > 1:
        stored = log.get_commit(db, own.n, seq - 1)
        assert stored is not None
        seq, previous = seq - 1, commit.commit_id(stored[0])
    on.pen.incarnation, on.pen.prefix, on.pen.seq, on.pen.previous = (
        Incarnation(own.incarnation),
        own.prefix,
        seq,
        previous,
    )
    return [on.sealed(on.pen.write(Post("by a copy"), time_ms=on.now_ms), on.pen.write(Post("and again")))]


def forged(on: Scene) -> Parcels:
    """In somebody else's name, or somebody else's words changed."""
    victim = on.world.random.choice(on.world.honest)
    salted = commit.with_salts([encode_operation(Post("never said"))], on.draw)
    head = commit.build_head(
        channel=on.channel, device=DeviceId(victim.store.device), incarnation=Incarnation(on.draw(16)), seq=1,
        previous=b"", control_heads=on.pen.control_heads, time=on.now_ms << 16, salted=salted,
    )  # fmt: skip
    mine = on.pen.author.device.sign(commit.to_be_signed(head))
    made_up = commit.encode_commit(commit.Commit(head, mine, tuple(salted)))
    found = [made_up]
    if stored := _somebodys(on):
        true, _ = commit.decode_commit(stored)
        found.append(commit.encode_commit(commit.Commit(true.head, on.draw(64), true.operations)))
        found.append(
            commit.encode_commit(
                commit.Commit(true.head, true.signature, tuple(salted * len(true.operations)))
            )
        )
    return [on.sealed(*found)]


def replayed(on: Scene) -> Parcels:
    """True commits once more, and in another channel's bundle."""
    others = [channel for channel in on.world.channels if channel != on.channel and on.liar.keys(channel)]
    stored = _somebodys(on)
    if not stored:
        return []
    parcels = [on.sealed(stored, stored)]
    if others:
        parcels.append(Scene(on.world, on.liar, on.world.random.choice(others), on.pen).sealed(stored))
    return parcels


def mis_sealed(on: Scene) -> Parcels:
    """A new key, of which some get another, some none, and with links that lead nowhere."""
    state = on.liar.graph(on.channel).state
    db, row = on.liar.store.database.reader, on.liar.store.channel_row(on.channel)
    from quire.store.epochs import recipients

    key, wrong = EpochKey(on.draw()), EpochKey(on.draw())
    epoch = epoch_id(key, on.channel)
    sealed = []
    for device, public in sorted(recipients(db, row, state, state.devices).items()):
        match on.world.random.randrange(4):
            case 0:
                sealed.append(SealedKey(device, seal_to(key, on.channel, device, public)))
            case 1:
                sealed.append(SealedKey(device, seal_to(wrong, on.channel, device, public)))
            case 2:
                sealed.append(SealedKey(device, on.draw(1168)))
    operations: list[Rotate | Seal | Link] = [Rotate(epoch)]
    operations += [Seal(epoch, tuple(sealed))] if sealed else []
    if state.epochs.current:
        operations.append(Link(epoch, state.epochs.current.epoch, on.draw(60)))
    made = on.pen.control(*operations, time_ms=on.now_ms)
    under = Record(Kind.BUNDLE, seal_bundle([on.pen.write(Post("under my key"))], key, on.channel, on.draw))
    return [[*on.sealed(made), under]]


def out_of_order(on: Scene) -> Parcels:
    """What comes later first, and some of it never."""
    commits = [on.pen.control(_harmless(on), time_ms=on.now_ms)]
    commits += [on.pen.control(_harmless(on)) for _ in range(2)]
    commits += [on.pen.write(Post(f"number {n}")) for n in range(3)]
    return [on.sealed(one) for one in reversed(commits) if on.world.random.random() < 0.8]


def from_the_future(on: Scene) -> Parcels:
    """Dated forward by minutes or days."""
    later = on.now_ms + on.world.random.choice((9 * 60_000, 3_600_000, DAY_MS, 4 * DAY_MS))
    said = on.pen.write(Post("from the future"), time_ms=later)
    did = on.pen.control(on.world.random.choice([_harmless(on), *_usurpations(on)]), time_ms=later + 1)
    after = on.pen.write(Post("after that"), React(on.message(), "👀"))
    return [on.sealed(said, did, after), on.sealed(after)]


def about_nothing(on: Scene) -> Parcels:
    """Naming control commits, messages, people, epochs and devices that nobody has heard of."""
    nothing = on.draw(16)
    content = on.pen.write(
        React(nothing, "👍"), Edit(nothing, nothing, "?"), Delete(nothing), Pin(nothing),
        Post("a reply to nothing", root=nothing), time_ms=on.now_ms,
    )  # fmt: skip
    control = on.pen.control(Remove(on.draw()), Report(on.draw()), RevokeDevice(on.draw()))
    on.pen.control_heads = (on.draw(),)
    lost = [on.pen.write(Post("knows what nobody knows")) for _ in range(FLOOD)]
    on.pen.seq = SEQ_MAX - 1
    return [on.sealed(content, control, on.pen.write(Post("the last"))), on.sealed(*lost)]


def huge(on: Scene) -> Parcels:
    """As much as the limits let pass, and more."""
    many = on.pen.write(*[React(on.message(), "🎉")] * MANY, time_ms=on.now_ms)
    long = on.pen.write(Post("x" * BODY_BYTES_MAX))
    longer = on.pen.write_raw(
        [b"\x92\x01\xdb" + (BODY_BYTES_MAX + 1).to_bytes(4, "big") + b"x" * (BODY_BYTES_MAX + 1)]
    )
    on.pen.control_heads = tuple(sorted(on.draw() for _ in range(65)))
    heads = on.pen.write(Post("knows too much"))
    return [on.sealed(many, heads), on.sealed(longer, long)]


def junk(on: Scene) -> Parcels:
    """Bytes of every kind of record, and bundles whose inside is none."""
    kinds = [Record(kind, on.draw(on.world.random.choice((1, 40, 2_000)))) for kind in Kind]
    return [[*kinds, *on.sealed(b"", on.draw(300), on.pen.write_raw([on.draw(20)], time_ms=on.now_ms))]]


def usurping(on: Scene) -> Parcels:
    """What the liar may do, perhaps, and what they may not."""
    chosen = on.world.random.sample(_usurpations(on), 3)
    return [on.sealed(*(on.pen.control(one, time_ms=on.now_ms + n) for n, one in enumerate(chosen)))]


def meddling(on: Scene) -> Parcels:
    """Other people's messages changed, taken back, and their profile."""
    target = on.message()
    return [
        on.sealed(
            on.pen.write(Edit(target, target, "what they never said"), Delete(target), time_ms=on.now_ms)
        )
    ]


def puppets(on: Scene) -> Parcels:
    """People who do not exist are let in, and let in others."""
    puppet = Author(seed=on.world.random.randrange(1 << 30))
    let_in = on.pen.control(Admit((puppet.entry,), Role.ADMIN), time_ms=on.now_ms)
    theirs = Pen(puppet, on.channel, on.pen.control_heads, time=on.pen.time)
    acts = [theirs.control(one) for one in on.world.random.sample(_usurpations(on), 2)]
    return [on.sealed(let_in, *acts, theirs.write(Post("I am a person")))]


def _harmless(on: Scene) -> Policy | Invite:
    if on.world.random.random() < 0.5:
        return Policy("rotation", 48 * 3_600_000)
    return Invite(SigningKey(on.draw()).public, Role.MEMBER, 1, 0)


def _usurpations(on: Scene) -> list[SetRole | Remove | Policy | RevokeDevice | Create | Rotate]:
    who = on.somebody()
    victim = on.world.random.choice(on.world.honest)
    return [
        SetRole(on.liar.identity, Role.OWNER), SetRole(who, Role.GUEST), Remove(who), Remove(who, ban=True),
        Policy("post", Role.OWNER), RevokeDevice(victim.store.device), Rotate(on.draw()),
        Create("channel", "mine", on.draw(16), on.pen.author.entry),
    ]  # fmt: skip


def _somebodys(on: Scene) -> bytes:
    """A content commit of somebody else, whole, as the liar has it; empty if there is none."""
    db = on.liar.store.database.reader
    logs = [
        row
        for row in log.logs_of(db, on.liar.store.channel_row(on.channel).n)
        if row.device != on.liar.store.device
    ]
    found = [(row, seq) for row in logs for seq, _, _ in log.content_commits(db, row)]
    if not found:
        return b""
    row, seq = on.world.random.choice(found)
    stored = log.get_commit(db, row.n, seq)
    assert stored is not None
    operations = tuple(salted for _, salted in contents.commit_operations(db, row.prefix, seq))
    if len(operations) < commit.decode_head(stored[0]).count:
        return b""  # some of it was erased
    return commit.encode_commit(commit.Commit(*stored, operations))


ATTACKS: dict[str, Callable[[Scene], Parcels]] = {
    "backdated": backdated, "forked": forked, "own log forked": own_log_forked, "forged": forged, "replayed": replayed,
    "mis-sealed": mis_sealed, "out of order": out_of_order, "from the future": from_the_future,
    "about nothing": about_nothing, "huge": huge, "junk": junk, "usurping": usurping, "meddling": meddling,
    "puppets": puppets,
}  # fmt: skip
