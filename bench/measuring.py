"""How things are timed, and what a measurement is.

Contenders take turns, a round each, so that whatever else the machine does meets all of them; the median
of all rounds counts. Fresh processes are timed from outside, start to exit, and memory is the peak of one.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent
CHILD_SECONDS_MAX = 900
OURS = "Quire"
FLOOR = "floor"
SQLITE = "sqlite3"
SQLCIPHER = "sqlcipher3"
CONTENDERS = (OURS, FLOOR, SQLITE, SQLCIPHER)


class Row(msgspec.Struct):
    """One measurement of all who can do it."""

    part: str
    size: int  # messages in the history
    what: str
    unit: str  # what is counted; a rate ("/s") is better high, all else better low
    values: dict[str, float]  # by contender
    when: str = ""  # the day, filled in when it is kept

    @property
    def key(self) -> tuple[str, int, str]:
        return self.part, self.size, self.what

    def times_as_good(self, than: str) -> float | None:
        """How many times as good Quire is as another; above 1 it is better."""
        ours, theirs = self.values.get(OURS), self.values.get(than)
        if not ours or not theirs:
            return None
        return ours / theirs if self.unit.endswith("/s") else theirs / ours


Calls = Sequence[Callable[[], object]]


def medians_us(contenders: Mapping[str, Calls], rounds: int) -> dict[str, float]:
    """The median microseconds of one call, each contender having its own list of calls."""
    for calls in contenders.values():
        for call in calls:
            call()  # warm: what is measured is a running program
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    clock = time.perf_counter
    for _ in range(rounds):
        for name, calls in contenders.items():
            taken = samples[name]
            for call in calls:
                start = clock()
                call()
                taken.append(clock() - start)
    return {name: statistics.median(taken) * 1e6 for name, taken in samples.items()}


def process_ms(commands: Mapping[str, Sequence[str]], rounds: int, scratch: Path) -> dict[str, float]:
    """The median milliseconds of a whole process, the contenders taking turns."""
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            run_child(command, scratch)
            if number:  # the first one compiles modules and fills caches
                samples[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) * 1e3 for name, taken in samples.items()}


def run_child(command: Sequence[str], scratch: Path) -> str:
    """What a child process prints; its failure is ours."""
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(scratch), cwd=ROOT, timeout=CHILD_SECONDS_MAX,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command[:3]} failed: {done.stderr[-2_000:]}")
    return done.stdout


def python(code: str, *arguments: object) -> list[str]:
    """A command that runs `code` in a fresh interpreter."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def environment(scratch: Path) -> dict[str, str]:
    """A child's environment: compiled modules are kept, as on a user's machine, but in the scratch folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QUIRE_"))}
    return kept | {"PYTHONPYCACHEPREFIX": str(scratch / "pyc"), "XDG_STATE_HOME": str(scratch / "state")}


def peak_mb() -> float:
    """This process's peak memory so far. `ru_maxrss` would count that of whoever started it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # macOS, where ru_maxrss is in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
