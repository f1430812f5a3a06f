"""Structure of the code: import order of packages and folders, bare imports, unique class names."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tagalong.backend.models.tier_specs import TIER_SPECS
from tagalong.ner.tiers import TIERS

ROOT = Path(__file__).parents[1]
PACKAGES = ("ner", "backend", "training", "cli")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    """``ner/tags.py`` is ``tagalong.ner.tags``, ``ner/__init__.py`` is ``tagalong.ner``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("tagalong", *(parts[:-1] if parts[-1] == "__init__" else parts)))


BARE_IMPORT = re.compile(r"\b(?:from|import) (?:ner|backend|training|cli)\b")
MODULES = {module_name(path): path for path in FILES}
# Modules that import others by name when these are first needed, and which. They are libraries that
# take seconds to import or may be missing, our own modules that depend on them, and those of tiers.
NAMED_IMPORTS = {
    "tagalong.backend.models.base_models.adapters": {"peft"},
    "tagalong.backend.models.openvino.library": {"openvino", "nncf"},
    "tagalong.backend.models.base_models.four_bit": {"bitsandbytes"},
    "tagalong.backend.models.tier_specs": {
        reference.partition(":")[0] for spec in TIER_SPECS.values() for reference in spec.loaders
    },
    "tagalong.cli.train.app": {f"tagalong.cli.train.{tier}" for tier in TIERS} & MODULES.keys(),
}
# Imported inside functions, because they take seconds and few trainings and files need them.
SLOW_IMPORTS = {
    "spacy",
    "spacy.tokens",
    "spacy.vocab",
    "pyarrow",
    "pyarrow.parquet",
    "peft",
    "bitsandbytes.optim",
    "tagalong.training.llm.train",
}


def imported(node: ast.AST) -> list[str]:
    """Modules that a statement imports; for ``from a import b`` it is a.b if that is a module."""
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names, level=0):
            inner = [f"{module}.{alias.name}" for alias in names]
            return [name if name in MODULES else module for name in inner]
        case ast.ImportFrom(level=level):
            raise AssertionError(f"{level} dots: write imports in full")
    return []


def every_import(source: str) -> set[str]:
    """All imports of a file."""
    return {name for node in ast.walk(ast.parse(source)) for name in imported(node)}


def deferred_imports(source: str) -> list[str]:
    """Imports inside functions, which run later than those of the file."""
    functions = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    )
    return [name for node in functions for inner in ast.walk(node) for name in imported(inner)]


def package_of(module: str) -> str:
    """``ner`` for ``tagalong.ner.tags``; the name itself for other packages."""
    return module.removeprefix("tagalong.").partition(".")[0]


def bare_imports(source: str) -> list[str]:
    """Imports of our folders without ``tagalong.``, also in strings."""
    return BARE_IMPORT.findall(source)


def folder_edges() -> dict[tuple[str, str], list[str]]:
    """Pairs of folders of which the first imports the second, with the importing modules."""
    edges = defaultdict[tuple[str, str], list[str]](list)
    for module, text in sources():
        for name in (every_import(text) | NAMED_IMPORTS.get(module, set())) & MODULES.keys():
            importer, other = (str(MODULES[one].parent.relative_to(ROOT)) for one in (module, name))
            if importer != other:
                edges[importer, other].append(f"{module} -> {name}")
    return edges


def folder_order(edges: Iterable[tuple[str, str]]) -> list[str]:
    """Folders, each after those that it imports; raises CycleError if there is no such order."""
    graph = defaultdict[str, set[str]](set)
    for folder, other in edges:
        graph[folder].add(other)
    return list(TopologicalSorter(graph).static_order())


def upward(module: str, source: str) -> list[str]:
    """Imports of a module from the packages above its own."""
    above = PACKAGES[PACKAGES.index(package_of(module)) + 1 :]
    return sorted(name for name in every_import(source) if package_of(name) in above)


def sources() -> Iterator[tuple[str, str]]:
    for module, path in MODULES.items():
        yield module, path.read_text(encoding="utf-8")


