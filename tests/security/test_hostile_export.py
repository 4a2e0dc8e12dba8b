"""A malicious export: it is believed about itself, and about nothing else."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.errors import QuireError, UnauthorisedError
from quire.store.local import LocalStore
from tests import vaults
from tests.oracle import check


def jsonl(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def message(**more: Any) -> dict[str, Any]:
    return {"channel": "old", "id": "1", "time_ms": 1_600_000_000_000, "author": "a", "body": "hello", **more}


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_nobody_is_impersonated(store: LocalStore, manager: ChannelManager, tmp_path: Path) -> None:
    """An import may name anyone as author, but none of it becomes ours, or a member's."""
    manager.create_channel("general")
    ours = manager.send_message("general", "ours")
    device, identity = store.device.hex(), store.own_key.removeprefix("quire:")
    export = tmp_path / "export.jsonl"
    export.write_bytes(
        jsonl(
            *[
                message(id=str(n), author=name, body=f"I am {n}", channel=channel)
                for n, (name, channel) in enumerate(
                    (name, channel)
                    for name in (store.own_key, identity, device, f"quire:{identity}", "me")
                    for channel in ("old", "general", ours.channel.hex())
                )
            ],
            {"type": "edit", "channel": "general", "target": ours.id.hex(), "time_ms": 1, "body": "forged"},
            {"type": "delete", "channel": "general", "target": ours.id.hex(), "time_ms": 1},
        )
    )
    manager.import_(export, format="jsonl")
    assert manager.get_message(ours.id).body == "ours"
    assert manager.get_stored_messages_paginated(ours.channel).messages == (manager.get_message(ours.id),)
    imported = [
        m for info in manager.list_channels() if info.source for m in manager.get_stored_messages(info.id)
    ]
    assert len(imported) == 15
    for one in imported:
        assert one.author.imported
        assert not one.author.own
        assert one.author.id != store.own_key
        with pytest.raises(UnauthorisedError):
            manager.edit_message(one.id, "mine now")
    assert manager.search("from:me ours").hits
    assert not manager.search("from:me hello").hits
    check(store)


@pytest.mark.parametrize(
    "name", ["../../evil.jsonl", "/tmp/quire-evil.jsonl", "..\\evil.jsonl", "a/../../evil.jsonl"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_packed_path_leads_nowhere(
    store: LocalStore, manager: ChannelManager, tmp_path: Path, name: str, kind: str
) -> None:
    content = jsonl(message())
    packed = tmp_path / f"export.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(name, content)
    else:
        with tarfile.open(packed, "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    before = files_below(tmp_path)
    with suppress(QuireError):
        manager.import_(packed, format="jsonl")
    assert files_below(tmp_path) <= before | {"vault/vault.db-wal", "vault/vault.db-shm"}
    assert not Path("/tmp/quire-evil.jsonl").exists()


def test_a_link_in_an_archive_or_a_folder_is_not_followed(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(jsonl(message(body="not for the import")))
    packed = tmp_path / "export.tar"
    with tarfile.open(packed, "w") as archive:
        link = tarfile.TarInfo("messages.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
        whole = jsonl(message(id="2", body="of the export"))
        info = tarfile.TarInfo("more.jsonl")
        info.size = len(whole)
        archive.addfile(info, io.BytesIO(whole))
    manager.import_(packed, format="jsonl")
    assert vaults.bodies(store, "old") == ["of the export"]


def test_records_of_absurd_size_and_depth_do_not_stop_the_rest(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    export = tmp_path / "export.jsonl"
    export.write_bytes(
        jsonl(message(id="first"))
        + b'{"a":' * 100_000 + b"\n"
        + jsonl(message(id="long", body="x" * (2 << 20)))
        + jsonl(message(id="names", author="n" * 100_000, channel="old"))
        + jsonl(message(id="late", time_ms=10**30))
        + jsonl(message(id="nul", body="\0" * 1_000, reactions=[{"emoji": "e" * 10_000, "authors": ["x"]}] * 50))
        + b"\xff\xfe\x00garbage\n"
        + jsonl(message(id="last", body="the last"))
    )  # fmt: skip
    summary = manager.import_(export, format="jsonl")
    found = vaults.bodies(store, "old")
    assert "hello" in found
    assert "the last" in found
    assert summary.skipped >= 2
    check(store)
    assert store.verify().ok


@pytest.mark.slow
@pytest.mark.bounded
def test_a_small_zip_that_is_large_inside_is_read_in_bounded_memory(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    packed = tmp_path / "export.zip"
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("export.jsonl", "w") as member,
    ):
        member.write(jsonl(message()))
        for _ in range(300):
            member.write(b" " * (1 << 20))
        member.write(b"\n")
        member.write(jsonl(message(id="2", body="after it")))
    assert packed.stat().st_size < 1 << 20
    mib, bodies = vaults.in_fresh_process(
        store.folder,
        "from tests import vaults\n"
        f"manager.import_({str(packed)!r}, format='jsonl')\n"
        "answer = [vaults.peak_memory_mib(),"
        " [m.body for m in manager.get_stored_messages('old')]]",
    )
    assert bodies == ["hello", "after it"]
    assert mib < 250
