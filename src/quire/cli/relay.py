"""The command that runs a relay."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quire.cli.session import output_of
from quire.errors import TransportError, UsageError

if TYPE_CHECKING:
    from quire.relay.server import Relay

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)
MIB = 1 << 20
DAY_MS = 86_400_000
FILES_SPARE = 320  # for the database, and for heads that are no connections yet
OTHER_LIMITS: dict[str, Any] = {}  # a test sets some


@app.command()
def relay(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where it keeps what it forwards.")],
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Where devices connect.")] = "127.0.0.1:8440",
    days: Annotated[int, typer.Option(min=1, help="How long an item is kept.")] = 365,
    mailbox_mib: Annotated[
        int, typer.Option("--mailbox-mib", min=1, help="Of one mailbox; beyond it the oldest go.")
    ] = 256,
    total_mib: Annotated[
        int, typer.Option("--total-mib", min=1, help="Of all; beyond it nothing more is taken.")
    ] = 65_536,
    per_address: Annotated[
        int, typer.Option("--per-address", min=1, help="Connections from one address at once.")
    ] = 12_000,
    backup: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a copy of all items to this new file instead, also of a running relay.",
        ),
    ] = None,
) -> None:
    """Run a relay: it keeps and forwards what it cannot read.

    It serves devices that are not online together. It needs no vault and learns no names, members, channels or keys.
    Put a web server that speaks TLS before it, and give people its address: quire up --relay wss://HOST. What it does
    is at /healthz and /metrics.

    \\b
    Examples:
      quire relay /var/lib/quire-relay
      quire relay relay --listen 0.0.0.0:8440 --days 90
      quire relay /var/lib/quire-relay --backup monday.db
    """
    if backup is not None:
        from quire.relay.backend import back_up

        back_up(folder, backup)
        output_of(ctx).done(
            {"backup": str(backup)}, f"all items are in {backup}; as {folder}/relay.db they are a relay"
        )
        return
    from quire.relay.backend import SqliteBackend
    from quire.relay.limits import Limits
    from quire.relay.logs import JsonLines
    from quire.relay.server import Relay
    from quire.transports.interface import parse_address

    address = parse_address(listen, port=8440)
    limits = Limits(
        ttl_ms=days * DAY_MS,
        mailbox_bytes_max=mailbox_mib * MIB,
        relay_bytes_max=total_mib * MIB,
        connections_max=max(1, min(Limits().connections_max, _files_max() - FILES_SPARE)),
        connections_per_address_max=per_address,
        **OTHER_LIMITS,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("quire.relay", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    logging.getLogger("quire.relay").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        taken = socket.create_server(address, family=family, backlog=4096)
    except OSError as error:
        raise TransportError(
            f"cannot listen on {address}: {error.strerror}", rule="address_taken", hint="choose another port"
        ) from error
    with taken:
        # Connections inherit it; without it answers wait 40 ms for acknowledgements.
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        out = output_of(ctx)
        host, port, *_ = taken.getsockname()
        served = Relay(SqliteBackend(folder), limits)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if out.json:
            out.emit({"kind": "listening", "address": where, "url": f"ws://{where}"})
        else:
            out.show(f"relaying on ws://{where}; Ctrl-C ends it")
            sys.stdout.flush()
        asyncio.run(_serve(served, taken))


def _files_max() -> int:
    """As many open files as this process may have, after it has asked for all."""
    try:
        import resource
    except ImportError:  # not on this system
        return 1 << 20
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else 1 << 20


async def _serve(relay: Relay, taken: socket.socket) -> None:
    from quire.relay.server import server

    serving = server(relay, *taken.getsockname()[:2])
    loop = asyncio.get_running_loop()

    def stop() -> None:
        serving.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await serving.serve(sockets=[taken])
    if not serving.started:
        raise UsageError("the relay did not start", rule="relay_start")
