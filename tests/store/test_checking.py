"""Signed exports, checked with no vault: whole they are whole, and whatever is changed is named.

One export of a channel of two people, with an import, edits, reactions and a deletion, is made once; each test changes a
copy of it in one place.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.core.commit import Commit, decode_commit, encode_commit, peek_commit, with_salts
from quire.core.control import HASH_SIZE, Link, Seal, decode_control
from quire.core.crypto.cards import fingerprint
from quire.core.crypto.keys import SigningKey
from quire.core.operation import SALT_SIZE, Post, is_control
from quire.core.operation_form import encode_operation
from quire.core.retention import Keeping
from quire.errors import FormatError, UsageError
from quire.store import wallclock
from quire.store.checking import CheckReport, check_export
from quire.testing.people import Person, meet
from tests.people.conftest import team_of

Lines = list[dict[str, Any]]
LOG = '{"channel":"old","id":"1","time_ms":1000000,"author":"eve","body":"from the old chat"}\n'


class Made:
    """Two people, and what one of them exported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ada, self.bob = (Person.create(folder, name) for name in ("Ada", "Bob"))
        self.team = team_of(self.ada, self.bob)
        first = self.ada.say(self.team, "Lunch at noon?")
        meet(self.ada, self.bob)
        second = self.bob.chat.send_message(self.team, "Gladly", thread=first).id
        self.bob.chat.edit_message(second, "Gladly!")
        self.bob.chat.add_reaction(first, "👍")
        third = self.bob.say(self.team, "a slip")
        self.bob.chat.delete_message(third, "wrong channel")
        meet(self.ada, self.bob)
        self.ada.chat.pin(first)
        self.ada.say(self.team, "Good")
        (folder / "old.jsonl").write_text(LOG)
        self.ada.chat.import_(folder / "old.jsonl")
        self.file = folder / "signed.jsonl"
        self.ada.chat.export(self.file, signed=True)

    @property
    def lines(self) -> Lines:
        return [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    made = Made(tmp_path_factory.mktemp("signed"))
    yield made
    made.ada.store.close()
    made.bob.store.close()


@pytest.fixture
def check(tmp_path: Path) -> Callable[[Lines], CheckReport]:
    """Check these lines as a file, written as an export writes them."""

    def run(lines: Lines) -> CheckReport:
        path = tmp_path / "changed.jsonl"
        text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
        path.write_text(text, "utf-8")
        return check_export(path)

    return run


def messages(lines: Lines) -> Lines:
    return [line for line in lines if line["type"] == "message"]


def found(report: CheckReport) -> list[tuple[str, str]]:
    return [(problem.what, problem.detail) for problem in report.problems]


def test_an_export_is_as_it_was_signed(made: Made, check: Callable[[Lines], CheckReport]) -> None:
    """Who each author is, by the fingerprint of their key card; what was imported is somebody's word."""
    report = check(made.lines)
    assert found(report) == []
    assert (report.messages, report.channels) == (5, 2)
    signers = {signer.name: signer for signer in report.signers}
    assert (signers["Ada"].messages, signers["Ada"].imported) == (2, 1)
    assert (signers["Bob"].messages, signers["Bob"].imported) == (2, 0)
    assert signers["Bob"].fingerprint == fingerprint(made.bob.identity)
    assert report.exporter == fingerprint(made.ada.identity)


def test_nothing_stays_outside_and_no_vault_is_needed(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    assert check_export(made.file).ok
    assert list((tmp_path / "tmp").iterdir()) == []
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []


def test_no_sealed_key_is_handed_on(made: Made) -> None:
    """The vault has them, sealed to members' devices; the export has what they commit to."""
    rows: Any = made.ada.store.database.reader.execute("SELECT op FROM control").fetchall()
    sealed = [decode_control(op[SALT_SIZE:]) for (op,) in rows]
    assert any(isinstance(one, Seal) and len(one.keys[0].sealed) > HASH_SIZE for one in sealed)
    shown = [
        decode_control(operation[SALT_SIZE:])
        for line in commit_lines(made.lines)
        for operation in peek_commit(base64.b64decode(line["commit"]))[0].operations
        if is_control(operation[SALT_SIZE:])
    ]
    seals = [one for one in shown if isinstance(one, Seal)]
    assert seals
    assert {len(key.sealed) for one in seals for key in one.keys} == {HASH_SIZE}
    assert {len(one.sealed) for one in shown if isinstance(one, Link)} <= {HASH_SIZE}


MESSAGE_CHANGES: list[tuple[str, int, Any]] = [
    ("body", 0, "Lunch at one?"), ("time_ms", 0, 1_800_000_000_000), ("author", 0, "quire:" + "00" * 32),
    ("notice", 0, "join"), ("thread", 1, "aaaaaaaaaaaaaaaa-1.0"), ("title", 0, "Food"),
    ("reply_to", 0, "aaaaaaaaaaaaaaaa-1.0"), ("attachments", 0, [{"name": "x"}]), ("mentions", 0, ["irc:x"]),
    ("reactions", 0, [{"emoji": "👎", "authors": ["irc:x"]}]), ("edits", 1, [{"time_ms": 1, "body": "No"}]),
    ("edited_ms", 0, 5), ("deleted", 0, {"time_ms": 5}), ("pinned", 1, {"time_ms": 5}), ("broadcast", 0, True),
    ("action", 0, True), ("origin", 0, "7"),
]  # fmt: skip
ORDER = [
    "type", "channel", "id", "time_ms", "author", "body", "notice", "thread", "thread_time_ms", "title", "reply_to",
    "reply_to_time_ms", "attachments", "mentions", "reactions", "edits", "edited_ms", "deleted", "pinned", "broadcast",
    "action", "origin",
]  # fmt: skip


SLOW = (pytest.mark.slow, pytest.mark.bounded)  # each check makes a vault: 0.2 s
FAST = {"body", "author", "reactions"}


@pytest.mark.parametrize(
    ("field", "at", "value"),
    [pytest.param(*one, id=one[0], marks=() if one[0] in FAST else SLOW) for one in MESSAGE_CHANGES],
)
def test_a_changed_message_is_named_with_its_field(
    made: Made, check: Callable[[Lines], CheckReport], field: str, at: int, value: Any
) -> None:
    lines = made.lines
    team = [line for line in messages(lines) if line["channel"] == made.team.hex()]
    line = team[at]
    line[field] = value
    whole = {name: line[name] for name in ORDER if name in line}
    line.clear()
    line.update(whole)
    changed = [problem for problem in check(lines).problems if problem.what == "message_changed"]
    assert [(problem.where.split()[-1], problem.detail) for problem in changed] == [(line["id"], field)]


@pytest.mark.parametrize(
    "field",
    [
        "deleted",
        *(pytest.param(one, marks=SLOW) for one in ("reactions", "edits", "pinned", "origin", "thread")),
    ],
)
def test_what_is_left_out_is_missed(made: Made, check: Callable[[Lines], CheckReport], field: str) -> None:
    lines = made.lines
    line = next(line for line in messages(lines) if field in line)
    del line[field]
    assert ("message_changed", field) in found(check(lines))


def test_a_missing_an_invented_and_a_repeated_message(
    made: Made, check: Callable[[Lines], CheckReport]
) -> None:
    lines = made.lines
    gone = messages(lines)[1]
    without = [line for line in lines if line is not gone]
    report = check(without)
    named = [(problem.what, problem.where) for problem in report.problems]
    assert named[1:] == [("message_missing", gone["id"])]
    assert named[0][0] == "cut_short"  # the count of the last line
    invented = gone | {"id": "aaaaaaaaaaaaaaaa-1.0"}
    at = lines.index(gone)
    assert ("message_unsigned", "nobody signed this") in found(check([*lines[:at], invented, *lines[at:]]))
    assert ("message_repeated", "it stands twice") in found(check([*lines[:at], gone, *lines[at:]]))


def test_a_channel_an_author_and_an_end_that_were_changed(
    made: Made, check: Callable[[Lines], CheckReport]
) -> None:
    for kind, field, value, what in (
        ("channel", "topic", "x", "channel_changed"),
        ("author", "name", "Mallory", "author_changed"),
        ("author", "key", "irc:mallory", "author_changed"),
        ("end", "messages", 4, "cut_short"),
    ):
        lines = made.lines
        line = next(line for line in lines if line["type"] == kind)
        line[field] = value
        if field == "topic":
            line["kind"] = line.pop("kind", None)
            del line["kind"]
        assert what in [one for one, _ in found(check(lines))], kind
    assert ("cut_short", "the last line is missing") in found(check(made.lines[:-1]))


def commit_lines(lines: Lines) -> Lines:
    return [line for line in lines if line["type"] == "commit"]


def content(lines: Lines) -> list[tuple[dict[str, Any], Commit]]:
    """The commits that hold a post."""
    some = []
    for line in commit_lines(lines):
        commit, _ = peek_commit(base64.b64decode(line["commit"]))
        if isinstance(commit, Commit) and commit.operations[0][SALT_SIZE : SALT_SIZE + 2][1:] == b"\x01":
            some.append((line, commit))
    return some


def put(line: dict[str, Any], commit: Commit) -> None:
    line["commit"] = base64.b64encode(encode_commit(commit)).decode()


def test_a_changed_commit_is_refused(made: Made, check: Callable[[Lines], CheckReport]) -> None:
    """Another text, another signature, or both by somebody else's key."""
    for change in ("text", "signature", "flipped"):
        lines = made.lines
        line, commit = content(lines)[0]
        if change == "text":
            salted = with_salts([encode_operation(Post("Lunch at one?"))], lambda size: bytes(size))
            commit = Commit(commit.head, commit.signature, (salted[0], *commit.operations[1:]))
        elif change == "signature":
            commit = Commit(commit.head, SigningKey(bytes(32)).sign(commit.head), commit.operations)
        else:
            commit = Commit(
                commit.head[:-1] + bytes([commit.head[-1] ^ 1]), commit.signature, commit.operations
            )
        put(line, commit)
        report = check(lines)
        assert "commit_refused" in [what for what, _ in found(report)], change
        assert any(p.what == "message_unsigned" for p in report.problems)


def test_a_forged_message_needs_more_than_a_line(made: Made, check: Callable[[Lines], CheckReport]) -> None:
    """A stranger signs a commit of their own in Ada's channel, and adds its line."""
    lines = made.lines
    _, commit = content(lines)[0]
    _, head = decode_commit(encode_commit(commit))
    from quire.core import commit as commits
    from quire.core.ids import ChannelId, DeviceId, Incarnation, log_prefix, message_id, message_id_text

    key = SigningKey(b"\x07" * 32)
    salted = with_salts([encode_operation(Post("I owe you"))], lambda size: bytes(size))
    device, incarnation = DeviceId(key.public), Incarnation(bytes(16))
    forged = commits.build_head(
        channel=ChannelId(head.channel), device=device, incarnation=incarnation, seq=1, previous=b"",
        control_heads=head.control_heads, time=head.time, salted=salted,
    )  # fmt: skip
    signed = Commit(forged, key.sign(commits.to_be_signed(forged)), tuple(salted))
    line = messages(lines)[0]
    own = line | {
        "id": message_id_text(message_id(log_prefix(device, incarnation), 1, 0)),
        "body": "I owe you",
    }
    proof = {
        "type": "commit",
        "channel": line["channel"],
        "commit": base64.b64encode(encode_commit(signed)).decode(),
    }
    at, end = lines.index(line), lines.index(commit_lines(lines)[-1])
    report = check([*lines[:at], own, *lines[at:end], proof, *lines[end:]])
    assert ("commit_refused", "device_unknown") in found(report)
    assert ("message_unsigned", "nobody signed this") in found(report)


def test_what_is_cut_off_at_the_end_of_a_log_is_missed(
    made: Made, check: Callable[[Lines], CheckReport]
) -> None:
    """With its lines: nothing else than the exporter's seal says that it was there."""
    lines = made.lines
    last = next(line for line, commit in content(lines) if b"Good" in commit.operations[0])
    gone = next(line for line in messages(lines) if line["body"] == "Good")
    kept = [line for line in lines if line is not last and line is not gone]
    kept[-1]["messages"] -= 1
    problems = found(check(kept))
    assert {what for what, _ in problems} == {"commit_missing"}
    assert "commits; here it ends at" in problems[0][1]


def test_a_seal_that_is_gone_or_of_somebody_else(made: Made, check: Callable[[Lines], CheckReport]) -> None:
    lines = made.lines
    seal = next(line for line in lines if line["type"] == "seal")
    assert "seal_missing" in dict(found(check([line for line in lines if line is not seal])))
    statement = bytearray(base64.b64decode(seal["statement"]))
    statement[-1] ^= 1
    changed = seal | {"statement": base64.b64encode(statement).decode()}
    assert "seal_broken" in dict(found(check([changed if line is seal else line for line in lines])))
    header = lines[0] | {"exported_ms": 1}
    assert ("seal_broken", "it is of another export") in found(check([header, *lines[1:]]))


def test_a_line_that_two_readers_might_read_as_two_things(made: Made, tmp_path: Path) -> None:
    text = made.file.read_text("utf-8").replace('"body":"Good"', '"body":"Bad","body":"Good"')
    (tmp_path / "twice.jsonl").write_text(text, "utf-8")
    assert "line_broken" in dict(found(check_export(tmp_path / "twice.jsonl")))


@pytest.mark.parametrize("format", ["html", "markdown"])
def test_pages_show_what_was_signed(made: Made, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    made.ada.chat.export(out, format=format, signed=True)
    assert found(check_export(out)) == []
    page = next(
        path
        for path in sorted(out.rglob("*"))
        if path.is_file() and b"Lunch at noon?" in path.read_bytes() and path.suffix in (".html", ".md")
    )
    page.write_text(page.read_text("utf-8").replace("Lunch at noon?", "Lunch at one?"), "utf-8")
    (out / "extra.html").write_text("<script>")
    report = check_export(out)
    assert {(p.what, p.where) for p in report.problems} == {
        ("page_changed", str(page.relative_to(out))), ("page_unsigned", "extra.html"),
    }  # fmt: skip
    page.unlink()
    assert ("page_missing", "it was written") in found(check_export(out))
    shutil.rmtree(out)


def test_what_cannot_be_signed_or_checked(made: Made, tmp_path: Path) -> None:
    for wrong in ({"format": "csv"}, {"since": 5}):
        with pytest.raises(UsageError) as refused:
            made.ada.chat.export(tmp_path / "no", signed=True, **wrong)
        assert refused.value.rule == "export_signed"
    made.ada.chat.export(tmp_path / "plain.jsonl")
    (tmp_path / "junk").write_bytes(b"\x00\xff" * 100)
    for name in ("plain.jsonl", "junk"):
        with pytest.raises(FormatError) as no:
            check_export(tmp_path / name)
        assert no.value.rule == "not_signed"


def test_it_is_imported_like_any_other(made: Made, tmp_path: Path) -> None:
    person = Person.create(tmp_path, "Carol")
    summary = person.chat.import_(made.file)
    assert (summary.messages, summary.skipped, summary.warnings, summary.not_carried) == (5, 0, (), {})
    person.store.close()


def test_what_retention_took_is_not_missed(made: Made, tmp_path: Path) -> None:
    """A root that is gone is no reason for its replies to wait."""
    chat = made.ada.chat
    channel = chat.create_channel("short").id
    root = made.ada.say(channel, "the root")
    for n in range(4):
        chat.send_message(channel, f"reply {n}", thread=root)
    chat.export(tmp_path / "before.jsonl", ["short"], signed=True)
    chat.set_retention(channel, Keeping(count=3, exempt=0))
    chat.enforce_retention(channel)
    assert made.ada.reads(channel) == ["reply 1", "reply 2", "reply 3"]
    chat.export(tmp_path / "after.jsonl", ["short"], signed=True)
    for name, count in (("before", 5), ("after", 3)):
        report = check_export(tmp_path / f"{name}.jsonl")
        assert (found(report), report.messages) == ([], count)


def test_what_a_policy_would_take_by_now_is_still_checked(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = made.ada.chat
    channel = chat.create_channel("brief").id
    for n in range(5):
        made.ada.say(channel, f"message {n}")
    chat.set_retention(channel, Keeping(age_ms=60_000, exempt=0))
    chat.export(tmp_path / "old.jsonl", ["brief"], signed=True)
    later = wallclock.now_ms() + 86_400_000
    monkeypatch.setattr("quire.store.wallclock.now_ms", lambda: later)
    report = check_export(tmp_path / "old.jsonl")
    assert (found(report), report.messages) == ([], 5)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_export_is_never_taken_for_whole(made: Made, data: st.DataObject) -> None:
    """Any byte changed, left out or put in, any line moved: it is said, and nothing else happens."""
    whole = made.file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "put", "end"]))
    if how == "flip":
        changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    elif how == "cut":
        changed = whole[:at] + whole[at + data.draw(st.integers(1, 200)) :]
    elif how == "put":
        changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=50)) + whole[at:]
    else:
        changed = whole[:at]
    path = made.folder / "damaged.jsonl"
    path.write_bytes(changed)
    with contextlib.suppress(FormatError):  # its first line is no longer one
        assert not check_export(path).ok, (how, at)
