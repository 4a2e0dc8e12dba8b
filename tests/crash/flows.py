"""What people do with each other, step by step, in processes made to die.

A world is a folder with people's vaults and the files they give each other. A step is what one of them does in one
process, and it is written so that a person would say the same again after a crash: who finds their channel there does
not found it twice. `world` lays out the world before a step; `step` is one; `ending` is what must come of every flow,
wherever it was broken and begun again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, cast

from quire.core.bundle_file import Record, read_bundle_file
from quire.core.crypto.secrets import RecoveryPhrase
from quire.core.ids import ChannelId
from quire.errors import UsageError
from quire.node.linking import link_guest, link_host
from quire.storage import database, log
from quire.storage.keyslots import KeySlots
from quire.storage.outside import create_key_file
from quire.store.linking import LinkGuest, LinkHost
from quire.store.local import LocalStore
from quire.store.opening import FILE_NAME
from quire.store.witness import Witness
from quire.testing.faults import FaultyDisk, Kill, Plan, die, watch
from quire.testing.people import Person, key_of, meet
from quire.transports import meeting as road_of
from quire.transports.meeting import FolderRoad
from tests.oracle import check
from tests.vaults import FORKS

OWNERS = {"laptop": "ada", "back": "bob"}  # whose device a vault is, if it is not called by its owner's name
BUNDLES = ("request.bundle", "welcome.bundle", "news.bundle")


class World:
    """A world's folder, and what is done in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def at(self, name: str) -> Iterator[Person]:
        with LocalStore.open(self.folder / name, key_of(self.folder / name)) as store:
            yield Person(OWNERS.get(name, name), store)

    def note(self, name: str, text: str) -> None:
        """What a person remembers, or sees on the screen."""
        (self.folder / f"{name}.note").write_text(text)

    def noted(self, name: str) -> str:
        return (self.folder / f"{name}.note").read_text()

    @property
    def vaults(self) -> list[str]:
        return [name for name in ("ada", "bob", "carol", "laptop", "back") if (self.folder / name).exists()]

    # Becoming a member

    def people(self) -> None:
        for name in ("ada", "bob"):
            person = Person.create(self.folder, name)
            phrase = person.store.recovery_phrase
            assert phrase is not None
            self.note(f"{name}.words", phrase.words())
            person.store.close()

    def found(self) -> None:
        with self.at("ada") as ada:
            if not ada.chat.list_channels():
                ada.chat.create_channel("team", topic="work")

    def invite(self) -> None:
        with self.at("ada") as ada:
            self.note("link", ada.chat.create_invite("team").text())

    def ask(self) -> None:
        with self.at("bob") as bob:
            bob.chat.join_channel(self.noted("link"), name="Bobby")

    def request(self) -> None:
        self.out("bob", "request.bundle")

    def answer(self) -> None:
        self.take("ada", "request.bundle")

    def welcome(self) -> None:
        self.out("ada", "welcome.bundle")

    def enter(self) -> None:
        self.take("bob", "welcome.bundle")

    def out(self, name: str, file: str) -> None:
        with self.at(name) as person:
            person.chat.write_bundle(self.folder / file)

    def take(self, name: str, file: str) -> None:
        with self.at(name) as person:
            report = person.chat.read_bundle(self.folder / file)
            assert report.ok, (report.refused, report.damaged)

    # Being a team

    def team(self) -> None:
        """Ada, Bob and Carol talk; Ada has a laptop."""
        self.people()
        carol = Person.create(self.folder, "carol")
        with self.at("ada") as ada, self.at("bob") as bob:
            team = ada.chat.create_channel("team", topic="work").id
            link = ada.chat.create_invite(team, uses=0).text()
            for one in (bob, carol):
                one.chat.join_channel(link)
            meet(ada, bob, carol)
            for one in (ada, bob, carol):
                one.say(team, f"{one.name} was here")
            meet(ada, bob, carol)
        carol.store.close()

    def with_laptop(self) -> None:
        self.team()
        showing = threaded_link(self)
        with self.at("laptop") as laptop, self.at("ada") as ada:
            laptop.take(showing)
            laptop.say(laptop.chat.resolve("team"), "laptop was here")
            meet(ada, laptop)

    def news(self) -> None:
        """Much to read: messages under several keys, and one person less."""
        self.team()
        with self.at("ada") as ada:
            team = ada.chat.resolve("team")
            for number in range(6):
                ada.say(team, f"news {number}")
                if number % 2:
                    ada.chat.rotate_key(team)
            ada.chat.set_role(team, "bob", "moderator")
            ada.chat.create_invite(team)
            ada.chat.create_channel("ada's own")
        self.out("ada", "news.bundle")

    def burn(self) -> None:
        """Bob's vault is gone; Ada's file and his words are left."""
        self.team()
        self.out("ada", "news.bundle")
        shutil.rmtree(self.folder / "bob")
        create_key_file(Path(key_of(self.folder / "back").path))

    def rotate(self) -> None:
        with self.at("ada") as ada:
            ada.chat.rotate_key("team")

    def remove(self) -> None:
        with self.at("ada") as ada:
            if ada.role(ada.chat.resolve("team")) and len(ada.chat.members("team")) == 3:
                ada.chat.remove_member("team", "carol")

    def leave(self) -> None:
        with self.at("carol") as carol:
            team = next(info.id for info in carol.chat.list_channels())
            if carol.role(team) != "none":
                carol.chat.leave_channel(team)

    def revoke(self) -> None:
        with self.at("ada") as ada:
            for device in ada.chat.devices():
                if not device.this:
                    ada.chat.revoke_device(device.id)

    def carry(self) -> None:
        self.out("ada", "news.bundle")

    def read(self) -> None:
        self.take("bob", "news.bundle")

    def recover(self) -> None:
        if not (self.folder / "back").exists():
            words = RecoveryPhrase(self.noted("bob.words"))
            LocalStore.recover(
                self.folder / "back", key_of(self.folder / "back"), words, [self.folder / "news.bundle"]
            ).close()

    # Linking: two processes, one road

    def host(self) -> None:
        with self.at("ada") as ada:
            host, road = LinkHost(ada.store), FolderRoad(self.folder / "road")
            road.clear()
            (self.folder / "code").write_text(host.code.text() + "\n")  # a pipe: the screen that is read
            asyncio.run(link_host(host, [road], name="laptop"))
            self.out_by(ada, "news.bundle")

    def guest(self) -> None:
        guest = LinkGuest((self.folder / "code").read_text().strip())
        laptop = self.folder / "laptop"
        asyncio.run(link_guest(guest, FolderRoad(self.folder / "road"), laptop, key_of(laptop)))

    def out_by(self, person: Person, file: str) -> None:
        person.chat.write_bundle(self.folder / file)

    def with_road(self) -> None:
        self.team()
        (self.folder / "road").mkdir()
        os.mkfifo(self.folder / "code")
        create_key_file(Path(key_of(self.folder / "laptop").path))


