"""What is erased is gone from every vault it comes to, in whatever order things come, and nothing brings it back."""

from __future__ import annotations

import pytest

from quire.core import commit
from quire.core.bundle import open_bundle
from quire.core.bundle_file import Kind, Record
from quire.core.crypto.epochs import EpochKey
from quire.core.ids import ChannelId, MessageId
from quire.core.operation import SALT_SIZE, Erase, Gone, Post, Remains
from quire.errors import UnauthorisedError, UsageError
from quire.storage import contents, controls, erasures, heights, log, search
from quire.storage.erasures import MISSING
from quire.testing.people import Person, meet
from tests import oracle, vaults
from tests.people.conftest import Make, agree, team_of
from tests.sync.links import sync

NEEDLE = "zanzibarquux"


def raw(one: Person) -> bytes:
    """Every page of a vault as it is before it is encrypted."""
    one.store.database.checkpoint()
    return one.store.database.reader.serialize("main")


def holds(one: Person, text: str = NEEDLE) -> bool:
    return text.encode() in raw(one)


def clean(*people: Person) -> None:
    for one in people:
        assert one.store.verify().problems == ()
        oracle.check(one.store)


def test_an_erased_message_is_gone_everywhere_and_its_place_stays(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    said = ada.say(team, f"{NEEDLE} one")
    ada.chat.edit_message(said, f"{NEEDLE} two")
    bob_saw = ada.give()
    bob.take(bob_saw)
    bob.chat.add_reaction(said, "👍")
    answer = bob.chat.send_message(team, "an answer", thread=said).id
    meet(ada, bob, carol)
    assert all(map(holds, (ada, bob, carol)))
    seq = int.from_bytes(said[10:14], "big")
    [(_, salted)] = contents.commit_operations(ada.store.database.reader, said[:10], seq)
    salt, place = salted[:SALT_SIZE], commit.commitment(salted)
    assert all(salt in raw(one) for one in (ada, bob, carol))
    receipt = ada.chat.erase_message(said, "a secret")
    assert len(receipt.erased) == 2
    assert not holds(ada)
    meet(ada, bob, carol)
    for one in (ada, bob, carol):
        assert not holds(one)
        assert place in raw(one)
        assert salt not in raw(one)  # or who has the commitment could try short texts
        left = one.chat.get_message(said)
        assert (left.body, left.deleted and left.deleted.erased) == ("", True)
        assert left.deleted is not None
        assert (left.deleted.reason, left.deleted.by.name) == ("a secret", "ada")
        assert one.chat.get_message(answer).root == said
        assert one.chat.get_edit_history(said) == []
        assert one.chat.search(NEEDLE).hits == ()
        assert one.chat.check_receipt(receipt) == []
    agree(team, ada, bob, carol, fresh=carol)


def test_who_comes_after_the_erasure_never_has_the_bytes(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    said, reply = ada.say(team, f"{NEEDLE} one"), bob.chat.send_message(team, "other").id
    meet(ada, bob)
    ada.chat.erase_message(said)
    meet(ada, bob)
    carol.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob, carol)
    assert not holds(carol)
    deleted = carol.chat.get_message(said).deleted
    assert deleted is not None
    assert deleted.erased
    assert carol.chat.get_message(reply).body == "other"
    agree(team, ada, bob, carol, fresh=carol)
    report, other = sync(carol, bob)
    assert (report.new, other.new) == (0, 0)  # what is erased counts as here: nobody asks for it again


@pytest.mark.parametrize("erasure_first", [True, False])
def test_an_old_bundle_brings_nothing_back(people: Make, erasure_first: bool) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    said = ada.say(team, f"{NEEDLE} one")
    old = ada.give()
    bob.take(old)
    ada.chat.erase_message(said)
    new = ada.give()
    for data in (new, old) if erasure_first else (old, new):
        carol.take(data)
        bob.take(data)
    for one in (ada, bob, carol):
        one.take(old)
        assert not holds(one)
        deleted = one.chat.get_message(said).deleted
        assert deleted is not None
        assert deleted.erased
    agree(team, ada, bob, carol, fresh=bob)


def test_an_erasure_that_comes_before_its_target_is_remembered(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    said = ada.say(team, f"{NEEDLE} one")
    target = commits_of(ada, team)[-1]
    bob.take(ada.give())
    ada.chat.erase_message(said)
    erasing = commits_of(ada, team)[-1]
    assert carol.store.ingest([erasing]).new == 1
    assert carol.reads(team) == []
    assert carol.store.ingest([target]).new == 1
    assert not holds(carol)
    assert carol.chat.get_message(said).deleted is not None
    meet(ada, bob, carol)
    agree(team, ada, bob, carol, fresh=carol)


def commits_of(one: Person, team: ChannelId) -> list[bytes]:
    """What a person wrote in a channel, encoded as they would give it, the oldest first."""
    db = one.store.database.reader
    row = log.channel_by_id(db, team)
    assert row is not None
    own = log.own_log(db, row.n)
    assert own is not None
    found = []
    for seq, head, signature in log.commits(db, own.n):
        entries, holes = contents.operations_between(db, own.prefix, seq, seq).get(seq, ([], {}))
        if entries:
            found.append(commit.encode_commit(commit.with_holes(head, signature, entries, holes)))
    return found


def with_all_holes(encoded: bytes) -> bytes:
    """A commit as a liar gives it, who keeps every operation back."""
    received, _ = commit.decode_commit(encoded)
    gone = [commit.commitment(one) for one in received.operations]
    return commit.encode_commit(
        commit.with_holes(received.head, received.signature, gone, set(range(len(gone))))
    )


def test_what_a_liar_withholds_is_not_taken_for_erased_and_comes_from_somebody_else(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    said = ada.say(team, "what the liar hides")
    true = commits_of(ada, team)[-1]
    assert bob.store.ingest([with_all_holes(true)]).new == 1
    assert bob.reads(team) == []
    db = bob.store.database.reader
    assert [hole.why for hole in erasures.holes_among(db, [said]).values()] == [MISSING]
    of = log.log_by_prefix(db, said[:10])
    assert of is not None
    height = heights.height(db, of)
    assert height is None or height.last < int.from_bytes(said[10:14], "big")  # not said to be here
    clean(bob)
    _report, other = sync(bob, carol)  # nor given on
    assert other.new == 0
    sync(bob, ada)
    assert bob.reads(team) == ["what the liar hides"]
    assert erasures.holes_among(db, [said]) == {}
    meet(ada, bob, carol)
    agree(team, ada, bob, carol, fresh=bob)


def test_a_partly_withheld_commit_shows_the_rest_and_fills_up(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)

    def two(db: object, row: object) -> list[object]:
        return [Post("first"), Post("second")]

    first, second = ada.store.write(team, two)  # type: ignore[arg-type]
    received, _head = commit.decode_commit(commits_of(ada, team)[-1])
    entries = [commit.commitment(received.operations[0]), received.operations[1]]
    lied = commit.encode_commit(commit.with_holes(received.head, received.signature, entries, {0}))
    bob.store.ingest([lied])
    assert bob.reads(team) == ["second"]
    clean(bob)
    assert bob.store.repair().problems == ()
    bob.take(ada.give())
    assert bob.reads(team) == ["first", "second"]
    assert [first, second] == [one.id for one in bob.chat.get_stored_messages(team)]
    agree(team, ada, bob, fresh=bob)


def test_a_control_commit_is_never_hidden_for_good(people: Make) -> None:
    """A hole does not say what it was: a removal could pass for a message."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    ada.chat.promote_member(team, carol.identity)
    db = ada.store.database.reader
    places = list(controls.control_places(db, ada.store.channel_row(team).n).values())
    newest = max(places, key=lambda place: log.time_of(db, place + bytes(2)))
    row = log.log_by_prefix(db, newest[:10])
    assert row is not None
    seq = int.from_bytes(newest[10:], "big")
    stored = log.get_commit(db, row.n, seq)
    assert stored is not None
    salted = [op for _, op in contents.commit_operations(db, row.prefix, seq)]
    true = commit.encode_commit(commit.with_holes(*stored, salted, set()))
    bob.store.ingest([with_all_holes(true)])
    assert bob.role(team, carol) == "member"
    bob.store.ingest([true])
    assert bob.role(team, carol) == "moderator"
    meet(ada, bob, carol)
    agree(team, ada, bob, carol, fresh=bob)


def test_a_control_commit_that_a_moderator_erased_is_asked_for_again(people: Make) -> None:
    """An erasure of it makes the hole count as here, until somebody names it as what it is."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    ada.chat.promote_member(team, carol.identity)
    meet(ada, carol)
    db = ada.store.database.reader
    places = list(controls.control_places(db, ada.store.channel_row(team).n).values())
    newest = max(places, key=lambda place: log.time_of(db, place + bytes(2)))
    row = log.log_by_prefix(db, newest[:10])
    assert row is not None
    stored = log.get_commit(db, row.n, int.from_bytes(newest[10:], "big"))
    assert stored is not None
    salted = [op for _, op in contents.commit_operations(db, row.prefix, int.from_bytes(newest[10:], "big"))]
    true = commit.encode_commit(commit.with_holes(*stored, salted, set()))
    ids = [newest + index.to_bytes(2, "big") for index in range(len(salted))]
    bob.store.ingest([with_all_holes(true)])
    before = bob.store.channel_row(team)
    erase = Erase((), tuple(Gone(id) for id in ids))
    ada.store.write_operations(team, erase)  # who may erase, and is in no need to see what it is
    named = commits_of(ada, team)[-1]
    assert erasures.holes_among(bob.store.database.reader, ids)
    report = bob.store.ingest([named])  # it names the control commit, which is a hole here
    assert report.parked == 1
    assert erasures.holes_among(bob.store.database.reader, ids) == {}
    sync(bob, ada)
    assert bob.role(team, carol) == "moderator"
    assert bob.store.channel_row(team).heads != before.heads
    meet(ada, bob, carol)
    agree(team, ada, bob, carol, fresh=bob)


def test_nobody_erases_what_others_wrote_but_who_moderates(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    said = bob.say(team, f"{NEEDLE} of bob")
    meet(ada, bob, carol)
    with pytest.raises(UnauthorisedError) as refused:
        carol.chat.erase_message(said)
    assert refused.value.rule == "erase_not_author"
    carol.store.write_operations(team, Erase((Remains(said),)))  # as a program that does not ask
    meet(ada, bob, carol)
    for one in (ada, bob, carol):
        assert one.chat.get_message(said).body == f"{NEEDLE} of bob"
    agree(team, ada, bob, carol)
    ada.chat.erase_message(said, "off topic")
    meet(ada, bob, carol)
    assert not any(map(holds, (ada, bob, carol)))
    agree(team, ada, bob, carol, fresh=bob)


def test_an_erasure_that_loses_its_right_is_undone_where_the_bytes_are(people: Make) -> None:
    """Carol moderated, erased after she was no moderator any more by what Ada wrote, and not all had heard of it."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    ada.chat.promote_member(team, carol.identity)
    said = bob.say(team, "stays in the end")
    meet(ada, bob, carol)
    ada.chat.remove_member(team, carol.identity)
    carol.chat.erase_message(said)  # she has not heard
    bob_has = carol.give()
    bob.take(bob_has)
    meet(ada, bob)
    assert ada.reads(team) == ["stays in the end"]
    meet(ada, bob)
    assert bob.reads(team) == ["stays in the end"]
    clean(ada, bob)


def test_one_version_is_erased_and_the_newest_left_shows(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    said = ada.say(team, "first")
    ada.chat.edit_message(said, f"{NEEDLE} slipped in")
    ada.chat.edit_message(said, "third")
    meet(ada, bob)
    ada.chat.erase_version(said, 2)
    meet(ada, bob)
    for one in (ada, bob):
        assert not holds(one)
        assert one.chat.get_message(said).body == "third"
        assert [(version.number, version.body, version.erased) for version in one.chat.get_edit_history(said)] == [
            (1, "first", False), (2, "", True), (3, "third", False),
        ]  # fmt: skip
    with pytest.raises(UsageError) as refused:
        ada.chat.erase_version(said, 2)
    assert refused.value.rule == "version_erased"
    ada.chat.erase_version(said, 3)
    meet(ada, bob)
    assert bob.chat.get_message(said).body == "first"
    with pytest.raises(UsageError) as refused:
        ada.chat.erase_version(said, 1)
    assert refused.value.rule == "version_alone"
    agree(team, ada, bob, fresh=bob)


def test_the_first_text_alone_is_erased_and_the_message_stays_where_it_was(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    root = ada.say(team, "root")
    said = ada.chat.send_message(team, f"{NEEDLE} of a password", thread=root).id
    ada.chat.edit_message(said, "(taken out)")
    meet(ada, bob)
    ada.chat.erase_version(said, 1)
    meet(ada, bob)
    carol.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob, carol)
    for one in (ada, bob, carol):
        assert not holds(one)
        left = one.chat.get_message(said)
        assert (left.body, left.root, left.deleted) == ("(taken out)", root, None)
        assert one.chat.get_edit_history(said)[0].erased
        assert one.chat.get_thread_info(root).replies == 1
    agree(team, ada, bob, carol, fresh=carol)


def test_an_edit_that_the_eraser_did_not_know_goes_too(
    people: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An edit that was under way when its message was erased has its text destroyed wherever both are."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    ada.chat.promote_member(team, carol.identity)
    said = ada.say(team, "first")
    meet(ada, bob, carol)
    ada.chat.edit_message(said, f"{NEEDLE} late edit")
    carol.chat.erase_message(said)
    meet(ada, bob, carol)
    for one in (ada, bob, carol):
        assert not holds(one)
        assert (
            erasures.unnamed(one.store.database.reader) == []
        )  # its author named it, so that everybody may know
    meet(ada, bob, carol)
    agree(team, ada, bob, carol, fresh=bob)
    report, other = sync(bob, ada)
    assert (report.new, other.new) == (0, 0)


@pytest.mark.parametrize("many", [10, 1_000])
def test_everything_of_one_author_goes_and_others_stay(
    people: Make, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Of many at once the search index is written anew, of few each word is cut out."""
    monkeypatch.setattr(search, "TAIL_MAX", 5)
    monkeypatch.setattr(search, "MANY", many)
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    for number in range(30):
        ada.chat.send_message(team, f"{NEEDLE} {number}")
    stays = bob.say(team, "stays")
    meet(ada, bob)
    receipt = bob.chat.erase_author(ada.store.own_key)
    assert (receipt.left, receipt.erased) == (30, ())
    receipt = ada.chat.erase_author(ada.store.own_key, reason="leaving")
    assert len(receipt.erased) == 30
    meet(ada, bob)
    assert not any(map(holds, (ada, bob)))
    assert [body for body in bob.reads(team) if body] == ["stays"]
    assert bob.chat.get_message(stays).body == "stays"
    assert bob.chat.get_channel(team).messages == 1
    agree(team, ada, bob, fresh=bob)


def test_what_was_pruned_here_is_not_given_as_if_it_were_erased(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    said, stays = ada.say(team, "old"), ada.say(team, "new")
    meet(ada, bob)
    let_go(bob, team, [said])
    assert bob.reads(team) == ["new"]
    report, other = sync(bob, ada)
    assert (report.new, other.new) == (0, 0)  # never fetched again
    bob.take(ada.give())
    assert bob.reads(team) == ["new"]
    carol.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, carol)
    carol_had = carol.reads(team)
    assert carol_had == ["old", "new"]
    late = bob.records(team)
    assert late
    for one in late:
        if one.kind == Kind.BUNDLE:
            assert all(isinstance(found, commit.Commit) for found in opened(bob, team, one))
    assert stays
    clean(ada, bob, carol)


def let_go(one: Person, team: ChannelId, ids: list[MessageId]) -> None:
    from quire.store.erasing import destroy
    from quire.store.wallclock import now_ms

    def work(db: object) -> int:
        channel = one.store.channel_row(team)
        return destroy(
            one.store.database.writer, one.store.ledger.applier, channel, ids, erasures.LOCAL, now_ms()
        )

    one.store.ledger.run(work)


def opened(one: Person, team: ChannelId, record: Record) -> list[commit.AnyCommit]:
    for key in one.keys(team).values():
        try:
            return [commit.decode_commit(found)[0] for found in open_bundle(record.data, EpochKey(key), team)]
        except Exception:
            continue
    return []


def test_a_fresh_process_finds_nothing_and_all_in_order(people: Make) -> None:
    [ada] = people("ada")
    team = ada.chat.create_channel("team").id
    said = ada.say(team, f"{NEEDLE} one")
    ada.chat.erase_message(said)
    ada.store.close()
    answer = vaults.in_fresh_process(
        ada.store.folder,
        "answer = [store.verify().ok, b'zanzibarquux' in store.database.reader.serialize('main'),"
        " [m.deleted.erased for m in manager.get_stored_messages('team')]]",
    )
    assert answer == [True, False, [True]]
    ada.reopen()


def test_a_tampered_commitment_is_found(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    said = ada.say(team, "gone")
    receipt = ada.chat.erase_message(said)
    with ada.store.database.transaction() as db:
        db.execute("UPDATE destroyed SET commitment = ? WHERE id = ?", (bytes(32), said))
    assert "content_root" in {one.what for one in ada.store.verify().problems}
    assert ada.chat.check_receipt(receipt) == [said]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DELETE FROM erasure", "erasure_view"),
        ("UPDATE destroyed SET why = 0", "destroyed_view"),
        ("UPDATE destroyed SET why = 3", "erasure_view"),
        ("UPDATE message SET flags = flags & ~16384 WHERE flags & 16384", "message_view"),
        ("UPDATE message SET op = CAST(x'01' || substr(op, 2) AS BLOB) WHERE flags & 8192", "erasure_view"),
        ("DELETE FROM destroyed", "content_root"),
        ("INSERT INTO pruned SELECT n, 1, 1 FROM log", "gaps"),
    ],
)
def test_verify_sees_what_is_wrong_with_an_erasure_and_repair_mends_it(
    people: Make, change: str, found: str
) -> None:
    [ada] = people("ada")
    team = ada.chat.create_channel("team").id
    said = ada.say(team, "gone")
    ada.chat.erase_message(said)
    with ada.store.database.transaction() as db:
        db.execute(change)
    assert found in {one.what for one in ada.store.verify().problems}
    if "destroyed" not in change:  # that is the log itself
        assert ada.store.repair().problems == ()
