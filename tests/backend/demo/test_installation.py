"""Installing Label Studio: once, after an interruption, and with errors."""

from pathlib import Path

import pytest

from tagalong.backend.demo.installation import LABEL_STUDIO_VERSION, install_label_studio
from tagalong.ner.errors import LabelStudioError
from tests.backend.demo.conftest import Script
from tests.errors import raises

# Replaces Python: creates "environments" and is the pip in them.
PYTHON = r"""
echo "$*" >> "$(dirname "$0")/asked"
case "$*" in
  "-m venv"*)
    rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"
    [ -z "VENV" ] || { echo "VENV"; exit 1; } ;;
  "-m pip"*)
    echo "Collecting label-studio"
    [ -z "PIP" ] || { echo "PIP"; exit 1; }
    program="$(dirname "$0")/label-studio"
    printf '#!/bin/sh\n' > "$program"; chmod +x "$program" ;;
esac
"""


def python(script: Script, *, venv: str = "", pip: str = "") -> str:
    lines = PYTHON.replace("VENV", venv).replace('"PIP"', f'"{pip}"')
    return str(script(lines))


def test_label_studio_is_installed_once(script: Script, tmp_path: Path) -> None:
    output_lines: list[str] = []
    used = python(script)
    program = install_label_studio(tmp_path, python=used, on_output=output_lines.append)
    assert program == tmp_path / f"label-studio-{LABEL_STUDIO_VERSION}" / "bin" / "label-studio"
    assert program.is_file()
    assert [line.partition(" ")[0] for line in output_lines].count("Collecting") == 1
    asked = (program.parent / "asked").read_text()
    assert f"label-studio=={LABEL_STUDIO_VERSION}" in asked
    assert "http" not in asked  # the package index is the user's choice
    assert install_label_studio(tmp_path, python="/no/such/python") == program


def test_interrupted_installation_is_repeated(script: Script, tmp_path: Path) -> None:
    program = install_label_studio(tmp_path, python=python(script))
    environment = program.parents[1]
    (environment / "installed").unlink()  # as if killed before the end
    (environment / "half").touch()
    assert install_label_studio(tmp_path, python=python(script)) == program
    assert not (environment / "half").exists()
    program.unlink()  # deleted by the user
    assert install_label_studio(tmp_path, python=python(script)).is_file()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"venv": "Error: ensurepip is not available"}, "venv-missing"),
        ({"pip": "ERROR: [Errno 28] No space left on device"}, "no-space-for-label-studio"),
        ({"pip": "ERROR: No matching distribution found"}, "installation-failed"),
    ],
)
def test_installation_errors_are_reported(
    fault: dict[str, str], code: str, script: Script, tmp_path: Path
) -> None:
    with raises(LabelStudioError, code) as raised:
        install_label_studio(tmp_path, python=python(script, **fault))
    assert raised.value.kind == "installation"
    assert not list(tmp_path.glob("*/installed"))


def test_interruption_stops_pip(script: Script, tmp_path: Path) -> None:
    def interrupt(output_line: str) -> None:
        if output_line.startswith("Collecting"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install_label_studio(tmp_path, python=python(script), on_output=interrupt)
    assert not list(tmp_path.glob("*/installed"))
