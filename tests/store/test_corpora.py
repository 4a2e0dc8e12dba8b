"""Real exports, imported into real vaults: the counts of counts.json, twice without duplicates, and whole.

Where a count differs from counts.json, the reason stands beside the number. (The importers' own tests, in
tests/exchange, say more of each.) What was written is read in a fresh process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.store.local import LocalStore
from tests import vaults
from tests.corpora import corpus, expected

COUNTED = (
    "messages", "channels", "notices", "threads", "replies", "reactions", "edited", "edit_events", "deleted",
    "attachments", "authors",
)  # fmt: skip

SLOW = (pytest.mark.slow, pytest.mark.bounded)

CORPORA = [
    pytest.param(
        "discord-pyscript",
        "html-export.tar.xz",
        # 767 reply headers: 3 answer a slash command, not a message.
        {"replies": 767 - 3},
        id="discord",
    ),
    pytest.param(
        "matrix-array-langs",
        "matrix_rooms.tar.xz",
        # notices: counts.json has membership events only; two names and one topic are notices, too.
        # edited: nine targets are edits themselves, and so the message behind them is what is edited.
        {"notices": 2115 + 3, "edited": 494 - 9},
        id="matrix",
        marks=SLOW,
    ),
    pytest.param(
        "slack-r-contributors",
        "slack-export.zip",
        # notices: the one "/me" is a message. authors: a bridge's bot speaks for eight people, and a
        # notifier under two names: each name is an author.
        {"notices": 1550 - 1, "authors": 579 + 8},
        id="slack-r",
        marks=SLOW,
    ),
    pytest.param(
        "slack-haskell-jp",
        "slack-log.tar.xz",
        {},
        id="slack-haskell",
        marks=SLOW,
    ),
    pytest.param("gitter-freecodecamp", "rooms.tar.xz", {}, id="gitter", marks=SLOW),
    pytest.param(
        "irc-ubuntu",
        "ubuntu-irc.tar.xz",
        # notices: counts.json splits ten lines at control characters inside them. authors: one nick is
        # padded with a space once. 59,051 links: one line answers one other (the nearest); 2,188 are further.
        {"notices": 25_841 - 10, "authors": 17_809 - 1, "replies": 59_051 - 2_188},
        id="irc",
        marks=SLOW,
    ),
    pytest.param(
        "zulip-rust-lang",
        "zulip_json.tar.xz",
        # attachments: every image stands twice in its message, as a link and as a preview.
        {"attachments": 1_434},
        id="zulip",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "file", "explained"), CORPORA)
def test_a_corpus_is_imported_once_and_whole(
    name: str, file: str, explained: dict[str, int], store: LocalStore, manager: ChannelManager
) -> None:
    counts = {field: count for field, count in expected(name).items() if field in COUNTED} | explained
    path = corpus(f"{name}/{file}")
    summary = manager.import_(path)
    assert {field: getattr(summary, field) for field in counts} == counts
    assert summary.skipped == 0
    shape = _shape(store.folder)
    again = manager.import_(path)
    assert (again.messages, again.reactions, again.edit_events, again.deleted) == (0, 0, 0, 0)
    assert again.duplicates >= summary.messages
    assert _shape(store.folder) == shape
    assert store.verify().problems == ()


def test_a_dry_run_writes_nothing_and_counts_alike(store: LocalStore, manager: ChannelManager) -> None:
    path = corpus("matrix-array-langs/matrix_rooms.tar.xz")
    found = manager.import_(path, dry_run=True)
    assert manager.list_channels() == []
    written = manager.import_(path)
    ignored = {"dry_run", "seconds", "unresolved"}  # a dry run keeps no ids to look targets up by
    for field in set(found.__struct_fields__) - ignored:
        assert getattr(found, field) == getattr(written, field), field


def _shape(folder: Path) -> Any:
    """What a fresh process sees of a vault: channels with their messages, threads and newest message."""
    return vaults.in_fresh_process(
        folder,
        """
answer = {
    f"{c.id.hex()}": [c.name, c.messages, c.threads, manager.get_stored_messages_paginated(c.id, limit=1).messages[0].body]
    for c in manager.list_channels()
}
""",
    )
