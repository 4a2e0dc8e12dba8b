"""People on the command line: how one is named by who types, and shown to who reads.

A person is typed as the name they have here, as the start of their identity in hex, or as a key card or id: the text,
a file that holds it, or `-` for stdin. They are shown by name; where two have one name, the start of the identity
stands beside it, so that a name somebody gave themselves never passes for another's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli.text import line
from quire.errors import FormatError, MalformedError, NotFoundError, UsageError

if TYPE_CHECKING:
    from quire.cli.session import Session
    from quire.core.circle import MemberView
    from quire.core.ids import ChannelId, IdentityId

__all__ = ["Card", "PersonName", "given_text", "labels", "member_text", "name_of", "person", "short"]

PersonName = Annotated[
    str, typer.Argument(metavar="PERSON", help="A name, the start of an identity, or a key card.")
]
Card = Annotated[
    str, typer.Argument(metavar="CARD", help="A key card: a file, the text itself, or - (stdin).")
]
ID_CHARS = 8
TEXT_BYTES_MAX = 1 << 20  # of a file that should hold a line; the line's own limit says what is wrong
PREFIX = "quire:"


def short(identity: bytes) -> str:
    """The start of an identity, as people are shown it."""
    return identity.hex()[:ID_CHARS]


def labels(people: Iterable[tuple[bytes, str]]) -> dict[bytes, str]:
    """What to call each of these (identity, name): the name, and whose it is where two have it."""
    everyone = [(identity, line(name, 40)) for identity, name in people]
    taken = Counter(name.casefold() for _, name in everyone)
    return {
        identity: f"{name} {short(identity)}" if taken[name.casefold()] > 1 else name
        for identity, name in everyone
    }


def name_of(session: Session, identity: bytes) -> str:
    """What a person is called here, who need not be a member of anything."""
    from quire.channels.members import Names

    return Names(session.store)(identity)


def member_text(member: MemberView, label: str) -> str:
    """`Ada (you)`, `Bob (verified)`."""
    return label + (" (you)" if member.own else " (verified)" if member.verified else "")


def person(session: Session, typed: str, channel: ChannelId | None = None) -> IdentityId:
    """Who is meant. Raises: NotFoundError(rule="no_person"), UsageError(rule="person_ambiguous"), MalformedError."""
    from quire.core.crypto.cards import ID_PREFIX, parse_id

    text = typed.strip()
    if text.lower().startswith(ID_PREFIX):
        return parse_id(text)
    try:
        return session.manager.find_person(text, channel)
    except NotFoundError:
        if text != "-" and not Path(text).is_file():
            raise
    found = given_text(text)
    if not found.lower().startswith(PREFIX):
        raise MalformedError(
            "that file holds no key card", rule="card_form", hint="quire id --card FILE makes one"
        )
    return (
        parse_id(found)
        if found.lower().startswith(ID_PREFIX)
        else session.manager.find_person(found, channel)
    )


def given_text(typed: str) -> str:
    """A line that is too long to type: the text itself, what a file of that name holds, or stdin's."""
    text = typed.strip()
    if text.lower().startswith(PREFIX):
        return text
    if not text:
        raise UsageError(
            "nothing was given", rule="text_empty", hint="give the text, a file that holds it, or - for stdin"
        )
    try:
        if text == "-":
            data = sys.stdin.buffer.read(TEXT_BYTES_MAX)
        else:
            with Path(text).expanduser().open("rb") as file:
                data = file.read(TEXT_BYTES_MAX)
        return data.decode().strip()
    except UnicodeDecodeError:
        raise FormatError("that is no text", rule="not_utf8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or "not a file name"
        raise UsageError(
            f"cannot read {line(text, 80)}: {reason}",
            rule="file_unreadable",
            hint="give the text, a file that holds it, or - for stdin",
        ) from None
