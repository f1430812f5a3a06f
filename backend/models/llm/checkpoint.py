"""An LLM version's folder to a tier: an adapter on a base that is elsewhere, or a whole decoder."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from transformers import AutoTokenizer, PreTrainedModel

from tagalong.backend.models.base_models.adapters import load_adapter
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.load_options import (
    BaseModelCache,
    LoadOptions,
    Precision,
    WeightsMode,
)
from tagalong.backend.models.base_models.precision import weights_dtype
from tagalong.backend.models.base_models.quantization import four_bit_unavailable_reason
from tagalong.backend.models.encoder.assemble import translate_load_errors
from tagalong.backend.models.encoder.checkpoint import is_adapter
from tagalong.backend.models.llm.decoding import SlotDecoder
from tagalong.backend.models.llm.prompt import PROMPT_VERSION, PromptBuilder
from tagalong.backend.models.llm.scorer import TagScorer
from tagalong.backend.models.llm.tier import LLMTier
from tagalong.backend.models.llm.verbalizers import read_verbalizers
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import Manifest
from tagalong.ner.tags import TagSet

if TYPE_CHECKING:
    from peft import PeftModel

log = logging.getLogger(__name__)


def load_llm(
    folder: Path,
    manifest: Manifest,
    **options: Unpack[LoadOptions],
) -> LLMTier:
    """Load a version: an adapter on a base model, or a whole decoder.

    Args:
        folder: The version's folder.
        manifest: Its verified manifest.
        **options: `device`, `weights_mode`, `drafter` and `base_model_cache` count.

    Returns:
        The tier, with the prompt of its training.

    Raises:
        BaseModelError: If the version is an adapter and its base is not there, or is another.
        VersionInvalid: If labels, prompt or weights do not fit what the manifest says.
    """
    config, tag_set = manifest.config, TagSet(tuple(manifest.labels))
    with translate_load_errors(folder, manifest):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    verbalisers = read_verbalizers(_read_prompt_config(manifest)["verbalisers"], tokenizer, tag_set)
    planner = PromptBuilder(
        tokenizer, tag_set, verbalisers, window=config["window"], context=config["context"]
    )
    weights_mode = options.get("weights_mode")
    if weights_mode is None:
        weights_mode = "nf4" if config.get("four_bit") else "merged"
    if weights_mode == "nf4" and (obstacle := four_bit_unavailable_reason()):
        log.warning("%s is served in 16 bits or more, not in 4: %s", manifest.version, obstacle)
        weights_mode = "merged"
    device = options.get("device") or torch.device("cpu")
    precision: Precision = config.get("schedule", {}).get("precision", "auto")
    model = _load_model(
        folder,
        manifest,
        weights=weights_mode,
        options={"device": device, "dtype": weights_dtype(device, precision=precision)},
        kept=options.get("base_model_cache") or BaseModelCache(),
    )
    return LLMTier(
        build_slot_decoder(model.eval(), planner, tag_set, precision=precision),
        planner,
        tag_set=tag_set,
        version=manifest.version,
        temperature=float(manifest.calibration.get("temperature", 1.0)),
        drafter=options.get("drafter"),
    )


def build_slot_decoder(
    model: "PreTrainedModel | PeftModel",
    planner: PromptBuilder,
    tag_set: TagSet,
    *,
    precision: Precision,
) -> SlotDecoder:
    """What fills slots with a model.

    Args:
        model: A decoder, adapted or not.
        planner: Lays texts out for it.
        tag_set: The tags.
        precision: Arithmetic of the forward pass.

    Returns:
        The decoder.
    """
    scorer = TagScorer(model, planner.verbalizers.ids, planner.prefix, precision=precision)
    return SlotDecoder(scorer, tag_set, planner.verbalizers)


def _read_prompt_config(manifest: Manifest) -> Mapping[str, Any]:
    """The part of a manifest that says how texts are laid out, if it is how we do."""
    config = manifest.config
    if not {"prompt", "verbalisers", "window", "context"} <= config.keys():
        raise VersionInvalid(
            f"the manifest of version {manifest.version} does not say how the LLM is asked: "
            "retrain, or roll back to another version"
        )
    if config["prompt"] != PROMPT_VERSION:
        raise VersionInvalid(
            f"version {manifest.version} was trained with prompt format {config['prompt']}, and "
            f"this release of Tagalong asks in format {PROMPT_VERSION}: retrain, or install the release "
            "it was trained with"
        )
    return config


def _load_model(
    folder: Path,
    manifest: Manifest,
    *,
    weights: WeightsMode,
    options: Mapping[str, Any],
    kept: BaseModelCache,
) -> "PreTrainedModel | PeftModel":
    """The weights, the way they are to be kept."""
    four_bit = weights == "nf4"
    if not is_adapter(folder):
        with translate_load_errors(folder, manifest):
            return BaseModelRef(str(folder)).load_causal_lm(four_bit=four_bit, **options)
    base = BaseModelRef(manifest.base, manifest.base_revision)

    def load() -> PreTrainedModel:
        return base.load_causal_lm(four_bit=four_bit, untie_embeddings=True, **options)

    if weights == "merged":
        clean = load()  # of its own, for it is changed for good
        with translate_load_errors(folder, manifest):
            return load_adapter(clean, folder).merge_and_unload()
    clean = kept.get_model((base, four_bit, *options.values()), load)
    with translate_load_errors(folder, manifest):
        return load_adapter(clean, folder)
