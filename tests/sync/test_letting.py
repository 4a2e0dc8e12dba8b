"""What a node does about retention while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quire import Keeping, Node
from quire.testing.people import Person
from tests.clocks import Clock

DAY = 86_400_000


def test_a_node_lets_go_of_what_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    ada = Person.create(tmp_path, "ada")
    team = ada.chat.create_channel("team").id
    for n in range(3):
        ada.say(team, f"old {n}")
    ada.chat.set_retention(team, Keeping(30 * DAY))

    async def steps() -> int:
        node = Node(ada.chat)
        count = len([step async for step in node._letting_go()])
        await node.stop()
        return count

    assert asyncio.run(steps()) == 0  # it is due, and nothing is old
    clock.ahead_ms = 31 * DAY
    assert asyncio.run(steps()) == 1
    assert ada.reads(team) == []
    assert asyncio.run(steps()) == 0  # it was looked at a moment ago
    ada.store.close()
