import json
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import PublishError, VersionInvalid, VersionNotFound
from tagalong.ner.manifest import (
    ALLOWED_SUFFIXES,
    MANIFEST_FILE_NAME,
    MANIFEST_SCHEMA_VERSION,
    FileRecord,
    Manifest,
    VersionMetadata,
    check_sizes,
    content_hash,
    find_files,
    forbidden_reason,
    hash_file,
    hash_files,
    manifest_digest,
    read_manifest,
    read_word_rule,
)
from tests.errors import raises
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
def test_manifest_round_trip(draft: VersionMetadata) -> None:
    written = manifest(draft)
    text = json.dumps(written.to_json())
    assert Manifest.from_json(json.loads(text), "here") == written


@given(DRAFTS)
def test_content_hash_is_stable_after_round_trip(draft: VersionMetadata) -> None:
    written = manifest(draft)
    read = Manifest.from_json(json.loads(json.dumps(written.to_json())), "here")
    assert content_hash(read, read.files) == content_hash(draft, FILES)


@given(DRAFTS, OBJECTS)
def test_content_hash_ignores_scores_and_environment(
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
def test_content_hash_differs_between_versions(change: dict[str, Any]) -> None:
    draft = VersionMetadata(**DRAFT)
    assert content_hash(replace(draft, **change), FILES) != content_hash(draft, FILES)


def test_version_hashed_without_calibration_is_still_valid(tmp_path: Path) -> None:
    """Its content and its name have not changed."""
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


def test_changed_or_renamed_weights_change_content_hash() -> None:
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
def test_missing_field_is_named(name: str) -> None:
    value = broken()
    del value[name]
    with raises(VersionInvalid, "manifest-field-missing") as raised:
        Manifest.from_json(value, "over/there")
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize("name", broken())
def test_field_of_wrong_type_is_named(name: str) -> None:
    with raises(VersionInvalid, "manifest-field-invalid") as raised:
        Manifest.from_json(broken(**{name: 1.5}), "over/there")
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "manifest-not-an-object"),
        (broken(format=MANIFEST_SCHEMA_VERSION + 1), "manifest-of-newer-format"),
        (broken(added_later=True), "manifest-field-unknown"),
        (broken(labels=[]), "manifest-field-invalid"),
        (broken(labels=["Chemical", 3]), "manifest-field-invalid"),
        (broken(files={"model.safetensors": "ab"}), "manifest-file-record-invalid"),
        (broken(files={"model.safetensors": {"sha256": "ab"}}), "manifest-file-record-invalid"),
    ],
)
def test_non_object_is_no_manifest(value: object, code: str) -> None:
    with raises(VersionInvalid, code):
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
    ("damage", "code", "name"),
    [
        (delete, "file-missing", "tokenizer.json"),
        (truncate, "file-of-other-size", "model.safetensors"),
        (tamper, "file-changed", "model.safetensors"),
        (tamper_deep, "file-changed", "onnx/config.json"),
        (add_weights, "file-not-published", "adapter_model.safetensors"),
        (add_pickle, "file-not-allowed", "pytorch_model.bin"),
        (replace_by_link, "file-not-allowed", "tokenizer.json"),
        (rename_label, "version-of-other-content", "manifest.json"),
        (delete_manifest, "manifest-missing", "manifest.json"),
        (cut_manifest, "version-unreadable", "manifest.json"),
        (binary_manifest, "version-unreadable", "manifest.json"),
        (nest_manifest, "version-unreadable", "manifest.json"),
        (forge_path, "file-not-published", "tokenizer.json"),
    ],
)
def test_damaged_version_error_names_file(
    store: ModelStore,
    publish: Callable[..., Manifest],
    damage: Callable[[Path], None],
    code: str,
    name: str,
) -> None:
    folder = store.resolve(publish().version)
    damage(folder)
    with raises(VersionInvalid, code) as caught:
        read_manifest(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (delete, "file-missing"),
        (truncate, "file-of-other-size"),
        (add_pickle, "file-not-allowed"),
        (delete_manifest, "manifest-missing"),
    ],
)
def test_size_check_finds_truncated_or_missing_files(
    store: ModelStore, publish: Callable[..., Manifest], damage: Callable[[Path], None], code: str
) -> None:
    folder = store.resolve(publish().version)
    check_sizes(folder)
    damage(folder)
    with raises(VersionInvalid, code):
        check_sizes(folder)


def test_size_check_misses_changed_content_of_same_size(
    store: ModelStore, publish: Callable[..., Manifest]
) -> None:
    folder = store.resolve(publish().version)
    tamper(folder)
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
def test_edited_manifest_is_refused(
    store: ModelStore, publish: Callable[..., Manifest], old: str, new: str, verify: bool
) -> None:
    folder = store.resolve(publish().version)
    edit_manifest(folder, old, new)
    with raises(VersionInvalid, "file-changed"):
        read_manifest(folder, verify=verify)


def test_edited_manifest_with_new_digest_is_read(
    store: ModelStore, publish: Callable[..., Manifest]
) -> None:
    """Proves that the digest is the only cause in the test above."""
    folder = store.resolve(publish().version)
    edit_manifest(folder, '"strict_f1": 0.84', '"strict_f1": 0.99', reseal=True)
    assert read_manifest(folder).scores["dev"]["strict_f1"] == 0.99


