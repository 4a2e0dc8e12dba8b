"""DiscordChatExporter's CSV and plain text: every version's layout, and what breaks in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.errors import FormatError
from quire.exchange import discord_text
from quire.exchange.model import Attachment, Author, Channel, NotCarried, Options, Reaction, Skipped, Warn
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

RULE = "=" * 62
NEW = f"""{RULE}
Guild: Garden
Channel: Text / general
Topic: Plans: all of them
{RULE}

[1/2/2023 5:04\u202fPM] ana (pinned)
hello
[1/2/2023 5:04\u202fPM] quoted

{{Attachments}}
https://cdn.example/attachments/1/2/a.png?ex=1

{{Reactions}}
👍 (3) kek

[1/13/2023 5:05\u202fPM] bob


{{Embed}}
Title
words

[1/13/2023 5:06\u202fPM] bob
Pinned a message.

[1/13/2023 5:07\u202fPM] cy


{{Forwarded Message}}
from elsewhere
Originally sent: 1/1/2020 1:00\u202fPM

{{Stickers}}
https://cdn.example/y.png


{RULE}
Exported 4 message(s)
{RULE}
"""
CSV = """AuthorID,Author,Date,Content,Attachments,Reactions
"1001000000000000001","ana","2024-01-02T17:04:05.1230000+01:00","hi ""you"", all
of you","https://cdn.example/a,b.png,https://cdn.example/c.png","👍 (3),kek (1)"
"1001000000000000002","bob","2024-01-02T17:06:05.0000000+01:00","never closed,"",""
"1001000000000000001","ana","2024-01-03T17:04:05.0000000+01:00","Joined the server.","",""
"""


@pytest.mark.parametrize("how", PACKINGS)
def test_a_plain_text_in_any_packing(tmp_path: Path, how: str) -> None:
    path = pack(tmp_path, {"Garden - Text - general [123456789012345678].txt": NEW}, how)
    assert certainty(discord_text, path) == 3
    found = records(discord_text, path)
    assert only(found, Channel) == [Channel("123456789012345678", "general", topic="Plans: all of them")]
    first, second, third, fourth = messages(found)
    assert first.body == "hello\n[1/2/2023 5:04\u202fPM] quoted"  # no empty line before it: text
    assert (first.time_ms, first.pinned) == (1672679040000, True)  # a twelve-hour clock is American
    assert first.attachments == (Attachment("a.png", "https://cdn.example/attachments/1/2/a.png?ex=1"),)
    assert first.reactions == (Reaction("👍", unknown=3), Reaction(":kek:", unknown=1))
    assert second.body == "Title\nwords"
    assert (third.body, third.notice) == ("Pinned a message.", "pin")
    assert fourth.body == "Forwarded:\n> from elsewhere"
    assert {record.what for record in found if isinstance(record, NotCarried)} == {"embeds", "stickers"}
    assert only(found, Warn) == []  # four were said, four are there


def test_a_table_keeps_quotes_lines_and_what_follows_a_broken_row(tmp_path: Path) -> None:
    path = pack(tmp_path, {"G - Text - gen-eral [123456789012345678] [part 2].csv": "\ufeff" + CSV}, "file")
    assert certainty(discord_text, path) == 3
    found = records(discord_text, path)
    assert only(found, Channel) == [Channel("123456789012345678", "gen-eral")]
    first, broken, last = messages(found)
    assert (first.body, first.time_ms) == ('hi "you", all\nof you', 1704211445123)
    assert [file.name for file in first.attachments] == ["a,b.png", "c.png"]
    assert first.reactions == (Reaction("👍", unknown=3), Reaction(":kek:", unknown=1))
    assert broken.body.startswith("never closed")
    assert (last.author, last.notice) == ("1001000000000000001", "join")
    assert Author("1001000000000000002", "bob") in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("general.csv", ('\ufeffAuthor;Date;Content;Attachments;\n"ana#1";"02-Jan-18 05:04 PM";"hello; you";"";\n'
                        '"bob#2";"03-Jan-18 05:05 PM";"two\nlines";"http://x/y.png";\n')),
        ("general.csv", ("\ufeffAuthor;Date;Content;Attachments;\nana#1;02-Jan-18 05:04 PM;hello; you;;\n"
                        "bob#2;03-Jan-18 05:05 PM;two\nlines;http://x/y.png;\n")),
        ("general.txt", (f"https://example.org\n\n{RULE[:48]}\nGuild: G\nChannel: general\nTopic: \nMessages: 2\n{RULE[:48]}\n\n"
                        "ana#1  [02-Jan-18 05:04 PM]\nhello; you\n\nbob#2  [03-Jan-18 05:05 PM]\ntwo\nlines\n"
                        "https://cdn.discordapp.com/attachments/1/2/y.png\n\n")),
        ("general.txt", (f"\ufeff{RULE}\nGuild:    G\nChannel:  general\nTopic:    \nMessages: 2\nRange:    \n{RULE}\n\n"
                        "ana#1 [02-Jan-18 05:04 PM]\nhello; you\n\nbob#2 [03-Jan-18 05:05 PM]\ntwo\nlines\n"
                        "https://cdn.discordapp.com/attachments/1/2/y.png\n\n")),
        ("general.txt", (f"{RULE}\nGuild: G\nChannel: general\nTopic: \nMessages: 2\nRange: \n{RULE}\n\n"
                        "[02-Jan-18 05:04 PM] ana#1\nhello; you\n\n[03-Jan-18 05:05 PM] bob#2\ntwo\nlines\n\n"
                        "{Attachments}\nhttp://x/y.png\n\n")),
    ],
    ids=["2.10-csv", "2.5-csv", "2.4-text", "2.5-text", "2.15-text"],
)  # fmt: skip
def test_layouts_of_the_first_years(tmp_path: Path, name: str, text: str) -> None:
    path = pack(tmp_path, {name: text}, "file")
    assert certainty(discord_text, path) == 3
    first, second = messages(records(discord_text, path))
    assert (first.author, first.body, first.time_ms) == ("ana#1", "hello; you", 1514912640000)
    assert (second.author, second.body) == ("bob#2", "two\nlines")
    assert [file.name for file in second.attachments] == ["y.png"]


def page(*times: str) -> str:
    head = f"{RULE}\nGuild: G\nChannel: T / c\n{RULE}\n\n"
    return head + "".join(f"[{time}] ana\nx\n\n\n" for time in times)


def test_the_order_of_dates_is_seen_in_the_whole_file(tmp_path: Path) -> None:
    for number, (times, day, sure) in enumerate(
        [
            (["03/04/2020 10:00", "25/04/2020 10:00"], 3, True),
            (["03/04/2020 10:00", "03/25/2020 10:00"], 4, True),
            (["03/04/2020 10:00"], 3, False),
            (["03/04/2020 10:00 AM"], 4, False),
        ]
    ):
        found = records(discord_text, pack(tmp_path, {f"{number}.txt": page(*times)}, "file"))
        assert bool(only(found, Warn)) is not sure
        first = messages(found)[0]
        assert first.time_ms == (1585908000000 if day == 3 else 1583316000000)
    path = pack(tmp_path, {"c.txt": page("2020-04-03 10:00")}, "file")
    first = messages(records(discord_text, path, Options(timezone="Europe/Berlin")))[0]
    assert first.time_ms == 1585900800000


def test_a_count_that_differs_is_a_warning_and_parts_are_one_channel(tmp_path: Path) -> None:
    one, two = page("2020-04-03 10:00"), page("2020-04-04 10:00") + f"{RULE}\nExported 7 message(s)\n{RULE}\n"
    path = pack(tmp_path, {"c [123456789012345678].txt": one, "c [123456789012345678] [part 2].txt": two})
    found = records(discord_text, path)
    assert len(only(found, Channel)) == 1
    assert [message.body for message in messages(found)] == ["x", "x"]
    assert [warning.text for warning in only(found, Warn)] == [  # type: ignore[attr-defined]
        "c [123456789012345678] [part 2].txt says it has 7 messages and has 1"
    ]


def test_a_row_without_a_time_is_reported_and_passed_over(tmp_path: Path) -> None:
    broken = CSV.replace("2024-01-02T17:06:05.0000000+01:00", "some day").replace("never closed,", "closed")
    found = records(discord_text, pack(tmp_path, {"c.csv": broken}, "file"))
    assert only(found, Skipped) == [Skipped("c.csv", "line 4", "no time that can be read")]
    assert len(messages(found)) == 2


def test_foreign_files_are_not_recognised(tmp_path: Path) -> None:
    for text in ("Author,Title\na,b\n", "", f"{RULE}\nTitle\n{RULE}\n", "\xff" * 50):
        path = pack(tmp_path, {"a.csv": text, "b.txt": text})
        assert certainty(discord_text, path) == 0
        with pytest.raises(FormatError):
            records(discord_text, path)


test_any_plain_text_gives_records_or_a_format_error = fuzz(discord_text, NEW.encode(), "c.txt", 30)
test_any_table_gives_records_or_a_format_error = fuzz(discord_text, CSV.encode(), "c.csv", 30)


def test_parts_that_are_numbered_in_a_folder_are_the_channel_of_the_folder(tmp_path: Path) -> None:
    later = CSV.replace("2024-01", "2024-02")
    found = records(discord_text, pack(tmp_path, {"talk/general/1.csv": CSV, "talk/general/2.csv": later}))
    assert only(found, Channel) == [Channel("general", "general")]
    assert len(messages(found)) == 6


def test_a_link_to_an_upload_is_text_where_files_have_a_mark(tmp_path: Path) -> None:
    link = "https://cdn.discordapp.com/attachments/1/2/y.png"
    text = f"{RULE}\nGuild: G\nChannel: c\n{RULE}\n\n[02-Jan-18 05:04 PM] ana#1\n{link}\n\n\n"
    (message,) = messages(records(discord_text, pack(tmp_path, {"c.txt": text})))
    assert (message.body, message.attachments) == (link, ())
