"""What the tests of syncing share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.relay.running import relaying


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A relay for all tests: each has people of its own, and so mailboxes of its own."""
    with relaying(tmp_path_factory.mktemp("relay") / "relay") as (_, url):
        yield url
