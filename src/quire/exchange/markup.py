"""HTML fragments to Markdown: one pass, no tree, no recursion.

Importers of formats that keep bodies as HTML (Zulip archives, Discord and Telegram pages, Matrix)
share this. The fragment is cut into tags and texts by one regular expression; a bounded stack of open
elements collects the Markdown of each and hands it to its parent when it closes. That is faster than
building a tree for messages of a hundred characters, and no input makes it fail: what is not a tag is
text, an end without a start is ignored, an element left open closes with its parent. Nine messages in
ten are paragraphs of text, code, links and mentions, none inside another: `_simple` turns those by
substitution, and leaves all others alone.

Gaps between blocks are kept as two control characters until the end, when each run of them becomes
one blank line or one line break; so nothing inside a code block is ever reflowed.

Text is not escaped. People read these bodies and search them for words: a stray `*` that shows as
emphasis is a smaller harm than a backslash in every identifier. Links are kept as text, never
followed; previews that the server added under a message are left out, as they repeat its links.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

from quire.exchange.emoji import from_code

DEPTH_MAX = 40  # open elements; deeper ones are read as their text (browsers and people stop far earlier)
_LOOSE, _TIGHT = "\x02", "\x03"  # a blank line, a line break: before and after blocks

# A quoted value may hold a few `<`; the bounds keep a hostile text linear.
# `split` by it gives text, "/" or "", tag, attributes, text, ...
_TAG = re.compile(
    r"<(/?)([a-zA-Z][\w:-]*+)"
    r"((?:[^<>\"']++|\"[^\"<]*+(?:<[^\"<]*+){0,3}+\"|'[^'<]*+(?:<[^'<]*+){0,3}+'){0,60}+)>"
)
_ATTRIBUTE = re.compile(r"([\w:-]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")
_INLINE = re.compile(
    r"<br ?/?>[ \n]?"
    r"|<code>(?P<code>[^<]*)</code>"
    r"|<span class=\"user-(?:group-)?mention[^\"]*\" data-user-(?:group-)?id=\"[^\"]*\">"
    r"(?P<name>[^<]*)</span>"
    r"|<a href=\"(?P<href>[^\"<]*)\"(?: rel=\"[^\"<]*\")?(?: target=\"_blank\")?(?: title=\"[^\"<]*\")?>"
    r"(?P<text>[^<]*)</a>"
    r"|<a class=\"stream(?:-topic)?\"[^<>]*>(?P<stream>[^<]*)</a>"
    r"|<span (?:aria-label=\"[^\"<]*\" )?class=\"emoji emoji-(?P<emoji>[0-9a-f-]+)\"[^<>]*>[^<]*</span>"
    r"|<(?P<tag>strong|em|del)>(?P<words>[^<]*)</(?P=tag)>"
)
_SPACE = re.compile(r"[ \t\r\n\f]+")
_GAP = re.compile(r"[\x02\x03][\s\x02\x03]*")
_CONTROL = {2: "�", 3: "�"}
_COLOURED = re.compile(r"<pre>([^<]*+(?:</?span[^<>]*>[^<]*+)*+)")
_COLOUR = re.compile(r"</?span[^<>]*>")
_TICKS = re.compile(r"`+")
_LANGUAGE = re.compile(r"\blanguage-([\w+#.-]+)")
_QUOTE_CLASS = re.compile(r"(?<![\w-])quote(?![\w-])|quote-content")
_CODE_POINTS = re.compile(r"\bemoji-([0-9a-f]{2,6}(?:-[0-9a-f]{2,6})*)\b")
_EMOJI_NAME = re.compile(r"[A-Za-z0-9_+-]+")

_VOID = frozenset(["br", "img", "hr", "input", "meta", "link", "wbr", "col", "source", "area", "embed"])
_SKIP = frozenset(["script", "style", "head", "title", "mx-reply", "svg", "template"])
_SKIP_CLASS = re.compile(
    r"\b(?:message_inline_(?:image|video|ref)|message_embed|inline-preview-twitter|twitter-tweet"
    r"|youtube-video|katex-html|message-thumbnail-gallery|chatlog__edited-timestamp)\b"
)
_MARKS = {
    "strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~", "s": "~~", "strike": "~~",
}  # fmt: skip
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS = {
    "p": _LOOSE,
    "div": _TIGHT,
    "section": _TIGHT,
    "article": _TIGHT,
    "details": _TIGHT,
    "summary": _TIGHT,
}
_CLOSES = {  # an opening tag that ends an open one of these, unless the last of these is in between
    "p": (("p",), ("blockquote", "li", "td", "th", "div", "details")),
    "li": (("li",), ("ul", "ol")),
    "tr": (("tr", "td", "th"), ("table",)),
    "td": (("td", "th"), ("table", "tr")),
    "th": (("td", "th"), ("table", "tr")),
}


def to_markdown(html: str, *, preserve: bool = False) -> str:
    """The Markdown of an HTML fragment, without space around it.

    preserve    line breaks and runs of spaces in the text count (`white-space: pre-wrap`)
    """
    if _LOOSE in html or _TIGHT in html:
        html = html.translate(_CONTROL)
    if html.startswith("<p>") and html.endswith("</p>") and html.count("<") == 2:
        html = html[3:-4]  # most chat messages are one plain paragraph
    if "<" in html:
        simple = None if preserve else _simple(html)
        return _Reader(html, preserve).markdown() if simple is None else simple
    if not preserve and ("\n" in html or "  " in html):
        html = _SPACE.sub(" ", html)
    return (unescape(html) if "&" in html else html).strip()


def _simple(html: str) -> str | None:
    """The Markdown of paragraphs of text and flat inline elements; None if there is anything else."""
    if html.startswith("<p>") and html.endswith("</p>"):
        html = html[3:-4].replace("</p>\n<p>", _LOOSE)
    if ("\n" in html or "  " in html) and "<code" not in html:
        html = _SPACE.sub(" ", html)
    text = _INLINE.sub(_inline, html)
    if "<" in text or "\n" in text or "  " in text:
        return None
    if " \x02" in text or " \x03" in text:
        text = text.replace(" \x02", _LOOSE).replace(" \x03", _TIGHT)
    if "&" in text:
        text = unescape(text)
    return text.replace(_LOOSE, "\n\n").replace(_TIGHT, "\n").strip()


def _inline(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "code":
            return inline_code(found["code"])
        case "text":
            return link(found["text"], found["href"])
        case "words":
            return mark(found["words"], _MARKS[found["tag"]])
        case "name":
            return found["name"]
        case "stream":
            return found["stream"]
        case "emoji":
            return from_code(found["emoji"]) or found[0]
        case _:
            return _TIGHT


def link(text: str, url: str) -> str:
    """A Markdown link, or the bare address where the text says no more than it."""
    shown = text.strip()
    if not url or url.startswith(("javascript:", "#")):
        return text
    if not shown or shown == url:
        return url
    if url.startswith(("mailto:", "tel:")) and url.endswith(shown):
        return text
    if url.rstrip("/").removeprefix("https://").removeprefix("http://") == shown.rstrip("/"):
        return url
    if "[" in shown or "]" in shown:
        shown = shown.replace("[", r"\[").replace("]", r"\]")
    return f"[{shown}](<{url}>)" if " " in url or "(" in url or ")" in url else f"[{shown}]({url})"


def fence(code: str, language: str = "") -> str:
    """A code block that no run of backticks inside can end."""
    longest = max((len(run) for run in _TICKS.findall(code)), default=0) if "```" in code else 0
    marks = "`" * max(3, longest + 1)
    end = "" if code.endswith("\n") or not code else "\n"
    return f"{marks}{language}\n{code}{end}{marks}"


def inline_code(code: str) -> str:
    """A code span; the marks are longer than any run of backticks inside."""
    if "`" not in code:
        return f"`{code}`" if code else ""
    marks = "`" * (max(len(run) for run in _TICKS.findall(code)) + 1)
    return f"{marks} {code} {marks}"


def mark(text: str, sign: str) -> str:
    """`text` between two signs, the space at its ends outside; unchanged if blank or of several blocks."""
    inner = text.strip()
    if not inner or _LOOSE in text or _TIGHT in text:
        return text
    start = text.index(inner)
    return f"{text[:start]}{sign}{inner}{sign}{text[start + len(inner) :]}"


def quote(text: str) -> str:
    """`text` with `> ` before each line."""
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _settle(parts: list[str]) -> str:
    """The parts of one block as one text: each gap made, no space around."""
    text = "".join(parts)
    if _LOOSE in text or _TIGHT in text:
        text = text.strip(" \t\r\n\x02\x03")
        text = _GAP.sub(lambda gap: "\n\n" if _LOOSE in gap[0] else "\n", text)
    return text.strip()


class _Open:
    """An element that is open: what it is, and the Markdown inside it so far."""

    __slots__ = ("attributes", "parts", "state", "tag")

    def __init__(self, tag: str, attributes: str) -> None:
        self.tag = tag
        self.attributes = attributes
        self.parts: list[str] = []
        self.state = 0  # list: number of the last item; table row: cells; table: rows


class _Reader:
    def __init__(self, html: str, preserve: bool) -> None:
        if "<!" in html or "<?" in html:
            html = _without_comments(html)
        if "codehilite" in html:  # a tag for every word: cheaper gone before the cutting
            html = _COLOURED.sub(lambda block: "<pre>" + _COLOUR.sub("", block[1]), html)
        self.cut: list[str] = _TAG.split(html)
        self.preserve = preserve
        self.gap = _TIGHT if preserve else _LOOSE
        self.at = 0  # index in `cut` of the text after the tag in hand
        self.language = ""  # named by the element around the next code block
        self.open = [_Open("", "")]
        self.parts = self.open[0].parts

    def markdown(self) -> str:
        cut = self.cut
        self.text(cut[0])
        self.at = 4
        while self.at < len(cut):
            at = self.at
            tag = cut[at - 2].lower()
            if cut[at - 3]:
                self.end(tag)
            else:
                self.start(tag, cut[at - 1])
            if cut[self.at]:  # `start` may have gone further
                self.text(cut[self.at])
            self.at += 4
        while len(self.open) > 1:
            self.close()
        return _settle(self.open[0].parts)

    def text(self, text: str) -> None:
        if not self.preserve and ("\n" in text or "  " in text or "\t" in text):
            text = _SPACE.sub(" ", text)
            if text[0] == " " and (not self.parts or self.parts[-1].endswith("\n")):
                text = text[1:]
        if "&" in text:
            text = unescape(text)
        self.parts.append(text)

    def start(self, tag: str, attributes: str) -> None:
        if tag in _VOID:
            self.void(tag, attributes)
        elif tag in ("pre", "code", "tt"):
            self.verbatim(tag, attributes)
        elif tag in _SKIP or (attributes and _SKIP_CLASS.search(attributes)):
            self.skip(tag)
        elif len(self.open) <= DEPTH_MAX:
            if tag in _CLOSES:
                self.close_before(tag)
            if attributes and tag == "div" and "codehilite" in attributes:
                self.language = _attributes(attributes).get("data-code-language", "")
            opened = _Open(tag, attributes)
            self.open.append(opened)
            self.parts = opened.parts

    def end(self, tag: str) -> None:
        for index in range(len(self.open) - 1, 0, -1):
            if self.open[index].tag == tag:
                while len(self.open) > index:
                    self.close()
                return

    def close_before(self, tag: str) -> None:
        ended, bounds = _CLOSES[tag]
        for index in range(len(self.open) - 1, 0, -1):
            if self.open[index].tag in ended:
                while len(self.open) > index:
                    self.close()
            elif self.open[index].tag in bounds:
                return

    def close(self) -> None:
        element = self.open.pop()
        self.parts = self.open[-1].parts
        close = _CLOSE.get(element.tag)
        if close is None:
            self.parts.extend(element.parts)
        else:
            close(self, element)

    def block(self, text: str, gap: str = _LOOSE) -> None:
        if text:
            if self.parts:
                self.parts[-1] = self.parts[-1].rstrip()
            self.parts += (gap, text, gap)

    def void(self, tag: str, attributes: str) -> None:
        if tag == "br":
            if self.parts:
                self.parts[-1] = self.parts[-1].rstrip(" ")
            self.parts.append("\n")
        elif tag == "hr":
            self.block("---")
        elif tag == "img":
            self.parts.append(_image(_attributes(attributes)))

    def verbatim(self, tag: str, attributes: str) -> None:
        """Code: the texts up to its end tag, whatever tags stand between."""
        cut, texts, at = self.cut, [self.cut[self.at]], self.at + 4
        language = _LANGUAGE.search(attributes)
        block = tag == "pre" or "multiline" in attributes
        while at < len(cut):
            inner = cut[at - 2].lower()
            if inner == tag and cut[at - 3]:
                break
            if inner == "br":
                texts.append("\n")
            elif inner == "code" and language is None:
                language = _LANGUAGE.search(cut[at - 1])
            texts.append(cut[at])
            at += 4
        self.at = min(at, len(cut) - 1)
        if at >= len(cut):  # never closed: the last text is used already
            cut[-1] = ""
        code = unescape("".join(texts))
        if block:
            name = language[1] if language else self.language.lower()
            self.language = ""
            name = "" if name in ("plaintext", "none") else name
            self.block(fence(code.removeprefix("\n"), name), self.gap)
        else:
            self.parts.append(inline_code(code))

    def skip(self, tag: str) -> None:
        """Leave out an element with all that is in it."""
        cut, depth, at = self.cut, 1, self.at + 4
        while at < len(cut):
            if cut[at - 2].lower() == tag:
                depth += -1 if cut[at - 3] else 1
                if not depth:
                    self.at = at
                    return
            at += 4
        self.at = len(cut) - 1
        cut[-1] = ""

    # What each element adds to its parent when it closes.

    def close_marked(self, element: _Open) -> None:
        self.parts.append(mark("".join(element.parts), _MARKS[element.tag]))

    def close_block(self, element: _Open) -> None:
        text = _settle(element.parts)
        attributes = element.attributes
        if text and attributes and ("quote" in attributes or "spoiler" in attributes):
            if _QUOTE_CLASS.search(attributes):
                self.block(quote(text), _TIGHT)
                return
            if "spoiler-content" in attributes:
                text = f"||{text}||"
        self.block(text, _TIGHT if self.preserve else _BLOCKS[element.tag])

    def close_heading(self, element: _Open) -> None:
        text = _settle(element.parts).replace("\n", " ")
        self.block(_HEADINGS[element.tag] + text if text else "")

    def close_quote(self, element: _Open) -> None:
        text = _settle(element.parts)
        self.block(quote(text) if text else "", self.gap)

    def close_link(self, element: _Open) -> None:
        text = "".join(element.parts)
        attributes = _attributes(element.attributes)
        classes = attributes.get("class", "")
        if "stream" in classes or _LOOSE in text or _TIGHT in text:
            self.parts.append(text)  # a channel's name, a preview: the address leads nowhere outside
        else:
            self.parts.append(link(text, attributes.get("href", "")))

    def close_span(self, element: _Open) -> None:
        text, attributes = "".join(element.parts), element.attributes
        if not attributes:
            pass
        elif "emoji" in attributes:
            found = _CODE_POINTS.search(attributes)
            text = (from_code(found[1]) if found else "") or text
        elif "spoiler" in attributes:
            text = mark(text, "||")
        self.parts.append(text)

    def close_list(self, element: _Open) -> None:
        nested = any(outer.tag == "li" for outer in self.open)
        self.block(_settle(element.parts), _TIGHT if nested else _LOOSE)

    def close_item(self, element: _Open) -> None:
        parent = self.open[-1]
        sign = "- "
        if parent.tag == "ol":
            if not parent.state:
                start = _attributes(parent.attributes).get("start", "1")
                parent.state = int(start) - 1 if start.isdecimal() and len(start) < 9 else 0
            parent.state += 1
            sign = f"{parent.state}. "
        text = _settle(element.parts)
        self.block(sign + text.replace("\n", "\n" + " " * len(sign)), _TIGHT)

    def close_cell(self, element: _Open) -> None:
        text = _settle(element.parts).replace("\n", " ").replace("|", r"\|")
        self.open[-1].state += 1
        self.parts.append(f"| {text} ")

    def close_row(self, element: _Open) -> None:
        table = next((outer for outer in reversed(self.open) if outer.tag == "table"), self.open[-1])
        row = "".join(element.parts).strip() + " |"
        if element.state and not table.state:
            row += "\n" + "| --- " * element.state + "|"
        table.state += 1
        self.block(row if element.state else "", _TIGHT)

    def close_math(self, element: _Open) -> None:
        """MathML says it twice; the annotation has what was typed."""
        self.parts += [part for part in element.parts if part.startswith("$$")]

    def close_annotation(self, element: _Open) -> None:
        self.parts.append("$$" + "".join(element.parts).strip() + "$$")


_CLOSE: dict[str, Callable[[_Reader, _Open], None]] = {
    **dict.fromkeys(_MARKS, _Reader.close_marked),
    **dict.fromkeys(_HEADINGS, _Reader.close_heading),
    **dict.fromkeys(_BLOCKS, _Reader.close_block),
    "blockquote": _Reader.close_quote,
    "a": _Reader.close_link,
    "span": _Reader.close_span,
    "ul": _Reader.close_list,
    "ol": _Reader.close_list,
    "table": _Reader.close_list,
    "li": _Reader.close_item,
    "td": _Reader.close_cell,
    "th": _Reader.close_cell,
    "tr": _Reader.close_row,
    "math": _Reader.close_math,
    "annotation": _Reader.close_annotation,
}


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text):
        value = double or single or bare
        found.setdefault(name.lower(), unescape(value) if "&" in value else value)
    return found


def _image(attributes: dict[str, str]) -> str:
    alt = attributes.get("alt") or attributes.get("title") or ""
    if "data-mx-emoticon" in attributes or "emoji" in attributes.get("class", ""):
        return f":{alt}:" if _EMOJI_NAME.fullmatch(alt) else alt
    source = attributes.get("src", "")
    return f"![{alt}]({source})" if source and " " not in source else alt


def _without_comments(html: str) -> str:
    """`html` without comments, declarations and processing instructions; one left open hides the rest."""
    kept: list[str] = []
    at = 0
    while True:
        starts = [start for start in (html.find("<!", at), html.find("<?", at)) if start >= 0]
        if not starts:
            return "".join((*kept, html[at:]))
        start = min(starts)
        kept.append(html[at:start])
        closing = "-->" if html.startswith("<!--", start) else ">"
        end = html.find(closing, start)
        if end < 0:
            return "".join(kept)
        at = end + len(closing)
