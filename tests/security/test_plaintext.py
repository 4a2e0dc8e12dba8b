"""No plaintext on disk: not in the vault's files, its WAL or its journals, nor in the folder for temporary files.

The words below occur nowhere but in these tests. They are looked for after every single write, while files
are open, after a kill, and after closing; and a positive control shows that the search finds what is there.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import Passphrase
from quire.core.operation import Attachment
from quire.errors import UsageError
from quire.storage import search
from quire.storage.database import apply_key
from quire.storage.meta import get_meta
from quire.store.attachments import NewFile
from quire.store.local import LocalStore
from tests import vaults
from tests.security.scanning import found_in

BODY = "zanzibarquux marmalade"
EDITED = "wolfsbanequux treacle"
WORD = "zanzibarquux"
CHANNEL = "lighthousequux"
TOPIC = "tidewrackquux"
NAME = "Perpetuaquux"
FILE = "blueprintquux.pdf"
REASON = "regretquux"
AUTHOR = "importeequux"
PASSPHRASE = "correct horsequux battery"
TEXTS = [BODY, EDITED, WORD, CHANNEL, TOPIC, NAME, FILE, REASON, AUTHOR, PASSPHRASE]


def keys_of(store: LocalStore) -> list[str | bytes]:
    """What must never lie on the disk in the clear."""
    db = store.database.reader
    phrase = store.recovery_phrase
    return [
        store.database.key.reveal(),
        bytes(get_meta(db, "device_seed")),
        *([phrase.reveal()] if phrase else []),
    ]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process and SQLite would put temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    for name in ("TMPDIR", "SQLITE_TMPDIR", "TMP", "TEMP"):
        monkeypatch.setenv(name, str(folder))
    return folder


def export(path: Path) -> Path:
    lines = [
        {"channel": CHANNEL + "-old", "id": str(n), "time_ms": 1_600_000_000_000 + n, "author": AUTHOR, "body": f"{BODY} {n}"}
        for n in range(300)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def session(manager: ChannelManager, source: Path) -> Iterator[str]:
    """Every kind of write; yields after each, while everything is open."""
    manager.set_name(NAME)
    yield "name"
    manager.create_channel(CHANNEL, topic=TOPIC)
    yield "channel"
    attachment = Attachment(FILE, f"files/{FILE}", "application/pdf", 1)
    message = manager.send_message(CHANNEL, BODY, attachments=[attachment])
    yield "message"
    reply = manager.send_message(CHANNEL, f"{BODY} reply", thread=message.id)
    yield "reply"
    manager.edit_message(message.id, EDITED)
    yield "edit"
    manager.delete_message(reply.id, REASON)
    yield "delete"
    manager.send_message(CHANNEL, f"{BODY} " * 5_000)
    yield "large"
    content = f"{BODY} ".encode() * 100_000  # two pieces
    file = NewFile(FILE, len(content), lambda: io.BytesIO(content))
    filed = manager.send_message(CHANNEL, EDITED, files=[file])
    yield "file"
    with manager.open_attachment(filed.id) as stream:
        assert stream.read() == content
    yield "open"
    assert manager.search(WORD).hits
    assert manager.search(f'"{BODY}"').hits
    yield "search"
    manager.import_(source, format="jsonl")
    yield "import"
    manager.store.compact()
    yield "compact"
    slot = manager.store.slots.list()[0]
    manager.store.slots.replace(slot.id, Passphrase(PASSPHRASE + " new"), argon2_memory_kib=64 << 10)
    yield "passphrase"
    manager.store.rekey()
    yield "rekey"
    assert manager.store.verify().ok
    yield "verify"


def test_nothing_readable_is_ever_on_the_disk(tmp_path: Path, temporary: Path, state_home: Path) -> None:
    (tmp_path / "export").mkdir()
    source = export(tmp_path / "export" / "export.jsonl")
    store = LocalStore.create(tmp_path / "vault", PASSPHRASE)
    keys = keys_of(store)
    places = [tmp_path / "vault", temporary, state_home]
    assert found_in(places, [*TEXTS, *keys]) == []
    for step in session(ChannelManager(store), source):
        assert found_in(places, [*TEXTS, *keys, *keys_of(store)]) == [], step
    keys += keys_of(store)
    store.backup(tmp_path / "backup", second=tmp_path / "second")
    store.close()
    assert found_in([*places, tmp_path / "backup", tmp_path / "second"], [*TEXTS, *keys]) == []
    assert found_in([tmp_path / "export"], TEXTS), "the search finds nothing at all"


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    for number, content in enumerate(
        [BODY.encode(), BODY.encode("utf-16-le"), BODY.encode().hex().encode(), base64.b64encode(b"ab" + BODY.encode())]
    ):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "file").write_bytes(b"\x01" * 100 + content + b"\x02" * 100)
        assert found_in([folder], [BODY])
    (tmp_path / "0" / "file").unlink()
    assert found_in([tmp_path / "0"], [BODY]) == []
    (tmp_path / "0" / f"{BODY}.txt").touch()
    assert found_in([tmp_path / "0"], [BODY])


KILLED = """
import os, signal, sys
from pathlib import Path
from tests import vaults
from tests.security.test_plaintext import export, session
from quire.channels.manager import ChannelManager
folder = Path(sys.argv[1])
store = vaults.opened(folder)
for number, step in enumerate(session(ChannelManager(store), folder.with_name("export.jsonl"))):
    if number == int(sys.argv[2]):
        print(store.database.key.reveal().hex(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("steps", [2, 5, 7, 10])
def test_nothing_readable_is_left_by_a_kill(tmp_path: Path, temporary: Path, steps: int) -> None:
    vaults.fresh_store(tmp_path).close()
    export(tmp_path / "export.jsonl")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "vault"), str(steps)],
        cwd=vaults.ROOT, env=vaults.environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "vault" / "vault.db-wal").exists()  # nobody tidied up
    key = bytes.fromhex(done.stdout)
    assert found_in([tmp_path / "vault", temporary], [*TEXTS, key]) == []


