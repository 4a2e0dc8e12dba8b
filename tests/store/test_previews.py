"""Small pictures: made of what is a picture, bounded, and nobody's word taken for one."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.limits import PREVIEW_BYTES_MAX
from quire.core.operation import Attachment, File
from quire.errors import MalformedError
from quire.store.previews import SIDE, checked_preview, make_preview

Image = pytest.importorskip("PIL.Image")


def picture(size: tuple[int, int], mode: str = "RGB", kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 90).convert(mode).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("P", "GIF"), ("CMYK", "JPEG")]
)
def test_a_preview_is_small_whatever_the_picture(mode: str, kind: str) -> None:
    preview = make_preview(io.BytesIO(picture((1_200, 700), mode, kind)))
    assert 0 < len(preview) <= PREVIEW_BYTES_MAX
    with Image.open(io.BytesIO(preview)) as small:
        assert (small.format, max(small.size)) == ("JPEG", SIDE)


def bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes that says it is enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("data", [b"", b"no picture", picture((50, 50))[:200], bomb(60_000), bomb(9_000)])
def test_what_is_no_picture_or_too_large_has_no_preview(data: bytes) -> None:
    assert make_preview(io.BytesIO(data)) == b""


@pytest.mark.parametrize(
    "sent",
    [b"no picture", picture((50, 50)), picture((SIDE + 1, 10), kind="JPEG"), bomb(60_000), b"\xff\xd8\xff"],
)
def test_a_peer_s_preview_is_a_small_jpeg_or_nothing(sent: bytes) -> None:
    with pytest.raises(MalformedError) as error:
        checked_preview(sent)
    assert error.value.rule == "preview_malformed"


def test_a_picture_is_sent_with_its_preview_and_says_nothing_of_its_origin(
    manager: ChannelManager, tmp_path: Path
) -> None:
    manager.create_channel("general")
    exif = Image.Exif()
    exif[0x010F] = "Camerquux"
    Image.effect_noise((900, 600), 90).convert("RGB").save(tmp_path / "a.jpg", exif=exif)
    message = manager.send_message("general", "", files=[tmp_path / "a.jpg"])
    [one] = message.attachments
    assert one.file
    assert b"Camerquux" in (tmp_path / "a.jpg").read_bytes()
    assert b"Camerquux" not in one.file.preview
    assert manager.get_attachments(message.id)[0].has_preview
    assert manager.get_preview(message.id)[:3] == b"\xff\xd8\xff"
    forged = one.file._replace(preview=b"MZ")
    lying = manager.send_message("general", "", attachments=[one._replace(file=forged)])
    with pytest.raises(MalformedError):
        manager.get_preview(lying.id)
    bare = Attachment("x", size_bytes=0, file=File(bytes(32), bytes(32)))
    plain = manager.send_message("general", "", attachments=[bare])
    assert manager.get_preview(plain.id) == b""
