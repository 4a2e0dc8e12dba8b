"""The flows of a group chat, as stories of people with a vault each, who give each other bundle files.

At the end of each all vaults verify, those who are in see one timeline and one membership, and so does a fresh process.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from quire.core.control import Role
from quire.core.ids import ChannelId
from quire.core.views import Event
from quire.errors import UnauthorisedError, UsageError
from quire.testing.people import Person, carry, meet
from tests.people.conftest import Make, agree, sound, team_of

Trio = tuple[Person, Person, Person, ChannelId]


def refused(attempt: object, rule: str) -> None:
    """An attempt of our own that our own vault does not let pass."""
    assert callable(attempt)
    with pytest.raises(UnauthorisedError) as caught:
        attempt()
    assert caught.value.rule == rule


# Talking


@pytest.mark.parametrize("count", [2, 3, 4, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.bounded])])
def test_everybody_joins_talks_and_one_is_put_out(people: Make, count: int) -> None:
    founder, *others = people(*(f"person {n}" for n in range(count)))
    team = founder.chat.create_channel("team", topic="work").id
    founder.say(team, "before anyone came")
    link = founder.chat.create_invite(team, uses=count).text()
    for one in others:
        one.chat.join_channel(link)
        assert [joining.name for joining in one.chat.joining()] == ["team"]
    meet(founder, *others)
    root = founder.say(team, "welcome")
    meet(founder, *others)
    for one in others:
        assert one.chat.joining() == []
        one.chat.send_message(team, f"reply by {one.name}", thread=root)
        one.chat.add_reaction(root, "👋")
        own = one.say(team, f"hello from {one.name}")
        one.chat.edit_message(own, f"hello, I am {one.name}")
    meet(founder, *others)
    agree(team, founder, *others)
    assert founder.reads(team)[:2] == ["before anyone came", "welcome"]
    [reaction] = founder.chat.get_reactions(root)
    assert reaction.count == count - 1
    assert founder.chat.get_thread_info(root).replies == count - 1
    assert {f"hello, I am {one.name}" for one in others} <= set(others[0].reads(team))

    promoted, removed = others[0], others[-1]
    assert founder.chat.promote_member(team, promoted.identity) == "moderator"
    assert founder.chat.promote_member(team, promoted.identity) == "admin"
    assert founder.chat.demote_member(team, promoted.identity) == "moderator"
    founder.chat.remove_member(team, removed.identity, reason="enough")
    founder.say(team, "secret")
    stay = [founder, *others[:-1]]
    meet(founder, *others)
    seen = removed.reads(team)
    assert "secret" not in seen
    assert removed.role(team) == "none"
    refused(lambda: removed.say(team, "still here"), "not_a_member")
    assert removed.reads(team) == seen
    if count > 2:
        assert promoted.role(team) == "moderator"
        promoted.say(team, "we go on")
        meet(*stay)
        assert founder.reads(team)[-2:] == ["secret", "we go on"]
    agree(team, *stay)
    sound(removed)


def test_a_fresh_member_sees_what_was_edited_pinned_and_deleted(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = ada.chat.create_channel("team").id
    first, second = ada.say(team, "one"), ada.say(team, "two")
    ada.chat.edit_message(first, "one, better")
    ada.chat.pin(first)
    ada.chat.delete_message(second)
    ada.chat.rename_channel(team, "crew")
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    assert bob.reads(team) == ["one, better", ""]
    assert [version.body for version in bob.chat.get_edit_history(first)] == ["one", "one, better"]
    assert [message.id for message in bob.chat.pinned(team)] == [first]
    assert bob.chat.get_channel(team).name == "crew"
    agree(team, ada, bob)


def test_one_may_be_in_who_never_meets_the_one_who_let_them_in(trio: Trio) -> None:
    """What Carol knows she has from Bob alone."""
    ada, bob, carol, team = trio
    ada.say(team, "by way of bob")
    carry(ada, bob)
    carry(bob, carol)
    assert carol.reads(team) == ["by way of bob"]
    carol.say(team, "back by the same way")
    carry(carol, bob)
    carry(bob, ada)
    agree(team, ada, bob, carol)


# Leaving and coming back


def test_let_in_again_after_a_removal(trio: Trio) -> None:
    ada, bob, carol, team = trio
    bob.say(team, "when I was here")
    meet(ada, bob, carol)
    ada.chat.remove_member(team, "bob")
    ada.say(team, "between")
    meet(ada, carol, bob)
    assert bob.reads(team) == ["when I was here"]
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, carol, bob)
    assert bob.role(team) == "member"
    assert bob.reads(team) == ["when I was here", "between"]
    bob.say(team, "here again")
    meet(ada, carol, bob)
    assert carol.reads(team) == ["when I was here", "between", "here again"]
    agree(team, ada, carol, bob)


def test_let_in_again_for_what_comes_only(trio: Trio) -> None:
    ada, bob, carol, team = trio
    ada.chat.remove_member(team, "bob")
    ada.say(team, "between")
    meet(ada, carol, bob)
    bob.chat.join_channel(ada.chat.create_invite(team, history="joined").text())
    meet(ada, bob, carol)
    ada.say(team, "after")
    meet(ada, bob, carol)
    assert bob.reads(team) == ["after"]
    agree(team, ada, carol)
    sound(bob)


def test_removed_while_offline(trio: Trio) -> None:
    """Bob writes on, not knowing; who knows of the removal takes none of it, who does not takes it out again."""
    ada, bob, carol, team = trio
    ada.chat.remove_member(team, "bob")
    bob.say(team, "nobody told me")
    carry(bob, carol)
    assert carol.reads(team) == ["nobody told me"]
    carry(ada, carol)
    assert carol.reads(team) == []
    carry(carol, ada)
    carry(bob, ada)
    assert ada.reads(team) == []
    carry(ada, bob)
    assert bob.role(team) == "none"
    agree(team, ada, carol)
    sound(bob)


def test_who_leaves_is_out_and_may_come_back(trio: Trio) -> None:
    ada, bob, carol, team = trio
    bob.chat.leave_channel(team)
    assert bob.role(team) == "none"
    carry(bob, ada)
    meet(ada, carol, bob)
    assert ada.role(team, bob) == "none"
    ada.say(team, "without bob")
    meet(ada, carol, bob)
    assert "without bob" not in bob.reads(team)
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob, carol)
    assert "without bob" in bob.reads(team)
    agree(team, ada, bob, carol)


def test_whoever_listens_hears_what_is_done_with_people_here_and_elsewhere(trio: Trio) -> None:
    ada, bob, carol, team = trio
    with ada.chat.events() as here, bob.chat.events() as there:
        ada.chat.promote_member(team, carol.identity)
        assert next(here) == Event("people", team)
        bob.take(ada.give())
        assert next(there) == Event("people", team)
        ada.say(team, "and this")
        bob.take(ada.give())  # nobody is someone else since
        assert next(there).kind == "message"


def test_the_last_owner_leaves_and_a_moderator_acts_as_owner(trio: Trio) -> None:
    ada, bob, carol, team = trio
    ada.chat.promote_member(team, "bob")
    meet(ada, bob, carol)
    refused(lambda: bob.chat.promote_member(team, carol.identity), "role_too_low")
    ada.chat.leave_channel(team)
    meet(ada, bob, carol)
    carry(ada, bob, carol)
    assert bob.chat.can(team, "set_role")
    assert bob.chat.promote_member(team, carol.identity) == "moderator"
    bob.chat.set_policy(team, "post", Role.MODERATOR)
    meet(bob, carol)
    assert carol.role(team) == "moderator"
    carol.say(team, "we manage")
    meet(bob, carol)
    agree(team, bob, carol)
    sound(ada)


def test_who_lets_somebody_in_and_leaves_brings_them_in_all_the_same(people: Make) -> None:
    """Nobody but Ada knows of Carol yet, and Bob is nowhere to be met."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    ada.say(team, "before")
    ada.chat.add_member(team, carol.chat.key_card())
    ada.chat.leave_channel(team)
    carol.take(ada.give())
    assert carol.role(team) == "member"
    assert carol.reads(team) == ["before"]
    carol.say(team, "after")
    meet(carol, bob)
    assert bob.reads(team) == ["before", "after"]
    agree(team, bob, carol)