def threaded_link(world: World) -> bytes:
    """A laptop for Ada, without a road; what she gives it."""
    create_key_file(Path(key_of(world.folder / "laptop").path))
    with world.at("ada") as ada:
        host = LinkHost(ada.store)
        guest = LinkGuest(host.code.text())
        message = host.grant(guest.offer(host.answer(guest.start())), name="laptop")
        guest.finish(message, world.folder / "laptop", key_of(world.folder / "laptop"))
        return ada.give()


Flow = tuple[str, ...]
JOINING: Flow = ("people", "found", "invite", "ask", "request", "answer", "welcome", "enter")
FLOWS: dict[
    str, tuple[Flow, int]
] = {  # the steps, and how many of them make the world in which the others are broken
    "join": (JOINING, 1),
    "rotate": (("team", "rotate", "carry", "read"), 1),
    "remove": (("team", "remove"), 1),
    "leave": (("team", "leave"), 1),
    "read": (("news", "read"), 1),
    "revoke": (("with_laptop", "revoke"), 1),
    "recover": (("burn", "recover"), 1),
}


# What must hold


def standing(world: World) -> list[str]:
    """What is wrong in the vaults as a crash left them: nobody is in without the key, no file is half there."""
    wrong = []
    for name in world.vaults:
        with world.at(name) as person:
            db, chat = person.store.database.reader, person.chat
            asked = {one.channel for one in chat.joining()}
            for row in log.all_channels(db):
                current = person.graph(row.id).state.epochs.current
                if row.role and current and current.epoch not in person.keys(row.id):
                    wrong.append(f"{name} is in {row.name} without its key")
                if row.role and row.id in asked:
                    wrong.append(f"{name} is in {row.name} and asks to be")
            report = person.store.verify()
            wrong += [f"{name}: {problem}" for problem in report.problems]
            check(person.store)
    for path in (world.folder / name for name in BUNDLES):
        if path.exists():
            broken = [one for one in read_bundle_file([path.read_bytes()]) if not isinstance(one, Record)]
            wrong += [f"{path.name} is damaged" for _ in broken]
    return wrong


