"""The wheel has every file of the package and no others, and no name conflicts."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("ner", "backend", "training", "cli")
SHIPPED = "backend/bundled/encoder/sample-20260131-0f3c2d1e"


def copy_sources(target: Path) -> Path:
    """Copy the sources, including links."""
    for folder in ("src", *FOLDERS):
        shutil.copytree(
            ROOT / folder,
            target / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", ".*", "*.egg-info"),
        )
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    return target


def build(tree: Path, kind: str, target: Path) -> Path:
    command = [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(target)]
    built = subprocess.run([*command, str(tree)], check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(target.iterdir())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources with a second bundled version and files that must be excluded."""
    tree = copy_sources(tmp_path_factory.mktemp("tree"))
    (tree / SHIPPED / "onnx").mkdir(parents=True)
    for name in ("manifest.json", "adapter_model.safetensors", "onnx/model.onnx", "../current"):
        (tree / SHIPPED / name).touch()
    (tree / SHIPPED / "../.lock").touch()
    (tree / "tests").mkdir()
    (tree / "tests" / "test_nothing.py").touch()
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tree, "--wheel", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def test_wheel_has_every_file_of_the_package(tree: Path, names: set[str]) -> None:
    expected = {
        f"tagalong/{path.relative_to(tree).as_posix()}"
        for folder in FOLDERS
        for path in (tree / folder).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    own = {
        f"tagalong/{path.name}" for path in (tree / "src" / "tagalong").iterdir() if path.is_file()
    }
    assert {"tagalong/__main__.py", "tagalong/api.py", "tagalong/py.typed"} <= own
    assert f"tagalong/{SHIPPED}/onnx/model.onnx" in expected
    assert {name for name in names if ".dist-info/" not in name} == expected | own


def test_wheel_has_the_command_and_licence(names: set[str]) -> None:
    metadata = {name.split(".dist-info/")[1] for name in names if ".dist-info/" in name}
    assert {"entry_points.txt", "licenses/LICENSE", "METADATA"} <= metadata


@pytest.mark.slow
def test_source_distribution_builds_the_same_wheel(
    tree: Path, names: set[str], tmp_path: Path
) -> None:
    archive = build(tree, "--sdist", tmp_path / "sdist")
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert not [path for path in unpacked.rglob("*") if path.is_symlink()]
    with zipfile.ZipFile(build(unpacked, "--wheel", tmp_path / "wheel")) as again:
        assert set(again.namelist()) == names


def test_build_without_symlinks_is_refused(tmp_path: Path) -> None:
    tree = copy_sources(tmp_path)
    link = tree / "src" / "tagalong" / "backend"
    link.unlink()
    link.write_text("../../backend")  # as git does without symlinks
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tree)]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode != 0
    assert "src/tagalong/backend is no link to the folder backend" in built.stdout + built.stderr
    repair = next(part for part in (built.stdout + built.stderr).split("`") if "ln -s" in part)
    subprocess.run(["sh", "-c", repair], check=True, cwd=tree)
    assert (link / "__init__.py").is_file()


@pytest.mark.slow
def test_packages_with_our_folder_names_do_not_conflict(wheel: Path, tmp_path: Path) -> None:
    """Another distribution with `cli` and `backend` is installed and removed."""
    toy = tmp_path / "toy"
    for folder in ("cli", "backend"):
        (toy / folder).mkdir(parents=True)
        (toy / folder / "__init__.py").write_text("NAME = 'toy'\n")
    (toy / "pyproject.toml").write_text(
        '[project]\nname = "toy"\nversion = "1"\n[tool.setuptools]\npackages = ["cli", "backend"]\n'
    )
    other = build(toy, "--wheel", tmp_path / "dist")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # Requirements come from this environment, not from the network.
    (environment / "lib" / version / "site-packages" / "ours.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("site-packages"))
    )

    def pip(*arguments: object) -> None:
        command = [sys.executable, "-m", "pip", "--python", python, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    def runs() -> bool:
        command = [environment / "bin" / "tagalong", "predict", "--help"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
        return done.returncode == 0 and "predict" in done.stdout

    pip("install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    pip("install", "--no-deps", "--no-index", other)
    named = subprocess.run(
        [python, "-c", "import tagalong; print(__import__('cli').NAME, tagalong.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    assert named.startswith(f"toy {environment}")
    assert runs()
    pip("uninstall", "--yes", "toy")
    assert runs()
