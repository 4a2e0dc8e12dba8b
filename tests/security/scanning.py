"""Looking for what must not be there: texts and keys in the bytes of files, in every form they might take."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path


def forms(secret: str | bytes) -> set[bytes]:
    """A secret as it would be found on a disk: as bytes, UTF-16, hexadecimal, base64."""
    if isinstance(secret, str):
        plain = {
            secret.encode(),
            secret.lower().encode(),
            secret.encode("utf-16-le"),
            secret.encode("utf-16-be"),
        }
    else:
        plain = {secret}
    encoded = {form for one in plain for form in (one.hex().encode(), one.hex().upper().encode())}
    # base64 at each of the three alignments, without the characters that neighbours change
    for one in plain:
        for lead in range(3):
            text = base64.b64encode(bytes(lead) + one)
            encoded.add(text[4 if lead else 0 : len(text) - 4])
    return plain | {form for form in encoded if len(form) >= 8}


def found_in(folders: Iterable[Path], secrets: Iterable[str | bytes]) -> list[tuple[str, bytes]]:
    """(file, what) for every secret in any file's name or bytes, below these folders."""
    wanted = [form for secret in secrets for form in forms(secret)]
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            content = str(path.relative_to(folder)).encode()
            try:
                if path.is_file():
                    content += b"\0" + path.read_bytes()
            except FileNotFoundError:
                continue  # a file that SQLite has just removed
            found += [(str(path), form) for form in wanted if form in content]
    return found
