"""Measures of the text of source files; house.py describes each."""

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

from tests.bench.house_words import REPLACEMENTS, contains

PACKAGES = ("ner", "backend", "training", "cli")
MAX_LINES, MAX_PARAMETERS = 60, 6
TIERS = ("encoder", "llm")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """A file, and its path below the root."""

    path: Path
    text: str

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def module(self) -> str:
        return ".".join(self.path.with_suffix("").parts).removesuffix(".__init__")


def read_source(root: Path, folders: Sequence[str] = PACKAGES) -> list[Source]:
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return [Source(path.relative_to(root), path.read_text("utf-8")) for path in paths]


def repeated_names(files: Sequence[Source], *, aliases: bool = False) -> dict[str, list[str]]:
    """Class names of more than one file, and the files."""
    places = defaultdict(set)
    for file in files:
        names = {node.name for node in file.nodes if isinstance(node, ast.ClassDef)}
        if aliases:
            targets = [
                target
                for node in file.tree.body
                if isinstance(node, ast.Assign | ast.AnnAssign)
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            ]
            bound = {target.id for target in targets if isinstance(target, ast.Name)}
            names |= {name for name in bound if re.match(r"_?[A-Z][A-Za-z0-9]*[a-z]", name)}
        for name in names:
            places[name.strip("_")].add(file.path.as_posix())
    return {name: sorted(found) for name, found in sorted(places.items()) if len(found) > 1}


def bound_names(file: Source) -> Iterator[tuple[str, str]]:
    """Identifiers that a file binds, with the class whose member they are, or an empty string."""
    owner: dict[ast.AST, str] = {}
    for node in file.nodes:
        if isinstance(node, ast.ClassDef):
            owner |= dict.fromkeys(node.body, node.name)
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.alias(asname=str(name)):
                yield name, owner.get(node, "")
            case ast.AsyncFunctionDef(name=name) | ast.arg(arg=name):
                yield name, owner.get(node, "")
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, owner.get(node, "")
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, ""


def banned_words(files: Sequence[Source]) -> dict[str, list[str]]:
    """Words of the list that are still used, and the identifiers that contain them."""
    members = {pair for file in files for pair in bound_names(file)}
    names = {name for name, _ in members} | {p for file in files for p in file.path.parts[:-1]}
    names |= {file.path.stem for file in files}
    exact = {name.lstrip("_") for name in names}
    paths = {part.as_posix() for file in files for part in (file.path, *file.path.parents)}

    def hits(entry: str) -> list[str]:
        if "/" in entry:
            return [entry] if entry.rstrip("/") in paths else []
        if entry.startswith("="):
            return [entry[1:]] if entry[1:] in exact else []
        if "." in entry:
            holder, _, member = entry.partition(".")
            return [entry] if (member, holder) in members else []
        return sorted(name for name in names if contains(name, entry))

    return {entry: found for entry in REPLACEMENTS if (found := hits(entry))}


def imports_of(files: Sequence[Source]) -> Counter[tuple[Path, Path]]:
    """Pairs of files of which the first imports the second, and how many names."""
    modules = {file.module: file.path for file in files}
    pairs: Counter[tuple[Path, Path]] = Counter()
    for file in files:
        for node in file.nodes:
            named: list[tuple[str, str]] = []
            if isinstance(node, ast.Import):
                named = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                named = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
            for names in named:
                own = [name.removeprefix("tagalong.") for name in names]
                target = modules.get(own[0]) or modules.get(own[1])
                if target and target != file.path:
                    pairs[file.path, target] += 1
    return pairs


@dataclass(frozen=True)
class Layout:
    """Files and folders in a folder, imports between them, and upward imports among these."""

    entries: frozenset[str]
    imports: frozenset[tuple[str, str]]
    upward: frozenset[tuple[str, str]]


def layout_of(files: Sequence[Source], folder: str) -> Layout:
    """The files and folders directly in a folder, each folder taken as one."""
    entry = {}
    for file in files:
        below = file.path.relative_to(folder) if file.path.is_relative_to(folder) else None
        if below and below != Path("__init__.py"):
            entry[file.path] = below.parts[0]
    weights: Counter[tuple[str, str]] = Counter()
    for (one, other), names in imports_of(files).items():
        if one in entry and other in entry and entry[one] != entry[other]:
            weights[entry[one], entry[other]] += names
    upward = {pair for cycle in cycles_of(weights) for pair in upward_imports(cycle, weights)}
    return Layout(frozenset(entry.values()), frozenset(weights), frozenset(upward))


def cycles_of(imports: Mapping[tuple[str, str], int]) -> set[frozenset[str]]:
    """Sets of entries that import each other, directly or through others."""
    entries = {entry for pair in imports for entry in pair}
    reached = {entry: {other for one, other in imports if one == entry} for entry in entries}
    for middle in entries:
        beyond = reached[middle]
        reached = {a: ends | beyond if middle in ends else ends for a, ends in reached.items()}
    return {
        frozenset(b for b in entries if b in reached[a] and a in reached[b])
        for a in entries
        if a in reached[a]
    }


def upward_imports(
    cycle: frozenset[str], weights: Mapping[tuple[str, str], int]
) -> list[tuple[str, str]]:
    """Imports against the order of a cycle's entries that has the fewest names imported upward.

    Exact, so it takes 2^n steps for n entries.
    """
    best: dict[frozenset[str], tuple[int, tuple[str, ...]]] = {frozenset(): (0, ())}
    for size in range(1, len(cycle) + 1):
        for chosen in map(frozenset, combinations(sorted(cycle), size)):
            best[chosen] = min(
                (cost + sum(weights.get((low, top), 0) for low in order), (*order, top))
                for top in chosen
                for cost, order in [best[chosen - {top}]]
            )
    order = best[cycle][1]
    return [(a, b) for a, b in weights if {a, b} <= cycle and order.index(a) < order.index(b)]


