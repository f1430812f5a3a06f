import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.current_version import CurrentVersion, read_current_version
from tagalong.ner.errors import (
    CurrentVersionChangedError,
    LabelError,
    PublishError,
    RegistryError,
    VersionInvalid,
    VersionNotFound,
)
from tagalong.ner.manifest import Manifest, VersionMetadata, read_manifest
from tests.errors import raises
from tests.versions import DRAFT, edit_manifest, publish_number, safetensors, write_files

Publish = Callable[..., Manifest]


def content(version: str) -> str:
    return version.rsplit("-", 1)[1]


def temporary_names(store: ModelStore) -> list[str]:
    """Files of unfinished work."""
    return [path.name for path in store.root.rglob(".staging-*")]


def test_published_version_is_read_back_and_leaves_no_temporary_files(
    store: ModelStore, publish: Publish
) -> None:
    published = publish()
    assert read_manifest(store.resolve(published.version)) == published
    assert {name: getattr(published, name) for name in DRAFT} == DRAFT
    assert published.created.endswith("+00:00")
    assert not temporary_names(store)
    assert store.promoted_version("encoder") is None


def test_version_name_has_name_date_and_content_hash(publish: Publish) -> None:
    published = publish()
    date = published.created[:10].replace("-", "")
    assert published.version == f"minilm-{date}-{content(published.version)}"
    assert len(content(published.version)) == 8


def test_unpublished_staging_folder_is_removed(store: ModelStore) -> None:
    with store.staging_folder("encoder") as folder:
        assert list(folder.iterdir()) == []
        write_files(folder)
        home = folder.parent.parent
    assert home == store.root / "encoder"
    assert not folder.exists()
    assert not temporary_names(store)
    assert store.version_names("encoder") == []


def test_staging_folder_is_removed_after_an_error(store: ModelStore) -> None:
    with pytest.raises(KeyboardInterrupt), store.staging_folder("encoder"):
        raise KeyboardInterrupt
    assert not temporary_names(store)


def test_same_content_is_the_same_version(store: ModelStore, publish: Publish) -> None:
    first = publish()
    place = store.resolve(first.version)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    again = publish(scores={"dev": {"strict_f1": 0.1}}, environment={})
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before
    assert store.version_names("encoder") == [first.version]


def test_same_content_on_a_later_day_is_the_same_version(
    store: ModelStore, publish: Publish
) -> None:
    today = publish()
    earlier = f"minilm-20200229-{content(today.version)}"
    place = store.resolve(today.version).rename(store.model_folder("encoder") / earlier)
    edit_manifest(place, today.version, earlier, reseal=True)
    assert publish().version == earlier
    assert store.version_names("encoder") == [earlier]


def test_different_content_is_a_different_version(store: ModelStore, publish: Publish) -> None:
    published = [
        publish(0),
        publish(1),
        publish(0, config={}),
        publish(0, name="other"),
        publish(0, calibration={"temperature": 1.3, "consistency": 0.5}),  # it influences tags
    ]
    assert len(store.version_names("encoder")) == len({item.version for item in published}) == 5


def test_versions_that_differ_only_beside_the_weights_have_names_of_their_own(
    store: ModelStore,
) -> None:
    def publish_with(tokenizer: str) -> Manifest:
        with store.staging_folder("encoder") as folder:
            write_files(folder)
            (folder / "tokenizer.json").write_text(tokenizer)
            return store.publish(folder, VersionMetadata(**DRAFT))

    first, second, third = map(publish_with, ("{}", "[]", "[1]"))
    name, date, digest = first.version.split("-")
    assert second.version == f"{name}-{date}-2-{digest}"
    assert third.version == f"{name}-{date}-3-{digest}"
    for one, tokenizer in ((first, "{}"), (second, "[]"), (third, "[1]")):
        assert publish_with(tokenizer) == read_manifest(store.resolve(one.version)) == one
    store.remove("encoder", second.version)
    assert publish_with("[2]").version == second.version


