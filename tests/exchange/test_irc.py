"""IRC logs: the clients' styles, days and clocks, channels, replies, and the #ubuntu corpus."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from quire.errors import FormatError, UsageError
from quire.exchange import irc
from quire.exchange.detect import detect
from quire.exchange.model import Channel, Message, NotCarried, Options, Skipped, Warn
from quire.exchange.sources import open_source
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

DAY = 1577923200000  # 2020-01-02T00:00:00Z
MINUTE = 60_000


def told(found: list[Message]) -> list[tuple[str, str, str]]:
    return [(m.notice or ("action" if m.action else ""), m.author, m.body) for m in found]


STYLES = {
    "chan/20.01.02": (  # clog, with a file a day
        "10:00:00 --- join: ann (~ann@host.example) joined #chan\n10:01:00 <ann> hello there\n10:02:00 <bob> ann: hi\n"
        "10:03:00 --- action: ann waves\n10:04:00 --- nick: bob -> bobby\n10:05:00 --- quit: ann (Quit: bye)\n"
    ),
    "#chan.2020-01-02.log": (  # irssi
        "--- Log opened Thu Jan 02 10:00:00 2020\n"
        "10:00 -!- ann [~ann@host.example] has joined #chan\n10:01 < ann> hello there\n10:02 <@bob> ann: hi\n"
        "10:03  * ann waves\n10:04 -!- bob is now known as bobby\n10:05 -!- ann [~ann@host.example] has quit [bye]\n"
        "--- Log closed Thu Jan 02 11:00:00 2020\n"
    ),
    "irc.libera.#chan.weechatlog": (
        "2020-01-02 10:00:00\t-->\tann (~ann@host.example) has joined #chan\n2020-01-02 10:01:00\tann\thello there\n"
        "2020-01-02 10:02:00\t@bob\tann: hi\n2020-01-02 10:03:00\t *\tann waves\n"
        "2020-01-02 10:04:00\t--\tbob is now known as bobby\n"
        "2020-01-02 10:05:00\t<--\tann (~ann@host.example) has quit (bye)\n"
    ),
    "Libera-#chan.log": (  # HexChat
        "**** BEGIN LOGGING AT Thu Jan  2 10:00:00 2020\n\nJan 02 10:00:00 *\tann (~ann@host.example) has joined\n"
        "Jan 02 10:01:00 <ann>\thello there\nJan 02 10:02:00 <@bob>\tann: hi\nJan 02 10:03:00 *\tann waves\n"
        "Jan 02 10:04:00 *\tbob is now known as bobby\nJan 02 10:05:00 *\tann has quit (bye)\n"
    ),
    "#chan.log": (  # mIRC
        "Session Start: Thu Jan 02 10:00:00 2020\nSession Ident: #chan\n[10:00] * ann (~ann@host.example) has joined #chan\n"
        "[10:01] <ann> hello there\n[10:02] <@bob> ann: hi\n[10:03] * ann waves\n[10:04] * bob is now known as bobby\n"
        "[10:05] * ann (~ann@host.example) Quit (bye)\nSession Close: Thu Jan 02 11:00:00 2020\n"
    ),
    "libera/#chan/2020-01-02.log": (  # ZNC
        "[10:00:00] *** Joins: ann (~ann@host.example)\n[10:01:00] <ann> hello there\n[10:02:00] <bob> ann: hi\n"
        "[10:03:00] * ann waves\n[10:04:00] *** bob is now known as bobby\n[10:05:00] *** Quits: ann (~ann@host.example) (bye)\n"
    ),
    "chan.log.20200102": (  # eggdrop
        "[10:00] ann (~ann@host.example) joined #chan.\n[10:01] <ann> hello there\n[10:02] <bob> ann: hi\n"
        "[10:03] Action: ann waves\n[10:04] Nick change: bob -> bobby\n[10:05] ann (~ann@host.example) left irc: bye\n"
    ),
    "#chan.2020-01-02.txt": (  # Limnoria
        "2020-01-02T10:00:00  *** ann <~ann@host.example> has joined #chan\n2020-01-02T10:01:00  <ann> hello there\n"
        "2020-01-02T10:02:00  <bob> ann: hi\n2020-01-02T10:03:00  * ann waves\n"
        "2020-01-02T10:04:00  *** bob is now known as bobby\n2020-01-02T10:05:00  *** ann has quit IRC (bye)\n"
    ),
    "irccloud/1-libera/#chan.txt": (
        "[2020-01-02 10:00:00] → ann joined (~ann@host.example)\n[2020-01-02 10:01:00] <ann> hello there\n"
        "[2020-01-02 10:02:00] <@bob> ann: hi\n[2020-01-02 10:03:00] — ann waves\n"
        "[2020-01-02 10:04:00] * bob → bobby\n[2020-01-02 10:05:00] ← ann left (~ann@host.example): bye\n"
    ),
    "quassel-#chan.txt": (
        "[2020-01-02 10:00:00] --> ann (~ann@host.example) has joined #chan\n[2020-01-02 10:01:00] <ann> hello there\n"
        "[2020-01-02 10:02:00] <@bob> ann: hi\n[2020-01-02 10:03:00] -*- ann waves\n"
        "[2020-01-02 10:04:00] <-> bob is now known as bobby\n[2020-01-02 10:05:00] <-- ann (~ann@host.example) has quit (bye)\n"
    ),
    "libera_#chan.log": (  # Konversation, in the English of the United States
        "[Thursday, January 2, 2020] [10:00:00 AM CET] Join\tann (~ann@host.example) has joined this channel.\n"
        "[Thursday, January 2, 2020] [10:01:00 AM CET] <ann>\thello there\n"
        "[Thursday, January 2, 2020] [10:02:00 AM CET] <bob>\tann: hi\n"
        "[Thursday, January 2, 2020] [10:03:00 AM CET] * ann waves\n"
        "[Thursday, January 2, 2020] [10:04:00 AM CET] Nick\tbob is now known as bobby.\n"
        "[Thursday, January 2, 2020] [10:05:00 AM CET] Quit\tann (~ann@host.example) has left this server (bye).\n"
    ),
    "net_#chan.log": (  # Konversation, with short dates
        "[2020-01-02] [10:00:00] -->\tann (~ann@host.example) has joined #chan\n[2020-01-02] [10:01:00] <ann>\thello there\n"
        "[2020-01-02] [10:02:00] <bob>\tann: hi\n[2020-01-02] [10:03:00] *\tann waves\n"
        "[2020-01-02] [10:04:00] --\tbob is now known as bobby\n[2020-01-02] [10:05:00] <--\tann has left libera (bye)\n"
    ),
    "chatzilla/#chan.2020-01-02.log": (
        "[2020-01-02 10:00:00] -->|\tann (~ann@host.example) has joined #chan\n[2020-01-02 10:01:00] <ann>\thello there\n"
        "[2020-01-02 10:02:00] <bob>\tann: hi\n[2020-01-02 10:03:00] *\tann waves\n"
        "[2020-01-02 10:04:00] =-=\tbob is now known as bobby\n[2020-01-02 10:05:00] |<--\tann has left libera (bye)\n"
    ),
    "Channels/#chan/2020-01-02.txt": (  # Textual
        "[2020-01-02T10:00:00+0000] ann (~ann@host.example) joined the channel\n[2020-01-02T10:01:00+0000] <ann> hello there\n"
        "[2020-01-02T10:02:00+0000] <@bob> ann: hi\n[2020-01-02T10:03:00+0000] • ann: waves\n"
        "[2020-01-02T10:04:00+0000] bob is now known as bobby\n"
        "[2020-01-02T10:05:00+0000] ann (~ann@host.example) left IRC (bye)\n"
    ),
    "x-#chan.log": (  # the year before the clock
        "Jan 02 2020 10:00:00 *\tann (~ann@host.example) has joined\nJan 02 2020 10:01:00 <ann>\thello there\n"
        "Jan 02 2020 10:02:00 <@bob>\tann: hi\nJan 02 2020 10:03:00 *\tann waves\n"
        "Jan 02 2020 10:04:00 *\tbob is now known as bobby\nJan 02 2020 10:05:00 *\tann has quit (bye)\n"
    ),
    "chan/2020/01/02/#chan.txt": (  # Ubuntu
        "=== ann [~ann@host.example] has joined #chan\n[10:01] <ann> hello there\n[10:02] <bob> ann: hi\n"
        "[10:03]  * ann waves\n=== bob is now known as bobby\n=== ann [~ann@host.example] has left #chan []\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STYLES)
def test_a_clients_style(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path, {name: STYLES[name]})
    assert certainty(irc, path) == 2
    with open_source(path) as source:
        assert detect(source).NAME == "irc"  # whatever else has such times
    found = records(irc, path)
    said = messages(found)
    assert [kind for kind, _, _ in told(said)] == ["join", "", "", "action", "name", "leave"]
    assert told(said)[1:4] == [("", "ann", "hello there"), ("", "bob", "ann: hi"), ("action", "ann", "waves")]
    assert said[0].author == said[5].author == "ann"
    assert [m.time_ms for m in said[1:4]] == [DAY + (600 + n) * MINUTE for n in (1, 2, 3)]
    assert said[2].mentions == ("ann",)
    assert [c.name for c in only(found, Channel)] == ["chan"]  # type: ignore[attr-defined]
    assert not only(found, Skipped)


@pytest.mark.parametrize(
    ("dates", "day", "sure"),
    [(("03/04/2020", "25/04/2020"), "03-04", True), (("03/04/2020", "03/25/2020"), "04-03", True),
     (("03/04/2020", "03/05/2020"), "03-04", False), (("99/12/30", "99/12/31"), "30-12", True)],
)  # fmt: skip
def test_the_order_of_day_and_month_is_seen_in_the_whole_log(
    tmp_path: Path, dates: tuple[str, str], day: str, sure: bool
) -> None:
    lines = [f"[{dates[0]} 10:00:00] <ann> hi\n"] * 450 + [f"[{dates[1]} 10:00:00] <bob> hi\n"]
    found = records(irc, pack(tmp_path, {"#c.log": "".join(lines)}, "file"))
    first = messages(found)[0].time_ms
    assert f"{datetime.fromtimestamp(first / 1000, UTC):%d-%m}" == day
    assert bool(only(found, Warn)) is not sure


def test_a_folder_or_a_lone_file_in_it_is_the_channel_it_is_called_after(tmp_path: Path) -> None:
    folder = pack(tmp_path, {"2020-01-02.log": "[10:00:00] <ann> hi\n"}, "folder", "#chan")
    for path in (folder, folder / "2020-01-02.log"):
        assert [c.name for c in only(records(irc, path), Channel)] == ["chan"]  # type: ignore[attr-defined]


def test_a_star_is_an_action_unless_its_words_are_a_notice(tmp_path: Path) -> None:
    text = "[10:00] <ann> x\n[10:01] * bob sets mode: +o ann\n[10:02] * bob sets the table\n[10:03] * Topic is 'new'\n"
    said = messages(records(irc, pack(tmp_path, {"#c.2020-01-02.log": text})))
    assert told(said)[1:] == [
        ("other", "", "bob sets mode: +o ann"),
        ("action", "bob", "sets the table"),
        ("topic", "", "Topic is 'new'"),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [("[Thursday 27 May 2021] [10:00:00] Join\tbob [~b@h] has joined this channel.", ("join", "bob", False)),
     ("[Thursday 27 May 2021] [10:00:00] Nick\tbob is now known as b2.", ("name", "bob", False)),
     ("[2021-05-27 10:00:00] <-> bob is now known as b2", ("name", "bob", False)),
     ("May 27 10:00:00 -bob/#c-\tmind the gap", ("other", "bob", False)),
     ("(10:00:00) ***bob waves", ("", "bob", True)), ("(10:00:00) bob: hi", ("", "bob", False)),
     ("[10:00] --- Thu May 27 2021", None)],
)  # fmt: skip
def test_less_usual_lines(tmp_path: Path, line: str, expected: tuple[str, str, bool] | None) -> None:
    """Of Konversation, Quassel, HexChat, Pidgin and eggdrop."""
    log = f"Conversation with #c at Thu 27 May 2021 09:00:00 UTC on me@irc.example (irc)\n[09:00] <ann> hi\n{line}\n"
    found = records(irc, pack(tmp_path, {"#c.log": log}))
    assert not only(found, Skipped)
    last = messages(found)[1:]
    assert [(one.notice, one.author, one.action) for one in last] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("name", "channel"),
    [("2016/07/#qt_20160701.log.txt", "#qt"), ("net_#qt_20160701.log", "#qt"), ("#node.js.2016-07-01.log", "#node.js"),
     ("#qt-2016-07.log", "#qt"), ("#qt.2016.log", "#qt"), ("#qt (2).log", "#qt"), ("#qt/2016/07/01.txt", "#qt"),
     ("qt (1).log", "qt"), ("qt/2016-07-01.log", "qt"), ("qt/2016/2016-07-01.txt", "qt"), ("##c-4.log", "##c-4")],
)  # fmt: skip
def test_a_channel_named_by_the_path(tmp_path: Path, name: str, channel: str) -> None:
    text = "[10:00] <ann> hi\n[10:01] <bob> ho\n"
    found = records(irc, pack(tmp_path, {name: text}), Options(date="2016-07-01"))
    assert {message.channel for message in messages(found)} == {channel}


def test_a_meetings_time_is_no_part_of_its_channels_name(tmp_path: Path) -> None:
    text = "17:00:00 <ann> #startmeeting\n17:01:00 <bob> hi\n"
    found = records(irc, pack(tmp_path, {"dev.2014-01-05-17.00.log.txt": text}))
    assert [one.name for one in only(found, Channel)] == ["dev"]  # type: ignore[attr-defined]
    assert messages(found)[0].time_ms == 1388941200000


def test_days_change_by_marker_and_by_the_clock(tmp_path: Path) -> None:
    marked = (
        "23:59 < ann> late\n--- Day changed Fri Jan 03 2020\n00:00 < ann> early\n12:00 < ann> noon\n11:30 < ann> set back\n"
        "--- Day changed Sun Jan 05 2020\n09:00 < ann> after a silent day\n"
    )
    said = messages(records(irc, pack(tmp_path, {"#c.log": marked})))
    hours = [(m.time_ms - DAY) / 3_600_000 for m in said]
    assert hours == [pytest.approx(23.9833, abs=0.001), 24, 36, 35.5, 81]
    crossing = "[23:58] <ann> a\n[00:02] <bob> b\n[23:00] <bob> c\n[01:00] <ann> d\n"
    said = messages(records(irc, pack(tmp_path, {"2020-01-02.txt": crossing}, name="b")))
    assert [(m.time_ms - DAY) // MINUTE for m in said] == [1438, 1442, 1440 + 1380, 2880 + 60]


def test_a_twelve_hour_clock_without_am_and_pm_goes_on(tmp_path: Path) -> None:
    text = "[11:58] <ann> a\n[12:59] <ann> b\n[01:00] <ann> c\n[11:59] <ann> d\n[12:30] <ann> e\n[01:10] <ann> f\n"
    said = messages(records(irc, pack(tmp_path, {"2020-01-02.txt": text})))
    hours = [(m.time_ms - DAY) / 3_600_000 for m in said]
    assert hours == sorted(hours)
    assert hours[2] == 13
    assert hours[5] == pytest.approx(25.1667, abs=0.001)


def test_the_date_and_the_zone_may_be_said(tmp_path: Path) -> None:
    path = pack(tmp_path, {"chat.txt": "[10:00] <ann> one\n[10:01 PM] <ann> two\n"}, "file")
    with pytest.raises(FormatError) as failure:
        records(irc, path)
    assert failure.value.rule == "no_date"
    said = messages(
        records(irc, path, Options(date="2020-01-02", timezone="America/New_York", channel="team"))
    )
    assert [m.time_ms - DAY for m in said] == [15 * 60 * MINUTE, (27 * 60 + 1) * MINUTE]
    assert said[0].channel == "#team"
    with pytest.raises(UsageError):
        records(irc, path, Options(date="2020-01-02", timezone="Middle/Earth"))


def test_stamps_with_their_own_zone_or_unix_time(tmp_path: Path) -> None:
    text = (
        "[2020-01-02T10:00:00.000Z] <ann> a\n[2020-01-02T10:00:00+0200] <ann> b\n1577959200 <ann> c\n"
        "9999999999 <ann> no such time\n"
    )
    said = messages(records(irc, pack(tmp_path, {"#c.log": text}), Options(timezone="Asia/Tokyo")))
    assert [m.time_ms - DAY for m in said] == [600 * MINUTE, 480 * MINUTE, 600 * MINUTE]


def test_month_stamps_without_a_year_turn_with_the_year(tmp_path: Path) -> None:
    text = (
        "**** BEGIN LOGGING AT Tue Dec 31 23:00:00 2019\nDec 31 23:59:00 <ann>\ta\nJan 02 00:00:00 <ann>\tb\n"
    )
    said = messages(records(irc, pack(tmp_path, {"Net-#c.log": text})))
    assert [(m.time_ms - DAY) // MINUTE for m in said] == [-24 * 60 - 1, 0]


def test_overlapping_pieces_give_one_name_to_one_line(tmp_path: Path) -> None:
    lines = [f"[10:{n:02}] <ann> ok\n[10:{n:02}] <ann> ok\n[10:{n:02}] <bob> {n}\n" for n in range(20)]
    one = messages(records(irc, pack(tmp_path, {"#c.2020-01-02.log": "".join(lines[:15])}, name="a")))
    two = messages(records(irc, pack(tmp_path, {"#c.2020-01-02.log": "".join(lines[10:])}, name="b")))
    assert len({m.id for m in one}) == 45, "equal lines of one minute are told apart"
    assert len({m.id for m in one} & {m.id for m in two}) == 15


@pytest.mark.parametrize("how", PACKINGS)
def test_annotated_replies(tmp_path: Path, how: str) -> None:
    raw = "=== ann [h] has joined #c\n[10:00] <ann> one?\n[10:00] <bob> two?\n[10:01] <cat> both\n"
    links = "0 0 -\n1 3 -\n2 3 - \n1 1 -\n"
    files = {
        "d/2020-01-02_10.raw.txt": raw, "d/2020-01-02_10.annotation.txt": links, "d/LICENSE-data.txt": "[10:00] <x> no\n",
        "d/2020-01-02_10.ascii.txt": raw,
    }  # fmt: skip
    found = records(irc, pack(tmp_path, files, how))
    joined, one, two, both = messages(found)
    assert (both.reply_to, both.reply_to_time_ms, one.reply_to, joined.reply_to) == (
        two.id,
        two.time_ms,
        "",
        "",
    )
    assert only(found, NotCarried) == [NotCarried("further reply links of one line", 1)]
    assert {m.channel for m in messages(found)} == {"#c"}


def test_colours_other_encodings_and_broken_lines(tmp_path: Path) -> None:
    text = (
        "\ufeff[10:00] <ann> \x02bold\x02 \x0304,01red\x0f end\r\n[10:01] <bob> caf".encode()
        + b"\xe9\r\n\r\nnonsense\r\n"
    )
    found = records(
        irc, pack(tmp_path, {"#c.2020-01-02.log": text + b"[10:02] <ann>\n[10:02] <a|b[c]> x <y> z\n"})
    )
    assert [(m.author, m.body) for m in messages(found)] == [
        ("ann", "bold red end"), ("bob", "café"), ("ann", ""), ("a|b[c]", "x <y> z"),
    ]  # fmt: skip
    assert [s.position for s in only(found, Skipped)] == ["line 4"]  # type: ignore[attr-defined]
    assert only(found, NotCarried) == [NotCarried("coloured or styled texts", 1)]


def test_utf_16(tmp_path: Path) -> None:
    text = "[10:00] <ann> ĂĊഊ\r\n[10:01] <bob> x\r\n".encode("utf-16")
    said = messages(records(irc, pack(tmp_path, {"#c.2020-01-02.log": text})))
    assert [m.body for m in said] == ["ĂĊഊ", "x"]


def test_other_files_are_no_logs(tmp_path: Path) -> None:
    path = pack(
        tmp_path,
        {"a.txt": "Dear all,\nnothing here.\n", "b.log": "2020-01-02 10:00:00 ERROR disk full\n" * 9},
    )
    assert certainty(irc, path) == 0
    with pytest.raises(FormatError):
        records(irc, path)


@pytest.mark.slow
def test_the_corpus_counts_as_it_should() -> None:
    counts = expected("irc-ubuntu")
    path = corpus("irc-ubuntu/ubuntu-irc.tar.xz")
    assert certainty(irc, path) == 2
    all_records = records(irc, path)
    found = tally(all_records, irc.NOTICES_ARE_MESSAGES)
    assert found["messages"] == counts["messages"]
    assert sum(m.action for m in messages(all_records)) == counts["actions"]
    assert found["channels"] == counts["channels"]
    # The counts split lines at ten control characters (U+0085, U+001D and the like) inside messages too, which
    # makes ten more "notices" of their second halves; IRC lines end with LF.
    assert found["notices"] == counts["notices"] - 10
    # One nick stands once with a space behind it ("<nick >"), which is padding and not another person.
    assert found["authors"] == counts["authors"] - 1
    # A message here answers one message: of a line with several links the nearest is kept, the others counted.
    assert found["replies"] == 56_863
    assert found["not_carried"]["further reply links of one line"] == counts["reply_links"] - 56_863
    assert (found["duplicates"], found["skipped"], found["warnings"]) == (0, 0, 0)


test_spoiled_logs = fuzz(irc, "".join(STYLES.values()).encode(), "#chan.2020-01-02.log", 150)


@pytest.mark.parametrize(
    "names",
    [("libera/#dev/2020-01-02.log", "oftc/#dev/2020-01-02.log"), ("irc.libera.#dev.weechatlog", "irc.oftc.#dev.weechatlog"),
     ("logs/irc.libera.chat/#dev.log", "logs/irc.oftc.net/#dev.log")],
)  # fmt: skip
def test_channels_of_one_name_on_two_networks_are_two(tmp_path: Path, names: tuple[str, str]) -> None:
    line = "2020-01-02 10:00:00\tann\thello\n"
    found = records(irc, pack(tmp_path, dict.fromkeys(names, line)))
    assert sorted(c.name[:5] for c in found if isinstance(c, Channel)) == ["dev (", "dev ("]
    assert len({(message.channel, message.id) for message in messages(found)}) == 2
    years = pack(tmp_path, {"libera/2020/#dev.log": line, "libera/2021/#dev.log": line}, name="years")
    assert [c.name for c in records(irc, years) if isinstance(c, Channel)] == ["dev"]


def test_a_coloured_stamp_is_a_stamp(tmp_path: Path) -> None:
    text = "\x0304[10:00]\x03 <ann> one\n\x02[10:01]\x02 <bob> two\n"
    found = records(irc, pack(tmp_path, {"#c.2020-01-02.log": text}))
    assert told(messages(found)) == [("", "ann", "one"), ("", "bob", "two")]
    assert not only(found, Skipped)


def test_talk_by_colons_is_irc_where_other_lines_tell_who_came_and_went(tmp_path: Path) -> None:
    day = (
        "[2013-09-03 17:11:04] ann: :help\n[2013-09-03 17:20:10] ann, quitting. (Quit: bye)\n"
        "[2013-09-03 17:31:08] bob, joining. (#garden)\n[2013-09-03 17:54:28] bob: hello there\n"
        "[2013-09-03 17:54:29] bob: \tat a.b.c\n"
    )
    path = pack(tmp_path, {"2013/09/03.txt": day, "2013/09/04.txt": day.replace("09-03", "09-04")})
    with open_source(path) as source:
        assert detect(source).NAME == "irc"
    found = records(irc, path)
    assert [c.name for c in found if isinstance(c, Channel)] == ["garden"]
    assert told(messages(found))[4] == ("", "bob", "\tat a.b.c")
    assert told(messages(found))[:4] == [
        ("", "ann", ":help"), ("leave", "ann", "ann, quitting. (Quit: bye)"),
        ("join", "bob", "bob, joining. (#garden)"), ("", "bob", "hello there"),
    ]  # fmt: skip


def test_days_of_notices_alone_and_of_talk_by_colons_alone_are_days_of_the_log_they_lie_in(
    tmp_path: Path,
) -> None:
    both = "[2013-09-03 17:11:04] ann: hi\n[2013-09-03 17:31:08] bob, joining. (#garden)\n"
    talk, come = "[2013-09-04 10:00:00] ann: alone\n", "[2013-09-05 10:00:00] bob, quitting. (Quit: bye)\n"
    path = pack(
        tmp_path,
        {
            "2013/09/03.txt": both,
            "2013/09/04.txt": talk,
            "2013/09/05.txt": come,
            "notes.txt": "12:00 lunch: soup\n",
        },
    )
    said = messages(records(irc, path))
    assert [(m.notice, m.body) for m in said] == [
        ("", "hi"), ("join", "bob, joining. (#garden)"), ("", "alone"), ("leave", "bob, quitting. (Quit: bye)"),
    ]  # fmt: skip
    assert {m.channel for m in said} == {"#garden"}
    assert certainty(irc, pack(tmp_path, {"04.txt": talk}, "file")) == 0
    znc = {
        "#c/2020-01-01.log": "[10:00:00] <ann> hi\n",
        "#c/2020-01-02.log": "[10:00:00] *** Joins: bob (~b@h)\n",
    }
    assert [m.notice for m in messages(records(irc, pack(tmp_path, znc, name="znc")))] == ["", "join"]
