"""WhatsApp's own words in the languages it is used in: what its exports write between people's texts.

An export is plain text in the phone's language. Morning and afternoon, "file attached", "media omitted",
"this message was deleted", "added", "left" are all words in it, told from a person's words by their
place, by the invisible U+200E that newer versions put before them, and by the tables here. A language
not here loses nothing: the words stay in the message as text.
"""

from __future__ import annotations

import re

MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"

_MORNING = (
    "am 上午 午前 早上 清晨 凌晨 오전 ص قظ पूर्वाह्न पूर्व পূর্বাহ্ণ de πμ sa ก่อนเที่ยง öö fm pg paradite dop ap vorm"
)
_AFTERNOON = (
    "pm 下午 午後 中午 晚上 오후 م بظ अपराह्न अपर অপরাহ্ণ du μμ ch หลังเที่ยง ös em ptg pasdite odp ip nachm nm"
)
MORNING = frozenset(_MORNING.split())
AFTERNOON = frozenset(_AFTERNOON.split())

CHAT_NAME = re.compile(
    r"^(?:.*?whats\s?app\S*(?:\s+chat)?\s+(?:with|com|con|mit|avec|met|med|cu|ze?|s|til|kanssa"
    r"|с контактом|с|з|dengan|-|–)\s+"
    r"|(?:whatsapp[ _-]*)?chat[ _]+(?:with|mit|con|com)[ _]+)",
    re.I,
)
CHAT_NAME_INSIDE = re.compile(  # where the language puts the name before "WhatsApp"
    r"^[与與和](?P<zh>.+?)的\s?WhatsApp\s?(?:聊天|對話|对话).*$|^(?P<hi>.+?) के साथ WhatsApp.*$"
    r"|^(?P<ja>.+?)との(?:WhatsApp)?トーク.*$"
    r"|^(?P<ko>.+?)님과 WhatsApp.*$|^WhatsApp\s?(?:ile|ve) (?P<tr>.+?) (?:sohbeti|arasındaki sohbet).*$",
    re.I,
)

ATTACHED = re.compile(
    r"^\u200e?(?P<name>[^\n<>"
    r"|]{1,255}?\.[A-Za-z0-9]{1,8})\s+[(<]\u200e?(?P<word>[^()<>\n]{3,40})[)>]\s*(?:\n|$)"
)
ATTACHED_WORDS = re.compile(
    r"attach|anex|adjunt|angeh|anhang|joint|allegat|bijgev|bijlage|файл|вложен|додан|ekl[iü]|eklen"
    r"|lampir|terlampir"
    r"|załącz|bifog|vedlagt|vedhæft|liite|συνημμ|ataşat|atașat|přilož|prilož|csatol|添付|附件|附加"
    r"|첨부|مرفق|מצורף|संलग्न|แนบ|đính kèm",
    re.I,
)
ATTACHED_TAG = re.compile(r"\u200e?<(?P<word>[^<>:\n]{2,30}):\s*(?P<name>[^<>\n]{1,255}\.[A-Za-z0-9]{1,8})>")

OMITTED_TAG = re.compile(r"^\u200e?<(?P<word>[^<>\n/=]{4,60})>\s*(?:\n|$)")
OMITTED_WORDS = re.compile(
    r"medi[aeo]|mídia|média|medya|mediá|multim|omitted|omitid|omess|omis|ocult|weggela|ausgeschl"
    r"|медиа|медіа|без файл|файл проп"
    r"|медиј|мултимедиј|мультимеди|medij|media|mèdia|fitxer|رسانه|میڈیا|ausgelassen|izostavlj|geen media|maudhui|meediu"
    r"|メディア|媒体|媒體|미디어|وسائط|מדיה|मीडिया|สื่อ|phương tiện|πολυμέσ",
    re.I,
)
OMITTED_LINE = re.compile(
    r"^(?P<word>[^\n]{0,120}?[\u200e\u200f]?[^\n\u200e\u200f]{0,40}?(?:omitted|omitid[ao]|ocult[ao]|ocultad[ao]"
    r"|omess[ao]|weggelassen|ausgelassen|weggelaten|absente?"
    r"|omise?s?|пропущен[ао]?|отсутствует|dahil edilmedi|pominięt[aoye]|utelämnad|utelatt|udeladt"
    r"|kihagyva|vynechán[ao]?"
    r"|省略|略去|忽略|除外されました|생략됨|생략|jätettiin pois|παραλείφθηκε|ละเว้น|tidak disertakan|omis[ăe]|خارج الملف|הושמט[ה]?"
    r"|忽略[^\n]{1,8}|تم استبعاد [^\n]{2,30}|pominięto [^\n]{2,30}))[.。]?\s*$",
    re.I,
)

