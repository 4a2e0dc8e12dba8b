"""Large HTML pages of messages, cut into pieces that are parsed one by one.

A page of a whole channel can be hundreds of megabytes; its messages are siblings that all begin alike.
So the text is cut where the next one begins, and each piece is parsed by itself: memory stays at one
piece, and what is broken in one cannot swallow those after it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, TypeAlias

from lxml import etree

PIECE_CHARS_MAX = 8 << 20
WINDOW_BYTES = 1 << 18
TAIL_CHARS = 512  # kept of a piece that is too long, as the next may have begun in it

_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)

Element: TypeAlias = etree._Element


def pieces(stream: BinaryIO, begin: re.Pattern[str]) -> Iterator[str | None]:
    """The text before the first match of `begin`, then a piece from each match to the next.

    None stands for a piece over PIECE_CHARS_MAX, which is passed over.
    """
    text, cut = "", False  # the present piece, and whether its beginning is lost
    first = 0  # where the next match may be: a piece is not ended by its own beginning
    for more in _texts(stream):
        text += more
        at = 0
        for found in begin.finditer(text, first):
            yield None if cut else text[at : found.start()]
            at, first, cut = found.start(), 1, False
        text = text[at:]
        if len(text) > PIECE_CHARS_MAX:
            text, first, cut = text[-TAIL_CHARS:], 0, True
    yield None if cut else text


def _texts(stream: BinaryIO) -> Iterator[str]:
    data = stream.read(WINDOW_BYTES)
    decoder = codecs.getincrementaldecoder(_encoding(data))("replace")
    while data:
        yield decoder.decode(data).replace("\0", "\ufffd")
        data = stream.read(WINDOW_BYTES)
    yield decoder.decode(b"", final=True)


def parse(piece: str) -> Element | None:
    """The piece as a tree; None if there is no element in it."""
    parser = etree.HTMLParser(huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        return etree.fromstring(piece, parser)
    except (etree.LxmlError, ValueError):
        return None


def classes(element: Element) -> list[str]:
    """The classes of an element; none for what is no element."""
    return (element.get("class") or "").split() if isinstance(element.tag, str) else []


def inner_html(element: Element) -> str:
    """What stands inside of an element, as HTML."""
    if not len(element):
        return _escaped(element.text or "")
    parts = [_escaped(element.text or "")]
    parts += [etree.tostring(child, encoding="unicode", method="html") for child in element]
    return "".join(parts)


def text_of(element: Element) -> str:
    """The text inside of an element, white space as a page shows it."""
    return " ".join("".join(map(str, element.itertext())).split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    said = _META.search(head[:8192])
    try:
        return codecs.lookup(said[1].decode()).name if said else "utf-8"
    except LookupError:
        return "utf-8"
