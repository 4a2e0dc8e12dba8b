"""What is fuzzed: each target takes bytes and raises only if something is wrong with Quire.

A target swallows the errors that its door may raise and lets every other out: a `UnicodeDecodeError`, a
`RecursionError` or a failed assertion is a finding. Inputs are files, so a finding can be kept
(fuzz/corpus/TARGET/), and the fast suite runs all kept ones (tests/test_fuzz.py).
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec
from lxml import html
from tests.vectors import vault

from quire.core.backup import BackupKey, decode_state, open_manifest, open_pack
from quire.core.bundle import bundle_tag, open_bundle
from quire.core.bundle_file import Record, read_bundle_file
from quire.core.commit import decode_commit, decode_head, encode_commit
from quire.core.crypto import aead
from quire.core.crypto.cards import decode_card, encode_card, parse_card, parse_id
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.handshake import ClientSide, ServerSide
from quire.core.crypto.keys import Label, SigningKey, decode_certificate, derive_key
from quire.core.crypto.link_code import LinkCode
from quire.core.crypto.linking import NewDevice, OldDevice
from quire.core.crypto.sealing import PUBLIC_SIZE, public_of, seal
from quire.core.crypto.slots import decode_slots
from quire.core.encoding import encode
from quire.core.export_seal import open_seal
from quire.core.file_record import open_file_piece
from quire.core.ids import ChannelId, DeviceId, IdentityId, parse_message_id
from quire.core.invite import open_request, parse_link, request_tag
from quire.core.limits import BUNDLE_BYTES_MAX, PREVIEW_BYTES_MAX
from quire.core.operation_form import decode_operation, encode_operation
from quire.core.packing import packed, unpacked
from quire.core.query import parse_query
from quire.core.refusal import open_refusal
from quire.core.relay_frames import decode_from_device, decode_from_relay, encode_frame
from quire.core.relay_items import (
    NEED_HEAD,
    Need,
    assembled,
    name_of_mark,
    open_need,
    part_of,
    record_of,
    seal_need,
)
from quire.core.segment import HEADER_SIZE, Reference, read_record
from quire.core.segment import header as segment_header
from quire.core.welcome import open_welcome, recipient_tag
from quire.core.words import index_text, spans, words
from quire.errors import FormatError, MalformedError, NotFoundError, UnauthorisedError, UsageError
from quire.exchange.detect import Importer, detect, importers
from quire.exchange.html_text import rendered
from quire.exchange.model import Message, Options
from quire.exchange.out_csv import harmless
from quire.exchange.out_markdown import quotable
from quire.exchange.sources import open_source
from quire.exchange.writing import safe_name as export_name
from quire.storage.schema import TOKENIZER
from quire.storage.search import expression
from quire.store.file_types import NAME_BYTES_MAX, safe_name, type_of
from quire.store.previews import checked_preview, make_preview
from quire.store.reader import position
from quire.sync.files import TakeOutline, TakePiece
from quire.sync.session import Session, Take

CORPUS = Path(__file__).parent / "corpus"
ELEMENTS = frozenset(
    ["div", "p", "blockquote", "pre", "code", "strong", "em", "s", "a"]
)  # of a body in a page
TIME_MS_END = 7_258_118_400_000  # year 2200: no importer gives later times
RECORDS_MAX = 200_000  # an input of some kilobytes that gives more is a bomb
UNPACKED_MAX = 1 << 16
BACKUP_KEY = BackupKey(bytes(32))
EPOCH_KEY, CHANNEL_ID = EpochKey(bytes(32)), ChannelId(bytes(32))
Target = Callable[[bytes], None]


# Bytes from peers and disks


def operation(data: bytes) -> None:
    try:
        value = decode_operation(data)
    except MalformedError:
        return
    assert encode_operation(value) == data


def commit(data: bytes) -> None:
    try:
        value, head = decode_commit(data)
    except MalformedError:
        return
    assert encode_commit(value) == data
    assert encode(head) == value.head


def head(data: bytes) -> None:
    try:
        value = decode_head(data)
    except MalformedError:
        return
    assert encode(value) == data


def certificate(data: bytes) -> None:
    try:
        value = decode_certificate(data)
    except MalformedError:
        return
    assert value.encode() == data


def slots(data: bytes) -> None:
    try:
        decode_slots(data)
    except MalformedError:
        return


def chain(data: bytes) -> None:
    """Commits for a vault: each taken or refused, whatever it is."""
    try:
        commits = msgspec.msgpack.decode(data, type=list[bytes])
    except (msgspec.MsgspecError, UnicodeError):
        commits = [data]
    report = vault().ingest(commits)
    assert report.new + report.repeated + len(report.refused) == len(commits)


def packing(data: bytes) -> None:
    """Compressed bytes of anyone's making: unpacked within the bound, or refused."""
    try:
        plain = unpacked(data, bytes_max=UNPACKED_MAX, what="bundle")
    except MalformedError:
        return
    assert len(plain) <= UNPACKED_MAX


