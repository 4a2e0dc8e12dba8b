"""The search language: words, "phrases", prefix*, -exclusions and filters.

    deploy "release notes" migrat* -draft from:ada in:#general after:2024-01-01 before:2024-03 has:link

Everything must hold (there is no `or`). Filters: from:, in:, before:, after:, has: (link, file, code,
thread, reaction, pin, edit, notice, mention). Dates are UTC: YYYY, YYYY-MM, YYYY-MM-DD or an ISO time; `after:` is from the
start of that time on, `before:` ends where it begins. Filter values may be quoted: from:"Ada L".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from quire.core import limits
from quire.core.words import index_text, words
from quire.errors import UsageError

HAS = ("link", "file", "code", "thread", "reaction", "pin", "edit", "notice", "mention", "reply", "bookmark")
_token = re.compile(
    r'(?P<minus>-)?(?:(?P<field>from|in|before|after|has):)?(?:"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+))(?P<star>\*)?',
    re.IGNORECASE,
)


class Term(msgspec.Struct, frozen=True):
    """Consecutive folded words; of a prefix term the last may go on."""

    words: tuple[str, ...]  # for highlighting
    text: str  # for the index, which cuts it as it cut the messages
    prefix: bool = False
    excluded: bool = False


class Query(msgspec.Struct, frozen=True):
    """A parsed search."""

    terms: tuple[Term, ...] = ()
    authors: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    before_ms: int | None = None  # exclusive
    after_ms: int | None = None  # inclusive


def parse_query(text: str) -> Query:
    """The query a person wrote. Raises: UsageError naming what is wrong with it."""
    if len(text) > limits.QUERY_CHARS_MAX:
        raise UsageError("the query is too long", rule="query_too_long", limit=limits.QUERY_CHARS_MAX)
    text = text.replace("\0", " ").encode("utf-8", "replace").decode()  # neither fits in an expression
    terms: list[Term] = []
    authors: list[str] = []
    channels: list[str] = []
    has: list[str] = []
    before_ms = after_ms = None
    for match in _token.finditer(text):
        field, quoted = (match["field"] or "").lower(), match["quoted"]
        value = quoted if quoted is not None else match["plain"]
        match field:
            case "from":
                authors.append(_filter_value(field, value).lstrip("@"))
            case "in":
                channels.append(_filter_value(field, value))
            case "has":
                has.append(_has(value.lower()))
            case "before":
                before_ms = min(before_ms or limits.TIME_MS_MAX, parse_date(value))
            case "after":
                after_ms = max(after_ms or 0, parse_date(value))
            case _:
                prefix = bool(match["star"]) or (quoted is None and value.endswith("*"))
                if found := tuple(words(value)):
                    terms.append(Term(found, index_text(value), prefix, bool(match["minus"])))
    if len(terms) + len(authors) + len(channels) + len(has) > limits.QUERY_TERMS_MAX:
        raise UsageError(
            "the query has too many terms", rule="query_too_many_terms", limit=limits.QUERY_TERMS_MAX
        )
    query = Query(tuple(terms), tuple(authors), tuple(channels), tuple(has), before_ms, after_ms)
    if query == Query():
        raise UsageError(
            "nothing to search for", rule="query_empty", hint="give a word, or a filter such as from:ada"
        )
    return query


def parse_date(text: str) -> int:
    """Unix ms of the start of YYYY, YYYY-MM, YYYY-MM-DD or an ISO time (UTC unless it says otherwise).

    Raises: UsageError(rule="date_form").
    """
    for form in (text, f"{text}-01", f"{text}-01-01"):
        try:
            moment = datetime.fromisoformat(form)
        except ValueError:
            continue
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, int(moment.timestamp() * 1000))
    raise UsageError(
        f"{text!r} is not a date",
        rule="date_form",
        hint="write 2024, 2024-05, 2024-05-17 or 2024-05-17T09:30",
    )


def _filter_value(field: str, value: str) -> str:
    if not value:
        raise UsageError(f"{field}: needs a value", rule="query_filter_empty")
    return value


def _has(value: str) -> str:
    value = {"attachment": "file", "links": "link", "files": "file", "reactions": "reaction"}.get(
        value, value
    )
    if value not in HAS:
        raise UsageError(f"has:{value} is not known", rule="query_has", hint=f"one of: {', '.join(HAS)}")
    return value
