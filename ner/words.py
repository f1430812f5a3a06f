r"""Text to words, by one of several rules.

A model tags words, so an entity begins and ends where a word does. The default rule counts lengths
too. White space, format and control characters belong to no word. A mark belongs to the character
before it, and a joiner does if a letter or mark follows it.

Scripts are told apart by the Unicode names of their characters.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import category, name

Offsets = list[tuple[int, int]]  # half-open, in code points, in order

# By the beginnings of the names of their characters, in Unicode. The first ones are written without
# blanks, or, as Korean, with endings behind a word: each character is a word.
SINGLE_CHARACTER_SCRIPTS = (
    *(
        "CJK ",
        "IDEOGRAPHIC ",
        "HIRAGANA ",
        "KATAKANA",
        "HENTAIGANA ",
        "BOPOMOFO ",
        "YI ",
        "TANGUT ",
    ),
    *("HANGUL ", "THAI ", "LAO ", "KHMER ", "MYANMAR "),
    *("TAI LE ", "NEW TAI LUE ", "TAI THAM ", "TAI VIET ", "JAVANESE ", "BALINESE "),
)
# A word ends where one of these follows another one, but Greek letters stand in Latin words (TNFα).
SCRIPT_GROUPS = (
    *(("LATIN ", "GREEK "), ("CYRILLIC ",), ("ARMENIAN ",), ("GEORGIAN ",), ("HEBREW ",)),
    *(("ARABIC ",), ("SYRIAC ",), ("THAANA ",), ("ETHIOPIC ",), ("TIBETAN ",), ("MONGOLIAN ",)),
    *(("DEVANAGARI ",), ("BENGALI ",), ("GURMUKHI ",), ("GUJARATI ",), ("ORIYA ",), ("TAMIL ",)),
    *(("TELUGU ",), ("KANNADA ",), ("MALAYALAM ",), ("SINHALA ",)),
    *(("COPTIC ",), ("CHEROKEE ",), ("CANADIAN ",), ("NKO ",), ("ADLAM ",), ("TIFINAGH ",)),
    *(("OL CHIKI ",), ("MEETEI MAYEK ",), ("GLAGOLITIC ",)),
)
# Letters by category that join the character before: Thai and Lao AM, voiced sounds in half width,
# and the Korean vowels and final consonants of decomposed syllables.
JOINED_LETTER = re.compile("[\u0e33\u0eb3\uff9e\uff9f\u1160-\u11ff\ud7b0-\ud7c6\ud7cb-\ud7fb]")
JOINERS = "\u200c\u200d"
FILLERS = "\u115f\u2800\u3164\uffa0"  # invisible, although letters or symbols by category

# Classes of characters, one letter each. Letters of a script group are from FIRST_GROUP on.
BLANK, MARK, JOINER, SYMBOL, NUMBER, UNDERSCORE, SINGLE = " mj.0_h"
UPPER, LOWER, GREEK, UNCASED = "ulgc"
BORDERS = (BLANK, SYMBOL, SINGLE)  # no word goes on with them
FIRST_GROUP = 0x100
GROUPS = f"{chr(FIRST_GROUP)}-{chr(FIRST_GROUP + len(SCRIPT_GROUPS) - 1)}"
LATIN, CYRILLIC = chr(FIRST_GROUP), chr(FIRST_GROUP + 1)
# Numbers, and letters without a script here, such as µ, belong to the letters beside them. One
# Cyrillic letter between Latin ones is a misprint, as in IкB.
SCRIPT_WORD = re.compile(
    rf"(?:[0_][0_m]*)?{LATIN}(?:[0_m{LATIN}]|j+(?=[0_m{LATIN}])|{CYRILLIC}(?={LATIN}))*"
    rf"|(?:[0_][0_m]*)?([{GROUPS}])(?:[0_m]|\1|j+(?=[0_m]|\1))*"
    r"|[0_](?:[0_m]|j+(?=[0_m]))*|[h.](?:m|j+(?=m))*|m+"
)
# In a word of the scripts rule. One capital belongs to the small letters behind it.
WORD_PART = re.compile(
    r"(?<!u)um*(?:lm*)+|(?:um*)+(?=um*l)|(?:um*)+|(?:lm*)+|(?:gm*)+|(?:cm*)+|(?:0m*)+|[^ jm]m*|m+"
)
CHARACTER = re.compile(r"[^ jm](?:m|j+(?=m))*|m+")
PLAIN_WORD = re.compile(r"\w+|[^\w\s]")
# Texts of these characters have the same words by this pattern, which is several times as fast.
LATIN_WORD = re.compile(r"\w+|[^\w\s\0-\x1f\x7f-\x9f]")
OTHER_THAN_LATIN = re.compile(
    "[^\0-\xac\xae-\u02e9\u0370-\u03e1\u03f0-\u03ff\u1e00-\u200a\u2010-\u2029\u202f-\u205f"
    "\u2070-\u20cf\u2100-\u27ff\u2801-\u2bff\U0001f300-\U0001faff]"
)


@dataclass(frozen=True, slots=True)
class WordRule:
    """A way to find words, which a version's manifest names."""

    name: str
    description: str
    find_words: Callable[[str], Offsets]  # of a text


