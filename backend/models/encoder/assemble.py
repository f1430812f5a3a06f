"""Build an encoder tier from a version's folder and a runner of its model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    """Build the tier of a version from the runner of its model and its tokenizer.

    Raises `VersionInvalid` where the tokenizer cannot be read.
    """
    with translate_load_errors(folder, manifest):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    window_config = WindowConfig(**manifest.config.get("reading", {}))
    return EncoderTier(
        runner,
        WindowEncoder(tokenizer, window_config, max_positions=max_positions),
        tag_set=TagSet(tuple(manifest.labels)),
        version=manifest.version,
        temperature=float(manifest.calibration.get("temperature", 1.0)),
        score_refiner=ScoreRefiner.from_json(manifest.calibration),
    )


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
