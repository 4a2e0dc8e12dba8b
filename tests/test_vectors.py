"""The golden vectors: every file has its named outcome, every rule its vector, and the script writes the same."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from quire.core import (
    bundle,
    bundle_file,
    commit,
    control,
    file_record,
    invite,
    operation,
    relay_frames,
    relay_items,
    sealed_file,
    segment,
    welcome,
)
from quire.core.crypto import cards, epochs, handshake, keys, link_code, linking, slots
from quire.core.limits import ATTACHMENT_TEXT_MAX, OPERATION_BYTES_MAX
from quire.core.operation import Attachment, Post
from quire.core.operation_form import encode_operation
from quire.errors import MalformedError
from quire.store import ingest, keeping, parking, placing, rights
from quire.sync import messages, session
from tests.vectors import FOLDER, READERS, VALID, load, outcome

ROOT = Path(__file__).parent.parent
FILES = sorted(FOLDER.glob("*/*.json"))
VECTORS_MIN = 300
# Rules that no bytes from outside can break: they speak to who encodes.
ENCODING_ONLY = {
    "operation_lone_surrogate",
    "derived_length",
    "key_length",
    "certificate_fields",
    "record_too_large",
    "file_size",
}
# Met only further on in a conversation: tests/core/test_linking.py; or only with a key: tests/core/test_keys.py.
LATER = {
    "code_spent",
    "linking_grant_early",
    "recipients_range",
    "linking_certificate",
    "slots_link",
    "too_many_logs",  # and channels: tests/sync/test_bounds.py
    "too_many_channels",
}
MODULES = (
    operation, control, commit, keys, slots, epochs, cards, invite, bundle, bundle_file, welcome, linking, link_code,
    sealed_file, segment, file_record, messages, session, relay_frames, relay_items, handshake,
)  # fmt: skip
RAISERS = ("_require", "require", "broken")
CODEC_RULES = (
    "operation", "head", "commit", "card_structure", "request_structure", "bundle_commits", "welcome_structure",
    "file_record_form", "sync_message", "relay_frame", "need_structure",
)  # fmt: skip
CODECS = {f"{codec}{suffix}" for codec in CODEC_RULES for suffix in ("", "_not_canonical")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_vector(path: Path) -> None:
    vector = load(path)
    assert (vector.kind, vector.name) == (path.parent.name, path.stem)
    assert outcome(vector) == vector.expect, vector.why


def test_there_are_many_and_most_are_wrong() -> None:
    vectors = [load(path) for path in FILES]
    assert len(vectors) >= VECTORS_MIN
    assert sum(vector.expect != VALID for vector in vectors) > len(vectors) / 2
    assert {vector.kind for vector in vectors} == set(READERS)


def test_every_rule_of_the_decoders_has_a_vector() -> None:
    reached = {load(path).expect for path in FILES}
    named = set(CODECS)
    for module in MODULES:
        named |= rules_of(str(module.__file__))
    # 2^80 work; 65,536 commits; a clock; a key that is not there
    unreachable = {"prefix_taken", "too_many_waiting", "founded_ahead", "epoch_key_unknown"}
    for module in (ingest, keeping, parking, placing, rights):
        named |= rules_of(str(module.__file__)) - unreachable
    assert len(named) > 50
    missing = named - reached - ENCODING_ONLY - LATER
    assert not missing


def rules_of(file: str) -> set[str]:
    """Rule names in a module: the text given to `require` or `broken`, and every `rule="…"`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(Path(file).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISERS:
            found |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
        if isinstance(node, ast.keyword) and node.arg == "rule" and isinstance(node.value, ast.Constant):
            found.add(str(node.value.value))
    return found


@pytest.mark.slow
@pytest.mark.bounded
def test_the_script_still_writes_the_same_files() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_vectors.py"), "--check"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_written_that_is_too_large_to_read() -> None:
    """Each field within its limit is not enough: the whole has one, too."""
    longest = "x" * ATTACHMENT_TEXT_MAX
    attachment = Attachment(longest, longest, longest)
    few = OPERATION_BYTES_MAX // (ATTACHMENT_TEXT_MAX * 3 + 16)
    assert len(encode_operation(Post("", attachments=(attachment,) * few))) <= OPERATION_BYTES_MAX
    with pytest.raises(MalformedError) as refused:
        encode_operation(Post("", attachments=(attachment,) * (few + 1)))
    assert refused.value.rule == "operation_too_large"
