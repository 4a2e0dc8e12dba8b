"""One person's devices: recovered from the words and any member's bundle file, linked by a short code, revoked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.bundle_file import Kind, Record
from quire.core.crypto.cards import parse_card
from quire.core.crypto.keys import decode_certificate
from quire.core.crypto.secrets import KeyFile
from quire.core.ids import ChannelId
from quire.errors import QuireError, UnauthorisedError, UsageError
from quire.storage.outside import create_key_file
from quire.store.linking import LinkGuest, LinkHost
from quire.store.local import LocalStore
from quire.testing.people import Person, carry, meet
from tests.people.conftest import Make, agree, sound, team_of
from tests.vaults import in_fresh_process

LOOK = """
from quire.core.ids import ChannelId
channel = ChannelId(bytes.fromhex(arguments[0]))
answer = {
    "bodies": [message.body for message in manager.get_stored_messages(channel)],
    "bookmarks": [message.body for message in manager.bookmarks()],
    "unread": manager.unread_counts()[channel][0],
    "role": manager.get_member_role(channel),
    "problems": [repr(problem) for problem in store.verify().problems],
}
"""


def key_file(folder: Path, name: str) -> KeyFile:
    create_key_file(folder / f"{name}.key")
    return KeyFile(str(folder / f"{name}.key"))


def linked(host: Person, folder: Path, name: str) -> Person:
    """A second device of `host`, linked by the code, with all that the first one has."""
    guest_key = key_file(folder, name)
    showing = LinkHost(host.store)
    typing = LinkGuest(showing.code.text())
    message = showing.grant(typing.offer(showing.answer(typing.start())), name=name)
    typing.finish(message, folder / name, guest_key)
    other = Person(host.name, LocalStore.open(folder / name, guest_key))
    other.take(host.give())
    return other


def test_a_burnt_vault_comes_back_from_the_words_and_another_members_file(
    people: Make, tmp_path: Path
) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    first = ada.say(team, "kept by others")
    bob_said = bob.say(team, "mine")
    meet(ada, bob)
    bob.chat.bookmark(first)
    bob.chat.mark_read(team, bob_said)
    phrase = bob.store.recovery_phrase
    assert phrase is not None
    meet(ada, bob)
    ada.say(team, "said after the fire")
    file = tmp_path / "from-ada.quire"
    file.write_bytes(ada.give(team))
    bob.store.close()
    shutil.rmtree(bob.store.folder)

    back = LocalStore.recover(tmp_path / "back", key_file(tmp_path, "back"), phrase, [file])
    recovered = Person("bob", back)
    seen = in_fresh_process(tmp_path / "back", LOOK, team.hex())
    assert seen == {
        "bodies": ["kept by others", "mine", "said after the fire"],
        "bookmarks": ["kept by others"],
        "unread": 1,
        "role": "member",
        "problems": [],
    }
    recovered.say(team, "i am back")
    meet(ada, recovered)
    assert ada.chat.get_stored_messages_paginated(team).messages[0].body == "i am back"
    assert [device.this for device in recovered.chat.devices()] == [True, False]  # senior to the burnt one
    recovered.chat.revoke_device(recovered.chat.devices()[1].id)
    assert [device.this for device in recovered.chat.devices()] == [True]
    back.close()


def test_words_without_a_file_of_ones_own_recover_nothing(people: Make, tmp_path: Path) -> None:
    ada, bob = people("ada", "bob")
    team_of(ada)
    phrase = bob.store.recovery_phrase
    assert phrase is not None
    file = tmp_path / "stranger.quire"
    file.write_bytes(ada.give())
    with pytest.raises(UsageError) as failure:
        LocalStore.recover(tmp_path / "back", key_file(tmp_path, "back"), phrase, [file])
    assert failure.value.rule == "recovery_nothing"
    assert not (tmp_path / "back").exists()
    assert not list(tmp_path.glob(".back*"))


def test_a_linked_device_reads_writes_and_is_named(people: Make, tmp_path: Path) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    ada.say(team, "before the link")
    laptop = linked(ada, tmp_path, "laptop")
    names = {device.name: device for device in laptop.chat.devices()}
    assert names["laptop"].this
    assert not names["laptop"].by_identity
    assert [message.body for message in laptop.chat.get_stored_messages(team)] == ["before the link"]
    laptop.say(team, "from the laptop")
    meet(bob, laptop)
    newest = bob.chat.get_stored_messages_paginated(team).messages[0]
    assert (newest.body, newest.author.id) == ("from the laptop", f"quire:{ada.identity.hex()}")
    ada.take(laptop.give())
    assert ada.chat.get_message(newest.id).author.own
    [seen] = [member for member in bob.chat.members(team) if member.identity == ada.identity]
    assert [device.name for device in seen.devices] == ["", ""]  # names of devices are their owner's alone
    assert in_fresh_process(tmp_path / "laptop", LOOK, team.hex())["problems"] == []

    with pytest.raises(UnauthorisedError) as refused:  # a thief at the laptop does not throw out the phone
        laptop.chat.revoke_device(ada.store.device)
    assert refused.value.rule == "device_senior"
    ada.chat.revoke_device(laptop.store.device)
    laptop.say(team, "after the theft")
    meet(ada, bob)
    bob.take(laptop.give())
    bodies = [message.body for message in bob.chat.get_stored_messages(team)]
    assert bodies == ["before the link", "from the laptop"]
    laptop.store.close()


def test_a_channel_of_one_device_is_there_on_all_whichever_founded_it(people: Make, tmp_path: Path) -> None:
    ada, bob = people("ada", "bob")
    laptop = linked(ada, tmp_path, "laptop")
    tablet = linked(laptop, tmp_path, "tablet")  # two certificates away from the words
    by_ada, by_tablet = (one.chat.create_channel(f"by {one}").id for one in (ada, tablet))
    tablet.say(by_tablet, "first")
    bob.chat.join_channel(tablet.chat.create_invite(by_tablet).text())
    meet(tablet, ada, laptop, bob)
    for one in (ada, laptop, tablet):
        one.say(by_ada, f"on device {one.store.device.hex()}")
        one.say(by_tablet, f"on device {one.store.device.hex()}")
    meet(ada, laptop, tablet, bob)
    assert bob.role(by_tablet) == "member"
    for channel in (by_ada, by_tablet):
        assert len(ada.reads(channel)) == 3 + (channel == by_tablet)
        agree(channel, ada, laptop, tablet, *([bob] if channel == by_tablet else []), fresh=ada)
    assert len(ada.chat.members(by_tablet)[0].devices) == 3

    ada.chat.revoke_device(laptop.store.device)
    meet(ada, tablet)
    alone = tablet.chat.create_channel("alone").id  # for which Ada's own device has vouched since
    bob.chat.join_channel(tablet.chat.create_invite(alone).text())
    meet(tablet, bob)
    assert bob.role(alone) == "member"
    laptop.store.close()
    tablet.store.close()


def test_who_alone_was_made_with_the_words_does_not_leave_the_others_without_a_voucher(
    people: Make, tmp_path: Path
) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    laptop = linked(ada, tmp_path, "laptop")
    meet(ada, laptop)
    before = ada.fingerprint()
    with pytest.raises(UsageError) as refused:
        ada.chat.revoke_device(ada.store.device)
    assert (refused.value.rule, ada.fingerprint()) == ("device_vouches", before)
    assert "quire recover" in refused.value.hint
    ada.chat.revoke_device(ada.store.device, force=True)
    laptop.take(ada.give())
    laptop.say(team, "I am known here, and nowhere else")
    with pytest.raises(UnauthorisedError):
        laptop.chat.create_channel("alone")
    laptop.store.close()


def test_who_is_alone_may_end_their_only_device(people: Make) -> None:
    [ada] = people("ada")
    ada.chat.revoke_device(ada.store.device)
    assert ada.chat.devices() == []


def test_a_device_whose_maker_ended_is_vouched_for_by_another(people: Make, tmp_path: Path) -> None:
    """The laptop made the tablet and ends itself. Until another device says so anew, nobody who does not know the tablet
    already has reason to believe that it is Ada's; then it is in every card, and wherever she goes."""
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    laptop = linked(ada, tmp_path, "laptop")
    tablet = linked(laptop, tmp_path, "tablet")
    meet(laptop, tablet)
    laptop.chat.revoke_device(laptop.store.device)
    tablet.take(laptop.give())
    with pytest.raises(UnauthorisedError) as refused:  # whose maker is revoked proves nothing to strangers
        tablet.chat.create_channel("alone")
    assert refused.value.rule == "certificate_chain"
    assert len(parse_card(tablet.chat.key_card()).devices) == 1
    meet(ada, laptop, tablet)
    meet(ada, tablet)
    for one in (ada, tablet):
        assert {decode_certificate(device.certificate).device for device in parse_card(one.chat.key_card()).devices} == {
            ada.store.device, tablet.store.device,
        }  # fmt: skip
    other = bob.chat.create_channel("other").id
    bob.chat.add_member(other, tablet.chat.key_card())
    meet(bob, ada, tablet)
    tablet.say(other, "here I am")
    tablet.say(team, "and here")
    meet(bob, ada, tablet)
    agree(other, bob, ada, tablet, fresh=ada)
    agree(team, bob, ada, tablet, fresh=ada)
    assert bob.reads(other) == ["here I am"]
    laptop.store.close()
    tablet.store.close()


