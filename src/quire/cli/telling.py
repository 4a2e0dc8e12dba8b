"""What `quire up` says of what happens: a line for people, an object for scripts."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from quire.cli import records
from quire.cli.circle import not_let_in, ours
from quire.cli.text import bytes_text, line, plural
from quire.core.ids import MessageId, message_id_text

if TYPE_CHECKING:
    from quire.cli.session import Session
    from quire.node.node import NodeEvent

__all__ = ["Teller"]

COMING_S = 2.0  # between two lines about history that comes


class Teller:
    """Says what happens to one vault's node."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[bytes, str] = {}
        self._channels: dict[bytes, str] = {}
        self._at: dict[str, bytes] = {}  # address -> the device that was there last
        self._told_s = 0.0
        self._refused = session.manager.joining()
        self._roles = {info.id: info.role for info in session.manager.list_channels()}

    def say(self, event: NodeEvent) -> None:
        """One event."""
        if self._session.out.json:
            self._session.out.emit(
                {
                    "kind": event.kind, "address": event.address, "peer": event.peer.hex(), "new": event.new,
                    "given": event.given, "rule": event.rule, "again_s": round(event.again_s, 1),
                    "messages": {channel.hex(): count for channel, count in event.messages},
                    "message": message_id_text(MessageId(event.message)) if event.message else None,
                }
            )  # fmt: skip
        elif words := self._words(event):
            self._show(words)
        if event.kind == "synced" and event.new:
            self._say_roles()
        if event.kind == "synced":
            self._say_refusals()

    def _show(self, words: str) -> None:
        self._session.out.show(f"{datetime.now():%H:%M:%S}  {line(words, 200)}")

    def _say_roles(self) -> None:
        """Where we came in, got another role, or are out."""
        manager = self._session.manager
        for info in manager.list_channels():
            then, self._roles[info.id] = self._roles.get(info.id, ""), info.role
            if info.role != then:
                ending = manager.ending(info.id)
                if self._session.out.json:
                    self._session.out.emit(
                        {"kind": "role", "channel": info.id.hex(), "role": info.role, "ending": ending}
                    )
                else:
                    self._show(ours(line(info.name), then, info.role, ending))

    def _say_refusals(self) -> None:
        """Where we asked to be let in, and are not."""
        then, self._refused = self._refused, self._session.manager.joining()
        for one in self._refused:
            if one.refused and one not in then:
                if self._session.out.json:
                    self._session.out.emit({"kind": "not_let_in"} | records.joining(one))
                else:
                    self._show(not_let_in(one))

    def _words(self, event: NodeEvent) -> str:
        who = self._who(event)
        where = f" ({event.address})" if event.address not in ("", who) else ""
        again = f"; again in {event.again_s:.0f} s" if event.again_s else ""
        match event.kind:
            case "listening":
                return f"listening on {event.address}"
            case "connected":
                return f"{who}: connected{where}"
            case "synced":
                return f"{who}: {said}" if (said := self._brought(event)) else ""
            case "coming":
                return self._coming(who, event)
            case "file":
                return self._file(MessageId(event.message))
            case "refused":
                return f"{who}: refused something: {event.rule}"
            case "lost":
                return f"{who}: gone{where}: {event.rule}{again}"
            case "lan":
                return f"not on the local network: {event.rule}{again}"
            case "resumed":
                return "this machine was asleep: connecting anew"
        return event.kind

    def _file(self, message: MessageId) -> str:
        """`plan.pdf (12 kB) of mzxw-1042.17 is here`."""
        found = [view for view in self._session.manager.get_attachments(message) if view.state == "here"]
        names = ", ".join(f"{line(view.name, 60)} ({bytes_text(view.size_bytes or 0)})" for view in found)
        return (
            f"{names} of {self._session.short(message)} {'is' if len(found) == 1 else 'are'} here"
            if found
            else ""
        )

    def _brought(self, event: NodeEvent) -> str:
        """`3 messages in #team, 1 in #ops; 2 records given`."""
        came = ", ".join(
            f"{plural(count, 'message')} in #{self._channel(channel)}" for channel, count in event.messages
        )
        if not came and event.new:
            came = plural(event.new, "new commit")
        gave = f"{plural(event.given, 'record')} given" if event.given else ""
        return "; ".join(filter(None, (came, gave)))

    def _coming(self, who: str, event: NodeEvent) -> str:
        if time.monotonic() - self._told_s < COMING_S:
            return ""
        self._told_s = time.monotonic()
        from quire.channels.syncing import Syncing

        found = [one for one in Syncing(self._session.manager).status() if one.missing]
        left = ", ".join(f"#{line(one.name)} lacks {plural(one.missing, 'commit')}" for one in found[:5])
        return f"{who}: {plural(event.new, 'new commit')} so far" + (f"; {left}" if left else "")

    def _who(self, event: NodeEvent) -> str:
        """Whose device it is, by name; else where it is."""
        if event.peer and event.address:
            self._at[event.address] = event.peer
        peer = event.peer or self._at.get(event.address, b"")
        if not peer:
            return event.address
        if peer not in self._names:
            from quire.channels.standing import Standing

            found = Standing(self._session.manager).others()
            self._names |= {one.id: f"{one.name} (yours)" if one.own else one.name for one in found}
        return line(self._names.get(peer, "") or peer.hex()[:8], 40)

    def _channel(self, channel: bytes) -> str:
        if channel not in self._channels:
            self._channels |= {one.id: line(one.name) for one in self._session.manager.list_channels()}
        return self._channels.get(channel, channel.hex()[:8])
