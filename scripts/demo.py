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

ROOT = Path(__file__).resolve().parent.parent
EXPORT = ROOT / "demo" / "pyscript-discord.zip"
CHANNEL = "pyscript-ltk"
OURS = ("vault", "demo.key")  # all that an earlier run can have left in the folder


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

    def say(self, words: str) -> None:
        print(f"\n{self._styled(words, '1')}", flush=True)

    def quire(self, *arguments: str) -> None:
        """Run one command in a new process, its output as it comes."""
        print(self._styled(f"$ quire {shlex.join(arguments)}", "36"), flush=True)
        self._run(arguments)

    def written(self, *arguments: str) -> str:
        """Run a command that writes a message; the id it says."""
        print(self._styled(f"$ quire {shlex.join(arguments)}", "36"), flush=True)
        output = self._run(arguments, stdout=subprocess.PIPE).decode()
        print(output, end="", flush=True)
        return output.split()[-1]

    def message(self, *arguments: str) -> str:
        """The id of the newest message of a page, cut to the length people are shown. Not printed."""
        page = json.loads(self._run((*arguments, "--json"), stdout=subprocess.PIPE))
        log, _, place = str(page["messages"][0]["id"]).partition("-")
        return f"{log[:4]}-{place}"

    def _run(self, arguments: tuple[str, ...], stdout: int | None = None) -> bytes:
        self.commands += 1
        command = [sys.executable, "-m", "quire", *arguments]
        done = subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=stdout, check=False
        )
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
    shutil.rmtree(folder / OURS[0], ignore_errors=True)
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

    where = f"QUIRE_VAULT={shlex.quote(demo.environment['QUIRE_VAULT'])}"
    where += f" QUIRE_KEY_FILE={shlex.quote(demo.environment['QUIRE_KEY_FILE'])}"
    demo.say(f"Done: {demo.commands} processes, {time.monotonic() - started:.0f} s. Go on with, for example:")
    print(f"  export {where}")
    print("  quire read tutorial")
    print("  quire threads pyscript-ltk")
    print("  quire search from:me")
    print("  quire import PATH     a Slack, Discord, Zulip, Telegram … export of your own")
    print("  quire --help          (in a fresh clone: .venv/bin/quire)")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".demo")
