"""Load an encoder whose model was compiled for OpenVINO."""

import logging
from pathlib import Path
from typing import Unpack

from tagalong.backend.models.base_models.load_options import LoadOptions
from tagalong.backend.models.encoder.tagger import EncoderTagger, assemble_encoder
from tagalong.backend.models.openvino.cache import (
    EMBEDDINGS_FILE_NAME,
    MODEL_FILE_NAME,
    WEIGHTS_FILE_NAME,
    CachedOpenVINOModel,
    find_openvino_model,
)
from tagalong.backend.models.openvino.embeddings import load_word_embeddings
from tagalong.backend.models.openvino.runner import OpenVINORunner
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import Manifest

log = logging.getLogger(__name__)


def load_compiled_encoder(
    folder: Path, manifest: Manifest, **options: Unpack[LoadOptions]
) -> EncoderTagger | None:
    """Load a version with its cached OpenVINO model.

    None where `options` do not ask for OpenVINO, or it has no usable model of the version. Raises
    `VersionInvalid` where the tokenizer of the version cannot be read.
    """
    device = options.get("device")
    if not options.get("use_openvino") or (device is not None and device.type != "cpu"):
        return None
    if (cached := find_openvino_model(manifest)) is None:
        return None
    try:
        return load_openvino_encoder(folder, manifest, cached)
    except VersionInvalid:
        raise
    except Exception as error:  # noqa: BLE001 - OpenVINO's errors are of any class; PyTorch works
        log.warning("%s: %s; PyTorch serves it", manifest.version, error)
        return None


def load_openvino_encoder(
    folder: Path, manifest: Manifest, cached: CachedOpenVINOModel
) -> EncoderTagger:
    """Make a tagger of an OpenVINO model; raises `OpenVINOError` where that cannot be read."""
    model, weights = cached.folder / MODEL_FILE_NAME, cached.folder / WEIGHTS_FILE_NAME
    record = cached.record
    embeddings = None
    if (file := record.files.get(EMBEDDINGS_FILE_NAME)) is not None:
        embeddings = load_word_embeddings(
            cached.folder / EMBEDDINGS_FILE_NAME, file, record.precision
        )
    runner = OpenVINORunner(
        model, weights, weight_format=record.weight_format, embeddings=embeddings
    )
    tagger = assemble_encoder(runner, folder, manifest, max_positions=record.max_positions)
    runner.warm_up(tagger.window_encoder.max_window_subwords)
    return tagger
