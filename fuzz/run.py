"""Fuzz every target for a while: `python fuzz/run.py --seconds 20 [TARGET ...]`.

With Atheris (the optional group `fuzz`) inputs follow the code's branches, each target in a process of its own;
without it they are the corpus, mutated at random from a seed that is printed. An input that fails is kept in
fuzz/found/ and the run ends with an error; `python fuzz/run.py --input FILE TARGET` runs it again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOUND = Path(__file__).parent / "found"
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # also when this file is run by its name
INPUT_BYTES_MAX = 16 << 10
INPUT_SECONDS_MAX = 10  # one input: far above what the slowest takes on a loaded machine
SWAPS = (
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b'"',
    b"1e999",
    b"\n",
    b"\xff",
    b"\0",
    b"<",
    b"9999999999",
    b"\xed\xa0\x80",
)


def inputs(target: str) -> list[bytes]:
    """Where a target's fuzzing begins: its corpus, and for decoders the golden vectors."""
    from tests.vectors import FOLDER, load

    from fuzz.targets import kept

    found = [path.read_bytes() for path in kept(target)]
    vectors = (load(path).data for path in sorted((FOLDER / target).glob("*.json")))
    return [data for data in [*found, *vectors] if len(data) <= INPUT_BYTES_MAX] or [b""]


def mutated(chance: random.Random, begin: list[bytes]) -> bytes:
    """One of the inputs with a few things wrong with it."""
    data = bytearray(chance.choice(begin))
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(data) + 1)
        until = at + chance.choice([0, 0, 1, 1, 4, 40])
        match chance.randrange(5):
            case 0:
                data[at:until] = chance.choice(SWAPS)
            case 1:
                data[at:until] = chance.randbytes(chance.randrange(5))
            case 2 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 3:  # another part of it, once more
                other = chance.randrange(len(data) + 1)
                data[at:until] = data[other : other + chance.randrange(64)]
            case _:  # a part of another input
                donor = chance.choice(begin)
                other = chance.randrange(len(donor) + 1)
                data[at:until] = donor[other : other + chance.randrange(64)]
    return bytes(data[:INPUT_BYTES_MAX])


def fuzz_at_random(target: str, seconds: float, seed: int) -> bool:
    """Mutate the corpus; whether all went well."""
    from fuzz.targets import TARGETS

    chance, begin, run = random.Random(seed), inputs(target), TARGETS[target]
    until, count = time.monotonic() + seconds, 0
    while (started := time.monotonic()) < until:
        data = mutated(chance, begin)
        count += 1
        try:
            run(data)
            took = time.monotonic() - started
            assert took < INPUT_SECONDS_MAX, f"{took:.0f} s for {len(data)} bytes"
        except Exception as error:
            FOUND.mkdir(exist_ok=True)
            path = FOUND / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"{target}: {type(error).__name__}: {error}\n  kept as {os.path.relpath(path)}")
            return False
    print(f"{target}: {count} inputs, seed {seed}")
    return True


def fuzz_by_branches(target: str, seconds: float, seed: int) -> bool:
    """Let Atheris do it, in a process of its own; whether all went well."""
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(inputs(target)):
            Path(corpus, str(number)).write_bytes(data)
        command = [
            sys.executable, "-m", "fuzz.run", "--engine", target, corpus, f"-max_total_time={int(seconds)}",
            f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_SECONDS_MAX}", f"-artifact_prefix={FOUND}/{target}-",
            f"-seed={seed}", "-rss_limit_mb=2048", "-verbosity=0",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = [
        line for line in (done.stdout + done.stderr).splitlines() if not line.startswith(("INFO", "WARNING"))
    ]
    print(
        f"{target}: nothing found" if done.returncode == 0 else "\n".join([f"{target}:", *said[-40:]]),
        flush=True,
    )
    return done.returncode == 0


def engine(target: str, arguments: list[str]) -> None:
    """The inside of `fuzz_by_branches`: does not return."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    with atheris.instrument_imports(include=["quire"]):
        from fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()


def main() -> None:
    if sys.argv[1:2] == ["--engine"]:
        engine(sys.argv[2], sys.argv[3:])
        return
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=20, help="for each target")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big") >> 1)
    parser.add_argument("--random", action="store_true", help="without Atheris, even if it is installed")
    parser.add_argument("--input", type=Path, help="run one file and nothing else")
    given = parser.parse_args()
    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}")
    if given.input:
        for target in given.targets:
            TARGETS[target](given.input.read_bytes())
        return
    guided = importlib.util.find_spec("atheris") is not None and not given.random
    fuzz = fuzz_by_branches if guided else fuzz_at_random
    print(f"{'Atheris' if guided else 'random mutation'}, {given.seconds:g} s for each target")
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state  # the witness of the vault that chains are given to
        fine = [fuzz(target, given.seconds, given.seed) for target in given.targets or TARGETS]
    sys.exit(not all(fine))


if __name__ == "__main__":
    main()
