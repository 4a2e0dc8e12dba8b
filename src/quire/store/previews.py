"""Small pictures of attached ones: made by who attaches, decoded with care by who reads.

A picture from a stranger may be made to fill memory or to meet a flaw of a decoder. So what is decoded is bounded before
any pixel is, a preview is always a JPEG of at most `SIDE` pixels and `PREVIEW_BYTES_MAX` bytes, and whoever wants to see
one decodes and encodes it anew (`checked_preview`). Needs Pillow (`quire[pictures]`); without it there are no previews.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from quire.core.limits import PREVIEW_BYTES_MAX
from quire.errors import MalformedError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 320  # pixels, the longer one
PIXELS_MAX = (
    64 << 20
)  # of a picture that we make a preview of: 256 MiB once decoded; cameras have up to 100 million
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
QUALITIES = (75, 55, 35, 20)


def make_preview(stream: BinaryIO) -> bytes:
    """A small JPEG of a picture, without anything that was in it beside the pixels; empty if none can be made."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return b""
    try:
        with _quiet(), Image.open(stream, formats=FORMATS) as image:
            if image.width * image.height > PIXELS_MAX or min(image.size) < 1:
                return b""
            image.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at a fraction of its size
            small = ImageOps.exif_transpose(image)
            small.thumbnail((SIDE, SIDE))
            return _encoded(small)
    except Exception:  # decoders raise anything for bytes that are no picture; the file is attached without
        return b""


def checked_preview(preview: bytes) -> bytes:
    """A preview that somebody sent, decoded and made anew. Raises: MalformedError(rule="preview_malformed")."""
    try:
        from PIL import Image
    except ImportError:
        raise MalformedError("no picture can be read here", rule="preview_malformed") from None
    try:
        with _quiet(), Image.open(io.BytesIO(preview), formats=("JPEG",)) as image:
            if max(image.size) > SIDE:
                raise ValueError("too large")
            return _encoded(image)
    except Exception as error:
        raise MalformedError("this preview is no small picture", rule="preview_malformed") from error


def _encoded(image: Image) -> bytes:
    """As a JPEG that fits: empty if it does not."""
    from PIL import Image as Images

    if image.mode in ("RGBA", "LA", "P", "PA"):
        layered = image.convert("RGBA")
        plain = Images.new("RGB", layered.size, "white")
        plain.paste(layered, mask=layered.getchannel("A"))
    else:
        plain = image.convert("RGB")
    for quality in QUALITIES:
        out = io.BytesIO()
        plain.save(out, "JPEG", quality=quality, optimize=True)
        if out.tell() <= PREVIEW_BYTES_MAX:
            return out.getvalue()
    return b""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What a decoder warns of concerns nobody here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