def card(data: bytes) -> None:
    try:
        value = decode_card(data)
    except MalformedError:
        return
    assert encode_card(value) == data


def bundle(data: bytes) -> None:
    """As it is, and as what a member may have sealed."""
    for given in (data, _sealed_by_a_member(data)):
        _refused_or(functools.partial(open_bundle, given, EPOCH_KEY, CHANNEL_ID))


def _sealed_by_a_member(plain: bytes) -> bytes:
    salt = bytes(32)
    header = b"\1" + bundle_tag(EPOCH_KEY, CHANNEL_ID) + salt
    key = derive_key(EPOCH_KEY.reveal(), Label.BUNDLE, salt=salt + CHANNEL_ID)
    return header + aead.encrypt(key, aead.ZERO_NONCE, packed(plain), header)


def file_record(data: bytes) -> None:
    """As it is, and as what a member may have sealed."""
    salt = bytes(32)
    header = b"\1" + bundle_tag(EPOCH_KEY, CHANNEL_ID) + salt
    key = derive_key(EPOCH_KEY.reveal(), Label.FILE_RECORD, salt=salt + CHANNEL_ID)
    for given in (data, header + aead.encrypt(key, aead.ZERO_NONCE, data, header)):
        _refused_or(functools.partial(open_file_piece, given, EPOCH_KEY, CHANNEL_ID))


def attached(data: bytes) -> None:
    """What a stranger calls a file, what it is, and its preview."""
    name = safe_name(data.decode("utf-8", "replace"))
    assert name == safe_name(name)
    assert 0 < len(name.encode()) <= NAME_BYTES_MAX + 4
    assert not set(name) & set("/\\\0\n:")
    assert not name.startswith(".")
    assert len(make_preview(io.BytesIO(data))) <= PREVIEW_BYTES_MAX
    type_of(data)
    try:
        assert len(checked_preview(data)) <= PREVIEW_BYTES_MAX
    except MalformedError:
        return


def pack(data: bytes) -> None:
    """As it is, and as what whoever has the passphrase may have sealed."""
    for given in (data, _sealed_in_backup(b"\x89QBPACK\n", Label.BACKUP_PACK, data)):
        _refused_or(functools.partial(open_pack, given, BACKUP_KEY))


def segment(data: bytes) -> None:
    """A segment's file as it is, and a record that whoever has the key may have sealed; then as a reference."""
    sealed = aead.encrypt(
        derive_key(bytes(32), Label.SEGMENT_RECORD, salt=bytes(16) + HEADER_SIZE.to_bytes(4, "big")),
        aead.ZERO_NONCE, data, segment_header(bytes(16)),
    )  # fmt: skip
    one = Reference(bytes(16), 1, HEADER_SIZE, len(sealed), max(len(data) - 1, 0), bytes(32)).encode()
    for file, reference in ((data, one), (segment_header(bytes(16)) + sealed, one), (data, data[:65])):
        _refused_or(functools.partial(read_record, file, bytes(32), bytes(16), reference))


def manifest(data: bytes) -> None:
    """Likewise."""
    whole = _sealed_in_backup(b"\x89QBMANI\n", Label.BACKUP_MANIFEST, data)
    for given in (data, whole + hashlib.sha256(whole).digest()):
        _refused_or(functools.partial(open_manifest, given, BACKUP_KEY))


