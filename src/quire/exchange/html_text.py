"""Bodies as HTML: the few signs that people write, everything else as the text it is.

Every piece of a stranger's text goes through `escape`, and what is made of it is a fixed set of elements without
attributes, but for links to http and https. No pattern here can run longer than its text is long.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
FENCE = re.compile(r"(?:```|~~~)[\w+#.-]{0,30}\s*$")
QUOTED = re.compile(r"> ?")
INLINE = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|\[(?P<label>[^\[\]\n]{1,300})\]\((?P<href>https?://[^\s()<>\"]{1,2000})\)"
    r"|(?P<url>https?://[^\s<>\"`]{1,2000})"
    r"|\*\*(?P<bold>[^*\n]+)\*\*"
    r"|~~(?P<strike>[^~\n]+)~~"
    r"|(?<![\w*])\*(?P<slanted>[^\s*][^*\n]*)\*(?![\w*])"
    r"|(?<![\w_])_(?P<underlined>[^\s_][^_\n]*)_(?![\w_])"
)
AFTER_LINK = ".,;:!?)]}'*_"
ELEMENTS = {"bold": "strong", "strike": "s", "slanted": "em", "underlined": "em"}


def escape(text: str) -> str:
    """Text as text, also within a quoted attribute."""
    return html.escape(CONTROL.sub("\ufffd", text))


def rendered(body: str) -> str:
    """A body as blocks of HTML."""
    return "".join(_blocks(body.replace("\r\n", "\n").replace("\r", "\n").split("\n")))


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        end = at
        if FENCE.match(lines[at]):
            fence = lines[at][:3]
            end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() == fence), len(lines))
            yield f"<pre><code>{escape(chr(10).join(lines[at + 1 : end]))}</code></pre>"
            at = end + 1
            continue
        quote = lines[at].startswith(">")
        while end < len(lines) and lines[end].startswith(">") == quote and not FENCE.match(lines[end]):
            end += 1
        text = "\n".join(QUOTED.sub("", line, count=1) if quote else line for line in lines[at:end])
        if text.strip():
            element = "blockquote" if quote else "p"
            yield f"<{element}>{inline(text.strip(chr(10)))}</{element}>"
        at = end


def inline(text: str, depth: int = 3) -> str:
    """Code, links, bold, slanted and struck out."""
    if not depth:
        return escape(text)
    parts: list[str] = []
    at = 0
    for found in INLINE.finditer(text):
        parts.append(escape(text[at : found.start()]))
        at = found.end()
        kind = found.lastgroup or ""
        if kind == "code":
            parts.append(f"<code>{escape(found['code'])}</code>")
        elif kind == "href":
            parts.append(link(found["href"], inline(found["label"], 0)))
        elif kind == "url":
            url = found["url"].rstrip(AFTER_LINK)
            parts.append(link(url, escape(url)) + escape(found["url"][len(url) :]))
        else:
            parts.append(f"<{ELEMENTS[kind]}>{inline(found[kind], depth - 1)}</{ELEMENTS[kind]}>")
    parts.append(escape(text[at:]))
    return "".join(parts)


def link(url: str, shown: str) -> str:
    """A link that is followed only when it is clicked, and tells nobody where from. `shown` is HTML."""
    if not url.lower().startswith(("http://", "https://")):
        return shown
    return f'<a href="{escape(url)}" rel="noreferrer noopener nofollow">{shown}</a>'
