"""One error for everything that goes wrong when a library loads a version."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import Manifest


@contextmanager
def translate_load_errors(folder: Path, manifest: Manifest) -> Iterator[None]:
    """Raise `VersionInvalid` for the errors of a library that cannot load a version."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise VersionInvalid(
            f"version {manifest.version} in {folder} could not be loaded ({error}): train it "
            "again, or roll back to another version",
            code="version-not-loadable",
        ) from error