def _sealed_in_backup(magic: bytes, label: Label, plain: bytes) -> bytes:
    header = magic + b"\0\1" + bytes(32)
    key = derive_key(BACKUP_KEY.reveal(), label, salt=bytes(32))
    return header + aead.encrypt(key, aead.ZERO_NONCE, packed(plain), header)


def backup_state(data: bytes) -> None:
    _refused_or(functools.partial(decode_state, data))


def request(data: bytes) -> None:
    """As it is, and as what whoever knows the invite may have encrypted."""
    invite = bytes(32)
    header = b"\1" + request_tag(invite, CHANNEL_ID)
    key, nonce = derive_key(invite, Label.REQUEST, salt=CHANNEL_ID), bytes(aead.NONCE_SIZE)
    for sealed in (data, header + nonce + aead.encrypt(key, nonce, packed(data), header)):
        _refused_or(functools.partial(open_request, sealed, invite, CHANNEL_ID))


def refusal(data: bytes) -> None:
    """As it is, and as what anybody may have sealed to us."""
    seed = bytes(32)
    tag = recipient_tag(public_of(seed))
    sealed = b"\1" + tag + seal(packed(data), public_of(seed), Label.REFUSAL_SEAL.encode() + tag)
    for one in (data, sealed):
        _refused_or(functools.partial(open_refusal, one, seed))


def welcome(data: bytes) -> None:
    _refused_or(functools.partial(open_welcome, data, bytes(32)))


def bundle_file(data: bytes) -> None:
    """The same records and faults in whatever pieces; one fault that ends the file at most."""
    whole = list(read_bundle_file([data]))
    pieces = list(read_bundle_file(data[at : at + 7] for at in range(0, len(data), 7)))
    assert [one for one in whole if isinstance(one, Record)] == [
        one for one in pieces if isinstance(one, Record)
    ]
    rules = [one.rule for one in whole if isinstance(one, MalformedError)]
    assert rules == [one.rule for one in pieces if isinstance(one, MalformedError)]
    assert all(rule in ("record_damaged", "record_kind") for rule in rules[:-1])


def linking(data: bytes) -> None:
    """A message of a stranger, at each step of either side."""
    code = LinkCode("0000-0000-0000")
    new = NewDevice(code, SigningKey(bytes(32)), bytes(PUBLIC_SIZE), bytes)
    old = OldDevice(code, IdentityId(bytes(32)), 0, bytes)
    for receive in (new.offer, new.finish, old.answer, old.receive):
        try:
            receive(data)
        except (MalformedError, UnauthorisedError, UsageError):
            continue


def _refused_or(act: Callable[[], object]) -> None:
    try:
        act()
    except MalformedError:
        return


# Text from people


def pasted(data: bytes) -> None:
    """A card, an identity, a link or a code: what is read is written as it was given, white space aside."""
    given = text_of(data)
    joined = "".join(given.split())
    try:
        link = parse_link(given)
    except MalformedError:
        pass
    else:
        assert link.text().lower() == joined.lower()
    _refused_or(functools.partial(parse_card, given))
    _refused_or(functools.partial(parse_id, given))
    try:
        LinkCode(given)
    except UsageError:
        return


def text_of(data: bytes) -> str:
    """Any text a terminal or a caller can hand in, lone surrogates included."""
    return data.decode("utf-8", "surrogateescape")


def query(data: bytes) -> None:
    """Whatever parses is an expression that the index understands."""
    try:
        parsed = parse_query(text_of(data))
    except UsageError:
        return
    match = expression(parsed, [["c1x1", "c2x1"]], [[3]])
    _index().execute("SELECT rowid FROM search WHERE search MATCH ?", (match,)).fetchall()


@functools.cache
def _index() -> apsw.Connection:
    database = apsw.Connection(":memory:")
    database.execute(
        f'CREATE VIRTUAL TABLE search USING fts5(body, tags, content="", tokenize="{TOKENIZER}")'
    )
    database.execute("INSERT INTO search(rowid, body, tags) VALUES(1, 'a b c', 'c1 a3 link')")
    return database


