"""What is done with people who are here: roles, removal, policies, keys, and the story of it. `ChannelManager` has it all.

Who is here is in channels/members.py, how they come in channels/inviting.py, what is carried in channels/bundles.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from quire.channels.inviting import Inviting
from quire.channels.members import PersonRef, as_role
from quire.core.control import POLICIES, ControlOperation, Policy, Role, Unban
from quire.core.ids import ChannelId
from quire.errors import UsageError
from quire.storage import log
from quire.storage.database import guarded

if TYPE_CHECKING:
    from quire.core.circle import ForkView, StoryLine
    from quire.core.membership import Graph


class People(Inviting):
    """What `ChannelManager` does with people."""

    # Roles, and putting out

    def set_role(self, channel: ChannelId | str, person: PersonRef, role: str) -> None:
        """Give a member another role. Raises: UnauthorisedError, naming the role that would do."""
        from quire.store import group

        id = self.resolve(channel)
        identity = self.find_person(person, id)
        self._act(id, lambda db, row, graph: group.set_role(db, row, graph, identity, as_role(role)))

    def promote_member(self, channel: ChannelId | str, person: PersonRef) -> str:
        """The next higher role; which it is."""
        return self._step(channel, person, 1)

    def demote_member(self, channel: ChannelId | str, person: PersonRef) -> str:
        """The next lower role; which it is."""
        return self._step(channel, person, -1)

    def _step(self, channel: ChannelId | str, person: PersonRef, by: int) -> str:
        id = self.resolve(channel)
        identity = self.find_person(person, id)
        role = self._state(id).role(identity)
        if role is Role.NONE or not Role.GUEST <= role + by <= Role.OWNER:
            raise UsageError(
                f"a {role.name.lower()} cannot be {'promoted' if by > 0 else 'demoted'}", rule="role_range"
            )
        new = Role(role + by).name.lower()
        self.set_role(id, identity, new)
        return new

    def remove_member(self, channel: ChannelId | str, person: PersonRef, *, reason: str = "") -> None:
        """Put somebody out; the channel's key changes with it. Raises: UnauthorisedError."""
        self._remove(channel, person, ban=False, reason=reason)

    def ban_member(self, channel: ChannelId | str, person: PersonRef, *, reason: str = "") -> None:
        """Put somebody out, and let nobody let them in again."""
        self._remove(channel, person, ban=True, reason=reason)

    def unban_member(self, channel: ChannelId | str, person: PersonRef) -> None:
        """Lift a ban; they are not in by that."""
        id = self.resolve(channel)
        identity = self.find_person(person, id)
        self._act(id, lambda db, row, graph: [Unban(identity)])

    def leave_channel(self, channel: ChannelId | str) -> None:
        """Go. What is here stays here."""
        from quire.store import group

        id = self.resolve(channel)
        self._act(id, lambda db, row, graph: group.remove(db, row, graph, self.identity, leaving=True))

    def _remove(self, channel: ChannelId | str, person: PersonRef, *, ban: bool, reason: str) -> None:
        from quire.store import group

        id = self.resolve(channel)
        identity = self.find_person(person, id)
        if identity == self.identity:
            raise UsageError("you cannot put yourself out", rule="remove_oneself", hint="`quire leave`")
        self._act(id, lambda db, row, graph: group.remove(db, row, graph, identity, ban=ban, reason=reason))

    @guarded
    def policies(self, channel: ChannelId | str) -> dict[str, int]:
        """Every policy of a channel: `post`, `pin`, `name`, `invite` (roles), `history`, `rotation` (ms)."""
        return self._state(channel).policies

    def set_policy(self, channel: ChannelId | str, name: str, value: int) -> None:
        """Change a policy. Raises: UnauthorisedError, UsageError(rule="policy_unknown" or "policy_range")."""
        if name not in POLICIES:
            raise UsageError(
                f"there is no policy {name}", rule="policy_unknown", hint=f"one of {', '.join(POLICIES)}"
            )
        self._act(self.resolve(channel), lambda db, row, graph: [Policy(name, value)])

    def rotate_key(self, channel: ChannelId | str) -> None:
        """A new key for the channel, now."""
        from quire.store import epochs

        def prepare(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> list[ControlOperation]:
            readers = epochs.recipients(db, row, graph.state, graph.state.epochs.expected())
            return epochs.rotation(db, row, graph, readers)

        self._act(self.resolve(channel), prepare)

    # The story

    @guarded
    def story(self, channel: ChannelId | str) -> list[StoryLine]:
        """What was done with people and keys, oldest first; what was void, and why."""
        from quire.channels.story import tell

        return tell(self.store, self.store.channel_row(self.resolve(channel)), self._names())

    @guarded
    def ending(self, channel: ChannelId | str) -> str:
        """How we came to be out of a channel, as in "Ada removed you (too loud)"; empty while we are in."""
        from quire.channels.story import ending

        return ending(self.store, self.store.channel_row(self.resolve(channel)), self._names())

    @guarded
    def forks(self, channel: ChannelId | str) -> list[ForkView]:
        """Logs that were continued twice, with the proof."""
        from quire.channels.story import forks

        return forks(self.store, self.store.channel_row(self.resolve(channel)), self._names())
