"""A Hugging Face cache, filled without network."""

import shutil
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def add_to_hub_cache(name: str, folder: Path, cache: Path, *, ref: str = "main") -> Path:
    """Copy a folder into a cache as a branch of a hub id; returns its new path."""
    repository = cache / f"models--{name.replace('/', '--')}"
    pointer = repository / "refs" / ref
    pointer.parent.mkdir(parents=True)
    pointer.write_text(COMMIT)
    return Path(shutil.copytree(folder, repository / "snapshots" / COMMIT))