def test_publishing_the_same_content_repairs_a_damaged_version(
    store: ModelStore, publish: Publish
) -> None:
    first = publish()
    store.promote("encoder", first.version)
    (store.resolve("encoder") / "model.safetensors").write_bytes(safetensors(13))
    assert publish().version == first.version
    assert read_manifest(store.resolve("encoder")).files == first.files
    assert not temporary_names(store)


def test_incomplete_folder_with_a_version_name_is_replaced(
    store: ModelStore, publish: Publish
) -> None:
    first = publish()
    (store.resolve(first.version) / "manifest.json").unlink()
    assert read_manifest(store.resolve(publish().version)).version == first.version


def test_published_manifest_can_be_published_in_another_store(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    published = publish(4)
    other = ModelStore(tmp_path / "bundled")
    with other.staging_folder("encoder") as folder:
        write_files(folder, 4)
        assert content(other.publish(folder, published).version) == content(published.version)


def test_metadata_is_hashed_as_read_from_json(store: ModelStore, publish: Publish) -> None:
    published = publish(config={"layers": (1, 2), "by_id": {2: "a", 10: "b"}})
    assert published.config == {"layers": [1, 2], "by_id": {"2": "a", "10": "b"}}
    assert read_manifest(store.resolve(published.version)) == published


@pytest.mark.parametrize("value", [float("nan"), Path("x"), {1, 2}, b"x"])
def test_metadata_that_is_not_json_is_refused(
    store: ModelStore, publish: Publish, value: object
) -> None:
    with raises(PublishError, "metadata-not-json"):
        publish(config={"value": value})
    assert store.version_names("encoder") == []
    assert not temporary_names(store)


@pytest.mark.parametrize("labels", [(), ("Chemical", "Chemical"), ("",)])
def test_metadata_without_a_label_set_is_refused(publish: Publish, labels: tuple[str, ...]) -> None:
    with pytest.raises(LabelError):
        publish(labels=labels)


@pytest.mark.parametrize("change", [{"name": "../evil"}, {"tier": ".."}, {"name": "x" * 99}])
def test_unsafe_names_are_refused(
    store: ModelStore, publish: Publish, change: dict[str, Any]
) -> None:
    with raises(RegistryError, "name-not-safe"):
        publish(**change)
    assert not (store.root.parent / "evil").exists()
    assert not temporary_names(store)


def test_pickles_are_never_published(store: ModelStore) -> None:
    with store.staging_folder("encoder") as folder:
        write_files(folder)
        (folder / "optimizer.pt").write_bytes(b"")
        with raises(PublishError, "file-not-allowed"):
            store.publish(folder, VersionMetadata(**DRAFT))
    assert store.version_names("encoder") == []


def test_rollbacks_undo_promotions_in_order(store: ModelStore, publish: Publish) -> None:
    one, two, three = (publish(value).version for value in range(3))
    for version in (one, two, two, three, one):
        store.promote("encoder", version)
    undone = [store.rollback("encoder") for _ in range(3)]
    assert undone == [three, two, one]
    assert store.promoted_version("encoder") == one
    assert store.rollback("encoder") is None
    assert store.promoted_version("encoder") is None
    with raises(RegistryError, "no-promotion-to-undo"):
        store.rollback("encoder")


@dataclass(frozen=True)
class FilledStore:
    """A store with versions. The last name is that of the bundled version, if any."""

    store: ModelStore
    names: tuple[str, ...]

    def state(self) -> tuple[CurrentVersion, str]:
        current = read_current_version(self.store.model_folder("encoder")) or CurrentVersion()
        return current, self.store.current_version("encoder")

    def promoted(self, history: list[int]) -> list[str]:
        """Promote versions in a store without a history; returns the current version after each."""
        (self.store.model_folder("encoder") / "current").unlink(missing_ok=True)
        seen = [self.store.current_version("encoder")]
        for number in history:
            self.store.promote("encoder", self.names[number % len(self.names)])
            if (now := self.store.current_version("encoder")) != seen[-1]:
                seen.append(now)
        return seen


@pytest.fixture(scope="module", params=[True, False], ids=["bundled", "nothing bundled"])
def filled_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> FilledStore:
    root = tmp_path_factory.mktemp("stock")
    shipped = ModelStore(root / "shipped")
    shipped.promote("encoder", publish_number(shipped, 9, name="shipped").version)
    store = ModelStore(root / "models", bundled_root=shipped.root if request.param else None)
    own = tuple(publish_number(store, value).version for value in range(2))
    return FilledStore(store, (*own, "bundled") if request.param else own)


@given(history=st.lists(st.integers(0, 2), max_size=6), last=st.integers(0, 2))
def test_rollback_restores_the_state_before_a_promotion(
    filled_store: FilledStore, history: list[int], last: int
) -> None:
    filled_store.promoted(history)
    before = filled_store.state()
    filled_store.store.promote("encoder", filled_store.names[last % len(filled_store.names)])
    if filled_store.state()[1] != before[1]:
        assert (filled_store.store.rollback("encoder") or "") == before[1]
    assert filled_store.state() == before


@given(history=st.lists(st.integers(0, 2), max_size=6))
def test_rollbacks_end_at_the_bundled_version(
    filled_store: FilledStore, history: list[int]
) -> None:
    seen = filled_store.promoted(history)
    undone = [filled_store.store.rollback("encoder") or "" for _ in seen[1:]]
    assert undone == seen[-2::-1]
    assert filled_store.state() == (CurrentVersion(), seen[0])
    with raises(RegistryError, "no-promotion-to-undo"):
        filled_store.store.rollback("encoder")


@pytest.fixture
def own(store: ModelStore, publish: Publish, tmp_path: Path) -> ModelStore:
    """An empty store whose bundled version comes from `store`."""
    store.promote("encoder", publish(9).version)
    return ModelStore(tmp_path / "own", bundled_root=store.root)


def test_bundled_version_is_promoted_by_either_name(own: ModelStore, store: ModelStore) -> None:
    shipped = store.current_version("encoder")
    version = publish_number(own).version
    for name in ("bundled", shipped):
        own.promote("encoder", version)
        own.promote("encoder", name)
        assert (own.promoted_version("encoder"), own.current_version("encoder")) == (None, shipped)
        assert own.resolve("encoder") == own.resolve("bundled") == store.resolve(shipped)
        text = (own.model_folder("encoder") / "current").read_text()
        assert json.loads(text)["version"] is None
        assert own.rollback("encoder") == version
    assert store.promoted_version("encoder") == shipped


def test_empty_store_can_promote_the_bundled_version(own: ModelStore, store: ModelStore) -> None:
    own.promote("encoder", "bundled")
    assert own.current_version("encoder") == store.promoted_version("encoder")


def test_copy_of_the_bundled_version_belongs_to_the_store(
    own: ModelStore, store: ModelStore
) -> None:
    copy = publish_number(own, 9).version
    assert copy == store.promoted_version("encoder")
    own.promote("encoder", copy)
    assert own.promoted_version("encoder") == copy
    own.promote("encoder", "bundled")
    assert own.promoted_version("encoder") is None


def test_store_of_an_older_release_rolls_back_to_the_bundled_version(
    own: ModelStore, store: ModelStore
) -> None:
    version = publish_number(own).version
    path = own.model_folder("encoder") / "current"
    path.write_text(json.dumps({"version": version, "previous": []}))
    assert own.promoted_version("encoder") == version
    assert own.rollback("encoder") == own.current_version("encoder")
    assert own.current_version("encoder") == store.promoted_version("encoder")


def test_rollback_skips_removed_versions_down_to_the_bundled_one(
    own: ModelStore, store: ModelStore
) -> None:
    one, two = (publish_number(own, value).version for value in range(2))
    own.promote("encoder", one)
    own.promote("encoder", two)
    own.remove("encoder", one)
    assert own.rollback("encoder") == store.promoted_version("encoder")


@pytest.mark.parametrize("way", ["promote another", "roll back"])
def test_remedies_for_removing_the_current_version_work(own: ModelStore, way: str) -> None:
    version = publish_number(own).version
    own.promote("encoder", version)
    with raises(RegistryError, "version-is-current"):
        own.remove("encoder", version)
    if way == "roll back":
        own.rollback("encoder")
    else:
        own.promote("encoder", "bundled")
    own.remove("encoder", version)
    assert own.version_names("encoder") == []


def test_tier_without_bundled_version_rolls_back_to_none(own: ModelStore) -> None:
    version = publish_number(own, tier="llm").version
    with raises(VersionNotFound, "no-bundled-version"):
        own.promote("llm", "bundled")
    own.promote("llm", version)
    assert own.rollback("llm") is None
    assert own.current_version("llm") == ""
    own.remove("llm", version)
    assert own.version_names("llm") == []


def test_damaged_bundled_version_is_neither_promoted_nor_rolled_back_to(
    own: ModelStore, store: ModelStore
) -> None:
    version = publish_number(own).version
    own.promote("encoder", version)
    (store.resolve("encoder") / "tokenizer.json").unlink()
    with raises(VersionInvalid, "file-missing"):
        own.promote("encoder", "bundled")
    with raises(VersionInvalid, "file-missing"):
        own.rollback("encoder")
    assert own.promoted_version("encoder") == version


def test_bundled_version_replaces_only_the_expected_version(
    own: ModelStore, store: ModelStore
) -> None:
    one, two = (publish_number(own, value).version for value in range(2))
    own.promote("encoder", one, expected_current=store.current_version("encoder"))
    with raises(CurrentVersionChangedError, "current-version-changed"):
        own.promote("encoder", "bundled", expected_current=two)
    own.promote("encoder", "bundled", expected_current=one)
    own.promote("encoder", "bundled", expected_current=two)  # it is already current
    with raises(CurrentVersionChangedError, "current-version-changed"):
        own.promote("encoder", two, expected_current=one)


def test_rollback_skips_removed_versions(store: ModelStore, publish: Publish) -> None:
    one, two, three = (publish(value).version for value in range(3))
    for version in (one, three, two, three):
        store.promote("encoder", version)
    store.remove("encoder", two)
    assert store.rollback("encoder") == one


def test_rollback_refuses_a_damaged_version(store: ModelStore, publish: Publish) -> None:
    one, two = publish(1).version, publish(2).version
    store.promote("encoder", one)
    store.promote("encoder", two)
    (store.resolve(one) / "tokenizer.json").unlink()
    with raises(VersionInvalid, "file-missing"):
        store.rollback("encoder")
    assert store.promoted_version("encoder") == two


def test_rollback_without_promotion_is_an_error(store: ModelStore, publish: Publish) -> None:
    for tier in ("encoder", "llm"):
        with raises(RegistryError, "no-promotion-to-undo"):
            store.rollback(tier)
    for name in ("bundled", "minilm-20260131-0f3c2d1e"):
        with raises(RegistryError, "model-unknown"):
            store.rollback(name)
    assert not store.root.exists()


def test_damaged_version_is_not_promoted(store: ModelStore, publish: Publish) -> None:
    good, bad = publish(1).version, publish(2).version
    store.promote("encoder", good)
    (store.resolve(bad) / "model.safetensors").write_bytes(safetensors(3))
    with raises(VersionInvalid, "file-changed"):
        store.promote("encoder", bad)
    assert store.promoted_version("encoder") == good


def test_version_in_the_wrong_tier_is_not_promoted(store: ModelStore, publish: Publish) -> None:
    version = publish().version
    store.resolve(version).rename(store.model_folder("encoder") / "best")
    with raises(VersionInvalid, "version-renamed"):
        store.promote("encoder", "best")


def test_missing_version_is_neither_promoted_nor_removed(
    store: ModelStore, publish: Publish
) -> None:
    version = publish().version
    for change in (store.promote, store.remove):
        with raises(VersionNotFound, "version-not-in-model"):
            change("encoder", "gone")
        with pytest.raises(VersionNotFound):
            change("llm", version)
    assert store.models() == ["encoder"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 3, "previous": []}', '{"version": "..", "previous": []}', "\0"],
)
def test_promotion_repairs_a_damaged_current_file(
    store: ModelStore, publish: Publish, text: str
) -> None:
    version = publish().version
    (store.model_folder("encoder") / "current").write_text(text)
    for read in (store.current_version, store.rollback, store.resolve):
        with raises(VersionInvalid, "current-unreadable"):
            read("encoder")
    store.promote("encoder", version)
    assert store.promoted_version("encoder") == version


