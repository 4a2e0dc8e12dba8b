"""Three devices of two people and a relay, all processes of their own: what was done apart comes to the same everywhere; and
whatever is killed, whenever, nothing acknowledged is lost and nothing is doubled."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Quire
from tests.relay.running import relaying
from tests.sync.test_processes import Up, person, running

Devices = tuple[Quire, Quire, Quire]

POST = """
import sys
from quire import ChannelManager, KeyFile, LocalStore
vault, key, name = sys.argv[1:]
with LocalStore.open(vault, KeyFile(key)) as store:
    chat = ChannelManager(store)
    for number in range(100_000):
        chat.send_message("team", f"{name} {number}")
        print(f"{name} {number}", flush=True)
"""


@pytest.fixture
def three(tmp_path: Path) -> Devices:
    """Ada, Bob, and Bob's laptop; each has a vault and nothing but the first shares anything yet."""
    ada, bob, laptop = (
        person(tmp_path, "Ada"),
        person(tmp_path, "Bob"),
        Quire(tmp_path / "laptop"),
    )
    laptop.folder.mkdir()
    road = tmp_path / "road"
    road.mkdir()
    host = subprocess.Popen(
        bob.command("link", str(road), "--name", "laptop"), env=bob.environment_with(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert host.stdout
    code = host.stdout.readline().removeprefix("code: ").strip()
    laptop("link", str(road), "--new", "--key-file", str(laptop.key), stdin=code + "\n", QUIRE_KEY_FILE="")
    host.communicate(timeout=60)
    ada("channel", "create", "team")
    bob("join", ada("invite", "team", "--quiet").out.strip())
    return ada, bob, laptop


def come_together(url: str, devices: Devices) -> None:
    """Until nobody has anything new."""
    for _ in range(10):
        if not any(_moved(run("sync", "--relay", url, "--json").json) for run in devices):
            return
    raise AssertionError("it goes on for ever")


def _moved(report: Any) -> bool:
    assert report["refused"] == []
    return bool(report["new"] or report["given"])


def digest(run: Quire) -> tuple[str, str]:
    found = run("verify", "--digest", "--json").json
    assert found["ok"]
    return next((one["digest"], one["exact"]) for one in found["digests"] if one["name"] == "team")


@pytest.mark.slow
@pytest.mark.bounded
def test_what_three_devices_did_apart_comes_to_the_same_timeline(tmp_path: Path, three: Devices) -> None:
    ada, bob, laptop = three
    with relaying(tmp_path / "relay") as (_, url):
        come_together(url, three)
        first = ada.id_of("post", "team", "a question")
        second = bob.id_of("post", "team", "to be deleted")
        come_together(url, three)
        # All apart.
        ada("post", "team", "--thread", first, "Ada in the thread")
        ada("edit", first, "a better question")
        ada("role", "team", "Bob", "moderator")
        bob("post", "team", "--thread", first, "Bob in the thread")
        bob("react", first, "👍")
        bob("delete", second, "--yes")
        laptop("react", first, "🎉")
        laptop("pin", first)
        third = laptop.id_of("post", "team", "from the laptop")
        laptop("edit", third, "from the laptop, edited")
        assert len({digest(run) for run in three}) == 3
        come_together(url, three)
        assert len({digest(run) for run in three}) == 1
        shown = laptop("show", first, "--json").json
        assert shown["body"] == "a better question"
        assert shown["thread"]["replies"] == 2
        assert {one["emoji"] for one in shown["reactions"]} == {"👍", "🎉"}
        roles = {one["name"]: one["role"] for one in laptop("members", "team", "--json").json["members"]}
        assert roles == {"Ada": "owner", "Bob": "moderator"}


def kill_under_load(tmp_path: Path, devices: Devices, rounds: int, seed: int) -> None:
    """All post at once, each beside an `up` of its vault, by a relay and by a direct link; and any of them is killed."""
    rng = random.Random(seed)
    acknowledged: set[str] = set()
    with relaying(tmp_path / "relay") as (_, url):
        come_together(url, devices)
    for number in range(rounds):
        with (
            relaying(tmp_path / "relay", "--listen", url.removeprefix("ws://")) as (relay, _),
            running(devices[0], "--listen", "127.0.0.1:0", "--relay", url) as ada,
        ):
            peer = ada.wait_for("listening")["address"]
            with (
                running(devices[1], "--listen", "-", "--peer", peer) as bob,
                running(devices[2], "--listen", "-", "--relay", url) as laptop,
            ):
                ups: list[Up] = [ada, bob, laptop]
                posting = [
                    subprocess.Popen(
                        [sys.executable, "-c", POST, str(run.vault), str(run.key), f"{number}-{n}"],
                        env=run.environment_with(),
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                    for n, run in enumerate(devices)
                ]
                for one in posting:
                    assert one.stdout is not None
                    acknowledged.update(one.stdout.readline().strip() for _ in range(rng.randint(1, 30)))
                doomed = [*posting, *(up.process for up in ups), relay]
                rng.shuffle(doomed)
                for process in doomed[: rng.randint(1, len(doomed))]:
                    process.send_signal(signal.SIGKILL)
                for one in posting:
                    one.kill()
                    acknowledged.update(text for text in one.communicate()[0].split("\n") if text)
    with relaying(tmp_path / "relay", "--listen", url.removeprefix("ws://")):
        come_together(url, devices)
    assert len({digest(run) for run in devices}) == 1
    found = [one["body"] for run in devices[:1] for one in _all(run)]
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    assert len(acknowledged) >= 3 * rounds


def _all(run: Quire) -> list[Any]:
    found: list[Any] = []
    page = run("read", "team", "--limit", "1000", "--json").json
    while True:
        found += page["messages"]
        if not page["older"]:
            return found
        page = run("read", "team", "--limit", "1000", "--before", page["older"], "--json").json


@pytest.mark.slow
@pytest.mark.bounded
def test_whoever_is_killed_nothing_is_lost_or_doubled_in_a_sample(tmp_path: Path, three: Devices) -> None:
    kill_under_load(tmp_path, three, rounds=3, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_whoever_is_killed_nothing_is_lost_or_doubled(tmp_path: Path, three: Devices, seed: int) -> None:
    """240 rounds in all; each kills one to seven processes."""
    kill_under_load(tmp_path, three, rounds=60, seed=seed)
