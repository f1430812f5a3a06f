"""The base models that versions need."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL
from tagalong.backend.models.base_models.required_base import find_required_base
from tagalong.ner.manifest import FileRecord, Manifest
from tests.hub_cache import COMMIT, add_to_hub_cache
from tests.versions import DRAFT

ADAPTER = {"adapter_config.json": FileRecord("", 0)}


def manifest(base: str, revision: str | None = None, files: object = ADAPTER) -> Manifest:
    draft = DRAFT | {"base": base, "base_revision": revision, "files": files}
    return Manifest(**draft, version="v", created="")


def test_whole_model_needs_no_base() -> None:
    assert find_required_base(manifest(OFFLINE_BASE_MODEL, files={})) is None


@pytest.mark.parametrize(
    ("base", "revision", "advice"),
    [
        (OFFLINE_BASE_MODEL, "9.9.9", "install that version of the package"),
        ("package:no_such_package/model", "1.0", "install that version of the package"),
        ("/no/such/folder", None, "copy that folder to the same path"),
        ("nobody/no-such-model", COMMIT, "loading downloads it"),
        ("not a hub id ", None, "loading downloads it"),
    ],
)
def test_missing_base_is_named(base: str, revision: str | None, advice: str) -> None:
    needed = find_required_base(manifest(base, revision))
    assert needed is not None
    assert not needed.is_here
    sentence = needed.describe()
    assert base in sentence
    assert (revision or "") in sentence
    assert advice in sentence


def test_base_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cache = tmp_path / "model", tmp_path / "cache"
    model.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    add_to_hub_cache("org/without-weights", model, cache)
    (model / "model.safetensors").write_bytes(b"")
    add_to_hub_cache("org/tiny", model, cache)
    here = {
        base: find_required_base(manifest(base, revision)).is_here  # type: ignore[union-attr]
        for base, revision in (
            (OFFLINE_BASE_MODEL, None),
            (str(model), None),
            ("org/tiny", COMMIT),
            ("org/without-weights", COMMIT),
        )
    }
    assert [*here.values()] == [True, True, True, False]
