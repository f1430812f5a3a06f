"""Training of an LLM from annotated documents."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import PeftModel, TaskType
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tagalong.backend.models.base_models.load_options import Drafter
from tagalong.backend.models.base_models.memory import translate_memory_errors
from tagalong.backend.models.base_models.precision import weights_dtype
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.models.llm.checkpoint import build_slot_decoder
from tagalong.backend.models.llm.prompt import PromptBuilder, choose_verbalizers
from tagalong.backend.models.llm.tagger import LLMTagger
from tagalong.ner.document import Document
from tagalong.ner.errors import TrainingError
from tagalong.ner.tags import TagSet
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.llm.dataset import LLMDataset, SlotModel, slot_loss
from tagalong.training.loop.adapters import add_adapter, linear_layer_names, prepare_four_bit_model
from tagalong.training.loop.optimizers import choose_optimizer
from tagalong.training.loop.trainer import (
    ProgressCallback,
    Trainer,
    TrainingTask,
    TrainResult,
    create_accelerator,
)
from tagalong.training.loop.validation import check_inputs, fit_temperature_on_dev, score_on_dev
from tagalong.training.recipes.llm_recipe import LLMRecipe, resolve_llm_recipe

LLMTrainResult = TrainResult[LLMTagger, LLMRecipe]


def train_llm(
    split: TrainDevSplit,
    *,
    recipe: LLMRecipe,
    state_path: Path,
    resume: bool = False,
    on_progress: ProgressCallback = lambda _: None,
    drafter: Drafter | None = None,
) -> LLMTrainResult:
    """Train a decoder to fill slots; the epoch with the best strict F1 on dev is kept.

    The arguments are those of `train_encoder`; a drafter drafts the tags of dev, so that evaluation
    is faster, with the same scores.

    Raises:
        TrainingError: If train or dev has no annotated spans, or windows are too short.
        BaseModelError: If the base is not available, or cannot be loaded in 4 bits here.
        OutOfMemoryError: If the base, or a step, does not fit into memory.
    """
    advice = "train an adapter on it, or keep the base in full precision (--no-four-bit)"
    check_inputs(split, recipe, four_bit_advice=advice)
    recipe = resolve_llm_recipe(recipe)
    schedule, tag_set = recipe.schedule, split.tag_set
    accelerator = create_accelerator(schedule)
    tokenizer = recipe.base.load_tokenizer()
    builder, train_builder = (
        _build_prompt_builder(replace(recipe, window=window), tokenizer, tag_set)
        for window in (recipe.window, recipe.train_window)
    )
    with translate_memory_errors(
        "the base does not fit into memory: load it in 4 bits, or take a smaller one"
    ):
        model = build_llm(recipe, device=accelerator.device)
    pad_id = int(tokenizer.pad_token_id)
    dataset = LLMDataset(
        split.train, tag_set=tag_set, prompt_builder=train_builder, pad_token_id=pad_id
    )
    tag_ids = torch.tensor(builder.verbalizers.ids, device=accelerator.device)
    slot_decoder = build_slot_decoder(model, builder, tag_set, precision=schedule.precision)
    tagger = LLMTagger(
        slot_decoder, builder, tag_set=tag_set, version="unpublished", drafter=drafter
    )
    trainer = Trainer(
        SlotModel(model, tag_ids),
        TrainingTask(
            lengths=dataset.lengths,
            collate=dataset.collate,
            loss=partial(slot_loss, tag_ids=tag_ids, noise_share=recipe.tag_noise_share),
            score_dev=partial(_score_on_dev, tagger, split.dev, accelerator),
        ),
        schedule=schedule,
        accelerator=accelerator,
        state_path=state_path,
        build_optimizer=choose_optimizer(accelerator.device),
    )
    history = trainer.run(on_progress=on_progress, resume=resume)
    tagger.temperature = _fit_temperature(tagger, split.dev)
    is_main = accelerator.is_main_process
    save = partial(save_model, model, tokenizer, base=recipe.base)
    return LLMTrainResult(tagger, history, recipe, dataset.dropped, is_main, save)


def _build_prompt_builder(
    recipe: LLMRecipe, tokenizer: PreTrainedTokenizerBase, tag_set: TagSet
) -> PromptBuilder:
    builder = PromptBuilder(
        tokenizer,
        tag_set,
        choose_verbalizers(tokenizer, tag_set),
        window=recipe.window,
        context=recipe.context,
    )
    if 2 * len(builder.prefix) > recipe.window:
        raise TrainingError(
            f"the instruction alone takes {len(builder.prefix)} of the {recipe.window} tokens of a "
            "window: train with a larger --window, or with fewer labels",
            code="window-too-short",
        )
    return builder


def build_llm(recipe: LLMRecipe, *, device: torch.device) -> PreTrainedModel | PeftModel:
    """Load the base and, if the recipe has one, put an adapter on it.

    Raises `BaseModelError` if the base is not available, or cannot be loaded in 4 bits here.
    """
    frozen = recipe.adapter is not None
    # Frozen weights need no more precision than the arithmetic.
    served_dtype = weights_dtype(device, precision=recipe.schedule.precision)
    model = recipe.base.load_causal_lm(
        four_bit=recipe.four_bit,
        dtype=served_dtype if frozen else torch.float32,
        untie_embeddings=frozen,  # or the adapter on the output layer would change the input too
        device=device,
    )
    if recipe.four_bit:
        model = prepare_four_bit_model(model, gradient_checkpointing=recipe.gradient_checkpointing)
    elif recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if recipe.adapter is None:
        return model
    return add_adapter(
        model,
        recipe.adapter,
        task_type=TaskType.CAUSAL_LM,
        target_modules=linear_layer_names(model),
    )


def _score_on_dev(tagger: LLMTagger, dev: Sequence[Document], accelerator: Accelerator) -> float:
    tagger.slot_decoder.scorer.clear_prefix_cache()  # it is of the weights before this epoch
    return score_on_dev(tagger, tagger.tag_set, dev, accelerator)


def _fit_temperature(tagger: LLMTagger, dev: Sequence[Document]) -> float:
    """Fit the temperature on dev; the logits of a word depend on the decoded tags before it."""
    # The prefix cache is of the weights before the best epoch was restored.
    tagger.slot_decoder.scorer.clear_prefix_cache()
    tagged = [tagger.tag_set.encode(document) for document in dev]
    decoded = tagger.decode_words(dev)
    return fit_temperature_on_dev(
        [logits for _, logits in decoded], [entry.tags for entry in tagged]
    )
