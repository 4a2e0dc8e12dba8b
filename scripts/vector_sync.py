"""The scenarios of the golden vectors about sync: messages and conversations, relay frames, and how a direct link begins.

Wrong ones are plain MessagePack values with one thing changed; conversations are arrays of frames, as one side hears them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors import VALID, fixed_entropy
from vector_parts import CHANNEL, DEVICE, INCARNATION, Case, fixed, raw

from quire.core import limits
from quire.core.crypto.handshake import ClientSide, ServerSide
from quire.core.crypto.keys import SigningKey
from quire.core.heights import LogHeight, digest
from quire.core.ids import ChannelId, DeviceId
from quire.core.relay_frames import ITEM_BYTES_MAX, to_be_signed
from quire.core.sealed_file import PIECE_SIZE
from quire.sync.messages import PART_BYTES_MAX, PIECES_MAX, channel_token

PEER = SigningKey(fixed("peer"))
MAILBOX = SigningKey(fixed("mailbox"))
NONCE = fixed("peer's nonce", 16)
TOKEN, ZEROS = fixed("token", 16), bytes(16)
LOG: list[Any] = [DEVICE.public, INCARNATION, b"", 9, fixed("commit"), [[2, 3], [5, 5]]]
OURS = digest(())  # in a conversation, we have nothing of the channel


def but(values: list[Any], **changes: Any) -> list[Any]:
    """Some fields (by number: `f3=`) changed."""
    found = list(values)
    for field, value in changes.items():
        found[int(field[1:])] = value
    return found


HELLO: list[Any] = [1, 1, NONCE, [[TOKEN, fixed("digest", 16)]]]
HAVE: list[Any] = [2, TOKEN, [LOG], [fixed("tag", 16)]]
PART: list[Any] = [4, 1, 2, True, b"a record"]


def messages() -> Iterator[Case]:
    rights = {"Hello": HELLO, "Have": HAVE, "Asked": [3], "Part": PART, "Sent": [5], "Rest": [6, True], "Taken": [7, 1],
              "Bye": [8, "version"]}  # fmt: skip
    for name, values in rights.items():
        yield name.lower(), raw(values), VALID, f"a right {name}", {"message": name}
    rule = "sync_message"
    yield "empty", b"", rule, "no bytes"
    yield "unknown", raw([99]), rule, "no such message"
    yield "no-array", raw({"version": 1}), rule, "a map"
    yield "field-missing", raw(HELLO[:-1]), rule, "a Hello without offers"
    yield "field-type", raw(but(HELLO, f1="1")), rule, "a version in words"
    yield "trailing", raw([3]) + b"\0", rule, "something behind it"
    not_canonical = "sync_message_not_canonical"
    yield "field-too-many", raw([3, 0]), not_canonical, "one more field than it has"
    yield "wide-integer", b"\x92\x07\xcd\x00\x01", not_canonical, "1 in three bytes"
    yield "hello-version-0", raw(but(HELLO, f1=0)), "sync_hello", "versions begin with 1"
    yield "hello-nonce-short", raw(but(HELLO, f2=bytes(15))), "sync_hello", "a byte less"
    many = [[n.to_bytes(16, "big"), ZEROS] for n in range(3)]
    yield (
        "hello-version-2",
        raw(but(HELLO, f1=2)),
        VALID,
        "to be answered, and to end there",
        {"message": "Hello"},
    )
    yield "hello-nothing", raw(but(HELLO, f3=[])), VALID, "of somebody without channels", {"message": "Hello"}
    yield "hello-unordered", raw(but(HELLO, f3=many[::-1])), "sync_offers", "tokens ascend"
    yield "hello-twice", raw(but(HELLO, f3=[many[0], many[0]])), "sync_offers", "a token twice"
    yield "hello-token-short", raw(but(HELLO, f3=[[bytes(15), ZEROS]])), "sync_offers", "a byte less"
    yield "hello-digest-long", raw(but(HELLO, f3=[[ZEROS, bytes(17)]])), "sync_offers", "a byte more"
    yield "have-token-long", raw(but(HAVE, f1=bytes(17))), "sync_have", "a byte more"
    yield "have-too-many", raw(but(HAVE, f2=[LOG] * 257)), "sync_have", "257 heights in one frame"
    yield (
        "have-height",
        raw(but(HAVE, f2=[but(LOG, f3=0)])),
        "sync_heights",
        "a log that ends before it begins",
    )
    yield "have-tag-short", raw(but(HAVE, f3=[bytes(15)])), "sync_tags", "a byte less"
    yield "have-nothing", raw(but(HAVE, f2=[], f3=[])), VALID, "of who lacks all", {"message": "Have"}
    yield "part-number-0", raw(but(PART, f1=0)), "sync_part", "numbers begin with 1"
    yield "part-short", raw(but(PART, f3=False)), "sync_part", "only the last may be short"
    yield "part-long", raw(but(PART, f4=bytes(PART_BYTES_MAX + 1))), "sync_part", "a byte more than 1 MiB"
    whole = but(PART, f3=False, f4=bytes(PART_BYTES_MAX))
    yield "part-whole", raw(whole), VALID, "1 MiB, and more comes", {"message": "Part"}
    yield "part-kind-unknown", raw(but(PART, f2=99)), VALID, "of a newer version", {"message": "Part"}
    yield "taken-0", raw([7, 0]), "sync_taken", "numbers begin with 1"
    file, hashes = fixed("file"), fixed("piece", 64)
    files = {"Want": [9, file, 0, 16], "Outline": [10, file, hashes], "Piece": [11, file, 1, b"bytes"], "Lacks": [12, file],
             "Here": [13, file], "Content": [14]}  # fmt: skip
    for name, values in files.items():
        yield f"file-{name.lower()}", raw(values), VALID, f"a right {name}", {"message": name}
    yield "want-none", raw([9, file, 0, 0]), "sync_want", "no pieces"
    yield "want-many", raw([9, file, 0, 17]), "sync_want", "17 at once"
    yield "want-negative", raw([9, file, -1, 1]), "sync_want", "before the first"
    yield "want-beyond", raw([9, file, PIECES_MAX, 1]), "sync_want", "no file has so many"
    yield "want-file-short", raw([9, file[1:], 0, 1]), "sync_want", "a byte less"
    yield "outline-empty", raw([10, file, b""]), "sync_outline", "a file has a piece at least"
    yield "outline-cut", raw([10, file, hashes[1:]]), "sync_outline", "no whole hashes"
    yield (
        "outline-long",
        raw([10, file, bytes(32 * (PIECES_MAX + 1))]),
        "sync_outline",
        "one hash more than may be",
    )
    yield "piece-long", raw([11, file, 0, bytes(PIECE_SIZE + 1)]), "sync_piece", "a byte more than 1 MiB"
    yield "piece-beyond", raw([11, file, PIECES_MAX, b""]), "sync_piece", "no file has so many"
    yield "lacks-short", raw([12, file[1:]]), "sync_file", "a byte less"
    yield "here-long", raw([13, file + b"\0"]), "sync_file", "a byte more"
    yield "bye-long", raw([8, "x" * 65]), "sync_bye", "65 characters"
    yield "bye-not-ascii", raw([8, "§"]), "sync_bye", "no rule is called so"


def heights() -> Iterator[Case]:
    right = LogHeight(*LOG[:-1], ((2, 3), (5, 5)))
    facts = {"digest": digest([right]).hex()}
    yield "right", raw([LOG]), VALID, "a log of nine commits, without the second, third and fifth", facts
    yield "nothing", raw([]), VALID, "what somebody has who has nothing", {"digest": digest(()).hex()}
    branch: list[Any] = but(LOG, f2=fixed("branch"), f5=[])
    both = [right, LogHeight(*branch[:-1], ())]
    yield (
        "branch",
        raw([LOG, branch]),
        VALID,
        "a log that was continued twice",
        {"digest": digest(both).hex()},
    )
    rule = "sync_heights"
    for name, changes, why in (
        ("device-short", {"f0": bytes(31)}, "a byte less"),
        ("incarnation-long", {"f1": bytes(17)}, "a byte more"),
        ("branch-short", {"f2": bytes(31)}, "neither none nor an id"),
        ("last-0", {"f3": 0, "f5": []}, "a log of no commits"),
        ("last-too-high", {"f3": 1 << 32}, "beyond what a seq may be"),
        ("id-short", {"f4": bytes(31)}, "a byte less"),
        ("gap-0", {"f5": [[0, 1]]}, "before the first"),
        ("gap-reversed", {"f5": [[3, 2]]}, "it ends before it begins"),
        ("gaps-touch", {"f5": [[2, 3], [4, 5]]}, "nothing is between them: it is one"),
        ("gaps-unordered", {"f5": [[5, 5], [2, 3]]}, "the second first"),
        ("gap-of-the-last", {"f5": [[8, 9]]}, "but the last is here"),
        ("gaps-too-many", {"f3": 2_000, "f5": [[2 * n, 2 * n] for n in range(1, 258)]}, "257 of them"),
    ):
        yield name, raw([but(LOG, **changes)]), rule, why


def conversations() -> Iterator[Case]:
    """What one device hears, which has greeted and has nothing of one channel."""
    theirs = channel_token(ChannelId(CHANNEL), DeviceId(PEER.public), NONCE)
    hello = raw([1, 1, NONCE, [[theirs, fixed("digest", 16)]]])
    have = raw([2, theirs, [LOG], []])
    asked, sent, rest = raw([3]), raw([5]), raw([6, False])
    facts = {
        "device": DEVICE.public.hex(), "peer": PEER.public.hex(), "channel": CHANNEL.hex(), "entropy": "our nonce",
    }  # fmt: skip

    def part(number: int, kind: int = 2, data: bytes = b"x", *, last: bool = True) -> bytes:
        return raw([4, number, kind, last, data])

    def heard(*frames: bytes) -> bytes:
        return raw(list(frames))

    ours = fixed_entropy("our nonce")(16)
    token = channel_token(ChannelId(CHANNEL), DeviceId(DEVICE.public), ours)
    whole = facts | {"said_first": raw([1, 1, ours, [[token, OURS]]]).hex(), "records": [[2, b"x".hex()]]}
    yield "round", heard(hello, have, asked, part(1), sent, rest), VALID, "a whole round", whole
    stepped = facts | {"records": []}
    yield (
        "kind-unknown",
        heard(hello, asked, part(1, 99)),
        VALID,
        "a record of a newer version is stepped over",
        stepped,
    )
    stranger = raw([1, 1, NONCE, [[fixed("strange token", 16), OURS]]])
    yield "stranger", heard(stranger, asked, sent, rest), VALID, "who shares no channel", stepped
    yield (
        "parted",
        heard(hello, raw([8, "refused"])),
        VALID,
        "it may part at any time",
        facts | {"parted": "refused"},
    )
    yield "version-2", heard(raw([1, 2, NONCE, []])), VALID, "we part", facts | {"parted": "version"}
    rule = "out_of_turn"
    yield "have-first", heard(have), rule, "before any Hello", facts
    yield "hello-twice", heard(hello, hello), rule, "in one round", facts
    yield "part-before-asked", heard(hello, part(1)), rule, "they have not asked yet", facts
    yield "have-after-asked", heard(hello, asked, have), rule, "that was all", facts
    yield "rest-before-sent", heard(hello, asked, rest), rule, "they send still", facts
    yield "part-after-sent", heard(hello, asked, sent, part(1)), rule, "that was all", facts
    yield "after-bye", heard(hello, raw([8, ""]), raw([7, 1])), rule, "they have gone", facts
    yield (
        "have-unasked",
        heard(hello, raw([2, fixed("strange token", 16), [], []])),
        "have_unasked",
        "not offered",
        facts,
    )
    equal = raw([1, 1, NONCE, [[theirs, OURS]]])
    yield "have-of-equals", heard(equal, have), "have_unasked", "a channel that does not differ", facts
    order = "record_order"
    yield "record-skipped", heard(hello, asked, part(2)), order, "the first is missing", facts
    yield "record-twice", heard(hello, asked, part(1), part(1)), order, "a number again", facts
    first = part(1, data=bytes(PART_BYTES_MAX), last=False)
    yield (
        "record-mixed",
        heard(hello, asked, first, part(1, 3)),
        order,
        "another kind in the midst of it",
        facts,
    )
    yield "record-cut", heard(hello, asked, first, sent), "record_cut", "its last part is missing", facts
    long = [first] * 18
    yield (
        "record-too-long",
        heard(hello, asked, *long, part(1)),
        "window_overrun",
        "more than a record may have",
        facts,
    )
    many = [part(number) for number in range(1, 1_026)]
    yield (
        "too-many-under-way",
        heard(hello, asked, *many),
        "window_overrun",
        "1,025, and none is Taken",
        facts,
    )
    yield "taken-unsent", heard(hello, raw([7, 1])), "taken_unsent", "we have sent nothing", facts


def relay_frames() -> Iterator[Case]:
    box, sign = MAILBOX.public, bytes(64)
    challenge: list[Any] = [1, 2, fixed("relay nonce"), fixed("relay", 16), ITEM_BYTES_MAX]
    relay, device = {"from": "relay"}, {"from": "device"}
    rights: list[tuple[list[Any], str, dict[str, str]]] = [
        (challenge, "Challenge", relay), ([2, 1, 5], "Stored", relay), ([3, box, 5, b"item"], "Item", relay),
        ([3, box, 6, b""], "Item", relay), ([4, box, 0], "CaughtUp", relay), ([5, 1, "relay_full"], "Refused", relay),
        ([6, "out_of_turn"], "Bye", relay), ([16, 1, box, sign], "Open", device), ([17, 2, box, b"item"], "Put", device),
        ([18, 3, box, 0], "Subscribe", device), ([7, box, 3, 9], "Left", relay), ([7, box, 3, 3], "Left", relay),
        ([19, 4, box, 0, (1 << 63) - 1, True, 1_024], "Read", device), ([19, 5, box, 3, 9, False, 1], "Read", device),
    ]  # fmt: skip
    for number, (values, name, side) in enumerate(rights):
        yield f"{name.lower()}-{number}", raw(values), VALID, f"a right {name}", side | {"frame": name}
    rule, other = "relay_frame", "relay_frame_not_canonical"
    yield "empty", b"", rule, "no bytes", relay
    yield "unknown", raw([8]), rule, "no such frame", relay
    yield "from-the-wrong-side", raw([17, 2, box, b"item"]), rule, "a relay puts nothing", relay
    yield "from-the-other-side", raw([6, "x"]), rule, "a device says no Bye", device
    yield "field-missing", raw([2, 1]), rule, "a Stored without a cursor", relay
    yield "field-too-many", raw([2, 1, 5, 0]), other, "one more than it has", relay
    yield "wide-integer", b"\x93\x02\x01\xcd\x00\x05", other, "5 in three bytes", relay
    yield "challenge-nonce-short", raw(but(challenge, f2=bytes(31))), "relay_challenge", "a byte less", relay
    yield "challenge-relay-long", raw(but(challenge, f3=bytes(17))), "relay_challenge", "a byte more", relay
    yield "stored-0", raw([2, 1, 0]), "relay_item", "cursors begin with 1", relay
    yield "stored-too-high", raw([2, 1, 1 << 63]), "relay_item", "no database keeps it", relay
    yield "item-mailbox-short", raw([3, box[1:], 5, b"x"]), "relay_item", "a byte less", relay
    yield "item-negative", raw([3, box, -1, b"x"]), "relay_item", "no cursor", relay
    yield "item-too-high", raw([3, box, (1 << 64) - 1, b"x"]), "relay_item", "no database keeps it", relay
    yield "caught-up-mailbox", raw([4, b"", 5]), "relay_item", "of no mailbox", relay
    yield "refused-long", raw([5, 1, "x" * 65]), "relay_rule", "65 characters", relay
    yield "bye-not-ascii", raw([6, "§"]), "relay_rule", "no rule is called so", relay
    yield "open-signature-short", raw([16, 1, box, bytes(63)]), "relay_open", "a byte less", device
    yield "open-mailbox-long", raw([16, 1, box + b"\0", sign]), "relay_open", "a byte more", device
    yield "put-mailbox-short", raw([17, 1, box[1:], b"x"]), "relay_put", "a byte less", device
    yield "put-nothing", raw([17, 1, box, b""]), "item_size", "no item", device
    yield "put-too-large", raw([17, 1, box, bytes(ITEM_BYTES_MAX + 1)]), "item_size", "a byte more", device
    largest = raw([17, 1, box, bytes(ITEM_BYTES_MAX)])
    yield "put-largest", largest, VALID, "as large as may be", device | {"frame": "Put"}
    yield "subscribe-negative", raw([18, 1, box, -1]), "relay_subscribe", "before all is 0", device
    yield "subscribe-too-high", raw([18, 1, box, 1 << 63]), "relay_subscribe", "no database keeps it", device
    yield "left-turned-round", raw([7, box, 9, 3]), "relay_left", "ends before it begins", relay
    yield "left-mailbox", raw([7, box[1:], 3, 9]), "relay_left", "a byte less", relay
    yield "left-negative", raw([7, box, -1, 9]), "relay_left", "before all is 0", relay
    yield "left-too-high", raw([7, box, 3, 1 << 63]), "relay_left", "no database keeps it", relay
    read: list[Any] = [19, 4, box, 3, 9, True, 64]
    yield "read-nothing", raw(but(read, f4=3)), "relay_read", "nothing can lie there", device
    yield "read-mailbox", raw(but(read, f2=box[1:])), "relay_read", "a byte less", device
    yield "read-negative", raw(but(read, f3=-1)), "relay_read", "before all is 0", device
    yield "read-too-high", raw(but(read, f4=1 << 63)), "relay_read", "no database keeps it", device
    yield "read-no-items", raw(but(read, f6=0)), "relay_read", "at least one", device
    yield "read-too-many", raw(but(read, f6=1_025)), "relay_read", "one more than may be", device
    yield "subscribe-mailbox", raw([18, 1, bytes(31), 0]), "relay_subscribe", "a byte less", device


def openings() -> Iterator[Case]:
    """Open, as a relay checks it that has said this nonce."""
    nonce, box = fixed("relay nonce"), MAILBOX.public
    facts = {"nonce": nonce.hex()}
    right = MAILBOX.sign(to_be_signed(nonce, box))
    yield "right", raw([16, 1, box, right]), VALID, "the mailbox's key signed the nonce", facts
    rule = "mailbox_signature"
    other = MAILBOX.sign(to_be_signed(fixed("another nonce"), box))
    yield "other-nonce", raw([16, 1, box, other]), rule, "said on another connection", facts
    stranger = PEER.sign(to_be_signed(nonce, box))
    yield "other-key", raw([16, 1, box, stranger]), rule, "by who has not the key", facts
    yield "other-mailbox", raw([16, 1, PEER.public, right]), rule, "of another mailbox", facts
    yield (
        "without-label",
        raw([16, 1, box, MAILBOX.sign(nonce + box)]),
        rule,
        "signed for something else",
        facts,
    )
    yield "flipped", raw([16, 1, box, bytes([right[0] ^ 1]) + right[1:]]), rule, "one bit", facts


def handshakes() -> Iterator[Case]:
    """The three messages, as the side hears them that they are for. Its random bytes are those of `entropy`."""
    seen = fixed("certificate hash")
    server = ServerSide(DEVICE, seen, fixed_entropy("server"))
    client = ClientSide(PEER, seen, fixed_entropy("client"))
    opening = server.opening()
    answer = client.answer(opening)
    server.receive(answer)
    proof = server.proof(DeviceId(PEER.public))
    at_server = {
        "side": "server",
        "seed": fixed("device").hex(),
        "certificate": seen.hex(),
        "entropy": "server",
    }
    at_client = {
        "side": "client",
        "seed": fixed("peer").hex(),
        "certificate": seen.hex(),
        "entropy": "client",
    }
    second = at_client | {"opening": opening.hex()}
    yield "opening", opening, VALID, "what a server says first", at_client | {"answer": answer.hex()}
    known = at_server | {"device": PEER.public.hex(), "answer": proof.hex()}
    yield "answer", answer, VALID, "a client proves itself", known
    yield "proof", proof, VALID, "a server proves itself", second | {"device": DEVICE.public.hex()}
    rule = "link_message"
    yield "opening-short", opening[:-1], rule, "a byte less", at_client
    yield "opening-long", opening + b"\0", rule, "a byte more", at_client
    yield "opening-version-2", b"\2" + opening[1:], "link_version", "a version of the future", at_client
    yield "answer-short", answer[:-1], rule, "a byte less", at_server
    yield "answer-empty", b"", rule, "no bytes", at_server
    yield "proof-long", proof + b"\0", rule, "a byte more", second
    rule = "link_proof"
    yield "answer-flipped", answer[:-1] + bytes([answer[-1] ^ 1]), rule, "one bit", at_server
    yield "answer-other-nonce", bytes(16) + answer[16:], rule, "the client's nonce is signed", at_server
    yield (
        "answer-other-device",
        answer[:16] + DEVICE.public + answer[48:],
        rule,
        "the device is signed",
        at_server,
    )
    between = ClientSide(PEER, fixed("another certificate"), fixed_entropy("client")).answer(opening)
    yield "answer-other-certificate", between, rule, "somebody stands between", at_server
    old = ClientSide(PEER, seen, fixed_entropy("client")).answer(b"\1" + fixed("old nonce", 16))
    yield "answer-replayed", old, rule, "said to an older nonce", at_server
    elsewhere = ServerSide(DEVICE, fixed("another certificate"), fixed_entropy("server"))
    elsewhere.receive(ClientSide(PEER, fixed("another certificate"), fixed_entropy("client")).answer(opening))
    caught = elsewhere.proof(DeviceId(PEER.public))
    yield "proof-other-certificate", caught, rule, "somebody stands between", second
    yield (
        "proof-for-another",
        server.proof(DeviceId(DEVICE.public)),
        rule,
        "the client's device is signed",
        second,
    )
    yield "proof-mirrored", answer[16:], rule, "the client's own proof, given back", second


def link_frames() -> Iterator[Case]:
    """A stream of a direct link, to its end."""
    end = b"\xff" * 4

    def frame(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    two = frame(b"one") + bytes(4) + frame(b"two") + end
    yield (
        "right",
        two,
        VALID,
        "two frames, a sign of life between, and the end",
        {"frames": [b"one".hex(), b"two".hex()]},
    )
    yield "nothing", end, VALID, "an end in good order at once", {"frames": []}
    most = limits.FRAME_BYTES_MAX
    yield (
        "too-large",
        (most + 1).to_bytes(4, "big") + b"x",
        "frame_too_large",
        "by the length it states",
        {"frames": []},
    )
    almost = b"\xff\xff\xff\xfe"
    yield "almost-the-end", almost, "frame_too_large", "a length, and no sign", {"frames": []}
    yield "no-end", frame(b"one"), "link_lost", "it ends without a word", {"frames": [b"one".hex()]}
    yield (
        "cut",
        frame(b"one") + frame(b"two")[:-1],
        "link_lost",
        "in the midst of a frame",
        {"frames": [b"one".hex()]},
    )
    yield (
        "cut-length",
        frame(b"one") + b"\0\0",
        "link_lost",
        "in the midst of a length",
        {"frames": [b"one".hex()]},
    )


SYNC_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {
    "sync_message": messages, "heights": heights, "sync_session": conversations, "relay_frame": relay_frames,
    "mailbox_open": openings, "handshake": handshakes, "link_frames": link_frames,
}  # fmt: skip
