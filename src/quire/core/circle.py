"""What a reader sees of people: members, devices, invites, and the story of a channel. Plain, frozen, no behaviour.

Like core/views.py, derived and never a source of truth; apart from it because reading a page needs none of it.
"""

from __future__ import annotations

import msgspec

from quire.core.ids import ChannelId


class DeviceView(msgspec.Struct, frozen=True):
    """A device of a person."""

    id: bytes
    name: str  # what we call it; only our own devices have names here
    own: bool  # ours
    this: bool  # the one we are at
    since_ms: int
    by_identity: bool  # certified by the recovery phrase: outranks those that are not
    heard: bool  # something that it wrote is here; a link that broke off leaves a device of which nothing ever comes


class MemberView(msgspec.Struct, frozen=True):
    """Somebody who is in a channel."""

    identity: bytes
    name: str
    role: str  # guest, member, moderator, admin or owner
    since_ms: int
    history: int  # 0 all, 1 since joining, else a date (Unix ms)
    devices: tuple[DeviceView, ...]
    own: bool
    verified: bool  # we compared safety numbers


class InviteView(msgspec.Struct, frozen=True):
    """A standing invite."""

    key: bytes
    role: str
    uses: int  # 0: any number
    used: int
    expires_ms: int  # 0: never
    history: int
    identity: bytes  # only this person; empty: whoever holds the link
    approval: bool
    author: str
    usable: bool  # may somebody still come in by it?


class RequestView(msgspec.Struct, frozen=True):
    """Somebody who asks to be let in."""

    identity: bytes
    name: str
    invite: bytes
    role: str
    since_ms: int


class StoryLine(msgspec.Struct, frozen=True):
    """One control commit, told."""

    time_ms: int
    author: str
    text: str  # what they did
    standing: bool
    rule: str  # why it is void
    by: str  # who made it void, if somebody did
    role: str  # the role that would have done
    contested: bool


class ForkView(msgspec.Struct, frozen=True):
    """Proof that a device's key wrote in two copies of a vault: two commits of which each denies the other.

    Each side is encoded heads of which each names the one before, and the device's signature over the last. Nearly
    always that is one head; more if only a later commit was signed so that it verifies.
    """

    device: bytes
    author: str
    seq: int
    heads: tuple[tuple[bytes, ...], tuple[bytes, ...]]
    signatures: tuple[bytes, bytes]


class Joining(msgspec.Struct, frozen=True):
    """A channel that we asked to be let into."""

    channel: ChannelId
    name: str
    since_ms: int
    refused: str = (
        ""  # the rule by which we are not let in; "declined": somebody said no; empty: no answer yet
    )
    refused_ms: int = 0
    refused_by: str = ""  # what we call who says so
