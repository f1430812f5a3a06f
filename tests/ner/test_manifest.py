import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import PublishError, VersionInvalid, VersionNotFound
from tagalong.ner.file_safety import FileRecord
from tagalong.ner.manifest import (
    MANIFEST_FILE_NAME,
    MANIFEST_SCHEMA_VERSION,
    Manifest,
    VersionMetadata,
    check_sizes,
    content_hash,
    hash_files,
    manifest_digest,
    read_manifest,
)
from tests.versions import DRAFT, edit_manifest, safetensors, write_files

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), PLAIN, max_size=3)
FILES = {"model.safetensors": FileRecord("ab" * 32, 96), "vocab.txt": FileRecord("cd" * 32, 5)}
DRAFTS = st.builds(
    VersionMetadata,
    tier=st.just("encoder"),
    name=st.just("minilm"),
    base=st.text(),
    base_revision=st.none() | st.text(),
    labels=st.lists(st.text(min_size=1), min_size=1, max_size=4).map(tuple),
    config=OBJECTS,
    data=OBJECTS,
    scores=OBJECTS,
    calibration=OBJECTS,
    environment=OBJECTS,
)


def manifest(draft: VersionMetadata) -> Manifest:
    fields = {name: getattr(draft, name) for name in DRAFT}
    version = f"{draft.name}-20260131-{content_hash(draft, FILES)}"
    return Manifest(**fields, version=version, created="2026-01-31T12:00:00+00:00", files=FILES)


@given(DRAFTS)
def test_what_is_written_is_what_is_read(draft: VersionMetadata) -> None:
    written = manifest(draft)
    text = json.dumps(written.to_json())
    assert Manifest.from_json(json.loads(text), "here") == written


@given(DRAFTS)
def test_the_hash_survives_writing_and_reading(draft: VersionMetadata) -> None:
    written = manifest(draft)
    read = Manifest.from_json(json.loads(json.dumps(written.to_json())), "here")
    assert content_hash(read, read.files) == content_hash(draft, FILES)


@given(DRAFTS, OBJECTS)
def test_the_hash_ignores_what_does_not_make_a_version_itself(
    draft: VersionMetadata, other: dict[str, Any]
) -> None:
    backwards = dict(reversed(draft.config.items()))
    same = replace(draft, config=backwards, scores=other, environment=other)
    tokenizer = {**FILES, "vocab.txt": FileRecord("ee" * 32, 5)}
    assert content_hash(same, tokenizer) == content_hash(draft, FILES)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"epochs": 7}},
        {"data": {}},
        {"calibration": {"temperature": 1.3, "consistency": 0.5}},
        {"labels": ("Disease", "Chemical")},
        {"base": "bert-base-cased"},
        {"base_revision": None},
    ],
)
def test_the_hash_tells_versions_apart(change: dict[str, Any]) -> None:
    draft = VersionMetadata(**DRAFT)
    assert content_hash(replace(draft, **change), FILES) != content_hash(draft, FILES)


def test_a_version_of_before_calibration_counted_still_reads(tmp_path: Path) -> None:
    """What it answers with has not changed, and neither has its name."""
    draft = VersionMetadata(**DRAFT)
    assert content_hash(draft, FILES, schema_version=1) == content_hash(
        replace(draft, calibration={"temperature": 9.9}), FILES, schema_version=1
    )
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(safetensors(1))
    files = hash_files(folder)
    version = f"old-20260131-{content_hash(draft, files, schema_version=1)}"
    fields = {name: getattr(draft, name) for name in DRAFT}
    old = Manifest(
        **fields, version=version, created="2026-01-31T12:00:00+00:00", files=files, format=1
    )
    (folder / MANIFEST_FILE_NAME).write_text(json.dumps(old.to_json()), encoding="utf-8")
    assert read_manifest(folder) == old


def test_other_weights_and_renamed_weights_are_another_version() -> None:
    draft, record = VersionMetadata(**DRAFT), FILES["model.safetensors"]
    contents = [
        FILES,
        {**FILES, "model.safetensors": FileRecord("ef" * 32, 96)},
        {**FILES, "extra.onnx": record},
        {"renamed.safetensors": record},
    ]
    assert len({content_hash(draft, files) for files in contents}) == len(contents)