def ending(world: World, flow: str) -> None:
    """Everybody meets and talks; all who should be in are, with one view; nothing is lost, nothing is double."""
    gone = {"remove": "carol", "leave": "carol", "revoke": "laptop"}.get(flow, "")
    with ExitPeople(world) as everyone:
        people = [one for name, one in everyone.items() if name != gone]
        meet(*everyone.values())
        meet(*people)
        [team] = [info.id for info in people[0].chat.list_channels() if info.name == "team"]
        before = {name: everyone[name].reads(team) for name in everyone}
        for number, one in enumerate(people):
            one.say(team, f"the end, {number}")
        meet(*people)
        meet(*everyone.values())
        for one in people:
            assert one.role(team) != "none"
            assert one.digest(team) == people[0].digest(team)
            assert one.keys(team).keys() >= {one.graph(team).state.epochs.current.epoch}  # type: ignore[union-attr]
            assert one.chat.joining() == []
            assert one.chat.get_channel(team).topic == "work"
        said = people[-1].reads(team)
        ends = [line for line in said if line.startswith("the end")]
        assert ends == [f"the end, {n}" for n in range(len(people))]
        expected = [f"{name} was here" for name in (*OWNERS, "ada", "bob", "carol") if flow not in ("join",)]
        twice = [line for line, count in Counter(said).items() if count > 1]
        assert not twice
        lost = {line for lines in before.values() for line in lines} - set(said)
        assert not lost
        if flow != "join":
            assert {"ada was here", "bob was here", "carol was here"} <= set(said) & set(expected)
        if gone:
            assert everyone[gone].reads(team) == before[gone]
        _members(everyone, team, flow)
    assert standing(world) == []
    left = [str(path) for path in world.folder.rglob(".*.new")]
    assert not left, left


def _members(everyone: dict[str, Person], team: ChannelId, flow: str) -> None:
    """Each person is in once, with the devices they have, and known by their name."""
    ada = everyone["ada"]
    members = {one.name: one for one in ada.chat.members(team)}
    names = {"join": {"ada", "Bobby"}, "remove": {"ada", "bob"}, "leave": {"ada", "bob"}}
    assert set(members) == names.get(flow, {"ada", "bob", "carol"})
    devices = ada.chat.devices()
    assert len(members["ada"].devices) == len(devices)
    if flow == "link":  # a device that was let in but never came is seen as such, and can be ended
        unused = [one for one in devices if not one.this and not one.heard]
        assert len(devices) == 2 + len(unused)
        for one in unused:
            ada.chat.revoke_device(one.id)
        assert len(ada.chat.devices()) == 2
    else:
        assert [one.this for one in devices] == [True]
    bobs = members["Bobby" if flow == "join" else "bob"].devices
    assert len(bobs) == (2 if flow == "recover" else 1)  # the burnt one, and the one that came back
    if flow == "join":
        assert [one.used for one in ada.chat.invites(team)].count(1) == 1
        bob = everyone["bob"]
        assert {one.name for one in bob.chat.members(team)} == {"ada", "bob"}


