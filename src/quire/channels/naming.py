"""What a person means by a name: of a channel, or of a message. What all parts of `ChannelManager` share.

A channel is named by its id, by its name ("general", "#general", "slack/general" where two share one), or by the start of
its id in hex; a message by its id, or by a short form of that which `short_id` writes.
"""

from __future__ import annotations

from quire.channels.events import EventHub
from quire.core.ids import (
    ChannelId,
    IdentityId,
    MessageId,
    message_id_text,
    parse_message_id,
    require_channel_id,
)
from quire.errors import NotFoundError, UnauthorisedError, UsageError
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import guarded
from quire.store.local import LocalStore, names_channel

ChannelRef = ChannelId | str
PREFIX_CHARS_MIN = 4  # of an id: a shorter text is taken for a name


class Naming:
    """A vault, who we are in it, and what names mean there."""

    store: LocalStore

    def __init__(self, store: LocalStore) -> None:
        self.store = store
        self._hub = EventHub()
        self._read_before: set[bytes] = set()  # channels that we may read: once so, always so

    @property
    def identity(self) -> IdentityId:
        """Who we are."""
        return IdentityId(bytes.fromhex(self.store.own_key.partition(":")[2]))

    @guarded
    def resolve(self, channel: ChannelRef) -> ChannelId:
        """The id of a channel. Raises: NotFoundError, UsageError (rule "channel_ambiguous" or "channel_id_type")."""
        if not isinstance(channel, str):
            require_channel_id(channel)
            if channel not in self._read_before:
                row = log.channel_by_id(self.store.database.reader, channel)
                if row is None:
                    return channel  # whoever uses it finds out that there is none
                self._require_reader(row)
            return channel
        found = log.channels(self.store.database.reader)
        named = [row for row in found if names_channel(row, channel)]
        if not named and len(channel) >= PREFIX_CHARS_MIN:
            named = [row for row in found if row.id.hex().startswith(channel.lower())]
        if not named:
            raise NotFoundError(
                f"there is no channel {channel}", rule="no_channel",
                hint=_meant(channel, [row.name for row in found]),
            )  # fmt: skip
        if len(named) > 1:
            choices = ", ".join(
                f"{row.source}/{row.name}" if row.source else row.id.hex()[:8] for row in named[:8]
            )
            raise UsageError(
                f"{channel} may be any of {choices}", rule="channel_ambiguous", hint="write one of these"
            )
        self._require_reader(named[0])
        return named[0].id

    def _require_reader(self, row: log.ChannelRow) -> None:
        """Who was put out keeps what they had; who was never in reads nothing. Raises: UnauthorisedError."""
        if not row.role:
            state = self.store.ledger.people.state(self.store.database.reader, row)
            if self.identity not in state.everybody:
                raise UnauthorisedError("you are not a member of this channel", rule="not_a_member")
        self._read_before.add(row.id)

    @guarded
    def find_message(self, text: str) -> MessageId:
        """The message a person means by a full or abbreviated id, as `short_id` writes it.

        Raises: NotFoundError, UsageError(rule="message_id_form" or "message_id_ambiguous").
        """
        prefix, seq, index = parse_message_id(text)
        db = self.store.database.reader
        found = []
        for row in log.logs(db):
            id = MessageId(row.prefix + seq.to_bytes(4, "big") + index.to_bytes(2, "big"))
            if message_id_text(id).startswith(prefix) and rows.get_row(db, id) is not None:
                found.append(id)
        if not found:
            raise NotFoundError(
                f"there is no message {text}",
                rule="no_message",
                hint="`quire read` shows messages with their ids",
            )
        if len(found) > 1:
            choices = ", ".join(message_id_text(id) for id in found[:5])
            raise UsageError(f"{text} may be any of {choices}", rule="message_id_ambiguous")
        return found[0]

    @guarded
    def short_id(self, id: MessageId) -> str:
        """The shortest form of an id that no other log's ids share, of at least four characters."""
        whole = message_id_text(id)[:16]
        others = [
            message_id_text(MessageId(row.prefix + id[10:]))[:16]
            for row in log.logs(self.store.database.reader)
            if row.prefix != id[:10]
        ]
        size = PREFIX_CHARS_MIN
        while any(other.startswith(whole[:size]) for other in others):
            size += 1
        return message_id_text(id, size)


def _meant(name: str, there: list[str]) -> str:
    if not there:
        return "`quire channel create NAME` makes one, `quire import PATH` brings others' along"
    from difflib import get_close_matches

    close = get_close_matches(name.removeprefix("#"), there, 1)
    return (f"did you mean {close[0]}? " if close else "") + "`quire channels` lists them"
