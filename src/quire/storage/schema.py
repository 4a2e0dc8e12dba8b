"""Tables and numbered migrations. `PRAGMA user_version` says how many have run.

The log is `commits`, and the operation bytes (salt || operation) stored once each: posts in `message`,
control operations in `control`, the rest in `operation`, those that cannot apply yet in `waiting`. Of an operation
whose bytes were destroyed `destroyed` has the commitment; a message that is left of one has made-up bytes in its row,
as what waits has none. Where an operation is archived, a reference into a segment stands for its bytes
(storage/cold.py). All other columns and tables are views of them, which `verify` recomputes and `repair` rebuilds.

`message` is clustered by (channel, time, id), so a page is one range of one tree at any depth. A row of the
search index is numbered by its message's time in units of 4,096 ms, or the next free number (`spill` further),
so the index is in time order, the newest hits come first without sorting, and `doc` need only hold the
channel and the spill to lead from a hit back to its message. Channel, author and "has" filters are
words in the index's second column: every filter is an intersection, never a scan. `tail` has the numbers of
the newest messages whose words are not in the index yet (storage/search.py).
"""

from __future__ import annotations

from hashlib import sha256

import apsw

from quire.errors import CorruptError, SchemaError

APPLICATION_ID = 0x51756972  # "Quir"

# Symbols are words (emoji), but not the signs of that kind that people write around words, as in `code`.
TOKENIZER = (
    "unicode61 remove_diacritics 2 categories 'L* N* M* Co So Sk' separators '`^\u00b4\u00a8\u00af\u00b8'"
)

SEARCH_COLUMNS = f"body, tags, content='', tokenize=\"{TOKENIZER}\""

VIEWS = f"""
CREATE TABLE author(
  n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, bot INTEGER NOT NULL DEFAULT 0,
  time INTEGER NOT NULL DEFAULT -1, id BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE TABLE reaction(
  target BLOB NOT NULL, emoji TEXT NOT NULL, author INTEGER NOT NULL, time INTEGER NOT NULL, id BLOB NOT NULL,
  people INTEGER NOT NULL, PRIMARY KEY(target, emoji, author)
) STRICT, WITHOUT ROWID;
CREATE TABLE thread(
  root BLOB PRIMARY KEY, channel INTEGER NOT NULL, replies INTEGER NOT NULL, participants INTEGER NOT NULL,
  last_time INTEGER NOT NULL, last_id BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_recent ON thread(channel, last_time);
CREATE TABLE thread_author(
  root BLOB NOT NULL, author INTEGER NOT NULL, replies INTEGER NOT NULL, PRIMARY KEY(root, author)
) STRICT, WITHOUT ROWID;
CREATE TABLE marker(
  channel BLOB PRIMARY KEY, read_time INTEGER NOT NULL, message BLOB NOT NULL, time INTEGER NOT NULL, id BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE bookmark(
  message BLOB PRIMARY KEY, channel BLOB NOT NULL, standing INTEGER NOT NULL, time INTEGER NOT NULL, id BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE contact(
  identity BLOB PRIMARY KEY, name TEXT NOT NULL, verified INTEGER NOT NULL, time INTEGER NOT NULL, id BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE device_name(
  device BLOB PRIMARY KEY, name TEXT NOT NULL, time INTEGER NOT NULL, id BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE attachment(
  message BLOB NOT NULL, n INTEGER NOT NULL, channel INTEGER NOT NULL, file BLOB NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY(message, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_file ON attachment(file, channel);
CREATE INDEX attachment_channel ON attachment(channel, message);
CREATE TABLE erasure(
  target BLOB NOT NULL, id BLOB NOT NULL, channel INTEGER NOT NULL, time INTEGER NOT NULL, signer TEXT NOT NULL,
  rights INTEGER NOT NULL, message BLOB, what BLOB NOT NULL, PRIMARY KEY(target, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX erasure_id ON erasure(id);
CREATE INDEX erasure_message ON erasure(message) WHERE message IS NOT NULL;
CREATE TABLE doc( -- by time in units of 4,096 ms
  n INTEGER PRIMARY KEY, channel INTEGER NOT NULL, spill INTEGER NOT NULL
) STRICT;
CREATE TABLE tail(n INTEGER PRIMARY KEY, id BLOB NOT NULL, edits INTEGER NOT NULL) STRICT;
CREATE VIRTUAL TABLE search USING fts5({SEARCH_COLUMNS}, columnsize=0);
INSERT INTO search(search, rank) VALUES('secure-delete', 1);
INSERT INTO search(search, rank) VALUES('hashsize', {16 << 20});
INSERT INTO search(search, rank) VALUES('pgsz', 3900);
"""