@pytest.mark.parametrize("history", [None, "joined"])
def test_who_was_let_in_only_by_somebody_who_was_out_hears_it(people: Make, history: str | None) -> None:
    """Ada removes Bob while he lets Carol in. All that Carol has is his key; what ended it reaches her under that."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    ada.chat.set_role(team, bob.identity, "admin")
    meet(ada, bob)
    ada.chat.remove_member(team, bob.identity)
    bob.chat.add_member(team, carol.chat.key_card(), history=history)
    carol.take(bob.give())
    carol.say(team, "is anybody here?")
    assert carol.role(team) == "member"
    for source in (bob, carol):
        ada.take(source.give())
    assert ada.role(team, carol) == "none"
    ada.say(team, "among ourselves")
    carol.take(ada.give())
    assert carol.role(team) == "none"
    assert carol.reads(team) == []
    [verdict] = [one for one in carol.graph(team).story() if one.identity == bob.identity]
    assert (verdict.rule, verdict.contested) == ("removed_before", True)
    with pytest.raises(UnauthorisedError) as refused:
        carol.say(team, "nobody is")
    assert refused.value.rule == "not_a_member"
    bob.take(ada.give())
    assert bob.role(team) == "none"
    sound(ada, bob, carol)


# Invites


def test_a_one_time_invite_that_two_people_use(people: Make) -> None:
    ada, bob, carol = people("ada", "bob", "carol")
    team = ada.chat.create_channel("team").id
    link = ada.chat.create_invite(team, uses=1).text()
    bob.chat.join_channel(link)
    carol.chat.join_channel(link)
    assert carry(bob, ada)[0].requests == 1
    before = ada.digest(team)
    [report] = carry(carol, ada)
    assert [error.rule for error in report.refused] == ["invite_used_up"]
    assert ada.digest(team) == before
    meet(ada, bob)
    assert bob.role(team) == "member"
    assert carry(ada, carol)[0].new == 0
    assert [one.refused for one in carol.chat.joining()] == ["invite_used_up"]
    assert carol.reads(team) == []
    agree(team, ada, bob)


def test_a_one_time_invite_answered_twice_at_the_same_time(people: Make) -> None:
    """By two members who know nothing of each other; both admissions are void but one, everywhere the same."""
    ada, bob, carol, dave = people("ada", "bob", "carol", "dave")
    team = team_of(ada, bob, role="admin")
    link = ada.chat.create_invite(team, uses=1).text()
    meet(ada, bob)
    carol.chat.join_channel(link)
    dave.chat.join_channel(link)
    carry(carol, ada)
    carry(dave, bob)
    carry(ada, carol)
    carry(bob, dave)
    assert (carol.role(team), dave.role(team)) == ("member", "member")
    carol.say(team, "carol is in")
    dave.say(team, "dave is in")
    meet(ada, bob, carol, dave)
    carry(bob, carol, dave)
    assert (ada.role(team, carol), ada.role(team, dave)) == ("member", "none")  # Ada is the senior
    assert dave.role(team) == "none"
    assert ada.reads(team) == ["carol is in"]
    agree(team, ada, bob, carol)
    sound(dave)


def test_a_request_that_comes_again_lets_nobody_in_twice(trio: Trio, people: Make) -> None:
    ada, bob, carol, team = trio
    [dave] = people("dave")
    dave.chat.join_channel(ada.chat.create_invite(team, uses=0).text())
    request = dave.give()
    assert ada.take(request).requests == 1
    assert ada.take(request).ok
    meet(ada, bob, carol, dave)
    ada.chat.remove_member(team, "dave")
    before = ada.digest(team)
    assert [error.rule for error in ada.take(request).refused] == ["invite_replayed"]
    assert ada.digest(team) == before
    assert ada.role(team, dave) == "none"


def test_who_asks_waits_until_somebody_agrees(trio: Trio, people: Make) -> None:
    ada, bob, carol, team = trio
    dave, erin = people("dave", "erin")
    link = ada.chat.create_invite(team, uses=0, approval=True).text()
    meet(ada, bob, carol)
    for one in (dave, erin):
        one.chat.join_channel(link)
        carry(one, bob)  # a member may pass it on
    assert [request.name for request in bob.chat.requests(team)] == ["dave", "erin"]
    refused(lambda: bob.chat.approve(team, "dave"), "role_too_low")
    meet(ada, bob, carol)
    assert {request.identity for request in ada.chat.requests(team)} == {dave.identity, erin.identity}
    ada.chat.approve(team, dave.identity)
    ada.chat.decline(team, erin.identity)
    assert ada.chat.requests(team) == []
    meet(ada, bob, carol, dave)
    carry(ada, erin)
    assert dave.role(team) == "member"
    assert erin.reads(team) == []
    assert [joining.name for joining in erin.chat.joining()] == ["team"]
    agree(team, ada, bob, carol, dave)


def test_an_invite_that_was_withdrawn_or_has_expired(trio: Trio, people: Make) -> None:
    ada, _, _, team = trio
    [dave] = people("dave")
    invite = ada.chat.create_invite(team)
    dave.chat.join_channel(invite.text())
    ada.chat.withdraw_invite(team, invite.secret.key(team).public)
    assert [error.rule for error in carry(dave, ada)[0].refused] == ["invite_withdrawn"]
    late = ada.chat.create_invite(team, expires=timedelta(seconds=-1)).text()
    with pytest.raises(UsageError) as caught:
        dave.chat.join_channel(late)
    assert caught.value.rule == "invite_expired"
    assert ada.role(team, dave) == "none"


def test_an_invite_for_one_person_lets_in_nobody_else(trio: Trio, people: Make) -> None:
    ada, _, _, team = trio
    dave, erin = people("dave", "erin")
    link = ada.chat.create_invite(team, person=dave.chat.key_card()).text()
    erin.chat.join_channel(link)
    assert [error.rule for error in carry(erin, ada)[0].refused] == ["invite_personal"]
    dave.chat.join_channel(link)
    assert carry(dave, ada)[0].requests == 1
    meet(ada, dave)
    agree(team, ada, dave)


def test_let_in_by_a_card(trio: Trio, people: Make) -> None:
    ada, bob, carol, team = trio
    [dave] = people("dave")
    ada.chat.add_member(team, dave.chat.key_card(), role="guest")
    ada.say(team, "hello dave")
    meet(ada, bob, carol, dave)
    assert (dave.role(team), dave.reads(team)) == ("guest", ["hello dave"])
    agree(team, ada, bob, carol, dave)


# Roles, policies, bans


def test_a_guest_reads_and_does_not_write(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob, role="guest")
    said = ada.say(team, "read this")
    carry(ada, bob)
    assert bob.reads(team) == ["read this"]
    refused(lambda: bob.say(team, "and mine?"), "role_too_low")
    refused(lambda: bob.chat.add_reaction(said, "👍"), "role_too_low")
    refused(lambda: bob.chat.pin(said), "role_too_low")
    refused(lambda: bob.chat.create_invite(team), "role_too_low")
    refused(lambda: bob.chat.rename_channel(team, "mine"), "role_too_low")
    agree(team, ada, bob)


def test_policies_say_who_posts_pins_names_and_invites(trio: Trio) -> None:
    ada, bob, carol, team = trio
    refused(lambda: bob.chat.rename_channel(team, "bobs"), "role_too_low")
    refused(lambda: bob.chat.create_invite(team), "role_too_low")
    refused(lambda: bob.chat.set_policy(team, "post", Role.ADMIN), "role_too_low")
    ada.chat.set_policy(team, "name", Role.MEMBER)
    ada.chat.set_policy(team, "invite", Role.MEMBER)
    meet(ada, bob, carol)
    bob.chat.rename_channel(team, "ours")
    bob.chat.create_invite(team)
    ada.chat.set_policy(team, "post", Role.MODERATOR)
    ada.chat.set_policy(team, "pin", Role.MODERATOR)
    said = ada.say(team, "from above")
    meet(ada, bob, carol)
    refused(lambda: bob.say(team, "may I?"), "role_too_low")
    refused(lambda: bob.chat.pin(said), "role_too_low")
    ada.chat.promote_member(team, "bob")
    meet(ada, bob, carol)
    bob.say(team, "now I may")
    bob.chat.pin(said)
    meet(ada, bob, carol)
    assert carol.reads(team) == ["from above", "now I may"]
    assert carol.chat.get_channel(team).name == "ours"
    agree(team, ada, bob, carol)


def test_a_moderator_deletes_what_a_member_may_not(trio: Trio) -> None:
    ada, bob, carol, team = trio
    bad = carol.say(team, "a bad word")
    meet(ada, bob, carol)
    refused(lambda: bob.chat.delete_message(bad), "delete_not_author")
    ada.chat.promote_member(team, "bob")
    meet(ada, bob, carol)
    bob.chat.delete_message(bad, "rude")
    meet(ada, bob, carol)
    assert carol.reads(team) == [""]
    deletion = carol.chat.get_message(bad).deleted
    assert deletion is not None
    assert (deletion.reason, deletion.by.id) == ("rude", bob.store.own_key)
    agree(team, ada, bob, carol)


def test_who_is_banned_stays_out_until_the_ban_is_lifted(trio: Trio) -> None:
    ada, bob, carol, team = trio
    link = ada.chat.create_invite(team, uses=0).text()
    ada.chat.ban_member(team, "bob", reason="spam")
    meet(ada, carol, bob)
    bob.chat.join_channel(link)
    assert [error.rule for error in carry(bob, ada)[0].refused] == ["member_banned"]
    with pytest.raises(UnauthorisedError) as caught:
        ada.chat.add_member(team, bob.chat.key_card())
    assert caught.value.rule == "member_banned"
    ada.chat.unban_member(team, "bob")
    carry(bob, ada)
    meet(ada, carol, bob)
    assert bob.role(team) == "member"
    agree(team, ada, carol, bob)


def test_nobody_may_what_their_role_may_not(trio: Trio) -> None:
    ada, bob, carol, team = trio
    for rule, attempt in (
        ("not_outranked", lambda: bob.chat.remove_member(team, "carol")),
        ("not_outranked", lambda: bob.chat.promote_member(team, "carol")),
        ("role_raised_by_oneself", lambda: bob.chat.promote_member(team, bob.identity)),
        ("not_outranked", lambda: bob.chat.ban_member(team, "ada")),
        ("role_too_low", lambda: bob.chat.add_member(team, carol.chat.key_card())),
    ):
        before = bob.fingerprint()
        refused(attempt, rule)
        assert bob.fingerprint() == before
    ada.chat.set_role(team, "bob", "admin")
    meet(ada, bob, carol)
    refused(lambda: bob.chat.remove_member(team, ada.identity), "not_outranked")
    refused(lambda: bob.chat.demote_member(team, ada.identity), "not_outranked")
    refused(lambda: bob.chat.set_role(team, carol.identity, "owner"), "role_too_low")
    agree(team, ada, bob, carol)


# At the same time


def test_two_admins_remove_each_other_who_were_made_admins_by_seniors(people: Make) -> None:
    """Each was made an admin where the other was none, as far as either knew."""
    ada, bob, carol, dave = people("ada", "bob", "carol", "dave")
    team = team_of(ada, bob, carol, dave)
    ada.chat.set_role(team, "dave", "owner")
    meet(ada, bob, carol, dave)
    ada.chat.set_role(team, "bob", "admin")
    dave.chat.set_role(team, "carol", "admin")
    carry(ada, bob)
    carry(dave, carol)
    bob.chat.remove_member(team, "carol")
    carol.chat.remove_member(team, "bob")
    bob.say(team, "bob after")
    carol.say(team, "carol after")
    carry(bob, dave)
    carry(carol, dave, ada)
    meet(ada, bob, dave)
    carry(ada, carol)
    # Who made each an admin is senior to who put them out, and knew nothing of it: their word counts
    assert ada.roles(team)[bob.identity] == ada.roles(team)[carol.identity] == "admin"
    assert ada.reads(team) == ["bob after", "carol after"]
    assert len(ada.graph(team).state.contested) == 2
    carol.say(team, "no hard feelings")
    meet(ada, bob, dave, carol)
    agree(team, ada, bob, dave, carol)


def test_of_two_admins_who_know_of_each_other_the_junior_cannot_remove_the_senior(trio: Trio) -> None:
    ada, bob, carol, team = trio
    for name in ("bob", "carol"):
        ada.chat.set_role(team, name, "admin")
    meet(ada, bob, carol)
    carol.say(team, "before")
    refused(lambda: carol.chat.remove_member(team, "bob"), "not_outranked")
    bob.chat.remove_member(team, "carol")
    carol.say(team, "after")
    carry(carol, ada)
    meet(ada, bob, carol)
    assert carol.role(team) == "none"
    assert ada.reads(team) == []
    agree(team, ada, bob)
    sound(carol)


def test_an_admin_is_demoted_while_promoting_another(trio: Trio) -> None:
    ada, bob, carol, team = trio
    ada.chat.set_role(team, "bob", "admin")
    meet(ada, bob, carol)
    ada.chat.set_role(team, "bob", "member")
    bob.chat.set_role(team, "carol", "admin")
    bob.say(team, "a word of mine")
    carry(bob, carol)
    assert carol.role(team) == "admin"
    meet(ada, bob, carol)
    assert ada.roles(team) == {ada.identity: "owner", bob.identity: "member", carol.identity: "member"}
    assert carol.reads(team) == ["a word of mine"]  # content that a member may write stays
    agree(team, ada, bob, carol)


def test_a_removal_by_a_junior_comes_undone_when_a_senior_had_removed_them(trio: Trio) -> None:
    ada, bob, carol, team = trio
    ada.chat.set_role(team, "bob", "admin")
    meet(ada, bob, carol)
    carol.say(team, "do not lose this")
    meet(ada, bob, carol)
    bob.chat.remove_member(team, "carol")
    ada.chat.remove_member(team, "bob")
    carry(bob, carol)
    assert carol.role(team) == "none"
    carry(ada, carol)
    assert carol.role(team) == "member"
    carry(bob, ada)
    meet(ada, carol)
    carol.say(team, "I am back")
    meet(ada, carol)
    assert ada.reads(team) == ["do not lose this", "I am back"]
    agree(team, ada, carol)
