"""Foreign text for a terminal: a control character must not move, colour or erase anything."""

import re

# C0, DEL and C1, but for what a text is laid out by; a carriage return only before its line feed.
CONTROL = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def visible(text: str, *, keep: str = "") -> str:
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


def on_one_line(text: str) -> str:
    """Put a quote on one line, every character of it visible.

    Args:
        text: Any text.

    Returns:
        The text, white space collapsed and what does not print as escapes.
    """
    return visible(" ".join(text.split()))


def without_controls(text: str) -> str:
    """Show control characters only, for whole texts: their line breaks, tabs and blanks stay.

    Args:
        text: Any text.

    Returns:
        The text, with such characters as escapes.
    """
    return CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)
