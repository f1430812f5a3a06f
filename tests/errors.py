"""Checks of errors by code. tests/messages/*.toml pins the wording of each code.

For a raised error, and for an error that a command prints:

    with raises(FormatError, "config-without-labels"):
        read_labels(config)
    failed(run("tagalong", "doctor").stderr, "label-studio-key")

``tests/messages/NAME.toml`` has one line per code. ``{}``
is any text that varies; a code whose sentence has several forms has a list of them:

    config-without-labels = "{} has no labels: add a Labels tag to the labelling config"
    label-studio-key = ["Label Studio at {} refused the key: {}", "the key is empty: {}"]

A code without a line fails with the line to add. `raises` yields the same as `pytest.raises`, so a
test can look for a value (a count, a name) as well: ``assert "doc-7" in str(raised.value)``.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tagalong.ner.errors import TagalongError

MESSAGES = Path(__file__).with_name("messages")


@contextmanager
def raises(
    error_class: type[TagalongError], code: str
) -> Iterator[pytest.ExceptionInfo[TagalongError]]:
    """Expect an error of this class (or a subclass), with this code, in its pinned wording."""
    with pytest.raises(error_class) as raised:
        yield raised
    assert_error(raised.value, code)


def assert_error(error: BaseException | None, code: str) -> None:
    """Check a caught error."""
    assert isinstance(error, TagalongError), f"{error!r} is not an error of ours"
    assert error.code == code, f"code {error.code!r}, not {code!r}: {error}"
    assert_wording(str(error), code)


def assert_wording(message: str, code: str) -> None:
    """Check a message against the pinned wording of a code."""
    assert any(pattern(form).fullmatch(message) for form in forms(code, message)), (
        f"the wording of {code} is not one of {forms(code, message)}: {message}"
    )


def failed(output: str, code: str) -> None:
    """Check that the output of a command has ``Error: `` and the sentence of a code."""
    assert "Error" in output, f"no error in: {output}"
    mentions(output, code)


def mentions(output: str, code: str) -> None:
    """Check that the output of a command, wrapped or in a box, has the sentence of a code."""
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", output).split())
    assert any(pattern(" ".join(form.split())).search(shown) for form in forms(code, shown)), (
        f"the wording of {code} is not one of {forms(code, shown)}: {shown}"
    )


def forms(code: str, message: str) -> list[str]:
    """The pinned sentences of a code."""
    line = f"{code} = {json.dumps(message, ensure_ascii=False)}"
    assert code in catalogue(), (
        f"add to a file of tests/messages, with {{}} where it varies: {line}"
    )
    return catalogue()[code]


def pattern(form: str) -> re.Pattern[str]:
    """A sentence with ``{}`` for the parts that vary."""
    return re.compile(".+?".join(map(re.escape, form.split("{}"))), re.DOTALL)


@cache
def catalogue() -> dict[str, list[str]]:
    """All codes and their sentences; none may be in two files."""
    found: dict[str, list[str]] = {}
    for path in sorted(MESSAGES.glob("*.toml")):
        for code, sentences in tomllib.loads(path.read_text(encoding="utf-8")).items():
            assert code not in found, f"{code} is in {path.name} and in another file"
            found[code] = [sentences] if isinstance(sentences, str) else sentences
    return found
