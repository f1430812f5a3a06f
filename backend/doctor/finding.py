"""What a check says: how it stands, in one sentence, and how to mend it."""

from dataclasses import dataclass
from typing import Literal

CheckStatus = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        status: A problem keeps something from working; a warning may well be meant.
        sentence: What was found, or why it was not looked for.
        remedy: What to do; empty where nothing has to be done.
    """

    status: CheckStatus
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """What one check found, under its name.

    Attributes:
        check: Its name, which stays the same from release to release.
        title: What it looks at, for people.
        status: As in `CheckResult`.
        sentence: Likewise.
        remedy: Likewise.
    """

    check: str
    title: str
    status: CheckStatus
    sentence: str
    remedy: str = ""


def ok(sentence: str) -> CheckResult:
    """All is well."""
    return CheckResult("ok", sentence)


def warning(sentence: str, remedy: str) -> CheckResult:
    """Works, and is perhaps not what was meant."""
    return CheckResult("warning", sentence, remedy)


def problem(sentence: str, remedy: str) -> CheckResult:
    """Keeps something from working."""
    return CheckResult("problem", sentence, remedy)


def skipped(sentence: str, remedy: str = "") -> CheckResult:
    """Could not be looked into; says why."""
    return CheckResult("skipped", sentence, remedy)


def pluralize(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_sentence(message: str, *, capitalize: bool = True) -> str:
    """The message of an error as a sentence.

    Args:
        message: Any.
        capitalize: Whether it begins the sentence.

    Returns:
        The message with a full stop, on one line.
    """
    line = " ".join(message.split()).rstrip(".")
    return f"{line[:1].upper() if capitalize else line[:1]}{line[1:]}."
