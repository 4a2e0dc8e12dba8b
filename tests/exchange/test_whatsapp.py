"""WhatsApp: dates of many languages, WhatsApp's own lines, files, and the sample exports."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.errors import FormatError
from quire.exchange import whatsapp
from quire.exchange.model import Attachment, Author, Channel, Options, Skipped, Warn
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

NOON = 1577970300000  # 2020-01-02T13:05:00Z
NN, LRM = "\u202f", "\u200e"

BEGINNINGS = [
    "02/01/2020, 13:05 - ", "02/01/20, 1:05 pm - ", f"1/2/20, 1:05{NN}PM - ", "2020-01-02, 13:05 - ", "02.01.20, 13:05 - ",
    "02/01/2020 13.05 - ", "02/01/2020 à 13:05 - ", f"2/1/2020, 1:05 p.{NN}m. - ", "2020/01/02 下午1:05 - ",
    "2020. 1. 2. 오후 1:05 - ", "2020. 01. 02. 13:05 - ", "02-01-2020 13:05 - ", "٢/١/٢٠٢٠، ١:٠٥ م - ",
    "[02/01/2020, 13:05:00] ", f"[1/2/20, 1:05:00{NN}PM] ", f"{LRM}[02.01.20, 13:05:00] ", "[2020-01-02, 1:05:00 p.m.] ",
    "[2020/1/2 下午1:05:00] ", "02/01/20 13:05:00: ", "2.1.2020 klo 13.05 - ", "02.01.20 г., 13:05 - ", "2/1/2563 13:05 - ",
]  # fmt: skip


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_language_s_dates(tmp_path: Path, beginning: str) -> None:
    # A second line, in the same form, settles the order of days and months.
    later = (
        beginning.replace("02", "25", 1).replace("/2/20", "/25/20")
        if "2/1/" not in beginning and "2.1." not in beginning
        else beginning
    )
    if "2020/" in beginning or "2020-0" in beginning or "2020. " in beginning or "/2563" in beginning:
        later = beginning
    path = pack(tmp_path, {"WhatsApp Chat with Ann.txt": f"{beginning}Ann: hello\n{later}Bob: x\n"}, "file")
    assert certainty(whatsapp, path) == 3
    first, second = messages(records(whatsapp, path))
    assert (first.author, first.body, first.time_ms) == ("Ann", "hello", NOON)
    assert (second.author, second.body) == ("Bob", "x")


@pytest.mark.parametrize(
    "words", [f"{LRM}圖片已略去", f"{LRM}忽略图片", "\u200fהתמונה הושמטה", f"{LRM}تم استبعاد الصورة", f"{LRM}pominięto obraz",
              f"{LRM}kuva jätettiin pois", f"{LRM}画像は除外されました"],
)  # fmt: skip
def test_what_an_iphone_writes_for_a_file_left_out(tmp_path: Path, words: str) -> None:
    path = pack(
        tmp_path, {"_chat.txt": f"[02.01.20, 13:05:00] Ann: hi\n{LRM}[02.01.20, 13:05:00] Bob: {words}\n"}
    )
    found = messages(records(whatsapp, path))[1]
    assert (found.author, found.body, found.notice, len(found.attachments)) == ("Bob", "", "", 1)


def order_of(tmp_path: Path, *dates: str, options: Options | None = None) -> tuple[list[int], int]:
    text = "".join(f"{date}, 10:00 - Ann: x\n" for date in dates)
    found = records(whatsapp, pack(tmp_path, {"WhatsApp Chat with Ann.txt": text}), options)
    days = [m.time_ms // 86_400_000 - 18262 for m in messages(found)]  # since 2020-01-01
    return days, len(only(found, Warn))


def test_the_order_of_dates_is_seen_in_the_whole_file(tmp_path: Path) -> None:
    assert order_of(tmp_path, "01/02/20", "13/02/20") == ([31, 43], 0)
    assert order_of(tmp_path, "01/02/20", "01/13/20") == ([1, 12], 0)
    assert order_of(tmp_path, "02/01/20", "03/01/20", "01/02/20") == ([1, 2, 31], 0), (
        "or else time would run back"
    )
    assert order_of(tmp_path, "01/02/20", "01/03/20", "02/01/20") == ([1, 2, 31], 0)
    assert order_of(tmp_path, "20/01/31", "20/02/01") == ([30, 31], 0)
    assert order_of(tmp_path, "02/02/20", "03/03/20") == ([32, 62], 1), (
        "either order: said, and the common one taken"
    )
    assert order_of(tmp_path, "02/03/20", options=Options(date_order="mdy")) == ([33], 0)
    assert order_of(tmp_path, "02/03/20", options=Options(date_order="dmy")) == ([61], 0)


def test_the_zone_may_be_said(tmp_path: Path) -> None:
    path = pack(tmp_path, {"_chat.txt": "[15/07/20, 10:00:00] Ann: x\n"}, "file")
    (message,) = messages(records(whatsapp, path, Options(timezone="Europe/Berlin")))
    assert message.time_ms == 1594800000000


CHAT = (
    "15/01/20, 10:00 - Messages and calls are end-to-end encrypted. Tap to learn more.\n"
    '15/01/20, 10:01 - Ann created group "Trip: Rome"\n'
    "15/01/20, 10:02 - Ann added Bob\n"
    "15/01/20, 10:03 - Bob: first line\nsecond *bold* and ~struck~ `*not*`\n\n10:03 not a beginning\n"
    "15/01/20, 10:04 - Ann: <Media omitted>\n"
    f"15/01/20, 10:05 - Ann: {LRM}IMG-20200115-WA0001.jpg (file attached)\nlook at this\n"
    "15/01/20, 10:05 - Ann: IMG-2.jpg (Datei angehängt)\n"
    "15/01/20, 10:06 - Bob: This message was deleted\n"
    f"15/01/20, 10:07 - Bob: better now {LRM}<This message was edited>\n"
    "15/01/20, 10:08 - Bob: hi @\u2068Ann B\u2069!\n"
    "15/01/20, 10:09 - Bob:\n"
    "15/01/20, 10:10 - Bob: see notes.txt (my own)\n"
    "[15/01/20, 10:11:00] Ann: pasted from an iPhone\n"
    "15/01/20, 10:12 - Bob left\n"
)  # fmt: skip


@pytest.mark.parametrize("how", PACKINGS)
@pytest.mark.parametrize(
    "name", ["WhatsApp Chat with Trip.txt", "Conversa do WhatsApp com Trip.txt", "x/Trip/_chat.txt"]
)
def test_an_android_chat(tmp_path: Path, name: str, how: str) -> None:
    path = pack(
        tmp_path, {name: CHAT, "IMG-20200115-WA0001.jpg": b"\xff\xd8", "__MACOSX/._x.txt": b"\0"}, how
    )
    assert certainty(whatsapp, path) == 3
    found = records(whatsapp, path)
    assert only(found, Channel) == [Channel("Trip", "Trip", kind="group")]
    assert [(m.notice, m.author) for m in messages(found) if m.notice] == [
        ("other", ""), ("other", ""), ("join", ""), ("leave", ""),
    ]  # fmt: skip
    text, omitted, image, german, gone, edited, mention, empty, own = [
        m for m in messages(found) if not m.notice
    ]
    assert text.body == "first line\nsecond **bold** and ~~struck~~ `*not*`\n\n10:03 not a beginning"
    assert omitted.attachments == (Attachment("Media omitted"),)
    assert image.attachments == (Attachment("IMG-20200115-WA0001.jpg", "IMG-20200115-WA0001.jpg"),)
    assert (image.body, german.attachments[0].name) == ("look at this", "IMG-2.jpg")
    assert (gone.deleted, gone.body) == (True, "")
    assert (edited.edited_ms, edited.body) == (edited.time_ms, "better now")
    assert (mention.body, mention.mentions, empty.body) == ("hi @Ann B!", ("Ann B",), "")
    assert own.attachments == ()
    assert own.body.endswith("[15/01/20, 10:11:00] Ann: pasted from an iPhone"), (
        "the other phone's form is text here"
    )
    assert only(found, Author) == [Author("Bob", "Bob"), Author("Ann", "Ann")]


def test_an_iphone_chat(tmp_path: Path) -> None:
    text = (
        f"\ufeff[15/01/20, 10:00:00] Trip: {LRM}Messages and calls are end-to-end encrypted.\r\n"
        f"[15/01/20, 10:00:01] Ann: {LRM}Ann added Bob\r\n"
        f"{LRM}[15/01/20, 10:00:02] ~{NN}Ann: {LRM}<attached: 00000012-PHOTO-2020-01-15.jpg>\r\n"
        f"{LRM}[15/01/20, 10:00:03] ~{NN}Ann: {LRM}image omitted\r\n"
        f"{LRM}[15/01/20, 10:00:04] Bob: a.pdf • {LRM}2 pages {LRM}<Anhang: 13-a.pdf>\r\n"
        f"[15/01/20, 10:00:05] Bob: {LRM}You deleted this message.\r\n"
        f"[15/01/20, 10:00:06] Bob: {LRM}Location: https://maps.example/?q=1,2\r\n"
        f"[15/01/20, 10:00:07] Bob: {LRM}POLL:\r\nTea?\r\n{LRM}OPTION: yes (2 votes)\r\n"
    )
    found = messages(records(whatsapp, pack(tmp_path, {"_chat.txt": text}, "zip", "WhatsApp Chat - Trip")))
    assert [m.notice for m in found] == ["other", "join", "", "", "", "", "", ""]
    assert {m.channel for m in found} == {"Trip"}
    photo, omitted, document, gone, place, poll = found[2:]
    assert (photo.author, photo.attachments[0].name, photo.body) == (
        "Ann",
        "00000012-PHOTO-2020-01-15.jpg",
        "",
    )
    assert omitted.attachments == (Attachment("image omitted"),)
    assert (document.attachments[0].name, document.body) == ("13-a.pdf", f"a.pdf • {LRM}2 pages")
    assert (gone.deleted, place.body, poll.body.split("\n")[1]) == (
        True,
        "Location: https://maps.example/?q=1,2",
        "Tea?",
    )


@pytest.mark.parametrize(
    "words",
    ["Diese Nachricht wurde gelöscht.", "Mensagem apagada", "Se eliminó este mensaje", "Ce message a été supprimé",
     "Данное сообщение удалено", "此消息已删除", "このメッセージは削除されました", "تم حذف هذه الرسالة", "Bu mesaj silindi"],
)  # fmt: skip
def test_deleted_in_other_languages(tmp_path: Path, words: str) -> None:
    path = pack(
        tmp_path,
        {"_chat.txt": f"[15/01/20, 10:00:00] Ann: {words}\n[15/01/20, 10:00:00] Ann: {words} really\n"},
        "file",
    )
    assert [m.deleted for m in messages(records(whatsapp, path))] == [True, False]


def test_overlapping_exports_give_one_name_to_one_message(tmp_path: Path) -> None:
    lines = [
        f"15/01/20, 10:{n:02} - Ann: ok\n15/01/20, 10:{n:02} - Ann: ok\n15/01/20, 10:{n:02} - Bob: a\nb {n}\n"
        for n in range(30)
    ]
    one = messages(
        records(whatsapp, pack(tmp_path, {"WhatsApp Chat with T.txt": "".join(lines[:20])}, name="a"))
    )
    two = messages(
        records(whatsapp, pack(tmp_path, {"WhatsApp Chat with T (1).txt": "".join(lines[10:])}, name="b"))
    )
    assert len({m.id for m in one}) == 60
    assert len({(m.channel, m.id) for m in one} & {(m.channel, m.id) for m in two}) == 30


def test_impossible_dates_and_loose_lines_are_reported(tmp_path: Path) -> None:
    text = "a title\n15/01/20, 10:00 - Ann: x\n31/02/20, 10:00 - Ann: y\n16/01/20, 10:00 - Ann: z\n"
    found = records(whatsapp, pack(tmp_path, {"WhatsApp Chat with T.txt": text}))
    assert [m.body for m in messages(found)] == ["x", "z"]
    assert [(s.position, s.reason) for s in only(found, Skipped)] == [  # type: ignore[attr-defined]
        ("line 1", "this belongs to no message"),
        ("line 3", "no such date"),
    ]


def test_other_texts_are_no_chats(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.txt": "Dear all,\nsee you on 15/01/20, 10:00 - Ann\n"})
    assert certainty(whatsapp, path) == 0
    with pytest.raises(FormatError):
        records(whatsapp, pack(tmp_path, {"b.txt": "nothing\n"}, name="b"))


def test_the_sample_with_media() -> None:
    path = corpus("small-samples/whatsapp-group-with-media/Conversa do WhatsApp com Teste.zip")
    assert certainty(whatsapp, path) == 3
    found = tally(records(whatsapp, path), whatsapp.NOTICES_ARE_MESSAGES)
    assert (found["messages"], found["notices"], found["attachments"], found["authors"]) == (12, 7, 4, 2)
    assert (found["skipped"], found["warnings"]) == (0, 0)


@pytest.mark.parametrize("order", ["ddmmyy", "mmddyy", "yyyymmdd"])
def test_the_samples_of_date_orders(order: str) -> None:
    name = f"whatsapp-date-formats/test_{order}_24hrs.txt"
    counts = expected("small-samples")[name]
    found = tally(records(whatsapp, corpus(f"small-samples/{name}")), whatsapp.NOTICES_ARE_MESSAGES)
    assert found["messages"] == counts["with_sender"]
    assert found["records"] == counts["header_lines"]
    assert (found["first_ms"], found["last_ms"]) == (1546341900000, 1640901660000), "the same in all three"
    assert (found["skipped"], found["warnings"]) == (0, 0)


test_spoiled_chats = fuzz(whatsapp, CHAT.encode(), "WhatsApp Chat with T.txt", 150)
test_spoiled_iphone_chats = fuzz(whatsapp, b"".join(f"{b}Ann: x\n".encode() for b in BEGINNINGS), "_chat.txt")


def test_a_file_that_names_no_chat_is_called_as_its_first_line_says(tmp_path: Path) -> None:
    words = "Messages and calls are end-to-end encrypted."
    text = f"{LRM}[25.02.20, 13:05:00] Trip 🏖: {LRM}{words}\n[25.02.20, 13:06:00] Ann: hi\n"
    path = pack(tmp_path, {"_chat.txt": text}, "file")
    assert [c.name for c in only(records(whatsapp, path), Channel)] == ["Trip 🏖"]  # type: ignore[attr-defined]
    inside = pack(tmp_path, {"_chat.txt": text}, "zip", "WhatsApp Chat - Rome")
    assert [c.name for c in only(records(whatsapp, inside), Channel)] == ["Rome"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["与Ann的 WhatsApp 聊天", "Ann के साथ WhatsApp चैट", "Annとのトーク", "WhatsApp Chat with Ann"]
)
def test_a_chats_name_in_other_languages(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path, {f"{name}.txt": "25/02/2020, 13:05 - Ann: hi\n"}, "file")
    assert [c.name for c in only(records(whatsapp, path), Channel)] == ["Ann"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "words", ["यह मैसेज मिटाया गया", "Це повідомлення видалено", "ข้อความนี้ถูกลบ", "Táto správa bola odstránená",
              "Poruka je izbrisana",
              "S'ha suprimit aquest missatge", "این پیام حذف شده است", "Mesej ini telah dipadam", "Wiadomość usunięta",
              "您已删除此消息",
              "Сообщение удалено", "You deleted this message as admin"],
)  # fmt: skip
def test_deleted_in_more_languages(tmp_path: Path, words: str) -> None:
    text = f"25/02/2020, 13:05 - Ann: hi\n25/02/2020, 13:06 - Ann: {words}\n"
    assert [m.deleted for m in messages(records(whatsapp, pack(tmp_path, {"c.txt": text})))] == [False, True]


@pytest.mark.parametrize(
    "words",
    ["<Medij je izostavljen>", "<S'ha omès el fitxer>", "<رسانه حذف شده>", "<Мултимедијата је изостављена>"],
)
def test_files_left_out_in_more_languages(tmp_path: Path, words: str) -> None:
    text = f"25/02/2020, 13:05 - Ann: hi\n25/02/2020, 13:06 - Ann: {words}\n"
    assert [len(m.attachments) for m in messages(records(whatsapp, pack(tmp_path, {"c.txt": text})))] == [
        0,
        1,
    ]


def test_a_document_that_was_left_out_keeps_its_name(tmp_path: Path) -> None:
    text = f"[25.02.20, 13:05:00] Ann: hi\n[25.02.20, 13:06:00] Bob: {LRM}Plan.pdf • {LRM}3 Seiten {LRM}Dokument weggelassen\n"
    found = messages(records(whatsapp, pack(tmp_path, {"_chat.txt": text})))[1]
    assert (found.attachments, found.body) == ((Attachment("Plan.pdf"),), "")
