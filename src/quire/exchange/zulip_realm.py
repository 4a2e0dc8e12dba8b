"""The tables of a Zulip export: who the users are, which recipient is which channel, what was uploaded.

A message names its sender and a *recipient*: a stream, one person (a direct message) or a group of
people, whose members stand in the subscriptions. Direct messages become one channel for each set of
people, so that both directions, and the older and newer way of storing them, meet.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, BinaryIO

from quire.errors import FormatError
from quire.exchange.jsonpull import Broken, JsonPull
from quire.exchange.model import Author, Channel, Skipped
from quire.exchange.text import string

PERSON, STREAM, GROUP = 1, 2, 3  # types of recipients
UPLOADS_MAX = 500_000  # of which sizes are remembered
MEMBERS_NAMED = 6  # in the name of a group; more are counted

USERS = ("zerver_userprofile", "zerver_userprofile_mirrordummy", "zerver_userprofile_crossrealm")
TABLES = frozenset([*USERS, "zerver_stream", "zerver_recipient", "zerver_subscription", "zerver_attachment"])


def rows(
    stream: BinaryIO, tables: frozenset[str], name: str
) -> Iterator[tuple[str, dict[str, Any]] | Skipped]:
    """(table, row) for the rows of those tables, and Skipped for what cannot be read."""
    pull = JsonPull(stream)
    try:
        for table in pull.keys():  # noqa: SIM118 - no dict
            if isinstance(table, Broken):
                yield Skipped(name, "tables", table.reason)
            elif table in tables:
                for number, row in enumerate(pull.items(), 1):
                    if type(row) is dict:
                        yield table, row
                    else:
                        reason = row.reason if isinstance(row, Broken) else "not a row"
                        yield Skipped(name, f"{table}, row {number}", reason)
    except (FormatError, OSError) as error:
        yield Skipped(name, "tables", str(error))


class Realm:
    """Filled row by row; small, as people and channels are few."""

    def __init__(self) -> None:
        self.users: dict[int, Author] = {}
        self.ids: dict[str, int] = {}  # full name -> user id, for mentions
        self.streams: dict[int, Channel] = {}
        self.recipients: dict[int, tuple[int, int]] = {}  # id -> (type, id of what it is)
        self.members: dict[int, array[int]] = {}  # recipient -> users
        self.uploads: dict[str, tuple[str, int | None, str]] = {}  # path -> name, size, media type
        self._channels: dict[tuple[int, int], Channel] = {}

    def add(self, table: str, row: dict[str, Any]) -> None:
        number = row.get("id")
        if type(number) is not int:
            return
        if table in USERS:
            self._add_user(number, row)
        elif table == "zerver_stream":
            self.streams[number] = Channel(
                key=str(number),
                name=string(row.get("name")) or f"stream {number}",
                purpose=string(row.get("description")),
                kind="private" if row.get("invite_only") is True else "channel",
            )
        elif table == "zerver_recipient":
            kind, target = row.get("type"), row.get("type_id")
            if type(kind) is int and type(target) is int:
                self.recipients[number] = kind, target
        elif table == "zerver_subscription":
            place, user = row.get("recipient"), row.get("user_profile")
            if type(place) is not int or type(user) is not int or abs(user) >= 1 << 62:
                return
            if self.recipients.get(place, (GROUP,))[0] == GROUP:  # or not known yet
                self.members.setdefault(place, array("q")).append(user)
        elif table == "zerver_attachment" and len(self.uploads) < UPLOADS_MAX:
            size = row.get("size")
            self.uploads[string(row.get("path_id"))] = (
                string(row.get("file_name")),
                size if type(size) is int and 0 <= size < 1 << 62 else None,
                string(row.get("content_type")),
            )

    def _add_user(self, number: int, row: dict[str, Any]) -> None:
        email = string(row.get("delivery_email")) or string(row.get("email"))
        name = string(row.get("full_name"))
        if not name:  # the server's own bots come with their address only
            name = email.partition("@")[0].replace("-", " ").title() or f"user {number}"
        bot = row.get("is_bot") is True or email.endswith("-bot@zulip.com")
        self.users[number] = Author(str(number), name, bot)
        self.ids.setdefault(name, number)

    def user(self, number: int) -> Author:
        found = self.users.get(number)
        if found is None:
            found = self.users[number] = Author(str(number), f"user {number}")
        return found

    def is_stream(self, recipient: int) -> bool:
        return self.recipients.get(recipient, (STREAM,))[0] == STREAM

    def channel(self, recipient: int, sender: int) -> Channel:
        """Where a message to `recipient` by `sender` belongs."""
        kind, target = self.recipients.get(recipient, (STREAM, -recipient))
        place = (recipient, sender if kind == PERSON else 0)
        found = self._channels.get(place)
        if found is None:
            if kind == STREAM:
                found = self.streams.get(target) or self._unknown(recipient)
            elif kind == PERSON:
                found = self._direct({sender, target})
            else:
                members = set(self.members.get(recipient, ()))
                found = self._direct(members) if members else self._unknown(recipient)
            self._channels[place] = found
        return found

    def _unknown(self, recipient: int) -> Channel:
        return Channel(key=f"recipient:{recipient}", name=f"recipient {recipient}")

    def _direct(self, people: set[int]) -> Channel:
        order = sorted(people)
        names = [self.user(number).name for number in order[:MEMBERS_NAMED]]
        if len(order) > MEMBERS_NAMED:
            names.append(f"{len(order) - MEMBERS_NAMED} more")
        key = "dm:" + ",".join(map(str, order))
        return Channel(key=key, name=", ".join(names), kind="direct" if len(order) <= 2 else "group")
