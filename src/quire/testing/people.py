"""People with vaults, and the road between them: what stories, attacks and recoveries are told with.

    ada, bob = Person.create(folder, "ada"), Person.create(folder, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    bob.say(team, "hello")

What one person gives another is a bundle file's bytes, which may be kept, damaged, repeated or handed to a
stranger on the way. `digest` is what everybody must agree about, without what is each one's own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from quire.channels.manager import ChannelManager
from quire.core.bundle_file import Record, read_bundle_file, write_bundle_file
from quire.core.crypto.secrets import KeyFile
from quire.core.ids import ChannelId, IdentityId, MessageId
from quire.core.membership import Graph
from quire.errors import PeerError, StorageError
from quire.storage import keychain
from quire.storage.outside import create_key_file
from quire.store.digest import seen
from quire.store.local import LocalStore

if TYPE_CHECKING:
    from quire.store.unbundling import BundleReport

MILLISECOND_NS = 1_000_000
ROUNDS_MAX = 8  # of carrying everything to everybody before we call it endless


class Person:
    """Somebody with a vault."""

    _said_ns = 0  # when anybody last said something

    def __init__(self, name: str, store: LocalStore) -> None:
        self.name = name
        self.store = store
        self.chat = ChannelManager(store)

    @classmethod
    def create(cls, folder: Path, name: str) -> Person:
        """A new person, whose vault is `folder/name`."""
        path = folder / name
        create_key_file(Path(key_of(path).path))
        person = cls(name, LocalStore.create(path, key_of(path)))
        person.chat.set_name(name)
        return person

    @property
    def identity(self) -> IdentityId:
        return self.chat.identity

    def reopen(self) -> None:
        """As the next start of the program would."""
        self.store.close()
        self.store = LocalStore.open(self.store.folder, key_of(self.store.folder))
        self.chat = ChannelManager(self.store)

    # The road

    def give(self, *channels: ChannelId) -> bytes:
        """What others may have of these channels, or of all, as a bundle file."""
        return b"".join(write_bundle_file(self.records(*channels)))

    def records(self, *channels: ChannelId) -> list[Record]:
        """The same as single records, to be kept back, mixed or damaged."""
        return list(self.chat._outgoing(channels or None))

    def take(self, data: bytes | Iterable[Record]) -> BundleReport:
        """Read a bundle file that somebody gave."""
        whole = data if isinstance(data, bytes) else b"".join(write_bundle_file(data))
        return self.chat._take_in(lambda: [whole])

    # What is done and seen

    def say(self, channel: ChannelId, body: str) -> MessageId:
        """Post, later than what anybody said before: within a millisecond people's messages come in no promised order."""
        while time.monotonic_ns() - Person._said_ns < MILLISECOND_NS:
            pass
        id = self.chat.send_message(channel, body).id
        Person._said_ns = time.monotonic_ns()
        return id

    def reads(self, channel: ChannelId) -> list[str]:
        """The texts of a channel, oldest first; none if it is not known here."""
        if all(info.id != channel for info in self.chat.list_channels()):
            return []
        return [message.body for message in self.chat.get_stored_messages(channel)]

    def role(self, channel: ChannelId, other: Person | None = None) -> str:
        return self.chat.get_member_role(channel, None if other is None else other.identity)

    def roles(self, channel: ChannelId) -> dict[bytes, str]:
        return {member.identity: member.role for member in self.chat.members(channel)}

    def graph(self, channel: ChannelId) -> Graph:
        """The channel's control commits, as this vault knows them."""
        return self.store.ledger.people.graph(self.store.database.reader, self.store.channel_row(channel))

    def keys(self, channel: ChannelId) -> dict[bytes, bytes]:
        """The epochs of a channel whose keys are here."""
        return keychain.epoch_keys(self.store.database.reader, channel)

    def digest(self, channel: ChannelId) -> Digest:
        """What everyone who has the same commits must see alike."""
        chat = self.chat
        info = chat.get_channel(channel)
        state = self.graph(channel).state
        return Digest(
            (info.name, info.topic),
            [seen(message) for message in chat.get_stored_messages(channel)],
            [(member.identity, member.role, member.history, sorted(one.id for one in member.devices))
             for member in chat.members(channel)],
            chat.policies(channel),
            state.epochs.current.epoch if state.epochs.current else b"",
            [(one.id, one.standing, one.rule, one.contested) for one in state.story],
        )  # fmt: skip

    def fingerprint(self, *besides: str) -> str:
        """Of everything in the database but the tables `besides`: the same before and after, and nothing was changed."""
        db = self.store.database.reader
        told = hashlib.sha256()
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in sorted(tables):
            if not str(table).startswith(("search", "sqlite_", *besides)):
                for row in sorted(map(repr, db.execute(f"SELECT * FROM {table}"))):
                    told.update(f"{table} {row}\n".encode())
        return told.hexdigest()


class Digest(NamedTuple):
    """A channel as everybody must see it."""

    info: tuple[str, str]
    messages: list[Any]
    members: list[Any]
    policies: dict[str, int]
    epoch: bytes
    story: list[Any]


def key_of(folder: Path) -> KeyFile:
    """The key file of the vault in `folder`, beside it."""
    return KeyFile(str(folder.with_name(folder.name + ".key")))


def carry(source: Person, *targets: Person) -> list[BundleReport]:
    """One bundle file of everything `source` may hand on, read by each of these."""
    data = source.give()
    return [target.take(data) for target in targets]


def meet(*people: Person) -> None:
    """Everybody gives everybody all there is, through the first of them, until nothing is new."""
    hub, others = people[0], people[1:]
    for _ in range(ROUNDS_MAX):
        brought = [_news(hub.take(other.give())) for other in others]
        data = hub.give()
        taken = [_news(other.take(data)) for other in others]
        if not any(brought) and not any(taken):
            return
    raise AssertionError("it goes on for ever")


def refuses(attempt: Callable[[], object]) -> str:
    """The rule by which an attempt is refused; "" if it is not."""
    try:
        attempt()
    except (PeerError, StorageError) as error:
        return error.rule
    return ""


def in_file(data: bytes) -> list[Record]:
    """The records of a bundle file."""
    return [one for one in read_bundle_file([data]) if isinstance(one, Record)]


def _news(report: BundleReport) -> int:
    return report.new + report.requests