def test_a_device_comes_into_a_channel_that_its_maker_was_never_in(people: Make, tmp_path: Path) -> None:
    """World 37: a channel is founded and a device ended before either hears of the other."""
    ada, bob = people("ada", "bob")
    team_of(ada, bob)
    laptop = linked(ada, tmp_path, "laptop")
    tablet = linked(laptop, tmp_path, "tablet")
    meet(ada, laptop, tablet)
    other = ada.chat.create_channel("other").id
    ada.chat.revoke_device(laptop.store.device)
    meet(ada, tablet)
    assert tablet.role(other) == "owner"
    ada.say(other, "for my devices")
    meet(ada, tablet)
    agree(other, ada, tablet, fresh=ada)
    laptop.store.close()
    tablet.store.close()


def test_a_wrong_code_links_nothing_and_is_spent(people: Make) -> None:
    [ada] = people("ada")
    showing, other = LinkHost(ada.store), LinkHost(ada.store)
    typing = LinkGuest(other.code.text())
    before = len(ada.chat.devices())
    with pytest.raises(UnauthorisedError) as failure:
        typing.offer(showing.answer(typing.start()))
    assert failure.value.rule == "code_wrong"
    with pytest.raises(QuireError):
        showing.answer(LinkGuest(showing.code.text()).start())
    assert len(ada.chat.devices()) == before
    assert ChannelManager(ada.store).store.verify().ok


