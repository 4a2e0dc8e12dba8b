"""One side of one sync, over any link (docs/spec/09-sync.md, section 4).

Both sides say the same things, in rounds:

    Hello        which channels, and a digest of what I have of each
    Have*, Asked what I have of each channel that differs
    Part*, Sent  what you lack of them and may have
    Rest         I have it all on disk; and whether we should look again

Files go beside the rounds (sync/files.py), from the first Hello on.

A round in which nobody got anything new is the last one: the sides are at rest, until one of them writes something and
begins another round. Two sides that differ in nothing say Hello, and nothing that grows with history.

What each side may say next is a table (`TRANSITIONS`), kept for the peer's messages; ours follow from the calls that the
driver makes, in the order of the effects that it gets. The session holds no history: it asks for it by effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto

from quire.core.bundle_file import KNOWN, Kind, Record
from quire.core.crypto.secrets import RandomBytes
from quire.core.heights import LogHeight
from quire.core.ids import ChannelId, DeviceId
from quire.core.limits import BUNDLE_BYTES_MAX, LOGS_PER_CHANNEL_MAX
from quire.errors import MalformedError
from quire.sync.effects import Effect as Effect
from quire.sync.effects import Send as Send
from quire.sync.files import FileSession
from quire.sync.messages import (
    HEIGHTS_PER_FRAME_MAX,
    NONCE_SIZE,
    PART_BYTES_MAX,
    TAGS_PER_FRAME_MAX,
    VERSION,
    Asked,
    Bye,
    FileMessage,
    Have,
    Hello,
    Message,
    Part,
    Rest,
    Sent,
    Taken,
    channel_token,
    decode_message,
    encode_message,
    record_fits,
)

WINDOW_BYTES = 32 << 20  # sent and not yet taken: what a receiver holds in memory; the largest record fits
WINDOW_RECORDS = 1_024


class State(Enum):
    """Where the peer is in what it says."""

    NEW = auto()
    ASKING = auto()
    SENDING = auto()
    SETTLING = auto()
    RESTING = auto()
    PARTED = auto()


TRANSITIONS: dict[tuple[State, type[Message]], State] = {  # what is not here is the peer's error
    (State.NEW, Hello): State.ASKING,
    (State.ASKING, Have): State.ASKING,
    (State.ASKING, Asked): State.SENDING,
    (State.SENDING, Part): State.SENDING,
    (State.SENDING, Sent): State.SETTLING,
    (State.SETTLING, Rest): State.RESTING,
    (State.RESTING, Hello): State.ASKING,
}
ANY_TIME = (Taken, Bye)


class Greeted(Effect, frozen=True):
    """The peer began a round that we have not begun: call `greet`."""


class Matched(Effect, frozen=True):
    """Both said Hello: call `ask` for each that differs, then `asked`."""

    differing: tuple[ChannelId, ...]
    equal: tuple[ChannelId, ...]
    unmatched: tuple[ChannelId, ...]  # ours, of which the peer says nothing


class Give(Effect, frozen=True):
    """The peer has asked: call `give` with each record for it, then `sent`."""

    holdings: dict[ChannelId, tuple[tuple[LogHeight, ...], tuple[bytes, ...]]]


class Take(Effect, frozen=True):
    """Take in a record; call `taken` when it is durable."""

    number: int
    record: Record


class Received(Effect, frozen=True):
    """The peer has sent all: call `rest` when all is taken in."""


class Rested(Effect, frozen=True):
    """The round is over on both sides."""

    again: bool  # one of us got something new: call `greet` for the next round


class Credit(Effect, frozen=True):
    """The peer took records; `room` may hold again."""

    number: int


class Parted(Effect, frozen=True):
    """The peer ends here."""

    rule: str


class Session:
    """One side. Not thread-safe; effects are carried out in order."""

    def __init__(self, device: DeviceId, peer: DeviceId, random_bytes: RandomBytes) -> None:
        self._device = device
        self._peer = peer
        self._random_bytes = random_bytes
        self.state = State.NEW
        self._offers: Mapping[ChannelId, bytes] = {}  # ours, this round
        self._nonce = b""
        self._hello: Hello | None = None  # the peer's, this round
        self._greeted = False  # have we begun this round?
        self._tokens: dict[bytes, ChannelId] = {}  # the peer's, of channels that we have too
        self._holdings: dict[ChannelId, tuple[list[LogHeight], list[bytes]]] = {}
        self._number = 0  # of the last record we sent
        self._unread: dict[int, int] = {}  # number -> size, of those not yet taken by the peer
        self._parts: list[bytes] = []  # of the record that is coming
        self._coming: tuple[int, int] | None = None  # its number and kind
        self._last = 0  # number of the last record that came
        self._untaken: dict[int, int] = {}  # number -> size of what came and is not durable yet
        self._ours_rest: Rest | None = None
        self._their_rest: Rest | None = None
        self.files = FileSession()

    # What we say

    def greet(self, offers: Mapping[ChannelId, bytes]) -> list[Effect]:
        """Begin a round, or answer that the peer did.

        offers    our channels, and the digest of what we have of each
        """
        assert not self._greeted
        self._greeted, self._offers = True, offers
        self._nonce = self._random_bytes(NONCE_SIZE)
        named = sorted((channel_token(one, self._device, self._nonce), said) for one, said in offers.items())
        return [_send(Hello(VERSION, self._nonce, tuple(named))), *self._match()]

    def ask(
        self, channel: ChannelId, heights: Iterable[LogHeight], tags: Iterable[bytes]
    ) -> Iterator[Effect]:
        """Say what we have of a channel."""
        token = channel_token(channel, self._device, self._nonce)
        left, keys = list(heights), list(tags)
        while True:
            now, left = left[:HEIGHTS_PER_FRAME_MAX], left[HEIGHTS_PER_FRAME_MAX:]
            some, keys = keys[:TAGS_PER_FRAME_MAX], keys[TAGS_PER_FRAME_MAX:]
            yield _send(Have(token, tuple(now), tuple(some)))
            if not left and not keys:
                return

    def asked(self) -> list[Effect]:
        """That was all."""
        return [_send(Asked())]

    @property
    def room(self) -> bool:
        """May another record go, or must the peer take some first?"""
        return (
            sum(self._unread.values()) <= WINDOW_BYTES - BUNDLE_BYTES_MAX
            and len(self._unread) < WINDOW_RECORDS
        )

    @property
    def greeted(self) -> bool:
        """Have we begun this round?"""
        return self._greeted

    @property
    def idle(self) -> bool:
        """Are both at rest, so that a round may begin?"""
        return self.state is State.RESTING and not self._greeted

    def give(self, record: Record) -> Iterator[Effect]:
        """Send a record."""
        self._number += 1
        self._unread[self._number] = len(record.data)
        data = record.data
        for at in range(0, len(data), PART_BYTES_MAX) or (0,):
            last = at + PART_BYTES_MAX >= len(data)
            yield _send(Part(self._number, int(record.kind), last, data[at : at + PART_BYTES_MAX]))

    def sent(self) -> list[Effect]:
        """That is all we may give."""
        return [_send(Sent())]

    def taken(self, number: int) -> list[Effect]:
        """All records up to this one are on disk, or refused."""
        self._untaken = {one: size for one, size in self._untaken.items() if one > number}
        return [_send(Taken(number))]

    def rest(self, *, again: bool) -> list[Effect]:
        """We have taken everything."""
        self._ours_rest = Rest(again)
        return [_send(self._ours_rest), *self._round_over()]

    def part(self, rule: str = "") -> list[Effect]:
        """End here."""
        self.state = State.PARTED
        return [_send(Bye(rule))]

    # What the peer says

    def receive(self, frame: bytes) -> list[Effect]:
        """Take one frame. Raises: MalformedError, also if it may not come now; the session is as before."""
        message = decode_message(frame)
        kind = type(message)
        state = self.state
        if isinstance(message, FileMessage):
            if state in (State.NEW, State.PARTED):
                raise MalformedError("this may not come now", rule="out_of_turn", found=kind.__name__)
            return self.files.receive(message)
        if kind not in ANY_TIME:
            following = TRANSITIONS.get((state, kind))
            if following is None:
                raise MalformedError("this may not come now", rule="out_of_turn", found=kind.__name__)
            state = following
        elif state is State.PARTED:
            raise MalformedError("this may not come now", rule="out_of_turn", found=kind.__name__)
        effects = self._take(message)
        if self.state is not State.PARTED:
            self.state = state if not isinstance(message, Rest) else State.RESTING
        if isinstance(message, Rest):
            effects += self._round_over()
        return effects

    def _take(self, message: Message) -> list[Effect]:
        match message:
            case Hello():
                return self._take_hello(message)
            case Have():
                self._take_have(message)
                return []
            case Asked():
                found = {
                    channel: (tuple(some), tuple(tags)) for channel, (some, tags) in self._holdings.items()
                }
                return [Give(found)]
            case Part():
                return self._take_part(message)
            case Sent():
                if self._coming is not None:
                    raise MalformedError("a record ends too early", rule="record_cut")
                return [Received()]
            case Rest():
                self._their_rest = message
                return []
            case Taken(number=number):
                if number > self._number:
                    raise MalformedError("it took what was not sent", rule="taken_unsent")
                self._unread = {one: size for one, size in self._unread.items() if one > number}
                return [Credit(number)]
            case Bye(rule=rule):
                self.state = State.PARTED
                return [Parted(rule)]
        raise AssertionError(message)

    def _take_hello(self, hello: Hello) -> list[Effect]:
        if hello.version != VERSION:
            self.state = State.PARTED
            return [_send(Bye("version")), Parted("version")]
        self._hello = hello
        self._holdings = {}
        return self._match() if self._greeted else [Greeted()]

    def _match(self) -> list[Effect]:
        """Both sides' offers, held against each other."""
        if self._hello is None:
            return []
        said = dict(self._hello.offers)
        self._tokens = {channel_token(one, self._peer, self._hello.nonce): one for one in self._offers}
        theirs = {channel: said[token] for token, channel in self._tokens.items() if token in said}
        equal = tuple(one for one, digest in theirs.items() if digest == self._offers[one])
        differing = tuple(one for one in theirs if one not in equal)
        self._tokens = {token: one for token, one in self._tokens.items() if one in differing}
        unmatched = tuple(one for one in self._offers if one not in theirs)
        return [Matched(differing, equal, unmatched)]

    def _take_have(self, have: Have) -> None:
        channel = self._tokens.get(have.token)
        if channel is None:
            raise MalformedError("of a channel that was not offered, or does not differ", rule="have_unasked")
        heights, tags = self._holdings.get(channel, ([], []))
        if len(heights) + len(have.heights) > LOGS_PER_CHANNEL_MAX or len(tags) > TAGS_PER_FRAME_MAX:
            raise MalformedError("too much for one channel", rule="too_many_logs")
        self._holdings[channel] = ([*heights, *have.heights], [*tags, *have.tags])

    def _take_part(self, part: Part) -> list[Effect]:
        expected = self._coming or (self._last + 1, part.kind)
        if (part.number, part.kind) != expected:
            raise MalformedError("a record out of order", rule="record_order")
        size = len(self._parts) * PART_BYTES_MAX + len(part.data)
        if not record_fits(size) or size + sum(self._untaken.values()) > WINDOW_BYTES:
            raise MalformedError("more than was agreed", rule="window_overrun")
        if len(self._untaken) >= WINDOW_RECORDS:
            raise MalformedError("more than was agreed", rule="window_overrun")
        if not part.last:
            self._coming = expected
            self._parts.append(part.data)
            return []
        data, self._parts, self._coming = b"".join([*self._parts, part.data]), [], None
        self._last = part.number
        self._untaken[part.number] = len(data)
        if part.kind not in KNOWN:  # of a newer version: it concerns this record only
            return [*self.taken(part.number)]
        return [Take(part.number, Record(Kind(part.kind), data))]

    def _round_over(self) -> list[Effect]:
        if self._ours_rest is None or self._their_rest is None:
            return []
        again = self._ours_rest.again or self._their_rest.again
        self._ours_rest = self._their_rest = self._hello = None
        self._greeted = False
        return [Rested(again)]


def _send(message: Message) -> Send:
    return Send(encode_message(message))
