"""What the shell completes: names of channels, if the vault opens without asking anyone."""

from __future__ import annotations

import contextlib

import typer

from quire.cli.settings import Settings, default_vault

__all__ = ["channels"]


def channels(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names that begin so. Nothing, if anything at all is in the way: a completion must not get in it."""
    from quire.channels.manager import ChannelManager
    from quire.cli import unlock
    from quire.store.local import LocalStore

    found: list[str] = []
    with contextlib.suppress(Exception):
        given = ctx.find_root().params
        settings = Settings(
            vault=given.get("vault") or default_vault(),
            key_file=given.get("key_file"),
            keyring=bool(given.get("keyring")),
        )
        if not unlock.prompts(settings):
            with LocalStore.open(settings.vault, unlock.unlock(settings)) as store:
                found = [info.name for info in ChannelManager(store).list_channels()]
    return [name for name in found if name.startswith(incomplete)]
