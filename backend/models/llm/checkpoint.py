"""Load an LLM version: an adapter on a base model that is elsewhere, or a whole decoder."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from transformers import AutoTokenizer, PreTrainedModel

from tagalong.backend.models.base_models.adapters import is_adapter, load_adapter
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.four_bit import four_bit_unavailable_reason
from tagalong.backend.models.base_models.load_errors import translate_load_errors
from tagalong.backend.models.base_models.load_options import (
    BaseModelCache,
    LoadOptions,
    Precision,
    WeightsMode,
)
from tagalong.backend.models.base_models.precision import weights_dtype
from tagalong.backend.models.llm.prompt import PROMPT_VERSION, PromptBuilder, read_verbalizers
from tagalong.backend.models.llm.scorer import TagScorer
from tagalong.backend.models.llm.slot_decoder import SlotDecoder
from tagalong.backend.models.llm.tagger import LLMTagger
from tagalong.ner.errors import VersionInvalid
from tagalong.ner.manifest import Manifest, read_word_rule
from tagalong.ner.tags import TagSet

if TYPE_CHECKING:
    from peft import PeftModel

log = logging.getLogger(__name__)


def load_llm(folder: Path, manifest: Manifest, **options: Unpack[LoadOptions]) -> LLMTagger:
    """Load a version with the prompt of its training.

    Of the options, `device`, `weights_mode`, `drafter` and `base_model_cache` count. Raises
    `BaseModelError` where the base model is missing or has changed, and `VersionInvalid` where
    labels, prompt or weights do not match the manifest.
    """
    config = manifest.config
    tag_set = TagSet(tuple(manifest.labels), read_word_rule(manifest))
    with translate_load_errors(folder, manifest):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    verbalizers = read_verbalizers(_read_prompt_config(manifest)["verbalisers"], tokenizer, tag_set)
    prompt_builder = PromptBuilder(
        tokenizer, tag_set, verbalizers, window=config["window"], context=config["context"]
    )
    precision: Precision = config.get("schedule", {}).get("precision", "auto")
    model = _load_model(folder, manifest, precision, options)
    return LLMTagger(
        build_slot_decoder(model.eval(), prompt_builder, tag_set, precision=precision),
        prompt_builder,
        tag_set=tag_set,
        version=manifest.version,
        temperature=float(manifest.calibration.get("temperature", 1.0)),
        drafter=options.get("drafter"),
    )


def build_slot_decoder(
    model: "PreTrainedModel | PeftModel",
    prompt_builder: PromptBuilder,
    tag_set: TagSet,
    *,
    precision: Precision,
) -> SlotDecoder:
    """Build the slot decoder of a model, with or without an adapter."""
    verbalizers = prompt_builder.verbalizers
    scorer = TagScorer(model, verbalizers.ids, prompt_builder.prefix, precision=precision)
    return SlotDecoder(scorer, tag_set, verbalizers)


def _read_prompt_config(manifest: Manifest) -> Mapping[str, Any]:
    """The configuration of the prompt, if this release builds such prompts."""
    config = manifest.config
    if not {"prompt", "verbalisers", "window", "context"} <= config.keys():
        raise VersionInvalid(
            f"the manifest of version {manifest.version} does not describe the prompt: retrain, or "
            "roll back to another version",
            code="version-without-prompt",
        )
    if config["prompt"] != PROMPT_VERSION:
        raise VersionInvalid(
            f"version {manifest.version} was trained with prompt format {config['prompt']}, and "
            f"this release of Tagalong has format {PROMPT_VERSION}: retrain, or install the "
            "release of the training",
            code="version-of-another-prompt",
        )
    return config


def _choose_weights_mode(manifest: Manifest, weights_mode: WeightsMode | None) -> WeightsMode:
    """4 bits where asked for, or trained so, and where this machine supports them."""
    if weights_mode is None:
        weights_mode = "nf4" if manifest.config.get("four_bit") else "merged"
    if weights_mode == "nf4" and (reason := four_bit_unavailable_reason()):
        log.warning("%s is served in 16 bits or more, not in 4: %s", manifest.version, reason)
        return "merged"
    return weights_mode


def _load_model(
    folder: Path, manifest: Manifest, precision: Precision, options: LoadOptions
) -> "PreTrainedModel | PeftModel":
    """The weights, with the adapter beside the base model or merged into it."""
    weights_mode = _choose_weights_mode(manifest, options.get("weights_mode"))
    device = options.get("device") or torch.device("cpu")
    dtype = weights_dtype(device, precision=precision)
    load = partial(
        BaseModelRef.load_causal_lm, four_bit=weights_mode == "nf4", device=device, dtype=dtype
    )
    if not is_adapter(folder):
        with translate_load_errors(folder, manifest):
            return load(BaseModelRef(str(folder)))
    base = BaseModelRef(manifest.base, manifest.base_revision)
    load_base = partial(load, base, untie_embeddings=True)
    if weights_mode == "merged":  # changes the base model for good, so it is not cached
        model = load_base()
        with translate_load_errors(folder, manifest):
            return load_adapter(model, folder).merge_and_unload()
    cache = options.get("base_model_cache") or BaseModelCache()
    model = cache.get_model((base, weights_mode, device, dtype), load_base)
    with translate_load_errors(folder, manifest):
        return load_adapter(model, folder)
