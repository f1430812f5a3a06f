"""Build with setuptools, unless the checkout has lost the links to the code."""

from pathlib import Path

from setuptools import setup

PACKAGE = Path(__file__).parent / "src" / "tagalong"
FOLDERS = ("ner", "backend", "training", "cli")

lost = [name for name in FOLDERS if not (PACKAGE / name / "__init__.py").is_file()]
if lost:
    raise SystemExit(
        f"src/tagalong/{lost[0]} is no link to the folder {lost[0]}, because this copy was made "
        "without symbolic links: make them again with `cd src/tagalong && "
        f"for name in {' '.join(FOLDERS)}; do rm -f $name; ln -s ../../$name $name; done`, or "
        "clone with `git -c core.symlinks=true clone`"
    )
setup()
