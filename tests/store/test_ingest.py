"""Commits of other logs: what is taken, what is refused and why, and that a refusal is one commit's alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quire.channels.manager import ChannelManager
from quire.core import commit, limits
from quire.core.commit import Commit, decode_commit, encode_commit
from quire.core.control import Create, Device
from quire.core.crypto import keys
from quire.core.encoding import encode
from quire.core.ids import MessageId
from quire.core.operation import Origin, Post, React
from quire.core.operation_form import encode_operation
from quire.errors import MalformedError, PeerError, UnauthorisedError
from quire.storage import log
from quire.store import keeping, parking, placing, wallclock
from quire.store.ingest import IngestReport
from quire.store.local import LocalStore
from quire.testing.authors import START_MS, Author, Channel, Pen
from tests import oracle, vaults


@pytest.fixture
def author() -> Author:
    return Author(seed=1)


@pytest.fixture
def channel(author: Author, store: LocalStore) -> Channel:
    """A channel of someone else's that the vault's owner was let into."""
    channel = author.channel()
    assert rules(store.ingest([channel.founding, channel.pen.admit(Author.of(store))])) == []
    return channel


def rules(report: IngestReport) -> list[str]:
    return [refused.error.rule for refused in report.refused]


def bodies(store: LocalStore, channel: Channel) -> list[str]:
    return [message.body for message in store.get_channel_messages(channel.id)]


def changed(encoded: bytes, **fields: object) -> bytes:
    """A commit with parts replaced, signature and all else as they were."""
    original, _ = decode_commit(encoded)
    parts = {
        "head": original.head,
        "signature": original.signature,
        "operations": original.operations,
        **fields,
    }
    return encode_commit(Commit(**parts))  # type: ignore[arg-type]


def test_a_channel_and_its_messages_appear(store: LocalStore, author: Author) -> None:
    channel = author.channel("garden")
    pen = author.pen(channel)
    hello = pen.next_id()
    report = store.ingest([channel.founding, pen.write(Post("hello")), pen.write(React(hello, "👋"))])
    assert (report.new, report.repeated, report.refused) == (3, 0, ())
    [info] = ChannelManager(store).list_channels()
    assert (info.name, info.messages) == ("garden", 1)
    message = store.get_message(hello)
    assert (message.body, message.author.id, message.author.own) == ("hello", author.key, False)
    assert [(r.emoji, r.count) for r in message.reactions] == [("👋", 1)]
    oracle.check(store)


def test_it_survives_a_restart(store: LocalStore, channel: Channel) -> None:
    store.ingest([channel.pen.write(Post("kept"))])
    store = vaults.reopened(store)
    assert bodies(store, channel) == ["kept"]
    store.close()


def test_repeated_commits_change_nothing(store: LocalStore, channel: Channel) -> None:
    first = channel.pen.write(Post("once"))
    report = store.ingest([first, channel.founding, first])
    assert (report.new, report.repeated) == (1, 2)
    report = store.ingest([first])
    assert (report.new, report.repeated) == (0, 1)
    assert bodies(store, channel) == ["once"]


def test_a_log_may_come_backwards_and_with_gaps(store: LocalStore, channel: Channel) -> None:
    commits = [channel.pen.write(Post(str(n))) for n in range(5)]
    for one in reversed(commits[1:]):
        assert store.ingest([one]).new == 1
    assert bodies(store, channel) == ["1", "2", "3", "4"]
    assert store.verify().ok  # the gap is no damage
    store.ingest(commits)
    assert bodies(store, channel) == ["0", "1", "2", "3", "4"]
    oracle.check(store)


def test_one_poisoned_commit_stops_nothing(store: LocalStore, channel: Channel, author: Author) -> None:
    good = [author.pen(channel).write(Post(f"good {n}")) for n in range(3)]
    report = store.ingest([good[0], b"\x00", good[1], b"", changed(good[1], signature=bytes(64)), good[2]])
    assert report.new == 3
    assert [refused.position for refused in report.refused] == [1, 3]  # the fifth was here already, by its id
    assert sorted(bodies(store, channel)) == ["good 0", "good 1", "good 2"]


def test_a_forged_signature_is_refused_and_the_true_one_still_taken(
    store: LocalStore, channel: Channel
) -> None:
    true = channel.pen.write(Post("mine"))
    forged = changed(true, signature=Author(seed=9).device.sign(b"something else"))
    report = store.ingest([forged])
    assert rules(report) == ["commit_signature"]
    assert isinstance(report.refused[0].error, MalformedError)
    assert bodies(store, channel) == []
    assert store.ingest([true]).new == 1


def test_a_signature_must_be_the_one_that_heads_are_signed_with(store: LocalStore, channel: Channel) -> None:
    true = channel.pen.write(Post("x"))
    bare = channel.pen.author.device.sign(decode_commit(true)[0].head)  # without the label
    assert rules(store.ingest([changed(true, signature=bare)])) == ["commit_signature"]


def test_one_signature_is_verified_for_each_unbroken_run(
    store: LocalStore, channel: Channel, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[bytes] = []

    def watched(public: bytes, signature: bytes, message: bytes) -> bool:
        verified.append(signature)
        return keys.verify(public, signature, message)

    monkeypatch.setattr(placing, "verify", watched)
    other = author.pen(channel)
    commits = [channel.pen.write(Post(str(n))) for n in range(10)]
    more = [other.write(Post(str(n))) for n in range(10)]
    del commits[4]  # two runs
    assert store.ingest(commits + more).new == 19
    lasts = [commits[3], commits[-1], more[-1]]
    assert sorted(verified) == sorted(decode_commit(last)[0].signature for last in lasts)
    store.ingest(commits)
    assert len(verified) == 3  # what is here already costs none


def test_a_log_that_comes_newest_first_costs_one_signature_in_all(
    store: LocalStore, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept names the one before it, also in batches and transactions that came earlier."""
    verified: list[bytes] = []

    def watched(public: bytes, signature: bytes, message: bytes) -> bool:
        verified.append(signature)
        return keys.verify(public, signature, message)

    monkeypatch.setattr(placing, "verify", watched)
    commits = [channel.pen.write(Post(str(n))) for n in range(12)]
    for start in (9, 6, 3, 0):
        store = vaults.reopened(store)
        assert store.ingest(commits[start : start + 3]).new == 3
    assert verified == [decode_commit(commits[-1])[0].signature]
    assert bodies(store, channel) == [str(n) for n in range(12)]