def unread_by(person: Person, team: ChannelId) -> bool:
    """Is the key that the others write under one that a person has not?"""
    current = person.graph(team).state.epochs.current
    return current is not None and current.epoch not in person.keys(team)


def of_channel(person: Person, team: ChannelId) -> list[Record]:
    """A channel's records without anybody's self-channel: somebody else brought them."""
    return [one for one in person.records(team) if one.kind != Kind.KEPT]


@pytest.mark.parametrize("ends", ["phone", "laptop"])
def test_a_device_ended_where_it_was_known_gets_no_key_where_it_was_not(
    people: Make, tmp_path: Path, ends: str
) -> None:
    """Seeds 138 and 191 of the simulation: the laptop's self-channel has not heard of the tablet when it learns the key."""
    phone, bob = people("ada", "bob")
    team = team_of(phone, bob)
    laptop = linked(phone, tmp_path, "laptop")
    tablet = linked(phone, tmp_path, "tablet")
    laptop.take(of_channel(phone, team))
    ender = {"phone": phone, "laptop": laptop}[ends]
    ender.chat.revoke_device(tablet.store.device)
    laptop.take(of_channel(ender, team))
    laptop.say(team, "without the tablet")
    tablet.take(laptop.give())
    assert unread_by(tablet, team)
    meet(phone, laptop, tablet, bob)
    assert [one.store.device in {d.id for d in phone.chat.devices()} for one in (laptop, tablet)] == [
        True,
        False,
    ]
    laptop.say(team, "nor now")
    meet(phone, laptop, tablet, bob)
    assert unread_by(tablet, team)
    agree(team, phone, laptop)
    phrase = phone.store.recovery_phrase
    assert phrase is not None
    file = tmp_path / "from-bob.quire"
    file.write_bytes(bob.give(team))
    back = LocalStore.recover(tmp_path / "back", key_file(tmp_path, "back"), phrase, [file])
    assert Person("ada", back).reads(team) == [
        "without the tablet",
        "nor now",
    ]  # what was kept back was noted since
    for one in (back, laptop.store, tablet.store):
        one.close()


def test_a_device_that_came_to_its_end_writes_nothing_where_nobody_takes_it(
    people: Make, tmp_path: Path
) -> None:
    """Seed 139 of the simulation: it learned a key of a channel of its own and noted it where it is out."""
    (phone,) = people("ada")
    tablet = linked(phone, tmp_path, "tablet")
    phone.chat.create_channel("on the phone")
    alone = tablet.chat.create_channel("on the tablet").id
    phone.chat.revoke_device(tablet.store.device)
    tablet.take(phone.give())
    assert len(tablet.chat.devices()) == 1  # all but itself
    tablet.chat.rotate_key(alone)
    tablet.say(alone, "still here")
    sound(tablet)
    tablet.store.close()


def test_who_alone_has_shown_to_have_the_key_is_told_before_they_leave(people: Make, tmp_path: Path) -> None:
    """Bob's only device burns under a key that he never noted; if Ada went now, nobody would give it to him again."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = ada.chat.create_channel("team").id
    assert not ada.chat.is_last_keyholder(team)  # nobody is left behind
    bob.chat.join_channel(ada.chat.create_invite(team, uses=0).text())
    carol.chat.join_channel(ada.chat.create_invite(team, role="guest").text())
    carry(bob, ada)
    carry(carol, ada)
    assert ada.chat.is_last_keyholder(team)
    meet(ada, bob)
    bob.say(team, "I have it")
    meet(ada, bob)
    assert not ada.chat.is_last_keyholder(team)
    ada.chat.rotate_key(team)
    ada.say(team, "under a key that came to a burnt vault alone")
    assert ada.chat.is_last_keyholder(team)
