"""Every road runs the suite of roads, every link that of links (`quire.testing.transport_suite`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quire.core.bundle_file import Kind, Record, read_bundle_file, write_bundle_file
from quire.core.crypto.keys import SigningKey
from quire.core.ids import DeviceId
from quire.core.limits import BUNDLE_BYTES_MAX
from quire.core.relay_frames import ITEM_BYTES_MAX, Item
from quire.errors import MalformedError
from quire.testing.transport_suite import LinkSuite, Road, RoadSuite
from quire.transports.interface import Link
from quire.transports.memory import memory_links
from quire.transports.relay import connect
from tests.relay.running import relaying
from tests.transports.test_direct import ADA, BOB, linked

DEVICES = DeviceId(ADA.public), DeviceId(BOB.public)


class TestMemoryLinks(LinkSuite):
    devices = DEVICES

    @asynccontextmanager
    async def links(self) -> AsyncIterator[tuple[Link, Link]]:
        yield memory_links(*DEVICES)

    def cut(self, link: Any) -> None:
        link.cut()


class TestDirectLinks(LinkSuite):
    devices = DEVICES

    @asynccontextmanager
    async def links(self) -> AsyncIterator[tuple[Link, Link]]:
        async with linked() as ends:
            yield ends

    def cut(self, link: Any) -> None:
        link._writer.transport.abort()


@pytest.fixture(scope="module")
def relay_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with relaying(tmp_path_factory.mktemp("relay") / "relay") as (_, url):
        yield url


class TestMailboxes(RoadSuite):
    """A mailbox of a relay: what one puts another reads. It has no end; a break is the relay's, or the reader's."""

    bytes_max = ITEM_BYTES_MAX
    wrong_sizes = (0, ITEM_BYTES_MAX + 1)
    wrong_size_rule = "item_size"

    @pytest.fixture(autouse=True)
    def _relay(self, relay_url: str) -> None:
        self.url = relay_url

    @asynccontextmanager
    async def road(self) -> AsyncIterator[Road]:
        async with await connect(self.url) as writer, await connect(self.url) as reader:
            box = SigningKey(os.urandom(32))
            for client in (writer, reader):
                await client.open(box)
            await reader.subscribe(box.public, 0)

            async def receive() -> bytes | None:
                frame = await reader._frames.get()
                if frame is None:
                    raise reader._why or AssertionError
                return frame.data if isinstance(frame, Item) else await receive()

            async def cut() -> None:
                reader._socket.transport.abort()

            async def put(frame: bytes) -> None:
                await writer.put(box.public, frame)

            yield Road(put, receive, None, cut)


class TestBundleFiles(RoadSuite):
    """A file on a stick, which is written whole and then read."""

    bytes_max = BUNDLE_BYTES_MAX
    wrong_sizes = (BUNDLE_BYTES_MAX + 1,)
    wrong_size_rule = "record_too_large"
    broken_rules = ("file_truncated",)

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "bundle"

    @asynccontextmanager
    async def road(self) -> AsyncIterator[Road]:
        sent: list[Record] = []
        reading: Iterator[Record | MalformedError] | None = None

        async def send(frame: bytes) -> None:
            record = Record(Kind.BUNDLE, frame)
            list(write_bundle_file([record]))
            sent.append(record)

        async def receive() -> bytes | None:
            nonlocal reading
            if reading is None:
                await asyncio.sleep(0)
                self.path.write_bytes(b"".join(write_bundle_file(sent)))
                reading = read_bundle_file([self.path.read_bytes()])
            found = next(reading, None)
            if isinstance(found, MalformedError):
                raise found
            return None if found is None else found.data

        async def end() -> None:
            return

        async def cut() -> None:
            nonlocal reading
            reading = read_bundle_file([self.path.read_bytes()[:-5]])

        yield Road(send, receive, end, cut)
