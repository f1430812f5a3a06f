"""Results of checks: a status, a code, a sentence and a remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

CheckStatus = Literal["ok", "warning", "problem", "skipped"]
MAX_LISTED = 5  # names in a sentence


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """The result of a check."""

    check: str  # its name; stays the same between releases. `run_checks` fills it in
    title: str  # its name for users; `run_checks` fills it in too
    status: CheckStatus  # a problem keeps something from working; a warning may be intended
    sentence: str  # what was found, or why the check was skipped
    remedy: str = ""  # empty if nothing is to be done
    code: str = "ok"  # the kind of finding, such as ``no-backend``; stays the same too


def _make_finding(status: CheckStatus, code: str, sentence: str, remedy: str = "") -> DoctorFinding:
    return DoctorFinding("", "", status, sentence, remedy, code)


ok = partial(_make_finding, "ok", "ok")
warning = partial(_make_finding, "warning")  # a state that works, but may not be intended
problem = partial(_make_finding, "problem")  # a state that keeps something from working
skipped = partial(_make_finding, "skipped")  # a check that was not done; the sentence says why


def list_some(names: Sequence[str]) -> str:
    """The first names of a list."""
    return ", ".join((*names[:MAX_LISTED], *(["..."] if len(names) > MAX_LISTED else ())))


def format_sentence(message: str, *, capitalize: bool = True) -> str:
    """Turn the message of an error into a sentence on one line, with a full stop."""
    line = " ".join(message.split()).rstrip(".")
    return f"{line[:1].upper() if capitalize else line[:1]}{line[1:]}."
