"""Prose of documentation and code: its sentences, its banned words, and the names in it."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

MAX_SENTENCE_WORDS = 25
ANY_FENCE = re.compile(r"^```.*?^```\n", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"<!-- printed -->.*?<!-- /printed -->", re.DOTALL)
INLINE_CODE = re.compile(r"`([^`]+)`")
BANNED_WORDS = re.compile(
    r"\b(?:whoever|anew|likewise|go(?:es)? by|gone by|told of|drawn by lot|thereof|therein|"
    r"what serves|stands for|besides that|as it is said)\b",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[.!?:])[*)]*\s+(?=[A-Z*(`0-9\[])")
BLOCK_START = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.|\|)\s)")
SECTION_START = re.compile(r"\n(?=\s*(?:\w+:\n|\*{0,2}\w+: ))")  # of a docstring
DOUBLE_BACKQUOTES = re.compile(r"``[^`]+``")
LITERAL_BLOCK = re.compile(r"::\n(?:\n| .*\n)+")
NAME = re.compile(r"(?<!`)`([A-Za-z_]\w*(?:\.\w+)*)(?:\(\))?`(?!`)")
Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def prose(text: str) -> str:
    """A page without code blocks, tables, headings and URLs of links."""
    text = PRINTED.sub("", ANY_FENCE.sub("\n", text))
    text = re.sub(r"^(?:\||#|<|!\[).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", INLINE_CODE.sub("CODE", text))


def long_sentences(text: str) -> list[str]:
    """Sentences of a Markdown page with more than 25 words."""
    blocks = [" ".join(block.split()) for block in BLOCK_START.split(prose(text))]
    sentences = [one for block in blocks for one in SENTENCE_END.split(block)]
    return [
        one
        for one in sentences
        if "·" not in one and len(re.findall(r"\S*\w\S*", one)) > MAX_SENTENCE_WORDS
    ]


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Definition) and (text := ast.get_docstring(node)):
            yield text


def comments(source: str) -> Iterator[str]:
    """The comments of a file; those on consecutive lines of their own are one."""
    block: list[str] = []
    last_line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        is_alone = not token.line[: token.start[1]].strip()
        if block and not (is_alone and token.start[0] == last_line + 1):
            yield "\n".join(block)
            block = []
        block.append(token.string.removeprefix("#").removeprefix(" "))
        last_line = token.start[0] if is_alone else 0
    if block:
        yield "\n".join(block)


def code_prose(source: str) -> Iterator[str]:
    """The docstrings and comments of a file."""
    yield from docstrings(source)
    yield from comments(source)


def long_code_sentences(text: str) -> list[str]:
    """Sentences of a docstring, a comment or a help text with more than 25 words."""
    text = DOUBLE_BACKQUOTES.sub("CODE", LITERAL_BLOCK.sub("\n\n", f"{text}\n"))
    return long_sentences(SECTION_START.sub("\n\n", text))


def identifiers(source: str) -> set[str]:
    """The words of names and strings in a file, without its docstrings and comments."""
    found: set[str] = set()
    tree = ast.parse(source)
    skipped = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, Definition) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in skipped:
                found.update(re.findall(r"\w+", node.value))
            continue
        for field in ("id", "attr", "name", "arg", "asname", "module"):
            if isinstance(name := getattr(node, field, None), str):
                found.update(name.split("."))
    return found


def class_members(source: str) -> dict[str, set[str]]:
    """The fields, methods and attributes of each class of a file that inherits nothing."""
    members: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and not node.bases:
            members[node.name] = {
                name
                for inner in ast.walk(node)
                for field in ("id", "attr", "name")
                if isinstance(name := getattr(inner, field, None), str)
            }
    return members


def unknown_identifiers(text: str, known: set[str], members: dict[str, set[str]]) -> list[str]:
    """Names in backquotes that occur nowhere in the code, or not in the class before the dot."""
    return [
        name
        for name in NAME.findall(text)
        if not known.issuperset(parts := name.split("."))
        or (len(parts) == 2 and parts[1] not in members.get(parts[0], known))
    ]
