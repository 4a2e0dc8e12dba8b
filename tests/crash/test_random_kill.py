"""Kills at random times while several processes with several threads each write to one vault.

Nobody waits for a clock: each writer announces every message and acknowledges it through one pipe, and the
parent kills after a random number of acknowledgements. What each thread was told is on disk; of what it was
not told, only its very next message may be there too.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.store.local import LocalStore
from tests import vaults
from tests.oracle import check

PROCESSES = 2
THREADS = 3
ROUNDS = 12
ROUNDS_FAST = 2

_forks = get_context("forkserver")


def write_for_ever(folder: str, pipe_path: str, name: str) -> None:
    """Several threads that send until the process dies."""
    pipe = os.open(pipe_path, os.O_WRONLY)
    store = vaults.opened(Path(folder))
    manager = ChannelManager(store)

    def send(thread: int) -> None:
        number = 0
        while True:
            body = f"{name}.{thread}.{number}"
            message = manager.send_message("general", body)
            if number % 4 == 1:
                manager.add_reaction(message.id, "👍")
                manager.edit_message(message.id, body + ".edited")
                body += ".edited"
            os.write(pipe, json.dumps(body).encode() + b"\n")  # shorter than PIPE_BUF: written whole
            number += 1

    for thread in range(1, THREADS):
        threading.Thread(target=send, args=(thread,), daemon=True).start()
    send(0)


def acknowledged_until_killed(folder: Path, name: str, chance: random.Random) -> list[str]:
    """Start the writers, kill them one after another at random moments; what was acknowledged."""
    fifo = folder.with_name(f"pipe-{name}")
    os.mkfifo(fifo)
    processes: list[ForkServerProcess] = []
    for number in range(PROCESSES):
        process = _forks.Process(target=write_for_ever, args=(str(folder), str(fifo), f"{name}.{number}"))
        process.start()
        processes.append(process)
    said: list[str] = []
    with fifo.open("rb") as pipe:
        open_end = os.open(fifo, os.O_WRONLY)  # one may die before the other has opened the pipe
        while processes:
            said += [json.loads(pipe.readline()) for _ in range(chance.randrange(1, 60))]
            victim = processes.pop(chance.randrange(len(processes)))
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            victim.join(60)
            assert victim.exitcode == -signal.SIGKILL
            victim.close()
        os.close(open_end)
        said += [json.loads(line) for line in pipe]
    return said


def survives(tmp_path: Path, seed: int, rounds: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    store = vaults.fresh_store(tmp_path)
    ChannelManager(store).create_channel("general")
    store.close()
    said: list[str] = []
    for number in range(rounds):
        said += acknowledged_until_killed(store.folder, f"{seed}.{number}", chance)
        with vaults.opened(store.folder) as found:
            complete(found, said)
            check(found)


def complete(store: LocalStore, said: list[str]) -> None:
    """Everything acknowledged is there once, and of each thread at most one message more."""
    there = vaults.bodies(store, "general")
    assert len(there) == len(set(there))
    missing = set(said) - set(there)
    assert not missing
    more = {body.removesuffix(".edited") for body in set(there) - set(said)}
    threads = {body.rpartition(".")[0] for body in more}
    assert len(threads) == len(more)
    for body in more:
        thread, _, number = body.rpartition(".")
        last = max(
            (
                int(one.removesuffix(".edited").rpartition(".")[2])
                for one in said
                if one.startswith(thread + ".")
            ),
            default=-1,
        )
        assert int(number) == last + 1


@pytest.mark.parametrize("seed", [1])
def test_a_few_kills_under_load(tmp_path: Path, seed: int) -> None:
    survives(tmp_path, seed, ROUNDS_FAST)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_many_kills_under_load(tmp_path: Path, seed: int) -> None:
    survives(tmp_path, seed, ROUNDS)
