"""Kill -9 while a file is attached, let go or asked for: message and file are both there or neither, and nothing lies about."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.ids import MessageId
from quire.node.peer import PeerSync
from quire.storage import database
from quire.store import attachments
from quire.store.local import LocalStore
from quire.testing.faults import FaultyDisk, Kill, Plan, watch
from quire.testing.people import Person, key_of
from quire.transports.memory import memory_links
from tests import vaults

DATA = os.urandom(1_500_000)  # two pieces
FAST = 3


def attach(folder: Path, chat: ChannelManager) -> None:
    chat.send_message("general", "with a file", files=[folder.with_name("file.bin")])


def let_go(folder: Path, chat: ChannelManager) -> None:
    [message] = [one for one in chat.get_stored_messages("general") if one.attachments]
    files = [one.file.id for one in message.attachments if one.file]
    chat.store.ledger.run(lambda db: attachments.drop(db, files))
    attachments.sweep(chat.store)


def fetch(folder: Path, chat: ChannelManager) -> None:
    """From a friend, who is in the folder beside."""
    friend = LocalStore.open(folder.with_name("friend"), key_of(folder.with_name("friend")))
    asyncio.run(meet(chat, ChannelManager(friend)))
    friend.close()


async def meet(one: ChannelManager, other: ChannelManager) -> None:
    here, there = memory_links(one.store.device, other.store.device)
    await asyncio.gather(PeerSync(one, here).run(), PeerSync(other, there).run())


ACTS: dict[str, Callable[[Path, ChannelManager], None]] = {
    "attach": attach, "let_go": let_go, "fetch": fetch,
}  # fmt: skip


def child(folder: str, act: str, at: int, said: str) -> None:
    """Die at the `at`-th write, sync, file made or renamed, or point between statements; else say how many there were."""
    plan: Plan = Kill(at, tear=at % 3 / 2) if at else Plan()
    disk = FaultyDisk(plan)
    store = vaults.opened(Path(folder), vfs=disk.name)
    chat = ChannelManager(store)
    store.ledger  # noqa: B018 - made before, so that only the act is counted
    store.ledger.run(lambda db: None)
    plan.calls = 0
    watch(Path(folder), plan)
    database.fault_hook = lambda point: plan.rearrange()
    ACTS[act](Path(folder), chat)
    Path(said).write_text(str(plan.calls))


def run(folder: Path, act: str, at: int) -> int:
    """0 if it was done; how many places there are is in the file `said`."""
    process = vaults.FORKS.Process(target=child, args=(str(folder), act, at, str(folder.with_name("said"))))
    process.start()
    process.join(60)
    code = process.exitcode
    process.close()
    assert code in (0, -9)
    return code


Before = Callable[[str], tuple[Path, int]]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    """A folder with a vault before an act, and how many places to die are in it."""

    @cache
    def made(act: str) -> tuple[Path, int]:
        folder = tmp_path_factory.mktemp(act)
        (folder / "file.bin").write_bytes(DATA)
        if act == "fetch":
            with_friend(folder)
        else:
            alone(folder, act)
        copy = folder.with_name(f"{folder.name}-copy")
        shutil.copytree(folder, copy)
        assert run(copy / "vault", act, 0) == 0
        return folder, int((copy / "said").read_text())

    return made


def alone(folder: Path, act: str) -> None:
    with vaults.fresh_store(folder) as store:
        chat = ChannelManager(store)
        chat.create_channel("general")
        chat.send_message("general", "before")
        if act == "let_go":
            attach(folder / "vault", chat)


def with_friend(folder: Path) -> None:
    """The friend has the file, and we have its message."""
    friend, us = Person.create(folder, "friend"), Person.create(folder, "vault")
    friend.chat.create_channel("general")
    us.chat.join_channel(friend.chat.create_invite("general").text())
    us.chat.set_fetch_limit(0)
    friend.chat.send_message("general", "before")
    friend.chat.send_message("general", "with a file", files=[folder / "file.bin"])
    asyncio.run(meet(us.chat, friend.chat))
    us.chat.set_fetch_limit(16 << 20)
    friend.store.close()
    us.store.close()


def survives(folder: Path, act: str) -> None:
    """What the next process finds."""
    with vaults.opened(folder) as store:
        chat = ChannelManager(store)
        messages = list(chat.get_stored_messages("general"))
        with_files = [one for one in messages if one.attachments]
        files = list(store.files.whole())
        assert store.verify().ok
        assert "before" in [one.body for one in messages]
        assert not list(store.files.parts()) or act == "fetch"
        assert not os.listdir(os.path.join(store.files.folder, "new")) if files else True
        if act == "attach":
            assert len(with_files) == len(files) <= 1
            for one in with_files:
                with chat.open_attachment(MessageId(one.id)) as stream:
                    assert stream.read() == DATA
            attach(folder, chat)
            assert store.verify().ok
        elif act == "fetch":
            fetch(folder, chat)
            [view] = chat.get_attachments(with_files[0].id)
            assert view.state == "here"
            assert store.verify().ok
        else:
            states = [view.state for one in with_files for view in chat.get_attachments(one.id)]
            assert states == (["here"] if files else ["dropped"])


SLOW = [pytest.mark.slow, pytest.mark.bounded]


@pytest.mark.parametrize("act", ["attach", *(pytest.param(act, marks=SLOW) for act in ("let_go", "fetch"))])
def test_a_kill_leaves_both_or_neither(before: Before, tmp_path: Path, act: str) -> None:
    folder, places = before(act)
    assert places > 12
    spread = sorted({1 + n * (places - 1) // (FAST - 1) for n in range(FAST)})
    die_at(folder, act, tmp_path, spread)


@pytest.mark.slow
@pytest.mark.parametrize("act", list(ACTS))
def test_a_kill_anywhere_leaves_both_or_neither(before: Before, tmp_path: Path, act: str) -> None:
    folder, places = before(act)
    die_at(folder, act, tmp_path, range(1, places + 1))


def die_at(folder: Path, act: str, tmp_path: Path, places: object) -> None:
    for at in places:  # type: ignore[attr-defined]
        copy = tmp_path / str(at)
        shutil.copytree(folder, copy)
        assert run(copy / "vault", act, at) == -9
        print(act, at)  # shown by pytest when this fails
        survives(copy / "vault", act)
        shutil.rmtree(copy)
