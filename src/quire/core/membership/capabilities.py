"""Who may do what: the one table of roles, and who outranks whom (docs/spec/06-membership.md, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable

from quire.core.control import Role
from quire.core.membership.model import Key

# Capability -> the least role that has it, or the policy that says which.
CAPABILITIES: dict[str, Role | str] = {
    "read": Role.GUEST,
    "leave": Role.GUEST,
    "devices": Role.GUEST,  # one's own
    "report": Role.GUEST,
    "rotate": Role.MEMBER,  # also seal and link: not by the policy, or a moderator could not remove
    "post": "post",
    "react": "post",
    "edit": "post",  # one's own
    "delete": "post",  # one's own
    "ask": "post",  # pass on that someone asks to be let in
    "delete_others": Role.MODERATOR,
    "pin": "pin",
    "name": "name",  # and topic
    "invite": "invite",  # and admit, decline, withdraw an invite
    "remove": Role.MODERATOR,  # those one outranks; also ban
    "set_role": Role.ADMIN,  # of those one outranks
    "unban": Role.ADMIN,
    "policy": Role.ADMIN,
}


def least_role(capability: str, policy: Callable[[str], int]) -> Role:
    """The least role that may."""
    least = CAPABILITIES[capability]
    return least if isinstance(least, Role) else Role(policy(least))


def outranks(role: Role, key: Key, other_role: Role, other_key: Key) -> bool:
    """A higher role outranks a lower; among admins and among owners the senior outranks the junior."""
    return role > other_role or (role == other_role and role >= Role.ADMIN and key < other_key)


def least_outranking(other_role: Role, is_senior: bool) -> Role:
    """The least role in which one would outrank somebody."""
    if is_senior and other_role >= Role.ADMIN:
        return other_role
    return Role(min(other_role + 1, Role.OWNER))
