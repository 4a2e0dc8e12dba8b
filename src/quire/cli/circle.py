"""What became of us and of the others in our channels while something was taken in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quire.cli import records
from quire.cli.naming import labels, short
from quire.cli.text import a_role, line

if TYPE_CHECKING:
    from rich.text import Text

    from quire.cli.session import Session
    from quire.core.circle import Joining, RequestView
    from quire.core.ids import ChannelId
    from quire.core.views import ChannelInfo

NAMES_MAX = 8  # of newcomers, in a line
REASONS = {  # why we are not let in, told to us
    "declined": "the request was declined",
    "member_banned": "you are banned from it",
    "invite_replayed": "you came by this invite before",
}


class Circle:
    """Who is in each of our channels at one moment, and in which role we are."""

    def __init__(self, session: Session) -> None:
        self._session = session
        manager = session.manager
        channels = manager.list_channels()
        self.names = {info.id: line(info.name) for info in channels}
        self.roles = {info.id: info.role for info in channels}
        self.endings = {id: manager.ending(id) for id in self.names}
        self.refused = {one.channel: one for one in manager.joining() if one.refused}
        self.people = {id: {one.identity: one.name for one in manager.members(id)} for id in self.names}

    def since(self, before: Circle) -> Iterator[Text]:
        """A line for each thing that has changed."""
        from rich.text import Text

        for id in self.names:
            if words := self._ours(id, before):
                yield words
            if id in before.names:
                yield from self._others(id, before)
        for id, asked in self.refused.items():
            if before.refused.get(id) != asked:
                yield Text(not_let_in(asked), "yellow")

    def changed(self, before: Circle) -> list[dict[str, str]]:
        """The same of ourselves, for scripts."""
        return [
            {"channel": id.hex(), "role": self.roles[id], "ending": self.endings[id]}
            for id in self.names
            if id in before.names and self.roles[id] != before.roles[id]
        ]

    def answers(self, before: Circle) -> list[records.Record]:
        """Where we asked to be let in and heard that we are not, for scripts."""
        return [records.joining(one) for id, one in self.refused.items() if before.refused.get(id) != one]

    def _ours(self, id: ChannelId, before: Circle) -> Text | None:
        from rich.text import Text

        words = ours(self.names[id], before.roles.get(id, ""), self.roles[id], self.endings[id])
        return Text(words, "yellow" if self.endings[id] else "green") if words else None

    def _others(self, id: ChannelId, before: Circle) -> Iterator[Text]:
        from rich.text import Text

        us = self._session.manager.identity
        now, then = self.people[id], before.people[id]
        came = [one for one in now if one not in then and one != us]
        went = [one for one in then if one not in now and one != us]
        named = labels({**then, **now}.items())
        if came:
            yield Text(f"new in #{self.names[id]}: {_list(came, named)}")
        if went:
            yield Text(f"out of #{self.names[id]}: {_list(went, named)}")


def not_let_in(asked: Joining) -> str:
    """That our request was refused, why, and by whom."""
    from quire.core.membership.model import REFUSALS

    rule = asked.refused
    why = REASONS.get(rule) or REFUSALS.get(rule) or rule.replace("_", " ")
    return f"you are not let into #{line(asked.name)}: {why}, says {line(asked.refused_by, 40)}"


def ours(channel: str, then: str, now: str, ending: str) -> str:
    """What has changed for us in a channel; `then` is "" if it was not here before."""
    if now == then:
        return ""
    if now == "none":
        return f"you are out of #{channel}: {line(ending, 200)}"
    if then in ("", "none"):
        return f"you are in #{channel} {'again' if then else 'now'}: quire read {channel}"
    return f"you are {now} of #{channel} now"


def _list(people: list[bytes], named: dict[bytes, str]) -> str:
    shown = ", ".join(named[one] for one in people[:NAMES_MAX])
    return shown + (f" and {len(people) - NAMES_MAX:,} more" if len(people) > NAMES_MAX else "")


def asking(session: Session) -> dict[tuple[ChannelId, bytes], tuple[ChannelInfo, RequestView]]:
    """Who asks to be let into our channels."""
    return {
        (info.id, one.identity): (info, one)
        for info in session.manager.list_channels()
        for one in session.manager.requests(info.id)
    }


def asked_for(session: Session, requests: list[tuple[ChannelInfo, RequestView]]) -> Iterator[Text | str]:
    """A line for each request, and what one may do about it."""
    from rich.text import Text

    for info, one in requests:
        who = f"{line(one.name, 40)} ({short(one.identity)})"
        yield Text(f"{who} asks to be {a_role(one.role)} of #{line(info.name)}", "yellow")
        if session.manager.can(info.id, "invite"):
            yield f"  quire requests {line(info.name)} --approve {short(one.identity)}"