class _Classes(dict[int, str]):
    # A table for `str.translate`; a character is classified where it first occurs.
    def __init__(self, classify: Callable[[str], str]) -> None:
        super().__init__()
        self._classify = classify

    def __missing__(self, code: int) -> str:
        self[code] = found = self._classify(chr(code))
        return found


def _class_in_any_rule(char: str) -> str:
    # Empty for letters that no rule treats alike.
    kind = category(char)
    if char in JOINERS:
        return JOINER
    if char.isspace() or kind in ("Cc", "Cf") or char in FILLERS:
        return BLANK
    if kind[0] == "M" or JOINED_LETTER.match(char):
        return MARK
    if char == "_":
        return UNDERSCORE
    if not char.isalnum():
        return SYMBOL
    if kind == "Nd":
        return NUMBER
    return SINGLE if _script_name(char).startswith(SINGLE_CHARACTER_SCRIPTS) else ""


def _script_name(char: str) -> str:
    # The name of a character, which begins with its script.
    return name(char, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")


def _class_by_script(char: str) -> str:
    if found := _class_in_any_rule(char):
        return found
    script = _script_name(char)
    groups = (number for number, group in enumerate(SCRIPT_GROUPS) if script.startswith(group))
    number = next(groups, None)
    return NUMBER if number is None else chr(FIRST_GROUP + number)


def _class_by_case(char: str) -> str:
    if found := _class_in_any_rule(char):
        return found
    if _script_name(char).startswith("GREEK "):
        return GREEK
    kinds = {"Lu": UPPER, "Lt": UPPER, "Ll": LOWER, "Lm": UNCASED, "Lo": UNCASED}
    return kinds.get(category(char), NUMBER)


SCRIPT_CLASSES = _Classes(_class_by_script)
CASE_CLASSES = _Classes(_class_by_case)


def _find_by_script(text: str) -> Offsets:
    if text.isascii() or not OTHER_THAN_LATIN.search(text):
        return [match.span() for match in LATIN_WORD.finditer(text)]
    return [match.span() for match in SCRIPT_WORD.finditer(text.translate(SCRIPT_CLASSES))]


def _find_parts(text: str) -> Offsets:
    classes = text.translate(CASE_CLASSES)
    parts: Offsets = []
    for start, end in _find_by_script(text):
        if end - start == 1:
            parts.append((start, end))
        else:
            parts += (match.span() for match in WORD_PART.finditer(classes, start, end))
    return parts


def _find_characters(text: str) -> Offsets:
    return [match.span() for match in CHARACTER.finditer(text.translate(CASE_CLASSES))]


def _find_plain(text: str) -> Offsets:
    return [match.span() for match in PLAIN_WORD.finditer(text)]


SCRIPTS = WordRule(
    "scripts",
    "letters of one script with digits, or a single mark; in scripts without blanks, a character",
    _find_by_script,
)
PARTS = WordRule(
    "parts", "as scripts, and a word ends where letters meet digits or case changes", _find_parts
)
CHARACTERS = WordRule("characters", "a letter, digit or mark", _find_characters)
# Every character without a blank, of any script, and every mark apart.
PLAIN = WordRule("plain", "the rule of the first release", _find_plain)
DEFAULT_WORD_RULE = SCRIPTS
WORD_RULES: Mapping[str, WordRule] = {
    rule.name: rule for rule in (SCRIPTS, PARTS, CHARACTERS, PLAIN)
}


def word_offsets(text: str) -> Offsets:
    """Find the words of a text by the default rule: half-open offsets in code points, in order."""
    return DEFAULT_WORD_RULE.find_words(text)


def count_words(text: str, start: int, end: int) -> int:
    """The number of words, by the default rule, that share a code point with a stretch."""
    first, last = start, end
    while 0 < first < len(text) and SCRIPT_CLASSES[ord(text[first])] not in BORDERS:
        first -= 1
    while last < len(text) and SCRIPT_CLASSES[ord(text[last])] not in BORDERS:
        last += 1
    words = word_offsets(text[first:last])
    return len(range(*overlapping_words(words, start - first, end - first)))


def overlapping_words(words: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """Find the words that share at least one code point with ``text[start:end]``.

    Returns a half-open range of indices into ``words``; first == last for white space only.
    """
    first = bisect_right(words, start, key=lambda word: word[1])
    last = bisect_left(words, end, key=lambda word: word[0])
    return first, max(first, last)


def is_inside_word(words: Sequence[tuple[int, int]], position: int) -> bool:
    """Whether a position (before that code point) is inside a word, where no span may end."""
    index = bisect_left(words, position, key=lambda word: word[1])
    return index < len(words) and words[index][0] < position < words[index][1]


def trim_to_words(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The stretch without the characters at its edges that belong to no word; None without words.

    Words are those of ``text[start:end]`` alone, so an edge inside a word stays there.
    """
    words = word_offsets(text[start:end])
    return (start + words[0][0], start + words[-1][1]) if words else None
