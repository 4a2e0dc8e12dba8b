"""Commits: the chain, the salted commitments, and that nothing is accepted but what was signed."""

from __future__ import annotations

import hashlib
import secrets
from itertools import pairwise

import pytest

from quire.core import commit
from quire.core.commit import Commit, commit_id, content_root, decode_commit, decode_head, encode_commit
from quire.core.control import Create
from quire.core.crypto.keys import verify
from quire.core.encoding import encode
from quire.core.operation import SALT_SIZE, Post
from quire.core.operation_form import encode_operation
from quire.errors import MalformedError
from quire.testing.authors import Author, Channel


@pytest.fixture
def channel() -> Channel:
    return Author(seed=4).channel()


def rule_of(data: bytes) -> str:
    with pytest.raises(MalformedError) as refusal:
        decode_commit(data)
    return refusal.value.rule


def test_a_commit_goes_through_its_bytes(channel: Channel) -> None:
    encoded = channel.pen.write(Post("a"), Post("b"))
    received, head = decode_commit(encoded)
    assert encode_commit(received) == encoded
    assert (head.seq, head.count, head.channel) == (2, 2, channel.id)
    assert verify(head.device, received.signature, commit.to_be_signed(received.head))


def test_commits_of_a_log_are_a_chain(channel: Channel) -> None:
    heads = [decode_commit(channel.pen.write(Post(str(n))))[0].head for n in range(3)]
    for before, after in pairwise(heads):
        assert decode_head(after).previous == commit_id(before) == hashlib.sha256(before).digest()
    assert decode_head(decode_commit(channel.founding)[0].head).previous == b""


def test_the_content_root_commits_to_each_operation_and_their_order() -> None:
    salted = commit.with_salts([b"one", b"two", b"three"], secrets.token_bytes)
    root = content_root(salted)
    commitments = b"".join(hashlib.sha256(one).digest() for one in salted)
    assert root == hashlib.sha256(commitments).digest()
    assert content_root(salted[::-1]) != root
    assert content_root(salted[:2]) != root
    assert content_root([salted[0][:-1] + b"E", *salted[1:]]) != root


def test_salts_are_drawn_anew_for_each_operation() -> None:
    salted = commit.with_salts([b"same"] * 100, secrets.token_bytes)
    assert len({one[:SALT_SIZE] for one in salted}) == 100
    assert all(one[SALT_SIZE:] == b"same" for one in salted)


def test_a_channel_is_named_by_the_operation_that_founds_it() -> None:
    creates = [Create("channel", "x", bytes([n]) * 16, Author(seed=1).entry) for n in range(2)]
    ids = {commit.channel_id(encode_operation(create)) for create in creates}
    assert len(ids) == 2
    assert hashlib.sha256(encode_operation(creates[0])).digest() not in ids  # a label keeps its hash apart


def test_every_changed_byte_is_refused_or_breaks_the_signature(channel: Channel) -> None:
    encoded = channel.pen.write(Post("hello"))
    for place in range(len(encoded)):
        changed = bytearray(encoded)
        changed[place] ^= 1
        try:
            received, head = decode_commit(bytes(changed))
        except MalformedError:
            continue
        assert not verify(head.device, received.signature, commit.to_be_signed(received.head)), place


def test_parts_that_do_not_fit_each_other(channel: Channel) -> None:
    received, _ = decode_commit(channel.pen.write(Post("a"), Post("b")))
    head, signature, (first, second) = received.head, received.signature, received.operations
    assert rule_of(encode(Commit(head, signature, (first,)))) == "count_differs"
    assert rule_of(encode(Commit(head, signature, (second, first)))) == "content_root_differs"
    assert rule_of(encode(Commit(head, signature, (first, second[:SALT_SIZE])))) == "operation_empty"
    assert rule_of(encode(Commit(head, signature[:-1], (first, second)))) == "signature_size"
    assert rule_of(encode(Commit(head, b"", (first, second)))) == "signature_size"
    assert rule_of(encode(Commit(b"", signature, (first, second)))) == "head"


def test_control_heads_are_sorted_whoever_writes_them(channel: Channel) -> None:
    channel.pen.control_heads = (b"b" * 32, b"a" * 32)
    _, head = decode_commit(channel.pen.write(Post("x")))
    assert head.control_heads == (b"a" * 32, b"b" * 32)


def test_a_signature_is_for_commits_only(channel: Channel) -> None:
    received, head = decode_commit(channel.founding)
    assert not verify(head.device, received.signature, received.head)
    assert not verify(head.device, received.signature, b"quire/v1 device certificate" + received.head)
