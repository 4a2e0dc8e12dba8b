"""Announcing and finding on a local network, by multicast DNS and service discovery (RFC 6762, RFC 6763).

What is announced is random to all who lack a key of ours (core/crypto/beacons.py): a service `_quire._tcp` whose name is
that of its certificate, a host name made of the same, addresses and tags. Nothing here proves anything: who connects
finds out. A service is gone when it says so, or when nobody answers for it any more, minutes later.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Sequence

import ifaddr
import msgspec
from zeroconf import Error, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from quire.core.crypto.beacons import INSTANCE_SIZE, TAG_SIZE, TAGS_MAX, TAGS_STEP
from quire.errors import TransportError
from quire.transports.interface import Address

SERVICE = "_quire._tcp.local."
VERSION = b"1"
ASK_MS = 3_000  # for what a service says of itself
SERVICES_MAX = 256  # on one network: more are a crowd, or somebody's joke
ADDRESSES_MAX = 8  # of one of them


class Neighbour(msgspec.Struct, frozen=True):
    """Something that announces itself."""

    instance: bytes
    addresses: tuple[Address, ...]
    tags: frozenset[bytes]


class Lan:
    """A presence on a local network: finds neighbours from `open` on, and is found after `announce`."""

    def __init__(self, found: Callable[[Neighbour], None], gone: Callable[[bytes], None]) -> None:
        """
        found    called for each neighbour, and again when one says something else of itself
        gone     called with the instance of one that is no longer announced
        """
        self._found, self._gone = found, gone
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._service: AsyncServiceInfo | None = None
        self._names: set[str] = set()
        self._asking: set[asyncio.Future[None]] = set()
        self._addresses: tuple[str, ...] = ()

    async def open(self, addresses: Sequence[str]) -> None:
        """Look for neighbours on the interfaces with these addresses. Raises: TransportError(rule="lan_unavailable")."""
        self._addresses = tuple(addresses)
        try:
            self._zeroconf = AsyncZeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
            self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE, handlers=[self._changed])
        except (OSError, Error) as error:
            await self.close()
            raise TransportError(
                f"cannot look around on the local network: {error}",
                rule="lan_unavailable",
                hint="does this machine, or its firewall, let multicast through? --no-lan does without",
            ) from error

    async def announce(self, instance: bytes, port: int, tags: Sequence[bytes]) -> None:
        """Be found by this name, or say something else of oneself; another instance takes the place of the one before."""
        assert self._zeroconf is not None
        service = _service(instance, port, tags, self._addresses)
        try:
            if self._service is not None and self._service.name == service.name:
                told = await self._zeroconf.async_update_service(service)
            else:
                await self.withdraw()  # a random name is nobody else's: there is nothing to ask first
                told = await self._zeroconf.async_register_service(service, cooperating_responders=True)
        except (OSError, Error) as error:
            raise TransportError(f"cannot announce: {error}", rule="lan_unavailable") from error
        self._service = service
        self._begin(told)  # it is said three times

    async def withdraw(self) -> None:
        """Be found no longer."""
        service, self._service = self._service, None
        if service is not None and self._zeroconf is not None:
            with contextlib.suppress(OSError, Error):
                await (await self._zeroconf.async_unregister_service(service))

    async def close(self) -> None:
        """Say that we go, and look no more."""
        await self.withdraw()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            with contextlib.suppress(OSError, Error):
                await self._zeroconf.async_close()
        self._browser = self._zeroconf = None
        self._names.clear()

    # What is seen

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """Something was announced, changed or withdrawn; in the event loop."""
        instance = _instance(name)
        if instance is None or (self._service is not None and name == self._service.name):
            return
        if state_change is ServiceStateChange.Removed:
            self._names.discard(name)
            self._gone(instance)
        elif name in self._names or len(self._names) < SERVICES_MAX:
            self._names.add(name)
            self._begin(self._ask(zeroconf, name, instance))

    def _begin(self, doing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(doing)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, zeroconf: Zeroconf, name: str, instance: bytes) -> None:
        service = AsyncServiceInfo(SERVICE, name)
        with contextlib.suppress(OSError, Error):
            if await service.async_request(zeroconf, ASK_MS) and name in self._names:
                neighbour = _neighbour(instance, service, self._addresses)
                if neighbour is not None:
                    self._found(neighbour)


def own_addresses(chosen: Iterable[str] = ()) -> tuple[str, ...]:
    """Addresses of this machine on local networks: of those that were chosen, or of all but its own loop.

    Only private and link-local ones, unless chosen: elsewhere it is no local network, but the world.
    """
    wanted = set(chosen)
    here = {str(ip.ip) for one in ifaddr.get_adapters() for ip in one.ips if ip.is_IPv4}
    if wanted:
        return tuple(sorted(here & wanted))
    return tuple(sorted(one for one in here if _is_local(one) and not ipaddress.ip_address(one).is_loopback))


def _is_local(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.is_private or parsed.is_link_local


def _service(instance: bytes, port: int, tags: Sequence[bytes], addresses: Iterable[str]) -> AsyncServiceInfo:
    parts = [b"".join(tags[at : at + TAGS_STEP]) for at in range(0, len(tags), TAGS_STEP)]
    said = {b"v": VERSION} | {b"t%d" % number: part for number, part in enumerate(parts)}
    name = instance.hex()
    return AsyncServiceInfo(
        SERVICE, f"{name}.{SERVICE}", port=port, properties=said, server=f"{name}.local.",
        parsed_addresses=list(addresses),
    )  # fmt: skip


def _instance(name: str) -> bytes | None:
    text = name.removesuffix("." + SERVICE)
    try:
        instance = bytes.fromhex(text)
    except ValueError:
        return None
    return instance if len(instance) == INSTANCE_SIZE and text == instance.hex() else None


def _neighbour(instance: bytes, service: AsyncServiceInfo, own: Sequence[str]) -> Neighbour | None:
    """What it says of itself, if that is in order.

    An address in this machine's own loop, or out in the world, is nothing that a neighbour has.
    """
    tags: set[bytes] = set()
    for number in range(TAGS_MAX // TAGS_STEP):
        part = service.properties.get(b"t%d" % number) or b""
        tags.update(part[at : at + TAG_SIZE] for at in range(0, len(part), TAG_SIZE))
    on_loop = any(ipaddress.ip_address(one).is_loopback for one in own)
    addresses = [
        Address(one, service.port or 0)
        for one in service.parsed_addresses(IPVersion.V4Only)
        if _is_local(one) and (on_loop or not ipaddress.ip_address(one).is_loopback)
    ]
    if service.properties.get(b"v") != VERSION or not service.port or not addresses:
        return None
    return Neighbour(instance, tuple(addresses[:ADDRESSES_MAX]), frozenset(tags))
