"""Archived history among people: it is given to others as before, and what is erased or let go is lost in the file, too."""

from __future__ import annotations

from pathlib import Path

from quire.channels.manager import ChannelManager
from quire.core.ids import ChannelId, MessageId
from quire.core.retention import Keeping
from quire.storage import cold
from quire.store.local import LocalStore
from quire.testing.people import Person, meet
from tests import oracle
from tests.people.conftest import Make, team_of
from tests.sync.links import sync

NEEDLE = "zanzibarquux"
LONG = "a text that is long enough to be worth a reference, and says nothing else. " * 2
AFTER = 1 << 42  # later than anything here


def talk(one: Person, team: ChannelId, count: int = 12) -> list[MessageId]:
    return [one.say(team, f"{NEEDLE} {n}: {LONG}") for n in range(count)]


def cool(one: Person, team: ChannelId, disk: Path) -> None:
    disk.mkdir(exist_ok=True)
    assert one.chat.archive(team, AFTER, to=disk).operations


def clean(*people: Person) -> None:
    for one in people:
        report = one.store.verify()
        assert report.problems == ()
        if not report.unread:
            oracle.check(one.store)


def references(one: Person) -> list[bytes]:
    found = one.store.database.reader.execute(
        f"SELECT op FROM message WHERE length(op) = {cold.REFERENCE_SIZE} AND substr(op, 17, 1) = x'c1' ORDER BY time, id"
    ).fetchall()
    return [bytes(op) for (op,) in found]  # type: ignore[arg-type]


def raw(one: Person) -> bytes:
    one.store.database.checkpoint()
    return one.store.database.reader.serialize("main")


def away(disk: Path) -> Path:
    return disk.rename(disk.with_name("drawer"))


def forget(one: Person) -> None:
    """Nothing of the files is left in memory."""
    one.store.database.blocks.forget()


def test_a_newcomer_gets_archived_history_while_it_is_at_hand(people: Make, tmp_path: Path) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    talk(ada, team)
    cool(ada, team, tmp_path / "disk")
    drawer = away(tmp_path / "disk")
    forget(ada)
    invite = ada.chat.create_invite(team).text()
    carol.chat.join_channel(invite)
    meet(ada, carol)
    sync(ada, carol)
    assert carol.reads(team) == []  # she is in, and ada has nothing to give just now
    clean(ada, carol)
    ada.chat.move_segments(drawer)
    sync(ada, carol)
    assert len(carol.reads(team)) == 12
    assert carol.digest(team) == ada.digest(team)
    clean(ada, carol)


def test_what_is_archived_here_is_not_fetched_back(people: Make, tmp_path: Path) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    talk(ada, team)
    meet(ada, bob)
    cool(ada, team, tmp_path / "disk")
    before = references(ada)
    away(tmp_path / "disk")
    forget(ada)
    bob.say(team, "of today")
    sync(ada, bob)
    assert references(ada) == before
    assert ada.reads(team)[-1] == "of today"
    assert ada.store.verify().unread == 12


def test_an_erasure_destroys_what_every_copy_of_the_file_needs(people: Make, tmp_path: Path) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    said = talk(ada, team)
    meet(ada, bob)
    cool(bob, team, tmp_path / "disk")
    secrets = {reference[:16] for reference in references(bob)}
    assert all(secret in raw(bob) for secret in secrets)
    (file,) = (tmp_path / "disk").iterdir()
    copy = file.read_bytes()
    ada.chat.erase_message(said[3])
    sync(ada, bob)
    left = {reference[:16] for reference in references(bob)}
    (gone,) = secrets - left
    assert gone not in raw(bob)
    assert (
        file.read_bytes() == copy
    )  # it need not be touched: no copy of it says anything of that message any more
    assert bob.chat.get_message(said[3]).deleted
    assert len(bob.chat.search(NEEDLE, limit=50).hits) == 11
    assert bob.digest(team) == ada.digest(team)
    clean(ada, bob)