def broken(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(manifest(VersionMetadata(**DRAFT)).to_json())) | changes


@pytest.mark.parametrize("name", broken())
def test_a_missing_field_is_named(name: str) -> None:
    value = broken()
    del value[name]
    with pytest.raises(VersionInvalid, match=rf"over/there lacks the field '{name}'"):
        Manifest.from_json(value, "over/there")


@pytest.mark.parametrize("name", broken())
def test_a_field_of_a_wrong_kind_is_named(name: str) -> None:
    with pytest.raises(VersionInvalid, match=rf"over/there has 1\.5 as '{name}', not "):
        Manifest.from_json(broken(**{name: 1.5}), "over/there")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"holds \[\] instead of an object"),
        (
            broken(format=MANIFEST_SCHEMA_VERSION + 1),
            f"has format {MANIFEST_SCHEMA_VERSION + 1}.*install a newer Tagalong",
        ),
        (broken(added_later=True), r"unknown fields \(added_later\)"),
        (broken(labels=[]), r"\[\] as 'labels'"),
        (broken(labels=["Chemical", 3]), r"3\] as 'labels'"),
        (broken(files={"model.safetensors": "ab"}), "for the file 'model.safetensors'"),
        (broken(files={"model.safetensors": {"sha256": "ab"}}), "for the file"),
    ],
)
def test_what_is_no_manifest_is_refused(value: object, message: str) -> None:
    with pytest.raises(VersionInvalid, match=message):
        Manifest.from_json(value, "over/there")


def delete(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def tamper(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(safetensors(99))


def tamper_deep(folder: Path) -> None:
    (folder / "onnx" / "config.json").write_text("[]")


def add_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(safetensors(1))


def add_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"anything")


def add_hidden_pickle(folder: Path) -> None:
    (folder / ".cache").write_bytes(pickle.dumps([1]))


def replace_by_link(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder.parent / "elsewhere.json")
    (folder / "tokenizer.json").symlink_to(folder.parent / "elsewhere.json")


def rename_label(folder: Path) -> None:
    edit_manifest(folder, '"Chemical"', '"Disease2"', reseal=True)


def delete_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def cut_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:-9])


def binary_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")


def nest_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[" * 100_000)


def forge_path(folder: Path) -> None:
    edit_manifest(folder, '"tokenizer.json"', '"../current"', reseal=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (delete, r"tokenizer\.json is missing"),
        (truncate, r"model\.safetensors in .* has 95 bytes instead of 96"),
        (tamper, r"model\.safetensors in .* was changed since publishing"),
        (tamper_deep, r"onnx/config\.json in .* was changed"),
        (add_weights, r"adapter_model\.safetensors in .* was not published with it"),
        (add_pickle, r"pytorch_model\.bin in .* can run any code"),
        (add_hidden_pickle, r"\.cache in .* is a pickle"),
        (replace_by_link, r"tokenizer\.json in .* is a symbolic link"),
        (rename_label, r"manifest\.json names a version of another content"),
        (delete_manifest, r"has no manifest\.json"),
        (cut_manifest, r"manifest\.json cannot be read"),
        (binary_manifest, r"manifest\.json cannot be read"),
        (nest_manifest, r"manifest\.json cannot be read"),
        (forge_path, r"tokenizer\.json in .* was not published with it"),
    ],
)
def test_a_damaged_version_is_refused_and_the_file_named(
    store: ModelStore,
    publish: Callable[..., Manifest],
    damage: Callable[[Path], None],
    message: str,
) -> None:
    folder = store.resolve(publish().version)
    damage(folder)
    with pytest.raises(VersionInvalid, match=message) as caught:
        read_manifest(folder)
    assert "retrain, promote another version" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (delete, "is missing"),
        (truncate, "95 bytes instead of 96"),
        (add_pickle, "can run any code"),
        (delete_manifest, r"has no manifest\.json"),
        (tamper, None),  # of the same size: only `read_manifest` reads that much
    ],
)
def test_sizes_tell_of_files_that_were_cut_or_lost(
    store: ModelStore,
    publish: Callable[..., Manifest],
    damage: Callable[[Path], None],
    message: str | None,
) -> None:
    folder = store.resolve(publish().version)
    check_sizes(folder)
    damage(folder)
    if message is None:
        check_sizes(folder)
        return
    with pytest.raises(VersionInvalid, match=message):
        check_sizes(folder)


