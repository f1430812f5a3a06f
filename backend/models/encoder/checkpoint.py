"""Load an encoder version: an adapter on a base model that is elsewhere, or a whole model."""

from pathlib import Path
from typing import Unpack

from transformers import PreTrainedModel

from tagalong.backend.models.base_models.adapters import is_adapter, load_adapter
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.load_errors import translate_load_errors
from tagalong.backend.models.base_models.load_options import LoadOptions, Precision
from tagalong.backend.models.base_models.sharing import share_parameters
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger, assemble_encoder
from tagalong.ner.manifest import Manifest
from tagalong.ner.tags import TagSet


def load_encoder(folder: Path, manifest: Manifest, **options: Unpack[LoadOptions]) -> EncoderTagger:
    """Load a version with PyTorch, for the options `device` and `precision`.

    The windows and the arithmetic are those that the version was evaluated with. Raises
    `BaseModelError` or `VersionInvalid` where the base model or the weights cannot be loaded.
    """
    tags = TagSet(tuple(manifest.labels)).tag_names
    four_bit = bool(manifest.config.get("four_bit"))
    with translate_load_errors(folder, manifest):
        if is_adapter(folder):
            base = BaseModelRef(manifest.base, manifest.base_revision)
            model = load_adapter(base.load_token_classifier(tags, four_bit=four_bit), folder)
            if not four_bit:  # merging into 4 bits would round the adapter
                model = model.merge_and_unload()
        else:
            model = BaseModelRef(str(folder)).load_token_classifier(tags, keep_head=True)
    if not four_bit:
        model = model.to(options.get("device") or "cpu")
    trained_precision: Precision = manifest.config.get("schedule", {}).get("precision", "auto")
    runner = TorchRunner(model.eval(), precision=options.get("precision") or trained_precision)
    runner.memory_bytes = share_parameters(model)
    return assemble_encoder(runner, folder, manifest, max_positions=max_positions(model))


def max_positions(model: PreTrainedModel) -> int | None:
    """Positions that a model has, special tokens included; None where they are relative."""
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
        limit -= 2  # RoBERTa's position ids start after its padding index
    return limit
