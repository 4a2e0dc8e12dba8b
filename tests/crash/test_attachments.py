"""Kill -9 while a file is attached, let go or asked for: message and file are both there or neither, and nothing lies about."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.ids import MessageId
from quire.storage import database
from quire.store import attachments
from quire.testing.faults import FaultyDisk, Kill, Plan, watch
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


ACTS: dict[str, Callable[[Path, ChannelManager], None]] = {"attach": attach, "let_go": let_go}


def child(folder: str, act: str, at: int, said: str) -> None:
    """Die at the `at`-th write, sync, file made or renamed, or point between statements; else say how many there were."""
    plan: Plan = Kill(at, tear=at % 3 / 2) if at else Plan()
    disk = FaultyDisk(plan)
    store = vaults.opened(Path(folder), vfs=disk.name)
    chat = ChannelManager(store)
    store.ledger  # noqa: B018 - made before, so that only the act is counted
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


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    """A folder with a vault before each act, and the places to die in it."""
    found = {}
    for act in ACTS:
        folder = tmp_path_factory.mktemp(act)
        (folder / "file.bin").write_bytes(DATA)
        with vaults.fresh_store(folder) as store:
            chat = ChannelManager(store)
            chat.create_channel("general")
            chat.send_message("general", "before")
            if act == "let_go":
                attach(folder / "vault", chat)
        copy = folder.with_name(f"{folder.name}-copy")
        shutil.copytree(folder, copy)
        assert run(copy / "vault", act, 0) == 0
        found[act] = folder, int((copy / "said").read_text())
    return found


def survives(folder: Path, act: str) -> None:
    """What the next process finds."""
    with vaults.opened(folder) as store:
        chat = ChannelManager(store)
        messages = list(chat.get_stored_messages("general"))
        with_files = [one for one in messages if one.attachments]
        files = list(store.files.whole())
        assert store.verify().ok
        assert "before" in [one.body for one in messages]
        assert not list(store.files.parts())
        assert not os.listdir(os.path.join(store.files.folder, "new")) if files else True
        if act == "attach":
            assert len(with_files) == len(files) <= 1
            for one in with_files:
                with chat.open_attachment(MessageId(one.id)) as stream:
                    assert stream.read() == DATA
            attach(folder, chat)
            assert store.verify().ok
        else:
            states = [view.state for one in with_files for view in chat.get_attachments(one.id)]
            assert states == (["here"] if files else ["dropped"])


@pytest.mark.parametrize("act", list(ACTS))
def test_a_kill_leaves_both_or_neither(before: dict[str, tuple[Path, int]], tmp_path: Path, act: str) -> None:
    folder, places = before[act]
    assert places > 12
    spread = sorted({1 + n * (places - 1) // (FAST - 1) for n in range(FAST)})
    die_at(folder, act, tmp_path, spread)


@pytest.mark.slow
@pytest.mark.parametrize("act", list(ACTS))
def test_a_kill_anywhere_leaves_both_or_neither(
    before: dict[str, tuple[Path, int]], tmp_path: Path, act: str
) -> None:
    folder, places = before[act]
    die_at(folder, act, tmp_path, range(1, places + 1))


def die_at(folder: Path, act: str, tmp_path: Path, places: object) -> None:
    for at in places:  # type: ignore[attr-defined]
        copy = tmp_path / str(at)
        shutil.copytree(folder, copy)
        assert run(copy / "vault", act, at) == -9
        print(act, at)  # shown by pytest when this fails
        survives(copy / "vault", act)
        shutil.rmtree(copy)
