"""One scripted session with a vault, run in processes made to die, and what a vault looks like after each step.

The script uses every way of writing there is. A step is announced before it begins and acknowledged when it
returned, both through a pipe that survives the process. `look` describes a vault without ids and times, so
that two runs of the same steps look the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quire.channels.manager import ChannelManager
from quire.core import views
from quire.core.control import Role
from quire.core.crypto.secrets import KeyFile
from quire.core.ids import MessageId
from quire.core.operation import Attachment, Name, Topic
from quire.storage import database, keychain, log, search
from quire.storage.outside import create_key_file
from quire.store import group
from quire.store.local import LocalStore
from quire.testing.authors import Author
from quire.testing.faults import FaultyDisk, Kill, Plan, PowerCut, die
from tests.vaults import FORKS

ERASED = ("reply one", "a banana")  # by the steps of that name, in order
EXPORT = [
    {"type": "channel", "key": "old", "name": "old-days", "topic": "long ago"},
    {"type": "author", "key": "u1", "name": "Una"},
    {"type": "message", "channel": "old", "id": "1", "time": 1_500_000_000_000, "author": "u1", "body": "first"},
    {"type": "message", "channel": "old", "id": "2", "time": 1_500_000_001_000, "author": "u2", "body": "second",
     "thread": "1", "reactions": [{"emoji": "🎉", "authors": ["u1", "u3"]}]},
    {"type": "message", "channel": "old", "id": "3", "time": 1_500_000_002_000, "author": "u1", "body": "third"},
    {"type": "edit", "channel": "old", "target": "3", "time": 1_500_000_003_000, "author": "u1", "body": "third, mended"},
    {"type": "pin", "channel": "old", "target": "1", "time": 1_500_000_004_000, "author": "u1"},
]  # fmt: skip
WORDS = ["apple", "banana", "cherry", "mended", "third", "long", "reply*", "after*"]


class Session:
    """The script. `steps` in order; each returns when it is durable."""

    def __init__(self, folder: Path, disk: str) -> None:
        self.folder = folder
        self.disk = disk
        self.ids: dict[str, MessageId] = {}
        self.store: LocalStore
        self.manager: ChannelManager

    def key(self, number: int) -> KeyFile:
        return KeyFile(str(self.folder.with_name(f"{self.folder.name}.key{number}")))

    def open(self, number: int = 1, *, create: bool = False) -> None:
        if create:
            LocalStore.create(self.folder, self.key(number)).close()
        self.store = LocalStore.open(self.folder, self.key(number), vfs=self.disk)
        self.manager = ChannelManager(self.store)

    def post(self, label: str, body: str, channel: str = "general", **more: Any) -> None:
        self.ids[label] = self.manager.send_message(channel, body, **more).id

    def import_(self) -> None:
        self.manager.import_(self.folder.with_name("export.jsonl"), format="jsonl")

    def change_key(self) -> None:
        slot = next(slot for slot in self.store.slots.list() if slot.kind == "key_file")
        self.store.slots.replace(slot.id, self.key(2))

    def several_at_once(self) -> None:
        channel = self.manager.resolve("random")
        self.store.write_operations(channel, Name("random-2"), Topic("anything"), Name("random"))

    def admit(self) -> None:
        """Let somebody in, with the channel's first key in the same commit."""
        friend = Author(seed=77)
        row, pen = self.store.channel_row(self.manager.resolve("general")), self.store.ledger
        pen.run(lambda db: group.admit(pen, db, row, (friend.entry,), Role.MEMBER, 0))

    def remove(self) -> None:
        """Put them out again; the key changes in the same commit."""
        friend = Author(seed=77)
        self.store.ledger.write_control(
            self.manager.resolve("general"),
            lambda db, row, graph: group.remove(db, row, graph, friend.identity),
        )

    def reopen(self) -> None:
        self.store.close()
        self.open(2)

    @property
    def steps(self) -> list[tuple[str, Callable[[], object]]]:
        def m() -> ChannelManager:
            return self.manager

        ids = self.ids
        file = Attachment("plan of the banana.pdf", "files/1", "application/pdf", 7)
        return [
            ("create", lambda: self.open(create=True)),
            ("channel", lambda: m().create_channel("general", topic="everything")),
            ("post", lambda: self.post("a", "an apple")),
            ("post", lambda: self.post("b", "a banana", attachments=[file])),
            ("reply", lambda: self.post("r1", "reply one", thread=ids["a"])),
            ("reply", lambda: self.post("r2", "reply two", thread=ids["r1"])),
            ("react", lambda: m().add_reaction(ids["a"], "👍")),
            ("react", lambda: m().add_reaction(ids["r1"], "👍")),
            ("edit", lambda: m().edit_message(ids["b"], "a cherry")),
            ("unreact", lambda: m().remove_reaction(ids["a"], "👍")),
            ("pin", lambda: m().pin(ids["a"])),
            ("channel", lambda: m().create_channel("random")),
            ("large", lambda: self.post("large", "apple " * 20_000, channel="random")),
            ("delete", lambda: m().delete_message(ids["r2"], "a mistake")),
            ("mark", lambda: m().mark_read("general", ids["a"])),
            ("erase", lambda: m().erase_message(ids["r1"], "a slip")),
            ("erase", lambda: m().erase_version(ids["b"], 1)),
            ("bookmark", lambda: m().bookmark(ids["a"])),
            ("name", lambda: m().set_name("Ada")),
            ("several", self.several_at_once),
            ("import", self.import_),
            ("import", self.import_),
            ("admit", self.admit),
            ("post", lambda: self.post("p", "under the key")),
            ("remove", self.remove),
            ("post", lambda: self.post("q", "under the next key")),
            ("repair", lambda: self.store.repair()),
            ("key", self.change_key),
            ("post", lambda: self.post("c", "after the key")),
            ("rekey", lambda: self.store.rekey()),
            ("post", lambda: self.post("d", "after the rekey")),
            ("compact", lambda: self.store.compact()),
            ("post", lambda: self.post("e", "after the compaction")),
            ("reopen", self.reopen),
            ("post", lambda: self.post("f", "after the reopening")),
            ("backup", lambda: self.store.backup(self.folder.with_name("backup"))),
            ("close", lambda: self.store.close()),
        ]


