"""Measures of the code base: names, options, layout, sizes, and the files that one change touches.

    python tests/bench/house.py [--root DIR] [--json] [--list] [--no-run]

Source files are the `*.py` below ner, backend, training and cli; links below src are not followed.
An import counts the same with and without the prefix `tagalong.`. "Before" is the count at commit
4d44429, whose review asked for these measures. The review's numbers are the same, except where
noted. How each is counted:

- Names in two files: classes defined in more than one file; leading underscores do not count. Then
  the same with type aliases: module-level assignments to a name in CapWords. TypeVars count from
  two letters on.
- Options of two types: long options whose annotated type differs between commands. Two choices are
  one type, whatever their values. Confused options: pairs listed in house_words.py of which both
  are there. The review counted 6 clashes of both kinds. Options of several help texts are only
  listed.
- Private vocabulary: entries of house_words.py that an identifier still contains. The review
  counted over 120.
- Files and folders of backend: those directly in it, except `__init__.py`. Imports between them:
  pairs of which one imports the other. Upward imports: against the order of these entries that has
  the fewest imported names going up.
- Folders importing each other: pairs of folders, each counted with its own files only.
- Docstring lines, code lines (with a token that is neither comment nor docstring), and comments
  (beside code too), as tokenize and ast see them.
- Long functions: over 60 lines from `def` to the end, docstring included. Wide functions: over 6
  parameters, not counting self and cls. Commands have parameters annotated with Typer's options.
- Silent broad excepts: bare, of Exception or BaseException. They neither end in a bare `raise` nor
  have a comment beside them or on the line before; `noqa` alone is no comment.
- Files of a request: own files whose functions run in the second `/predict` request, of one task.
  The bundled version runs without its OpenVINO model. Threads that work without requests are left
  out.
- Files that a new tier touches: those that name both tiers. A name is a string such as "llm", or an
  identifier such as EncoderTagger or train_llm; WindowEncoder names none. A tier's own folder, and
  files named after it, are left out. The review counted about 15 by reading, new files included.
- Type checks on taggers: isinstance and class patterns on a class named `*Tagger`, or on a class of
  a file named tagger.py.
- Assertions on wording: `match=` in tests, and `assert "two words" in`, or `not in`.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import types
import typing
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

sys.path.insert(0, str(Path(__file__).parents[2]))  # a script sees only its own folder

from tests.bench import house_source as source
from tests.bench.house_words import CONFUSED_OPTIONS, REPLACEMENTS

ROOT = Path(__file__).resolve().parents[2]
LABEL_CONFIG = """<View><Text name="text" value="$text"/><Labels name="label" toName="text">
  <Label value="Chemical"/><Label value="Disease"/></Labels></View>"""
IDLE_SECONDS = 3  # of the server, which looks for new versions every second


@dataclass(frozen=True)
class Measure:
    """One row: its value now and before, and the places of it."""

    name: str
    now: float
    before: float
    found: Sequence[str] = ()


def kind_of(hint: Any) -> str:
    """Short name of a parameter's type, without None in a union and the values of a choice."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return kind_of(inner[0])
    if origin is Literal:
        return "choice"
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(sorted({kind_of(one) for one in inner if one is not type(None)}))
    if origin is not None:
        return f"{origin.__name__} of {kind_of(inner[0])}"
    return getattr(hint, "__name__", str(hint))


def own_module(root: Path, name: str) -> types.ModuleType:
    """Import a module of the measured tree."""
    sys.path.insert(0, str(root / "src"))
    return import_module(name)


def option_uses(root: Path) -> dict[str, list[tuple[str, str, str]]]:
    """Command, type and help of every use of a long option."""
    from typer.main import get_command

    uses: defaultdict[str, list[tuple[str, str, str]]] = defaultdict(list)

    def collect(command: Any, name: str) -> None:
        for inner, subcommand in getattr(command, "commands", {}).items():
            collect(subcommand, f"{name} {inner}".strip())
        hints = typing.get_type_hints(command.callback) if command.callback else {}
        for param in command.params:
            if param.param_type_name == "option" and param.name in hints:
                for option in (*param.opts, *param.secondary_opts):
                    if option.startswith("--"):
                        uses[option].append((name, kind_of(hints[param.name]), param.help or ""))

    collect(get_command(own_module(root, "tagalong.cli.main").app), "")
    return dict(sorted(uses.items()))


def option_variants(uses: Mapping[str, Sequence[tuple[str, str, str]]], column: int) -> list[str]:
    """Options that differ between commands in their type (column 1) or help (column 2)."""
    lines = []
    for option, found in uses.items():
        variants: defaultdict[str, list[str]] = defaultdict(list)
        for use in found:
            variants[use[column]].append(use[0])
        if len(variants) > 1:
            texts = "; ".join(f"{what!r} in {', '.join(at)}" for what, at in variants.items())
            lines.append(f"{option}: {texts}")
    return lines