def message_id(data: bytes) -> None:
    text = text_of(data)
    try:
        prefix, seq, index = parse_message_id(text)
    except UsageError:
        return
    assert text.strip().lower() == f"{prefix}-{text.strip().partition('-')[2]}"
    assert seq >= 1
    assert index >= 0


def cursor(data: bytes) -> None:
    try:
        time, id = position(text_of(data))
    except UsageError:
        return
    assert 0 <= time < 1 << 60
    assert len(id) in (0, 16)


def text(data: bytes) -> None:
    """Words and their places: within the text, in order, apart."""
    given = text_of(data)
    index_text(given)
    found = words(given)
    phrases = [(found[:1], False), (found[1:3], True), (found[-2:], False)]
    end = 0
    for start, stop in spans(given, [phrase for phrase in phrases if phrase[0]]):
        assert end <= start < stop <= len(given)
        end = stop
    assert not found or spans(given, [(found[:1], False)]), "a word of the text is not found in it"


# Files from elsewhere


def source(data: bytes) -> None:
    """A file that may be an archive: listed, read, recognised."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "export")
        path.write_bytes(data)
        try:
            with open_source(path) as opened:
                for name in opened.names()[:10]:
                    assert name in opened.sizes()
                    _harmless(functools.partial(opened.read, name))
                    _harmless(functools.partial(opened.peek, name))
                for _, stream in opened.walk():
                    stream.read(1 << 16)
                detect(opened)
        except FormatError:
            return


def _harmless(read: Callable[[], bytes]) -> None:
    try:
        read()
    except (FormatError, NotFoundError):
        return


# For each format, where the fuzzed file stands, and what stands beside it.
BESIDE: dict[str, tuple[str, dict[str, str]]] = {
    "slack": (
        "garden/2020-09-13.json",
        {
            "users.json": '[{"id": "U1", "name": "ana"}]',
            "channels.json": '[{"id": "C1", "name": "garden"}]',
        },
    ),
    "zulip": ("messages-000001.json", {"realm.json": '{"zerver_stream": [], "zerver_recipient": []}'}),
    "zulip-archive": ("7-general/plans.json", {"stream_index.json": '{"streams": {"general": {"id": 7}}}'}),
    "discord": ("general.json", {}),
    "discord-html": ("general.html", {}),
    "discord-text": ("general.txt", {}),
    "telegram": ("result.json", {}),
    "telegram-html": ("messages.html", {}),
    "matrix": ("room.json", {}),
    "element": ("messages.html", {}),
    "gitter": ("room.tsv", {}),
    "mattermost": ("bulk.jsonl", {}),
    "messenger": ("messages/inbox/ann_1/message_1.json", {}),
    "jsonl": ("chat.jsonl", {}),
    "whatsapp": ("_chat.txt", {}),
    "signal": ("Ann/chat.md", {}),
    "mbox": ("list.mbox", {}),
    "irc": ("#chan.log", {}),
}


def lay_out(format: str, data: bytes, folder: Path) -> None:
    """The export that `data` is the main file of."""
    name, beside = BESIDE[format]
    for file, content in [*((file, text.encode()) for file, text in beside.items()), (name, data)]:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def imported(importer: Importer, data: bytes) -> None:
    """Records fit to be stored, or FormatError; in bounded number."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(importer.NAME, data, Path(folder))
        with open_source(folder) as opened:
            importer.recognise(opened)
            try:
                for number, record in enumerate(importer.read(opened, Options())):
                    assert number < RECORDS_MAX
                    msgspec.json.encode(record)  # refuses lone surrogates
                    msgspec.convert(msgspec.to_builtins(record), type(record))
                    if isinstance(record, Message):
                        assert 0 <= record.time_ms < TIME_MS_END
            except FormatError:
                return


def sync_session(data: bytes) -> None:
    """What a peer says, frame by frame: answered or refused, and what is asked for stays within bounds."""
    try:
        frames = msgspec.msgpack.decode(data, type=list[bytes])
    except (msgspec.MsgspecError, UnicodeError):
        frames = [data]
    session = Session(DeviceId(b"d" * 32), DeviceId(b"p" * 32), bytes)
    session.greet({CHANNEL_ID: bytes(16)})
    for frame in frames:
        try:
            for effect in session.receive(frame):
                if isinstance(effect, Take):
                    assert len(effect.record.data) <= BUNDLE_BYTES_MAX
                assert not isinstance(effect, TakePiece | TakeOutline)  # nobody asked for a file
        except MalformedError:
            continue


