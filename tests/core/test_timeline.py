"""The timeline's rules one by one, as stories; that order cannot matter is tests/store/test_order.py's."""

from __future__ import annotations

import itertools

from quire.core.clock import at
from quire.core.operation import (
    Delete,
    Edit,
    Name,
    Operation,
    Origin,
    Pin,
    Post,
    Profile,
    React,
    Topic,
    Unpin,
    Unreact,
)
from quire.core.timeline import Folded, Placed, fold, shown, standing_reactions

ADA, BOB = "quire:ada", "quire:bob"


class Talk:
    """Operations in the order they are said, one a millisecond."""

    def __init__(self) -> None:
        self.said: list[Placed] = []

    def say(
        self, operation: Operation, by: str = ADA, ms: int | None = None, id: bytes | None = None
    ) -> bytes:
        number = len(self.said) + 1
        place = number.to_bytes(16, "big") if id is None else id
        self.said.append(Placed(place, at(number if ms is None else ms), by, operation))
        return place

    def fold(self) -> Folded:
        return fold(self.said)


def imported(author: str, ms: int = 1) -> Origin:
    return Origin("slack", author, "", ms)


def test_messages_stand_in_order_of_time_then_id() -> None:
    talk = Talk()
    later = talk.say(Post("later"), ms=9)
    second = talk.say(Post("same time"), ms=5, id=b"b" * 16)
    first = talk.say(Post("same time"), ms=5, id=b"a" * 16)
    old = talk.say(Post("imported", origin=imported("U", 2)), ms=20)
    assert [placed.id for placed, _ in talk.fold().messages] == [old, first, second, later]


def test_a_reply_to_a_reply_joins_the_root() -> None:
    talk = Talk()
    root = talk.say(Post("root"))
    reply = talk.say(Post("reply", root))
    nested = talk.say(Post("nested", reply))
    assert talk.fold().threads == {root: [reply, nested]}


def test_a_reply_waits_for_its_root_and_all_that_is_on_it_waits_too() -> None:
    talk = Talk()
    root = bytes(15) + b"\x63"
    reply = talk.say(Post("reply", root))
    react = talk.say(React(reply, "x"))
    assert talk.fold().waiting == {reply, react}
    talk.say(Post("root"), id=root)
    assert talk.fold().waiting == set()
    assert talk.fold().threads == {root: [reply]}


def test_replies_in_a_ring_wait_for_ever() -> None:
    talk = Talk()
    talk.say(Post("a", b"b" * 16), id=b"a" * 16)
    talk.say(Post("b", b"a" * 16), id=b"b" * 16)
    talk.say(Post("itself", b"c" * 16), id=b"c" * 16)
    assert talk.fold().waiting == {b"a" * 16, b"b" * 16, b"c" * 16}
    assert talk.fold().messages == []


def test_only_the_author_edits() -> None:
    talk = Talk()
    post = talk.say(Post("first"))
    talk.say(Edit(post, post, "forged"), by=BOB)
    assert talk.fold().shown[post].edit is None
    edit = talk.say(Edit(post, post, "second"))
    assert (talk.fold().shown[post].edit, talk.fold().shown[post].edits) == (edit, 1)


def test_an_import_edits_only_in_its_authors_name() -> None:
    talk = Talk()
    post = talk.say(Post("first", origin=imported("U1")))
    talk.say(Edit(post, post, "by another", imported("U2")))
    talk.say(Edit(post, post, "by who imported it"))
    assert talk.fold().shown[post].edits == 0
    talk.say(Edit(post, post, "by the author", imported("U1", 2)))
    assert talk.fold().shown[post].edits == 1


def test_the_newest_edit_shows_and_concurrent_ones_are_marked() -> None:
    talk = Talk()
    post = talk.say(Post("0"))
    first = talk.say(Edit(post, post, "1"))
    second = talk.say(Edit(post, first, "2"))
    assert talk.fold().shown[post].edit == second
    assert not talk.fold().shown[post].concurrent
    talk.say(Edit(post, post, "1 too"), ms=1)
    assert talk.fold().shown[post].edit == second
    assert talk.fold().shown[post].concurrent


def test_a_deletion_wins_over_edits_whenever_they_come() -> None:
    talk = Talk()
    post = talk.say(Post("x"))
    stranger = talk.say(Delete(post), by=BOB)
    assert talk.fold().shown[post].deleted is None
    delete = talk.say(Delete(post))
    talk.say(Delete(post))
    talk.say(Edit(post, post, "back again?"))
    assert talk.fold().shown[post].deleted == delete
    assert stranger not in talk.fold().waiting  # void, not waiting


def test_who_imported_a_message_may_take_it_back() -> None:
    talk = Talk()
    post = talk.say(Post("x", origin=imported("U1")))
    delete = talk.say(Delete(post))
    assert talk.fold().shown[post].deleted == delete


def test_a_deleted_reply_leaves_the_thread_but_not_its_place() -> None:
    talk = Talk()
    root = talk.say(Post("root"))
    reply = talk.say(Post("reply", root))
    talk.say(Delete(reply))
    assert talk.fold().threads == {}
    assert [(placed.id, of) for placed, of in talk.fold().messages] == [(root, None), (reply, root)]


def test_the_newest_reaction_of_each_person_and_emoji_stands() -> None:
    talk = Talk()
    post = talk.say(Post("x"))
    talk.say(React(post, "a"))
    talk.say(React(post, "a"))  # twice is once
    talk.say(React(post, "a"), by=BOB)
    talk.say(React(post, "b"))
    talk.say(Unreact(post, "b"))
    talk.say(Unreact(post, "c"))  # never there
    assert set(talk.fold().reactions[post]) == {("a", ADA), ("a", BOB)}
    talk.say(React(post, "b"))
    assert ("b", ADA) in talk.fold().reactions[post]


def test_pins_names_topics_and_profiles_are_the_newest() -> None:
    talk = Talk()
    post = talk.say(Post("x"))
    talk.say(Pin(post))
    assert talk.fold().shown[post].pinned
    talk.say(Unpin(post), by=BOB)
    assert not talk.fold().shown[post].pinned
    talk.say(Name("new"), ms=50)
    talk.say(Name("old"), ms=40)
    talk.say(Topic("topic"))
    talk.say(Profile("", "", "Ada"))
    talk.say(Profile("slack", "U1", "Una", bot=True))
    folded = talk.fold()
    assert (folded.name, folded.topic) == ("new", "topic")
    assert {who: profile.name for who, profile in folded.profiles.items()} == {ADA: "Ada", "slack:U1": "Una"}


def test_an_edit_is_no_message_to_edit_or_react_to() -> None:
    talk = Talk()
    post = talk.say(Post("x"))
    edit = talk.say(Edit(post, post, "y"))
    react = talk.say(React(edit, "x"))
    assert talk.fold().waiting == {react}


def test_every_order_of_a_small_talk_folds_alike() -> None:
    talk = Talk()
    root = talk.say(Post("root"))
    reply = talk.say(Post("reply", root))
    talk.say(Edit(root, root, "edited"), ms=7)
    talk.say(Edit(root, root, "edited at once"), ms=7)
    talk.say(Delete(reply))
    talk.say(React(reply, "x"))
    talk.say(Unreact(reply, "x"), ms=6)
    folds = [fold(order) for order in itertools.permutations(talk.said)]
    assert all(folded == folds[0] for folded in folds)
    assert fold(talk.said * 2) == folds[0]
    assert shown(talk.said[0], []) != folds[0].shown[root]
    assert standing_reactions([]) == {}
