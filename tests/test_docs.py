"""The documentation: existing links, files, commands and options, and short sentences."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from tagalong.cli.main import app
from tagalong.ner.document import DROP_REASONS
from tests.prose import ANY_FENCE, BANNED_WORDS, INLINE_CODE, PRINTED, long_sentences, prose

ROOT = Path(__file__).resolve().parents[1]
TOP_PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES = [*TOP_PAGES, *sorted((ROOT / "docs").glob("*.md"))]
CHANGELOG = ROOT / "CHANGELOG.md"  # names old options too
MAX_GLOSSARY_TERMS = 40
SHELL_BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
FILE = re.compile(r"(?<![\w./-])(?:ner|backend|training|cli|tests|docs)/[\w./-]*\w")
PACKAGES = (  # listed in CONTRIBUTING.md
    *("ner/__init__.py", "cli/__init__.py", "backend/*/__init__.py"),
    *("backend/models/*/__init__.py", "training/*/__init__.py"),
)


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


@cache
def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The anchors that GitHub creates for headings."""
    headings = re.findall(r"^#+ (.+)$", ANY_FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def missing_links(text: str, folder: Path) -> list[str]:
    """Relative links without a target, or without the heading they point to."""
    missing = []
    for match in LINK.finditer(ANY_FENCE.sub("", text)):
        link = match[1] or match[2]
        path, _, anchor = link.partition("#")
        if re.match(r"https?:", link):
            continue
        target = (folder / path).resolve()
        known = anchors(text if not path else read(target) if target in PAGES else "")
        if (path and not target.exists()) or (anchor and anchor not in known):
            missing.append(link)
    return missing


def missing_files(text: str) -> list[str]:
    """Missing files and folders, named in inline code and commands."""
    code = "\n".join([*SHELL_BLOCK.findall(text), *INLINE_CODE.findall(ANY_FENCE.sub("", text))])
    return [name for name in FILE.findall(code) if not (ROOT / name).exists()]


def shell_commands(text: str) -> Iterator[list[str]]:
    """The words of every command line in blocks and in inline code."""
    text = PRINTED.sub("", text)
    lines = "".join(SHELL_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    inline = [code.replace("\n", " ") for code in INLINE_CODE.findall(ANY_FENCE.sub("", text))]
    for line in (*lines, *inline):
        try:
            yield shlex.split(line.removeprefix("$ "), comments=True)
        except ValueError:  # not a command
            continue


def tagalong_arguments(words: list[str]) -> list[str] | None:
    """Arguments of `tagalong` in a command line; None for other programs."""
    for place, word in enumerate(words):
        ours = word == "tagalong" and all("=" in one for one in words[:place])
        module = word == "tagalong" and words[place - 1] == "-m"
        service = word == "tagalong-cpu" and words[0] == "docker"
        if ours or module or service:
            return words[place + 1 :]
    return None


def unknown_names(words: list[str]) -> list[str]:
    """Subcommands and options that do not exist."""
    command, rest = get_command(app), list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return [rest[0]]
        command = command.commands[rest.pop(0)]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {
        "--help",
        "-h",
    }
    return [word for word in rest if word.startswith("--") and word not in known]


def all_options() -> set[str]:
    """The options of all commands together."""

    def collect(command: object) -> Iterator[str]:
        for param in getattr(command, "params", ()):
            yield from (*param.opts, *param.secondary_opts)
        for inner in getattr(command, "commands", {}).values():
            yield from collect(inner)

    return set(collect(get_command(app)))


def test_glossary_is_short_and_terms_are_unique() -> None:
    section = read(ROOT / "CONTRIBUTING.md").partition("## Glossary")[2]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)[1:]
    terms = [term for term, _ in rows]
    assert 0 < len(terms) <= MAX_GLOSSARY_TERMS
    assert len(set(terms)) == len(terms)


@pytest.mark.parametrize("page", [*PAGES, CHANGELOG], ids=lambda page: page.name)
def test_links_have_targets(page: Path) -> None:
    assert missing_links(read(page), page.parent) == []


def test_named_files_exist(page: Path) -> None:
    assert missing_files(read(page)) == []


def test_folder_tree_matches_the_code() -> None:
    tree = re.search(
        r"^```\nner/.*?^```$", read(ROOT / "CONTRIBUTING.md"), re.MULTILINE | re.DOTALL
    )
    assert tree is not None
    listed = set(re.findall(r"(?<!\S)(?:ner|backend|training|cli|tests)/[\w/]*", tree[0]))
    packages = {path.parent for pattern in PACKAGES for path in ROOT.glob(pattern)}
    assert {f"{package.relative_to(ROOT).as_posix()}/" for package in packages} <= listed
    assert [name for name in listed if not (ROOT / name).is_dir()] == []


def test_commands_and_options_exist(page: Path) -> None:
    commands = [
        found for words in shell_commands(read(page)) if (found := tagalong_arguments(words))
    ]
    assert {" ".join(words): bad for words in commands if (bad := unknown_names(words))} == {}


def test_options_in_prose_exist(page: Path) -> None:
    scripts = "".join(read(path) for path in (ROOT / "tests").glob("*/*.py"))
    named = {
        words[0] for words in shell_commands(read(page)) if words and words[0].startswith("--")
    }
    known = all_options()
    assert {name for name in named if name not in known and f'"{name}"' not in scripts} == set()


def test_options_of_scripts_exist(page: Path) -> None:
    for words in shell_commands(read(page)):
        for script in (
            word for word in words if word.startswith("tests/") and word.endswith(".py")
        ):
            options = [word for word in words if word.startswith("--")]
            assert [one for one in options if f'"{one}"' not in read(ROOT / script)] == []


def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", read(ROOT / "Makefile"), re.MULTILINE))
    used = {words[1] for words in shell_commands(read(page)) if words[:1] == ["make"] and words[1:]}
    assert used <= targets


@pytest.mark.parametrize("page", [*PAGES, CHANGELOG], ids=lambda page: page.name)
def test_language_is_plain(page: Path) -> None:
    assert BANNED_WORDS.findall(prose(read(page))) == []
    assert long_sentences(read(page)) == []


def test_reasons_of_losses_are_explained() -> None:
    (table,) = re.findall(r"^\| entity lost .*?\n\n", read(ROOT / "docs/formats.md"), re.M | re.S)
    named = [reason for row in table.split("\n")[2:-2] for reason in row.split("|")[1].split(",")]
    assert sorted(map(str.strip, filter(str.strip, named))) == sorted(DROP_REASONS)


def test_readme_is_short() -> None:
    assert read(ROOT / "README.md").count("\n") <= 250


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("```\ntagalong prelabel --project 1 --engin ray  # a typo\n```\n", ["--engin"]),
        ("```\nA=b tagalong train encoder a.jsonl \\\n  --basis x\n```\n", ["--basis"]),
        ("```sh\naccelerate launch -m tagalong train nothing a.jsonl\n```\n", ["nothing"]),
        ("see `tagalong models list --jason`", ["--jason"]),
        ("```\n$ tagalong models show encoder --json\n```\n", []),
    ],
)
def test_wrong_command_is_found(text: str, bad: list[str]) -> None:
    (found,) = [words for line in shell_commands(text) if (words := tagalong_arguments(line))]
    assert unknown_names(found) == bad


def test_wrong_link_file_or_sentence_is_found() -> None:
    links = "[a](README.md) [b](absent.md) [c](README.md#install) [d](README.md#absent)"
    assert missing_links(links, ROOT) == ["absent.md", "README.md#absent"]
    assert missing_files("`ner/tags.py` and `ner/absent.py`") == ["ner/absent.py"]
    assert long_sentences(f"{'word ' * 25}end. {'Word ' * 24}end.") == [f"{'word ' * 25}end."]
