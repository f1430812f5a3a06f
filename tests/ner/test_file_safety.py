import json
import os
import pickle
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from tagalong.ner.file_safety import find_files, forbidden_reason, hash_file
from tests.versions import safetensors

EVIL = {"weights": [1.0, 2.0], "run": print}


def zipped_pickle(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(EVIL))
        archive.writestr("archive/version", "3")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors", "vocab", "config.json"])
def test_pickles_are_refused_whatever_they_are_called(
    tmp_path: Path, name: str, protocol: int
) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(EVIL, protocol))
    assert forbidden_reason(path)


@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors"])
def test_zipped_pickles_are_refused_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    zipped_pickle(tmp_path / name)
    assert forbidden_reason(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "m.PT", "m.pth", "m.pkl", "m.pickle", "m.ckpt", "m.joblib", "m.dill"],
)
def test_names_that_mean_unpickling_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("harmless")
    assert "unpickling" in str(forbidden_reason(tmp_path / name))


@pytest.mark.parametrize(
    ("description", "refused"),
    [("'|O'", True), ("[('a', '|O'), ('b', '<f4')]", True), ("'<f8'", False)],
)
def test_arrays_of_objects_are_refused_and_arrays_of_numbers_are_not(
    tmp_path: Path, description: str, refused: bool
) -> None:
    header = f"{{'descr': {description}, 'fortran_order': False, 'shape': (1,), }}\n".encode()
    path = tmp_path / "array.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8))
    assert (forbidden_reason(path) is not None) is refused


@pytest.mark.parametrize("header_length", [80, 640, 896, 1152, 1408])
def test_safetensors_pass_even_where_their_first_bytes_are_those_of_a_pickle(
    tmp_path: Path, header_length: int
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(7, header_length=header_length))
    assert forbidden_reason(path) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\0" * 100, b"[1, 2]", safetensors(1)[:60]])
def test_a_safetensors_file_must_be_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert "not in safetensors format" in str(forbidden_reason(path))


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04 not really a zip", "Öl 😀".encode()])
def test_plain_files_pass(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    assert forbidden_reason(path) is None


def test_a_zip_without_pickles_passes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "vocab.zip", "w") as archive:
        archive.writestr("vocab.txt", "famotidine")
    assert forbidden_reason(tmp_path / "vocab.zip") is None


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "target")
    (tmp_path / "broken.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = find_files(tmp_path)
    assert list(found) == ["broken.json", "folder", "pipe"]
    assert all(forbidden_reason(path) for path in found.values())


def test_files_are_found_at_any_depth_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("b.json", "a/deep/c.json", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(name))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list(find_files(tmp_path)) == [".hidden", "a/deep/c.json", "b.json", "loop"]


def test_a_record_is_the_size_and_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    record = hash_file(path)
    assert record.bytes == 3
    # FIPS 180-2, appendix B.1
    assert record.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_folders_that_come_and_go_meanwhile_are_no_error(tmp_path: Path) -> None:
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
