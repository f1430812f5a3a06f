"""Warm start: a training that begins with the weights of a version instead of its base."""

from collections.abc import Sequence
from pathlib import Path

from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

from tagalong.backend.models.encoder.tier import translate_load_errors
from tagalong.ner.manifest import Manifest
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.recipe import recipe_to_json

WEIGHTS_FILENAME = "model.safetensors"
MATCHED_RECIPE_KEYS = ("base", "adapter", "four_bit")  # weights fit only if these are equal


def find_warm_start_obstacle(
    manifest: Manifest, recipe: EncoderRecipe, labels: Sequence[str]
) -> str:
    """Explain why a training cannot start from a version; empty if it can."""
    if tuple(manifest.labels) != tuple(labels):
        known, requested = ", ".join(manifest.labels), ", ".join(labels)
        return f"{manifest.version} has the labels {known}, and the training has {requested}"
    theirs = {"base": manifest.base, **manifest.config}
    ours = {**recipe_to_json(recipe), "base": recipe.base.reference}
    if any(theirs.get(name) != ours[name] for name in MATCHED_RECIPE_KEYS):
        return f"{manifest.version} has another base or another adapter"
    return ""


def load_warm_start_weights(model: nn.Module, folder: Path, manifest: Manifest) -> None:
    """Load the weights of a version into a model that was built from the same recipe.

    Raises `VersionInvalid` if the weights do not fit.
    """
    with translate_load_errors(folder, manifest):
        if isinstance(model, PeftModel):
            set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
        else:
            model.load_state_dict(load_file(folder / WEIGHTS_FILENAME))