def test_every_package_has_modules() -> None:
    assert {package_of(module) for module in MODULES} == set(PACKAGES)


def test_imports_go_one_way() -> None:
    assert {module: found for module, text in sources() if (found := upward(module, text))} == {}


def test_no_import_cycles_between_modules() -> None:
    graph = {
        module: (every_import(text) | NAMED_IMPORTS.get(module, set())) & MODULES.keys() - {module}
        for module, text in sources()
    }
    list(TopologicalSorter(graph).static_order())


def test_no_import_cycles_between_folders() -> None:
    folder_order(folder_edges())


def test_import_cycle_between_folders_is_found() -> None:
    with pytest.raises(CycleError):
        folder_order([("backend/server", "backend/models"), ("backend/models", "backend/server")])


def test_no_bare_imports() -> None:
    ours = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)] + FILES
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in ours}
    assert {path: found for path, text in texts.items() if (found := bare_imports(text))} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from backend.models import tier", ["from backend"]),
        ("def f():\n    import cli", ["import cli"]),
        ("program = 'import ner.tags'", ["import ner"]),
        ("from tagalong.ner import tags\nimport tagalong.cli\nimport training_data", []),
    ],
)
def test_bare_import_is_found(source: str, found: list[str]) -> None:
    assert bare_imports(source) == found


def test_class_names_are_unique() -> None:
    files = defaultdict[str, list[str]](list)
    for module, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                files[node.name.lstrip("_")].append(module)
    assert {name: found for name, found in files.items() if len(found) > 1} == {}


def test_only_commands_import_late() -> None:
    late = {
        module: set(deferred_imports(text)) - SLOW_IMPORTS
        for module, text in sources()
        if package_of(module) != "cli"
    }
    assert {module: names for module, names in late.items() if names} == {}


def test_imports_by_string_are_listed() -> None:
    """The tests above cannot find such imports. Commands use ordinary late imports."""
    assert {module for module, text in sources() if "import_module" in text} == set(NAMED_IMPORTS)
    for module, names in NAMED_IMPORTS.items():
        text = MODULES[module].read_text(encoding="utf-8")
        for name in names:
            package = name.rpartition(".")[0]
            assert f'"{name}' in text or f'f"{package}.{{' in text, f"{module} imports no {name}"


def test_ner_imports_only_the_standard_library() -> None:
    known = sys.stdlib_module_names | {"ner"}
    foreign = {
        module: [name for name in every_import(text) if package_of(name) not in known]
        for module, text in sources()
        if package_of(module) == "ner"
    }
    assert {module: names for module, names in foreign.items() if names} == {}


def test_ner_runs_without_installed_packages() -> None:
    modules = [module for module in MODULES if package_of(module) == "ner"]
    program = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    bare = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys\nsys.path.append({str(ROOT / 'src')!r})\n{program}",
    ]
    subprocess.run(bare, check=True)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import tagalong.training.jobs", ["tagalong.training.jobs"]),
        ("from tagalong.training import jobs", ["tagalong.training.jobs"]),
        ("from tagalong.training import absent", ["tagalong.training"]),
        ("def f():\n    from tagalong.cli.main import app", ["tagalong.cli.main"]),
        ("if TYPE_CHECKING:\n    import tagalong.cli", ["tagalong.cli"]),
        (
            "import tagalong.ner.tags, torch\nfrom tagalong.backend.models.tagger import "
            "DocumentTagger",
            [],
        ),
    ],
)
def test_upward_import_is_found(source: str, found: list[str]) -> None:
    assert upward("tagalong.backend.models.tagger", source) == found


def test_cycle_and_late_import_are_found() -> None:
    assert deferred_imports("async def f():\n    import torch\nimport ner") == ["torch"]
    with pytest.raises(CycleError):
        list(
            TopologicalSorter(
                {
                    "tagalong.ner.tags": {"tagalong.ner.words"},
                    "tagalong.ner.words": {"tagalong.ner.tags"},
                }
            ).static_order()
        )
