"""People on the command line: several vaults, files between them. CI runs the stories with a fresh process for each command."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from quire.core.membership.model import REFUSALS
from quire.core.membership.rules import RULES
from tests.cli.conftest import InProcess, Quire

People = dict[str, InProcess]
FRESH = pytest.mark.parametrize(
    "kind", [InProcess, pytest.param(Quire, marks=[pytest.mark.slow, pytest.mark.bounded])]
)
NAMES = ("Ada", "Bob", "Eve")


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """The folder of the people that each test has copies of."""
    folder = tmp_path_factory.mktemp("people")
    found = {}
    for name in NAMES:
        (folder / name).mkdir()
        found[name] = InProcess(folder / name, compiled)
        found[name]("init", "--name", name)
    found["Ada"]("channel", "create", "general")
    found["Ada"]("post", "general", "welcome")
    return folder


@pytest.fixture
def people(tmp_path: Path, founded: Path, compiled: Path) -> People:
    """Ada with a channel; Bob and Eve with empty vaults."""
    for name in NAMES:
        shutil.copytree(founded / name, tmp_path / name)
    return {name: InProcess(tmp_path / name, compiled) for name in NAMES}


def carry(sender: Quire, receiver: Quire, path: Path, *, code: int = 0) -> dict[str, object]:
    sender("bundle", "out", str(path))
    return dict(receiver("bundle", "in", str(path), "--json", code=code).json)


def link_of(ada: Quire, *options: str) -> str:
    return str(ada("invite", "general", *options, "--json").json["link"])


def let_in(people: People, name: str, path: Path, *options: str) -> None:
    link = link_of(people["Ada"], *options)
    people[name]("join", link, "--out", str(path))
    people["Ada"]("bundle", "in", str(path))
    carry(people["Ada"], people[name], path)


@FRESH
def test_create_invite_join_talk_promote_remove(
    tmp_path: Path, people: People, compiled: Path, kind: type[Quire]
) -> None:
    ada, bob = (kind(people[name].folder, compiled) for name in ("Ada", "Bob"))
    file = tmp_path / "x.bundle"
    (tmp_path / "link").write_text(link_of(ada))
    assert "asking to be let into #general" in bob("join", str(tmp_path / "link"), "--out", str(file)).out
    assert "you ask to be let into #general" in bob("requests").out
    assert ada("bundle", "in", str(file)).out == "0 new commits\nnew in #general: Bob\n"
    ada("bundle", "out", str(file))
    assert "you are in #general now: quire read general" in bob("bundle", "in", str(file)).out
    assert [one["body"] for one in bob("read", "general", "--json").json["messages"]] == ["welcome"]
    bob("post", "general", "glad to be here")
    assert carry(bob, ada, file)["new"]
    assert "glad to be here" in ada("read", "general").out
    assert ada("role", "general", "Bob", "moderator").out == "Bob is moderator of #general\n"
    carry(ada, bob, file)
    assert bob("role", "general", "Bob", "--json").json["role"] == "moderator"
    refused = bob("remove", "general", "Ada", "--yes", "--json", code=2).error
    assert (refused["rule"], refused["hint"]) == ("not_outranked", "it takes the role owner")
    assert refused["message"] == REFUSALS["not_outranked"]
    assert ada("remove", "general", "Bob", "--json", code=2).error["rule"] == "no_terminal"
    ada("remove", "general", "Bob", "--yes", "--reason", "moved on")
    assert [one["name"] for one in ada("members", "general", "--json").json["members"]] == ["Ada"]
    ada("post", "general", "only for who is in")
    carry(ada, bob, file)
    assert "only for who is in" not in bob("read", "general").out
    assert "Ada removed Bob (moved on)" in ada("log", "general").out


def test_requests_with_approval(tmp_path: Path, people: People) -> None:
    ada, bob, eve = people.values()
    file = tmp_path / "x.bundle"
    link = link_of(ada, "--approval", "--uses", "2")
    for one in (bob, eve):
        one("join", link, "--out", str(file))
        assert "asks to be a member of #general" in ada("bundle", "in", str(file)).out
    asked = ada("requests", "general", "--json").json["requests"]
    assert sorted(one["name"] for one in asked) == ["Bob", "Eve"]
    assert ada("requests", "--approve", "Bob", "--json", code=2).error["rule"] == "command_line"
    ada("requests", "general", "--approve", "Bob")
    ada("requests", "general", "--decline", "Eve")
    assert ada("requests", "--json").json == {"requests": [], "asked": []}
    ada("bundle", "out", str(file))
    told = "you are not let into #general: the request was declined, says "
    assert told in eve("bundle", "in", str(file)).out
    assert told not in eve("bundle", "in", str(file)).out
    assert told in eve("requests").out
    assert told in eve("status").out
    [asked] = eve("requests", "--json").json["asked"]
    assert (asked["refused"], len(asked["refused_by"]), asked["refused_at"] > asked["since"]) == (
        "declined",
        8,
        True,
    )
    eve("join", link, "--out", str(file))
    [asked] = eve("requests", "--json").json["asked"]
    assert (asked["refused"], asked["refused_by"], asked["refused_at"]) == (None, None, None)
    assert [one["name"] for one in ada("members", "general", "--json").json["members"]] == ["Ada", "Bob"]


def test_links_that_do_not_work(tmp_path: Path, people: People) -> None:
    ada, bob, _ = people.values()
    link = link_of(ada)
    broken = link[:40] + ("A" if link[40] != "A" else "B") + link[41:]
    assert bob("join", broken, "--json", code=5).error["rule"] == "invite_link_damaged"
    assert bob("join", "quire:join:", "--json", code=5).error["rule"] == "invite_link_damaged"
    assert bob("join", "quire:card:x", "--json", code=5).error["rule"] == "invite_link_form"
    assert bob("join", str(tmp_path / "none"), "--json", code=2).error["rule"] == "file_unreadable"
    old = link_of(ada, "--expires", "2001-01-01")
    assert bob("join", old, "--json", code=2).error["rule"] == "invite_expired"
    assert ada("join", link, "--json", code=2).error["rule"] == "member_exists"
    key = ada("invites", "general", "--json").json["invites"][0]["key"]
    assert f"{key[:8]}  anyone  member  0 of 1" in ada("invites", "general").out
    ada("uninvite", "general", key[:8])
    assert ada("invites", "general", "--json").json["invites"] == []
    file = tmp_path / "x.bundle"
    bob("join", link, "--out", str(file))
    report = ada("bundle", "in", str(file), "--json", code=1).json
    assert [one["rule"] for one in report["refused"]] == ["invite_withdrawn"]
    refused = "refused: Bob is not let into #general: the invite was withdrawn"
    assert refused in ada("bundle", "in", str(file), code=1).out
    assert (report["requests"], len(ada("members", "general", "--json").json["members"])) == (0, 1)
    ada("bundle", "out", str(file))
    report = bob("bundle", "in", str(file), "--json").json
    assert [one["refused"] for one in report["answers"]] == ["invite_withdrawn"]
    assert len(bob("requests", "--json").json["asked"]) == 1
    bob("join", link, "--cancel")
    assert bob("requests", "--json").json["asked"] == []


def test_bundles_that_are_damaged_or_a_stranger_s(tmp_path: Path, people: People) -> None:
    ada, bob, eve = people.values()
    file = tmp_path / "x.bundle"
    let_in(people, "Bob", file)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    done = bob("bundle", "in", str(file), code=5)
    assert "damaged: the file ends too early" in done.out
    file.write_text("no bundle")
    assert bob("bundle", "in", str(file), "--json", code=5).json["damaged"][0]["rule"] == "file_magic"
    file.write_bytes(data)
    assert eve("bundle", "in", str(file)).out == "nothing in it is for you\n"
    assert eve("channels", "--json").json["channels"] == []
    assert bob("bundle", "in", str(tmp_path / "none"), "--json", code=2).error["rule"] == "file_unreadable"
    assert (
        ada("bundle", "out", str(tmp_path / "no" / "x"), "--json", code=6).error["rule"] == "file_unwritable"
    )


def test_shapes(tmp_path: Path, people: People) -> None:
    ada, bob, _ = people.values()
    let_in(people, "Bob", tmp_path / "x", "--role", "guest", "--history", "joined")
    own, other = ada("members", "general", "--json").json["members"]
    assert {name: other[name] for name in ("name", "role", "history", "own", "verified")} == {
        "name": "Bob", "role": "guest", "history": "joined", "own": False, "verified": False,
    }  # fmt: skip
    assert (own["own"], own["role"], len(own["devices"])) == (True, "owner", 1)
    assert bob("post", "general", "x", "--json", code=2).error["rule"] == "role_too_low"
    story = ada("log", "general", "--json").json
    assert set(story["log"][0]) == {"time", "author", "text", "standing", "rule", "by", "role", "contested"}
    assert (story["log"][0]["text"], story["forks"]) == ("founded the channel general", [])
    policies = ada("policy", "general", "rotation", "14d", "--json").json["policies"]
    assert policies == {"rotation": 14 * 86_400_000}
    assert ada("policy", "general", "--json").json["policies"]["invite"] == "admin"
    for wrong, rule in (
        (("invite", "king"), "role_unknown"), (("rotation", "soon"), "duration_form"),
        (("history", "some"), "history_unknown"), (("nothing", "1"), "policy_unknown"),
    ):  # fmt: skip
        assert ada("policy", "general", *wrong, "--json", code=2).error["rule"] == rule
    assert ada("rotate", "general", "--json").json["rotated"] is True


def test_cards_and_safety_numbers(tmp_path: Path, people: People) -> None:
    ada, bob, _ = people.values()
    card = tmp_path / "bob.card"
    bob("id", "--card", str(card))
    assert "quire:card:" not in bob("id").out
    assert bob("id", "--card", "-").out == card.read_text() == bob("id", "--json").json["card"] + "\n"
    number = ada("id", "--safety", str(card), "--json").json["safety_number"]
    assert len(re.sub(r"\D", "", number)) == 60
    assert bob("id", "--safety", ada("id", "--json").json["id"], "--json").json["safety_number"] == number
    ada("add", "general", str(card))
    assert ada("id", "--verify", str(card), code=2).err.count("nobody is there to confirm it") == 1
    ada("id", "--verify", str(card), "--yes")
    ada("contact", bob("id", "--json").json["identity"][:8], "Robert")
    assert "Robert (verified)" in ada("members", "general").out
    ada("contact", "Robert", "--unverify")
    assert "(verified)" not in ada("members", "general").out
    assert "█" in bob("id", "--qr").out
    assert "too narrow" in bob("id", "--qr", COLUMNS="30").err
    assert ada("id", "--safety", "Nobody", "--json", code=3).error["rule"] == "no_person"


def test_two_of_one_name_are_told_apart(tmp_path: Path, people: People) -> None:
    ada, bob, eve = people.values()
    for one in (bob, eve):
        one("id", "--card", str(tmp_path / "card"))
        ada("add", "general", str(tmp_path / "card"))
        ada("contact", str(tmp_path / "card"), "Sam")
    for one in (bob, eve):
        assert f"Sam {one('id', '--json').json['identity'][:8]}" in ada("members", "general").out
    assert ada("role", "general", "Sam", "admin", "--json", code=2).error["rule"] == "person_ambiguous"


def test_leave_ban_unban(tmp_path: Path, people: People) -> None:
    ada, bob, _ = people.values()
    file = tmp_path / "x"
    let_in(people, "Bob", file)
    bob("leave", "general", "--yes")
    carry(bob, ada, file)
    assert len(ada("members", "general", "--json").json["members"]) == 1
    bob("id", "--card", str(file))
    ada("ban", "general", "Bob", "--yes")
    assert ada("add", "general", str(file), "--json", code=2).error["rule"] == "member_banned"
    ada("unban", "general", "Bob")
    ada("add", "general", str(file))
    assert len(ada("members", "general", "--json").json["members"]) == 2


@pytest.mark.timeout(120)
def test_who_is_put_out_lowered_and_let_in_again_is_told(tmp_path: Path, people: People) -> None:
    ada, bob, eve = people.values()
    path = tmp_path / "a.bundle"
    for name in ("Bob", "Eve"):
        let_in(people, name, path)

    def told(to: Quire) -> str:
        ada("bundle", "out", str(path))
        return to("bundle", "in", str(path)).out

    told(bob)
    ada("role", "general", "Eve", "moderator")
    assert "you are moderator of #general now" in told(eve)
    ada("remove", "general", "Bob", "--reason", "too loud", "--yes")
    ada("bundle", "out", str(path))
    changed = bob("bundle", "in", str(path), "--json").json["changed"]
    assert [(one["role"], one["ending"]) for one in changed] == [("none", "Ada removed you (too loud)")]
    assert "out of #general: " in told(eve)  # who never wrote has no name there
    assert "#general (out)" in bob("channels").out
    refused = bob("post", "general", "am I?", "--json", code=2).error
    assert (refused["rule"], "quire log" in refused["hint"]) == ("not_a_member", True)
    bob("id", "--card", str(tmp_path / "bob.card"))
    ada("add", "general", str(tmp_path / "bob.card"))
    assert "you are in #general again: quire read general" in told(bob)
    assert "new in #general: " in told(eve)
    assert "last_keyholder" in ada("leave", "general", "--yes", "--json").json
    assert "out of #general: Ada" in told(bob)


@FRESH
def test_link_and_revoke_and_recover(tmp_path: Path, compiled: Path, kind: type[Quire]) -> None:
    for name in ("old", "new", "later", "road"):
        (tmp_path / name).mkdir()
    old, new, later = (kind(tmp_path / name, compiled) for name in ("old", "new", "later"))
    words = old("init", "--name", "Ada", "--json").json["recovery_phrase"]
    old("channel", "create", "general")
    old("post", "general", "before")
    road, file = str(tmp_path / "road"), tmp_path / "x"
    for left in ("quire-link-3", ".quire-link-2.1.new"):  # of an attempt that was killed
        (tmp_path / "road" / left).write_bytes(b"left")
    host = subprocess.Popen(
        old.command("link", road, "--name", "laptop"), env=old.environment_with(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert host.stdout
    code = host.stdout.readline().removeprefix("code: ").strip()
    new("link", road, "--new", stdin=code.lower() + "\n")
    assert host.wait(30) == 0
    host.stdout.close()
    assert list((tmp_path / "road").iterdir()) == []
    assert re.search(r"laptop .* not yet", old("devices").out)
    carry(old, new, file)
    assert "before" in new("read", "general").out
    assert "laptop (this one)" in new("devices").out
    new("post", "general", "after")
    carry(new, old, file)
    assert "not yet" not in old("devices").out
    assert new("link", road, "--new", "--json", stdin=code, code=2).error["rule"] == "vault_exists"
    assert later("link", road, "--new", "--json", stdin="1234\n", code=2).error["rule"] == "code_form"
    old("revoke", "laptop", "--yes")
    assert [one["this"] for one in old("devices", "--json").json["devices"]] == [True]
    old("bundle", "out", str(file))
    assert "you are out of #general: this device was revoked" in new("bundle", "in", str(file)).out
    assert new("post", "general", "still?", "--json", code=2).error["rule"] == "author_revoked"
    assert "none of them any more" in new("devices").err
    (tmp_path / "words").write_text(words)
    with (tmp_path / "words").open() as given:
        fd = given.fileno()
        done = later("recover", str(file), "--passphrase-fd", str(fd), "--json", fds=(fd,))
    assert [(one["name"], one["messages"]) for one in done.json["channels"]] == [("general", 2)]
    assert "before" in later("read", "general").out


def test_every_rule_says_something_to_people() -> None:
    named = {rule.__name__ for rules in RULES.values() for rule in rules}
    assert len(named) > 30
    assert named <= set(REFUSALS)
    sources = Path(__file__).parent.parent.parent / "src" / "quire" / "core" / "membership"
    words = {
        word
        for name in ("judging", "standing", "content", "certificates")
        for word in re.findall(
            r'(?:void|Void|refusal|return)\(?\s*"([a-z_]+)"', (sources / f"{name}.py").read_text()
        )
    }
    assert {"forked", "grant_void", "device_unknown"} <= words
    assert words <= set(REFUSALS)


def test_what_is_easily_done_by_mistake(tmp_path: Path, people: People) -> None:
    """The only owner lowers herself; a number of uses that is none; no link at all; a name after a verification."""
    ada, bob, _ = people.values()
    assert ada("role", "general", "Ada", "guest", "--json", code=2).error["rule"] == "no_terminal"
    assert ada("role", "general", "Ada").out == "owner\n"
    assert ada("invite", "general", "--uses", "-1", "--json", code=2).error["rule"] == "invite_uses"
    assert bob("join", "", "--json", code=2).error["rule"] == "text_empty"
    card, file = tmp_path / "bob.card", tmp_path / "x.bundle"
    bob("id", "--card", str(card))
    ada("id", "--verify", str(card), "--yes")
    bob("join", link_of(ada), "--out", str(file))
    assert "new in #general: Bob\n" in ada("bundle", "in", str(file)).out
    assert "Bob (verified)" in ada("members", "general").out
    ada("role", "general", "Ada", "member", "--yes")
    assert ada("role", "general", "Ada").out == "member\n"
