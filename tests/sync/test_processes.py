"""Vaults of several people, each in processes of its own, over real links on loopback."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHEAP, Quire
from tests.relay.running import relaying

LOOKS_MAX = 10


class Up:
    """A running `quire up`."""

    def __init__(self, run: Quire, *arguments: str) -> None:
        self.process = subprocess.Popen(
            run.command("up", "--json", *arguments),
            env=run.environment_with(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.events: list[Any] = []

    def wait_for(self, kind: str, **fields: object) -> Any:
        """The next event of a kind with these fields."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            event = json.loads(text)
            self.events.append(event)
            if event["kind"] == kind and all(event[name] == value for name, value in fields.items()):
                return event
        raise AssertionError(f"it ended without {kind}: {self.events}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def running(run: Quire, *arguments: str) -> Iterator[Up]:
    up = Up(run, *arguments)
    try:
        yield up
    finally:
        up.process.kill()
        up.process.communicate()


def person(tmp_path: Path, name: str) -> Quire:
    folder = tmp_path / name
    folder.mkdir()
    run = Quire(folder)
    run.here("init", "--name", name, "--key-file", str(run.key), QUIRE_KEY_FILE="")
    return run


@pytest.fixture
def two(tmp_path: Path) -> tuple[Quire, Quire]:
    ada, bob = person(tmp_path, "Ada"), person(tmp_path, "Bob")
    ada.here("channel", "create", "team")
    ada.here("post", "team", "before Bob")
    bob.here("join", ada.here("invite", "team", "--quiet").out.strip())
    return ada, bob


def bodies(run: Quire) -> list[str]:
    return [one["body"] for one in run("read", "team", "--json").json["messages"]][::-1]


def test_two_who_were_apart_come_into_step_and_a_fresh_process_shows_it(two: tuple[Quire, Quire]) -> None:
    ada, bob = two
    with running(ada, "--listen", "127.0.0.1:0") as up:
        address = up.wait_for("listening")["address"]
        report = bob("sync", "--peer", address, "--json").json
        assert report["new"] > 0
        assert bodies(bob) == ["before Bob"]
        bob("post", "team", "hello")
        ada("post", "team", "hello Bob")  # another process writes to the vault that is up
        bob("sync", "--peer", address)
        again = bob("sync", "--peer", address, "--json").json
        assert (again["new"], again["given"], again["differing"]) == (0, 0, [])
        assert up.end() == 0
    assert bodies(ada) == bodies(bob) == ["before Bob", "hello", "hello Bob"]
    for run in (ada.here, bob.here):
        assert run("verify", "--json").json["ok"]
        status = run("status", "--json").json
        assert status["channels"][0]["complete"]
        assert status["outbox"] == status["never_met"] == 0
        [met] = run("peers", "--json").json["peers"]
        assert (met["name"], met["behind"], met["answers"]) == (
            "Bob" if run.folder == ada.folder else "Ada",
            0,
            None,
        )
    assert "Ada" in run("peers").out
    [gone] = run("peers", "--try", "--json").json["peers"]
    assert (gone["answers"], gone["rule"]) == (False, None)
    run("post", "team", "nobody hears")
    assert "1 nobody else has yet" in run("status").out
    assert "no: unreachable" in run("peers").out


def test_what_one_posts_the_other_follows_live(two: tuple[Quire, Quire]) -> None:
    ada, bob = two
    with running(ada, "--listen", "127.0.0.1:0") as up:
        address = up.wait_for("listening")["address"]
        with running(bob, "--listen", "-", "--peer", address) as other:
            other.wait_for("synced")
            while "team" not in bob("channels", "--json").out or not bodies(bob):
                other.wait_for("synced")
            follower = subprocess.Popen(
                bob.command("read", "team", "--follow", "--json"),
                env=bob.environment_with(),
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                assert follower.stdout is not None
                assert "before Bob" in follower.stdout.readline()
                ada("post", "team", "live")
                assert json.loads(follower.stdout.readline())["body"] == "live"
            finally:
                follower.kill()
                follower.wait()
                assert follower.stdout is not None
                follower.stdout.close()


@pytest.mark.slow
@pytest.mark.bounded
def test_two_on_one_network_find_each_other_without_an_address(two: tuple[Quire, Quire]) -> None:
    ada, bob = two
    near = ("--listen", "127.0.0.1:0", "--interface", "127.0.0.1")
    with running(ada, *near) as up:
        up.wait_for("listening")
        with running(bob, *near) as other:
            while not (bob("channels", "--json").json["channels"] and bodies(bob) == ["before Bob"]):
                other.wait_for("synced")
            bob("post", "team", "found you")
            while bodies(ada) != ["before Bob", "found you"]:
                up.wait_for("synced")
        ada("post", "team", "come again")
        for _ in range(LOOKS_MAX):  # who answers late on a busy machine is found by the next look
            look = subprocess.run(
                bob.command("sync", "--interface", "127.0.0.1"), env=bob.environment_with(), capture_output=True, check=False
            )  # fmt: skip
            if look.returncode == 0:
                break
        assert bodies(bob) == ["before Bob", "found you", "come again"]
        up.end(signal.SIGKILL)
    assert bob("sync", "--interface", "127.0.0.1", "--json", code=10).error["rule"] == "lan_nobody"


@pytest.mark.slow
@pytest.mark.bounded
def test_a_killed_peer_comes_back_and_loses_nothing(two: tuple[Quire, Quire]) -> None:
    ada, bob = two
    with running(ada, "--listen", "127.0.0.1:0") as up:
        address = up.wait_for("listening")["address"]
        bob("sync", "--peer", address)
        with running(bob, "--listen", "-", "--peer", address) as other:
            other.wait_for("connected")
            for number in range(5):
                ada("post", "team", f"message {number}")
                if number == 2:
                    other.end(signal.SIGKILL)
        with running(bob, "--listen", "-", "--peer", address) as other:
            other.wait_for("synced")
        bob("sync", "--peer", address)
    assert bodies(bob) == bodies(ada) == ["before Bob", *(f"message {number}" for number in range(5))]


def test_nobody_there_is_said_and_keeps_nobody_else_from_it(two: tuple[Quire, Quire]) -> None:
    ada, bob = two
    assert bob.here("sync", "--json", code=2).error["rule"] == "no_peer"
    assert bob.here("sync", "--peer", "127.0.0.1:port", "--json", code=2).error["rule"] == "address_form"
    with running(ada, "--listen", "127.0.0.1:0") as up:
        address = up.wait_for("listening")["address"]
        done = bob("sync", "--peer", "127.0.0.1:1", "--peer", address, "--json", code=10)
        assert done.error["rule"] == "unreachable"
        assert json.loads(done.out.splitlines()[0])["new"] > 0
        assert ada("up", "--listen", address, "--json", code=10).error["rule"] == "address_taken"


def test_a_stranger_is_not_spoken_to(two: tuple[Quire, Quire], tmp_path: Path) -> None:
    ada, bob = two
    with running(ada, "--listen", "127.0.0.1:0") as up:
        address = up.wait_for("listening")["address"]
        bob("sync", "--peer", address)  # the invite, for one person, is used up
        eve = person(tmp_path, "Eve")
        assert eve("sync", "--peer", address, "--json", code=10).error["rule"] == "link_refused"


@pytest.mark.slow
@pytest.mark.bounded
def test_two_who_are_never_online_together_talk_by_a_relay(two: tuple[Quire, Quire], tmp_path: Path) -> None:
    ada, bob = two
    with relaying(tmp_path / "relay") as (process, url):
        bob("sync", "--relay", url)  # the request
        ada("sync", "--relay", url)  # lets Bob in
        assert bob("sync", "--relay", url, "--json").json["new"] > 0
        assert bodies(bob) == ["before Bob"]
        bob("post", "team", "a needle of Bob's")
        bob("sync", "--relay", url)
        ada("post", "team", "a needle of Ada's")
        ada("sync", "--relay", url)
        bob("sync", "--relay", url)
        assert bodies(ada) == bodies(bob) == ["before Bob", "a needle of Bob's", "a needle of Ada's"]
        for run in two:
            again = run("sync", "--relay", url, "--json").json
            assert (again["new"], again["given"]) == (0, 0)
            assert run("verify", "--json").json["ok"]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
    private = [b"needle", b"team", b"Ada", b"Bob", *_ids(ada), *_ids(bob)]
    kept = b"".join(file.read_bytes() for file in (tmp_path / "relay").iterdir())
    assert len(kept) > 10_000
    for one in private:
        assert one not in kept
        assert one not in (out + err).encode()
    assert "127.0.0.1" not in err


def _ids(run: Quire) -> list[bytes]:
    """Of the person, their devices and channels, as bytes and as text."""
    found = [one["id"] for one in run("devices", "--json").json["devices"]]
    found += [one["id"] for one in run("channels", "--json").json["channels"]]
    found.append(run("id", "--json").json["identity"])
    return [form for text in found for form in (text.encode(), bytes.fromhex(text))]


@pytest.mark.slow
@pytest.mark.bounded
def test_live_by_a_relay_that_is_killed_and_comes_back(two: tuple[Quire, Quire], tmp_path: Path) -> None:
    ada, bob = two
    with relaying(tmp_path / "relay") as (process, url):
        bob("sync", "--relay", url)
        ada("sync", "--relay", url)
        bob("sync", "--relay", url)
        with running(bob, "--listen", "-", "--relay", url) as up:
            up.wait_for("synced")
            ada("post", "team", "one")
            ada("sync", "--relay", url)
            up.wait_for("synced", new=1)
            assert bodies(bob)[-1] == "one"
            process.kill()
            process.wait()
            up.wait_for("lost")
            assert ada("sync", "--relay", url, "--json", code=10).error["rule"] == "relay_unreachable"
            ada("post", "team", "two")
            with relaying(tmp_path / "relay", "--listen", url.removeprefix("ws://")) as (_, again):
                assert again == url
                ada("sync", "--relay", url)
                up.wait_for("synced", new=1)
                assert bodies(bob) == ["before Bob", "one", "two"]


@pytest.mark.slow
@pytest.mark.bounded
def test_the_words_and_a_relay_bring_everything_back(tmp_path: Path) -> None:
    ada = person(tmp_path, "Ada")
    lost, again = (Quire(tmp_path / name) for name in ("lost", "again"))
    for one in (lost, again):
        one.folder.mkdir()
    made = ("--key-file", str(lost.key), "--json")
    words = lost("init", "--name", "Bob", *made, before=CHEAP, QUIRE_KEY_FILE="").json["recovery_phrase"]
    ada("channel", "create", "team")
    ada("post", "team", "from Ada")
    lost("join", ada("invite", "team", "--quiet").out.strip())
    with relaying(tmp_path / "relay") as (_, url):
        for run in (lost, ada, lost):
            run("sync", "--relay", url)
        marked = lost.id_of("post", "team", "from Bob")
        lost("bookmark", marked)
        lost("sync", "--relay", url)
        shutil.rmtree(lost.vault)
        (again.folder / "words").write_text(words)
        with (again.folder / "words").open() as file:
            done = again(
                "recover", "--relay", url, "--passphrase-fd", str(file.fileno()), "--key-file", str(again.key), "--json",
                fds=(file.fileno(),), before=CHEAP, QUIRE_KEY_FILE="",
            )  # fmt: skip
        assert [one["name"] for one in done.json["channels"]] == ["team"]
        assert bodies(again) == ["from Ada", "from Bob"]
        assert [one["body"] for one in again("bookmarks", "--json").json["messages"]] == ["from Bob"]
        again("post", "team", "back")
        again("sync", "--relay", url)
        ada("sync", "--relay", url)
        assert bodies(ada) == ["from Ada", "from Bob", "back"]
        assert again("verify", "--json").json["ok"]
        other = Quire(tmp_path / "other")
        assert other("recover", "--json", code=2).error["rule"] == "recover_from"
