"""The cache of compiled models: an unusable one is never loaded."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.openvino import cache, library
from tagalong.backend.models.openvino.cache import (
    OpenVINOCheck,
    OpenVINORecord,
    cache_openvino_model,
    find_openvino_model,
)
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import OpenVINOError, VersionInvalid
from tagalong.ner.manifest import Manifest, hash_file, manifest_digest, read_manifest
from tagalong.ner.model_registry import ModelRegistry
from tests.errors import raises
from tests.versions import edit_manifest

Publish = Callable[..., Manifest]
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "engine.xml").write_text("<net/>")
    (folder / "engine.weights").write_bytes(bytes(range(256)))
    return folder


def keep(folder: Path, made: Path, note: str = ""):
    manifest = read_manifest(folder)
    record = OpenVINORecord(
        version=manifest.version,
        manifest_digest=manifest_digest(manifest.to_json()),
        openvino_version=cache.openvino_version(),
        precision=cache.choose_precision(),
        int8_instruction_set=cache.int8_instruction_set(),
        weight_format="int8",
        max_positions=512,
        check=OpenVINOCheck(3, 99, 0.99, 9, 0.9, 0.99, 0.8, 0.8),
        notes=(note,),
        files={name: hash_file(made / name) for name in ("engine.xml", "engine.weights")},
    )
    return cache_openvino_model(manifest, made, record)


def found_in(folder: Path):
    return find_openvino_model(read_manifest(folder))


def test_cached_model_is_found_outside_the_version(
    store: ModelStore, publish: Publish, made: Path, own_cache: Path
) -> None:
    folder = store.resolve(publish(1).version)
    before = sorted(folder.rglob("*"))
    kept = keep(folder, made)
    assert found_in(folder) == kept
    assert kept.folder.is_relative_to(own_cache)
    assert sorted(folder.rglob("*")) == before
    assert OpenVINORecord.from_json(json.loads(json.dumps(kept.record.to_json()))) == kept.record
    other = store.resolve(publish(2).version)
    assert found_in(other) is None
    shutil.copytree(kept.folder, kept.folder.with_name(other.name))
    assert found_in(other) is None  # the model belongs to another version


@pytest.mark.parametrize("name", [".cache/engine", ".cache", "../.cache/engine"])
@pytest.mark.parametrize("is_link", [False, True])
def test_model_that_a_version_brings_is_not_used(
    store: ModelStore, publish: Publish, made: Path, tmp_path: Path, name: str, is_link: bool
) -> None:
    folder = store.resolve(publish(1).version)
    planted = tmp_path / "planted"
    keep(folder, made).folder.rename(planted)
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    if is_link:
        place.symlink_to(planted)
    else:
        planted.rename(place)
    assert found_in(folder) is None


def test_version_cannot_name_the_place_of_its_model(
    store: ModelStore, publish: Publish, own_cache: Path
) -> None:
    folder = store.resolve(publish(1).version)
    edit_manifest(folder, folder.name, f"../../../models/{folder.name}", reseal=True)
    with raises(VersionInvalid, "manifest-field-invalid"):
        found_in(folder)


@pytest.mark.parametrize(("models_that_fit", "left"), [(3, [0, 3, 4]), (0, [4])])
def test_least_recently_used_models_are_deleted(
    models_that_fit: int,
    left: list[int],
    store: ModelStore,
    publish: Publish,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = [store.resolve(publish(number).version) for number in range(5)]
    for age, folder in enumerate(folders[:4]):
        kept = keep(folder, made)
        os.utime(kept.folder, (1e9 + age, 1e9 + age))
    assert found_in(folders[0])  # a server has just loaded it
    size = sum(path.stat().st_size for path in kept.folder.iterdir())
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", size * models_that_fit + size // 2)
    keep(folders[4], made)  # a new one stays, even where none fits
    assert [number for number in range(5) if found_in(folders[number])] == left


def test_newer_model_replaces_cached_one(store: ModelStore, publish: Publish, made: Path) -> None:
    folder = store.resolve(publish(1).version)
    keep(folder, made)
    (made / "engine.xml").write_text("<net>another</net>")
    newer = keep(folder, made, "newer")
    assert found_in(folder) == newer
    assert sorted(path.name for path in newer.folder.iterdir()) == [
        *("engine.json", "engine.weights", "engine.xml")
    ]
    left = {path.name for path in newer.folder.parent.iterdir()}
    assert left == {folder.name, ".lock"}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def resealed(path: Path, **changes: object) -> None:
    """Change a record, with a valid seal."""
    stored = json.loads(path.read_bytes()) | changes
    del stored["seal"]
    path.write_text(json.dumps(stored | {"seal": manifest_digest(stored)}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda home: flip(home / "engine.weights"),
        lambda home: flip(home / "engine.xml"),
        lambda home: (home / "engine.weights").unlink(),
        lambda home: (home / "engine.json").unlink(),
        lambda home: (home / "engine.json").write_text("{"),
        lambda home: (home / "engine.json").write_text("[]"),
        lambda home: (home / "engine.json").write_text('{"format": 5, "openvino_version": null}'),
        lambda home: (home / "engine.json").write_text(
            (home / "engine.json")
            .read_text()
            .replace('"max_positions": 512', '"max_positions": 112')
        ),
        lambda home: resealed(home / "engine.json", format=4),
        lambda home: resealed(home / "engine.json", files={}),
        lambda home: (home / "engine.json").write_bytes(b"\xff\xfe"),
    ],
)
def test_damaged_model_is_not_used_and_can_be_replaced(
    damage: Callable[[Path], None], store: ModelStore, publish: Publish, made: Path
) -> None:
    folder = store.resolve(publish(1).version)
    kept = keep(folder, made)
    damage(kept.folder)
    assert found_in(folder) is None
    assert found_in(folder) is None
    keep(folder, made)
    assert found_in(folder) == kept


def test_model_checked_in_other_precision_is_not_used(
    store: ModelStore, publish: Publish, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.resolve(publish(1).version)
    kept = keep(folder, made)
    others = {"bf16": "f32", "f32": "bf16"}
    with monkeypatch.context() as changes:
        changes.setattr(cache, "choose_precision", lambda: others[kept.record.precision])
        assert found_in(folder) is None
    assert found_in(folder) == kept
    monkeypatch.setattr(cache, "int8_instruction_set", lambda: "of another kind")
    assert found_in(folder) is None


def test_unsupported_cpu_has_no_model(
    store: ModelStore, publish: Publish, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.resolve(publish(1).version)
    kept = keep(folder, made)

    class Core:
        def get_property(self, *_: str) -> object:
            raise RuntimeError("Device with CPU name is not registered")

    with monkeypatch.context() as changes:
        changes.setattr(library.import_openvino(), "Core", Core)
        assert found_in(folder) is None
    assert found_in(folder) == kept


def test_model_of_other_release_is_not_used(
    store: ModelStore, publish: Publish, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.resolve(publish(1).version)
    keep(folder, made)
    monkeypatch.setattr(cache, "openvino_version", lambda: "2099.1.0")
    assert found_in(folder) is None


def test_bundled_versions_are_not_written_to(own_cache: Path, made: Path) -> None:
    folder = ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve(
        "bundled"
    )
    before = sorted(folder.rglob("*"))
    kept = keep(folder, made)
    assert kept.folder.is_relative_to(own_cache)
    assert found_in(folder) == kept
    assert sorted(folder.rglob("*")) == before


def test_unwritable_cache_is_reported(
    store: ModelStore, publish: Publish, made: Path, own_cache: Path
) -> None:
    folder = store.resolve(publish(1).version)
    own_cache.write_text("in the way")  # root may write to a read-only folder
    with raises(OpenVINOError, "openvino-cache-unwritable"):
        keep(folder, made)
    assert found_in(folder) is None
