"""The commands that write files, and the laws of a fault of the disk."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tagalong.backend.documents.jsonl import document_to_json
from tests.forked_process import run_forked
from tests.toy_corpus import toy_documents

PROGRAM = Path(__file__).with_name("run_on_faulty_disk.py")
ROOT = PROGRAM.parents[2]
REPAIRED = "repaired"  # a writer makes this file when its disk shall be sound again
TRAINING = ("--epochs", "1", "--learning-rate", "0.003", "--batch-tokens", "256")
MODELS = ("--models", "models")
REVIEW = ("curate", "review", "gold.jsonl", "--base", "base", "--epochs", "1")
NEEDS_NO_TORCH = {"convert", "split", "evaluate", "promote", "rollback", "remove", "assign"} | {
    "version-files",
    "events",
    "jobs",
}


@dataclass(frozen=True)
class Command:
    """A command, and the folder of the files that it needs; or a writer of `WRITERS`."""

    template: str
    arguments: tuple[str, ...]


COMMANDS = {
    "convert": Command("texts", ("data", "convert", "gold.jsonl", "--out", "out/gold.conll")),
    "split": Command("texts", ("data", "split", "gold.jsonl", "--out", "splits")),
    "prelabel": Command("texts", ("prelabel", "gold.jsonl", "--out", "out/all.json")),
    "train": Command("base", ("train", "encoder", "gold.jsonl", "--base", "base", *TRAINING)),
    "promote": Command("versions", ("models", "promote", "first", *MODELS)),
    "rollback": Command("versions", ("models", "rollback", *MODELS)),
    "remove": Command("versions", ("models", "remove", "first", "--yes", *MODELS)),
    "assign": Command(
        "versions", ("models", "assign", "encoder", "--project", "3.1795354311", *MODELS)
    ),
    "evaluate": Command(
        "texts",
        ("evaluate", "gold.jsonl", "gold.jsonl", "--report", "report", "--resamples", "9"),
    ),
    "select": Command("texts", ("curate", "select", "gold.jsonl", "--out", "out/next.jsonl")),
    "review": Command(
        "base",
        (*REVIEW, "--folds", "2", "--out", "out/found.jsonl", "--report", "report"),
    ),
    **{
        name: Command("versions", (name,))
        for name in (
            "training-state",
            "annotated-tasks",
            "openvino-model",
            "events",
            "jobs",
            "project-journal",
            "demo-account",
            "version-files",
        )
    },
}


@dataclass(frozen=True)
class Run:
    """A run: its exit status, its messages, and the files that it left, by path."""

    status: int
    error: str
    files: Mapping[str, str]


def make_templates(folder: Path, make_base: Callable[[str], Path]) -> None:
    """Write the files that the commands need."""
    from tests.cli.stored_files import publish_two_versions

    lines = (json.dumps(document_to_json(document)) for document in toy_documents(8))
    (folder / "texts" / "tmp").mkdir(parents=True)
    (folder / "texts" / "gold.jsonl").write_text("\n".join(lines), encoding="utf-8")
    shutil.copytree(folder / "texts", folder / "versions")
    shutil.copytree(folder / "texts", folder / "base")
    shutil.copytree(make_base("bert-uncased"), folder / "base" / "base")
    publish_two_versions(folder / "versions")


def find_violations(folder: Path, limit: int, *names: str) -> Iterator[str]:
    """Run commands on faulty disks, and yield the broken laws; every command has some faults."""
    work = folder / "work" / "here"
    work.parent.mkdir(exist_ok=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("LABEL_STUDIO")
    } | {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(work / "tmp"),
        "XDG_CACHE_HOME": str(work / "cache"),
        "TAGALONG_MODELS": "",
    }
    if NEEDS_NO_TORCH.issuperset(names):  # a smaller process forks faster
        command = [sys.executable, str(PROGRAM), str(folder), str(limit), *names]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    else:
        done = run_forked(PROGRAM, folder, limit, *names, env=environment, check=True)
    before, undisturbed = {}, Run(0, "", {})
    counts = dict.fromkeys(names, 0)
    for line in map(json.loads, done.stdout.splitlines()):
        name = line["command"]
        if "undisturbed" in line:
            before, undisturbed = line["before"], Run(**line["undisturbed"])
            if undisturbed.status or undisturbed.error.count("Error"):
                yield f"{name}: fails undisturbed: {undisturbed.error}"
            continue
        counts[name] += 1
        again = Run(**line["again"]) if line["again"] else None
        for broken in check_run(Run(**line["disturbed"]), again, before, undisturbed, line):
            yield f"{name}, {line['fault']}: {broken}"
    for name, count in counts.items():
        if count == 0:
            yield f"{name}: writes nothing"


def check_run(
    disturbed: Run,
    again: Run | None,
    before: Mapping[str, str],
    undisturbed: Run,
    line: Mapping[str, str],
) -> Iterator[str]:
    """Yield the laws that a disturbed run, and the same command after it, break."""
    messages = disturbed.error.rstrip().splitlines()
    if disturbed.status == 0 and _final(disturbed.files) != _final(undisturbed.files):
        yield f"succeeds with other files: {_differences(disturbed, undisturbed)}"
    if disturbed.status not in (0, 1):
        yield f"ends with status {disturbed.status}"
    sentences = [message for message in messages if message.startswith("Error: ")]
    if disturbed.status and (len(sentences) != 1 or sentences != messages[-1:]):
        yield f"does not end with one sentence: {disturbed.error[-1000:]}"
    if "Traceback" in disturbed.error or "Exception ignored" in disturbed.error:
        yield f"shows a traceback: {disturbed.error[-1000:]}"
    if "Errno" in disturbed.error and "Error: " not in disturbed.error:
        yield f"names no file: {disturbed.error}"
    for path, content in _final(disturbed.files).items():
        if content not in (before.get(path), undisturbed.files.get(path)):
            yield f"leaves half of {path}: {content[:40]}"
    if again is None:
        return
    if line["command"] == "rollback":  # the second one goes back further
        return
    # A disk that is read-only between the renames of a command keeps the first file.
    is_kept = "is there already" in again.error or "already exists" in again.error
    if line["fault"].startswith("EROFS") and is_kept:
        return
    if again.status:
        yield f"cannot be repeated: {again.error[-500:]}"
    elif _final(again.files) != _final(undisturbed.files):
        yield f"is repeated with other files: {_differences(again, undisturbed)}"


def _final(files: Mapping[str, str]) -> dict[str, str]:
    """The files with final names: no hidden ones, no files of SQLite."""
    return {
        path: content
        for path, content in files.items()
        if not any(part.startswith(".") for part in Path(path).parts)
        and ".journal" not in path
        and path != REPAIRED
    }


def _differences(one: Run, other: Run) -> list[str]:
    ours, theirs = _final(one.files), _final(other.files)
    return [path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)]
