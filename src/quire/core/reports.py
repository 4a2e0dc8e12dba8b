"""What caring for a vault reports: checks, space, backups, imports, erasures. Plain, frozen, no behaviour.

Reading a page needs none of them, so they have a module of their own.
"""

from __future__ import annotations

import msgspec

from quire.core.ids import ChannelId, MessageId


class Erased(msgspec.Struct, frozen=True, gc=False):
    """An operation that was destroyed."""

    id: MessageId
    message: MessageId  # that it was, or was a version of
    channel: ChannelId
    commitment: (
        bytes  # SHA-256 of its salt and bytes: by it the commit still verifies, and nothing is told of them
    )
    kind: str = "message"  # or "version"; "other": a reaction, or what an imported author was called


class ErasureReceipt(msgspec.Struct, frozen=True):
    """What was erased here, and by which operations, which erase it wherever they come."""

    erasures: tuple[MessageId, ...] = ()
    erased: tuple[Erased, ...] = ()
    reason: str = ""
    left: int = 0  # messages that are not ours to erase
    owed: int = 0  # operations that are archived out of reach: they are destroyed when their file is at hand
    pending: bool = (
        False  # who reads this vault right now keeps the WAL from being emptied; the next close does it
    )
    wished: int = (
        0  # imported messages that are archived out of reach: erased, everywhere, when their file is at hand
    )


class Scan(msgspec.Struct, frozen=True):
    """What a look at every byte of a vault's file found of some texts."""

    pages: int
    looked_for: int  # pieces of the texts, and words that no message has
    skipped: int  # pieces that are too short, or too many, to look for
    found: int  # of them, in bytes that no standing message explains
    said_elsewhere: int  # messages and versions that say the same, and stand
    pending: bool = False  # the journal could not be emptied, as another program reads: it was not looked at

    @property
    def ok(self) -> bool:
        return self.found == 0 and not self.pending


class Problem(msgspec.Struct, frozen=True, gc=False):
    """One thing `verify` found: what was expected where, and what is there."""

    what: str  # stable snake_case name
    where: str
    detail: str


class VerifyReport(msgspec.Struct, frozen=True, gc=False):
    """What `verify` read, and what differs (at most PROBLEMS_MAX are listed)."""

    commits: int
    operations: int
    messages: int
    logs: int
    problems: tuple[Problem, ...]
    problem_count: int
    unread: int = 0  # operations that are archived out of reach, and were not looked at
    places: tuple[str, ...] = ()  # where their files should be

    @property
    def ok(self) -> bool:
        return self.problem_count == 0


class Stats(msgspec.Struct, frozen=True, gc=False):
    """What the vault holds and takes."""

    channels: int
    messages: int
    threads: int
    reactions: int
    authors: int
    commits: int
    operations: int
    waiting: int
    first_ms: int | None
    last_ms: int | None
    file_bytes: int
    wal_bytes: int
    schema: int
    files: int = 0  # attachments whose bytes are here
    files_bytes: int = 0  # of those, before they were sealed


class CompactReport(msgspec.Struct, frozen=True, gc=False):
    """What giving space back did."""

    bytes_before: int  # file and write-ahead log
    bytes_after: int

    @property
    def freed(self) -> int:
        """Never negative: what another process wrote meanwhile is not ours."""
        return max(0, self.bytes_before - self.bytes_after)


class QuotaView(msgspec.Struct, frozen=True, gc=False):
    """A vault's own limits, in bytes."""

    soft: int | None  # beyond it: a warning
    hard: int | None  # beyond it nothing is written or fetched that makes the vault larger
    used_bytes: int  # pages that hold something, and attachments

    @property
    def state(self) -> str:
        """`ok`, `soft` or `hard`: which limit is reached."""
        if self.hard is not None and self.used_bytes >= self.hard:
            return "hard"
        return "soft" if self.soft is not None and self.used_bytes >= self.soft else "ok"


class ChannelSpace(msgspec.Struct, frozen=True, gc=False):
    """What one channel takes."""

    id: ChannelId
    name: str
    messages: int
    bytes: int
    kinds: dict[str, int]


class AgeSpace(msgspec.Struct, frozen=True, gc=False):
    """What messages of one age take, with their part of the search index."""

    days: int | None  # younger than that, and not than the one before; None: older than all
    messages: int
    bytes: int


