"""The use cases of people for programs that run in an event loop: those of `People`, awaited."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from quire.channels.inviting import EXPIRES, History
from quire.channels.members import PersonRef
from quire.core.circle import (
    DeviceView,
    ForkView,
    InviteView,
    Joining,
    MemberView,
    RequestView,
    StoryLine,
)
from quire.core.ids import ChannelId, IdentityId
from quire.core.invite import InviteLink

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager
    from quire.store.unbundling import BundleReport

P = ParamSpec("P")
R = TypeVar("R")


class AsyncPeople:
    """What `AsyncChannelManager` does with people."""

    manager: ChannelManager

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        raise NotImplementedError

    @property
    def identity(self) -> IdentityId:
        return self.manager.identity

    async def key_card(self) -> str:
        return await self._run(self.manager.key_card)

    async def key_id(self) -> str:
        return await self._run(self.manager.key_id)

    async def safety_number(self, person: PersonRef) -> str:
        return await self._run(self.manager.safety_number, person)

    async def set_contact(
        self, person: PersonRef, *, name: str | None = None, verified: bool | None = None
    ) -> None:
        await self._run(self.manager.set_contact, person, name=name, verified=verified)

    async def members(self, channel: ChannelId | str) -> list[MemberView]:
        return await self._run(self.manager.members, channel)

    async def get_member_role(self, channel: ChannelId | str, person: PersonRef | None = None) -> str:
        return await self._run(self.manager.get_member_role, channel, person)

    async def is_admin(self, channel: ChannelId | str, person: PersonRef | None = None) -> bool:
        return await self._run(self.manager.is_admin, channel, person)

    async def can(self, channel: ChannelId | str, capability: str, person: PersonRef | None = None) -> bool:
        return await self._run(self.manager.can, channel, capability, person)

    async def is_last_keyholder(self, channel: ChannelId | str) -> bool:
        return await self._run(self.manager.is_last_keyholder, channel)

    async def find_person(self, person: PersonRef, channel: ChannelId | str | None = None) -> IdentityId:
        return await self._run(self.manager.find_person, person, channel)

    async def create_invite(
        self,
        channel: ChannelId | str,
        *,
        role: str = "member",
        uses: int = 1,
        expires: timedelta | datetime | None = EXPIRES,
        history: History | None = None,
        person: PersonRef | None = None,
        approval: bool = False,
    ) -> InviteLink:
        return await self._run(
            self.manager.create_invite,
            channel,
            role=role,
            uses=uses,
            expires=expires,
            history=history,
            person=person,
            approval=approval,
        )

    async def invites(self, channel: ChannelId | str) -> list[InviteView]:
        return await self._run(self.manager.invites, channel)

    async def withdraw_invite(self, channel: ChannelId | str, key: bytes | str) -> None:
        await self._run(self.manager.withdraw_invite, channel, key)

    async def add_member(
        self, channel: ChannelId | str, card: str, *, role: str = "member", history: History | None = None
    ) -> None:
        await self._run(self.manager.add_member, channel, card, role=role, history=history)

    async def join_channel(self, link: str, *, name: str = "") -> Joining:
        return await self._run(self.manager.join_channel, link, name=name)

    async def joining(self) -> list[Joining]:
        return await self._run(self.manager.joining)

    async def cancel_join(self, channel: ChannelId) -> None:
        await self._run(self.manager.cancel_join, channel)

    async def answer_request(self, sealed: bytes) -> bool:
        return await self._run(self.manager.answer_request, sealed)

    async def requests(self, channel: ChannelId | str) -> list[RequestView]:
        return await self._run(self.manager.requests, channel)

    async def approve(self, channel: ChannelId | str, person: PersonRef) -> None:
        await self._run(self.manager.approve, channel, person)

    async def decline(self, channel: ChannelId | str, person: PersonRef) -> None:
        await self._run(self.manager.decline, channel, person)

    async def set_role(self, channel: ChannelId | str, person: PersonRef, role: str) -> None:
        await self._run(self.manager.set_role, channel, person, role)

    async def promote_member(self, channel: ChannelId | str, person: PersonRef) -> str:
        return await self._run(self.manager.promote_member, channel, person)

    async def demote_member(self, channel: ChannelId | str, person: PersonRef) -> str:
        return await self._run(self.manager.demote_member, channel, person)

    async def remove_member(self, channel: ChannelId | str, person: PersonRef, *, reason: str = "") -> None:
        await self._run(self.manager.remove_member, channel, person, reason=reason)

    async def ban_member(self, channel: ChannelId | str, person: PersonRef, *, reason: str = "") -> None:
        await self._run(self.manager.ban_member, channel, person, reason=reason)

    async def unban_member(self, channel: ChannelId | str, person: PersonRef) -> None:
        await self._run(self.manager.unban_member, channel, person)

    async def leave_channel(self, channel: ChannelId | str) -> None:
        await self._run(self.manager.leave_channel, channel)

    async def policies(self, channel: ChannelId | str) -> dict[str, int]:
        return await self._run(self.manager.policies, channel)

    async def set_policy(self, channel: ChannelId | str, name: str, value: int) -> None:
        await self._run(self.manager.set_policy, channel, name, value)

    async def rotate_key(self, channel: ChannelId | str) -> None:
        await self._run(self.manager.rotate_key, channel)

    async def ending(self, channel: ChannelId | str) -> str:
        return await self._run(self.manager.ending, channel)

    async def story(self, channel: ChannelId | str) -> list[StoryLine]:
        return await self._run(self.manager.story, channel)

    async def forks(self, channel: ChannelId | str) -> list[ForkView]:
        return await self._run(self.manager.forks, channel)

    async def devices(self) -> list[DeviceView]:
        return await self._run(self.manager.devices)

    async def name_device(self, name: str, device: bytes | None = None) -> None:
        await self._run(self.manager.name_device, name, device)

    async def revoke_device(self, device: bytes, *, force: bool = False) -> None:
        await self._run(self.manager.revoke_device, device, force=force)

    async def write_bundle(
        self,
        path: str | os.PathLike[str],
        channels: Iterable[ChannelId | str] | None = None,
        *,
        files: bool = False,
    ) -> int:
        return await self._run(self.manager.write_bundle, path, channels, files=files)

    async def read_bundle(self, path: str | os.PathLike[str]) -> BundleReport:
        return await self._run(self.manager.read_bundle, path)
