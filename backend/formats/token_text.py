"""Tokens to text: the white space between tokens that a file does not have."""

import re
from collections.abc import Collection, Sequence
from itertools import accumulate
from unicodedata import category

# Scripts written without blanks, and their punctuation: Thai, Lao, Burmese, Khmer, ideographic
# marks, kana, bopomofo, Han, full-width forms.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f"
    "\u2e80-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
UNSPACED_EDGE = re.compile(rf"[{UNSPACED}]\n[{UNSPACED}]")
HAS_UNSPACED = re.compile(f"[{UNSPACED}]")
INVISIBLE = frozenset({"Cc", "Cf"})  # categories of control and format characters
MIN_CHARACTER_TOKENS = 50  # fewer do not show that every token of a file is a character


def is_character_file(tokens: Sequence[str]) -> bool:
    """Whether tokens are single characters, most of scripts without blanks: "m", "g" is "mg"."""
    if len(tokens) < MIN_CHARACTER_TOKENS or any(len(token) > 1 for token in tokens):
        return False
    return 2 * sum(HAS_UNSPACED.match(token) is not None for token in tokens) > len(tokens)


def join_tokens(
    tokens: Sequence[str], *, glued: Collection[int] = (), without_blanks: bool = False
) -> tuple[str, list[int]]:
    """Join tokens by blanks, but for scripts that are written without.

    Args:
        tokens: the tokens of a sentence
        glued: indices of tokens with no white space behind them
        without_blanks: whether no token has a blank behind it

    Returns:
        The text, and the offset in it where each token starts.
    """
    text = " ".join(tokens)
    if not tokens:
        return text, []
    if not (glued or without_blanks or HAS_UNSPACED.search(text)):  # nearly all
        lengths = (len(token) + 1 for token in tokens[:-1])
        return text, list(accumulate(lengths, initial=0))
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for index, token in enumerate(tokens):
        if index and not without_blanks and (index - 1) not in glued:
            before = tokens[index - 1][-1:]
            if not UNSPACED_EDGE.fullmatch(f"{before}\n{token[:1]}"):
                parts.append(" ")
                length += 1
        starts.append(length)
        parts.append(token)
        length += len(token)
    return "".join(parts), starts


def align_tokens(tokens: Sequence[str], text: str) -> list[int] | None:
    """Find where each token starts in its text; None if the text has others.

    White space, control and format characters of the text may be in no token.
    """
    starts, position = [], 0
    for token in tokens:
        while position < len(text) and (
            text[position].isspace()
            or (category(text[position]) in INVISIBLE and not text.startswith(token, position))
        ):
            position += 1
        if not text.startswith(token, position):
            return None
        starts.append(position)
        position += len(token)
    rest = (char for char in text[position:] if category(char) not in INVISIBLE)
    return None if "".join(rest).strip() else starts
