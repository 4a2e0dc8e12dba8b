"""Small exports made on the spot, as a folder, a zip or a tar, and what an importer makes of them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from quire.errors import FormatError
from quire.exchange.detect import Importer
from quire.exchange.model import Message, Options, Record
from quire.exchange.sources import open_source

PACKINGS = ("folder", "zip", "tar.gz", "tar")
Files = Mapping[str, object]  # name -> bytes, text, or a value that becomes JSON


def pack(folder: Path, files: Files, how: str = "folder", name: str = "export") -> Path:
    """The files as one export inside `folder`; `how` is one of PACKINGS, or "file" for a single one."""
    contents = {file: _bytes(content) for file, content in files.items()}
    path = folder / (name if how in ("folder", "file") else f"{name}.{how}")
    if how == "file":
        ((file, content),) = contents.items()
        path = folder / file
        path.write_bytes(content)
    elif how == "folder":
        path.mkdir(exist_ok=True)
        for file, content in contents.items():
            full = path / file
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(content)
    elif how == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in contents.items():
                archive.writestr(file, content)
    else:
        with tarfile.open(path, "w:gz" if how == "tar.gz" else "w") as tar:
            for file, content in contents.items():
                member = tarfile.TarInfo(file)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def records(importer: Importer, path: Path, options: Options | None = None) -> list[Record]:
    with open_source(path) as source:
        return list(importer.read(source, options or Options()))


def certainty(importer: Importer, path: Path) -> int:
    with open_source(path) as source:
        return importer.recognise(source)


def messages(found: list[Record]) -> list[Message]:
    return [record for record in found if isinstance(record, Message)]


def only(found: list[Record], kind: type[msgspec.Struct]) -> list[msgspec.Struct]:
    return [record for record in found if isinstance(record, kind)]


def survives(importer: Importer, path: Path) -> list[Record]:
    """Whatever the bytes: records fit to be stored, or FormatError."""
    try:
        open_source(path).close()
    except FormatError:
        return []  # an archive that is none
    certainty(importer, path)
    try:
        found = records(importer, path)
    except FormatError:
        return []
    channels = set()
    for record in found:
        msgspec.json.encode(record)  # refuses lone surrogates and values of a wrong kind
        msgspec.convert(msgspec.to_builtins(record), type(record))
        if type(record).__name__ == "Channel":
            channels.add(record.key)  # type: ignore[union-attr]
        if isinstance(record, Message):
            assert record.channel in channels
            assert 0 <= record.time_ms < 7_258_118_400_000
            assert record.id not in ("", record.thread, record.reply_to)
    return found


def _bytes(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()
