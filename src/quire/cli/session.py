"""One command's hold on a vault: opened, used, closed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from quire.cli import unlock
from quire.cli.output import Output
from quire.cli.settings import Settings
from quire.core.crypto.secrets import Keyring
from quire.core.ids import PREFIX_SIZE, MessageId, message_id_text
from quire.errors import NotFoundError, UnlockError, UsageError

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager
    from quire.cli.render import Renderer
    from quire.core.views import ChannelInfo, Message
    from quire.store.local import LocalStore

__all__ = ["Session", "confirm", "opened", "output_of", "settings_of"]

TRIES = 3  # typing errors happen; a script never comes here


class Session:
    """An open vault and a place to print."""

    def __init__(self, store: LocalStore, manager: ChannelManager, out: Output) -> None:
        self.store = store
        self.manager = manager
        self.out = out
        self.settings = out.settings
        self._prefix_chars: dict[bytes, int] = {}

    def channel(self, name: str) -> ChannelInfo:
        """The channel people call so. Raises NotFoundError."""
        return self.manager.get_channel(name)

    def message(self, text: str) -> MessageId:
        """The message with that id, perhaps abbreviated. Raises NotFoundError, UsageError."""
        return self.manager.find_message(text)

    def short(self, message: MessageId) -> str:
        """The id as people are shown it. How short it may be is the same for all ids of a log."""
        log = message[:PREFIX_SIZE]
        if log not in self._prefix_chars:
            self._prefix_chars[log] = self.manager.short_id(message).index("-")
        return message_id_text(message, self._prefix_chars[log])

    def renderer(self, *, full: bool = False) -> Renderer:
        """What turns this vault's messages into lines on stdout."""
        from quire.cli.render import Renderer

        return Renderer(self.out.console, self.short, self._find, self.manager.file_state, full=full)

    def draw(self, data: str) -> None:
        """A QR code on stdout, if the terminal is wide enough for it."""
        from quire.cli.qr import columns, qr

        code = qr(data)
        if self.out.console.width < columns(code):
            self.out.note(f"the terminal is too narrow for the QR code: it takes {columns(code)} columns")
        else:
            self.out.show(code)

    def _find(self, message: MessageId) -> Message | None:
        try:
            return self.manager.get_message(message)
        except NotFoundError:
            return None


def settings_of(ctx: typer.Context) -> Settings:
    """The global options of this run."""
    settings = ctx.find_root().obj
    assert isinstance(settings, Settings)
    return settings


def output_of(ctx: typer.Context) -> Output:
    """A place to print, for a command that needs no vault."""
    return Output(settings_of(ctx))


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if `yes` was given or the person at the terminal agrees. Raises: UsageError(rule="no_terminal")."""
    if yes:
        return
    if not unlock.can_ask():
        raise UsageError("nobody is there to confirm it", rule="no_terminal", hint="--yes does it unasked")
    if not typer.confirm(question, err=True):
        raise typer.Abort


@contextlib.contextmanager
def opened(ctx: typer.Context) -> Iterator[Session]:
    """The vault of this run, for as long as the block lasts."""
    from quire.channels.manager import ChannelManager

    settings = settings_of(ctx)
    with _open(settings) as store:
        yield Session(store, ChannelManager(store), Output(settings))
        if store.has_written and ctx.info_name != "quota":  # which says so itself
            _warn(store, Output(settings))


def _warn(store: LocalStore, out: Output) -> None:
    """Say so if the vault is larger than its owner wants it."""
    from quire.cli.sizes import quota_text

    found = store.quota()
    if found.state != "ok":
        out.note(f"{quota_text(found)}; quire storage shows what takes room")


def _open(settings: Settings) -> LocalStore:
    from quire.storage.keyslots import KeySlots
    from quire.store.local import LocalStore

    if not settings.vault.is_dir():  # before anyone is asked for the passphrase of nothing
        raise NotFoundError(
            f"there is no vault in {settings.vault}", rule="no_vault", hint="`quire init` makes one"
        )
    if unlock.prompts(settings) and "keyring" in KeySlots.kinds(settings.vault):
        with contextlib.suppress(UnlockError, UsageError):  # locked, or not there: then somebody is asked
            return LocalStore.open(settings.vault, Keyring())
    tries = TRIES if unlock.prompts(settings) and unlock.can_ask() else 1
    while True:
        try:
            return LocalStore.open(settings.vault, unlock.unlock(settings))
        except UnlockError as error:
            tries -= 1
            if not tries:
                raise
            Output(settings).note(f"{error}; try again")
