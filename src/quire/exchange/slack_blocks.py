"""Slack's structured contents to Markdown: Block Kit blocks and the older message attachments.

People's messages carry their text twice, as mrkdwn and as a `rich_text` block that says the same; the
first is used. Apps often put everything into blocks, or into attachments, with `text` empty or a
summary for the notification: then these are the body. Unfurls, which Slack's servers added from a
link, are none of the author's words and are left out.
"""

from __future__ import annotations

from typing import Any

from quire.exchange.emoji import emoji, from_code
from quire.exchange.loose_json import mapping, sequence
from quire.exchange.slack_text import Names, link, to_markdown
from quire.exchange.text import clean, string

__all__ = ["attachments_to_markdown", "blocks_to_markdown", "has_app_content", "is_unfurl", "mentioned"]

DEPTH_MAX = 12  # of elements in elements; Slack's own editor stops at lists in lists

APP_BLOCKS = frozenset(["section", "header", "markdown", "table", "context"])


def has_app_content(blocks: list[Any]) -> bool:
    """Do the blocks hold more than a person's own rich text?"""
    return any(string(mapping(block).get("type")) in APP_BLOCKS for block in blocks)


def blocks_to_markdown(blocks: list[Any], names: Names) -> str:
    """All blocks, a blank line between."""
    parts = (_block(mapping(block), names) for block in blocks)
    return "\n\n".join(part for part in parts if part)


def _block(block: dict[str, Any], names: Names) -> str:
    match block.get("type"):
        case "rich_text":
            return _rich(sequence(block.get("elements")), names)
        case "section":
            fields = [_text(field, names) for field in sequence(block.get("fields"))]
            return "\n".join(part for part in (_text(block.get("text"), names), *fields) if part)
        case "header":
            title = _text(block.get("text"), names)
            return f"**{title}**" if title else ""
        case "markdown":
            return clean(string(block.get("text")))
        case "context":
            return " ".join(filter(None, (_text(item, names) for item in sequence(block.get("elements")))))
        case "image":
            title = _text(block.get("title"), names) or string(block.get("alt_text"))
            return link(string(block.get("image_url")), title)
        case "table":
            return _table(sequence(block.get("rows")), names)
        case "divider":
            return "---"
    return ""


def _text(value: object, names: Names) -> str:
    """A text object: mrkdwn or plain."""
    text = mapping(value)
    plain = string(text.get("text"))
    return to_markdown(plain, names) if text.get("type") == "mrkdwn" else plain


def _rich(elements: list[Any], names: Names, depth: int = 0) -> str:
    """The parts of a rich_text block: sections, lists, quotes and code, each from its own line."""
    parts: list[str] = []
    for item in map(mapping, elements):
        inner = sequence(item.get("elements"))
        match item.get("type"):
            case "rich_text_list":
                parts.append(_list(item, inner, names, depth))
            case "rich_text_preformatted":
                parts.append(f"```\n{_inline(inner, names, plain=True).strip(chr(10))}\n```")
            case "rich_text_quote":
                parts.append("> " + _inline(inner, names).replace("\n", "\n> "))
            case _:
                parts.append(_inline(inner, names).removesuffix("\n"))
    return "\n".join(parts)


def _list(item: dict[str, Any], entries: list[Any], names: Names, depth: int) -> str:
    indent = item.get("indent")
    margin = "    " * (min(indent, DEPTH_MAX) if type(indent) is int and indent > 0 else 0)
    ordered = item.get("style") == "ordered"
    offset = item.get("offset")
    first = 1 + (offset if type(offset) is int and 0 <= offset < 1_000_000 else 0)
    lines = []
    for number, entry in enumerate(entries, first):
        text = _rich([entry], names, depth + 1) if depth < DEPTH_MAX else ""
        lines.append(margin + (f"{number}. " if ordered else "- ") + text)
    return "\n".join(lines)


def _inline(elements: list[Any], names: Names, plain: bool = False) -> str:
    return "".join(_element(mapping(element), names, plain) for element in elements)


