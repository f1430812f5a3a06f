"""Numbers with their nouns, for messages."""


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun in the right form; the plural is the noun with an s, or given."""
    if number != 1:
        noun = plural or (f"{noun[:-1]}ies" if noun.endswith("ity") else f"{noun}s")
    return f"{number:,} {noun}"
