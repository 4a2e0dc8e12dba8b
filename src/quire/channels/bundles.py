"""Giving to others what they may have, and taking in what they give: bundle files, and records on any other road.

What leaves is made ready first: our devices are in all our channels, and people are told what we are called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from quire.channels.attachments import publish_came
from quire.channels.naming import Naming
from quire.core.ids import ChannelId, IdentityId, MessageId
from quire.core.limits import FILE_BYTES_MAX, TIME_MS_MAX
from quire.core.operation import Profile
from quire.core.rights import MAY_POST
from quire.core.views import Event
from quire.errors import MalformedError, StorageError, UnauthorisedError
from quire.storage import log
from quire.storage import timeline as rows

if TYPE_CHECKING:
    import apsw

    from quire.core.bundle_file import Record
    from quire.core.crypto.cards import Card
    from quire.core.membership import Membership
    from quire.storage.asking import Asked
    from quire.store.unbundling import BundleReport


INTRODUCED_MAX = (
    100  # members of a channel in which everybody says their name again to who may not read so far back
)


class Bundles(Naming):
    """What `ChannelManager` carries."""

    def set_name(self, name: str) -> None:
        raise NotImplementedError

    def answer_request(self, sealed: bytes) -> bool:
        raise NotImplementedError

    # Files

    def write_bundle(
        self,
        path: str | os.PathLike[str],
        channels: Iterable[ChannelId | str] | None = None,
        *,
        files: bool = False,
    ) -> int:
        """What others need of these channels (default: all), and our requests, as one file; records in it.

        files    with the attachments that are here
        """
        from quire.core.bundle_file import write_bundle_file

        count = 0

        def counted() -> Iterator[Record]:
            nonlocal count
            for record in self._outgoing(channels, files=files):
                count += 1
                yield record

        _write_file(Path(path), write_bundle_file(counted()))
        return count

    def _outgoing(
        self, channels: Iterable[ChannelId | str] | None, *, files: bool = False
    ) -> Iterator[Record]:
        """Records for any road: our requests and refusals first, then channels, then their files."""
        from quire.storage import asking
        from quire.store.bundling import records
        from quire.store.file_records import records_of_channel
        from quire.store.people import read_graph
        from quire.store.refusals import refusals

        db = self.store.database.reader
        ids = None if channels is None else {self.resolve(channel) for channel in channels}
        self._prepare_to_give()
        yield from [self._request(asked) for asked in asking.unanswered(db)]
        rows = [row for row in log.channels(db) if ids is None or row.id in ids]
        for row in rows:
            yield from refusals(db, row)
        yield from records(self.store, rows)
        for row in rows if files else ():
            if row.role:
                yield from records_of_channel(self.store, row, read_graph(db, row), FILE_BYTES_MAX)

    def read_bundle(self, path: str | os.PathLike[str]) -> BundleReport:
        """Take in what a bundle file holds for us. Raises: StorageError if it cannot be read."""
        from quire.store.unbundling import file_pieces

        return self._take_in(lambda: file_pieces(Path(path)))

    def _take_in(self, pieces: Callable[[], Iterable[bytes]]) -> BundleReport:
        """The same from whatever can bring a file's bytes again."""
        from quire.core.bundle_file import read_bundle_file

        return self._take(lambda: read_bundle_file(pieces()))

    def _prepare_to_give(self) -> None:
        """Before anything leaves: all our devices are in our channels, where others are what we are called, and who was
        declined is to hear of it.

        Done here and not with the act that brings somebody in, it is made good wherever a crash came between.
        """
        from quire.storage import controls
        from quire.store import group
        from quire.store.refusals import DECLINE, refuse_declined

        ledger, name = self.store.ledger, self._own_name()
        member = self._self_state().member(self.identity)
        if member is not None and len(member.devices) > 1:
            ledger.run(lambda db: group.share_devices(ledger, db))
        db = self.store.database.reader
        for row in log.channels(db):
            if row.role and controls.has_kind(db, row.n, DECLINE):
                refuse_declined(self.store, row)
            shared = row.rights & MAY_POST and row.rotate_ms < TIME_MS_MAX
            if name and shared and not self._is_introduced(db, row):
                with suppress(UnauthorisedError):  # what was due came into effect, and we are out or may not
                    self.store.write_operations(row.id, Profile("", "", name))

    def _is_introduced(self, db: apsw.Connection, row: log.ChannelRow) -> bool:
        """Can all members read what we are called? Who came since may not read as far back as we said it."""
        from quire.core.commit import decode_head
        from quire.core.control import HISTORY_ALL
        from quire.storage import contents
        from quire.store.behind import epoch_of

        if not contents.introduced(db, row.n, self.store.own_key):
            return False
        graph = self.store.ledger.people.graph(db, row)
        state = graph.state
        narrow = [one.identity for one in state.members.values() if one.history != HISTORY_ALL]
        if not narrow or len(state.members) > INTRODUCED_MAX:
            return True
        head = log.commit_at(db, contents.introduction(db, row.n, self.store.own_key)[:14])
        heads = decode_head(head).control_heads if head is not None else ()
        if not heads or not all(one in graph for one in heads):
            return True
        epoch = epoch_of(graph, heads)
        return all(state.epochs.admits(IdentityId(one), epoch) for one in narrow)

    def _take(
        self,
        records: Callable[[], Iterable[Record | MalformedError]],
        file_bytes_max: int = FILE_BYTES_MAX,
        *,
        goes_on: bool = False,
    ) -> BundleReport:
        from quire.storage import asking
        from quire.store.unbundling import Reading

        before = asking.newest_refusal(self.store.database.reader)
        report = Reading(
            self.store,
            records,
            on_request=self.answer_request,
            on_refusal=self._take_refusal,
            file_bytes_max=file_bytes_max,
            goes_on=goes_on,
        ).run()
        report.answers = asking.newest_refusal(self.store.database.reader) > before
        for file in report.files:
            publish_came(self.store, self._hub, file)
        for id in report.forked:
            self._hub.publish(Event("fork", ChannelId(id)))
        for id in report.channels:
            self._hub.publish(Event("channel", ChannelId(id)))
        for id in report.people:
            self._hub.publish(Event("people", ChannelId(id)))
        for id, message in report.messages if self._hub.is_heard else ():
            if self.store.reader.find(message) is not None:
                self._hub.publish(Event("message", ChannelId(id), MessageId(message)))
        return report

    def _take_refusal(self, sealed: bytes) -> bool:
        """Believe that we are not let in; False if that is said to somebody else."""
        from quire.store.refusals import take_refusal

        try:
            channel = take_refusal(self.store, sealed)
        except MalformedError as error:
            if error.rule == "refusal_not_ours":
                return False
            raise
        if channel is not None:
            self._hub.publish(Event("refused", channel))
        return True

    def _request(self, asked: Asked) -> Record:
        from quire.core.bundle_file import Kind, Record
        from quire.core.invite import JoinRequest, join_proof, parse_link, seal_request

        parsed = parse_link(asked.link)
        key = parsed.secret.key(parsed.channel)
        proof = join_proof(key, parsed.channel, self.identity)
        request = JoinRequest(
            parsed.channel, self._card(), key.public, proof, asked.name or self._own_name(), asked.since_ms
        )
        return Record(Kind.REQUEST, seal_request(request, self.store.ledger.signing_key, os.urandom))

    def _own_name(self) -> str:
        n = self.store.own_author()
        if n < 0:
            return ""
        key, name, _ = rows.author(self.store.database.reader, n)
        return "" if name == key.partition(":")[2][:8] else str(name)

    def _card(self) -> Card:
        """Raises: UnauthorisedError(rule="certificate_chain") if no device of ours can be shown to anybody."""
        from quire.core.crypto.cards import make_card
        from quire.store import group

        entries = group.rooted_entries(self.store.ledger, self.store.database.reader)
        if not entries:
            raise group.unrooted()
        return make_card(self.identity, list(entries.values()))

    def _self_state(self) -> Membership:
        db = self.store.database.reader
        return self.store.ledger.people.state(db, log.self_channel(db))


def _write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """A file that is whole or not there."""
    from quire.storage.files import beside, flush_folder

    try:
        with beside(path) as fresh:
            with fresh.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            flush_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}", rule="file_unwritable", hint="choose another place"
        ) from error
