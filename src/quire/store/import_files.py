"""Files of an export become attachments with bytes of their own, sealed while its messages are made ready.

A file is read where its message is new here, once for each channel that has it. One that cannot be read is reported and its
message keeps the name; when there is no room left, the rest of the files is left and the messages still come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import apsw
import msgspec

from quire.core.operation import Attachment, Post
from quire.errors import BusyError, FormatError, FullError, NotFoundError, QuireError, UsageError
from quire.exchange import model
from quire.exchange.inside import Watched
from quire.storage import attachments as rows
from quire.store.attachments import NewFile, Sealed

if TYPE_CHECKING:
    from quire.store.tally import Tally

REPEATED_MAX = 20_000  # files that are remembered in case another message of the channel has them


class ImportFiles:
    """The files of one import."""

    def __init__(self, source: Watched, seal: Callable[[int, NewFile], Sealed] | None, tally: Tally) -> None:
        """
        seal    None: only count
        """
        self.source = source
        self._seal = seal
        self._tally = tally
        self._named: dict[int, tuple[str, ...]] = {}  # slot -> files of a message that is on its way
        self._sealed: dict[int, list[Sealed | None]] = {}
        self._repeated: dict[tuple[str, str], Sealed] = {}  # channel and file
        self._rows: dict[bytes, Sealed] = {}  # those of messages on their way
        self._full = False

    def watched(self, records: Iterable[model.Record]) -> Iterator[model.Record]:
        """Records as they are read; what their messages say of files is noted."""
        for record, near in self.source.watched(records):
            if type(record) is model.Message and record.attachments:
                self.note(slot_of(record.channel, record), record, near)
            yield record

    def note(self, slot: int, message: model.Message, near: str) -> None:
        """A message was read: which files of the export are its own?"""
        files = self.source.files_of(message, near)
        if any(files):
            self._named[slot] = files

    def has_any(self, slot: int) -> bool:
        """Has a message files in the export?"""
        return slot in self._named

    def take(self, slot: int, channel: str, number: int, message: model.Message) -> None:
        """Seal the files of a message that is new here.

        number    of its channel, or -1 if that is still to be made
        """
        names = self._named.get(slot)
        if names is None or slot in self._sealed:
            return
        self._sealed[slot] = [
            self._one(channel, number, name, one) if name else None
            for name, one in zip(names, message.attachments, strict=True)
        ]

    def _one(self, channel: str, number: int, name: str, attachment: model.Attachment) -> Sealed | None:
        known = self._repeated.get((channel, name))
        if known is not None:
            self._tally.files(1)
            return known
        if self._seal is None:
            self._tally.files(1)
            return None
        if self._full:
            return None
        size = self.source.file_sizes()[name]
        new = NewFile(
            attachment.name or name.rpartition("/")[2], size, lambda: self.source.open_file(name),
            url=attachment.url, preview=False,
        )  # fmt: skip
        try:
            sealed = self._seal(number, new)
        except FullError:
            self._full = True
            self._tally.warn("there was no room for all files: import again when there is")
            return None
        except (FormatError, UsageError, NotFoundError, BusyError) as error:
            self._tally.skip(model.Skipped(name[:200], "file", _reason(error)))
            return None
        self._tally.files(1)
        if len(self._repeated) >= REPEATED_MAX:
            self._repeated.clear()
        self._repeated[channel, name] = sealed
        self._rows[sealed.row.id] = sealed
        return sealed

    def fill(self, slot: int, attachments: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
        """A message's attachments with their bytes."""
        sealed = self._sealed.get(slot, ())
        return tuple(
            _with_bytes(one, sealed[n]) if n < len(sealed) else one for n, one in enumerate(attachments)
        )

    def written(self, db: apsw.Connection, slot: int, post: Post) -> None:
        """In the transaction of a message: its files are here."""
        self._named.pop(slot, None)
        self._sealed.pop(slot, None)
        for one in post.attachments:
            if one.file is not None and (sealed := self._rows.get(one.file.id)):
                rows.put_file(db, sealed.row)

    def passed(self, slot: int) -> None:
        """A message was here already, or is broken."""
        self._named.pop(slot, None)
        self._sealed.pop(slot, None)


def slot_of(channel: str, message: model.Message) -> int:
    """What a message is remembered by in one import."""
    return hash((channel, message.ref or message.id))


def _with_bytes(one: Attachment, sealed: Sealed | None) -> Attachment:
    """What the export says of a file, with what it is."""
    if sealed is None:
        return one
    made = sealed.attachment
    return msgspec.structs.replace(
        one, media_type=made.media_type, size_bytes=made.size_bytes, file=made.file
    )


def _reason(error: QuireError) -> str:
    return str(error)[:200]
