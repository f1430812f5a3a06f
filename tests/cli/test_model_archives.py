"""The commands `tagalong models export` and `import`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import Manifest, VersionMetadata
from tests.cli.run_command import run, run_failing
from tests.errors import failed
from tests.versions import DRAFT

Publish = Callable[..., Manifest]


@pytest.fixture(autouse=True)
def nothing_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagalong.backend.bundled.BUNDLED_MODELS_FOLDER", tmp_path / "none")


def export(store: ModelStore, reference: str, out: Path, *options: str) -> str:
    command = ("models", "export", reference, "--out", out, "--models", store.root, *options)
    return run(*command).stdout


def import_(store: ModelStore, path: Path, *options: str) -> str:
    return run("models", "import", path, "--models", store.root, *options).stdout


def answer(shown: str) -> Any:
    return json.loads(shown)


def test_version_moves_to_another_store(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    published, out = publish(), tmp_path / "model.tar"
    store.promote("encoder", published.version)
    assert export(store, "encoder", out) == f"{out} has encoder/{published.version} (0.0 MB).\n"
    other = ModelStore(tmp_path / "other")
    added, advice = import_(other, out, "--model", "cardiology").splitlines()
    assert added == f"{published.version} was added to the model cardiology."
    assert f"`tagalong models promote cardiology/{published.version}`" in advice
    assert other.promoted_version("cardiology") is None
    again, current = import_(
        other, out, "--model", "cardiology", "--promote", "always"
    ).splitlines()
    assert again == f"{published.version} is there already, unchanged, in the model cardiology."
    assert current == "It is the current version of cardiology."
    assert other.promoted_version("cardiology") == published.version


def test_results_as_json(store: ModelStore, publish: Publish, tmp_path: Path) -> None:
    version, out = publish().version, tmp_path / "model.tar"
    written = answer(export(store, version, out, "--json"))
    common = {
        "model": "encoder",
        "tier": "encoder",
        "version": version,
        "base": None,
        "base_is_here": True,
    }
    assert written == common | {"file": str(out), "bytes": out.stat().st_size}
    read = answer(import_(store, out, "--json"))
    assert read == common | {"outcome": "present", "current": False}


def test_existing_file_is_overwritten_only_with_force(
    store: ModelStore, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version, out = publish().version, tmp_path / "model.tar"
    out.write_text("mine")
    shown = run_failing(capsys, "models", "export", version, "-o", out, "--models", store.root)
    failed(shown, "output-exists")
    assert out.read_text() == "mine"
    export(store, version, out, "--force")
    assert import_(ModelStore(tmp_path / "other"), out)


def test_foreign_file_is_refused_in_one_sentence(
    store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.tar"
    path.write_text("hello")
    failed(run_failing(capsys, "models", "import", path, "--models", store.root), "archive-foreign")
    assert not store.root.exists()


def test_base_model_of_an_adapter_is_named(store: ModelStore, tmp_path: Path) -> None:
    with store.staging_folder("encoder") as folder:
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").write_bytes(b"")
        draft = VersionMetadata(**DRAFT | {"base": "/models/gone", "base_revision": None})
        version = store.publish(folder, draft).version
    out = tmp_path / "model.tar"
    for shown in (export(store, version, out), import_(ModelStore(tmp_path / "other"), out)):
        assert (
            "It needs the base model /models/gone, which is not on this machine: copy that folder "
            "to the same path." in shown.splitlines()
        )
    read = answer(import_(store, out, "--json"))
    assert read["base"] == {"reference": "/models/gone", "revision": None}
    assert read["base_is_here"] is False