def _element(element: dict[str, Any], names: Names, plain: bool) -> str:
    kind = element.get("type")
    style = mapping(element.get("style"))
    if kind == "text":
        text = string(element.get("text"))
    elif kind == "link":
        url, label = string(element.get("url")), string(element.get("text"))
        text = (label or url) if plain else link(url, label)
    elif kind == "emoji":
        code = string(element.get("unicode"))
        text = (from_code(code) if code else "") or emoji(string(element.get("name")))
    elif kind in ("user", "channel", "usergroup", "broadcast", "date", "color", "team"):
        text = _reference(element, str(kind), names)
    else:
        text = string(element.get("text"))
    return text if plain else _styled(text, style)


def _reference(element: dict[str, Any], kind: str, names: Names) -> str:
    match kind:
        case "user":
            return "@" + names(string(element.get("user_id")), "")
        case "channel":
            return "#" + names(string(element.get("channel_id")), "")
        case "usergroup":
            return "@" + string(element.get("usergroup_id"))
        case "broadcast":
            return "@" + string(element.get("range"))
        case "date":
            return string(element.get("fallback")) or string(element.get("timestamp"))
    return string(element.get("value")) or string(element.get("team_id"))


def _styled(text: str, style: dict[str, Any]) -> str:
    inner = text.strip()
    if not style or not inner:
        return text
    start = text.index(inner)  # marks stand at the words, not at the spaces around them
    before, after = text[:start], text[start + len(inner) :]
    if style.get("code"):
        inner = f"`{inner}`"
    for name, mark in (("strike", "~~"), ("italic", "_"), ("bold", "**")):
        if style.get(name):
            inner = f"{mark}{inner}{mark}"
    return before + inner + after


def _table(rows: list[Any], names: Names) -> str:
    lines = []
    for row in rows:
        cells = [_cell(mapping(cell), names).replace("\n", " ") for cell in sequence(row)]
        lines.append("| " + " | ".join(cells) + " |")
        if len(lines) == 1:
            lines.append("|" + " --- |" * len(cells))
    return "\n".join(lines)


def _cell(cell: dict[str, Any], names: Names) -> str:
    if cell.get("type") == "rich_text":
        return _rich(sequence(cell.get("elements")), names)
    return string(cell.get("text"))


def mentioned(blocks: list[Any]) -> list[str]:
    """The ids of the people named in rich text."""
    found: list[str] = []
    stack = [(block, 0) for block in reversed(blocks)]
    while stack:
        value, depth = stack.pop()
        item = mapping(value)
        if item.get("type") == "user" and (user := string(item.get("user_id"))):
            found.append(user)
        if depth < DEPTH_MAX:
            stack.extend((child, depth + 1) for child in reversed(sequence(item.get("elements"))))
    return found


def is_unfurl(attachment: dict[str, Any]) -> bool:
    """Did Slack add this for a link in the text, rather than the author or an app?"""
    if attachment.get("is_share"):
        return False  # a message someone passed on: their words
    return bool(
        attachment.get("from_url")
        or attachment.get("original_url")
        or attachment.get("is_msg_unfurl")
        or attachment.get("is_app_unfurl")
        or attachment.get("app_unfurl_url")
    )


def attachments_to_markdown(attachments: list[dict[str, Any]], names: Names) -> str:
    """Message attachments that are contents: of apps, and messages passed on."""
    parts = []
    for attachment in attachments:
        body = _attachment(attachment, names)
        if attachment.get("is_share"):
            body = "> " + body.replace("\n", "\n> ")
        if body.strip():
            parts.append(body)
    return "\n\n".join(parts)


def _attachment(attachment: dict[str, Any], names: Names) -> str:
    def field(name: str) -> str:
        return to_markdown(string(attachment.get(name)), names)

    title, target = field("title"), string(attachment.get("title_link"))
    if title and target:
        title = link(target, title)
    lines = [field("pretext"), field("author_name"), title and f"**{title}**", field("text")]
    for value in map(mapping, sequence(attachment.get("fields"))):
        name, text = string(value.get("title")), to_markdown(string(value.get("value")), names)
        lines.append(f"**{name}**: {text}" if name else text)
    inner = blocks_to_markdown(sequence(attachment.get("blocks")), names)
    lines += [inner, string(attachment.get("image_url"))]
    body = "\n".join(line for line in lines if line)
    return body or field("fallback")
