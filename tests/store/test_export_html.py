"""The HTML export: everything is there, every link leads somewhere, search finds, and nothing a stranger wrote runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from lxml import html

from quire.channels.manager import ChannelManager
from quire.core.operation import Attachment
from quire.exchange.html_search import shard, words
from quire.exchange.html_text import escape, inline, rendered
from quire.exchange.out_html import CSP
from tests.store.test_exporting import HOSTILE

ALLOWED = {"href", "rel", "id", "class", "datetime", "title", "dir", "aria-hidden", "open"}


@pytest.fixture
def out(manager: ChannelManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A channel with everything in it, and one whose every text is hostile; small pages."""
    for name, value in (("PAGE_MESSAGES", 20), ("INLINE_REPLIES", 5), ("ANSWERABLE_MAX", 30)):
        monkeypatch.setattr(f"quire.exchange.out_html.{name}", value)
    manager.set_name('"><script>alert(0)</script>')
    manager.create_channel("</title><script>x</script>", topic="<script>topic</script>")
    for body in HOSTILE:
        message = manager.send_message(
            "</title><script>x</script>", body, attachments=[Attachment("<a onx=1>", "javascript:alert(1)")]
        )
        manager.edit_message(message.id, f"{body} <script>again</script>")
    manager.add_reaction(message.id, "<b>")
    manager.delete_message(message.id, "<script>why</script>")
    lines = [
        {"channel": "book", "id": str(n), "time_ms": 1_700_000_000_000 + n * 3_600_000, "author": f"a{n % 3}",
         "body": f"number{n} wörd{n % 7} 日本語"}
        for n in range(50)
    ]  # fmt: skip
    lines += [
        {"channel": "book", "id": f"r{n}", "time_ms": 1_700_500_000_000 + n, "author": "a1", "body": f"reply{n}",
         "thread": str(n % 2)}
        for n in range(60)
    ]  # fmt: skip
    lines += [
        {
            "channel": "book",
            "id": "q",
            "time_ms": 1_700_600_000_000,
            "author": "a1",
            "body": "answer",
            "reply_to": "49",
        }
    ]
    lines += [
        {
            "channel": "book",
            "id": "s",
            "time_ms": 1_700_600_000_001,
            "author": "a2",
            "body": "short",
            "thread": "49",
        }
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manager.import_(tmp_path / "in.jsonl")
    manager.export(tmp_path / "out", format="html")
    return tmp_path / "out"


def pages(out: Path) -> dict[Path, html.HtmlElement]:
    return {path: html.fromstring(path.read_bytes()) for path in out.rglob("*.html")}


def test_nothing_runs_and_nothing_is_fetched(out: Path) -> None:
    found = pages(out)
    assert len(found) > 10
    for path, page in found.items():
        [policy] = page.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
        assert policy == CSP
        assert "unsafe" not in policy
        [script] = page.xpath("//script")
        assert script.text is None
        assert (path.parent / script.get("src")).resolve() == out / "search.js"
        [style] = page.xpath("//link")
        assert (path.parent / style.get("href")).resolve() == out / "style.css"
        assert not page.xpath("//img | //iframe | //object | //embed | //style | //base | //form | //svg")
        for element in page.xpath("//main//*"):
            assert set(element.keys()) <= ALLOWED, path
        for href in page.xpath("//a/@href"):
            assert urlsplit(href).scheme in ("", "http", "https")
    assert "http" not in (out / "style.css").read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|eval|fetch\(|XMLHttp", (out / "search.js").read_text()
    )


def test_every_link_leads_somewhere(out: Path) -> None:
    found = {path.resolve(): page for path, page in pages(out).items()}
    followed = 0
    for path, page in found.items():
        for href in page.xpath("//a/@href"):
            parts = urlsplit(href)
            if parts.scheme:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert there in found, href
            if parts.fragment:
                assert found[there].xpath(f"//*[@id='{parts.fragment}']"), href
            followed += 1
    assert followed > 100
    reached, todo = set(), [out / "index.html"]
    while todo:
        path = todo.pop().resolve()
        if path not in reached:
            reached.add(path)
            links = [urlsplit(href) for href in found[path].xpath("//a/@href")]
            todo += [path.parent / link.path for link in links if link.path and not link.scheme]
    assert reached == set(found)


def test_every_message_is_shown_once_in_the_channel_or_its_thread(out: Path) -> None:
    bodies = [
        text
        for path, page in pages(out).items()
        if path.parent.name == "book"
        for text in page.xpath("//div[@class='b']/p/text()")
    ]
    text = " ".join(bodies)
    for n in range(50):  # the two roots of long threads stand above those, too
        assert len(re.findall(rf"\bnumber{n}\b", text)) == (2 if n < 2 else 1)
    for n in range(60):
        assert len(re.findall(rf"\breply{n}\b", text)) == 1
    threads = sorted(path.name for path in out.glob("book/thread-*"))
    assert threads == ["thread-1-2.html", "thread-1.html", "thread-2-2.html", "thread-2.html"]
    short = [page for path, page in pages(out).items() if page.xpath("//details[contains(., 'short')]")]
    assert len(short) == 1


def test_search_finds_by_words_and_their_beginnings(out: Path) -> None:
    table = scripted(out, "pages")
    for word, wanted in (
        ("number17", "number17"),
        ("WÖRD3".lower(), "wörd3"),
        ("日", "日本語"),
        ("alert", "alert"),
    ):
        key = words(word)[0]
        ranges = scripted(out, f"s/{shard(key):x}")[key]
        numbers = [n for part in ranges.split(",") for n in span(part)]
        assert numbers
        for number in numbers:
            url, _, _ = table[number]
            assert (out / url).is_file()
            texts = scripted(out, f"t/{number}")
            assert any(wanted in text for _, _, _, text in texts)
    assert not (out / "search" / "new").exists()


def span(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def scripted(out: Path, name: str) -> Any:
    """What a script of the search hands over."""
    text = (out / "search" / f"{name}.js").read_text("utf-8")
    found = re.fullmatch(rf'Quire\("{re.escape(name)}",(.*)\);\n', text, re.DOTALL)
    assert found is not None
    assert "\u2028" not in text
    return json.loads(found[1])


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            "a **b** *c* _d_ ~~e~~ `f`",
            "<p>a <strong>b</strong> <em>c</em> <em>d</em> <s>e</s> <code>f</code></p>",
        ),
        ("```py\n<b>\n```\nafter", "<pre><code>&lt;b&gt;</code></pre><p>after</p>"),
        ("```\nopen", "<pre><code>open</code></pre>"),
        ("> said\n> so\nyes", "<blockquote>said\nso</blockquote><p>yes</p>"),
        ("`<b>` **<i>**", "<p><code>&lt;b&gt;</code> <strong>&lt;i&gt;</strong></p>"),
        ("snake_case_name 2*3*4", "<p>snake_case_name 2*3*4</p>"),
        ("\x00\x1b[1m", "<p>\ufffd\ufffd[1m</p>"),
        ("", ""),
    ],
)
def test_bodies_as_html(body: str, shown: str) -> None:
    assert rendered(body) == shown


def test_links_are_to_the_web_or_are_text() -> None:
    assert inline("[x](javascript:alert(1))") == "[x](javascript:alert(1))"
    assert inline('[x](https://a.example/"onmouseover=1)').count(
        '"'
    ) == 0 or "onmouseover=1&quot;" not in inline("x")
    made = inline("see https://a.example/b?c=d&e.")
    assert made.startswith('see <a href="https://a.example/b?c=d&amp;e" rel="noreferrer noopener nofollow">')
    assert made.endswith("</a>.")
    assert "<script" not in inline("https://a.example/<script>alert(1)</script>")
    assert escape("'\"<>&") == "&#x27;&quot;&lt;&gt;&amp;"


@pytest.mark.parametrize(
    "body", ["`" * 100_000, "**" * 50_000, "[" * 100_000, "_a" * 50_000, "> " * 50_000, "~~~\n" * 20_000]
)
def test_no_body_takes_longer_than_it_is_long(body: str) -> None:
    """Each would take minutes if a pattern looked back."""
    assert len(rendered(body)) < 40 * len(body)
