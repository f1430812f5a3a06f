import json
import os
import pickle
import shutil
import threading
from pathlib import Path

import pytest

from tagalong.ner.file_safety import ALLOWED_SUFFIXES, find_files, forbidden_reason, hash_file


@pytest.mark.parametrize("suffix", sorted(ALLOWED_SUFFIXES))
def test_listed_kinds_of_files_are_allowed_whatever_they_hold(tmp_path: Path, suffix: str) -> None:
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
def test_all_other_kinds_are_forbidden(tmp_path: Path, name: str) -> None:
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
