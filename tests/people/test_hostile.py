"""What a liar can put into a bundle file or on a key card: it costs them, not the others."""

from __future__ import annotations

import pytest

from quire.core.bundle_file import Kind, Record
from quire.core.control import Device
from quire.core.crypto.cards import card_text, make_card
from quire.core.crypto.keys import Label, SigningKey, certify, consent_to
from quire.core.encoding import encode
from quire.core.ids import DeviceId, IdentityId
from quire.core.operation import Post
from quire.store import bundling, parking
from quire.store.carrying import Carried
from quire.testing.authors import Author
from quire.testing.people import meet
from tests.people.conftest import Make, team_of


def forged(owner: bytes, parts: tuple[tuple[int, bytes], ...]) -> bytes:
    """A self-channel in somebody's name, signed by a device of our own."""
    device = SigningKey(bytes(32))
    carried = encode(Carried(owner, 1, device.public, parts))
    return encode([carried, device.sign(Label.CARRIED.encode() + carried)])


def test_a_self_channel_inside_a_self_channel_inside_another_is_refused(people: Make) -> None:
    [ada] = people("ada")
    nested = b"x"
    for _ in range(2_000):  # deeper than Python's stack
        nested = forged(ada.identity, ((int(Kind.KEPT), nested),))
    before = ada.fingerprint()
    report = ada.take([Record(Kind.KEPT, nested)])
    assert [error.rule for error in report.refused] == ["carried_part"]
    assert ada.fingerprint() == before


def test_who_has_no_usable_key_on_their_card_stops_nobody_from_writing(people: Make) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    identity, device, sealing = SigningKey(b"i" * 32), SigningKey(b"d" * 32), b"\xff" * 1216
    who, now = IdentityId(identity.public), 1_700_000_000_000
    consent = consent_to(device, who, sealing, now)
    certificate = certify(identity, who, DeviceId(device.public), sealing, now, consent)
    entry = Device(certificate.encode(), sealing)
    ada.chat.add_member(team, card_text(make_card(who, [entry])))
    ada.chat.rotate_key(team)
    said = ada.say(team, "still here")
    meet(ada, bob)
    assert bob.chat.get_message(said).body == "still here"
    assert ada.store.verify().ok
    assert bob.store.verify().ok


def test_what_does_not_count_is_bounded_for_each_device(
    people: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "WAITING_PER_DEVICE_MAX", 3)
    [ada] = people("ada")
    founder, mallory = Author(seed=1), Author(seed=2)
    channel = founder.channel()
    theirs = mallory.pen(channel)
    commits = [channel.founding, channel.pen.admit(Author.of(ada.store)), channel.pen.admit(mallory)]
    theirs.see(channel.pen)
    removal = channel.pen.remove(mallory)
    ada.store.ingest([*commits, removal])
    reports = [ada.store.ingest([theirs.write(Post(f"after all {n}"))]) for n in range(5)]
    assert [report.new for report in reports] == [1, 1, 1, 0, 0]
    assert [one.error.rule for one in reports[-1].refused] == ["too_many_waiting"]
    assert ada.store.verify().ok


def test_a_self_channel_of_any_length_is_carried_and_what_is_replaced_stays_behind(
    people: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    said = [ada.say(team, str(n)) for n in range(40)]

    def carried() -> bytes:
        return bundling.carried(ada.store).data

    ada.chat.mark_read(team, said[0])
    before = len(carried())
    for id in said[1:]:
        ada.chat.mark_read(team, id)
    assert len(carried()) < before + 1_000  # one marker says where she is
    for id in said:
        ada.chat.bookmark(id)
    whole = len(carried())
    assert whole > before + 4_000  # each bookmark says something
    monkeypatch.setattr(bundling, "PART_BYTES", 2_000)
    monkeypatch.setattr(bundling, "CARRIED_BYTES", whole - 2_000)
    # The oldest stay behind, and it is written all the same.
    assert before - 2_000 < len(carried()) < whole - 2_000
    meet(ada, bob)
