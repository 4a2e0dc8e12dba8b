"""Golden vectors: reading one, and what this code makes of it. vectors/README.md describes the files."""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from quire.core import relay_frames
from quire.core.backup import BackupKey, open_manifest, open_pack, pack_name
from quire.core.bundle import open_bundle
from quire.core.bundle_file import Record, read_bundle_file
from quire.core.commit import commit_id, decode_commit, decode_head, encode_commit, to_be_signed
from quire.core.crypto.beacons import beacon_tag, invite_beacon, link_beacon, member_beacon, recognised
from quire.core.crypto.cards import card_text, decode_card, encode_card, fingerprint, parse_card, parse_id
from quire.core.crypto.epochs import EpochKey, open_from, open_link
from quire.core.crypto.handshake import ClientSide, ServerSide
from quire.core.crypto.keys import SigningKey, decode_certificate, verify
from quire.core.crypto.link_code import LinkCode
from quire.core.crypto.linking import NewDevice
from quire.core.crypto.sealing import public_of
from quire.core.crypto.secrets import DatabaseKey, RandomBytes
from quire.core.crypto.slots import decode_slots
from quire.core.encoding import encode
from quire.core.file_record import open_file_piece
from quire.core.heights import LogHeight, digest, is_well_formed
from quire.core.ids import ChannelId, DeviceId, IdentityId, log_prefix, message_id_text, parse_message_id
from quire.core.invite import open_request, parse_link
from quire.core.operation_form import decode_operation, encode_operation
from quire.core.relay_frames import Open, decode_from_device, decode_from_relay, encode_frame
from quire.core.relay_items import assembled, name_of_mark, open_need, part_of
from quire.core.sealed_file import PIECE_SIZE, check_outline, check_piece, open_piece, piece_hash
from quire.core.segment import read_record
from quire.core.welcome import open_welcome
from quire.errors import MalformedError, QuireError, UnauthorisedError
from quire.relay.connection import signed
from quire.store.local import LocalStore
from quire.sync.messages import decode_message, encode_message
from quire.sync.session import Parted, Send, Session, Take
from quire.transports.direct import DirectLink
from tests import vaults

FOLDER = Path(__file__).parent.parent / "vectors"
VALID = "valid"


class Vector(msgspec.Struct, frozen=True):
    """One scenario. `facts` are what a reader of valid bytes must also find."""

    kind: str
    name: str
    data: bytes
    expect: str  # "valid", or the rule by which it is refused
    why: str
    facts: dict[str, Any] = {}


def load(path: Path) -> Vector:
    """The vector in a file."""
    fields: dict[str, Any] = json.loads(path.read_text())
    data = fields.pop("bytes")
    parts: list[tuple[str, int]] = [(data, 1)] if isinstance(data, str) else data
    whole = b"".join(bytes.fromhex(part) * times for part, times in parts)
    kind, name, expect, why = (fields.pop(key) for key in ("kind", "name", "expect", "why"))
    return Vector(kind, name, whole, expect, why, fields)


def outcome(vector: Vector) -> str:
    """What this code says to a vector: "valid", the rule it breaks, or what a fact should have been."""
    try:
        found = READERS[vector.kind](vector.data, vector.facts)
    except QuireError as error:
        return error.rule
    wrong = {key: value for key, value in found.items() if key in vector.facts and vector.facts[key] != value}
    return f"facts differ: {wrong}" if wrong else VALID


