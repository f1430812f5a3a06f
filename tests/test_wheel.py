"""What is built for others to install holds all that it needs, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ner", "backend", "training", "cli")
SHIPPED = "backend/bundled/encoder/sample-20260131-0f3c2d1e"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built from, with one more bundled version, and what must stay out."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    (tree / SHIPPED / "onnx").mkdir(parents=True)
    for name in ("manifest.json", "adapter_model.safetensors", "onnx/model.onnx", "../current"):
        (tree / SHIPPED / name).touch()
    (tree / SHIPPED / "../.lock").touch()
    (tree / "tests").mkdir()
    (tree / "tests" / "test_nothing.py").touch()
    return tree


@pytest.fixture(scope="module")
def names(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files in the wheel."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target)]
    built = subprocess.run([*command, str(tree)], check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_packages(tree: Path, names: set[str]) -> None:
    expected = {
        path.relative_to(tree).as_posix()
        for package in PACKAGES
        for path in (tree / package).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert f"{SHIPPED}/onnx/model.onnx" in expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= expected
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_the_wheel_has_the_command_and_the_licence(names: set[str]) -> None:
    metadata = {name.split(".dist-info/")[1] for name in names if ".dist-info/" in name}
    assert {"entry_points.txt", "licenses/LICENSE", "METADATA"} <= metadata
