"""Views as JSON: what `--json` prints. The names are those of core/views.py; ids are text.

Every time is given twice where it matters: `time`, ISO 8601 in UTC for people, `time_ms` for programs.
Bodies are exact: what is made harmless for the terminal in text.py is given as it is here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from quire.core.contents import Origin
from quire.core.ids import ChannelId, MessageId, message_id_text
from quire.core.values import Value, fields
from quire.core.views import ChannelInfo, Hit, Message, Page, Thread, Version

if TYPE_CHECKING:
    from quire.channels.standing import OtherStatus
    from quire.core.circle import (
        DeviceView,
        ForkView,
        InviteView,
        Joining,
        MemberView,
        RequestView,
        StoryLine,
    )

__all__ = [
    "channel", "device", "fork", "history", "hit", "invite", "iso", "joining", "member", "message", "page", "plain",
    "request", "story", "thread", "version",
]  # fmt: skip

Record = dict[str, Any]


def iso(time_ms: int | None) -> str | None:
    """`2024-03-05T14:30:00.123Z`."""
    if time_ms is None:
        return None
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(view: object) -> Any:
    """A view that holds no ids, as it is."""
    return msgspec.to_builtins(_opened(view))


def _opened(view: Any) -> Any:
    """What is a `Value` in it, as a dict: to msgspec it is a tuple."""
    if isinstance(view, Value):
        return {name: _opened(one) for name, one in fields(view).items()}
    if isinstance(view, msgspec.Struct):
        return {name: _opened(getattr(view, name)) for name in view.__struct_fields__}
    if isinstance(view, tuple | list):
        return [_opened(one) for one in view]
    if isinstance(view, dict):
        return {key: _opened(one) for key, one in view.items()}
    return view


def message(view: Message) -> Record:
    return {
        "id": message_id_text(view.id),
        "channel": view.channel.hex(),
        "time": iso(view.time_ms),
        "time_ms": view.time_ms,
        "author": plain(view.author),
        "body": view.body,
        "thread_root": _id(view.root),
        "reply_to": _id(view.reply_to),
        "notice": view.notice,
        "title": view.title,
        "action": view.action,
        "broadcast": view.broadcast,
        "attachments": [
            {
                "name": one.name,
                "url": one.url,
                "media_type": one.media_type,
                "size_bytes": one.size_bytes,
                "file": one.file.id.hex() if one.file else None,
            }
            for one in view.attachments
        ],
        "mentions": list(view.mentions),
        "edited": iso(view.edited_ms),
        "concurrent_edits": view.concurrent_edits,
        "deleted": plain(view.deleted),
        "pinned": view.pinned,
        "reactions": plain(view.reactions),
        "thread": thread(view.thread) if view.thread else None,
        "origin": _origin(view.origin),
        "archived": plain(view.archived),
        "cursor": view.cursor,
    }


def _origin(view: Origin | None) -> Record | None:
    """Without its times, which are the message's own."""
    return None if view is None else {"source": view.source, "author": view.author, "id": view.id}


def page(view: Page) -> Record:
    return {"messages": [message(one) for one in view.messages], "older": view.older, "newer": view.newer}


def thread(view: Thread) -> Record:
    return {
        "root": message_id_text(view.root),
        "channel": view.channel.hex(),
        "title": view.title,
        "replies": view.replies,
        "participants": view.participants,
        "last_reply": _id(view.last_reply),
        "last_reply_time": iso(view.last_reply_ms),
        "last_author": plain(view.last_author),
        "preview": view.preview,
    }


def version(view: Version) -> Record:
    return plain(view) | {"time": iso(view.time_ms)}  # type: ignore[no-any-return]


def hit(view: Hit) -> Record:
    return {"message": message(view.message), "channel_name": view.channel_name, "spans": plain(view.spans)}


def channel(view: ChannelInfo) -> Record:
    return {
        "id": _channel_id(view.id),
        "name": view.name,
        "topic": view.topic,
        "kind": view.kind,
        "messages": view.messages,
        "threads": view.threads,
        "last": iso(view.last_ms),
        "unread": view.unread,
        "mentions": view.mentions,
        "waiting": view.waiting,
        "source": view.source,
        "description": view.description,
        "role": view.role,
    }


def member(view: MemberView) -> Record:
    return {
        "identity": view.identity.hex(),
        "name": view.name,
        "role": view.role,
        "since": iso(view.since_ms),
        "history": history(view.history),
        "own": view.own,
        "verified": view.verified,
        "devices": [device(one) for one in view.devices],
    }


def device(view: DeviceView) -> Record:
    return {
        "id": view.id.hex(),
        "name": view.name,
        "own": view.own,
        "this": view.this,
        "since": iso(view.since_ms),
        "by_identity": view.by_identity,
        "heard": view.heard,
    }


def invite(view: InviteView) -> Record:
    return {
        "key": view.key.hex(),
        "role": view.role,
        "uses": view.uses,
        "used": view.used,
        "expires": iso(view.expires_ms or None),
        "history": history(view.history),
        "identity": view.identity.hex() or None,
        "approval": view.approval,
        "author": view.author,
        "usable": view.usable,
    }


def request(view: RequestView, to: ChannelInfo) -> Record:
    return {
        "channel": to.id.hex(),
        "channel_name": to.name,
        "identity": view.identity.hex(),
        "name": view.name,
        "invite": view.invite.hex(),
        "role": view.role,
        "since": iso(view.since_ms),
    }


def joining(view: Joining) -> Record:
    return {
        "channel": view.channel.hex(),
        "channel_name": view.name,
        "since": iso(view.since_ms),
        "refused": view.refused or None,
        "refused_at": iso(view.refused_ms or None),
        "refused_by": view.refused_by or None,
    }


def story(view: StoryLine) -> Record:
    return {"time": iso(view.time_ms)} | {
        name: value for name, value in plain(view).items() if name != "time_ms"
    }


def fork(view: ForkView) -> Record:
    """The proof, whole: anybody can check it."""
    return {
        "device": view.device.hex(),
        "author": view.author,
        "seq": view.seq,
        "heads": [[one.hex() for one in side] for side in view.heads],
        "signatures": [one.hex() for one in view.signatures],
    }


def other(view: OtherStatus, answers: str | None) -> Record:
    """Another device, or a relay. `answers`: the rule by which it does not; "" if it does; None: it was not tried."""
    return {
        "id": view.id.hex(),
        "kind": view.kind,
        "own": view.own,
        "identity": view.identity.hex() or None,
        "name": view.name,
        "road": view.road or None,
        "address": view.address or None,
        "last_met": iso(view.seen_ms or None),
        "last_missed": iso(view.tried_ms or None),
        "rule": view.rule or None,
        "channels": view.channels,
        "behind": view.behind,
        "answers": None if answers is None else not answers,
    }


def history(scope: int) -> str | None:
    """How much of the past somebody may read: `all`, `joined`, or from this time on."""
    return ("all", "joined")[scope] if scope < 2 else iso(scope)


def _id(message: MessageId | None) -> str | None:
    return None if message is None else message_id_text(message)


def _channel_id(channel: ChannelId) -> str:
    return channel.hex()
