"""Files over a link: what we want of the peer, and what it wants of us (docs/spec/09-sync.md, section 5).

    Want         send me these pieces of a file
    Outline      the hashes of its pieces, before the first of them
    Piece        one of those wanted, in order
    Lacks        I have not got it, or you may not
    Here         what I lacked has come
    Content      I want nothing more, for now

Whoever wants decides how much comes: no more than it asked for, and it asks as it takes. So nothing is sent that nobody has
room for, and a transfer goes on at any piece. Files travel beside the rounds of the session (sync/session.py), and never
before its records.
"""

from __future__ import annotations

import msgspec

from quire.core.sealed_file import piece_count
from quire.errors import MalformedError
from quire.sync.effects import Effect, Send
from quire.sync.messages import Content, FileMessage, Here, Lacks, Outline, Piece, Want, encode_message

PIECES_AHEAD = 4  # of one file: asked for and not yet taken
WANTED_MAX = 32  # pieces that the peer may have asked for and not got: a megabyte each
LACKED_MAX = 4_096  # files that we remember to have lacked, to say when they come


class ServeFile(Effect, frozen=True):
    """The peer wants pieces of a file: call `outline` (if `first` is 0) and `piece` with each, or `lacks`."""

    file: bytes
    first: int
    count: int


class TakeOutline(Effect, frozen=True):
    """The hashes of the pieces of a file that we want: check them."""

    file: bytes
    hashes: bytes


class TakePiece(Effect, frozen=True):
    """A piece that we want: check it, keep it, and call `took` or `give_up`."""

    file: bytes
    number: int
    data: bytes


class FileLacked(Effect, frozen=True):
    """The peer has not got a file that we want."""

    file: bytes


class FileOver(Effect, frozen=True):
    """All has come of a file that we gave up: it may be wanted anew, as a message with another size says."""

    file: bytes


class FileHere(Effect, frozen=True):
    """The peer has got what it lacked before."""

    file: bytes


class PeerContent(Effect, frozen=True):
    """The peer wants nothing more, for now."""


class _Asking(msgspec.Struct):
    """A file that is coming."""

    pieces: int
    asked: int  # the first piece that was not asked for yet
    expected: int  # the next one to come
    taken: int  # the next one to be taken
    outline: bool  # is its outline to come first?
    over: bool = False  # we want no more of it; what was asked for comes still


class FileSession:
    """One side. Not thread-safe; effects are carried out in order."""

    def __init__(self) -> None:
        self._asking: dict[bytes, _Asking] = {}
        self._serving = 0  # pieces that the peer asked for and has not got
        self._lacked: dict[bytes, None] = {}
        self.content = False  # did we say that we want nothing more?
        self.peer_content = False

    # What we want

    @property
    def open(self) -> int:
        """Files that are coming."""
        return sum(not one.over for one in self._asking.values())

    @property
    def idle(self) -> bool:
        """Is nothing coming, not even of what we gave up?"""
        return not self._asking

    def is_asking(self, file: bytes) -> bool:
        return file in self._asking

    def want(self, file: bytes, size: int, first: int) -> list[Effect]:
        """Ask for a file from one of its pieces on.

        size    bytes before it was sealed
        """
        assert file not in self._asking
        self.content = False
        self._asking[file] = _Asking(piece_count(size), first, first, first, first == 0)
        return self._ask_more(file)

    def took(self, file: bytes, number: int) -> list[Effect]:
        """A piece is kept; more may come."""
        asking = self._asking.get(file)
        if asking is None:  # the peer said meanwhile that no more comes
            return []
        asking.taken = number + 1
        if asking.taken == asking.pieces:
            del self._asking[file]
            return []
        return self._ask_more(file)

    def give_up(self, file: bytes) -> None:
        """Want no more of a file."""
        asking = self._asking.get(file)
        if asking is not None:
            asking.over = True
            if asking.expected == asking.asked:
                del self._asking[file]

    def satisfied(self) -> list[Effect]:
        """We want nothing more, for now; said once."""
        if self.content:
            return []
        self.content = True
        return [_send(Content())]

    def _ask_more(self, file: bytes) -> list[Effect]:
        asking = self._asking[file]
        room = PIECES_AHEAD - (asking.asked - asking.taken)
        count = min(room, asking.pieces - asking.asked)
        if count <= 0 or (room < PIECES_AHEAD // 2 and asking.asked + count < asking.pieces):
            return []
        first, asking.asked = asking.asked, asking.asked + count
        return [_send(Want(file, first, count))]

    # What the peer wants

    def outline(self, file: bytes, hashes: bytes) -> list[Effect]:
        """The hashes of a file's pieces, before the first."""
        return [_send(Outline(file, hashes))]

    def piece(self, file: bytes, number: int, data: bytes) -> list[Effect]:
        """A piece that was wanted, in order."""
        self._serving -= 1
        return [_send(Piece(file, number, data))]

    def lacks(self, file: bytes, count: int) -> list[Effect]:
        """We have not got it, or the peer may not; `count` pieces will not come."""
        self._serving -= count
        if len(self._lacked) >= LACKED_MAX:
            del self._lacked[next(iter(self._lacked))]
        self._lacked[file] = None
        return [_send(Lacks(file))]

    @property
    def lacked(self) -> tuple[bytes, ...]:
        """Files that the peer wanted and we had not got."""
        return tuple(self._lacked)

    def here(self, file: bytes) -> list[Effect]:
        """It has come."""
        self._lacked.pop(file, None)
        return [_send(Here(file))]

    # What the peer says

    def receive(self, message: FileMessage) -> list[Effect]:
        """Take one message. Raises: MalformedError; the session is as before."""
        match message:
            case Want(file=file, first=first, count=count):
                if self._serving + count > WANTED_MAX:
                    raise MalformedError("more pieces than may be wanted at once", rule="wants_overrun")
                self._serving += count
                self.peer_content = False
                return [ServeFile(file, first, count)]
            case Outline(file=file, hashes=hashes):
                asking = self._asking.get(file)
                if asking is None or not asking.outline:
                    raise MalformedError("an outline that nobody asked for", rule="outline_unasked")
                asking.outline = False
                return [] if asking.over else [TakeOutline(file, hashes)]
            case Piece():
                return self._take_piece(message)
            case Lacks(file=file):
                # It may be said once for each wish that was on its way.
                gone = self._asking.pop(file, None)
                return [] if gone is None else [FileOver(file) if gone.over else FileLacked(file)]
            case Here(file=file):
                return [FileHere(file)]
            case Content():
                self.peer_content = True
                return [PeerContent()]
        raise AssertionError(message)

    def _take_piece(self, piece: Piece) -> list[Effect]:
        asking = self._asking.get(piece.file)
        if (
            asking is None
            or asking.outline
            or piece.number != asking.expected
            or asking.expected >= asking.asked
        ):
            raise MalformedError("a piece that nobody asked for now", rule="piece_unasked")
        asking.expected += 1
        if asking.over:
            if asking.expected < asking.asked:
                return []
            del self._asking[piece.file]
            return [FileOver(piece.file)]
        return [TakePiece(piece.file, piece.number, piece.data)]


def _send(message: FileMessage) -> Send:
    return Send(encode_message(message))
