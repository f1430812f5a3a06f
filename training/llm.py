"""Documents to an LLM: texts laid out with their tags in the slots, and the training itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from backend.llm.checkpoint import slot_decoder
from backend.llm.kept import Drafter
from backend.llm.layout import LayoutPlanner
from backend.llm.tier import LLMTier
from backend.llm.verbalisers import choose_verbalisers
from backend.memory import memory_told
from backend.precision import weights_type
from ner.document import Document
from ner.errors import TrainingError
from ner.tags import TagSet
from training.adapters import linear_layers, ready_four_bit
from training.batches import EpochBatches
from training.dev_side import check_sides, judge, temperature_of
from training.loop import Loop, start_accelerator
from training.optimizers import choose_optimizer
from training.recipe import LLMRecipe, settled
from training.schedule import Progress
from training.slots import SlotLessons, SlotLoss, SlotModel
from training.trained import Trained

TrainedLLM = Trained[LLMTier, LLMRecipe]


def train_llm(
    train: Sequence[Document],
    dev: Sequence[Document],
    *,
    labels: Sequence[str],
    recipe: LLMRecipe,
    state_path: Path,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda _: None,
    drafter: Drafter | None = None,
) -> TrainedLLM:
    """Train a decoder to fill slots; the epoch with the best strict F1 on dev is kept.

    Args:
        train: Documents to learn from.
        dev: Documents to stop by and to fit the temperature on; none of them is in train.
        labels: Entity types, in the order of the label config.
        recipe: What to do.
        state_path: Where the state of an unfinished training is kept.
        resume: Go on from that state, where there is one.
        report: Told how it goes.
        drafter: Drafts the tags of dev: judging takes less time, and says the same.

    Returns:
        The model, and the tier that serves it.

    Raises:
        TrainingError: If there is nothing to learn from or to judge by, or windows are too short.
        BaseModelError: If the base is not there, or cannot be kept in 4 bits here.
        OutOfMemoryError: If the base, or a step, does not fit into memory.
    """
    _check(train, dev, recipe)
    recipe = settled(recipe)
    accelerator = start_accelerator(recipe.schedule)
    device, schedule = accelerator.device, recipe.schedule
    tag_set = TagSet(tuple(labels))
    tokenizer = recipe.base.load_tokenizer()
    planner = _planner(recipe, tokenizer, tag_set)
    with memory_told("the base does not fit into memory: keep it in 4 bits, or take a smaller one"):
        model = build_llm(recipe, device=device)
    lessons = SlotLessons(
        train,
        tag_set=tag_set,
        planner=_planner(replace(recipe, window=recipe.lesson_window), tokenizer, tag_set),
        pad=int(tokenizer.pad_token_id),
    )
    tag_ids = torch.tensor(planner.verbalisers.ids, device=device)
    decoder = slot_decoder(model, planner, tag_set, precision=schedule.precision)
    tier = LLMTier(decoder, planner, tag_set=tag_set, version="unpublished", drafter=drafter)
    loop = Loop(
        SlotModel(model, tag_ids),
        batches=EpochBatches(
            lessons.lengths,
            budget=schedule.batch_tokens,
            seed=schedule.seed,
            processes=accelerator.num_processes,
        ),
        collate=lessons.collate,
        loss=SlotLoss(tag_ids, noise=recipe.noise),
        judge=partial(_judge, tier, dev, accelerator),
        schedule=schedule,
        accelerator=accelerator,
        state_path=state_path,
        optimizer=choose_optimizer(device),
    )
    is_main = accelerator.is_main_process
    outcome = loop.run(report=report if is_main else lambda _: None, resume=resume)
    tier.decoder.scorer.forget()
    model.eval()
    tier.temperature = _fit_temperature(tier, dev)
    return TrainedLLM(model, tokenizer, tier, outcome, recipe, lessons.lost, is_main)


def _check(train: Sequence[Document], dev: Sequence[Document], recipe: LLMRecipe) -> None:
    """Refuse what cannot end well."""
    check_sides(train, dev)
    if recipe.four_bit and recipe.adapter is None:
        raise TrainingError(
            "a 4-bit base cannot be tuned in full; train an adapter on it, or leave the base in "
            "full precision (--no-four-bit)"
        )


def _planner(
    recipe: LLMRecipe, tokenizer: PreTrainedTokenizerBase, tag_set: TagSet
) -> LayoutPlanner:
    """Lays texts out as the recipe has it."""
    planner = LayoutPlanner(
        tokenizer,
        tag_set,
        choose_verbalisers(tokenizer, tag_set),
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
        dtype=weights_type(device, wanted=recipe.schedule.precision) if frozen else torch.float32,
        untied=frozen,
        device=device,
    )
    if recipe.four_bit:
        model = ready_four_bit(model, checkpointing=recipe.checkpointing)
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
            target_modules=linear_layers(model),
        ),
    )


def _judge(tier: LLMTier, dev: Sequence[Document], accelerator: Accelerator) -> float:
    """Strict F1 of the tier on dev."""
    scorer = tier.decoder.scorer
    scorer.model.eval()
    scorer.forget()
    return judge(tier, dev, accelerator)


def _fit_temperature(tier: LLMTier, dev: Sequence[Document]) -> float:
    """Fit the temperature on dev; each word's logits are given the tags decided before it."""
    tagged = [tier.tag_set.encode(document) for document in dev]
    decided = tier.decide(dev, [entry.words for entry in tagged])
    return temperature_of([logits for _, logits in decided], [entry.tags for entry in tagged])