class ExitPeople(dict[str, Person]):
    """Everybody with a vault, opened for a while."""

    def __init__(self, world: World) -> None:
        super().__init__()
        for name in world.vaults:
            folder = world.folder / name
            self[name] = Person(OWNERS.get(name, name), LocalStore.open(folder, key_of(folder)))

    def __enter__(self) -> ExitPeople:
        return self

    def __exit__(self, *_: object) -> None:
        for person in self.values():
            person.store.close()


# Processes


def duplicate(source: Path, target: Path) -> None:
    """A copy of a world whose vaults do not know that they were moved: their logs go on."""
    shutil.copytree(source, target, ignore=lambda folder, names: [one for one in names if one == "code"])
    if (source / "code").exists():
        os.mkfifo(target / "code")
    for vault in target.glob("*/vault.db"):
        slots, _ = KeySlots.open(vault.parent, key_of(vault.parent))
        place = Witness(source / vault.parent.name / FILE_NAME, slots.vault_id).last()
        if place is not None:
            witness = Witness(vault, slots.vault_id)
            witness.note(place)
            witness.close()
        slots.close()


def _doomed(folder: str, step: str, spec: dict[str, Any], said: str, kind: type[World] = World) -> None:
    """One step on a disk that may kill."""
    plan = Kill(spec["at"], spec.get("tear", 0.0)) if spec.get("kind") == "kill" else Plan()
    disk = FaultyDisk(plan)
    original = database.Database.__init__

    def init(self: Any, path: Path, key: Any, *, read_only: bool = False, vfs: str | None = None) -> None:
        original(self, path, key, read_only=read_only, vfs=disk.name)

    cast(Any, database.Database).__init__ = init
    points: list[str] = []

    def hook(point: str) -> None:
        points.append(point)
        if spec.get("kind") == "hook" and len(points) == spec["at"]:
            die()

    database.fault_hook = hook
    road_of.POLL_S = 0.005
    watch(Path(folder), plan)
    getattr(kind(Path(folder)), step)()
    calls = plan.calls
    Path(said).write_text(json.dumps([calls, points]))


def _standing(folder: str, said: str) -> None:
    Path(said).write_text(json.dumps(standing(World(Path(folder)))))


def _rest(folder: str, steps: list[str], flow: str) -> None:
    world = World(Path(folder))
    for step in steps:
        getattr(world, step)()
    ending(world, flow)


def start(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    process = FORKS.Process(target=target, args=arguments)
    process.start()
    return process


def outcome(process: ForkServerProcess) -> int:
    process.join(120)
    code = process.exitcode
    assert code is not None, "it hangs"
    process.close()
    return code


def doomed(folder: Path, step: str, spec: dict[str, Any], kind: type[World] = World) -> ForkServerProcess:
    return start(_doomed, str(folder), step, spec, str(folder) + f".{step}.said", kind)


def told(folder: Path, step: str) -> tuple[int, list[str]]:
    """Disk calls and fault points of a step that was not disturbed."""
    calls, points = json.loads(Path(f"{folder}.{step}.said").read_text())
    return calls, points


def stands(folder: Path) -> None:
    """A fresh process looks at what a crash left."""
    said = Path(f"{folder}.standing")
    assert outcome(start(_standing, str(folder), str(said))) == 0
    assert json.loads(said.read_text()) == []


def goes_on(folder: Path, steps: list[str], flow: str) -> None:
    """Fresh processes do the broken step again and all after it, and come to the right end."""
    assert outcome(start(_rest, str(folder), steps, flow)) == 0


def linked(folder: Path, doomed_side: str = "", spec: dict[str, Any] | None = None) -> int:
    """Host and guest at once; if one dies, whoever waits for it in vain is ended too. How the doomed one ended."""
    sides = {
        side: doomed(folder, side, (spec or {}) if side == doomed_side else {}) for side in ("host", "guest")
    }
    if not doomed_side:
        assert [outcome(side) for side in sides.values()] == [0, 0]
        return 0
    first = sides.pop(doomed_side)
    first.join(120)
    [other] = sides.values()
    if first.exitcode != 0:
        with suppress(UsageError):
            other.kill()
    outcome(other)
    return outcome(first)
