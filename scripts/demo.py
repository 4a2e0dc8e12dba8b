"""Show Quire at work: a real export becomes a searchable, encrypted history, one new process a step.

    python scripts/demo.py [FOLDER]

Makes a vault in FOLDER (default: .demo in this repository; a vault there from an earlier run is made
anew), imports demo/pyscript-discord.zip and goes through it with the command line. Nothing but FOLDER
is written to.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXPORT = ROOT / "demo" / "pyscript-discord.zip"
CHANNEL = "pyscript-ltk"
OURS = ("vault", "demo.key")  # of Ada
OTHERS = (
    "people",
    "relay",
)  # Bob's devices and the relay: with the two above, all that an earlier run can have left


class Demo:
    """Runs `quire` commands and shows them as one would type them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = 0
        self.environment = os.environ | {
            "QUIRE_VAULT": str(folder / "vault"),
            "QUIRE_KEY_FILE": str(folder / "demo.key"),
        }
        self.environment.pop("QUIRE_PASSPHRASE", None)
        self.who = ""

    def device(self, name: str) -> Demo:
        """Another device, with a vault of its own."""
        other = Demo(self.folder)
        path = self.folder / "people" / name
        path.mkdir(parents=True)
        other.environment |= {"QUIRE_VAULT": str(path / "vault"), "QUIRE_KEY_FILE": str(path / "key")}
        other.who = f"{name}: "
        return other

    def told(self, *arguments: str) -> Any:
        """What a command says as JSON. Not printed."""
        return json.loads(self._run((*arguments, "--json"), stdout=subprocess.PIPE))

    def running(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        self.commands += 1
        print(self._styled(f"{self.who}$ quire {shlex.join(arguments)} &", "36"), flush=True)
        return subprocess.Popen(
            [sys.executable, "-m", "quire", *arguments, "--json"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def say(self, words: str) -> None:
        print(f"\n{self._styled(words, '1')}", flush=True)

    def quire(self, *arguments: str) -> None:
        """Run one command in a new process, its output as it comes."""
        print(self._styled(f"{self.who}$ quire {shlex.join(arguments)}", "36"), flush=True)
        self._run(arguments)

    def written(self, *arguments: str) -> str:
        """Run a command that writes a message; the id it says."""
        print(self._styled(f"{self.who}$ quire {shlex.join(arguments)}", "36"), flush=True)
        output = self._run(arguments, stdout=subprocess.PIPE).decode()
        print(output, end="", flush=True)
        return output.split()[-1]

    def message(self, *arguments: str) -> str:
        """The id of the newest message of a page, cut to the length people are shown. Not printed."""
        page = json.loads(self._run((*arguments, "--json"), stdout=subprocess.PIPE))
        log, _, place = str(page["messages"][0]["id"]).partition("-")
        return f"{log[:4]}-{place}"

    def shown_code(self, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        """A command that waits for another device, and the code that it shows."""
        self.commands += 1
        print(self._styled(f"{self.who}$ quire {shlex.join(arguments)}", "36"), flush=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "quire", *arguments],
            env=self.environment | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        code = process.stdout.readline().strip()
        print(code, flush=True)
        return process, code.removeprefix("code: ")

    def typed(self, text: str, *arguments: str) -> None:
        """Run a command to which this is typed."""
        print(self._styled(f"{self.who}$ quire {shlex.join(arguments)}", "36"), flush=True)
        self._run(arguments, typed=text)

    def recover(self, words: str, url: str) -> None:
        """Run `quire recover`, which reads the words from a file descriptor."""
        arguments = ("recover", "--relay", url, "--passphrase-fd", "0")
        print(self._styled(f"{self.who}$ quire {shlex.join(arguments)} < words", "36"), flush=True)
        self._run(arguments, typed=words)

    def until_read(self, body: str) -> None:
        """Look until a message is here, each time in a new process."""
        for _ in range(100):
            try:
                page = self.told("read", "team")
            except SystemExit:  # not in the channel yet
                page = {"messages": []}
            if any(one["body"] == body for one in page["messages"]):
                print(self._styled(f"{self.who}reads: {body}", "32"), flush=True)
                return
            time.sleep(0.2)
        sys.exit(f"demo: {self.who}{body!r} did not come")

    def _run(self, arguments: tuple[str, ...], stdout: int | None = None, typed: str = "") -> bytes:
        self.commands += 1
        command = [sys.executable, "-m", "quire", *arguments]
        done = subprocess.run(command, env=self.environment, input=typed.encode(), stdout=stdout, check=False)
        if done.returncode:
            sys.exit(f"demo: quire {arguments[0]} ended with exit code {done.returncode}")
        return done.stdout or b""

    def _styled(self, words: str, code: str) -> str:
        plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
        return words if plain else f"\x1b[{code}m{words}\x1b[0m"


def make_room(folder: Path) -> None:
    """An empty place, without deleting anything that is not a demo's."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / OURS[0]).exists() and not (folder / OURS[1]).exists():
        sys.exit(f"demo: {folder} holds a vault that is not a demo's; name another folder")
    for name in (OURS[0], *OTHERS):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / OURS[1]).unlink(missing_ok=True)


def main(folder: Path) -> None:
    started = time.monotonic()
    make_room(folder)
    demo = Demo(folder)

    demo.say("A new vault. For the demo a key file opens it; `quire init` alone asks for a passphrase.")
    demo.quire("init", "--name", "Ada")

    demo.say("A real Discord export: three channels of the PyScript community (MIT licence, see demo/).")
    demo.quire("import", os.path.relpath(EXPORT))

    demo.say("Every command is a new process: all it knows, it reads from the encrypted vault.")
    demo.quire("channels")
    demo.quire("read", CHANNEL, "--limit", "6")

    demo.say("Talk on: a thread, reactions, an edit. When a command is back, its message is on disk.")
    root = demo.message("read", CHANNEL, "--before", "2025-10-01", "--limit", "1")
    demo.quire("post", CHANNEL, "--thread", root, "Good to have all of this in one place.")
    reply = demo.written("post", CHANNEL, "--thread", root, "Is it searchable, to?")
    demo.quire("edit", reply, "Is it searchable, too?")
    demo.quire("react", root, "🎉")
    demo.quire("react", root, "👍")
    demo.quire("thread", root)

    demo.say("One message whole, and every version of another with what changed.")
    demo.quire("show", root)
    demo.quire("history", reply)

    demo.say("Search, newest first.")
    demo.quire("search", "searchable")
    demo.quire("search", "script*", "has:link", "--limit", "3")

    demo.say("Recompute everything from the signed log and compare.")
    demo.quire("verify")

    demo.commands += people(demo)

    where = f"QUIRE_VAULT={shlex.quote(demo.environment['QUIRE_VAULT'])}"
    where += f" QUIRE_KEY_FILE={shlex.quote(demo.environment['QUIRE_KEY_FILE'])}"
    demo.say(f"Done: {demo.commands} processes, {time.monotonic() - started:.0f} s. Go on with, for example:")
    print(f"  export {where}")
    print("  quire read tutorial")
    print("  quire threads pyscript-ltk")
    print("  quire search from:me")
    print("  quire import PATH     a Slack, Discord, Zulip, Telegram … export of your own")
    print("  quire --help          (in a fresh clone: .venv/bin/quire)")


def people(ada: Demo) -> int:
    """A relay and three devices of two people, in processes of their own; how many there were."""
    ada.say("Together: a relay that can read nothing, and Bob, who is let in by a link.")
    relay = ada.running("relay", str(ada.folder / "relay"), "--listen", "127.0.0.1:0")
    bob, laptop, again = (ada.device(name) for name in ("bob", "laptop", "again"))
    running = [relay]
    try:
        assert relay.stdout is not None
        url = json.loads(relay.stdout.readline())["url"]
        words = bob.told("init", "--name", "Bob")["recovery_phrase"]
        ada.quire("channel", "create", "team")
        link = ada.told("invite", "team")["link"]
        bob.quire("join", link)
        for one in (bob, ada, bob):
            one.quire("sync", "--relay", url)

        ada.say("Bob's laptop becomes his second device, by a short code. All three stay in step, live.")
        road = ada.folder / "people" / "road"
        road.mkdir()
        host = bob.shown_code("link", str(road), "--name", "laptop")
        laptop.typed(host[1], "link", str(road), "--new")
        host[0].communicate()
        ups = {one: one.running("up", "--relay", url, "--listen", "-") for one in (bob, laptop)}
        running += ups.values()
        ada.quire("post", "team", "Hello, all of you.")
        ada.quire("sync", "--relay", url)
        laptop.until_read("Hello, all of you.")
        laptop.quire("post", "team", "Hello from the laptop.")
        bob.until_read("Hello from the laptop.")

        ada.say("The laptop's process is killed. What is said meanwhile it has when it comes back.")
        ups[laptop].kill()
        bob.quire("post", "team", "Still there?")
        running.append(laptop.running("up", "--relay", url, "--listen", "-"))
        laptop.until_read("Still there?")

        ada.say("Bob loses both machines. His 24 words and the relay bring everything back.")
        for one in running[1:]:
            one.kill()
        again.recover(words, url)
        ada.quire("sync", "--relay", url)
        again.quire("read", "team")
        said = [[one["body"] for one in who.told("read", "team")["messages"]] for who in (ada, laptop, again)]
        if said[0] != said[1] or said[0] != said[2] or len(said[0]) != 3:
            sys.exit(f"demo: they differ: {said}")
        print("Ada, the laptop and the recovered device show the same history.")
    finally:
        for one in running:
            one.kill()
            one.communicate()
    return sum(one.commands for one in (bob, laptop, again))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".demo")