LOG = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE channel(
  n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, genesis BLOB NOT NULL, kind TEXT NOT NULL,
  creator TEXT NOT NULL, source TEXT NOT NULL, key TEXT NOT NULL,
  name TEXT NOT NULL, name_time INTEGER NOT NULL, name_id BLOB NOT NULL,
  topic TEXT NOT NULL, topic_time INTEGER NOT NULL, topic_id BLOB NOT NULL,
  clock INTEGER NOT NULL, messages INTEGER NOT NULL, threads INTEGER NOT NULL,
  last_time INTEGER NOT NULL,
  heads BLOB NOT NULL, role INTEGER NOT NULL, rights INTEGER NOT NULL, rotate_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX channel_origin ON channel(source, key) WHERE source <> '';
CREATE TABLE log(
  n INTEGER PRIMARY KEY, channel INTEGER NOT NULL, device BLOB NOT NULL, incarnation BLOB NOT NULL,
  prefix BLOB NOT NULL UNIQUE, signer TEXT NOT NULL, own INTEGER NOT NULL, branch BLOB NOT NULL
) STRICT;
CREATE INDEX log_channel ON log(channel, own);
CREATE INDEX log_device ON log(device, incarnation);
CREATE TABLE commits(
  log INTEGER NOT NULL, seq INTEGER NOT NULL, head BLOB NOT NULL, signature BLOB NOT NULL, rights INTEGER NOT NULL,
  PRIMARY KEY(log, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE gap(
  log INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY(log, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE aboard(
  holder BLOB NOT NULL, log INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY(holder, log, first)
) STRICT, WITHOUT ROWID;
CREATE INDEX aboard_log ON aboard(log, first);
CREATE TABLE other(
  id BLOB PRIMARY KEY, road TEXT NOT NULL, address TEXT NOT NULL, seen_ms INTEGER NOT NULL, tried_ms INTEGER NOT NULL,
  rule TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE kept_back(
  other BLOB NOT NULL, channel BLOB NOT NULL, digest BLOB NOT NULL, commits INTEGER NOT NULL,
  PRIMARY KEY(other, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE relay_cursor(
  relay BLOB NOT NULL, mailbox BLOB NOT NULL, cursor INTEGER NOT NULL, unread BLOB NOT NULL, PRIMARY KEY(relay, mailbox)
) STRICT, WITHOUT ROWID;
CREATE TABLE relay_part(
  n INTEGER PRIMARY KEY, relay BLOB NOT NULL, mailbox BLOB NOT NULL, whole BLOB NOT NULL, number INTEGER NOT NULL,
  count INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE(relay, mailbox, whole, number)
) STRICT;
CREATE TABLE relay_done(relay BLOB NOT NULL, what BLOB NOT NULL, PRIMARY KEY(relay, what)) STRICT, WITHOUT ROWID;
CREATE TABLE message(
  channel INTEGER NOT NULL, time INTEGER NOT NULL, id BLOB NOT NULL, spill INTEGER NOT NULL,
  author INTEGER NOT NULL, flags INTEGER NOT NULL, root BLOB, edit BLOB, op BLOB NOT NULL,
  PRIMARY KEY(channel, time, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX message_id ON message(id);
CREATE INDEX message_root ON message(root, time, id) WHERE root IS NOT NULL;
CREATE TABLE operation(
  id BLOB PRIMARY KEY, channel INTEGER NOT NULL, kind INTEGER NOT NULL, target BLOB, time INTEGER NOT NULL,
  author INTEGER NOT NULL, void INTEGER NOT NULL, previous BLOB, op BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_target ON operation(target, kind, time) WHERE target IS NOT NULL;
CREATE INDEX operation_previous ON operation(previous) WHERE previous IS NOT NULL;
CREATE TABLE control(
  id BLOB PRIMARY KEY, channel INTEGER NOT NULL, kind INTEGER NOT NULL, op BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX control_kind ON control(channel, kind);
CREATE TABLE file(
  id BLOB PRIMARY KEY, state INTEGER NOT NULL, bytes INTEGER NOT NULL, plain BLOB NOT NULL, outline BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX file_plain ON file(plain) WHERE plain <> x'';
CREATE INDEX file_open ON file(state) WHERE state < 2;
CREATE INDEX file_doomed ON file(state) WHERE state = 4;
CREATE TABLE segment(
  n INTEGER PRIMARY KEY, channel INTEGER NOT NULL, id BLOB NOT NULL UNIQUE, key BLOB NOT NULL,
  place TEXT NOT NULL, state INTEGER NOT NULL, size INTEGER NOT NULL, digest BLOB NOT NULL,
  operations INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, made_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE owed(id BLOB PRIMARY KEY, channel INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE wished(id BLOB PRIMARY KEY, channel INTEGER NOT NULL, reason TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE voided(id BLOB PRIMARY KEY, channel INTEGER NOT NULL, op BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE destroyed(
  id BLOB PRIMARY KEY, channel INTEGER NOT NULL, commitment BLOB NOT NULL, why INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX destroyed_missing ON destroyed(id) WHERE why = 0;
CREATE INDEX destroyed_unnamed ON destroyed(id) WHERE why = 2;
CREATE TABLE pruned(
  log INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY(log, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE parked(
  id BLOB PRIMARY KEY, channel BLOB NOT NULL, device BLOB NOT NULL, reason TEXT NOT NULL, since_ms INTEGER NOT NULL,
  encoded BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_channel ON parked(channel);
CREATE INDEX parked_device ON parked(device);
CREATE TABLE epoch(
  channel BLOB NOT NULL, id BLOB NOT NULL, key BLOB NOT NULL, PRIMARY KEY(channel, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE forgotten(
  channel BLOB NOT NULL, epoch BLOB NOT NULL, PRIMARY KEY(channel, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE policy(
  channel INTEGER NOT NULL, name TEXT NOT NULL, place INTEGER NOT NULL, time INTEGER NOT NULL, value INTEGER NOT NULL,
  PRIMARY KEY(channel, name, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE policy_here(
  channel INTEGER NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY(channel, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE joining(
  channel BLOB PRIMARY KEY, link TEXT NOT NULL, name TEXT NOT NULL, since_ms INTEGER NOT NULL,
  rule TEXT NOT NULL DEFAULT '', refused_ms INTEGER NOT NULL DEFAULT 0, by TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE TABLE refusal(
  n INTEGER PRIMARY KEY, channel INTEGER NOT NULL, device BLOB NOT NULL, invite BLOB NOT NULL, identity BLOB NOT NULL,
  until_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL, sealed BLOB NOT NULL, UNIQUE(channel, device, invite)
) STRICT;
CREATE TABLE kept(
  owner BLOB PRIMARY KEY, stamp INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE waiting(
  id BLOB PRIMARY KEY, channel INTEGER NOT NULL, target BLOB, due INTEGER, time INTEGER NOT NULL,
  signer TEXT NOT NULL, rights INTEGER NOT NULL, op BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_target ON waiting(target) WHERE target IS NOT NULL;
CREATE INDEX waiting_due ON waiting(due) WHERE due IS NOT NULL;
"""

MIGRATIONS = (LOG + VIEWS,)  # never change one that was released; add the next
MADE_BY = sha256("".join(MIGRATIONS).encode()).hexdigest()[
    :16
]  # tells development versions of one number apart


def version(connection: apsw.Connection) -> int:
    """How many migrations this file has seen."""
    found: int = connection.pragma("user_version")
    return found


def check(connection: apsw.Connection) -> int:
    """The file's schema version.

    Raises: CorruptError if it is no vault; SchemaError if it is newer, or of a version that was never released.
    """
    if connection.pragma("application_id") != APPLICATION_ID:
        raise CorruptError(
            "this file is no Quire vault", rule="not_a_vault", hint="restore it from a backup of the vault"
        )
    found = version(connection)
    if found > len(MIGRATIONS):
        raise SchemaError(
            f"this vault was written by a newer Quire (schema {found}; this one knows {len(MIGRATIONS)})",
            rule="schema_newer",
            hint="upgrade Quire; the vault is untouched",
        )
    if found == len(MIGRATIONS):
        made_by = connection.execute("SELECT value FROM meta WHERE key = 'schema'").get
        if made_by != MADE_BY:
            raise SchemaError(
                "this vault was written by a Quire that was never released, and has other tables",
                rule="schema_unreleased",
                hint="export it with the Quire that wrote it, and import that into a new vault; it is untouched",
            )
    return found


def migrate(connection: apsw.Connection) -> None:
    """Run what has not run yet, each migration in the caller's transaction."""
    for number, script in enumerate(MIGRATIONS[version(connection) :], start=version(connection) + 1):
        connection.execute(script)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={number}")
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (MADE_BY,))
