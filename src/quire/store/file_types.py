"""What a file is, by its first bytes; what may be opened without asking; and names that are safe to write.

A peer's word is never taken: neither its type nor its name's ending. What is on the list is shown by programs that are
made for what strangers send; everything else may be a program, or make one run.
"""

from __future__ import annotations

import re
import unicodedata

HEAD_BYTES = 8_192  # what types are recognised by
NAME_BYTES_MAX = 200  # of a file that we write: most file systems stop at 255
ENDING_BYTES_MAX = 32  # what is longer is no ending that any program knows
TEXT, UNKNOWN = "text/plain", "application/octet-stream"

# What the system's opener may be given, and the ending that it is given under.
HARMLESS = {
    "image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/bmp": ".bmp",
    "image/tiff": ".tiff", "image/heic": ".heic", "image/avif": ".avif", "audio/mpeg": ".mp3", "audio/ogg": ".ogg",
    "audio/x-wav": ".wav", "audio/x-flac": ".flac", "audio/mp4": ".m4a", "audio/aac": ".aac", "audio/amr": ".amr",
    "video/mp4": ".mp4", "video/webm": ".webm", "video/x-matroska": ".mkv", "video/quicktime": ".mov",
    "video/x-msvideo": ".avi", "video/mpeg": ".mpg", "video/3gpp": ".3gp", "application/pdf": ".pdf", TEXT: ".txt",
}  # fmt: skip

_MARKUP = re.compile(rb"\s*<(!doctype|html|head|body|script|svg|\?xml|[a-z!])", re.IGNORECASE)
_RESERVED = {
    "con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in "0123456789¹²³"),
}  # fmt: skip
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*]')


def type_of(head: bytes) -> str:
    """The media type of a file that begins so."""
    import filetype

    found = filetype.guess(head)
    if found is not None:
        return str(found.mime)
    if _MARKUP.match(head):
        return "image/svg+xml" if b"<svg" in head.lower() else "text/html"
    if head.startswith(b"#!"):
        return "text/x-script"
    return TEXT if _is_text(head) else UNKNOWN


def _is_text(head: bytes) -> bool:
    """Is it UTF-8 without control characters, but for a character that was cut?"""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < HEAD_BYTES or error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return not any(one < " " and one not in "\t\n\r\f\x1b" for one in text) and bool(head)


def safe_name(name: str, fallback: str = "attachment") -> str:
    """A name that a file may have on any system, in the folder one chose and in no other.

    No path, no control or invisible character, no reserved device, no leading dot, nothing too long.
    """
    last = re.split(r"[/\\]", name)[-1]
    shown = (one for one in last if unicodedata.category(one)[0] not in "CZ" or one == " ")
    kept = _NOT_IN_NAMES.sub("_", unicodedata.normalize("NFC", "".join(shown))).strip(" .")
    stem, dot, ending = kept.rpartition(".")
    if not dot:
        stem, ending = kept, ""
    if stem.split(".")[0].strip().lower() in _RESERVED:
        stem = f"_{stem}"
    tail = (dot + _cut(ending, ENDING_BYTES_MAX)).rstrip(" .") if ending else ""
    return _cut(stem, NAME_BYTES_MAX - len(tail.encode())).rstrip(" .") + tail if stem else fallback


def numbered(name: str, number: int) -> str:
    """`plan (2).pdf`: the name of a file of which there are others."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem} ({number}).{ending}" if dot and stem else f"{name} ({number})"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore")