@given(DRAFTS)
def test_digest_ignores_json_formatting(draft: VersionMetadata) -> None:
    value = manifest(draft).to_json()
    backwards = dict(reversed(json.loads(json.dumps(value, indent=2)).items()))
    assert manifest_digest(backwards) == value["digest"]


def test_digest_covers_every_field() -> None:
    value = broken()
    fields = value.keys() - {"digest"}
    assert len({manifest_digest(value | {name: "other"}) for name in fields}) == len(fields)
    assert manifest_digest(value | {"digest": "other"}) == value["digest"]


@pytest.mark.parametrize("damage", [delete, truncate, tamper, add_weights, add_pickle])
def test_listing_reads_only_the_manifest(
    store: ModelStore, publish: Callable[..., Manifest], damage: Callable[[Path], None]
) -> None:
    published = publish()
    damage(store.resolve(published.version))
    assert read_manifest(store.resolve(published.version), verify=False) == published


def test_hidden_desktop_files_are_ignored(
    store: ModelStore, publish: Callable[..., Manifest]
) -> None:
    published = publish()
    folder = store.resolve(published.version)
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "engine.bin").write_bytes(b"\x80\4")
    assert read_manifest(store.resolve(published.version)) == published


def test_copied_version_is_readable_elsewhere(
    store: ModelStore, publish: Callable[..., Manifest], tmp_path: Path
) -> None:
    published = publish()
    store.resolve(published.version).rename(tmp_path / "copy")
    assert read_manifest(tmp_path / "copy") == published


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with raises(VersionNotFound, "version-folder-missing"):
        read_manifest(tmp_path / "nowhere")


def test_hash_files_lists_every_file(tmp_path: Path) -> None:
    write_files(tmp_path, 5)
    records = hash_files(tmp_path)
    assert list(records) == ["model.safetensors", "onnx/config.json", "tokenizer.json"]
    assert records["onnx/config.json"].bytes == 2


@pytest.mark.parametrize("bad", ["optimizer.pt", "training_args.bin"])
def test_hash_files_refuses_pickles(tmp_path: Path, bad: str) -> None:
    write_files(tmp_path)
    (tmp_path / bad).write_bytes(b"")
    with raises(PublishError, "file-not-allowed"):
        hash_files(tmp_path)


def test_hash_files_refuses_links(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "shared").symlink_to("/etc")
    with raises(PublishError, "file-not-allowed"):
        hash_files(tmp_path)


def test_version_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with raises(PublishError, "no-files"):
        hash_files(tmp_path)


def test_content_hash_counts_all_files_without_weights() -> None:
    one, other = (
        {"terms.json": FileRecord(letter * 64, 3), "notes.txt": FileRecord("0" * 64, 1)}
        for letter in "ab"
    )
    draft = VersionMetadata(**DRAFT)
    assert content_hash(draft, one) != content_hash(draft, other)


@pytest.mark.parametrize("suffix", sorted(ALLOWED_SUFFIXES))
def test_allowed_file_types_ignore_content(tmp_path: Path, suffix: str) -> None:
    for name in (f"model{suffix}", f"MODEL{suffix.upper()}"):
        (tmp_path / name).write_bytes(pickle.dumps(print))
        assert forbidden_reason(tmp_path / name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("pytorch_model.bin", "m.PT", "m.pth", "m.pkl", "m.ckpt", "m.joblib", "m.npy", "m.npz"),
        *("model.safetensors.bin", "vocab.zip", "modeling.py", "vocab", ".json"),
    ],
)
def test_other_file_types_are_forbidden(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("harmless")
    assert forbidden_reason(tmp_path / name)


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "target")
    (tmp_path / "broken.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.json")
    found = find_files(tmp_path)
    assert list(found) == ["broken.json", "folder", "pipe.json"]
    assert all(forbidden_reason(path) for path in found.values())


def test_files_are_found_recursively_without_following_links(tmp_path: Path) -> None:
    for name in ("b.json", "a/deep/c.json", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(name))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list(find_files(tmp_path)) == [".hidden", "a/deep/c.json", "b.json", "loop"]


def test_file_record_has_size_and_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    record = hash_file(path)
    assert record.bytes == 3
    # FIPS 180-2, appendix B.1
    assert record.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_folders_that_vanish_during_listing_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            (tmp_path / "some" / "where").mkdir(parents=True)
            shutil.rmtree(tmp_path / "some")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(500):
            assert list(find_files(tmp_path)) == ["kept"]
    finally:
        over.set()
        other.join()


@pytest.mark.parametrize(("config", "name"), [({}, "plain"), ({"word_rule": "parts"}, "parts")])
def test_word_rule(config: Mapping[str, Any], name: str) -> None:
    """Versions of the first release name none."""
    metadata = VersionMetadata(tier="encoder", name="x", base="", labels=("x",), config=config)
    assert read_word_rule(metadata).name == name


def test_unknown_word_rule_is_refused() -> None:
    metadata = VersionMetadata(
        tier="encoder", name="x", base="", labels=("x",), config={"word_rule": "syllables"}
    )
    with raises(VersionInvalid, "word-rule-unknown"):
        read_word_rule(metadata)
