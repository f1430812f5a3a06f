"""Archives of versions: what is exported is imported, and nothing else is."""

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.storage.archive_reader import HEAD_NAME, build_head
from tagalong.backend.storage.model_archive import export_version, import_version
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import (
    OutputError,
    RegistryError,
    TagalongError,
    VersionInvalid,
    VersionNotFound,
)
from tagalong.ner.manifest import (
    FileRecord,
    Manifest,
    VersionMetadata,
    content_hash,
    read_manifest,
)
from tagalong.ner.model_registry import validate_name
from tests.errors import assert_error, raises
from tests.versions import DRAFT, publish_number, safetensors

Publish = Callable[..., Manifest]
Members = list[tuple[tarfile.TarInfo, bytes]]
MANIFEST = "version/manifest.json"


def read_tree(folder: Path) -> dict[str, bytes | None]:
    """The files of a folder by name, and its folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def read_members(archive: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]


def write_members(members: Members, tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    parts = []
    for info, content in members:
        info.size = info.size if info.type == tarfile.GNUTYPE_SPARSE else len(content)
        parts += [info.tobuf(tar_format), content, bytes(-len(content) % tarfile.BLOCKSIZE)]
    return b"".join([*parts, bytes(2 * tarfile.BLOCKSIZE)])


def member(name: str, content: bytes = b"", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for field, value in changes.items():
        setattr(info, field, value)
    return info, content


def edit_json(content: bytes, **changes: Any) -> bytes:
    return json.dumps(json.loads(content) | changes).encode()


@pytest.fixture
def archive(store: ModelStore, publish: Publish, tmp_path: Path) -> bytes:
    """A good archive; the version of it is gone."""
    path = tmp_path / "good.tar"
    export_version(store, publish().version, path)
    shutil.rmtree(store.root)
    content = path.read_bytes()
    path.unlink()
    return content


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    before = read_tree(folder)
    yield
    assert read_tree(folder) == before


def expect_refusal(store: ModelStore, content: bytes, code: str) -> str:
    """Import an archive that must be refused, and leave nothing; returns the sentence."""
    path = store.root.parent / "bad.tar"
    path.write_bytes(content)
    with unchanged(store.root.parent), pytest.raises(TagalongError) as raised:
        import_version(store, path)
    assert_error(raised.value, code)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_exported_version_is_imported_as_it_was(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    published = publish()
    path = tmp_path / "new" / "version.tar"
    assert export_version(store, "encoder/" + published.version, path) == ("encoder", published)
    other = ModelStore(tmp_path / "other")
    imported = import_version(other, path)
    assert (imported.model, imported.manifest) == ("encoder", published)
    assert imported.outcome == "imported"
    assert read_tree(other.version_folder("encoder", published.version)) == read_tree(
        store.version_folder("encoder", published.version)
    )
    assert other.promoted_version("encoder") is None
    other.promote("encoder", published.version)


def is_model_name(name: str) -> bool:
    with suppress(RegistryError):
        return name != "llm" and bool(validate_name(name))
    return False


NAME_PARTS = st.from_regex(r"[a-z0-9_.-]{0,8}[a-z0-9_-]", fullmatch=True)
FILE_NAMES = st.builds(
    lambda folders, name, suffix: "/".join([*folders, name]) + suffix,
    st.lists(st.sampled_from(["onnx", "1_Pooling", ".hidden", "a-b"]), max_size=2),
    NAME_PARTS.filter(lambda name: name not in {"con", "prn", "aux", "nul", "manifest"}),
    st.sampled_from([".json", ".txt", ".safetensors", ".model"]),
)


@settings(max_examples=25)
@given(
    files=st.dictionaries(FILE_NAMES, st.binary(max_size=2000), min_size=1, max_size=4),
    labels=st.lists(st.text("abcµ 病", min_size=1).filter(str.strip), min_size=1, unique=True),
    config=st.dictionaries(
        st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    ),
    model=st.from_regex(r"[a-z0-9][a-z_.-]{0,20}[a-z_]", fullmatch=True).filter(is_model_name),
)
def test_every_version_survives_the_way(
    files: dict[str, bytes], labels: list[str], config: dict[str, Any], model: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here, there = (ModelStore(Path(folder) / name) for name in ("here", "there"))
        draft = VersionMetadata(**DRAFT | {"labels": tuple(labels), "config": config})
        with here.staging_folder(model) as staging:
            for name, content in files.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).write_bytes(content)
            version = here.publish(staging, draft, model=model).version
        first, second = Path(folder, "first.tar"), Path(folder, "second.tar")
        export_version(here, f"{model}/{version}", first)
        assert import_version(there, first).model == model
        export_version(there, f"{model}/{version}", second)
        assert first.read_bytes() == second.read_bytes()
        place = there.version_folder(model, version)
        assert read_tree(place) == read_tree(here.version_folder(model, version))
        assert read_manifest(place).version == version


def test_archive_is_a_plain_tar_in_a_fixed_order(archive: bytes) -> None:
    members = read_members(archive)
    assert [info.name for info, _ in members] == [
        "archive.json",
        "version/manifest.json",
        "version/model.safetensors",
        "version/onnx/config.json",
        "version/tokenizer.json",
    ]
    assert {(info.mode, info.uid, info.gid, info.uname) for info, _ in members} == {
        (0o644, 0, 0, "")
    }
    head, manifest = (json.loads(content) for _, content in members[:2])
    assert head == {
        "format": 1,
        "model": "encoder",
        **{name: manifest[name] for name in ("tier", "version")},
        "digest": head["digest"],
    }


def test_export_of_references(store: ModelStore, publish: Publish, tmp_path: Path) -> None:
    other = ModelStore(tmp_path / "other", bundled_root=store.root)
    one, two = publish(1), publish(2, model="cardiology")
    store.promote("encoder", one.version)
    store.promote("cardiology", two.version)
    for number, (asked, reference, expected) in enumerate(
        [
            (store, "cardiology", ("cardiology", two)),
            (store, two.version, ("cardiology", two)),
            (store, "encoder", ("encoder", one)),
            (other, "bundled", ("encoder", one)),
            (other, str(store.version_folder("cardiology", two.version)), ("encoder", two)),
        ]
    ):
        assert export_version(asked, reference, tmp_path / f"{number}.tar") == expected
    with raises(VersionNotFound, "version-not-found"):
        export_version(store, "missing", tmp_path / "missing.tar")
    assert not (tmp_path / "missing.tar").exists()


def test_export_refuses_a_damaged_version(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    published = publish()
    (store.resolve(published.version) / "model.safetensors").write_bytes(safetensors(7))
    with unchanged(tmp_path), raises(VersionInvalid, "file-changed"):
        export_version(store, published.version, tmp_path / "out.tar")


def test_export_overwrites_only_if_asked(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    version, path = publish().version, tmp_path / "out.tar"
    path.write_text("mine")
    with raises(OutputError, "output-exists"):
        export_version(store, version, path)
    assert path.read_text() == "mine"
    export_version(store, version, path, overwrite=True)
    assert tarfile.is_tarfile(path)
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_intact_version_stays_and_damaged_one_is_replaced(
    store: ModelStore, archive: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "version.tar"
    path.write_bytes(archive)
    version = import_version(store, path).manifest.version
    place = store.version_folder("encoder", version)
    before = {file: file.stat().st_mtime_ns for file in place.rglob("*")}
    assert import_version(store, path).outcome == "present"
    assert {file: file.stat().st_mtime_ns for file in place.rglob("*")} == before
    good = read_tree(place)
    (place / "model.safetensors").write_bytes(safetensors(7))
    assert import_version(store, path).outcome == "replaced"
    assert read_tree(place) == good
    (place / "manifest.json").unlink()
    assert import_version(store, path).outcome == "replaced"
    assert read_tree(place) == good


def test_another_version_of_the_same_name_is_not_replaced(
    store: ModelStore, archive: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "version.tar"
    path.write_bytes(archive)
    with store.staging_folder("encoder") as folder:  # the same weights with another tokenizer
        (folder / "model.safetensors").write_bytes(safetensors(0))
        version = store.publish(folder, VersionMetadata(**DRAFT)).version
    with unchanged(store.root), raises(RegistryError, "version-name-taken"):
        import_version(store, path)
    assert import_version(store, path, model="other").manifest.version == version


def test_model_that_cannot_take_the_version_stays(
    store: ModelStore, archive: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "version.tar"
    path.write_bytes(archive)
    publish_number(store, 3, tier="llm", model="cardiology")
    for model in ("llm", "cardiology"):
        with unchanged(store.root), raises(RegistryError, "model-of-another-tier"):
            import_version(store, path, model=model)
    with unchanged(store.root), raises(RegistryError, "name-not-safe"):
        import_version(store, path, model="../evil")
    with unchanged(store.root), raises(RegistryError, "name-of-other-case"):
        import_version(store, path, model="Cardiology")


def test_interrupted_import_leaves_no_version(
    store: ModelStore, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "version.tar"
    path.write_bytes(archive)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ModelStore, "adopt", interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_version(store, path)
    assert [one.name for one in store.root.rglob("*")] == ["encoder", ".lock"]
    left = store.root / "encoder" / ".staging-killed"  # as kill -9 leaves it
    (left / "work").mkdir(parents=True)
    (left / "lock").touch()
    assert store.version_names("encoder") == []
    import_version(store, path)
    assert not left.exists()


def test_full_disk_is_noticed_before_writing(
    store: ModelStore, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "0.0 MB" in expect_refusal(store, archive, "disk-too-small")


def in_place_of_weights(**changes: Any) -> Callable[[Members], Members]:
    """Replace the header of the weights."""

    def change(members: Members) -> Members:
        return [*members[:2], member("version/model.safetensors", **changes), *members[3:]]

    return change


def renamed(name: str) -> Callable[[Members], Members]:
    return lambda members: [*members[:2], member(name, members[2][1]), *members[3:]]


CHANGES: dict[str, tuple[Callable[[Members], Members], str]] = {
    "symbolic link": (
        in_place_of_weights(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "archive-foreign",
    ),
    "hard link": (
        in_place_of_weights(type=tarfile.LNKTYPE, linkname="archive.json"),
        "archive-foreign",
    ),
    "device": (
        in_place_of_weights(type=tarfile.CHRTYPE, devmajor=1, devminor=5),
        "archive-foreign",
    ),
    "FIFO": (in_place_of_weights(type=tarfile.FIFOTYPE), "archive-foreign"),
    "folder": (in_place_of_weights(type=tarfile.DIRTYPE), "archive-foreign"),
    "sparse": (in_place_of_weights(type=tarfile.GNUTYPE_SPARSE, size=1 << 40), "archive-foreign"),
    "parent": (renamed("version/../../evil.safetensors"), "archive-foreign"),
    "absolute": (renamed("/tmp/evil.safetensors"), "archive-foreign"),
    "backslash": (renamed("version\\..\\evil.safetensors"), "archive-foreign"),
    "drive": (renamed("C:/evil.safetensors"), "archive-foreign"),
    "hidden": (renamed("version/.model.safetensors"), "archive-foreign"),
    "other case": (renamed("version/Model.safetensors"), "archive-foreign"),
    "terminal codes": (renamed("version/\x1b[2J\n.safetensors"), "archive-foreign"),
    "twice": (lambda members: [*members[:3], *members[2:]], "archive-foreign"),
    "more": (lambda members: [*members, member("version/evil.json")], "archive-foreign"),
    "less": (lambda members: members[:-1], "archive-foreign"),
    "another order": (lambda members: [*members[:2], *members[:1:-1]], "archive-foreign"),
    "no head": (lambda members: members[1:], "archive-foreign"),
    "no manifest": (lambda members: [members[0], *members[2:]], "archive-foreign"),
    "head alone": (lambda members: members[:1], "archive-foreign"),
    "longer": (
        lambda members: [*members[:2], member(members[2][0].name, bytes(9999)), *members[3:]],
        "archive-foreign",
    ),
    "other weights": (
        lambda members: [
            *members[:2],
            member(members[2][0].name, members[2][1][:-1] + b"!"),
            *members[3:],
        ],
        "archive-changed",
    ),
    "huge head": (lambda members: [member(HEAD_NAME, bytes(1 << 17)), *members], "archive-foreign"),
    "other program's": (lambda _: [member("notes.txt", b"hello")], "archive-foreign"),
    "empty": (lambda _: [], "archive-foreign"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_changed_members_are_refused(store: ModelStore, archive: bytes, kind: str) -> None:
    change, code = CHANGES[kind]
    changed = write_members(change(read_members(archive)))
    assert expect_refusal(store, changed, code).isprintable()


HEADS: dict[str, tuple[dict[str, Any], str]] = {
    "newer format": ({"format": 2, "model": 5}, "archive-of-newer-format"),
    "no model": ({"model": None}, "archive-foreign"),
    "format as text": ({"format": "1"}, "archive-foreign"),
    "other version": ({"version": "minilm-20260131-0f3c2d1e"}, "archive-changed"),
    "other tier": ({"tier": "llm"}, "archive-changed"),
    "other digest": ({"digest": "0" * 64}, "archive-changed"),
    "other model": ({"model": "cardiology"}, "archive-changed"),
    "another field": ({"path": "/tmp"}, "archive-changed"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_changed_heads_are_refused(store: ModelStore, archive: bytes, kind: str) -> None:
    changes, code = HEADS[kind]
    head, *others = read_members(archive)
    content = edit_json(head[1], **changes)
    expect_refusal(store, write_members([(head[0], content), *others]), code)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 60_000])
def test_head_that_is_no_object_is_refused(
    store: ModelStore, archive: bytes, content: bytes
) -> None:
    head, *others = read_members(archive)
    expect_refusal(store, write_members([(head[0], content), *others]), "archive-foreign")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"format": 99}, "manifest-of-newer-format"),
        ({"labels": ["Gene"]}, "file-changed"),
        ({"files": 1}, "manifest-field-invalid"),
        ({"tier": "../x"}, "manifest-field-invalid"),
    ],
)
def test_changed_manifest_is_refused(
    store: ModelStore, archive: bytes, changes: dict[str, Any], code: str
) -> None:
    head, manifest, *others = read_members(archive)
    changed = (manifest[0], edit_json(manifest[1], **changes))
    assert "bad.tar/version" in expect_refusal(store, write_members([head, changed, *others]), code)


def forge(
    archive: bytes,
    files: dict[str, bytes],
    *,
    sizes: Mapping[str, int] = {},
    model: str = "encoder",
) -> bytes:
    """An archive of hostile names and sizes, whose digests and version name all agree."""
    template = Manifest.from_json(json.loads(read_members(archive)[1][1]), "")
    records = {
        name: FileRecord(sha256(content).hexdigest(), sizes.get(name, len(content)))
        for name, content in files.items()
    }
    draft = replace(template, files=records)
    manifest = replace(draft, version=f"minilm-20260131-{content_hash(draft, records)}")
    heads = {HEAD_NAME: build_head(manifest, model), MANIFEST: manifest.to_json()}
    contents = [(name, json.dumps(value).encode()) for name, value in heads.items()]
    contents += [(f"version/{name}", content) for name, content in sorted(files.items())]
    return write_members([member(name, content) for name, content in contents])


@pytest.mark.parametrize("model", ["../evil", "/tmp", "bundled", "", "a\nb"])
def test_model_name_that_is_not_safe_is_refused(
    store: ModelStore, archive: bytes, model: str
) -> None:
    expect_refusal(store, forge(archive, {"a.json": b"{}"}, model=model), "name-not-safe")


def test_forged_archive_of_good_names_is_imported(
    store: ModelStore, archive: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "forged.tar"
    path.write_bytes(forge(archive, {"onnx/.a.json": b"1", "b.model": b"2"}))
    imported = import_version(store, path)
    assert read_tree(store.version_folder("encoder", imported.manifest.version)).keys() == {
        "manifest.json",
        "onnx",
        "onnx/.a.json",
        "b.model",
    }


@pytest.mark.parametrize(
    "names",
    [
        ["../evil.json"],
        ["a/../../evil.json"],
        ["/tmp/evil.json"],
        ["C:/evil.json"],
        ["C:evil.json"],
        ["..\\evil.json"],
        ["./a.json"],
        ["a//b.json"],
        [""],
        [".."],
        ["nul.json"],
        ["a/COM1.x.json"],
        ["Aux.json"],
        ["é.json"],
        ["a b.json"],
        ["a\n.json"],
        ["a\0.json"],
        ["a.json."],
        ["x" * 90 + ".json"],
        ["weights.pt"],
        ["pytorch_model.bin"],
        ["module.py"],
        ["no-suffix"],
        ["manifest.json"],
        ["Manifest.json"],
        ["a.json", "A.json"],
        ["onnx/a.json", "ONNX/b.json"],
        ["a.json", "a.json/b.json"],
    ],
)
def test_file_names_that_no_version_may_have_are_refused(
    store: ModelStore, archive: bytes, names: list[str]
) -> None:
    forged = forge(archive, dict.fromkeys(names, b"{}"))
    expect_refusal(store, forged, "file-name-not-allowed")


@pytest.mark.parametrize(
    ("size", "code"),
    [(1 << 40, "archive-cut-off"), (-1, "archive-foreign"), (3, "archive-foreign")],
)
def test_sizes_of_the_manifest_bind(
    store: ModelStore, archive: bytes, size: int, code: str
) -> None:
    forged = forge(archive, {"a.json": b"{}"}, sizes={"a.json": size})
    expect_refusal(store, forged, code)


@pytest.mark.parametrize("suffix", ["gzip", "bz2", "lzma"])
def test_compressed_tar_is_refused_by_name(store: ModelStore, archive: bytes, suffix: str) -> None:
    packed = import_module(suffix).compress(archive)
    assert "unpack it" in expect_refusal(store, packed, "archive-compressed")


@pytest.mark.parametrize("content", [b"", b"x", b"hello " * 200, bytes(511), bytes(512)])
def test_other_files_are_refused(store: ModelStore, content: bytes) -> None:
    expect_refusal(store, content, "archive-foreign")


def test_zip_is_refused_by_name(store: ModelStore) -> None:
    expect_refusal(store, b"PK\x03\x04" + bytes(600), "archive-compressed")


def test_extended_headers_are_refused(store: ModelStore, archive: bytes) -> None:
    members = read_members(archive)
    members[0][0].pax_headers = {"comment": "x"}
    expect_refusal(store, write_members(members, tarfile.PAX_FORMAT), "archive-foreign")


@pytest.mark.parametrize("path", ["missing.tar", "folder"])
def test_path_that_is_no_file_is_refused(store: ModelStore, tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    with unchanged(tmp_path), raises(TagalongError, "archive-not-a-file"):
        import_version(store, tmp_path / path)


def test_truncated_archive_is_refused_at_every_length(store: ModelStore, archive: bytes) -> None:
    used = len(archive.rstrip(b"\0"))
    for length in [*range(0, used, 200), used - 1]:
        path = store.root.parent / "cut.tar"
        path.write_bytes(archive[:length])
        with pytest.raises(TagalongError) as raised:
            import_version(store, path)
        assert raised.value.code in {"archive-foreign", "archive-cut-off"}
    assert not store.root.exists()


MUTATIONS = st.lists(
    st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), min_size=1, max_size=3
)


@given(mutations=MUTATIONS)
def test_damaged_bytes_never_make_another_version(
    good: tuple[bytes, dict[str, bytes | None]], mutations: list[tuple[int, int]]
) -> None:
    archive, files = good
    damaged = bytearray(archive)
    for place, value in mutations:
        damaged[place % len(damaged)] = value
    with tempfile.TemporaryDirectory() as folder:
        store, path = ModelStore(Path(folder) / "models"), Path(folder) / "damaged.tar"
        path.write_bytes(damaged)
        try:
            version = import_version(store, path).manifest.version
        except TagalongError:
            assert [one.name for one in Path(folder).iterdir()] == ["damaged.tar"]
        else:  # the bytes were the same, or padding
            assert read_tree(store.version_folder("encoder", version)) == files


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, bytes | None]]:
    """An archive, and the files of its version."""
    folder = tmp_path_factory.mktemp("good")
    store = ModelStore(folder / "models")
    version = publish_number(store).version
    export_version(store, version, folder / "good.tar")
    return (folder / "good.tar").read_bytes(), read_tree(store.resolve(version))


TYPES = [bytes([one]) for one in b"01234567LKSxgV"] + [b"\0"]
HOSTILE = st.lists(
    st.tuples(
        st.sampled_from(["version/", "", "../", "/", "./", "C:\\", "version/../"]),
        st.sampled_from(["model.safetensors", "tokenizer.json", "manifest.json", "evil.json", "x"]),
        st.sampled_from(TYPES),
        st.binary(max_size=600),
        st.sampled_from(["", "/etc/passwd", "../../evil", "archive.json"]),
    ),
    max_size=6,
)


@given(members=HOSTILE, kept=st.integers(0, 5))
def test_hostile_members_write_nothing(
    good: tuple[bytes, dict[str, bytes | None]], members: list[tuple[Any, ...]], kept: int
) -> None:
    evil = [
        member(prefix + name, content, type=kind, linkname=link, size=len(content))
        for prefix, name, kind, content, link in members
    ]
    with tempfile.TemporaryDirectory() as folder:
        store, path = ModelStore(Path(folder) / "models"), Path(folder) / "evil.tar"
        path.write_bytes(write_members([*read_members(good[0])[:kept], *evil]))
        try:
            version = import_version(store, path).manifest.version
        except TagalongError:
            assert [one.name for one in Path(folder).iterdir()] == ["evil.tar"]
        else:
            assert (kept, evil) == (5, [])
            assert read_tree(store.version_folder("encoder", version)) == good[1]
