"""What an export is made of: the lines of Quire JSONL as an export writes them (docs/export-jsonl.md).

Every exporter takes these, and the JSONL one writes them as they are; `export.schema.json`, beside this module, is made
of them. They are a superset of what docs/import-jsonl.md asks of anyone's script, with three differences that make an
export lossless: authors are whole keys (`slack:U123`, `quire:<identity>`), so who wrote keeps their origin; `id` names a
message in this file, and `origin` is what it was called where it came from; reactions, edits, deletions and pins carry
who and when.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

VERSION = 1
OWN_SOURCE = (
    "quire"  # people with keys; a file cannot speak for them, so an import files them under `IMPORTED_SOURCE`
)
IMPORTED_SOURCE = "jsonl"


class HeaderLine(msgspec.Struct, frozen=True, tag_field="type", tag="quire", omit_defaults=True):
    """The first line."""

    version: int  # of the format: 1
    export: str = ""  # the program that wrote it; what stands here makes the file an export
    exported_ms: int = 0  # when, Unix ms
    since_ms: int | None = None  # messages from then on only
    until_ms: int | None = None  # messages before then only
    signed: bool = False  # it holds what proves it


class ChannelLine(msgspec.Struct, frozen=True, tag_field="type", tag="channel", omit_defaults=True):
    """A channel, before its first message."""

    key: str  # its id: 64 hexadecimal digits
    name: str
    topic: str = ""
    kind: str = "channel"  # channel | private | group | direct
    source: str = ""  # where it was imported from: "slack" …
    origin: str = ""  # its key there


class AuthorLine(msgspec.Struct, frozen=True, tag_field="type", tag="author", omit_defaults=True):
    """Somebody, before the first line that names them."""

    key: str  # `source:author there`, or `quire:<identity>` for somebody who signs with a key
    name: str
    bot: bool = False


class AttachmentPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that a message refers to."""

    name: str
    url: str = ""
    media_type: str = ""
    size_bytes: int | None = None
    file: str = ""  # where its bytes are, from the folder of the export


class ReactionPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """One emoji on a message: who, in order, and when."""

    emoji: str
    authors: tuple[str, ...] = ()  # author keys
    times_ms: tuple[int, ...] = ()  # of each; left out where all are the message's own time
    unknown: int = 0  # people whom the origin only counted
    unknown_ms: int | None = None


class EditPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A later text."""

    time_ms: int
    body: str
    id: str = ""  # its own id, where it came from or here
    replaces: int | None = (
        None  # number of the version it replaces, 1 = the first text; the one before if left out
    )


class MarkPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who deleted or pinned a message, and when."""

    time_ms: int
    author: str = ""
    reason: str = ""
    erased: bool = False  # for good: its bytes are gone, not only hidden


class MessageLine(msgspec.Struct, frozen=True, tag_field="type", tag="message", omit_defaults=True, gc=False):
    """A message or a notice; in the order of the channel."""

    channel: str
    id: str
    time_ms: int
    author: str
    body: str  # the first text; "" if the message is deleted
    notice: str = ""
    thread: str = ""  # id of the thread's root
    thread_time_ms: int | None = None  # only if the root is later
    title: str = ""
    reply_to: str = ""
    reply_to_time_ms: int | None = None  # only if that is later
    attachments: tuple[AttachmentPart, ...] = ()
    mentions: tuple[str, ...] = ()
    reactions: tuple[ReactionPart, ...] = ()
    edits: tuple[EditPart, ...] = ()  # oldest first; the last one shows
    edited_ms: int | None = None  # marked as edited then, with no older text kept
    deleted: MarkPart | None = None
    pinned: MarkPart | None = None
    broadcast: bool = False
    action: bool = False
    origin: str | None = None  # its id where it was imported from

    @property
    def text(self) -> str:
        """The text that shows."""
        return self.edits[-1].body if self.edits else self.body


class CommitLine(msgspec.Struct, frozen=True, tag_field="type", tag="commit", omit_defaults=True):
    """A signed commit, as docs/spec/03-commits.md has it: what proves the lines of a signed export."""

    channel: str
    commit: bytes  # in base64


class SealLine(msgspec.Struct, frozen=True, tag_field="type", tag="seal", omit_defaults=True):
    """What the exporter's device signs: that this is all it had of a channel (core/export_seal.py)."""

    channel: str
    statement: bytes  # in base64
    signature: bytes


class EndLine(msgspec.Struct, frozen=True, tag_field="type", tag="end", omit_defaults=True):
    """The last line: a file without it was cut short."""

    messages: int


Line: TypeAlias = HeaderLine | ChannelLine | AuthorLine | MessageLine | CommitLine | SealLine | EndLine


class ExportSummary(msgspec.Struct, frozen=True):
    """What an export wrote."""

    format: str
    path: str
    channels: int = 0
    messages: int = 0
    authors: int = 0
    files: int = 0
    bytes: int = 0
    attachments: int = 0  # files of messages that are in it
    attachments_absent: int = 0  # those whose bytes are not here
    signed: bool = False
    seconds: float = 0.0


def schema() -> bytes:
    """The JSON Schema (2020-12) of one line of an export."""
    (root,), parts = msgspec.json.schema_components([Line], ref_template="#/$defs/{name}")
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Quire JSONL: one line of an export",
        **root,
        "$defs": parts,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"
