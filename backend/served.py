"""A version's folder to an encoder tier, whatever runs its passes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from backend.coupling import Coupling
from backend.encoder import EncoderTier
from backend.engine.cache import MODEL, WEIGHTS, Kept
from backend.engine.forward import EngineForward
from backend.forward import Forward
from backend.window_encoder import Reading, WindowEncoder
from ner.errors import VersionInvalid
from ner.manifest import Manifest
from ner.tags import TagSet


def load_engine(folder: Path, manifest: Manifest, kept: Kept) -> EncoderTier:
    """Make a version's engine a tier; its own weights are not read.

    Args:
        folder: Of the version.
        manifest: What it says.
        kept: The engine.

    Returns:
        The tier, ready to predict.

    Raises:
        EngineError: If OpenVINO is not there, or cannot read it.
        VersionInvalid: If the version's tokenizer cannot be read.
    """
    record = kept.record
    forward = EngineForward(kept.folder / MODEL, kept.folder / WEIGHTS, form=record.form)
    tier = served_by(forward, folder, manifest, limit=record.limit)
    forward.warm_up(tier.windows.longest)
    return tier


def served_by(
    forward: Forward, folder: Path, manifest: Manifest, *, limit: int | None
) -> EncoderTier:
    """Put together the tier of a version.

    Args:
        forward: Runs its passes.
        folder: Of the version.
        manifest: What it says.
        limit: Positions that the model has; None for no limit.

    Returns:
        The tier, ready to predict as it was judged.

    Raises:
        VersionInvalid: If its tokenizer cannot be read.
    """
    with unloadable_told(folder, manifest):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return EncoderTier(
        forward,
        WindowEncoder(tokenizer, _reading(manifest.config), limit=limit),
        tag_set=TagSet(tuple(manifest.labels)),
        version=manifest.version,
        temperature=float(manifest.calibration.get("temperature", 1.0)),
        coupling=Coupling.from_json(manifest.calibration),
    )


@contextmanager
def unloadable_told(folder: Path, manifest: Manifest) -> Iterator[None]:
    """Say of a version what a library says that cannot load it.

    Args:
        folder: Of the version.
        manifest: What it says.

    Yields:
        Nothing.

    Raises:
        VersionInvalid: If the block fails.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise VersionInvalid(
            f"version {manifest.version} in {folder} could not be loaded ({error}); "
            "train it again, or roll back to another version"
        ) from error


def _reading(config: Mapping[str, Any]) -> Reading:
    """How the version was trained to read."""
    return Reading(**config["reading"]) if "reading" in config else Reading()
