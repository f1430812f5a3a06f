"""Every module that writes files is covered by a test of faulty disks."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.cli.disk_faults import COMMANDS

ROOT = Path(__file__).parents[2]
WRITING_CALLS = {
    "write_text",
    "write_bytes",
    "touch",
    "mkdtemp",
    "mkstemp",
    "TemporaryFile",
    "NamedTemporaryFile",
    "TemporaryDirectory",
    "copyfile",
    "copytree",
    "copy2",
    "save",
    "save_model",
    "save_pretrained",
    "save_file",
    "FileHandler",
    "open_atomically",
    "write_atomically",
    "write_text_atomically",
    "write_state",
    "write_report",
    "scratch_folder",
    "Database",
    "FileLock",
}
# By module: the commands of `COMMANDS` that write its files, or tests of what may be lost.
COVERED = {
    "backend/batch/files.py": "prelabel",
    "backend/batch/journal.py": "prelabel project-journal",
    "backend/batch/ray_engine.py": "tests/backend/batch/test_ray_engine.py",
    "backend/demo/installation.py": "tests/end_to_end/test_demo.py",
    "backend/demo/label_studio_server.py": "demo-account",
    "backend/demo/supervised_process.py": "tests/backend/demo",
    "backend/events/store.py": "events tests/backend/server/test_faulty_disk.py",
    "backend/models/base_models/save.py": "train",
    "backend/models/openvino/cache.py": "openvino-model",
    "backend/models/openvino/compile.py": "tests/backend/models/openvino",
    "backend/models/openvino/embeddings.py": "tests/backend/models/openvino",
    "backend/models/openvino/weights.py": "tests/backend/models/openvino",
    "backend/processes/__init__.py": "tests/backend",
    "backend/retraining/job_store.py": "jobs",
    "backend/server/prediction/openvino_builder.py": "tests/backend/server/prediction",
    "backend/storage/assignments.py": "assign",
    "backend/storage/atomic_files.py": "split",
    "backend/storage/database.py": "events",
    "backend/storage/locks.py": "train",
    "backend/storage/model_archive.py": "tests/backend/storage/test_model_archive.py",
    "backend/storage/model_store.py": "version-files promote rollback remove",
    "cli/benchmark.py": "evaluate",
    "cli/curate/agreement.py": "evaluate",
    "cli/curate/review.py": "review",
    "cli/curate/select.py": "select",
    "cli/curate/sources.py": "review",
    "cli/data.py": "split",
    "cli/evaluate.py": "evaluate",
    "ner/atomic_io.py": "convert",
    "ner/current_version.py": "promote rollback",
    "training/corpus/write.py": "convert",
    "training/curate/cross_validation.py": "review",
    "training/curate/curated_project.py": "tests/end_to_end/test_curate.py",
    "training/evaluation/report.py": "evaluate",
    "training/jobs/project_data.py": "annotated-tasks",
    "training/jobs/publish.py": "train",
    "training/loop/trainer.py": "train",
    "training/loop/training_state.py": "training-state",
}


def writing_modules() -> Iterator[str]:
    for folder in ("ner", "backend", "training", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if any(map(writes, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))):
                yield path.relative_to(ROOT).as_posix()


def writes(node: ast.AST) -> bool:
    """Whether a node calls one of `WRITING_CALLS`, opens a file to write, or is a database."""
    if isinstance(node, ast.ClassDef):
        return any(isinstance(base, ast.Name) and base.id == "Database" for base in node.bases)
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if name in WRITING_CALLS:
        return True
    modes = [ast.unparse(one) for one in (*node.args, *(word.value for word in node.keywords))]
    return name in ("open", "fdopen") and any(
        "O_WRONLY" in mode or mode.strip("'") in {"w", "wb", "a", "ab", "x", "xb"} for mode in modes
    )


def test_every_writing_module_is_listed() -> None:
    assert sorted(writing_modules()) == sorted(COVERED)


def test_every_listed_command_exists() -> None:
    for names in COVERED.values():
        for name in names.split():
            assert name in COMMANDS or (ROOT / name).exists(), name