EDITED_TAG = re.compile(
    r"\u200e?<\u200e?(?P<word>[^<>:\n]{4,60})>\s*$",
)
EDITED_WORDS = re.compile(
    r"edited|bearbeitet|editad|editó|modifi[ée]|modificat|bewerkt|изменен|змінен|отредакт|düzenlen"
    r"|diedit|disunting|edytowan"
    r"|redigera|redigert|redigeret|muokat|επεξεργ|editat|upraven|szerkeszt|編集|編輯|编辑|수정"
    r"|編集済|تعديل|ویرایش|נערכ|संपादित|बदला गया|แก้ไข|chỉnh sửa|upraven|uređen|редагован|редактиран|editat|muudet|rediġ|gewysig",
    re.I,
)

DELETED = frozenset(
    line.strip().casefold()
    for line in """
    this message was deleted
    you deleted this message
    diese nachricht wurde gelöscht
    du hast diese nachricht gelöscht
    mensagem apagada
    essa mensagem foi apagada
    esta mensagem foi apagada
    esta mensagem foi eliminada
    você apagou esta mensagem
    você apagou essa mensagem
    apagou esta mensagem
    eliminaste este mensaje
    se eliminó este mensaje
    este mensaje fue eliminado
    este mensaje ha sido eliminado
    ce message a été supprimé
    vous avez supprimé ce message
    questo messaggio è stato eliminato
    hai eliminato questo messaggio
    dit bericht is verwijderd
    dit bericht werd verwijderd
    u hebt dit bericht verwijderd
    je hebt dit bericht verwijderd
    данное сообщение удалено
    вы удалили данное сообщение
    это сообщение было удалено
    це повідомлення було видалено
    ви видалили це повідомлення
    bu mesaj silindi
    bu mesajı sildiniz
    bu mesajı sildin
    pesan ini telah dihapus
    pesan ini dihapus
    anda menghapus pesan ini
    anda telah menghapus pesan ini
    ta wiadomość została usunięta
    wiadomość została usunięta
    usunięto tę wiadomość
    detta meddelande raderades
    meddelandet raderades
    du raderade detta meddelande
    denne meldingen ble slettet
    du slettet denne meldingen
    denne besked blev slettet
    du slettede denne besked
    tämä viesti poistettiin
    poistit tämän viestin
    αυτό το μήνυμα διαγράφηκε
    διαγράψατε αυτό το μήνυμα
    acest mesaj a fost șters
    ați șters acest mesaj
    tato zpráva byla odstraněna
    tato zpráva byla smazána
    ezt az üzenetet törölték
    törölted ezt az üzenetet
    このメッセージは削除されました
    このメッセージを削除しました
    メッセージを削除しました
    此消息已删除
    此消息已被删除
    此訊息已刪除
    此訊息已遭刪除
    您删除了此消息
    你已刪除此訊息
    您已刪除此訊息
    삭제된 메시지입니다
    메시지를 삭제했습니다
    تم حذف هذه الرسالة
    لقد حذفت هذه الرسالة
    حذفت هذه الرسالة
    הודעה זו נמחקה
    מחקת הודעה זו
    यह मैसेज हटा दिया गया
    यह संदेश हटा दिया गया
    यह मैसेज मिटा दिया गया है
    आपने यह मैसेज मिटा दिया
    tin nhắn này đã bị xóa
    ข้อความนี้ถูกลบแล้ว
    ข้อความนี้ถูกลบ
    คุณลบข้อความนี้
    यह मैसेज मिटाया गया
    यह मैसेज डिलीट किया गया
    आपने इस मैसेज को मिटाया
    you deleted this message as admin
    это сообщение удалено
    сообщение удалено
    вы удалили это сообщение
    це повідомлення видалено
    повідомлення видалено
    táto správa bola odstránená
    túto správu ste odstránili
    tuto zprávu jste smazali
    tuto zprávu jste odstranili
    poruka je izbrisana
    ova je poruka izbrisana
    izbrisali ste ovu poruku
    ova poruka je obrisana
    обрисали сте ову поруку
    ова порука је обрисана
    това съобщение бе изтрито
    това съобщение е изтрито
    вие изтрихте това съобщение
    s'ha suprimit aquest missatge
    has suprimit aquest missatge
    mensaxe eliminada
    این پیام حذف شده است
    این پیام حذف شد
    شما این پیام را حذف کردید
    یہ پیغام حذف کر دیا گیا تھا
    mesej ini telah dipadam
    mesej ini telah dipadamkan
    anda telah memadam mesej ini
    bạn đã xóa tin nhắn này
    ez az üzenet törölve lett
    wiadomość usunięta
    usunięto wiadomość
    esborrat aquest missatge
    ujumbe huu umefutwa
    ulifuta ujumbe huu
    hierdie boodskap is geskrap
    jy het hierdie boodskap geskrap
    此消息已被撤回
    您已删除此消息
    你删除了这条消息
    此訊息已被刪除
    see sõnum kustutati
    kustutasid selle sõnumi
    šis ziņojums tika dzēsts
    ši žinutė ištrinta
    to sporočilo je bilo izbrisano
    izbrisali ste to sporočilo
    ky mesazh u fshi
    """.splitlines()
    if line.strip()
)
DELETED_BY_ADMIN = re.compile(r"this message was deleted by |dieser? nachricht wurde von .* gelöscht", re.I)