def test_only_what_is_kept_vouches_for_what_is_before_it(store: LocalStore, channel: Channel) -> None:
    """Neither a refused commit nor one that waits whole lets one in that nobody signed."""
    first = channel.pen.write(Post("first"))
    junk = changed(first, signature=bytes(64))
    refused = changed(channel.pen.fork().write(Post("second")), signature=bytes(64))
    assert rules(store.ingest([junk, refused])) == ["commit_signature", "commit_signature"]
    ahead = channel.pen.fork()
    ahead.control_heads = (bytes(32),)
    report = store.ingest([junk, ahead.write(Post("waits"))])
    assert (report.parked, rules(report)) == (1, ["commit_signature"])
    stranger = Author(seed=8).pen(channel)
    stranger.incarnation, stranger.seq, stranger.previous = channel.pen.incarnation, 1, channel.pen.previous
    assert rules(store.ingest([junk, stranger.write(Post("not of this log"))]))[0] == "commit_signature"
    assert store.ingest([junk, first]).new == 1  # a false copy does not stand in the way of the true one
    assert bodies(store, channel) == ["first"]


def test_control_commits_and_what_waits_are_signed_themselves(
    store: LocalStore, channel: Channel, author: Author
) -> None:
    bob = Author(seed=2)
    admitted = changed(channel.pen.admit(bob), signature=bytes(64))
    after = channel.pen.write(Post("names it"))
    report = store.ingest([admitted, after])
    assert (report.new, report.parked, rules(report)) == (0, 1, ["commit_signature"])
    waiting = author.pen(channel)
    waiting.control_heads = (bytes(32),)
    forged = changed(waiting.write(Post("who says so?")), signature=bytes(64))
    assert rules(store.ingest([forged])) == ["commit_signature"]


def test_a_run_whose_last_signature_is_forged_keeps_the_rest(store: LocalStore, channel: Channel) -> None:
    commits = [channel.pen.write(Post(str(n))) for n in range(3)]
    report = store.ingest([*commits[:2], changed(commits[2], signature=bytes(64))])
    assert (report.new, rules(report)) == (2, ["commit_signature"])
    assert bodies(store, channel) == ["0", "1"]


def test_what_does_not_link_to_its_neighbour_begins_a_branch(
    store: LocalStore, channel: Channel, author: Author
) -> None:
    here, there = author.pen(channel), author.pen(channel)
    there.incarnation, there.prefix = here.incarnation, here.prefix
    first = here.write(Post("first"))
    store.ingest([here.write(Post("second"))])
    assert store.ingest([there.write(Post("another first"))]).new == 1
    assert store.verify().ok
    assert store.ingest([first]).new == 1  # the gap between the two sides closes
    assert sorted(bodies(store, channel)) == ["another first", "first", "second"]
    oracle.check(store)
    assert store.verify().ok


