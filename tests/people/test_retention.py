"""What a channel lets go, among people: who may say so, and that all come to the same."""

from __future__ import annotations

import pytest

from quire import Keeping
from quire.core.ids import ChannelId
from quire.errors import UnauthorisedError
from quire.testing.people import Person

DAY = 86_400_000
Trio = tuple[Person, Person, Person, ChannelId]


def test_who_may_not_set_policies_sets_none(trio: Trio) -> None:
    ada, bob, _, team = trio
    with pytest.raises(UnauthorisedError) as refused:
        bob.chat.set_retention(team, Keeping(DAY))
    assert refused.value.rule == "role_too_low"
    bob.chat.set_retention(team, Keeping(DAY), here=True)  # what they keep themselves is theirs to say
    assert bob.chat.get_retention(team).here == Keeping(DAY)
    assert ada.chat.get_retention(team).channel == Keeping()
