"""Documents to an LLM: texts laid out with their tags in the slots, and the training itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tagalong.backend.models.base_models.load_options import Drafter
from tagalong.backend.models.base_models.memory import translate_memory_errors
from tagalong.backend.models.base_models.precision import weights_dtype
from tagalong.backend.models.llm.checkpoint import build_slot_decoder
from tagalong.backend.models.llm.prompt import PromptBuilder
from tagalong.backend.models.llm.tier import LLMTier
from tagalong.backend.models.llm.verbalizers import choose_verbalizers
from tagalong.ner.document import Document
from tagalong.ner.errors import TrainingError
from tagalong.ner.tags import TagSet
from tagalong.training.llm.dataset import LLMDataset, SlotLoss, SlotModel
from tagalong.training.loop.adapters import linear_layer_names, prepare_four_bit_model
from tagalong.training.loop.batch_sampler import LengthGroupedBatchSampler
from tagalong.training.loop.optimizers import choose_optimizer
from tagalong.training.loop.train_result import TrainResult
from tagalong.training.loop.trainer import Trainer, create_accelerator
from tagalong.training.loop.validation import (
    check_annotated_splits,
    fit_temperature_on_dev,
    score_on_dev,
)
from tagalong.training.recipes.recipe import LLMRecipe, resolve_llm_recipe
from tagalong.training.recipes.schedule import TrainingProgress

LLMTrainResult = TrainResult[LLMTier, LLMRecipe]


def train_llm(
    train: Sequence[Document],
    dev: Sequence[Document],
    *,
    labels: Sequence[str],
    recipe: LLMRecipe,
    state_path: Path,
    resume: bool = False,
    on_progress: Callable[[TrainingProgress], None] = lambda _: None,
    drafter: Drafter | None = None,
) -> LLMTrainResult:
    """Train a decoder to fill slots; the epoch with the best strict F1 on dev is kept.

    Args:
        train: Documents to learn from.
        dev: Documents to stop by and to fit the temperature on; none of them is in train.
        labels: Entity types, in the order of the label config.
        recipe: What to do.
        state_path: Where the state of an unfinished training is kept.
        resume: Go on from that state, where there is one.
        on_progress: Told how it goes.
        drafter: Drafts the tags of dev: judging takes less time, and says the same.

    Returns:
        The model, and the tier that serves it.

    Raises:
        TrainingError: If there is nothing to learn from or to judge by, or windows are too short.
        BaseModelError: If the base is not there, or cannot be kept in 4 bits here.
        OutOfMemoryError: If the base, or a step, does not fit into memory.
    """
    _check_inputs(train, dev, recipe)
    recipe = resolve_llm_recipe(recipe)
    accelerator = create_accelerator(recipe.schedule)
    device, schedule = accelerator.device, recipe.schedule
    tag_set = TagSet(tuple(labels))
    tokenizer = recipe.base.load_tokenizer()
    planner = _build_prompt_builder(recipe, tokenizer, tag_set)
    with translate_memory_errors(
        "the base does not fit into memory: keep it in 4 bits, or take a smaller one"
    ):
        model = build_llm(recipe, device=device)
    lessons = LLMDataset(
        train,
        tag_set=tag_set,
        prompt_builder=_build_prompt_builder(
            replace(recipe, window=recipe.train_window), tokenizer, tag_set
        ),
        pad_token_id=int(tokenizer.pad_token_id),
    )
    tag_ids = torch.tensor(planner.verbalizers.ids, device=device)
    decoder = build_slot_decoder(model, planner, tag_set, precision=schedule.precision)
    tier = LLMTier(decoder, planner, tag_set=tag_set, version="unpublished", drafter=drafter)
    loop = Trainer(
        SlotModel(model, tag_ids),
        batch_sampler=LengthGroupedBatchSampler(
            lessons.lengths,
            max_batch_tokens=schedule.batch_tokens,
            seed=schedule.seed,
            num_processes=accelerator.num_processes,
        ),
        collate=lessons.collate,
        loss=SlotLoss(tag_ids, noise=recipe.noise),
        score_dev=partial(_score_on_dev, tier, dev, accelerator),
        schedule=schedule,
        accelerator=accelerator,
        state_path=state_path,
        build_optimizer=choose_optimizer(device),
    )
    is_main = accelerator.is_main_process
    outcome = loop.run(on_progress=on_progress if is_main else lambda _: None, resume=resume)
    tier.decoder.scorer.clear_prefix_cache()
    model.eval()
    tier.temperature = _fit_temperature(tier, dev)
    return LLMTrainResult(model, tokenizer, tier, outcome, recipe, lessons.dropped, is_main)


def _check_inputs(train: Sequence[Document], dev: Sequence[Document], recipe: LLMRecipe) -> None:
    """Refuse what cannot end well."""
    check_annotated_splits(train, dev)
    if recipe.four_bit and recipe.adapter is None:
        raise TrainingError(
            "a 4-bit base cannot be tuned in full; train an adapter on it, or leave the base in "
            "full precision (--no-four-bit)"
        )


def _build_prompt_builder(
    recipe: LLMRecipe, tokenizer: PreTrainedTokenizerBase, tag_set: TagSet
) -> PromptBuilder:
    """Lays texts out as the recipe has it."""
    planner = PromptBuilder(
        tokenizer,
        tag_set,
        choose_verbalizers(tokenizer, tag_set),
        window=recipe.window,
        context=recipe.context,
    )
    if 2 * len(planner.prefix) > recipe.window:
        raise TrainingError(
            f"the instruction alone takes {len(planner.prefix)} of the {recipe.window} tokens of a "
            "window: train with a larger --window, or with fewer labels"
        )
    return planner


def build_llm(recipe: LLMRecipe, *, device: torch.device) -> PreTrainedModel | PeftModel:
    """Load the base, and put the adapter on it if there is to be one.

    Args:
        recipe: Its base, adapter, four_bit, checkpointing and precision are used.
        device: Where to train.

    Returns:
        The model on its device.

    Raises:
        BaseModelError: If the base is not there, or cannot be kept in 4 bits here.
    """
    frozen = recipe.adapter is not None
    model = recipe.base.load_causal_lm(
        four_bit=recipe.four_bit,
        # What is never updated needs no more digits than the arithmetic has.
        dtype=weights_dtype(device, precision=recipe.schedule.precision)
        if frozen
        else torch.float32,
        untie_embeddings=frozen,
        device=device,
    )
    if recipe.four_bit:
        model = prepare_four_bit_model(model, checkpointing=recipe.checkpointing)
    elif recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if recipe.adapter is None:
        return model
    return get_peft_model(
        model,
        LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=recipe.adapter.rank,
            lora_alpha=recipe.adapter.alpha,
            lora_dropout=recipe.adapter.dropout,
            target_modules=linear_layer_names(model),
        ),
    )


def _score_on_dev(tier: LLMTier, dev: Sequence[Document], accelerator: Accelerator) -> float:
    """Strict F1 of the tier on dev."""
    scorer = tier.decoder.scorer
    scorer.model.eval()
    scorer.clear_prefix_cache()
    return score_on_dev(tier, dev, accelerator)


def _fit_temperature(tier: LLMTier, dev: Sequence[Document]) -> float:
    """Fit the temperature on dev; each word's logits are given the tags decided before it."""
    tagged = [tier.tag_set.encode(document) for document in dev]
    decided = tier.decode_words(dev, [entry.words for entry in tagged])
    return fit_temperature_on_dev(
        [logits for _, logits in decided], [entry.tags for entry in tagged]
    )
