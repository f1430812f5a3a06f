"""Text from outside: shown in a terminal without effects, and checked for broken characters."""

import re

from tagalong.ner.errors import FormatError

# C0, DEL and C1, except line feed and tab; a carriage return is allowed before a line feed.
CONTROL_CHARACTERS = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def escape_unprintable(text: str, *, keep: str = "") -> str:
    """Write every unprintable character as an escape, except those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escape(char) for char in text)


def to_single_line(text: str) -> str:
    """Put a quote on one line: white space collapsed, unprintable characters as escapes."""
    return escape_unprintable(" ".join(text.split()))


def escape_control_characters(text: str) -> str:
    """Write control characters as escapes; line breaks, tabs and blanks stay."""
    return CONTROL_CHARACTERS.sub(lambda match: _escape(match.group()), text)


def reject_lone_surrogates(text: str, where: str, *, field: str = "text") -> str:
    r"""Return a text, or raise `FormatError` if it has half a UTF-16 pair, which no file can hold.

    JSON allows one: the escape ``\\ud83d`` alone. Place and field are for the message.
    """
    if text.isascii():  # most labels; known without a look at the characters
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise FormatError(
            f"{where} has half a character, {half}, at position {error.start} of its {field}: "
            "correct the program that wrote the file",
            code="half-a-character",
        ) from error
    return text


def _escape(text: str) -> str:
    return ascii(text)[1:-1]
