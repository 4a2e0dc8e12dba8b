"""Slack's mrkdwn and blocks as Markdown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.exchange.slack_blocks import (
    attachments_to_markdown,
    blocks_to_markdown,
    has_app_content,
    is_unfurl,
    mentioned,
)
from quire.exchange.slack_text import mentions, to_markdown

KNOWN = {"U1": "Ana", "C1": "garden"}


def names(key: str, label: str) -> str:
    return KNOWN.get(key) or label or key


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("plain", "plain"),
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("*bold* _it_ ~gone~ `co*d*e`", "**bold** _it_ ~~gone~~ `co*d*e`"),
        ("*_both_*", "**_both_**"),
        ("2*3*4 and a ~ b ~ c", "2*3*4 and a ~ b ~ c"),
        ("*two words*, *more*", "**two words**, **more**"),
        ("* not bold *", "* not bold *"),
        ("<@U1> and <@U2|bo> and <@U3>", "@Ana and @bo and @U3"),
        ("<#C1|old-name> <#C2|den> <#C3|> <#C4>", "#garden #den #C3 #C4"),
        ("<!here> <!channel|channel> <!everyone> <!subteam^S1|@growers> <!subteam^S2>",
         "@here @channel @everyone @growers @S2"),
        ("<!date^1392734382^{date_num}|2014-02-18>", "2014-02-18"),
        ("<http://a.b/c_d_e>", "http://a.b/c_d_e"),
        ("<http://a.b|the *site*>", "[the *site*](http://a.b)"),
        ("*<http://a.b|site>*", "**[site](http://a.b)**"),
        ("<http://a.b/?x=1&amp;y=2|x &amp; y>", "[x & y](http://a.b/?x=1&y=2)"),
        ("<http://a.b/|a.b>", "http://a.b/"),
        ("<http://a.b|[x]>", "[(x)](http://a.b)"),
        ("<http://a.b/(c)|x>", "[x](http://a.b/%28c%29)"),
        ("<mailto:a@b.c|a@b.c> <mailto:a@b.c>", "a@b.c a@b.c"),
        ("<tel:+123|+123>", "+123"),
        (":tada: :own: 10:30:45 <http://h/:tada:>", "🎉 :own: 10:30:45 http://h/:tada:"),
        ("&gt; one\n&gt;two\nthree", "> one\n> two\nthree"),
        ("a\n&gt;&gt;&gt; b\nc", "a\n> b\n> c"),
        ("• one\n  ◦ two", "- one\n  - two"),
        ("```x = 1\ny```", "```\nx = 1\ny\n```"),
        ("see ```<http://a.b|a.b> *x* &lt;``` there", "see \n```\na.b *x* <\n```\n there"),
        ("`<@U1> &amp;`", "`@Ana &`"),
        ("unescaped <b>bold</b> 1 <2", "unescaped <b>bold</b> 1 <2"),
        ("<0> <1> <99>", "<0> <1> <99>"),
        ("<http://a.b> <0>", "http://a.b <0>"),
        ("太字*x*です *太字* :smile:です", "太字*x*です **太字** 😄です"),
    ],
)  # fmt: skip
def test_text(text: str, markdown: str) -> None:
    assert to_markdown(text, names) == markdown


def test_mentions() -> None:
    assert mentions("<@U1> x <@U2|bo> <#C1|c> <!here>") == ["U1", "U2"]


def rich(*elements: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "rich_text", "elements": list(elements)}]


def section(*elements: dict[str, Any], kind: str = "rich_text_section", **more: Any) -> dict[str, Any]:
    return {"type": kind, "elements": list(elements), **more}


def text(words: str, **style: bool) -> dict[str, Any]:
    return {"type": "text", "text": words, "style": style} if style else {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("blocks", "markdown"),
    [
        (rich(section(text("a "), text("b ", bold=True), text("c", italic=True, strike=True))),
         "a **b** _~~c~~_"),
        (rich(section(text("x", code=True, bold=True))), "**`x`**"),
        (rich(section({"type": "user", "user_id": "U1"}, text(" in "),
                      {"type": "channel", "channel_id": "C1"})),
         "@Ana in #garden"),
        (rich(section({"type": "emoji", "name": "own"},
                      {"type": "emoji", "name": "x", "unicode": "1f44d-1f3fb"})),
         ":own:👍🏻"),
        (rich(section({"type": "link", "url": "http://a", "text": "b"},
                      {"type": "broadcast", "range": "here"})),
         "[b](http://a)@here"),
        (rich(section({"type": "date", "timestamp": 5, "fallback": "then"},
                      {"type": "usergroup", "usergroup_id": "S"})),
         "then@S"),
        (rich(section(text("one")), section(section(text("a")), section(text("b")), kind="rich_text_list",
                                            style="ordered", offset=2)), "one\n3. a\n4. b"),
        (rich(section(section(text("a")), kind="rich_text_list", style="bullet", indent=1)), "    - a"),
        (rich(section(text("x = 1\n"), kind="rich_text_preformatted")), "```\nx = 1\n```"),
        (rich(section(text("q\nr"), kind="rich_text_quote")), "> q\n> r"),
        ([{"type": "header", "text": {"type": "plain_text", "text": "H"}}, {"type": "divider"},
          {"type": "section", "text": {"type": "mrkdwn", "text": "*b*"},
           "fields": [{"type": "plain_text", "text": "f"}]},
          {"type": "context", "elements": [{"type": "mrkdwn", "text": "<@U1>"}, {"type": "image"}]},
          {"type": "image", "image_url": "http://i", "alt_text": "pic"}, {"type": "actions"}],
         "**H**\n\n---\n\n**b**\nf\n\n@Ana\n\n[pic](http://i)"),
        ([{"type": "table", "rows": [[{"type": "raw_text", "text": "a"}, {"type": "raw_text", "text": "b"}],
                                     [{"type": "raw_text", "text": "c"}, rich(section(text("d")))[0]]]}],
         "| a | b |\n| --- | --- |\n| c | d |"),
    ],
)  # fmt: skip
def test_blocks(blocks: list[Any], markdown: str) -> None:
    assert blocks_to_markdown(blocks, names) == markdown


def test_mentioned_and_app_content() -> None:
    blocks = rich(
        section({"type": "user", "user_id": "U1"}), section(section({"type": "user", "user_id": "U2"}))
    )
    assert mentioned(blocks) == ["U1", "U2"]
    assert not has_app_content(blocks)
    assert has_app_content([{"type": "section"}])


def test_attachments() -> None:
    app = {
        "pretext": "pre", "title": "T", "title_link": "http://t", "text": "*x*",
        "fields": [{"title": "F", "value": "v"}], "fallback": "unused",
    }  # fmt: skip
    shared = {"is_share": True, "from_url": "http://m", "author_name": "bo", "text": "said\nthis"}
    assert attachments_to_markdown([app, shared, {"fallback": "only"}, {}], names) == (
        "pre\n**[T](http://t)**\n**x**\n**F**: v\n\n> bo\n> said\n> this\n\nonly"
    )
    assert is_unfurl({"from_url": "http://x"})
    assert not is_unfurl(app)
    assert not is_unfurl(shared)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["rich_text", "rich_text_list", "rich_text_section", "table", "section", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "elements", "text", "style", "rows", "fields", "unicode", "offset"]),
        inner, max_size=4,
    ),
    max_leaves=15,
)  # fmt: skip


@given(st.text("<>@#!|&;*_~`:•gtlamp0 \nU1http/.", max_size=60))
def test_any_text_is_taken(mrkdwn: str) -> None:
    to_markdown(mrkdwn, names).encode()


@given(st.lists(JSON, max_size=3))
def test_any_blocks_are_taken(blocks: list[Any]) -> None:
    blocks_to_markdown(blocks, names)
    mentioned(blocks)
    has_app_content(blocks)
    objects = [block for block in blocks if isinstance(block, dict)]
    attachments_to_markdown(objects, names)


@pytest.mark.parametrize(
    "piece",
    ["*", "`", "```", "<", "&gt;", "*a", "~a ", "<@U1|", ":a", "&gt;&gt;&gt;\n", "<http://a|", " ", "• "],
)
def test_repetition_takes_no_quadratic_time(piece: str) -> None:
    to_markdown(piece * 40_000, names)  # a second at most; a backtracking pattern would take hours
    blocks_to_markdown(rich(section(text(f"a{piece * 40_000}b", bold=True))), names)


def test_deep_nesting_ends() -> None:
    block: dict[str, Any] = text("core")
    for _ in range(5000):
        block = {"type": "rich_text_list", "elements": [block]}
    blocks_to_markdown(rich(block), names)
    mentioned(rich(block))
