"""Lines of text logs, and readers that leave off in the middle."""

from __future__ import annotations

from pathlib import Path

from quire.exchange.lines import raw_lines


def test_a_reader_that_is_left_in_the_middle_outlives_its_stream(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\r\ntwo\nthree")
    with (tmp_path / "log").open("rb") as stream:
        whole = list(raw_lines(stream))
    with (tmp_path / "log").open("rb") as stream:
        left = raw_lines(stream)
        assert next(left) == whole[0] == b"one"
    left.close()  # type: ignore[attr-defined]  # as Python 3.13 does it, after the file is closed
    assert whole == [b"one", b"two", b"three"]


def test_a_stream_is_left_open_for_its_source(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntwo\n")
    with (tmp_path / "log").open("rb") as stream:
        assert len(list(raw_lines(stream))) == 2
        assert not stream.closed
