"""Foreign text for a terminal: a control character must not move, colour or erase anything."""

import re

# C0, DEL and C1, but for what a text is laid out by; a carriage return only before its line feed.
CONTROL_CHARACTERS = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def escape_unprintable(text: str, *, keep: str = "") -> str:
    """Show every character that does not print on its own, for quotes.

    Args:
        text: Any text; control and formatting characters included.
        keep: Characters to leave as they are.

    Returns:
        The text, with such characters as escapes.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else ascii(one)[1:-1] for one in text)


def to_single_line(text: str) -> str:
    """Put a quote on one line, every character of it visible.

    Args:
        text: Any text.

    Returns:
        The text, white space collapsed and what does not print as escapes.
    """
    return escape_unprintable(" ".join(text.split()))


def escape_control_characters(text: str) -> str:
    """Show control characters only, for whole texts: their line breaks, tabs and blanks stay.

    Args:
        text: Any text.

    Returns:
        The text, with such characters as escapes.
    """
    return CONTROL_CHARACTERS.sub(lambda found: ascii(found.group())[1:-1], text)