def _operation(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    operation = decode_operation(data)
    assert encode_operation(operation) == data
    return {"type": type(operation).__name__}


def _head(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    head = decode_head(data)
    assert encode(head) == data
    return {
        "id": commit_id(data).hex(),
        "log_prefix": log_prefix(head.device, head.incarnation).hex(),  # type: ignore[arg-type]
    }


def _commit(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    commit, head = decode_commit(data)
    assert encode_commit(commit) == data
    if not verify(head.device, commit.signature, to_be_signed(commit.head)):
        raise MalformedError("the device did not sign this", rule="commit_signature")
    return {"id": commit_id(commit.head).hex()}


def _certificate(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    certificate = decode_certificate(data)
    certificate.verify()
    assert certificate.encode() == data
    names = ("identity", "device", "issuer")
    return {name: getattr(certificate, name).hex() for name in names}


def _slots(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    return {"slots": len(decode_slots(data).body.slots)}


def _message_id(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """A message id as people write it, in UTF-8."""
    prefix, seq, index = parse_message_id(data.decode())
    id = bytes.fromhex(facts.get("id", ""))
    return {"prefix": prefix, "seq": seq, "index": index, "text": message_id_text(id) if id else ""}  # type: ignore[arg-type]


@functools.cache
def vault() -> LocalStore:
    """One vault for all chains: each has a channel and a log of its own."""
    folder = Path(tempfile.mkdtemp(prefix="quire-vectors-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return vaults.fresh_store(folder)


def _chain(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """Commits in order of arrival, as an array of byte strings; the first that is refused decides."""
    report = vault().ingest(msgspec.msgpack.decode(data, type=list[bytes]))
    if report.refused:
        raise report.refused[0].error
    return {"new": report.new, "parked": report.parked}


def fixed_entropy(name: str) -> RandomBytes:
    """Random bytes that are the same each time: SHAKE256 of a name, from its beginning at every draw."""
    return lambda size: hashlib.shake_256(b"quire vectors entropy " + name.encode()).digest(size)


def _hex(facts: dict[str, Any], *names: str) -> list[Any]:
    return [bytes.fromhex(facts[name]) for name in names]


def _epoch(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    return {"key": open_from(data, *_hex(facts, "seed", "channel", "epoch", "recipient")).reveal().hex()}


def _link(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    channel, child, parent = _hex(facts, "channel", "child", "parent")
    return {"key": open_link(data, EpochKey(child), channel, parent).reveal().hex()}


def _card(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    card = decode_card(data)
    assert encode_card(card) == data
    assert parse_card(card_text(card)) == card
    who = IdentityId(card.identity)
    return {"identity": who.hex(), "devices": len(card.devices), "fingerprint": fingerprint(who)}


def _id(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    return {"identity": parse_id(data.decode()).hex()}


def _invite(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    link = parse_link(data.decode())
    assert link.text() == "".join(data.decode().split())
    public = link.secret.key(link.channel).public.hex()
    hexed = {"channel": link.channel.hex(), "inviter": link.inviter.hex(), "public": public}
    return {**hexed, "expires_ms": link.expires_ms, "channel_name": link.name}


def _request(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    request = open_request(data, *_hex(facts, "invite", "channel"))
    return {"called": request.name, "identity": request.card.identity.hex()}


def _bundle(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    key, channel = _hex(facts, "key", "channel")
    return {"commits": [commit.hex() for commit in open_bundle(data, EpochKey(key), channel)]}


def _welcome(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    found = open_welcome(data, *_hex(facts, "seed"))
    return {"channel": found.channel.hex(), "commits": [commit.hex() for commit in found.commits]}


def _bundle_file(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """The records are what the facts say, also where the file is damaged; then the first error decides."""
    found = list(read_bundle_file([data]))
    records = [[int(one.kind), one.data.hex()] for one in found if isinstance(one, Record)]
    assert records == facts["records"]
    for one in found:
        if isinstance(one, MalformedError):
            raise one
    return {"records": records}


def _link_code(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    return {"text": LinkCode(data.decode()).text()}


def _linking(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """Message 2, as the new device meets it."""
    device, sealing = _hex(facts, "device_seed", "sealing_seed")
    new = NewDevice(
        LinkCode(facts["code"]), SigningKey(device), public_of(sealing), fixed_entropy(facts["entropy"])
    )
    return {"first": new.start().hex(), "answer": new.offer(data).hex()}


def _file(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """A sealed file whole; its outline is given, or what its pieces say."""
    id, key = _hex(facts, "id", "key")
    size = facts["size"]
    pieces = [data[at : at + PIECE_SIZE] for at in range(0, len(data), PIECE_SIZE)]
    outline = bytes.fromhex(facts.get("outline", "")) or b"".join(map(piece_hash, pieces))
    check_outline(id, size, outline)
    for number, piece in enumerate(pieces):
        check_piece(outline, size, number, piece)
    plain = b"".join(open_piece(key, size, number, piece) for number, piece in enumerate(pieces))
    return {"plain": plain.hex()}


def _pack(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    [key] = _hex(facts, "database_key")
    return {
        "items": len(open_pack(data, BackupKey.of(DatabaseKey(key))).items),
        "address": pack_name(data).hex(),
    }


def _manifest(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    [key] = _hex(facts, "database_key")
    return {"packs": len(open_manifest(data, BackupKey.of(DatabaseKey(key))).packs)}


def _segment(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    key, id, reference = _hex(facts, "key", "segment", "reference")
    return {"salted": read_record(data, key, id, reference).hex()}


def _sync_message(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    message = decode_message(data)
    assert encode_message(message) == data
    return {"message": type(message).__name__}


def _heights(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    found = msgspec.msgpack.decode(data, type=list[LogHeight])
    if not all(map(is_well_formed, found)):
        raise MalformedError("no height of a log", rule="sync_heights")
    return {"digest": digest(found).hex()}


def _sync_session(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """Frames in the order in which a device hears them that has greeted, and has nothing of one channel."""
    device, peer, channel = _hex(facts, "device", "peer", "channel")
    session = Session(DeviceId(device), DeviceId(peer), fixed_entropy(facts["entropy"]))
    [said] = session.greet({ChannelId(channel): digest(())})
    assert isinstance(said, Send)
    found: dict[str, Any] = {"said_first": said.frame.hex(), "records": []}
    for frame in msgspec.msgpack.decode(data, type=list[bytes]):
        for effect in session.receive(frame):
            if isinstance(effect, Take):
                found["records"].append([int(effect.record.kind), effect.record.data.hex()])
            elif isinstance(effect, Parted):
                found["parted"] = effect.rule
    return found


def _relay_frame(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    frame = decode_from_relay(data) if facts["from"] == "relay" else decode_from_device(data)
    assert encode_frame(frame) == data
    return {"frame": type(frame).__name__}


def _mailbox_open(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    frame = decode_from_device(data)
    assert isinstance(frame, Open)
    [nonce] = _hex(facts, "nonce")
    if not signed(frame.mailbox, frame.signature, relay_frames.to_be_signed(nonce, frame.mailbox)):
        raise UnauthorisedError("the mailbox's key did not sign this", rule="mailbox_signature")
    return {}


def _relay_part(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    found = [part_of(item) for item in msgspec.msgpack.decode(data, type=list[bytes])]
    record = assembled(found[0].whole, {part.number: part.data for part in found})
    return {"record_kind": int(record.kind), "record": record.data.hex()}


def _need(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    key, channel = _hex(facts, "epoch_key", "channel")
    need = open_need(data, EpochKey(key), ChannelId(channel))
    return {"device": need.device.hex(), "logs": len(need.heights)}


def _mark(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    return {"mark": name_of_mark(data).hex()}


def _beacon(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """Who hears an instance's tag, and has the key of a member, an invite or a place."""
    if "place" in facts:
        key = link_beacon(*_hex(facts, "place"))
    elif "invite_key" in facts:
        invite, channel = _hex(facts, "invite_key", "channel")
        key = invite_beacon(invite, ChannelId(channel))
    else:
        epoch, channel = _hex(facts, "epoch_key", "channel")
        key = member_beacon(EpochKey(epoch), ChannelId(channel))
    [tag] = _hex(facts, "tag")
    if not recognised([key], data, frozenset([tag])):
        raise MalformedError("nobody whom we know", rule="beacon_strange")
    return {"tag": beacon_tag(key, data).hex()}


def _handshake(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """A message of the handshake, at the side that it is for."""
    seed, certificate = _hex(facts, "seed", "certificate")
    key, random_bytes = SigningKey(seed), fixed_entropy(facts["entropy"])
    if facts["side"] == "server":
        server = ServerSide(key, certificate, random_bytes)
        server.opening()
        device = server.receive(data)
        return {"device": device.hex(), "answer": server.proof(device).hex()}
    client = ClientSide(key, certificate, random_bytes)
    if "opening" not in facts:
        return {"answer": client.answer(data).hex()}
    client.answer(*_hex(facts, "opening"))
    return {"device": client.finish(data).hex()}


def _link_frames(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """A stream of a direct link: the frames are what the facts say, also where it ends badly."""
    frames: list[str] = []

    async def read() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        writer: Any = SimpleNamespace(transport=SimpleNamespace(set_write_buffer_limits=lambda high: None))
        link = DirectLink(reader, writer, DeviceId(bytes(32)))
        try:
            while (frame := await link.receive()) is not None:
                frames.append(frame.hex())
        finally:
            link._life.cancel()

    try:
        asyncio.run(read())
    finally:
        assert frames == facts["frames"]
    return {"frames": frames}


def _file_record(data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    key, channel = _hex(facts, "key", "channel")
    found = open_file_piece(data, EpochKey(key), channel)
    return {"file": found.file.hex(), "number": found.number}


READERS: dict[str, Callable[[bytes, dict[str, Any]], dict[str, Any]]] = {
    "operation": _operation, "head": _head, "commit": _commit, "certificate": _certificate,
    "slots": _slots, "message_id": _message_id, "chain": _chain,
    "epoch": _epoch, "link": _link, "card": _card, "id": _id, "invite": _invite, "request": _request, "bundle": _bundle,
    "sync_message": _sync_message, "heights": _heights, "sync_session": _sync_session, "relay_frame": _relay_frame,
    "relay_part": _relay_part, "need": _need, "mark": _mark, "beacon": _beacon,
    "mailbox_open": _mailbox_open, "handshake": _handshake, "link_frames": _link_frames,
    "welcome": _welcome, "bundle_file": _bundle_file, "link_code": _link_code, "linking": _linking,
    "file": _file, "file_record": _file_record, "pack": _pack, "manifest": _manifest, "segment": _segment,
}  # fmt: skip
