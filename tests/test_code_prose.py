"""Docstrings, comments and help texts: short plain sentences, and names that exist."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from tagalong.backend.formats.registry import WRITERS, FormatContent, describe_formats
from tagalong.cli.main import app
from tests.prose import (
    BANNED_WORDS,
    class_members,
    code_prose,
    identifiers,
    long_code_sentences,
    unknown_identifiers,
)

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    *(
        path
        for name in ("ner", "backend", "training", "cli")
        for path in (ROOT / name).rglob("*.py")
    ),
    ROOT / "src" / "tagalong" / "api.py",
]
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
# Names of libraries that Tagalong does not use by name, only writes about.
FOREIGN_NAMES = {"users", "whoami", "TyperCommand", "TyperGroup"}


def help_texts(command: object) -> Iterator[str]:
    """The help of a command, its options and its subcommands."""
    for holder in (command, *getattr(command, "params", ())):
        if text := getattr(holder, "help", None):
            yield text
    for inner in getattr(command, "commands", {}).values():
        yield from help_texts(inner)


def test_sentences_in_code_are_short() -> None:
    found = {
        name: long
        for name, source in SOURCES.items()
        if (long := [one for text in code_prose(source) for one in long_code_sentences(text)])
    }
    assert found == {}


def test_sentences_of_help_are_short() -> None:
    formats = [describe_formats(content) for content in get_args(FormatContent)]
    formats.append(", ".join(writer.description for writer in WRITERS.values()))
    texts = [*help_texts(get_command(app))]
    assert len(texts) > 100
    for names in formats:  # a list as long as the registry
        texts = [text.replace(names, "FORMATS") for text in texts]
    assert [one for text in texts for one in long_code_sentences(text)] == []


def test_language_in_code_is_plain() -> None:
    found = {
        name: banned
        for name, source in SOURCES.items()
        if (banned := [one for text in code_prose(source) for one in BANNED_WORDS.findall(text)])
    }
    assert found == {}


def test_names_in_prose_exist() -> None:
    known = FOREIGN_NAMES.union(*map(identifiers, SOURCES.values()))
    known |= {part for name in SOURCES for part in Path(name).with_suffix("").parts} | {"tagalong"}
    members = {
        name: own for source in SOURCES.values() for name, own in class_members(source).items()
    }
    found = {
        name: unknown
        for name, source in SOURCES.items()
        if (
            unknown := [
                one
                for text in code_prose(source)
                for one in unknown_identifiers(text, known, members)
            ]
        )
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f"{'word ' * 25}end. {'Word ' * 24}end.", 1),
        (f"{'word ' * 20}end.\n\nArgs:\n    one: {'Word ' * 20}end.", 0),
        (f"{'word ' * 20}::\n\n    {'word ' * 20}\n\nEnd.", 0),
        (f"{'word ' * 20}\n- {'word ' * 20}", 0),
    ],
)
def test_long_sentence_in_code_is_found(text: str, count: int) -> None:
    assert len(long_code_sentences(text)) == count


def test_comment_of_several_lines_is_one_text() -> None:
    source = 'a = 1  # one\n# two\n# three\n"""no docstring"""\n'
    assert [*code_prose(source)] == ["one", "two\nthree"]


def test_unknown_name_is_found() -> None:
    source = "class Window:\n    width: int = 1\n\n\ndef cut() -> None: ...\n"
    known, members = identifiers(source), class_members(source)
    text = "See `cut`, `Window.width`, `Window.cut`, `paste`, ``paste`` and `os.path`."
    assert unknown_identifiers(text, known, members) == ["Window.cut", "paste", "os.path"]
