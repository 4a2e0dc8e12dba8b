"""At a terminal: prompts that hide what is typed, colours, the pager, the editor."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.conftest import CHEAP, InProcess, Quire

pytestmark = pytest.mark.timeout(60)


class Screen(NamedTuple):
    """What a command left behind that ran at a terminal."""

    code: int
    text: str


def at_terminal(
    quire: Quire, *arguments: str, typed: dict[str, str] | None = None, **environment: str
) -> Screen:
    """Run a command on a pseudo-terminal of 80 x 24; when it shows a prompt, type the answer."""
    answers = dict(typed or {})
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    process = subprocess.Popen(
        quire.command(*arguments, before=CHEAP),
        env=quire.environment_with(TERM="xterm-256color", COLUMNS="", **environment),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # no controlling terminal: getpass asks on stdin
    )
    os.close(theirs)
    seen = ""
    for part in _output(ours):
        seen += part
        for prompt in [prompt for prompt in answers if prompt in seen]:
            os.write(ours, f"{answers.pop(prompt)}\n".encode())
    os.close(ours)
    assert not answers, f"never asked: {list(answers)}: {seen}"
    return Screen(process.wait(60), seen.replace("\r\n", "\n"))


def _output(terminal: int) -> Iterator[str]:
    with contextlib.suppress(OSError):  # EIO: the last process has left the terminal
        while part := os.read(terminal, 65_536):
            yield part.decode("utf-8", "replace")


def test_a_passphrase_is_asked_for_and_hidden(tmp_path: Path, compiled: Path) -> None:
    quire = Quire(tmp_path, compiled)
    quire.environment.pop("QUIRE_KEY_FILE")
    made = at_terminal(quire, "init", typed={"New passphrase: ": "rosebud", "The same again: ": "rosebud"})
    assert made.code == 0
    assert "24 words" in made.text
    assert "rosebud" not in made.text
    asked = at_terminal(quire, "stats", typed={"Passphrase: ": "rosebud"})
    assert asked.code == 0
    assert "rosebud" not in asked.text
    answers = {"Passphrase: ": "wrong", "try again\r\nPassphrase: ": "rosebud"}
    first = at_terminal(quire, "stats", typed=answers)
    assert first.code == 0


def test_two_different_passphrases_make_no_vault(tmp_path: Path, compiled: Path) -> None:
    quire = Quire(tmp_path, compiled)
    quire.environment.pop("QUIRE_KEY_FILE")
    made = at_terminal(quire, "init", typed={"New passphrase: ": "one", "The same again: ": "two"})
    assert made.code == 2
    assert not quire.vault.exists()


def test_colours_only_where_they_are_wanted(quire: Quire, here: InProcess) -> None:
    here("channel", "create", "colours")
    here("post", "colours", "hello")
    assert "\x1b[" in at_terminal(quire, "read", "colours").text
    plain = at_terminal(quire, "read", "colours", NO_COLOR="1").text
    assert "\x1b[3" not in plain
    assert "\x1b[9" not in plain
    assert "\x1b" not in quire("read", "colours").out  # a pipe


def test_the_pager_gets_what_the_screen_does_not_hold(quire: Quire, here: InProcess, tmp_path: Path) -> None:
    here("channel", "create", "long")
    here("post", "long", "short")
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\ncat > $HOME/paged\n")
    pager.chmod(0o755)
    paged = quire.folder / "paged"
    at_terminal(quire, "read", "long", PAGER=str(pager))
    assert not paged.exists()
    here("post", "long", "-", stdin="line\n" * 100)
    assert at_terminal(quire, "read", "long", PAGER=str(pager)).text == ""
    assert paged.read_text().count("line") == 100
    paged.unlink()
    assert "line" in at_terminal(quire, "read", "long", PAGER="no-such-pager").text


def test_the_editor_changes_a_message_and_sees_no_secret(
    quire: Quire, here: InProcess, tmp_path: Path
) -> None:
    here("channel", "create", "editor")
    message = here.id_of("post", "editor", "before")
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\nenv > {tmp_path}/env\necho after >> "$1"\n')
    editor.chmod(0o755)
    done = at_terminal(quire, "edit", message, EDITOR=str(editor), QUIRE_NEW_PASSPHRASE="rosebud")
    assert done.code == 0, done.text
    assert here("show", message, "--json").json["body"] == "before\nafter"
    assert "rosebud" not in (tmp_path / "env").read_text()
    broken = at_terminal(quire, "edit", message, EDITOR="false")
    assert broken.code == 2
    assert "nothing was changed" in broken.text
    same = at_terminal(quire, "edit", message, EDITOR="true")
    assert "nothing changed" in same.text
    assert at_terminal(quire, "edit", message, EDITOR="no-such-editor").code == 2


def test_a_deletion_is_confirmed(quire: Quire, here: InProcess) -> None:
    here("channel", "create", "confirm")
    message = here.id_of("post", "confirm", "precious")
    kept = at_terminal(quire, "delete", message, typed={"[y/N]: ": "n"})
    assert kept.code == 130
    assert here("show", message, "--json").json["deleted"] is None
    assert at_terminal(quire, "delete", message, typed={"[y/N]: ": "y"}).code == 0
    assert here("show", message, "--json").json["deleted"]


def test_long_work_shows_how_far_it_is(quire: Quire) -> None:
    """The clock of the meter is turned forward, so that nothing takes long."""
    before = "import quire.cli.progress as p; p.QUIET_SECONDS = -1.0"
    script = quire.command("verify", before=before)
    assert script[0] == sys.executable
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        script,
        env=quire.environment_with(TERM="xterm"),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    seen = "".join(_output(ours))
    os.close(ours)
    assert process.wait(60) == 0
    assert "Verifying" in seen
    assert "Verifying" not in quire("verify", before=before).err  # no terminal, no bar
