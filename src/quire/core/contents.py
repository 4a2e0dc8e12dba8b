"""What a message carries besides its text, and what the numbers in a post mean (docs/spec/02-operations.md).

Apart from core/operation.py, which has the operations themselves, so that a page can be read without msgspec.
"""

# Types are evaluated here, not left as text: msgspec decodes these as parts of a post.

from typing import NamedTuple

NOTICES = ("", "join", "leave", "topic", "name", "pin", "other")  # Post.notice is an index into this
SALT_SIZE = 16  # of what is stored: salt || operation

# Post.flags
ACTION = 1
BROADCAST = 2


class Origin(NamedTuple):
    """Where an imported operation comes from."""

    source: str  # "slack", "irc" …
    author: str  # original author id
    id: str  # original id, unique in its channel; "" if the format gives none
    time_ms: int  # original time, Unix ms
    edited_ms: int | None = None  # marked as edited then, with no older text kept


class File(NamedTuple):
    """Where an attachment's bytes are: a sealed file of its own (core/sealed_file.py), and the key to it."""

    id: bytes  # 32
    key: bytes  # 32, of this file alone: without it the file is noise
    # A small JPEG, if it is a picture; its author says so, a reader decodes it with care.
    preview: bytes = b""

    def __repr__(self) -> str:
        return f"File({self.id.hex()})"


class Attachment(NamedTuple):
    """A file that belongs to a message; without `file`, only its name and where it was."""

    name: str
    url: str = ""
    media_type: str = ""
    size_bytes: int | None = None
    file: File | None = None
