"""Files follow their messages: to who may read them, from any piece on, and nothing that a peer says is believed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quire.channels.syncing import Syncing
from quire.core.ids import DeviceId, MessageId
from quire.core.sealed_file import PIECE_PLAIN
from quire.errors import FullError, MalformedError
from quire.node.files import FileSync
from quire.node.peer import PeerSync
from quire.storage.sealed_files import PartFile
from quire.store import attachments
from quire.store.fetching import Outgoing, Server
from quire.sync.files import (
    PIECES_AHEAD,
    WANTED_MAX,
    FileHere,
    FileLacked,
    FileOver,
    FileSession,
    ServeFile,
    TakePiece,
)
from quire.sync.messages import Content, Here, Lacks, Outline, Piece, Want, decode_message, encode_message
from quire.testing.people import Person
from tests.sync.links import ends, sync

LARGE = os.urandom(5 * PIECE_PLAIN + 77)
ID = bytes(32)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Person, Person]:
    """Ada and Bob, both in `team`."""
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    ada.chat.create_channel("team")
    bob.chat.join_channel(ada.chat.create_invite("team").text())
    sync(ada, bob)
    return ada, bob


def post(person: Person, data: bytes = LARGE, name: str = "a.bin") -> MessageId:
    file = person.store.folder.with_name(f"{person.store.folder.name}-{name}")
    file.write_bytes(data)
    return person.chat.send_message("team", name, files=[file]).id


def states(person: Person, id: MessageId) -> list[str]:
    return [view.state for view in person.chat.get_attachments(id)]


def has(person: Person, id: MessageId, data: bytes = LARGE) -> bool:
    if states(person, id) != ["here"]:
        return False
    with person.chat.open_attachment(id) as stream:
        return stream.read() == data


def test_a_file_comes_with_its_message_and_is_there_after_reopening(two: tuple[Person, Person]) -> None:
    ada, bob = two
    id, small = post(ada), post(ada, b"small", "b.txt")
    mine, yours = sync(ada, bob)
    assert yours.files.came == 2
    assert mine.files.given_bytes == yours.files.came_bytes > len(LARGE)
    bob.reopen()
    assert has(bob, id)
    assert has(bob, small, b"small")
    assert bob.store.verify().ok
    again, _ = sync(ada, bob)
    assert again.files.given_bytes == 0
    assert again.sent_bytes < 400


def test_both_send_at_once(two: tuple[Person, Person]) -> None:
    ada, bob = two
    mine = [post(ada, os.urandom(3 * PIECE_PLAIN), f"{n}.bin") for n in range(4)]
    yours = [post(bob, os.urandom(3 * PIECE_PLAIN), f"{n}.bin") for n in range(4)]
    sync(ada, bob)
    for id in (*mine, *yours):
        assert states(ada, id) == states(bob, id) == ["here"]


def test_a_large_file_comes_only_when_it_is_asked_for(two: tuple[Person, Person]) -> None:
    ada, bob = two
    bob.chat.set_fetch_limit(1_000_000)
    id, small = post(ada), post(ada, b"small", "b.txt")
    sync(ada, bob)
    assert (states(bob, id), states(bob, small)) == (["missing"], ["here"])
    assert [view.state for view in bob.chat.fetch_attachment(id)] == ["asked"]
    sync(ada, bob)
    assert has(bob, id)


def test_what_was_let_go_does_not_come_back_by_itself(two: tuple[Person, Person]) -> None:
    ada, bob = two
    id = post(ada, b"small", "b.txt")
    sync(ada, bob)
    [one] = bob.chat.get_message(id).attachments
    assert one.file
    file = one.file.id
    bob.store.ledger.run(lambda db: attachments.drop(db, [file]))
    attachments.sweep(bob.store)
    sync(ada, bob)
    assert states(bob, id) == ["dropped"]
    bob.chat.fetch_attachment(id)
    sync(ada, bob)
    assert has(bob, id, b"small")


@pytest.mark.parametrize("frames", [4, 5, 6, 8, 10])
def test_a_link_that_breaks_anywhere_costs_a_piece_at_most(two: tuple[Person, Person], frames: int) -> None:
    ada, bob = two
    bob.chat.set_fetch_limit(1_000)
    id = post(ada)
    sync(ada, bob)
    bob.chat.fetch_attachment(id)

    async def broken() -> None:
        here, there = ends(ada, bob, frames)
        async with asyncio.timeout(30):
            await asyncio.gather(
                PeerSync(ada.chat, here).run(), PeerSync(bob.chat, there).run(), return_exceptions=True
            )

    asyncio.run(broken())
    received = bob.chat.get_attachments(id)[0].received_bytes
    bob.reopen()
    _, yours = sync(ada, bob)
    assert has(bob, id)
    assert bob.store.verify().ok
    if received:
        assert yours.files.came_bytes <= ada.store.files.size(_file(ada, id)) - received  # type: ignore[operator]


def test_a_file_that_is_being_opened_as_the_link_breaks_is_closed(two: tuple[Person, Person]) -> None:
    class Opened:
        closed = False

        def close(self) -> None:
            self.closed = True

    ada, _ = two
    began, go_on, file = threading.Event(), threading.Event(), Opened()

    def slowly() -> Opened:
        began.set()
        assert go_on.wait(30)
        return file

    async def nothing(*_: object, **__: object) -> None: ...

    async def broken() -> None:
        files = FileSync(Syncing(ada.chat), session_with(), DeviceId(bytes(32)), nothing, nothing)
        opening = asyncio.create_task(files._opened(slowly))
        assert await asyncio.to_thread(began.wait, 30)
        opening.cancel()
        assert isinstance((await asyncio.gather(opening, return_exceptions=True))[0], asyncio.CancelledError)
        assert not file.closed
        go_on.set()
        await files.close()

    asyncio.run(broken())
    assert file.closed


def _file(person: Person, id: MessageId) -> bytes:
    [one] = person.chat.get_message(id).attachments
    assert one.file
    return one.file.id


def test_what_came_in_part_and_was_damaged_on_the_disk_comes_again(two: tuple[Person, Person]) -> None:
    ada, bob = two
    bob.chat.set_fetch_limit(1_000)
    id = post(ada)
    sync(ada, bob)
    bob.chat.fetch_attachment(id)

    async def broken() -> None:
        here, there = ends(ada, bob, 11)
        await asyncio.gather(
            PeerSync(ada.chat, here).run(), PeerSync(bob.chat, there).run(), return_exceptions=True
        )

    asyncio.run(broken())
    part = Path(bob.store.files.folder, "part", _file(ada, id).hex())
    content = bytearray(part.read_bytes())
    assert len(content) > 1 << 20
    content[1_100_000] ^= 1  # in the second piece
    part.write_bytes(content)
    sync(ada, bob)
    assert has(bob, id)


Spoil = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "spoil", [lambda piece: piece[:-1] + bytes([piece[-1] ^ 1]), lambda piece: piece[:-1], lambda piece: b""]
)
def test_a_piece_that_is_wrong_is_refused_and_comes_from_another(
    tmp_path: Path, two: tuple[Person, Person], monkeypatch: pytest.MonkeyPatch, spoil: Spoil
) -> None:
    ada, bob = two
    eve = Person.create(tmp_path, "eve")
    eve.chat.join_channel(ada.chat.create_invite("team").text())
    sync(ada, eve)
    id = post(ada)
    sync(ada, eve)
    honest = Outgoing.piece
    bob.chat.set_fetch_limit(1_000)  # first the message alone
    sync(eve, bob)
    bob.chat.fetch_attachment(id)
    with monkeypatch.context() as patch:
        patch.setattr(
            Outgoing, "piece", lambda self, n: spoil(honest(self, n)) if n == 2 else honest(self, n)
        )
        _, yours = sync(eve, bob)
    assert [error.rule for error in yours.files.refused] == ["file_piece"]
    assert states(bob, id) == ["asked"]
    assert bob.chat.get_attachments(id)[0].received_bytes == 2 << 20  # what was right stays
    _, yours = sync(ada, bob)
    assert has(bob, id)
    assert yours.files.came_bytes < len(LARGE)


def test_a_wrong_outline_is_refused(two: tuple[Person, Person], monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = two
    id = post(ada)
    made = Outgoing.__init__

    def lying(self: Outgoing, *given: object) -> None:
        made(self, *given)  # type: ignore[arg-type]
        self.outline = bytes(len(self.outline))

    with monkeypatch.context() as patch:
        patch.setattr(Outgoing, "__init__", lying)
        _, yours = sync(ada, bob)
    assert [error.rule for error in yours.files.refused][:1] == ["file_outline"]
    assert states(bob, id) == ["missing"]
    sync(ada, bob)
    assert has(bob, id)


@pytest.mark.parametrize("forge", ["size", "key", "both"])
def test_a_message_that_lies_about_a_file_keeps_nobody_from_the_true_one(
    two: tuple[Person, Person], forge: str
) -> None:
    """Also if it comes first, and if a part of the file was there."""
    ada, bob = two
    bob.chat.set_fetch_limit(1_000)
    id = post(ada)
    [true] = ada.chat.get_message(id).attachments
    assert true.file
    size = len(LARGE) - 1 if forge in ("size", "both") else len(LARGE)  # of as many pieces
    key = os.urandom(32) if forge in ("key", "both") else true.file.key
    lie = true._replace(size_bytes=size, file=true.file._replace(key=key))
    ada.chat.send_message("team", "a lie", attachments=[lie])
    sync(ada, bob)
    bob.chat.fetch_attachment(id)
    bob.chat.set_fetch_limit(16 << 20)

    async def broken() -> None:
        here, there = ends(ada, bob, 11)
        await asyncio.gather(
            PeerSync(ada.chat, here).run(), PeerSync(bob.chat, there).run(), return_exceptions=True
        )

    asyncio.run(broken())
    for _ in range(2):  # where the link broke early the lie is found out only now
        sync(ada, bob)
    assert has(bob, id)
    assert bob.store.verify().ok


def test_a_file_that_no_key_opens_is_not_kept(
    two: tuple[Person, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = two
    true = ada.chat.get_message(post(ada, b"small", "b.txt")).attachments[0]
    assert true.file
    forged = true._replace(file=true.file._replace(key=os.urandom(32)))
    ada.chat.create_channel("other")
    bob.chat.join_channel(ada.chat.create_invite("other").text())
    ada.chat.remove_member("team", bob.identity)
    lie = ada.chat.send_message("other", "", attachments=[forged]).id
    with monkeypatch.context() as patch:
        patch.setattr(Server, "may_have", lambda self, id: True)  # who serves is in it, too
        _, yours = sync(ada, bob)
    assert "file_open" in [error.rule for error in yours.files.refused]
    assert states(bob, lie) == ["missing"]
    assert list(bob.store.files.whole()) == []


def gives(server: Server, file: bytes) -> bool:
    outgoing = server.open(file)
    if outgoing is not None:
        outgoing.close()
    return outgoing is not None


def test_who_may_not_read_the_message_gets_no_file(tmp_path: Path, two: tuple[Person, Person]) -> None:
    """Nor does who learned its name and not its key, and says it in a message: from before they came, or of another channel."""
    ada, _ = two
    early = post(ada, b"early", "early.txt")
    eve = Person.create(tmp_path, "eve")
    eve.chat.join_channel(ada.chat.create_invite("team", history="joined").text())
    sync(ada, eve)
    late = post(ada, b"late", "late.txt")
    sync(ada, eve)
    assert has(eve, late, b"late")
    server = Server(ada.store, eve.store.device)
    assert not gives(server, _file(ada, early))
    assert gives(server, _file(ada, late))
    ada.chat.create_channel("private")
    secret = ada.store.folder.with_name("secret.txt")
    secret.write_bytes(b"secret")
    hidden = ada.chat.send_message("private", "", files=[secret]).id
    for id in (early, hidden):
        [one] = ada.chat.get_message(id).attachments
        assert one.file
        named = one._replace(file=one.file._replace(key=os.urandom(32)))
        eve.chat.send_message("team", "I know its name", attachments=[named])
        _, hers = sync(ada, eve)
        assert hers.files.came == 0
        assert hers.files.lacked > 0
        assert not gives(server, _file(ada, id))


def test_a_stranger_and_a_removed_member_get_no_file(two: tuple[Person, Person]) -> None:
    ada, bob = two
    id = post(ada, b"with bob", "with.txt")
    assert not gives(Server(ada.store, os.urandom(32)), _file(ada, id))
    assert gives(Server(ada.store, bob.store.device), _file(ada, id))
    ada.chat.remove_member("team", bob.identity)
    assert not gives(Server(ada.store, bob.store.device), _file(ada, id))


def test_a_full_disk_stops_files_and_not_messages(
    two: tuple[Person, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = two
    id = post(ada)
    ada.say(ada.chat.resolve("team"), "after it")

    def full(self: PartFile, number: int, piece: bytes) -> None:
        raise FullError("no space left", rule="disk_full")

    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "write", full)
        _, yours = sync(ada, bob)
    assert yours.files.full
    assert "after it" in bob.reads(bob.chat.resolve("team"))
    assert states(bob, id) == ["missing"]
    sync(ada, bob)
    assert has(bob, id)


def test_live_a_file_that_comes_later_is_passed_on(tmp_path: Path, two: tuple[Person, Person]) -> None:
    """Eve has the message from Bob before Bob has the file; when Ada brings it, Bob says so, and Eve gets it."""
    ada, bob = two
    eve = Person.create(tmp_path, "eve")
    eve.chat.join_channel(ada.chat.create_invite("team").text())
    sync(ada, eve)
    bob.chat.set_fetch_limit(0)
    id = post(ada, b"small but late", "b.txt")
    sync(ada, bob)
    assert states(bob, id) == ["missing"]

    async def live() -> None:
        here, there = ends(bob, eve)
        mine, hers = PeerSync(bob.chat, here, live=True), PeerSync(eve.chat, there, live=True)
        running = asyncio.gather(mine.run(), hers.run())
        try:
            async with asyncio.timeout(30):
                with eve.chat.events() as events:
                    while not hers.report.files.lacked:
                        await asyncio.sleep(0)
                    bob.chat.fetch_attachment(id)
                    near, far = ends(ada, bob)
                    await asyncio.gather(PeerSync(ada.chat, near).run(), PeerSync(bob.chat, far).run())
                    await mine.changed()
                    while (await asyncio.to_thread(next, events)).kind != "attachment":
                        pass
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(live())
    assert has(eve, id, b"small but late")


# The machine without I/O


def session_with(file: bytes = ID, size: int = 10 * PIECE_PLAIN) -> FileSession:
    session = FileSession()
    session.want(file, size, 0)
    return session


def test_no_more_is_asked_for_than_there_is_room() -> None:
    session = FileSession()
    [first] = session.want(ID, 10 * PIECE_PLAIN, 0)
    wish = decode_message(first.frame)  # type: ignore[attr-defined]
    assert wish == Want(ID, 0, PIECES_AHEAD)
    session.receive(Outline(ID, bytes(320)))
    asked = PIECES_AHEAD
    for number in range(10):
        assert session.receive(Piece(ID, number, b"x")) == [TakePiece(ID, number, b"x")]
        for effect in session.took(ID, number):
            more = decode_message(effect.frame)  # type: ignore[attr-defined]
            assert isinstance(more, Want)
            assert more.first == asked
            asked += more.count
            assert asked - number - 1 <= PIECES_AHEAD
    assert asked == 11  # the padding takes one more
    session.receive(Piece(ID, 10, b"x"))
    assert session.took(ID, 10) == []
    assert not session.open
    assert len(session.satisfied()) == 1
    assert session.satisfied() == []


@pytest.mark.parametrize(
    ("rule", "messages"),
    [
        ("piece_unasked", [Piece(ID, 0, b"")]),  # before its outline
        ("piece_unasked", [Outline(ID, bytes(320)), Piece(ID, 1, b"")]),
        ("piece_unasked", [Outline(ID, bytes(320)), Piece(bytes(31) + b"1", 0, b"")]),
        ("piece_unasked", [Outline(ID, bytes(320)), *(Piece(ID, n, b"") for n in range(PIECES_AHEAD + 1))]),
        ("outline_unasked", [Outline(ID, bytes(320)), Outline(ID, bytes(320))]),
        ("outline_unasked", [Outline(bytes(31) + b"1", bytes(32))]),
        ("wants_overrun", [Want(ID, 0, 16)] * (WANTED_MAX // 16 + 1)),
    ],
)
def test_a_peer_cannot_send_or_want_more_than_was_agreed(rule: str, messages: list[object]) -> None:
    session = session_with()
    *before, last = messages
    for message in before:
        session.receive(message)  # type: ignore[arg-type]
    with pytest.raises(MalformedError) as error:
        session.receive(last)  # type: ignore[arg-type]
    assert error.value.rule == rule


def test_what_was_given_up_is_let_pass() -> None:
    session = session_with()
    session.receive(Outline(ID, bytes(320)))
    session.receive(Piece(ID, 0, b""))
    session.give_up(ID)
    for number in range(1, PIECES_AHEAD - 1):
        assert session.receive(Piece(ID, number, b"")) == []
        assert not session.idle
    assert session.receive(Piece(ID, PIECES_AHEAD - 1, b"")) == [FileOver(ID)]
    assert session.idle
    assert not session.is_asking(ID)
    assert session.receive(Lacks(ID)) == []
    assert session.receive(Here(ID)) == [FileHere(ID)]
    assert session.receive(Want(ID, 3, 2)) == [ServeFile(ID, 3, 2)]
    assert len(session.lacks(ID, 2)) == 1
    assert session.lacked == (ID,)


def test_a_peer_that_loses_a_file_while_it_gives_it_says_so() -> None:
    session = session_with()
    session.receive(Outline(ID, bytes(320)))
    session.receive(Piece(ID, 0, b""))
    assert session.receive(Lacks(ID)) == [FileLacked(ID)]
    assert session.took(ID, 0) == []  # it was on its way to the disk
    assert session.idle


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("sync_want", Want(b"short", 0, 1)), ("sync_want", Want(ID, -1, 1)), ("sync_want", Want(ID, 0, 0)),
        ("sync_want", Want(ID, 0, 17)), ("sync_want", Want(ID, 1 << 20, 1)), ("sync_outline", Outline(ID, b"")),
        ("sync_outline", Outline(ID, bytes(33))), ("sync_outline", Outline(ID, bytes(32 << 14) + bytes(64))),
        ("sync_piece", Piece(ID, 0, bytes((1 << 20) + 1))), ("sync_piece", Piece(ID, -1, b"")), ("sync_file", Lacks(b"")),
        ("sync_file", Here(bytes(33))),
    ],
)  # fmt: skip
def test_messages_beyond_their_bounds(rule: str, message: object) -> None:
    with pytest.raises(MalformedError) as error:
        decode_message(encode_message(message))  # type: ignore[arg-type]
    assert error.value.rule == rule


def test_messages_about_files_come_back() -> None:
    for message in (
        Want(ID, 0, 16),
        Outline(ID, bytes(64)),
        Piece(ID, 5, b"x"),
        Lacks(ID),
        Here(ID),
        Content(),
    ):
        assert decode_message(encode_message(message)) == message