_KINDS = (
    (
        "pin",
        (
            r"\bpinned a message|\bunpinned|fixou uma mensagem|angepinnt|angeheftet|fijó un mensaje"
            r"|épinglé|fissato|vastgemaakt|закрепил"
        ),
    ),
    (
        "name",
        (
            r"changed the (?:subject|group name)|changed this group's name|mudou o (?:assunto|nome)"
            r"|alterou o nome|Betreff|Gruppennamen"
            r"|cambió (?:el asunto|el nombre)|changé (?:le sujet|le nom|l'objet)|(?:l'oggetto"
            r"|nome del gruppo)|onderwerp|groepsnaam"
            r"|изменил[аи]? (?:тему|название)|konuyu|grup adını|temat grupy|nazwę grupy|件名|グループ名"
            r"|群組名稱|群名称|그룹 이름"
        ),
    ),
    (
        "topic",
        (
            r"description|descrição|Beschreibung|descripción|descrizione|beschrijving|описание"
            r"|opis grupy|açıklamas|説明|描述|說明"
        ),
    ),
    (
        "leave",
        (
            r"\bleft\b|\bremoved\b|\bsaiu\b|\bremoveu\b|\bremovid|verlassen|entfernt|\bsalió\b"
            r"|eliminó a|\bquitté\b|\bretiré\b|uscit|abbandonato"
            r"|rimoss|verlaten|verwijderd|вышел|вышла|покинул|удалил|исключил|ayrıldı|çıkardı|keluar"
            r"|mengeluarkan|opuścił|usun[ąę]ł|lämnade"
            r"|tog bort|退会|退出|離開|削除|移除|나갔|내보냈|غادر|أزال|עזב|הסיר"
        ),
    ),
    (
        "join",
        (
            r"\bjoined\b|\badded\b|\badicion|\bentrou\b|hinzugefügt|beigetreten|\bunió\b|\bañadi"
            r"|\bagreg|ajouté|rejoint|aggiunt|unit[oa]\b|entrat[oa]\b"
            r"|toegevoegd|neemt nu deel|добавил|присоедин|вступил|ekledi|katıldı|menambahkan|bergabung"
            r"|dodał|dołączył|lade till|gick med|参加|追加"
            r"|加入|新增|초대|들어왔|انضم|أضاف|הצטרף|הוסיף"
        ),
    ),
)
KINDS = tuple((kind, re.compile(words, re.I)) for kind, words in _KINDS)


def notice_kind(text: str) -> str:
    """Which kind of notice WhatsApp's own line is."""
    for kind, words in KINDS:
        if words.search(text):
            return kind
    return "other"


def half_of_day(word: str) -> str | None:
    """ "am", "pm", or None for a word that is neither."""
    if not word:
        return None
    plain = re.sub(r"[.\s\u00a0\u202f\u200e\u200f]", "", word).casefold()
    if plain in MORNING:
        return "am"
    return "pm" if plain in AFTERNOON else None


def is_deleted(text: str) -> bool:
    """Is this what WhatsApp shows in place of a deleted message?"""
    if len(text) > 120:
        return False
    plain = text.strip(" .。!" + MARKS).casefold()
    return plain in DELETED or (len(plain) < 120 and DELETED_BY_ADMIN.match(plain) is not None)