def mutual_folders(files: Sequence[Source]) -> list[str]:
    """Pairs of folders that import each other, with the number of imports each way."""
    pairs = Counter((one.parent, other.parent) for one, other in imports_of(files))
    return [
        f"{a} <-> {b} ({pairs[a, b]}/{pairs[b, a]})"
        for a, b in sorted(pairs)
        if a < b and (b, a) in pairs
    ]


def line_counts(files: Sequence[Source]) -> Counter[str]:
    """Lines in all, of docstrings and of code, and the number of comments."""
    counts: Counter[str] = Counter()
    skipped = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for file in files:
        docs: set[int] = set()
        for node in file.nodes:
            if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node):
                docs |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        code: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
            if token.type == tokenize.COMMENT:
                counts["comments"] += 1
            elif token.type not in skipped:
                code |= set(range(token.start[0], token.end[0] + 1))
        counts["lines"] += len(file.text.splitlines())
        counts["docs"] += len(docs)
        counts["code"] += len(code - docs)
    return counts


def functions(files: Sequence[Source]) -> Iterator[tuple[str, Function]]:
    """Every function, and the place where it starts."""
    for file in files:
        for node in file.nodes:
            if isinstance(node, Function):
                yield f"{file.path}:{node.lineno} {node.name}", node


def long_functions(files: Sequence[Source]) -> list[str]:
    """Functions of more than MAX_LINES lines, the longest first."""
    sizes = [((node.end_lineno or 0) - node.lineno + 1, at) for at, node in functions(files)]
    return [f"{at}: {size}" for size, at in sorted(sizes, reverse=True) if size > MAX_LINES]


def wide_functions(files: Sequence[Source], *, commands: bool) -> list[str]:
    """Functions of more than MAX_PARAMETERS parameters, the widest first."""
    annotated = {
        target.id
        for file in files
        for node in file.tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("Annotated[")
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for at, node in functions(files):
        listed = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        hints = [ast.unparse(one.annotation) for one in listed if one.annotation]
        options = any("typer." in hint or hint in annotated for hint in hints)
        is_command = options and at.startswith("cli/")
        count = sum(one.arg not in {"self", "cls"} for one in listed)
        count += bool(node.args.vararg) + bool(node.args.kwarg)
        if count > MAX_PARAMETERS and (commands or not is_command):
            found.append((count, at))
    return [f"{at}: {count}" for count, at in sorted(found, reverse=True)]


def broad_excepts(files: Sequence[Source]) -> list[tuple[str, str]]:
    """Handlers of every exception: the place and the reason, which may be empty."""
    found = []
    for file in files:
        lines = ["", *file.text.splitlines()]
        for node in file.nodes:
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = re.findall(r"\w+", ast.unparse(node.type)) if node.type else ["Exception"]
            if not {"Exception", "BaseException"} & set(caught):
                continue
            comment = lines[node.lineno].partition("#")[2]
            reason = re.sub(r"noqa(: [A-Z0-9, ]+)?", "", comment).strip(" -#")
            before = lines[node.lineno - 1].strip()
            if not reason and before.startswith("#"):
                reason = before.strip("# ")
            match node.body[-1]:
                case ast.Raise(exc=None) if not reason:
                    reason = "raises it again"
            found.append((f"{file.path}:{node.lineno}", reason))
    return found


def tiers_named(file: Source) -> set[str]:
    """Tiers that a file names by a string or an identifier."""
    names = set()
    for node in file.nodes:
        match node:
            case ast.Constant(value=str(name)) if name in TIERS:
                names.add(name)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                names.add(name)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.keyword(arg=str(name)):
                names.add(name)
    names = {name for name in names if not contains(name, "window_encoder")}
    return {tier for tier in TIERS if any(contains(name, tier) for name in names)}


def tier_files(files: Sequence[Source]) -> list[str]:
    """Files that name every tier, without the files of one tier."""
    found = []
    for file in files:
        own = [
            tier for tier in TIERS for part in file.path.parts if contains(Path(part).stem, tier)
        ]
        if not own and tiers_named(file) == set(TIERS):
            found.append(file.path.as_posix())
    return found


def tagger_checks(files: Sequence[Source]) -> list[str]:
    """Places that check the class of a tagger."""
    classes = {
        node.name
        for file in files
        for node in file.nodes
        if isinstance(node, ast.ClassDef)
        and (node.name.endswith("Tagger") or file.path.name == "tagger.py")
    }
    found = []
    for file in files:
        for node in file.nodes:
            match node:
                case (
                    ast.Call(func=ast.Name(id="isinstance"), args=[_, asked])
                    | ast.MatchClass(cls=asked)
                ):
                    if classes & set(re.findall(r"\w+", ast.unparse(asked))):
                        found.append(f"{file.path}:{node.lineno} {ast.unparse(asked)}")
    return found


def worded_assertions(tests: Sequence[Source]) -> tuple[list[str], list[str]]:
    """Places of `match=`, and of assertions that a text of several words is in something."""
    matches, contained = [], []
    for file in tests:
        for node in file.nodes:
            match node:
                case ast.keyword(arg="match"):
                    matches.append(f"{file.path}:{node.value.lineno}")
                case ast.Assert(
                    test=ast.Compare(
                        left=ast.Constant(value=str(text)), ops=[ast.In() | ast.NotIn()]
                    )
                ) if " " in text:
                    contained.append(f"{file.path}:{node.lineno}")
    return matches, contained
