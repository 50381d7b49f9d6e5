"""Names for people who have none: drawn by key from lists of several scripts, or found in what is
said of them.

Given names are such as both women and men have, as far as a script has them: what a text says of
its person must not contradict the name. They are no person's: given and family names are drawn
apart.
"""

import re
from collections.abc import Collection, Iterator

from stargate_assets.method.keys import derive_seed
from stargate_assets.method.text import script

_LATIN = (
    "Robin Kim Sasha Alex Noa Dominique Andrea Sam Charlie Jules Camille Luca Mika Yael Ariel Jona "
    "Toni Nikita Morgan Rowan Quinn Amal Nur Ezra Imani Tendai Chi Linh Ash Jamie Kit Marlin Remy "
    "Sunny Devi Ilkay Deniz Aubrey Ellis Finley Harper Kai Lennon Micah Nico Onyx Pau Reese Sky "
    "Tamsin Uche Vivian Wren Yuki Zion Bela Cyd Eden Florin Gale Hollis Indra Jody Kerry",
    "Adeyemi Bakker Castillo Dimitrov Eriksen Fontaine Galvão Haddad Ivanova Janssen Kowalczyk "
    "Lindqvist Moreau Nakamura Okafor Petrescu Quiroga Rahman Santos Tanaka Ueda Varga Whitlock "
    "Ximenes Yilmaz Zeller Abebe Brandt Cohen Doyle Engel Ferreira Greco Hoang Ismail Jovanović "
    "Keller Larsen Mbeki Novák Oyelaran Park Rossi Sandhu Tran Usman Villanueva Weiss Yeo Zhou "
    "Arslan Bianchi Chowdhury Duarte Esposito Fischer Gupta Horvat Iyer Jensen Kaplan Lopez",
)
_CYRILLIC = (
    "Саша Женя Валя Слава Шура Никита Миша Паша Юля Люба Витя Рома Лёня Тоша Рената Геля Ника Ася "
    "Юна Сима",
    "Бондаренко Шевченко Черных Седых Живаго Коваленко Долгих Лысенко Белых Ткаченко Гончар "
    "Мельник Савченко Кравец Руденко Хитрово Дурново Фоменко Майборода Петренко "
    "Юрченко Романюк Швец Чумак",
)
_ARABIC = (
    "نور صباح إحسان جهاد رضا هدى وسام ضياء شمس إسلام نسيم أمل رجاء وفاء سلام نجاة عصمت بهاء "
    "سنا جود",
    "حداد النجار الخطيب منصور صباغ الشامي العلي سليمان البغدادي فرح الحلبي المصري نصار قاسم داود "
    "خوري الزين حمدان طه العمري سعيد شاهين بركات رمضان",
)
_HEBREW = (
    "נועם טל שחר ליאור עדי יובל רוני גל אור שי עמית ירדן מור אריאל חן דר ספיר אלון נטע רון",
    "כהן לוי מזרחי פרץ ביטון דהן אברהם פרידמן מלכה אזולאי כץ יוסף עמר גבאי שפירא אוחיון חדד בר "
    "שלום רוזן",
)
_DEVANAGARI = (
    "किरण ज्योति शशि सुमन मंगल प्रीतम सोनू रजनी हरप्रीत जसप्रीत तरण गुलशन कमल इंदु पूरन मधु रत्न सरस अमन मनु",
    "शर्मा वर्मा गुप्ता मिश्रा जोशी पांडे यादव नायर राव मेहता कपूर चौहान ठाकुर पटेल भट्ट दास सिन्हा "
    "तिवारी त्रिपाठी कुलकर्णी",
)
_HAN = (
    "李 王 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱 高 林 何 郭 马 罗",
    "安 宁 文 晨 子墨 一鸣 雨桐 思远 若溪 明远 嘉禾 欣然 天佑 知行 乐天 小满 书言 "
    "清和 语新 望舒 亦凡 景行 星河 长宁",
)
_KANA = (
    "さとう すずき たかはし たなか いとう わたなべ やまもと なかむら こばやし かとう",
    "ひかる かおる まこと しのぶ なお あおい そら のぞみ ゆうき "
    "みずき はるか りお つばさ あきら いずみ",
)
_HANGUL = (
    "김 이 박 최 정 강 조 윤 장 임 한 오 서 신 권 황 안 송 류 홍",
    "지우 서윤 민서 하늘 가람 은하 현서 지원 수현 유진 다온 "
    "하람 예준 시우 도윤 보람 슬기 새봄 한결 이든",
)
_LISTS = {
    "latin": (_LATIN, " "),
    "cyrillic": (_CYRILLIC, " "),
    "arabic": (_ARABIC, " "),
    "hebrew": (_HEBREW, " "),
    "devanagari": (_DEVANAGARI, " "),
    "cjk": (_HAN, ""),
    "hiragana": (_KANA, " "),
    "katakana": (_KANA, " "),
    "hangul": (_HANGUL, ""),
}
"""By script: what stands first and second in a name, and what between."""

_INITIALS = "ABCDEFGHIJKLMNOPRSTUVWYZ"
TRIES = 500
"""Names that are tried for a person, with and without an initial: in 3,600 Latin ones few are
taken twice before most are taken.
"""
_WORD = r"[^\W\d_a-z][^\W\d_]*(?:['’-][^\W\d_]+)*"
_INTRODUCED = re.compile(
    rf"(?:^Name: *|\b[Mm]y name(?: is|['’]s) |\bI(?: am|['’]m) called |\b[Cc]all me )"
    rf"(?P<name>{_WORD}(?: {_WORD}){{0,2}})",
    re.MULTILINE,
)
_OPENING = re.compile(
    rf"(?P<name>{_WORD}(?: {_WORD}){{1,2}})(?=,| is | was | has | works | lives )"
)
_ARTICLES = ("A ", "An ", "The ", "This ", "As ", "My ", "In ", "With ", "At ")


def candidate_names(text: str, seed: int, key: str) -> Iterator[str]:
    """Names in the script of a text, in an order drawn by key: some of the lists, and then some
    with an initial between, each once.
    """
    (first, second), between = _LISTS.get(script(text), _LISTS["latin"])
    firsts, seconds = first.split(), second.split()
    start, count = derive_seed(seed, "name", key), len(firsts) * len(seconds)
    for step in range(min(TRIES, count)):
        place, one = divmod((start + step) % count, len(firsts))
        # Names next to each other differ in both words.
        yield f"{firsts[one]}{between}{seconds[(place + one) % len(seconds)]}"
    for step in range(TRIES):
        rest, one = divmod(start + step, len(firsts))
        place, letter = divmod(rest, len(_INITIALS))
        yield f"{firsts[one]} {_INITIALS[letter]}. {seconds[place % len(seconds)]}"


def draw_name(text: str, seed: int, key: str, taken: Collection[str]) -> str | None:
    """The first candidate that is not in `taken` and of which no word stands in the text; None if
    there is none.
    """
    for name in candidate_names(text, seed, key):
        if name not in taken and not any(word in text for word in name.split() if len(word) > 2):
            return name
    return None


def found_name(text: str) -> str | None:
    """The name that a text introduces its person by, or opens with; None without one."""
    if match := _INTRODUCED.search(text):
        return match["name"]
    match = _OPENING.match(text)
    if match is None or match["name"].startswith(_ARTICLES):
        return None
    return match["name"]
