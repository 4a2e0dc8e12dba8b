"""Packing: compress, then pad, so that a sealed size says little about what is inside.

    length of the compressed part (4) || Zstandard frame || zeros up to a length that Padmé allows

Padmé keeps only the leading bits of a length: any of a million sizes becomes one of a few hundred, at a cost of
at most 12 %, under 3 % for what is large. Source: Nikitin and others, Reducing Metadata Leakage from Encrypted
Files and Communication with PURBs (2019), section 5. docs/spec/08-bundles.md, section 2.
"""

from __future__ import annotations

from quire.errors import MalformedError

LENGTH_SIZE = 4
LEVEL = 3  # higher ones gain a few per cent of chat text at several times the work
WINDOW_BYTES_MAX = 32 << 20  # what a frame may ask of a reader's memory


def padme(length: int) -> int:
    """The least permitted length from `length` on."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    free = max(0, exponent - exponent.bit_length())
    mask = (1 << free) - 1
    return (length + mask) & ~mask


def packed(plain: bytes) -> bytes:
    """Compressed and padded."""
    import zstandard

    frame = zstandard.ZstdCompressor(level=LEVEL).compress(plain)
    whole = len(frame).to_bytes(LENGTH_SIZE, "big") + frame
    return whole + bytes(padme(len(whole)) - len(whole))


def unpacked(data: bytes, *, bytes_max: int, what: str) -> bytes:
    """What was packed. A frame that would grow beyond `bytes_max` is refused before it is unpacked.

    what    begins the rule: "bundle" gives "bundle_too_large" and "bundle_packing"
    """
    import zstandard

    length = int.from_bytes(data[:LENGTH_SIZE], "big")
    frame, padding = data[LENGTH_SIZE : LENGTH_SIZE + length], data[LENGTH_SIZE + length :]
    if len(data) != padme(LENGTH_SIZE + length) or len(frame) != length or padding.strip(b"\0"):
        raise _broken(what)
    try:
        size = zstandard.get_frame_parameters(frame).content_size
        if size == zstandard.CONTENTSIZE_UNKNOWN:
            raise _broken(what)
        if size > bytes_max:
            raise MalformedError(f"the {what} unpacks to more than it may", rule=f"{what}_too_large")
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
        plain = decompressor.decompress(frame, max_output_size=bytes_max, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise _broken(what) from error
    if len(plain) != size:
        raise _broken(what)
    return plain


def _broken(what: str) -> MalformedError:
    return MalformedError(f"the {what} is not packed as it should be", rule=f"{what}_packing")
