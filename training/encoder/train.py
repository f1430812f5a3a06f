"""Training of an encoder from annotated documents."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from tagalong.backend.models.base_models.adapters import is_peft_model
from tagalong.backend.models.base_models.base_model import CLASSIFIER_HEAD_NAMES
from tagalong.backend.models.base_models.load_errors import translate_load_errors
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.models.encoder.checkpoint import max_positions
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.text.windows import WindowEncoder
from tagalong.ner.document import Document
from tagalong.ner.manifest import Manifest, read_manifest
from tagalong.ner.tags import TagSet
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.consistency import estimate_transitions, fit_score_refiner
from tagalong.training.encoder.dataset import TrainingWindows, build_token_loss
from tagalong.training.loop.adapters import add_adapter, prepare_four_bit_model
from tagalong.training.loop.trainer import (
    ProgressCallback,
    Trainer,
    TrainingTask,
    TrainResult,
    create_accelerator,
)
from tagalong.training.loop.validation import check_inputs, score_on_dev
from tagalong.training.recipes.encoder_recipe import EncoderRecipe, resolve_encoder_recipe
from tagalong.training.recipes.recipe import recipe_to_json

WEIGHTS_FILENAME = "model.safetensors"
MATCHED_RECIPE_KEYS = ("base", "adapter", "four_bit")  # weights fit only if these are equal

EncoderTrainResult = TrainResult[EncoderTagger, EncoderRecipe]


def train_encoder(
    split: TrainDevSplit,
    *,
    recipe: EncoderRecipe,
    state_path: Path,
    warm_start_dir: Path | None = None,
    resume: bool = False,
    on_progress: ProgressCallback = lambda _: None,
) -> EncoderTrainResult:
    """Train an encoder; the epoch with the best strict F1 on dev is kept.

    Args:
        split: Documents, labels and silver.
        recipe: Settings of the training.
        state_path: File of the training state.
        warm_start_dir: Folder of a verified version to start from, with the same labels and base.
        resume: Continue from the saved state, if there is one.
        on_progress: Called after every step and every evaluation, on the main process.

    Returns:
        The model, and the tagger that serves it.

    Raises:
        TrainingError: If train or dev has no annotated spans.
        BaseModelError: If the base is not available.
        VersionInvalid: If the version of the warm start does not fit.
    """
    advice = "train an adapter on it (--qlora), or keep the base in full precision"
    check_inputs(split, recipe, four_bit_advice=advice)
    recipe = resolve_encoder_recipe(recipe)
    schedule, tag_set = recipe.schedule, split.tag_set
    accelerator = create_accelerator(schedule)  # sets the seed, so before the head is made
    tokenizer = recipe.base.load_tokenizer()
    model = build_encoder(recipe, tag_set, device=accelerator.device)
    if warm_start_dir is not None:
        _load_weights(model, warm_start_dir)
    windows_of = partial(WindowEncoder, tokenizer, max_positions=max_positions(model))
    silver = split.silver.documents if split.silver else ()
    windows = TrainingWindows(
        split.train, tag_set=tag_set, windows=windows_of(recipe.train_window_config), silver=silver
    )
    runner = TorchRunner(model, precision=schedule.precision)
    tagger = EncoderTagger(
        runner, windows_of(recipe.window_config), tag_set=tag_set, version="unpublished"
    )
    task = TrainingTask(
        lengths=windows.lengths,
        collate=windows.collate,
        loss=build_token_loss(recipe, tokenizer),
        score_dev=partial(score_on_dev, tagger, tag_set, split.dev, accelerator),
    )
    trainer = Trainer(
        model, task, schedule=schedule, accelerator=accelerator, state_path=state_path
    )
    history = trainer.run(on_progress=on_progress, resume=resume)
    # Transitions come from gold alone: silver has gaps where its system was not sure.
    _fit_calibration(tagger, split.dev, windows.tags[: len(split.train)])
    is_main = accelerator.is_main_process
    save = partial(save_model, model, tokenizer, base=recipe.base)
    return EncoderTrainResult(tagger, history, recipe, windows.dropped, is_main, save)


def build_encoder(recipe: EncoderRecipe, tag_set: TagSet, *, device: torch.device) -> nn.Module:
    """Load the base with a new head and, if the recipe has one, an adapter.

    Raises `BaseModelError` if the base is not available.
    """
    config = recipe.base.load_config()
    # Dropout inside attention costs a fifth of a step on a CPU, without a measurable gain.
    dropouts = {"hidden_dropout_prob": recipe.dropout, "attention_probs_dropout_prob": 0.0}
    changes: dict[str, Any] = {
        name: value for name, value in dropouts.items() if hasattr(config, name)
    }
    model = recipe.base.load_token_classifier(
        tag_set.tag_names, four_bit=recipe.four_bit, **changes
    )
    if recipe.four_bit:
        model = prepare_four_bit_model(model)
    if recipe.adapter is not None:
        model = add_adapter(
            model,
            recipe.adapter,
            task_type="TOKEN_CLS",
            target_modules="all-linear",
            exclude_modules=list(CLASSIFIER_HEAD_NAMES),  # the new head is trained in full
        )
    return model if recipe.four_bit else model.to(device)


def explain_no_warm_start(manifest: Manifest, recipe: EncoderRecipe, labels: Sequence[str]) -> str:
    """Explain why a training cannot start from a version; empty if it can."""
    if tuple(manifest.labels) != tuple(labels):
        known, requested = ", ".join(manifest.labels), ", ".join(labels)
        return f"{manifest.version} has the labels {known}, and the training has {requested}"
    theirs = {"base": manifest.base, **manifest.config}
    ours = {**recipe_to_json(recipe), "base": recipe.base.reference}
    if any(theirs.get(name) != ours[name] for name in MATCHED_RECIPE_KEYS):
        return f"{manifest.version} has another base or another adapter"
    return ""


def _load_weights(model: nn.Module, folder: Path) -> None:
    """Load the weights of a version into a model that was built from the same recipe."""
    with translate_load_errors(folder, read_manifest(folder, verify=False)):
        if is_peft_model(model):
            from peft import load_peft_weights, set_peft_model_state_dict

            set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
        else:
            model.load_state_dict(load_file(folder / WEIGHTS_FILENAME))


def _fit_calibration(
    tagger: EncoderTagger, dev: Sequence[Document], train_tags: Sequence[Sequence[int]]
) -> None:
    """Fit the label consistency and the temperature of a tagger on dev."""
    tagger.score_refiner, tagger.temperature = fit_score_refiner(
        dev,
        [tagger.tag_set.encode(document) for document in dev],
        tagger.run(tagger.encode(dev)),
        transitions=estimate_transitions(train_tags, tagger.tag_set),
        tag_set=tagger.tag_set,
    )
