"""Slack's mrkdwn to Markdown.

Slack keeps a text with `&`, `<` and `>` as entities, so every `<...>` in it is a reference: a person
(`<@U1>`), a channel (`<#C1|name>`), a word to all (`<!here>`) or a link (`<url|label>`). These are taken
out first, so that no emphasis or emoji name is found inside a link, and put back last. Code is cut
out before that: in it only references and entities are resolved. As everywhere in imports, plain text is
not escaped (see `markup.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from quire.exchange.emoji import replace_shortcodes

__all__ = ["Names", "link", "mentions", "to_markdown"]

Names = Callable[[str, str], str]  # (id of a person or channel, label or "") -> the name to show

CODE = re.compile(r"```(.*?)```|`([^`\n]+)`", re.DOTALL)
REFERENCE = re.compile(r"<([^<>\n]{1,4000})>")
STASHED = re.compile(r"<(\d+)>")
MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")
# What may not stand before a mark is tested behind it: a pattern that begins with a letter is found faster.
BOLD = re.compile(r"\*(?<![\w*]\*)([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])")
STRUCK = re.compile(r"~(?<![\w~]~)([^\s~](?:[^~\n]*[^\s~])?)~(?![\w~])")
QUOTE = re.compile(r"^(?:&gt;|>) ?(?!&gt;&gt;|>>)", re.MULTILINE)
LONG_QUOTE = re.compile(r"^(?:&gt;&gt;&gt;|>>>) ?(.*)\Z", re.MULTILINE | re.DOTALL)
BULLET = re.compile(r"^( *)[•◦▪] *", re.MULTILINE)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
SPECIAL = re.compile(r"[<>&*~`:•◦▪]")


def to_markdown(text: str, names: Names) -> str:
    """The Markdown of a message's `text` field."""
    if SPECIAL.search(text) is None:
        return text
    if "`" not in text:
        return _prose(text, names)
    parts: list[str] = []
    end = 0
    for code in CODE.finditer(text):
        parts.append(_prose(text[end : code.start()], names))
        end = code.end()
        if code[1] is None:
            parts.append(f"`{_literal(code[2], names)}`")
        else:
            before = "" if not "".join(parts[-1:]) or parts[-1].endswith("\n") else "\n"
            after = "" if text[end : end + 1] in ("", "\n") else "\n"
            parts.append(f"{before}```\n{_literal(code[1], names).strip(chr(10))}\n```{after}")
    parts.append(_prose(text[end:], names))
    return "".join(parts)


def mentions(text: str) -> list[str]:
    """The ids of the people a text mentions."""
    return MENTION.findall(text) if "<@" in text else []


def link(url: str, label: str) -> str:
    """A Markdown link; the bare address where the label says no more than that."""
    bare = url.removeprefix("mailto:").removeprefix("tel:")
    if not label or label in (url, bare) or url.split("://", 1)[-1].rstrip("/") == label.rstrip("/"):
        return bare if label else url.removeprefix("mailto:")
    if SCHEME.match(url) is None:
        return f"{label} ({url})"
    label = label.replace("[", "(").replace("]", ")").replace("\n", " ")
    return f"[{label}]({url.replace(' ', '%20').replace('(', '%28').replace(')', '%29')})"


def _prose(text: str, names: Names) -> str:
    stash: list[str] = []

    def take(match: re.Match[str]) -> str:
        stash.append(_reference(match[1], names))
        return f"<{len(stash) - 1}>"

    if "<" in text:
        text = REFERENCE.sub(take, text)
    if ":" in text:
        text = replace_shortcodes(text)
    if "*" in text:
        text = BOLD.sub(_bold, text)
    if "~" in text:
        text = STRUCK.sub(_struck, text)
    if "&gt;" in text or ">" in text:
        text = LONG_QUOTE.sub(lambda quote: "> " + quote[1].replace("\n", "\n> "), text)
        text = QUOTE.sub("> ", text)
    if "•" in text or "◦" in text or "▪" in text:
        text = BULLET.sub(r"\1- ", text)
    text = _entities(text)
    return STASHED.sub(lambda match: _back(match, stash), text) if stash else text


def _bold(match: re.Match[str]) -> str:  # a function is faster than a template
    return f"**{match[1]}**"


def _struck(match: re.Match[str]) -> str:
    return f"~~{match[1]}~~"


def _back(match: re.Match[str], stash: list[str]) -> str:
    number = match[1]
    return stash[int(number)] if len(number) < 9 and int(number) < len(stash) else match[0]


def _literal(text: str, names: Names) -> str:
    """Code: references as the words they show, nothing else changed."""
    return _entities(REFERENCE.sub(lambda match: _reference(match[1], names, in_code=True), text))


def _entities(text: str) -> str:
    if "&" not in text:
        return text
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _reference(inner: str, names: Names, in_code: bool = False) -> str:
    """What `<inner>` stands for."""
    target, _, label = inner.partition("|")
    label = _entities(label.strip())
    mark = target[:1]
    if mark == "@":
        return "@" + names(target[1:], label.removeprefix("@"))
    if mark == "#":
        return "#" + names(target[1:], label.removeprefix("#"))
    if mark == "!":
        return _command(target[1:], label)
    if SCHEME.match(target) is None:
        return f"<{_entities(inner)}>"  # no reference: a tool that did not escape its text
    target = _entities(target.strip())
    if in_code:
        return label or target.removeprefix("mailto:")
    return link(target, replace_shortcodes(label))


def _command(command: str, label: str) -> str:
    """`<!here>`, `<!subteam^S1|@team>`, `<!date^1392734382^{date}|fallback>`."""
    word, _, rest = command.partition("^")
    if word == "date":
        return label or rest.partition("^")[0]
    if label:
        return label if word not in ("subteam", "here", "channel", "everyone") else "@" + label.lstrip("@")
    return "@" + (rest or word)
