"""A training that begins where a version ended, instead of at its base."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

from tagalong.backend.models.encoder.assemble import translate_load_errors
from tagalong.ner.manifest import Manifest
from tagalong.training.recipes.recipe import EncoderRecipe

WEIGHTS_FILENAME = "model.safetensors"
MATCHED_RECIPE_KEYS = ("base", "adapter", "four_bit")  # what must be the same for weights to fit


def find_warm_start_obstacle(
    manifest: Manifest, recipe: EncoderRecipe, labels: Sequence[str]
) -> str:
    """Say why a training cannot begin at a version.

    Args:
        manifest: Of the version.
        recipe: Of the training.
        labels: To be learnt.

    Returns:
        A sentence; empty where it can.
    """
    if tuple(manifest.labels) != tuple(labels):
        known, wanted = ", ".join(manifest.labels), ", ".join(labels)
        return f"{manifest.version} knows {known}, and what is to be learnt is {wanted}"
    settings = asdict(recipe)
    theirs = {"base": manifest.base, **manifest.config}
    ours = {**settings, "base": recipe.base.reference}
    if any(theirs.get(name) != ours[name] for name in MATCHED_RECIPE_KEYS):
        return f"{manifest.version} has another base, or is adapted in another way"
    return ""


def load_warm_start_weights(model: nn.Module, folder: Path, manifest: Manifest) -> None:
    """Give a model the weights of a version that was trained by the same recipe.

    Args:
        model: As the recipe builds it.
        folder: Of the version.
        manifest: What it says.

    Raises:
        VersionInvalid: If its weights do not fit.
    """
    with translate_load_errors(folder, manifest):
        if isinstance(model, PeftModel):
            set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
        else:
            model.load_state_dict(load_file(folder / WEIGHTS_FILENAME))