def test_promotion_replaces_a_current_file_without_permissions(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish().version
    store.promote("encoder", version)
    current = store.model_folder("encoder") / "current"
    usual = current.stat().st_mode
    current.chmod(0)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read every file
    store.promote("encoder", version)
    assert current.stat().st_mode == usual


def test_promotion_of_the_bundled_version_repairs_a_damaged_current_file(
    own: ModelStore, store: ModelStore
) -> None:
    publish_number(own)
    (own.model_folder("encoder") / "current").write_text("{")
    own.promote("encoder", "bundled")
    assert own.current_version("encoder") == store.promoted_version("encoder")


def test_current_file_is_plain_json(store: ModelStore, publish: Publish) -> None:
    one, two = publish(1).version, publish(2).version
    store.promote("encoder", one)
    store.promote("encoder", two)
    text = (store.model_folder("encoder") / "current").read_text()
    assert json.loads(text) == {"version": two, "previous": [one]}


def test_current_version_cannot_be_removed(store: ModelStore, publish: Publish) -> None:
    one, two = publish(1).version, publish(2).version
    store.promote("encoder", one)
    with raises(RegistryError, "version-is-current"):
        store.remove("encoder", one)
    store.remove("encoder", two)
    assert store.version_names("encoder") == [one]
    assert not temporary_names(store)


def test_full_disk_while_weights_are_written(store: ModelStore, publish: Publish) -> None:
    version = publish().version
    store.promote("encoder", version)
    with raises(PublishError, "disk-full"), store.staging_folder("encoder"):
        Path("/dev/full").write_text("weights")
    assert store.resolve("encoder").name == version
    assert not temporary_names(store)


def test_other_errors_pass_through_staging(store: ModelStore) -> None:
    with pytest.raises(FileNotFoundError), store.staging_folder("encoder"):
        Path("corpus-that-is-not-there.jsonl").read_text()


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "disk-full"), (errno.EACCES, "not-writable"), (errno.EIO, "file-system-error")],
)
def test_file_system_error_changes_nothing(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    one, two = publish(1).version, publish(2).version
    store.promote("encoder", one)

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    for change in (lambda: publish(3), lambda: store.promote("encoder", two)):
        with raises(PublishError, code):
            change()
    assert store.version_names("encoder") == sorted([one, two])
    assert store.promoted_version("encoder") == one
    read_manifest(store.resolve("encoder"))
    assert not temporary_names(store)


def test_store_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    store = ModelStore(tmp_path / "models")
    with (
        raises(PublishError, "file-system-error"),
        store.staging_folder("encoder"),
    ):
        pass


def test_version_is_synced_before_it_is_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("only Linux tells which file a number is of")
    steps: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def synced(number: int) -> None:
        steps.append(("sync", str(Path(f"/proc/self/fd/{number}").readlink())))
        fsync(number)

    def renamed(old: str | Path, new: str | Path) -> None:
        steps.append(("rename", str(new)))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    store = ModelStore(tmp_path / "new" / "models")
    with store.staging_folder("encoder") as folder:
        write_files(folder)
        published = store.publish(folder, VersionMetadata(**DRAFT))
    home = store.model_folder("encoder")
    seen = steps.index(("rename", str(home / published.version)))
    waited = [path for step, path in steps[:seen] if step == "sync"]
    written = [str(folder), *(str(folder / name) for name in ("manifest.json", *published.files))]
    assert set(written) <= set(waited)
    assert {str(folder / "onnx"), str(store.root), str(tmp_path / "new"), str(tmp_path)} <= set(
        waited
    )
    assert ("sync", str(home)) in steps[seen:]


def test_version_replaces_only_the_expected_version(
    tmp_path: Path, publish: Publish, store: ModelStore
) -> None:
    one, two, three = (publish(value).version for value in range(3))
    with raises(CurrentVersionChangedError, "current-version-changed"):
        store.promote("encoder", two, expected_current=one)
    assert store.promoted_version("encoder") is None
    store.promote("encoder", one, expected_current="")
    with raises(CurrentVersionChangedError, "current-version-changed"):
        store.promote("encoder", two, expected_current=three)
    assert store.promoted_version("encoder") == one
    store.promote("encoder", two, expected_current=one)
    store.promote("encoder", two, expected_current=one)  # it is already current
    assert store.promoted_version("encoder") == two
    (store.model_folder("encoder") / "current").write_text("{")
    store.promote("encoder", three, expected_current=one)  # repairs the file
    assert store.promoted_version("encoder") == three


def test_bundled_version_is_current_until_the_first_promotion(
    tmp_path: Path, publish: Publish, store: ModelStore
) -> None:
    own = publish().version
    assert store.current_version("encoder") == store.current_version("llm") == ""
    store.promote("encoder", own)
    fresh = ModelStore(tmp_path / "fresh", bundled_root=store.root)
    with fresh.staging_folder("encoder") as folder:
        write_files(folder, 5)
        new = fresh.publish(folder, VersionMetadata(**DRAFT)).version
    assert fresh.current_version("encoder") == own
    assert fresh.current_version("llm") == ""
    with pytest.raises(CurrentVersionChangedError):
        fresh.promote("encoder", new, expected_current="")
    fresh.promote("encoder", new, expected_current=own)
    assert fresh.current_version("encoder") == new


class TestModels:
    """Models beside the default ones."""

    def test_model_has_its_own_versions(self, tmp_path: Path) -> None:
        store = ModelStore(tmp_path / "models")
        default = publish_number(store, 0)
        own = publish_number(store, 0, model="cardiology")
        assert own.version == default.version
        store.promote("cardiology", own.version)
        assert store.current_version("encoder") == ""
        assert store.current_version("cardiology") == own.version
        assert store.resolve("cardiology") == store.model_folder("cardiology") / own.version
        assert store.model_tier("cardiology") == "encoder"
        assert store.models() == ["cardiology", "encoder"]
        store.rollback("cardiology")
        assert store.current_version("cardiology") == ""

    @pytest.mark.parametrize("name", ["Cardiology", "ENCODER", "Llm"])
    def test_model_does_not_differ_in_case_from_another(self, tmp_path: Path, name: str) -> None:
        store = ModelStore(tmp_path / "models")
        publish_number(store, 0, model="cardiology")
        for begin in (
            lambda: publish_number(store, 1, model=name),
            lambda: store.check_tier(name, "encoder"),  # as before a training
        ):
            with raises(RegistryError, "name-of-other-case"):
                begin()
        assert store.models() == ["cardiology"]

    def test_model_has_one_tier(self, tmp_path: Path) -> None:
        store = ModelStore(tmp_path / "models")
        publish_number(store, 0, model="cardiology")
        for model, tier in ("cardiology", "llm"), ("llm", "encoder"):
            with raises(RegistryError, "model-of-another-tier"):
                publish_number(store, 1, model=model, tier=tier)
        assert len(store.version_names("cardiology")) == 1
        assert store.version_names("llm") == []

    def test_removed_model_leaves_nothing(self, tmp_path: Path) -> None:
        store = ModelStore(tmp_path / "models")
        publish_number(store, 0)
        publish_number(store, 0, model="cardiology")
        store.remove_model("cardiology")
        assert store.models() == ["encoder"]
        assert not list(store.root.glob(".staging-*"))
        with raises(VersionNotFound, "model-unknown"):
            store.remove_model("cardiology")
        with raises(RegistryError, "default-model-not-removable"):
            store.remove_model("encoder")