def relay_frame(data: bytes) -> None:
    for decode in (decode_from_relay, decode_from_device):
        try:
            assert encode_frame(decode(data)) == data
        except MalformedError:
            continue


def relay_item(data: bytes) -> None:
    """What lies in a mailbox; also as what a member, who has the key, sealed as a need."""
    key, channel = EpochKey(bytes(32)), ChannelId(bytes(32))
    header = seal_need(Need(bytes(32), ()), key, channel, bytes)[:NEED_HEAD]
    derived = derive_key(key.reveal(), Label.NEED, salt=header[-32:] + channel)
    sealed = header + aead.encrypt(derived, aead.ZERO_NONCE, packed(data), header)
    for read in (
        part_of,
        name_of_mark,
        record_of,
        lambda item: open_need(item, key, channel),
        lambda item: open_need(sealed, key, channel),
        lambda item: assembled(item[:16], {0: item}),
    ):
        try:
            read(data)
        except MalformedError:
            continue


def handshake(data: bytes) -> None:
    """Nobody's bytes prove an honest device. (Keys of small order are proven by anything, and are nobody's.)"""
    key = SigningKey(bytes(32))
    client = ClientSide(key, bytes(32), bytes)
    for take in (ServerSide(key, bytes(32), bytes).receive, client.answer, client.finish):
        try:
            found = take(data)
        except (MalformedError, UnauthorisedError):
            continue
        assert found != key.public


# Exports


def export_seal(data: bytes) -> None:
    """A statement that a stranger wrote, and signed themselves."""
    signature = SigningKey(bytes(32)).sign(Label.EXPORT.encode() + data)
    for given in (signature, bytes(64)):
        _refused_or(functools.partial(open_seal, data, given))


def export_text(data: bytes) -> None:
    """A body of anybody's in a page, in Markdown and in a table: text stays text."""
    body = data.decode("utf-8", "replace")
    for element in html.fragment_fromstring(rendered(body), create_parent="div").iter():
        assert element.tag in ELEMENTS, element.tag
        assert set(element.keys()) <= {"href", "rel"}
        assert element.get("href", "https://").lower().startswith(("http://", "https://"))
    fence = ""
    for line in quotable(body):
        runs = re.match(r" {0,3}(`{3,}|~{3,})", line)
        assert fence or "<" not in line
        if not fence and runs and line[:1] in "`~" and "`" not in line.lstrip("`") * (line[0] == "`"):
            fence = runs[1]
        elif fence and runs and runs[1].startswith(fence) and not line.strip(" ").strip(fence[0]):
            fence = ""
    assert not harmless(body).lstrip().startswith(("=", "+", "-", "@"))
    name = export_name(body[:500], set())
    assert name == Path(name).name
    assert 0 < len(name.encode()) <= NAME_BYTES_MAX


TARGETS: dict[str, Target] = {
    "operation": operation, "commit": commit, "head": head, "certificate": certificate, "slots": slots,
    "chain": chain, "packing": packing, "card": card, "bundle": bundle, "file_record": file_record,
    "attached": attached, "request": request, "refusal": refusal, "welcome": welcome, "bundle_file": bundle_file,
    "pack": pack, "segment": segment, "manifest": manifest, "backup_state": backup_state, "linking": linking, "pasted": pasted,
    "sync_session": sync_session, "relay_frame": relay_frame, "relay_item": relay_item, "handshake": handshake,
    "export_seal": export_seal, "export_text": export_text,
    "query": query, "message_id": message_id, "cursor": cursor, "text": text, "source": source,
    **{f"import-{importer.NAME}": functools.partial(imported, importer) for importer in importers()},
}  # fmt: skip


def kept(target: str) -> list[Path]:
    """The corpus of a target. The golden vectors are also that of the decoders (fuzz/run.py)."""
    return sorted(path for path in (CORPUS / target).glob("*") if path.is_file())