def test_a_stranger_may_not_write(store: LocalStore, channel: Channel) -> None:
    report = store.ingest([Author(seed=2).pen(channel).write(Post("let me in"))])
    assert rules(report) == ["device_unknown"]
    assert isinstance(report.refused[0].error, UnauthorisedError)
    assert bodies(store, channel) == []
    assert len(log.logs(store.database.reader)) == 2  # no trace of a log either


def test_an_unknown_channel(store: LocalStore, author: Author) -> None:
    assert rules(store.ingest([author.channel().pen.write(Post("x"))])) == ["channel_unknown"]


def test_what_names_unknown_control_commits_waits(
    store: LocalStore, channel: Channel, author: Author
) -> None:
    for heads in ((bytes(32),), tuple(sorted((channel.genesis, bytes(32))))):
        report = store.ingest([Pen(author, channel.id, heads).write(Post("x"))])
        assert (report.new, report.parked, report.refused) == (0, 1, ())
    assert rules(store.ingest([Pen(author, channel.id, ()).write(Post("x"))])) == ["device_unknown"]
    assert bodies(store, channel) == []
    assert store.verify().ok


def test_a_malformed_operation_refuses_its_commit_whole(store: LocalStore, channel: Channel) -> None:
    good, bad = encode_operation(Post("good")), b"\x92\xa1x\x01"
    assert rules(store.ingest([channel.pen.write_raw([good, bad])])) == ["operation"]
    assert bodies(store, channel) == []


def test_an_import_may_not_speak_for_a_person(store: LocalStore, channel: Channel) -> None:
    forged = encode(Post("x", origin=Origin("quire", "00" * 32, "", START_MS)))
    assert rules(store.ingest([channel.pen.write_raw([forged])])) == ["origin_source"]


FOUNDINGS: list[tuple[str, Callable[[Author], bytes]]] = [
    ("channel_id_differs", lambda a: Pen(a, a.channel().id, ()).write(_create(a))),
    ("create_misplaced", lambda a: _founding(a, _create(a), seq=1)),
    ("certificate_device", lambda a: _founding(a, _create(Author(seed=7)))),
    ("certificate_length", lambda a: _founding(a, _create(a, certificate=b"short"))),
    ("certificate_signature", lambda a: _founding(a, _create(a, certificate=_flipped(a)))),
    ("self_channel_foreign", lambda a: _founding(a, _create(a, kind="self"))),
    ("commit_signature", lambda a: changed(a.channel().founding, signature=bytes(64))),
]


def _create(author: Author, *, kind: str = "channel", certificate: bytes | None = None) -> Create:
    given = author.certificate.encode() if certificate is None else certificate
    recovery = author.sealing if kind == "self" else b""
    return Create(kind, "x", bytes(16), Device(given, author.sealing), recovery)


def _flipped(author: Author) -> bytes:
    encoded = author.certificate.encode()
    return encoded[:140] + bytes([encoded[140] ^ 1]) + encoded[141:]


def _founding(author: Author, create: Create, seq: int = 0) -> bytes:
    pen = Pen(
        author, commit.channel_id(encode_operation(create)), (), seq=seq, previous=bytes(32) if seq else b""
    )
    return pen.write(create)


@pytest.mark.parametrize(("rule", "build"), FOUNDINGS, ids=[rule for rule, _ in FOUNDINGS])
def test_a_channel_that_does_not_begin_as_it_must(
    rule: str, build: Callable[[Author], bytes], store: LocalStore, author: Author
) -> None:
    before = log.all_channels(store.database.reader)
    assert rules(store.ingest([build(author)])) == [rule]
    assert log.all_channels(store.database.reader) == before
    assert store.verify().ok


def test_a_second_create_in_a_commit_is_misplaced(
    store: LocalStore, channel: Channel, author: Author
) -> None:
    assert rules(store.ingest([channel.pen.write(Post("x"), _create(author))])) == ["create_misplaced"]


