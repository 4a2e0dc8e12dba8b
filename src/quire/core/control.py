"""Control operations: who is here, what they may do, and the channel's keys (docs/spec/06-membership.md).

They travel in control commits, which hold nothing else. What they say counts only as far as core/membership
finds that their author had the right to it; here is their form.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

import msgspec

from quire.core import limits
from quire.core.bounds import check_source, require
from quire.core.encoding import Codec

KIND_NAMES = ("channel", "private", "group", "direct", "self")
HISTORY_ALL, HISTORY_JOINED = 0, 1  # what a newcomer may read; anything larger is a date, Unix ms
EXEMPT_PINS, EXEMPT_BOOKMARKS, EXEMPT_THREADS, EXEMPT_ALL = 1, 2, 4, 7  # what retention spares


class Role(IntEnum):
    """What a person is in a channel; a higher number may do all that a lower one may."""

    NONE = 0
    GUEST = 1  # reads
    MEMBER = 2
    MODERATOR = 3
    ADMIN = 4
    OWNER = 5


# Policy.name -> (default, least, greatest value)
POLICIES: dict[str, tuple[int, int, int]] = {
    "post": (Role.MEMBER, Role.MEMBER, Role.OWNER),  # the least role that may
    "pin": (Role.MEMBER, Role.MEMBER, Role.OWNER),
    "name": (Role.MODERATOR, Role.MEMBER, Role.OWNER),  # name and topic
    "invite": (Role.ADMIN, Role.MEMBER, Role.OWNER),
    "history": (HISTORY_ALL, 0, limits.TIME_MS_MAX),  # HISTORY_ALL, HISTORY_JOINED or a date
    "rotation": (30 * 86_400_000, 3_600_000, limits.TIME_MS_MAX),  # ms after which a writer changes the key
    # What is let go, and when (core/retention.py); 0: never.
    "keep": (0, 0, limits.TIME_MS_MAX),  # ms: messages older than this
    "keep_count": (0, 0, limits.KEPT_MAX),  # all but so many of the newest
    "keep_bytes": (0, 0, limits.KEPT_MAX),  # all but the newest that fit into so much
    "keep_attachments": (0, 0, limits.TIME_MS_MAX),  # ms: files that older messages came with
    "exempt": (EXEMPT_ALL, 0, EXEMPT_ALL),  # what the four above spare: EXEMPT_PINS …
    "disappear": (0, 0, limits.TIME_MS_MAX),  # ms after posting, of what is posted from now on
    "disappear_read": (0, 0, limits.TIME_MS_MAX),  # ms after it was first read, by each reader for themselves
}


class Device(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A device: its certificate (docs/spec/04-keys.md, section 4) and the sealing key that this vouches for."""

    certificate: bytes
    sealing: bytes


