"""Sources: what a compressed tar keeps, so that looking into it does not read it again and again."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from quire.errors import FormatError, NotFoundError
from quire.exchange import tars
from quire.exchange.sources import open_source
from quire.exchange.tars import TarSource
from tests.exchange.packing import pack


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time a tar is read from its start."""
    begun: list[int] = []
    members = TarSource._members

    def counted(self: TarSource):  # type: ignore[no-untyped-def]
        begun.append(1)
        return members(self)

    monkeypatch.setattr(TarSource, "_members", counted)
    return begun


def test_many_looks_into_a_tar_take_few_passes(tmp_path: Path, passes: list[int]) -> None:
    files = {f"a/b/c/d/{number:04}.json": f"content {number:04}" * 10_000 for number in range(130)}
    files["a/users.json"] = "[]"
    with open_source(pack(tmp_path, files, "tar.gz")) as source:
        for name in source.names():
            size = 13 if name != "a/users.json" else 2
            assert source.peek(name, size).decode() == files[name][:size]
    assert len(passes) == 1 + 2  # the listing, which keeps the first 50 heads, and two for 80 more


def test_a_look_larger_than_what_is_kept_is_fetched(tmp_path: Path, passes: list[int]) -> None:
    text = "0123456789" * 20_000
    with open_source(pack(tmp_path, {"a/b/c/x.json": text, "a/b/c/y.bin": text}, "tar.gz")) as source:
        assert source.peek("a/b/c/x.json", 100_000) == text[:100_000].encode()
        assert source.peek("a/b/c/y.bin", 5) == b"01234"
        with pytest.raises(NotFoundError):
            source.peek("a/b/c/z.json")


def test_metadata_near_the_root_is_not_crowded_out(
    tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "KEPT_BYTES", 4000)
    files = {f"x/room/{number}.json": "m" * 500 for number in range(20)} | {"x/users.json": "u" * 1500}
    with open_source(pack(tmp_path, files, "tar.gz")) as source:
        source.names()
        assert source.read("x/users.json") == b"u" * 1500
    assert len(passes) == 1


def test_a_file_that_cannot_be_opened_does_not_end_the_walk(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.json": "one", "b.json": "two", "c.json": "three"}, "zip")
    data = bytearray(path.read_bytes())
    at = data.index(b"b.json")
    data[at - 30 : at - 26] = b"XXXX"  # the local header of b.json
    path.write_bytes(bytes(data))
    found: dict[str, object] = {}
    with open_source(path) as source:
        for name, stream in source.walk():
            try:
                found[name] = stream.read()
            except FormatError as error:
                found[name] = error.rule
    assert found == {"a.json": b"one", "b.json": "unreadable", "c.json": b"three"}


def test_an_encrypted_member_is_an_error_of_its_own(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.json", "secret")
    data = bytearray(buffer.getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    path = tmp_path / "x.zip"
    path.write_bytes(bytes(data))
    with open_source(path) as source, pytest.raises(FormatError):
        source.read("a.json")