def everything_in(db: apsw.Connection) -> Iterator[tuple[str, Any]]:
    """Every value of every table, the search index's own tables and words included."""
    tables: Any = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if table != "search":
            for row in db.execute(f"SELECT * FROM {table}"):
                yield from ((table, value) for value in row)
    db.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, search, row)")
    for (word,) in db.execute("SELECT term FROM temp.words"):
        yield "words", word


def holding(store: LocalStore, text: str) -> set[str]:
    """The tables where a text is, in whatever value."""
    connection = apsw.Connection(str(store.database.path), vfs="multipleciphers-unix")
    apply_key(connection, store.database.key)
    wanted = {text.encode(), text.lower().encode()}
    found = set()
    for table, value in everything_in(connection):
        content = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b""
        if any(one in content for one in wanted):
            found.add(table)
    connection.close()
    return found


@pytest.mark.parametrize("indexed", [True, False])
def test_a_deleted_text_is_in_no_view_counter_or_index(
    indexed: bool, store: LocalStore, manager: ChannelManager
) -> None:
    """Only the log keeps it, in the operations' own bytes, until it is erased there too."""
    manager.create_channel("general")
    root = manager.send_message("general", "a root")
    message = manager.send_message("general", f"{WORD} alone", thread=root.id, attachments=[Attachment(FILE)])
    if indexed:
        store.ledger.run(search.index_tail)
        assert "words" in holding(store, WORD)
    edited = manager.edit_message(message.id, "wolfsbanequux alone")
    assert edited.body == "wolfsbanequux alone"
    assert holding(store, WORD) == {"message"}  # the edit took it out of the index at once
    assert ("words" in holding(store, "wolfsbanequux")) == indexed
    manager.delete_message(message.id)
    assert holding(store, "wolfsbanequux") == {"operation"}
    assert holding(store, WORD) == holding(store, "blueprintquux") == {"message"}
    for query in (WORD, "wolfsbanequux", "blueprintquux", "wolfsb*", "alone"):
        assert manager.search(query).hits == ()
    deleted = manager.get_message(message.id)
    assert (deleted.body, deleted.attachments, deleted.title) == ("", (), "")
    assert manager.get_edit_history(message.id) == []
    thread = manager.get_thread_info(root.id)
    assert (thread.replies, thread.participants, thread.preview) == (0, 0, "")
    assert manager.get_channel("general").messages == 1


def test_no_error_or_repr_shows_a_key_or_a_text(store: LocalStore, manager: ChannelManager) -> None:
    manager.create_channel("general")
    shown = [repr(store), repr(manager), repr(store.database), repr(store.database.key), repr(store.slots)]
    for call in (
        lambda: manager.send_message("general", BODY + "\ud800"),
        lambda: manager.send_message("general", BODY * 100_000),
        lambda: LocalStore.open(store.folder, PASSPHRASE),
    ):
        with pytest.raises(UsageError) as failure:
            call()
        shown += [repr(failure.value), str(failure.value), repr(vars(failure.value))]
    for text in [BODY, WORD, PASSPHRASE, store.database.key.reveal().hex()]:
        assert not any(text in one for one in shown)


def test_files_are_readable_by_their_owner_only(store: LocalStore, manager: ChannelManager) -> None:
    manager.create_channel("general")
    assert os.stat(store.folder).st_mode & 0o077 == 0
    for name in ("vault.db", "vault.db-wal", "slots"):
        assert (store.folder / name).exists()
    assert (store.folder / "slots").stat().st_mode & 0o077 == 0