def test_an_erasure_waits_for_the_disk_and_is_done_when_it_comes(people: Make, tmp_path: Path) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    said = talk(ada, team)
    meet(ada, bob)
    cool(bob, team, tmp_path / "disk")
    before = len(references(bob))
    drawer = away(tmp_path / "disk")
    forget(bob)
    ada.chat.erase_message(said[3], "a secret")
    ada.chat.edit_message(said[4], "another text now")
    ada.chat.delete_message(said[5], "no more")
    sync(ada, bob)
    shown = bob.chat.get_message(said[3])
    assert (shown.body, shown.archived) == ("", None)
    assert shown.deleted is not None
    assert (shown.deleted.erased, shown.deleted.reason) == (True, "a secret")
    assert len(references(bob)) == before
    report = bob.store.verify()
    assert (report.problems, report.unread) == ((), 12)
    bob.chat.move_segments(drawer)
    assert len(references(bob)) == before - 1
    assert bob.chat.get_message(said[4]).body == "another text now"
    assert bob.chat.get_message(said[5]).deleted
    assert bob.digest(team) == ada.digest(team)
    clean(ada, bob)


def test_our_own_erasure_of_what_is_away_goes_to_others_at_once(people: Make, tmp_path: Path) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    said = talk(ada, team)
    meet(ada, bob)
    cool(ada, team, tmp_path / "disk")
    away(tmp_path / "disk")
    forget(ada)
    receipt = ada.chat.erase_message(said[0])
    assert len(receipt.erased) == 1
    assert receipt.owed == 1
    sync(ada, bob)
    assert bob.chat.get_message(said[0]).deleted
    clean(ada, bob)


def test_a_late_removal_takes_out_what_is_archived_when_it_can(people: Make, tmp_path: Path) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    meet(ada, bob, carol)
    ada.chat.remove_member(team, bob.identity)
    said = talk(bob, team, 3)  # who does not know yet
    meet(bob, carol)
    assert len(carol.reads(team)) == 3
    cool(carol, team, tmp_path / "disk")
    drawer = away(tmp_path / "disk")
    forget(carol)
    sync(ada, carol)
    assert carol.store.verify().problems == ()
    carol.chat.move_segments(drawer)
    assert carol.reads(team) == []
    assert carol.store.verify().problems == ()
    assert len(said) == 3


def test_retention_empties_a_segment_and_removes_it(people: Make, tmp_path: Path) -> None:
    (ada,) = people("ada")
    team = team_of(ada)
    talk(ada, team)
    disk = tmp_path / "disk"
    cool(ada, team, disk)
    drawer = away(disk)
    forget(ada)
    ada.chat.set_retention(team, Keeping(count=1))
    ada.chat.enforce_retention()
    assert len(references(ada)) == 12  # what is to go, and cannot be read, waits for its disk
    drawer.rename(disk)
    ada.chat.enforce_retention()
    assert len(references(ada)) == 1
    assert len(list(disk.iterdir())) == 1
    ada.say(team, "the newest")
    ada.chat.enforce_retention()
    assert references(ada) == []
    assert list(disk.iterdir()) == []
    assert ada.chat.list_segments() == []
    clean(ada)


def test_a_backup_has_what_is_archived_and_says_what_it_could_not_get(people: Make, tmp_path: Path) -> None:
    (ada,) = people("ada")
    team = team_of(ada)
    talk(ada, team)
    disk = tmp_path / "disk"
    cool(ada, team, disk)
    drawer = away(disk)
    forget(ada)
    report = ada.store.backup(tmp_path / "backup")
    assert report.away == 12
    drawer.rename(disk)
    report = ada.store.backup(tmp_path / "backup")
    assert (report.away, report.commits) == (0, 12)
    drawer = away(disk)
    forget(ada)
    assert ada.store.backup(tmp_path / "backup").away == 0  # it has them
    words = ada.store.recovery_phrase
    assert words is not None
    LocalStore.restore(tmp_path / "backup", tmp_path / "back", words, phrase=words)
    with LocalStore.open(tmp_path / "back", words) as back:
        chat = ChannelManager(back)
        assert [one.body for one in chat.get_stored_messages(team)] == [
            f"{NEEDLE} {n}: {LONG}" for n in range(12)
        ]
        assert chat.list_segments() == []
        assert back.verify().problems == ()
