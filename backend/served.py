"""A version's folder to an encoder tier, whatever runs its passes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from backend.coupling import ScoreRefiner
from backend.encoder import EncoderTier
from backend.engine.cache import MODEL_FILE_NAME, WEIGHTS_FILE_NAME, CachedOpenVINOModel
from backend.engine.forward import OpenVINORunner
from backend.forward import ModelRunner
from backend.window_encoder import WindowConfig, WindowEncoder
from ner.errors import VersionInvalid
from ner.manifest import Manifest
from ner.tags import TagSet


def load_openvino_encoder(folder: Path, manifest: Manifest, cached: CachedOpenVINOModel) -> EncoderTier:
    """Make a version's engine a tier; its own weights are not read.

    Args:
        folder: Of the version.
        manifest: What it says.
        cached: The engine.

    Returns:
        The tier, ready to predict.

    Raises:
        EngineError: If OpenVINO is not there, or cannot read it.
        VersionInvalid: If the version's tokenizer cannot be read.
    """
    record = cached.record
    forward = OpenVINORunner(cached.folder / MODEL_FILE_NAME, cached.folder / WEIGHTS_FILE_NAME, weight_format=record.form)
    tier = assemble_encoder(forward, folder, manifest, max_positions=record.limit)
    forward.warm_up(tier.window_encoder.max_window_subwords)
    return tier


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
    except (OSError, ValueError, RuntimeError) as error:
        raise VersionInvalid(
            f"version {manifest.version} in {folder} could not be loaded ({error}); "
            "train it again, or roll back to another version"
        ) from error


def _read_window_config(config: Mapping[str, Any]) -> WindowConfig:
    """How the version was trained to read."""
    return WindowConfig(**config["reading"]) if "reading" in config else WindowConfig()
