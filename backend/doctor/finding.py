"""Results of checks: a status, a code, a sentence and a remedy."""

from dataclasses import dataclass
from typing import Literal

CheckStatus = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        status: A problem keeps something from working; a warning may be intended.
        code: The kind of finding, such as ``no-backend``; stays the same between releases.
        sentence: What was found, or why the check was skipped.
        remedy: What to do; empty if nothing is to be done.
    """

    status: CheckStatus
    code: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """A `CheckResult` with the stable name of its check, and its title for users."""

    check: str
    title: str
    status: CheckStatus
    sentence: str
    remedy: str = ""
    code: str = "ok"


def ok(sentence: str) -> CheckResult:
    """A result without anything to do."""
    return CheckResult("ok", "ok", sentence)


def warning(code: str, sentence: str, remedy: str) -> CheckResult:
    """A state that works, but may not be intended."""
    return CheckResult("warning", code, sentence, remedy)


def problem(code: str, sentence: str, remedy: str) -> CheckResult:
    """A state that keeps something from working."""
    return CheckResult("problem", code, sentence, remedy)


def skipped(code: str, sentence: str, remedy: str = "") -> CheckResult:
    """A check that could not be done; the sentence gives the reason."""
    return CheckResult("skipped", code, sentence, remedy)


def pluralize(number: int, noun: str) -> str:
    """A number with its noun in the right form."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_sentence(message: str, *, capitalize: bool = True) -> str:
    """Turn the message of an error into a sentence on one line, with a full stop.

    Args:
        message: The message.
        capitalize: Whether the message begins the sentence.
    """
    line = " ".join(message.split()).rstrip(".")
    return f"{line[:1].upper() if capitalize else line[:1]}{line[1:]}."