class Cut(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The last commit of a log that counts: `seq` of the log with this prefix."""

    prefix: bytes
    seq: int


class SealedKey(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An epoch's key, sealed to one recipient: a device, or an identity's recovery key."""

    recipient: bytes
    sealed: bytes


class Create(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=32):
    """The first operation of a channel. The channel id is its hash; its author is the first owner."""

    kind: str  # of KIND_NAMES
    name: str
    nonce: bytes  # 16 random bytes: two channels never share an id
    device: Device  # the creating one
    recovery: bytes = b""  # of a self-channel: the sealing key that the recovery phrase derives
    source: str = ""  # an imported channel: the format
    key: str = ""  # and its name in the export


class Admit(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=33):
    """Let a person in, with the devices they have."""

    devices: tuple[Device, ...]
    role: int
    history: int = HISTORY_ALL
    invite: bytes = b""  # the invite that was answered, if one was
    proof: bytes = b""  # by its key, that this person held it


class SetRole(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=34):
    """Give a member another role. What the lower role may not do ends at the cuts."""

    identity: bytes
    role: int
    cuts: tuple[Cut, ...] = ()


class Remove(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=35):
    """Take a person out, oneself included. What their logs hold beyond the cuts, or in a log not named, is void."""

    identity: bytes
    cuts: tuple[Cut, ...] = ()
    ban: bool = False
    reason: str = ""


class Unban(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=36):
    """Let a banned person be admitted again."""

    identity: bytes


class AddDevice(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=37):
    """Another device of a member."""

    device: Device


class RevokeDevice(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=38):
    """End a device of one's own. Beyond the cuts, or in a log not named, what it wrote is void."""

    device: bytes
    cuts: tuple[Cut, ...] = ()


class Policy(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=39):
    """A rule of the channel; the newest stands."""

    name: str  # of POLICIES
    value: int


class Invite(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=40):
    """Whoever proves to hold the secret of `key` may be admitted."""

    key: bytes  # Ed25519 public key
    role: int
    uses: int  # how many people; 0: any number
    expires_ms: int  # Unix ms; 0: never
    history: int = HISTORY_ALL
    identity: bytes = b""  # only this person
    approval: bool = False  # someone who may invite must agree to each


class Uninvite(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=41):
    """Withdraw an invite."""

    key: bytes


class Ask(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=42):
    """A person asks to be let in, by an invite that needs approval; passed on by a member."""

    devices: tuple[Device, ...]
    invite: bytes
    proof: bytes


class Decline(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=43):
    """Refuse a person who asked."""

    identity: bytes


class Rotate(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=44):
    """A new epoch. Its key reaches its readers by `Seal`, its parents' keys by `Link`."""

    epoch: bytes  # the commitment to its key, which is also its name


class Seal(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=45):
    """An epoch's key, sealed to some of its readers."""

    epoch: bytes
    keys: tuple[SealedKey, ...]


class Link(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=46):
    """The key of an earlier epoch, encrypted under a later one's. Destroying it ends the walk back there."""

    epoch: bytes
    parent: bytes
    sealed: bytes


class Report(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=47):
    """What was sealed to this device does not open, or is not the key committed to: seal it again."""

    epoch: bytes


ControlOperation = (
    Create | Admit | SetRole | Remove | Unban | AddDevice | RevokeDevice | Policy | Invite | Uninvite | Ask
    | Decline | Rotate | Seal | Link | Report
)  # fmt: skip
CONTROL = (
    Create, Admit, SetRole, Remove, Unban, AddDevice, RevokeDevice, Policy, Invite, Uninvite, Ask, Decline,
    Rotate, Seal, Link, Report,
)  # fmt: skip
FIRST_KIND = 32
CONTROL_KINDS: dict[type, int] = {type_: FIRST_KIND + place for place, type_ in enumerate(CONTROL)}

SEALING_PUBLIC_SIZE = 1216
SEALED_KEY_SIZE = 32 + 1136
LINK_SIZE = 12 + 32 + 16
HASH_SIZE = 32  # in the place of what was sealed, once that is destroyed
EPOCH_SIZE = 32
SIGNATURE_SIZE = 64


_codec = Codec(ControlOperation, "operation")


def decode_control(data: bytes) -> ControlOperation:
    """The control operation with exactly these bytes. Raises: MalformedError."""
    operation: ControlOperation = _codec.decode(data)
    check_control(operation)
    return operation


def without_keys(operation: Seal | Link) -> Seal | Link:
    """The same with SHA-256 in the place of all that is sealed: what a commit commits to, so that keys can be destroyed."""
    if isinstance(operation, Link):
        return Link(operation.epoch, operation.parent, _hashed(operation.sealed))
    return Seal(
        operation.epoch, tuple(SealedKey(one.recipient, _hashed(one.sealed)) for one in operation.keys)
    )


def _hashed(sealed: bytes) -> bytes:
    return sealed if len(sealed) == HASH_SIZE else hashlib.sha256(sealed).digest()


def kind_of(operation: ControlOperation) -> int:
    """The number of its kind: the tag of its bytes."""
    return CONTROL_KINDS[type(operation)]


def check_control(operation: ControlOperation) -> None:
    """Raises: MalformedError with the rule that a value breaks."""
    match operation:
        case Create():
            _check_create(operation)
        case Admit(devices, role, history, invite, proof):
            _check_devices(devices)
            _check_role(role)
            _check_history(history)
            require(len(invite) in (0, 32), "invite_key_size")
            require(len(proof) == (SIGNATURE_SIZE if invite else 0), "invite_proof_size")
        case SetRole(identity, role, cuts):
            _check_identity(identity)
            _check_role(role)
            _check_cuts(cuts)
        case Remove(identity, cuts, _, reason):
            _check_identity(identity)
            _check_cuts(cuts)
            require(len(reason) <= limits.TOPIC_CHARS_MAX, "reason_too_long")
        case Unban(identity) | Decline(identity):
            _check_identity(identity)
        case AddDevice(device):
            _check_devices((device,))
        case RevokeDevice(id, cuts):
            require(len(id) == 32, "device_id_size")
            _check_cuts(cuts)
        case Policy(name, value):
            require(name in POLICIES, "policy_unknown")
            _, least, greatest = POLICIES[name]
            require(least <= value <= greatest, "policy_range")
        case Invite():
            _check_invite(operation)
        case Uninvite(key):
            require(len(key) == 32, "invite_key_size")
        case Ask(devices, invite, proof):
            _check_devices(devices)
            require(len(invite) == 32, "invite_key_size")
            require(len(proof) == SIGNATURE_SIZE, "invite_proof_size")
        case Rotate(epoch) | Report(epoch):
            _check_epoch(epoch)
        case Seal(epoch, keys):
            _check_epoch(epoch)
            require(0 < len(keys) <= limits.SEALS_PER_OPERATION_MAX, "seal_count")
            require(all(len(key.recipient) == 32 for key in keys), "recipient_size")
            require(all(len(key.sealed) in (SEALED_KEY_SIZE, HASH_SIZE) for key in keys), "sealed_size")
        case Link(epoch, parent, sealed):
            _check_epoch(epoch)
            _check_epoch(parent)
            require(epoch != parent, "link_to_itself")
            require(len(sealed) in (LINK_SIZE, HASH_SIZE), "link_size")


def _check_create(create: Create) -> None:
    require(create.kind in KIND_NAMES, "channel_kind")
    require(0 < len(create.name) <= limits.NAME_CHARS_MAX, "name_length")
    require(len(create.nonce) == 16, "nonce_size")
    _check_devices((create.device,))
    require(len(create.recovery) == (SEALING_PUBLIC_SIZE if create.kind == "self" else 0), "recovery_size")
    if create.source:
        check_source(create.source)
    require(len(create.key) <= limits.ORIGIN_CHARS_MAX, "origin_too_long")


def _check_invite(invite: Invite) -> None:
    require(len(invite.key) == 32, "invite_key_size")
    _check_role(invite.role)
    require(0 <= invite.uses <= limits.INVITE_USES_MAX, "invite_uses_range")
    require(0 <= invite.expires_ms <= limits.TIME_MS_MAX, "time_range")
    _check_history(invite.history)
    require(len(invite.identity) in (0, 32), "identity_size")


def _check_devices(devices: tuple[Device, ...]) -> None:
    require(0 < len(devices) <= limits.DEVICES_PER_MEMBER_MAX, "device_count")
    require(all(len(device.certificate) <= 512 for device in devices), "certificate_size")
    require(all(len(device.sealing) == SEALING_PUBLIC_SIZE for device in devices), "sealing_size")


def _check_cuts(cuts: tuple[Cut, ...]) -> None:
    require(len(cuts) <= limits.CUTS_MAX, "too_many_cuts")
    require(all(len(cut.prefix) == 10 and 1 <= cut.seq <= limits.SEQ_MAX for cut in cuts), "cut_form")
    prefixes = [cut.prefix for cut in cuts]
    require(prefixes == sorted(set(prefixes)), "cuts_order")


def _check_role(role: int) -> None:
    require(Role.GUEST <= role <= Role.OWNER, "role_range")


def _check_history(history: int) -> None:
    require(0 <= history <= limits.TIME_MS_MAX, "history_range")


def _check_identity(identity: bytes) -> None:
    require(len(identity) == 32, "identity_size")


def _check_epoch(epoch: bytes) -> None:
    require(len(epoch) == EPOCH_SIZE, "epoch_size")
