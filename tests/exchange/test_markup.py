"""HTML to Markdown: what people wrote comes out readable, and nothing makes it fail."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.exchange.markup import DEPTH_MAX, fence, to_markdown

CASES = {
    "<p>plain</p>": "plain",
    "no tags &amp; all": "no tags & all",
    "<p>Vec&lt;T&gt; &amp;mut snake_case_name * 2</p>": "Vec<T> &mut snake_case_name * 2",
    "<p>one</p>\n<p>two</p>": "one\n\ntwo",
    "<p>one<br>\ntwo</p>": "one\ntwo",
    "<p>one<br/>two <br />three</p>": "one\ntwo\nthree",
    "<p>spread\n  over   lines</p>": "spread over lines",
    "<p><b>bold </b>and <em>it</em>, <del>gone</del></p>": "**bold** and *it*, ~~gone~~",
    "<strong><em>both</em></strong> <u>under</u>": "***both*** under",
    "<b> </b>x": "x",
    "<p>use <code>a &lt; b</code></p>": "use `a < b`",
    "<p><code>a ` b</code></p>": "`` a ` b ``",
    "<pre>x\n\n\n\ny\n</pre>": "```\nx\n\n\n\ny\n```",
    '<pre><code class="language-rust">fn main() {}\n</code></pre>': "```rust\nfn main() {}\n```",
    '<div class="codehilite" data-code-language="Python"><pre><span></span><code><span class="k">if</span> x:'
    "\n</code></pre></div>\n<p>y</p>": "```python\nif x:\n```\n\ny",
    "<p>see</p><pre><code>a<br>b</code></pre>": "see\n\n```\na\nb\n```",
    '<a href="https://a.example/x">text</a>': "[text](https://a.example/x)",
    '<p><a href="https://a.example/" target="_blank" title="t">https://a.example/</a></p>': "https://a.example/",
    '<a href="https://a.example/">a.example</a>': "https://a.example/",
    '<a href="https://a.example/w_(x)">w</a>': "[w](<https://a.example/w_(x)>)",
    '<a href="https://a.example">[x]</a>': r"[\[x\]](https://a.example)",
    '<a href="mailto:a@b.example">a@b.example</a>': "a@b.example",
    '<a href="javascript:alert(1)">click</a>': "click",
    '<a href="" onclick="return ShowHashtag(&quot;x&quot;)">#x</a>': "#x",
    '<a href="https://d.example/7" onclick="scroll(7)">it</a>': "[it](https://d.example/7)",
    '<a class="stream" href="/#narrow/stream/1-x">#x</a>': "#x",
    "<blockquote>\n<p>old</p>\n<p>older</p>\n</blockquote>\n<p>new</p>": "> old\n>\n> older\n\nnew",
    "<blockquote><blockquote>a</blockquote>b</blockquote>": "> > a\n>\n> b",
    "<ul>\n<li>a</li>\n<li>b\n<ol start=3><li>c<li>d<br>e</ol></li>\n</ul>":
        "- a\n- b\n  3. c\n  4. d\n     e",
    "<h2>Head\nline</h2><p>x</p><hr>y": "## Head line\n\nx\n\n---\n\ny",
    "<table><thead><tr><th>a</th><th>b|c</th></tr></thead><tr><td>1</td><td>2<br>3</td></tr></table>":
        "| a | b\\|c |\n| --- | --- |\n| 1 | 2 3 |",
    "<table><tr><td>a<td>b<tr><td>c</table>": "| a | b |\n| --- | --- |\n| c |",
    '<span aria-label="+1" class="emoji emoji-1f44d" role="img" title="+1">:+1:</span>': "👍",
    '<span class="emoji emoji-d800">:odd:</span>': ":odd:",
    '<span class="emoji emoji-1f1ea-1f1fa">:eu:</span>': "🇪🇺",
    '<img alt=":zulip:" class="emoji" src="/x.png" title="zulip">': ":zulip:",
    '<img data-mx-emoticon src="mxc://x" alt="party">': ":party:",
    '<img src="https://a.example/i.png" alt="pic">': "![pic](https://a.example/i.png)",
    '<span class="user-mention" data-user-id="7">@Some One</span> hi': "@Some One hi",
    '<p>look</p>\n<div class="message_inline_image"><a href="/i.png"><img src="/i.png"></a></div>': "look",
    '<div class="inline-preview-twitter"><div class="twitter-tweet"><div>a</div></div></div>after': "after",
    '<div class="spoiler-block"><div class="spoiler-header"><p>head</p></div><div class="spoiler-content">'
    "<p>end</p></div></div>": "head\n||end||",
    "<mx-reply><blockquote>old</blockquote></mx-reply>new": "new",
    '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>x</mi></mrow>'
    '<annotation encoding="application/x-tex">x^2</annotation></semantics></math></span>'
    '<span class="katex-html"><span>x2</span></span></span>!': "$$x^2$$!",
    "a <!-- <b>hidden</b> --> c <?php x ?> d": "a c d",
    "a <!-- never closed <b>x</b>": "a",
    "a < b > c <3 <>": "a < b > c <3 <>",
    "<p>one<p>two": "one\n\ntwo",
    "a</b></p> <i>b": "a *b*",
    "<pre>never closed <b>x": "```\nnever closed x\n```",
    "<script>alert(1)</script><style>b{}</style>ok": "ok",
    "<script>never closed": "",
    "<A HREF=https://a.example TITLE='a<b>c'>X</A>": "[X](https://a.example)",
}  # fmt: skip


@pytest.mark.parametrize(("html", "text"), CASES.items())
def test_html_becomes_markdown(html: str, text: str) -> None:
    assert to_markdown(html) == text


def test_preserved_white_space_is_kept() -> None:
    html = "one\n  two\n<code class='pre pre--multiline language-py'>x\n  y</code>\nthree"
    assert to_markdown(html, preserve=True) == "one\n  two\n```py\nx\n  y\n```\nthree"


def test_a_fence_is_longer_than_any_run_inside() -> None:
    assert fence("````") == "`````\n````\n`````"


def test_the_own_control_characters_of_a_text_make_no_gaps() -> None:
    assert to_markdown("<p>a\x02b</p><p>&#x3;c</p>") == "a�b\n\nc"


def test_depth_is_bounded_and_the_text_survives() -> None:
    deep = DEPTH_MAX * 50
    assert to_markdown("<blockquote>" * deep + "core" + "</blockquote>" * deep).endswith("core")
    assert to_markdown("<b><div><ul><li>" * deep + "core").rstrip("*").endswith("core")


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "<a ",
        '<a "<',
        "<a '<'",
        "<!--",
        "<b>",
        "</i>",
        "<li>",
        "<pre>",
        "<div><span ",
        "&",
        "` ",
        "\n <p>",
    ],
)
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    def seconds(count: int) -> float:
        begun = time.process_time()
        to_markdown(unit * count + "<i>x</i>")
        return time.process_time() - begun

    seconds(100)
    assert seconds(40_000) < 2.5  # quadratic behaviour takes minutes


PIECES = st.sampled_from(
    [
        *"<>/&;'\"`|*~ \n\x02\x03=",
        *(
            "<p>",
            "</p>",
            "<b>",
            "</b>",
            "<ul>",
            "<li>",
            "</ul>",
            "<ol start=x>",
            "<pre>",
            "</pre>",
            "<br>",
            "<hr>",
        ),
        *(
            "<code class='language-x'>",
            "</code>",
            "<table>",
            "<tr>",
            "<td>",
            "</table>",
            "<a href='u'>",
            "</a>",
        ),
        *("<span class='emoji emoji-ffffff'>", "</span>", "<math>", "<annotation>", "<img alt=x>", "<h1>"),
        *("<blockquote>", "</blockquote>", "<div class='spoiler-content'>", "</div>", "&#x110000;", "word"),
    ]
)


@settings(deadline=None)  # shared machines stall
@given(st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join), st.booleans())
def test_any_text_becomes_some_text(html: str, preserve: bool) -> None:
    text = to_markdown(html, preserve=preserve)
    assert text == text.strip()
    assert "\x02" not in text
    assert "\x03" not in text