def test_two_logs_with_one_prefix(
    store: LocalStore, channel: Channel, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = author.pen(channel), author.pen(channel)
    taken = first.prefix
    monkeypatch.setattr(keeping, "log_prefix", lambda device, incarnation: taken)
    assert rules(store.ingest([first.write(Post("a")), second.write(Post("b"))])) == ["prefix_taken"]
    assert bodies(store, channel) == ["a"]


def test_a_log_belongs_to_one_channel(store: LocalStore, channel: Channel, author: Author) -> None:
    other = author.channel("other")
    stray = author.pen(other)
    stray.incarnation, stray.prefix = channel.pen.incarnation, channel.pen.prefix
    report = store.ingest([other.founding, stray.write(Post("x"))])
    assert rules(report) == ["log_of_another_channel"]


def test_two_people_import_the_same_foreign_channel(store: LocalStore, author: Author) -> None:
    """Both keep their own: nothing of the other's is taken for ours."""
    mine = store.ledger.run(
        lambda db: store.ledger.create_channel(db, kind="channel", name="c", source="slack", key="C1")
    )
    theirs = author.channel("c", source="slack", key="C1")
    assert rules(store.ingest([theirs.founding])) == []
    found = log.channel_by_origin(store.database.reader, "slack", "C1")
    assert found is not None
    assert found.id == mine.id


def test_replies_to_replies_that_come_backwards_are_no_recursion(store: LocalStore, channel: Channel) -> None:
    size = 3_000
    ids = [channel.pen.next_id(n) for n in range(size)]
    posts = [Post("root"), *(Post("reply", ids[n - 1]) for n in range(1, size))]
    first = channel.pen.write(*posts)
    other = channel.pen.author.pen(channel)
    chain = [other.id_of(1, n) for n in range(size)]
    second = other.write(*(Post("reply", chain[n - 1] if n else ids[0]) for n in reversed(range(size))))
    assert store.ingest([second]).new == 1
    assert bodies(store, channel) == []
    assert store.ingest([first]).new == 1
    thread = store.get_message(ids[0]).thread
    assert thread is not None
    assert store.verify().ok


def test_a_reply_into_another_channel_waits_for_ever(
    store: LocalStore, author: Author, channel: Channel
) -> None:
    """Also when that channel's threads were looked up just before."""
    other = author.channel("other")
    root = channel.pen.next_id()
    store.ingest([other.founding, channel.pen.write(Post("root"))])
    store.ingest([channel.pen.write(Post("reply", root)), other.pen.write(Post("stray", root))])
    store.ingest([other.pen.write(Post("stray again", root))])
    assert bodies(store, other) == []
    assert store.channel_row(other.id).messages == 0
    assert store.verify().ok


def test_a_ring_of_replies_waits_for_ever(store: LocalStore, channel: Channel) -> None:
    pen = channel.pen
    first, second, third = (pen.id_of(3, n) for n in range(3))
    ring = pen.write(Post("a", second), Post("b", first), Post("itself", third), React(first, "x"))
    assert store.ingest([ring]).new == 1
    assert bodies(store, channel) == []
    assert store.channel_row(channel.id).messages == 0
    assert store.verify().ok


def test_what_is_from_the_future_is_held_until_its_time(
    store: LocalStore, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    future_ms = wallclock.now_ms() + 86_400_000
    early = channel.pen.next_id()
    store.ingest([channel.pen.write(Post("early"), time_ms=future_ms)])
    store.ingest([channel.pen.write(React(early, "x"), time_ms=future_ms)])
    assert bodies(store, channel) == []
    assert store.channel_row(channel.id).clock < future_ms << 16
    assert store.verify().ok
    monkeypatch.setattr(wallclock, "now_ms", lambda: future_ms - limits.AHEAD_MS_MAX - 1)
    store = vaults.reopened(store)
    assert bodies(store, channel) == []
    monkeypatch.setattr(wallclock, "now_ms", lambda: future_ms - limits.AHEAD_MS_MAX)
    store = vaults.reopened(store)  # it is shown from the first opening on
    assert bodies(store, channel) == ["early"]
    assert store.channel_row(channel.id).clock == future_ms << 16
    assert store.get_message(early).reactions
    assert store.verify().ok
    store.close()


def test_a_held_message_is_released_by_any_write(
    store: LocalStore, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    future_ms = wallclock.now_ms() + 86_400_000
    store.ingest([channel.pen.write(Post("early"), time_ms=future_ms)])
    monkeypatch.setattr(wallclock, "now_ms", lambda: future_ms)
    ChannelManager(store).create_channel("elsewhere")
    assert bodies(store, channel) == ["early"]


def test_after_the_clock_was_set_back_our_own_words_are_not_held(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    right_ms = wallclock.now_ms()
    manager = ChannelManager(store)
    channel = manager.create_channel("talk")
    monkeypatch.setattr(wallclock, "now_ms", lambda: right_ms + 31_536_000_000)
    manager.send_message(channel.id, "from next year")
    monkeypatch.setattr(wallclock, "now_ms", lambda: right_ms)
    said = manager.send_message(channel.id, "now")
    assert said.body == "now"
    assert said.time_ms == right_ms
    assert store.verify().ok


def test_what_waits_is_bounded_for_each_device(
    store: LocalStore, channel: Channel, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "WAITING_PER_DEVICE_MAX", 3)
    target = channel.pen.next_id()
    pen = author.pen(channel)
    early = [pen.write(React(target, emoji)) for emoji in "abc"]
    assert store.ingest(early).new == 3
    late = pen.write(React(target, "d"))
    assert rules(store.ingest([late])) == ["too_many_waiting"]
    assert store.ingest([channel.pen.write(Post("what they refer to"))]).new == 1  # that is never refused
    assert store.ingest([late]).new == 1
    assert len(store.get_message(target).reactions) == 4


def test_commits_of_another_copy_of_this_vault_close_the_log(store: LocalStore) -> None:
    """Whoever has commits of our log that we do not know: we write a new one rather than fork."""
    manager = ChannelManager(store)
    channel = manager.create_channel("talk")
    row = store.channel_row(channel.id)
    own = log.own_log(store.database.reader, row.n)
    assert own is not None
    twin = Author.of(store)
    pen = Pen(twin, channel.id, (row.genesis,), seq=1, previous=row.genesis)
    pen.incarnation, pen.prefix = own.incarnation, own.prefix
    assert store.ingest([pen.write(Post("from the copy"))]).new == 1
    said = manager.send_message(channel.id, "from here")
    assert said.id[:10] != own.prefix
    assert MessageId(pen.id_of(2, 0)) in [m.id for m in manager.get_stored_messages(channel.id)]
    assert store.get_message(pen.id_of(2, 0)).author.own
    oracle.check(store)
    assert store.verify().ok


def test_errors_name_a_rule_and_hold_no_text(store: LocalStore, channel: Channel) -> None:
    report = store.ingest([Author(seed=2).pen(channel).write(Post("a secret"))])
    [refused] = report.refused
    assert isinstance(refused.error, PeerError)
    assert "secret" not in repr(refused)


def _of_every_kind(first: MessageId, own_key: str) -> list[Post]:
    origin, other = Origin("irc", "zoe", "1", START_MS - 5_000), Origin("irc", "max", "2", START_MS - 9_000)
    return [
        Post("plain"), Post("reply", first), Post("old", origin=origin), Post("titled", title="a title"),
        Post("left", notice=2), Post("answer", None, first), Post("to you", mentions=(own_key,)),
        Post("to her", mentions=("irc:zoe",), origin=other),
    ]  # fmt: skip


def test_posts_of_every_kind_in_one_commit_and_each_in_its_own(
    store: LocalStore, author: Author, channel: Channel
) -> None:
    """Most are applied all at once, the others one by one; nothing may tell which."""
    first = channel.pen.next_id()
    store.ingest([channel.pen.write(*_of_every_kind(first, store.own_key), React(first, "👍"))])
    other = author.channel("other")
    store.ingest([other.founding, other.pen.admit(Author.of(store))])
    first = other.pen.next_id()
    every: list[Post | React] = [*_of_every_kind(first, store.own_key), React(first, "👍")]
    store.ingest([other.pen.write(one) for one in every])
    together, apart = (_shown(store, one) for one in (channel, other))
    assert together == apart
    assert len(together) == 8
    assert [info.mentions for info in ChannelManager(store).list_channels()] == [1, 1]
    oracle.check(store)
    assert store.verify().problems == ()


def _shown(store: LocalStore, channel: Channel) -> list[object]:
    messages = sorted(store.get_channel_messages(channel.id), key=lambda message: message.body)
    return [
        (
            m.body,
            m.author.id,
            m.notice,
            m.title,
            m.root is None,
            m.reply_to is None,
            m.mentions,
            len(m.reactions),
        )
        for m in messages
    ]


def test_what_waited_for_a_post_gets_it_when_that_comes_among_many(
    store: LocalStore, channel: Channel
) -> None:
    pen = channel.pen
    target = pen.next_id()
    posts = pen.write(Post("root"), *[Post(f"more {n}") for n in range(3)])
    later = pen.write(Post("reply", target), React(target, "👍"))
    store.ingest([later])
    assert bodies(store, channel) == []
    store.ingest([posts])
    message = store.get_message(target)
    assert [reaction.emoji for reaction in message.reactions] == ["👍"]
    assert [reply.body for reply in store.get_thread_replies(target).messages] == ["reply"]
    oracle.check(store)
    assert store.verify().problems == ()
