"""Reading stored operations in Python alone gives what msgspec gives, for every post, edit and deletion there can be."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from quire.core import plain
from quire.core.encoding import encode
from quire.core.operation import KINDS, Attachment, Delete, Edit, File, Origin, Post
from quire.store.messages import DELETE, WITHOUT_TEXT

TEXT = (
    st.text(max_size=40)
    | st.integers(250, 260).map("x".__mul__)
    | st.integers(65_530, 65_540).map("x".__mul__)
)
NUMBER = st.integers(-(1 << 63), (1 << 64) - 1)
ID = st.none() | st.binary(min_size=16, max_size=16)
FILE = st.builds(File, st.binary(max_size=32), st.binary(max_size=300), st.sampled_from([b"", bytes(70_000)]))
ATTACHMENT = st.builds(Attachment, TEXT, TEXT, TEXT, st.none() | NUMBER, st.none() | FILE)
ORIGIN = st.builds(Origin, TEXT, TEXT, TEXT, NUMBER, st.none() | NUMBER)
SALT = b"\xc1" * 16


def many(one: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(one, max_size=3).map(tuple) | st.integers(14, 18).flatmap(
        lambda count: one.map(lambda it: (it,) * count)
    )


@settings(max_examples=150, deadline=None)
@given(st.builds(Post, TEXT, ID, ID, NUMBER, NUMBER, TEXT, many(ATTACHMENT), many(TEXT), st.none() | ORIGIN))
def test_a_post_is_the_one_that_was_written(post: Post) -> None:
    read = plain.plain_post(SALT + encode(post))
    assert [(name, getattr(read, name)) for name in post.__struct_fields__] == [
        (name, getattr(post, name)) for name in post.__struct_fields__
    ]
    assert [type(one) for one in read.attachments] == [Attachment] * len(post.attachments)
    assert type(read.origin) is type(post.origin)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=16, max_size=16), TEXT, st.none() | ORIGIN)
def test_an_edits_text_and_a_deletions_reason(target: bytes, text: str, origin: Origin | None) -> None:
    assert plain.edit_body(SALT + encode(Edit(target, target, text, origin))) == text
    assert plain.reason(SALT + encode(Delete(target, text, origin))) == text


def test_what_stands_for_operations_where_they_are_not_imported() -> None:
    assert KINDS[Delete] == DELETE
    assert bytes(16) + encode(Post("")) == WITHOUT_TEXT
