"""Installation of Label Studio into its own virtual environment: its pins contradict ours."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tagalong.ner.errors import LabelStudioError

LABEL_STUDIO_VERSION = "1.23.2"  # the tested release; it runs on every Python that we run on
INSTALLED_MARKER = "installed"  # written last, so that it means a complete environment
REQUIRED_DISK_SPACE = "1.5 GB"  # with room for unpacking
# These would send pip, or the new Python, out of the new environment.
REMOVED_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER")


def install_label_studio(
    home: Path, *, python: str = sys.executable, on_output: Callable[[str], None] = lambda _: None
) -> Path:
    """Install Label Studio below `home`, unless it is installed, and return its program.

    An interrupted installation starts again. `python` creates the virtual environment. Raises
    `LabelStudioError` if the disk is full, or pip fails.
    """
    environment = home / f"label-studio-{LABEL_STUDIO_VERSION}"
    program = environment / "bin" / "label-studio"
    if (environment / INSTALLED_MARKER).is_file() and program.is_file():
        return program
    on_output(f"making {environment}")
    environment.mkdir(parents=True, exist_ok=True)
    # Cleared first: pip considers a package installed even if it was killed halfway.
    _run_step([python, "-m", "venv", "--clear", str(environment)], on_output)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    quiet = ["--no-input", "--progress-bar", "off"]
    requirement = f"label-studio=={LABEL_STUDIO_VERSION}"
    # Label Studio imports a quarter of what it installs, and Python compiles that on import.
    _run_step([*pip, "install", *quiet, "--no-compile", requirement], on_output)
    (environment / INSTALLED_MARKER).write_text(f"{requirement}\n", encoding="utf-8")
    return program


def _run_step(command: Sequence[str], on_output: Callable[[str], None]) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in REMOVED_VARIABLES
    }
    last: deque[str] = deque(maxlen=8)
    with subprocess.Popen(  # noqa: S603 (our own command)
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as step:
        try:
            for line in step.stdout or ():
                if text := line.strip():
                    last.append(text)
                    on_output(text)
        except BaseException:  # Ctrl-C too: leave no pip behind
            step.kill()
            raise
    if step.returncode != 0:
        raise _step_error(command, "\n".join(last))


def _step_error(command: Sequence[str], output: str) -> LabelStudioError:
    """The reason for a failed step, as far as its last lines tell."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        code = "no-space-for-label-studio"
        message = (
            f"the disk is full: Label Studio needs {REQUIRED_DISK_SPACE}, so free some, or give "
            "another --home"
        )
    elif "ensurepip" in output:  # Debian's Python without its package python3-venv
        code = "venv-missing"
        message = (
            f"{command[0]} cannot make virtual environments: install its venv module (on Debian "
            f"and Ubuntu the package python3-venv), then try again. The output was:\n{output}"
        )
    else:
        code = "installation-failed"
        message = (
            f"Label Studio {LABEL_STUDIO_VERSION} cannot be installed: check the network and the "
            f"package index, then try again. The last lines were:\n{output}"
        )
    return LabelStudioError(message, "installation", code=code)
