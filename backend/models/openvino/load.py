"""A version and its OpenVINO model to an encoder tier."""

from pathlib import Path

from tagalong.backend.models.encoder.assemble import assemble_encoder
from tagalong.backend.models.encoder.tier import EncoderTier
from tagalong.backend.models.openvino.cache import (
    MODEL_FILE_NAME,
    WEIGHTS_FILE_NAME,
    CachedOpenVINOModel,
)
from tagalong.backend.models.openvino.runner import OpenVINORunner
from tagalong.ner.manifest import Manifest


def load_openvino_encoder(
    folder: Path, manifest: Manifest, cached: CachedOpenVINOModel
) -> EncoderTier:
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
    forward = OpenVINORunner(
        cached.folder / MODEL_FILE_NAME,
        cached.folder / WEIGHTS_FILE_NAME,
        weight_format=record.form,
    )
    tier = assemble_encoder(forward, folder, manifest, max_positions=record.limit)
    forward.warm_up(tier.window_encoder.max_window_subwords)
    return tier
