"""A version's folder to an encoder tier, whatever runs its passes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoTokenizer

from tagalong.backend.models.decoding.consistency import ScoreRefiner
from tagalong.backend.models.encoder.runner import ModelRunner
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.backend.models.text.window_encoder import WindowConfig, WindowEncoder
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import Manifest
from tagalong.ner.tags import TagSet


def assemble_encoder(
    runner: ModelRunner, folder: Path, manifest: Manifest, *, max_positions: int | None
) -> EncoderTier:
    """Put together the tier of a version.

    Args:
        runner: Runs its passes.
        folder: Of the version.
        manifest: What it says.
        max_positions: Positions that the model has; None for no limit.

    Returns:
        The tier, ready to predict as it was judged.

    Raises:
        VersionInvalid: If its tokenizer cannot be read.
    """
    with translate_load_errors(folder, manifest):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return EncoderTier(
        runner,
        WindowEncoder(tokenizer, _read_window_config(manifest.config), max_positions=max_positions),
        tag_set=TagSet(tuple(manifest.labels)),
        version=manifest.version,
        temperature=float(manifest.calibration.get("temperature", 1.0)),
        score_refiner=ScoreRefiner.from_json(manifest.calibration),
    )


@contextmanager
def translate_load_errors(folder: Path, manifest: Manifest) -> Iterator[None]:
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
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise VersionInvalid(
            f"version {manifest.version} in {folder} could not be loaded ({error}); "
            "train it again, or roll back to another version"
        ) from error


def _read_window_config(config: Mapping[str, Any]) -> WindowConfig:
    """How the version was trained to read."""
    return WindowConfig(**config["reading"]) if "reading" in config else WindowConfig()