def predict_files(root: Path) -> list[str]:
    """Own files that run in a `/predict` request of one task.

    Raises:
        RuntimeError: If a request is refused.
    """
    os.environ |= {"TAGALONG_OPENVINO": "false", "HF_HUB_OFFLINE": "1"}
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    calls: set[tuple[str, str]] = set()  # thread and file

    def profile(frame: types.FrameType, event: str, _: object) -> None:
        if event == "call":
            calls.add((threading.current_thread().name, frame.f_code.co_filename))

    def predict(number: int, text: str) -> None:
        task = {"id": number, "data": {"text": text}, "annotations": [], "predictions": []}
        body = {"tasks": [task], "project": "1.1", "label_config": LABEL_CONFIG, "params": {}}
        answer = app.test_client().post("/predict", json=body)
        if answer.status_code != HTTPStatus.OK:
            raise RuntimeError(f"/predict answered {answer.status_code}: {answer.get_json()}")

    create_app = own_module(root, "tagalong.backend.server.app").create_app
    settings = own_module(root, "tagalong.backend.server.settings").Settings
    with tempfile.TemporaryDirectory() as folder:
        threading.setprofile(profile)  # for the threads that the app starts
        app = create_app(settings(models=Path(folder) / "models"))
        try:
            predict(1, "Naloxone reverses the antihypertensive effect of clonidine.")
            time.sleep(1)  # the request's last steps in other threads
            calls = set()
            time.sleep(IDLE_SECONDS)
            background = {thread for thread, _ in calls}
            calls = set()
            sys.setprofile(profile)
            predict(2, "Lithium carbonate toxicity in a newborn infant.")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            seen, calls = calls, set()
            app.extensions["tagalong"].close()
    files = {Path(file).resolve() for thread, file in seen if thread not in background}
    folders = [root / name for name in source.PACKAGES]
    own = [path for path in files if any(path.is_relative_to(folder) for folder in folders)]
    return sorted(path.relative_to(root).as_posix() for path in own)


def static_measures(root: Path) -> list[Measure]:
    """Measures of the source text."""
    files, tests = source.read_source(root), source.read_source(root, ["tests"])
    layout = source.layout_of(files, "backend")
    counts = source.line_counts(files)
    broad = source.broad_excepts(files)
    matches, contained = source.worded_assertions(tests)
    words = [
        f"{word} -> {REPLACEMENTS[word]}: {', '.join(found)}"
        for word, found in source.banned_words(files).items()
    ]

    def row(name: str, before: float, found: Sequence[str]) -> Measure:
        return Measure(name, len(found), before, found)

    def names(aliases: bool) -> list[str]:
        found = source.repeated_names(files, aliases=aliases)
        return [f"{name}: {', '.join(paths)}" for name, paths in found.items()]

    return [
        row("class names in two files", 12, names(aliases=False)),
        row("class names and type aliases in two files", 30, names(aliases=True)),
        row("private vocabulary", 134, words),
        row("backend: files and folders", 42, sorted(layout.entries)),
        row(
            "backend: imports between them",
            96,
            sorted(" -> ".join(arrow) for arrow in layout.imports),
        ),
        row("backend: upward imports", 3, sorted(" -> ".join(arrow) for arrow in layout.upward)),
        row("pairs of folders importing each other", 5, source.mutual_folders(files)),
        Measure("source files", len(files), 255),
        Measure("source lines", counts["lines"], 34_168),
        Measure("docstring lines", counts["docs"], 9_930),
        Measure("docstring lines per code line", round(counts["docs"] / counts["code"], 2), 0.50),
        Measure(
            "comments per 100 code lines", round(100 * counts["comments"] / counts["code"], 1), 3.4
        ),
        row("functions over 60 lines", 16, source.long_functions(files)),
        row("functions over 6 parameters", 24, source.wide_functions(files, commands=True)),
        row(
            "functions over 6 parameters, no commands",
            11,
            source.wide_functions(files, commands=False),
        ),
        row("broad excepts", 13, [f"{at} {reason}" for at, reason in broad]),
        row("broad excepts without a reason", 2, [at for at, reason in broad if not reason]),
        row("files that a new tier touches", 16, source.tier_files(files)),
        row("type checks on taggers", 12, source.tagger_checks(files)),
        Measure("assertions on wording", len(matches) + len(contained), 529),
        row("... match=", 210, matches),
        row("... assert text in", 319, contained),
    ]


def run_measures(root: Path) -> list[Measure]:
    """Measures of the running command line and server; loads a model."""
    uses = option_uses(root)
    by_type, by_help = option_variants(uses, 1), option_variants(uses, 2)
    confused = [" and ".join(pair) for pair in CONFUSED_OPTIONS if uses.keys() >= set(pair)]
    passed = predict_files(root)
    return [
        Measure("options of two types", len(by_type), 2, by_type),
        Measure("confused options", len(confused), 3, confused),
        Measure("options of several help texts", len(by_help), 18, by_help),
        Measure("files of a /predict request", len(passed), 28, passed),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the code base")
    parser.add_argument("--json", action="store_true", help="print JSON with the places")
    parser.add_argument("--list", action="store_true", help="print the places of each measure")
    parser.add_argument("--no-run", action="store_true", help="skip measures that import the code")
    options = parser.parse_args()
    root = options.root.resolve()
    measures = static_measures(root) + ([] if options.no_run else run_measures(root))
    if options.json:
        print(json.dumps([asdict(measure) for measure in measures], indent=2))
        return
    print("| measure | before | now |\n|---|---|---|")
    for measure in measures:
        print(f"| {measure.name} | {measure.before:,} | {measure.now:,} |")
    for measure in measures if options.list else ():
        if not measure.found:
            continue
        print("", f"{measure.name}:", *(f"  {place}" for place in measure.found), sep="\n")


if __name__ == "__main__":
    main()
