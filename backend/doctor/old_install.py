"""Leftovers of a release that installed four top-level packages instead of `tagalong`."""

import site
import sys
from collections.abc import Iterable
from pathlib import Path

from tagalong.backend.doctor.context import DoctorContext
from tagalong.backend.doctor.finding import DoctorFinding, ok, warning

# Other projects install packages of these names too, so a file of ours must be inside.
MARKER_FILES = {
    "ner": "words.py",
    "backend": "label_studio_ml.py",
    "training": "recipe.py",
    "cli": "prelabel.py",
}
OLD_FINDER_ENTRY = "'backend':"  # in the mapping of an editable install; a new one has a .pth


def check_old_install(_: DoctorContext) -> DoctorFinding:
    """Whether this environment has leftovers of an old install."""
    leftovers = find_old_install(site_directories())
    if not leftovers:
        return ok("No old release of Tagalong is left in this environment.")
    return warning(
        "old-install",
        "An old release of Tagalong is left in this environment: "
        f"{', '.join(str(path) for path in leftovers)}.",
        "Nothing uses it any more, and other programs may import it by mistake. Run "
        f"`{sys.executable} -m pip uninstall tagalong`, delete what is left of these files and "
        "folders, and install Tagalong again.",
    )


def site_directories() -> list[Path]:
    """The folders that pip installs into in this environment."""
    return [Path(folder) for folder in {*site.getsitepackages(), site.getusersitepackages()}]


def find_old_install(directories: Iterable[Path]) -> list[Path]:
    """Find packages and editable finders of an old release in folders of installed packages."""
    leftovers = set[Path]()
    for directory in directories:
        for package, marker in MARKER_FILES.items():
            if (directory / package / marker).is_file():
                leftovers.add(directory / package)
        for finder in directory.glob("__editable___tagalong_*_finder.py"):
            if OLD_FINDER_ENTRY in finder.read_text(encoding="utf-8", errors="replace"):
                leftovers.add(finder)
    return sorted(leftovers)