def prepare(folder: Path) -> None:
    """What must be there before the session: key files, and something to import."""
    for number in (1, 2):
        create_key_file(folder.with_name(f"{folder.name}.key{number}"))
    folder.with_name("export.jsonl").write_text("".join(json.dumps(record) + "\n" for record in EXPORT))


def look(store: LocalStore) -> Any:
    """All that can be seen in a vault, without ids and times."""
    manager = ChannelManager(store)
    channels: dict[str, Any] = {}
    for info in sorted(manager.list_channels(), key=lambda info: info.name):
        messages = list(manager.get_stored_messages(info.id))
        place = {message.id: number for number, message in enumerate(messages)}
        place_of = place.get
        channels[info.name] = {
            "info": [info.topic, info.messages, info.threads, info.unread, info.waiting, info.source],
            "pinned": [place[message.id] for message in manager.pinned(info.id)],
            "messages": [
                [
                    m.body[:50], len(m.body), _name(m.author), m.root and place_of(m.root),
                    m.deleted and [m.deleted.reason, m.deleted.erased],
                    [a.name for a in m.attachments], [[r.emoji, r.count, r.own] for r in m.reactions],
                    [[v.body[:50], v.erased] for v in manager.get_edit_history(m.id)],
                    m.thread and [m.thread.replies, m.thread.participants, place_of(m.thread.last_reply or m.id)],
                ]
                for m in messages
            ],
        }  # fmt: skip
    return json.loads(
        json.dumps(
            {
                "channels": channels,
                "found": {w: [h.message.body[:50] for h in manager.search(w).hits] for w in WORDS},
                "bookmarks": [message.body for message in manager.bookmarks()],
                "reactions": store.stats().reactions,
                "people": people(store),
            }
        )
    )


@database.guarded
def people(store: LocalStore) -> list[list[int]]:
    """Of each channel that changed hands: members, epochs, and the keys that are here."""
    db = store.database.reader
    found = []
    for row in log.channels(db):
        state = store.ledger.people.state(db, row)
        found.append([len(state.members), len(state.epochs), len(keychain.epoch_keys(db, row.id))])
    return sorted(one for one in found if one != [1, 0, 0])


def _name(author: views.Author) -> str:
    """A new vault's owner is called by random digits until they say a name."""
    return author.name if author.name != author.id.removeprefix("quire:")[:8] else "nobody yet"


def run(folder: Path, say: Callable[[Any], None], plan: Plan, hook_at: int = 0, looks: bool = False) -> None:
    """The whole session on a disk with this plan; dies at the `hook_at`-th fault point, if not 0."""
    disk = FaultyDisk(plan)
    defaults: dict[str, Any] = vars(database.Database)["__init__"].__kwdefaults__
    defaults["vfs"] = disk.name  # so that `create` and `backup` write to it too
    points = 0

    def hook(point: str) -> None:
        nonlocal points
        points += 1
        if points == hook_at:
            die()

    search.TAIL_MAX = 3  # so that it is full now and then
    database.fault_hook = hook
    session = Session(folder, disk.name)
    for number, (name, step) in enumerate(session.steps):
        say(["begin", number, name])
        step()
        seen = look(session.store) if looks and name != "close" else None
        say(["done", number, plan.calls, points, seen])


Spec = dict[str, Any]


def child(folder: str, spec: Spec, pipe: int) -> None:
    """What a doomed process runs."""

    def say(line: Any) -> None:
        os.write(pipe, json.dumps(line).encode() + b"\n")

    kind = spec.get("kind", "")
    plan = Plan()
    if kind == "kill":
        plan = Kill(spec["at"], spec.get("tear", 0.0), sectors=spec.get("sectors", False))
    elif kind == "power":
        plan = PowerCut(spec["at"], spec["seed"])
    run(Path(folder), say, plan, spec["at"] if kind == "hook" else 0, looks=spec.get("looks", False))


def in_doomed_process(folder: Path, spec: Spec) -> tuple[int | None, list[Any]]:
    """Run the session in a process of its own; its exit code, and all that it said."""
    said = folder.with_name("said")
    pipe = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.close(pipe)
    process = FORKS.Process(target=_child_by_path, args=(str(folder), spec, str(said)))
    process.start()
    process.join(120)
    assert not process.is_alive()
    code = process.exitcode
    process.close()
    return code, [json.loads(line) for line in said.read_text().splitlines()]


def _child_by_path(folder: str, spec: Spec, said: str) -> None:
    child(folder, spec, os.open(said, os.O_WRONLY | os.O_APPEND))