class PolicySpace(msgspec.Struct, frozen=True, gc=False):
    """What the retention that is set in a channel would let go now."""

    channel: ChannelId
    name: str
    messages: int
    bytes: int


class SpaceReport(msgspec.Struct, frozen=True, gc=False):
    """Where a vault's space goes."""

    file_bytes: int  # the database and its write-ahead log on the disk
    used_bytes: int  # what quotas count
    kinds: dict[str, int]
    channels: tuple[ChannelSpace, ...]  # the largest first; the self-channel too
    ages: tuple[AgeSpace, ...]  # the youngest first
    in_force: tuple[PolicySpace, ...]
    soft: int | None
    hard: int | None
    archived_here: int = 0  # bytes of the archive's files in the vault's folder
    archived_elsewhere: int = 0  # and of those in other folders
    archived_away: int = 0  # of both, that are not where they should be
    owed: int = 0  # erasures that wait for one of these


class BackupReport(msgspec.Struct, frozen=True, gc=False):
    """What a run of a backup wrote."""

    packs_written: int
    bytes_written: int  # with slots and manifest
    commits: int  # in those packs
    packs: int  # that the backup has now
    files: int  # attachments in it
    bytes: int  # of both, sealed
    rewritten: int = 0  # packs that held what was erased or let go since, and are gone now
    damaged: int = 0  # packs that were missing or damaged, and were written anew
    freed: int = 0  # bytes of what was removed
    anew: str = ""  # why everything was written: "new", or "key": the vault's key was changed
    rebuilt: bool = False  # the manifest was lost or damaged: what the packs say of themselves was taken
    unreadable: int = 0  # attachments that are damaged in the vault, and so not in the backup
    second_bytes: int | None = None  # written at the second place
    away: int = 0  # commits that are not in the backup, as what is archived of them is not at hand
    taken_over: int = (
        0  # commits that are in it still, out of earlier packs: what is archived of them is not at hand
    )
    places: tuple[
        str, ...
    ] = ()  # folders where files of the archive should be, if something is not in the backup

    @property
    def ok(self) -> bool:
        """Is everything in it that the vault holds?"""
        return not (self.away or self.unreadable)


class BackupProblem(msgspec.Struct, frozen=True, gc=False):
    """A file of a backup that is not what was written."""

    file: str
    rule: str
    detail: str
    lost: str  # what it held


class BackupCheck(msgspec.Struct, frozen=True, gc=False):
    """What reading back a backup showed."""

    packs: int
    files: int
    bytes: int
    commits: int
    made_ms: int | None  # None: the manifest is lost
    channels: int | None
    problems: tuple[BackupProblem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


class RestoreReport(msgspec.Struct, frozen=True, gc=False):
    """What a restore brought."""

    channels: int
    messages: int
    commits: int  # that were not there
    refused: int  # commits that broke a rule
    rules: dict[str, int]  # the rules -> how often
    certified: bool  # may the new device write?
    lost: tuple[BackupProblem, ...]  # packs and attachments that could not be read

    @property
    def ok(self) -> bool:
        return not self.lost and not self.refused


class ImportSummary(msgspec.Struct, frozen=True):
    """What an import found (dry run) or wrote. Messages count once, however often a file repeats them."""

    format: str
    source: str
    dry_run: bool
    channels: int = 0
    messages: int = 0  # new ones; includes notices where the format counts them so
    notices: int = 0
    threads: int = 0
    replies: int = 0
    reactions: int = 0
    edited: int = 0  # messages with a mark or event of an edit
    edit_events: int = 0  # later texts carried over
    deleted: int = 0
    attachments: int = 0
    files: int = 0  # of those, how many came with their bytes
    authors: int = 0
    pins: int = 0
    duplicates: int = 0  # records of messages already there, from this or an earlier import
    unresolved: int = 0  # replies, edits, reactions whose target is in no file
    skipped: int = 0
    problems: tuple[str, ...] = ()  # the first of the skipped: file, position, reason
    warnings: tuple[str, ...] = ()
    not_carried: dict[str, int] = {}
    channel_messages: dict[str, int] = {}  # channel name -> messages found in this export
    first_ms: int | None = None
    last_ms: int | None = None
    seconds: float = 0.0