EDITS = [
    ('"temperature": 1.3', '"temperature": 19'),
    ('"strict_f1": 0.84', '"strict_f1": 0.99'),
    ('"python": "3.11.7"', '"python": "3.99"'),
    ('"bytes": 2', '"bytes": 3'),
    ('"learning_rate": 0.0002', '"learning_rate": 0.0003'),
    ('"created": "', '"created": "1'),
    ('"digest": "', '"digest": "0'),
]


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(("old", "new"), EDITS)
def test_nothing_that_a_manifest_says_can_be_changed_unseen(
    store: ModelStore, publish: Callable[..., Manifest], old: str, new: str, verify: bool
) -> None:
    folder = store.resolve(publish().version)
    edit_manifest(folder, old, new)
    with pytest.raises(VersionInvalid, match=r"manifest\.json was changed since publishing"):
        read_manifest(folder, verify=verify)


def test_an_edited_manifest_can_be_sealed_again(
    store: ModelStore, publish: Callable[..., Manifest]
) -> None:
    """So that the test above fails for the digest alone."""
    folder = store.resolve(publish().version)
    edit_manifest(folder, '"strict_f1": 0.84', '"strict_f1": 0.99', reseal=True)
    assert read_manifest(folder).scores["dev"]["strict_f1"] == 0.99


@given(DRAFTS)
def test_the_digest_is_of_the_content_however_it_is_written(draft: VersionMetadata) -> None:
    value = manifest(draft).to_json()
    backwards = dict(reversed(json.loads(json.dumps(value, indent=2)).items()))
    assert manifest_digest(backwards) == value["digest"]


def test_every_field_is_part_of_the_digest() -> None:
    value = broken()
    fields = value.keys() - {"digest"}
    assert len({manifest_digest(value | {name: "other"}) for name in fields}) == len(fields)
    assert manifest_digest(value | {"digest": "other"}) == value["digest"]


@pytest.mark.parametrize("damage", [delete, truncate, tamper, add_weights, add_pickle])
def test_listing_reads_the_manifest_alone(
    store: ModelStore, publish: Callable[..., Manifest], damage: Callable[[Path], None]
) -> None:
    published = publish()
    damage(store.resolve(published.version))
    assert read_manifest(store.resolve(published.version), verify=False) == published


def test_what_a_desktop_leaves_behind_harms_no_version(
    store: ModelStore, publish: Callable[..., Manifest]
) -> None:
    published = publish()
    (store.resolve(published.version) / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert read_manifest(store.resolve(published.version)) == published


def test_a_version_can_be_copied_and_read_elsewhere(
    store: ModelStore, publish: Callable[..., Manifest], tmp_path: Path
) -> None:
    published = publish()
    store.resolve(published.version).rename(tmp_path / "copy")
    assert read_manifest(tmp_path / "copy") == published


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VersionNotFound, match="nowhere is not there"):
        read_manifest(tmp_path / "nowhere")


def test_sealing_lists_every_file(tmp_path: Path) -> None:
    write_files(tmp_path, 5)
    sealed = hash_files(tmp_path)
    assert list(sealed) == ["model.safetensors", "onnx/config.json", "tokenizer.json"]
    assert sealed["onnx/config.json"].bytes == 2


@pytest.mark.parametrize("bad", ["optimizer.pt", "training_args.bin"])
def test_sealing_refuses_pickles(tmp_path: Path, bad: str) -> None:
    write_files(tmp_path)
    (tmp_path / bad).write_bytes(b"")
    with pytest.raises(PublishError, match=f"{bad} in .* can run any code"):
        hash_files(tmp_path)


def test_sealing_refuses_links(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "shared").symlink_to("/etc")
    with pytest.raises(PublishError, match=r"shared in .* is a symbolic link"):
        hash_files(tmp_path)


def test_a_version_without_weights_is_none(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PublishError, match="has no weights"):
        hash_files(tmp_path)
