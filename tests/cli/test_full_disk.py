"""A full disk during publishing: one error sentence, and no damage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tagalong.backend.documents.jsonl import document_to_json
from tagalong.backend.storage.locks import SCRATCH_PREFIX
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import Manifest
from tests.forked_process import run_forked
from tests.toy_corpus import toy_documents

PROGRAM = Path(__file__).with_name("train_on_full_disk.py")
SETTINGS = ("--epochs", "1", "--learning-rate", "0.003", "--batch-tokens", "256")


@pytest.mark.parametrize(
    ("family", "options", "size"),
    [
        ("bert-uncased", (), 2_000),  # config.json is written, model.safetensors is not
        ("mistral", ("--lora", "--rank", "1"), 30_000),  # the adapter is, tokenizer.json is not
    ],
)
def test_full_disk_fails_in_one_sentence_and_keeps_the_store(
    family: str,
    options: tuple[str, ...],
    size: int,
    tiny_base: Callable[[str], Path],
    store: ModelStore,
    publish: Callable[..., Manifest],
    tmp_path: Path,
) -> None:
    current = publish().version
    store.promote("encoder", current)
    export = tmp_path / "export.jsonl"
    lines = (json.dumps(document_to_json(document)) for document in toy_documents(12))
    export.write_text("\n".join(lines), encoding="utf-8")
    command = ["train", "encoder", export, "--base", tiny_base(family), "--models", store.root]
    done = run_forked(PROGRAM, size, *command, *SETTINGS, *options)
    error_lines = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert [line for line in error_lines if line.startswith("Error: ")] == error_lines[-1:]
    assert "File too large" in error_lines[-1]
    assert store.promoted_version("encoder") == current
    assert store.version_names("encoder") == [current]
    assert not list(store.model_folder("encoder").glob(f"{SCRATCH_PREFIX}*"))
    assert list(store.model_folder("encoder").glob(".training-*"))  # for --resume
