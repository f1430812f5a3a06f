"""Label Studio in a virtual environment of its own, so that its pins never meet ours."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tagalong.ner.errors import LabelStudioError

LABEL_STUDIO_VERSION = "1.23.2"  # the release that everything here is tested with
MIN_PYTHON_VERSION = (3, 10)  # what that release needs
INSTALLED_MARKER = "installed"  # written last into the environment: its presence means complete
REQUIRED_DISK_SPACE = "1.5 GB"  # with room for what is unpacked on the way
# They would send pip, or the new Python, somewhere else than into the new environment.
REMOVED_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER")


def install_label_studio(
    home: Path,
    *,
    python: str = sys.executable,
    on_output: Callable[[str], None] = lambda _: None,
) -> Path:
    """Install Label Studio, unless it is there. Interrupted, it is begun again.

    Args:
        home: Gets a folder ``label-studio-VERSION``.
        python: What the environment is made with.
        on_output: Called with every step, for people to see.

    Returns:
        The program ``label-studio``.

    Raises:
        LabelStudioError: If Python is too old, the disk is full, or pip fails.
    """
    environment = home / f"label-studio-{LABEL_STUDIO_VERSION}"
    program = environment / "bin" / "label-studio"
    if (environment / INSTALLED_MARKER).is_file() and program.is_file():
        return program
    _check_python(python)
    on_output(f"making {environment}")
    environment.mkdir(parents=True, exist_ok=True)
    # Emptied first: pip takes a package that it was killed amid for one that is there.
    _run_step([python, "-m", "venv", "--clear", str(environment)], on_output)
    _run_step(
        [
            str(environment / "bin" / "python"),
            *("-m", "pip", "install", "--no-input", "--disable-pip-version-check"),
            *("--progress-bar", "off", f"label-studio=={LABEL_STUDIO_VERSION}"),
        ],
        on_output,
    )
    (environment / INSTALLED_MARKER).write_text(
        f"label-studio=={LABEL_STUDIO_VERSION}\n", encoding="utf-8"
    )
    return program


def _check_python(python: str) -> None:
    """Refuse a Python that Label Studio does not run on."""
    asked = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=True)  # noqa: S603
        found = tuple(map(int, answer.stdout.split()))
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise LabelStudioError(f"{python} is not a Python that runs", "installation") from error
    if found < MIN_PYTHON_VERSION:
        raise LabelStudioError(
            f"{python} is Python {found[0]}.{found[1]}, and Label Studio {LABEL_STUDIO_VERSION} needs "
            f"{MIN_PYTHON_VERSION[0]}.{MIN_PYTHON_VERSION[1]} or newer: give another Python",
            "installation",
        )


def _run_step(command: Sequence[str], told: Callable[[str], None]) -> None:
    """Run one step of the installation, and pass on what it says."""
    environment = {
        name: value for name, value in os.environ.items() if name not in REMOVED_VARIABLES
    }
    last: deque[str] = deque(maxlen=8)
    with subprocess.Popen(  # noqa: S603 (a command of ours)
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
                if said := line.strip():
                    last.append(said)
                    told(said)
        except BaseException:  # Ctrl-C above all: leave no pip behind
            step.kill()
            raise
    if step.returncode != 0:
        raise LabelStudioError(_explain_failure(command, "\n".join(last)), "installation")


def _explain_failure(command: Sequence[str], said: str) -> str:
    """What made a step fail, as far as its last lines tell."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return f"the disk is full: Label Studio needs {REQUIRED_DISK_SPACE}, so free some, or give another --home"
    if "ensurepip" in said:
        return (
            f"{command[0]} cannot make virtual environments: install its venv module (on Debian "
            f"and Ubuntu the package python3-venv), then try again. It said:\n{said}"
        )
    return (
        f"Label Studio {LABEL_STUDIO_VERSION} cannot be installed: check the network and that the package index "
        f"is reached, then try again. The last lines were:\n{said}"
    )
