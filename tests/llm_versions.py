"""LLM versions with random weights, published without training."""

from pathlib import Path
from typing import Any

import torch

from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.base_models.save import save_model
from tagalong.backend.models.llm.prompt import PROMPT_VERSION, choose_verbalizers
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import VersionMetadata
from tagalong.ner.tags import TagSet
from tagalong.training.llm.train import build_llm
from tagalong.training.recipes.llm_recipe import LLMRecipe
from tagalong.training.recipes.recipe import AdapterConfig
from tests.tiny_llms import TAGS

CPU = torch.device("cpu")


def publish_llm_version(
    store: ModelStore, base: Path, *, seed: int = 0, full: bool = False, **changes: Any
) -> Path:
    """Publish a version with a random adapter; returns its folder."""
    recipe = LLMRecipe(
        base=BaseModelRef(str(base)).with_pinned_revision(),
        adapter=None if full else AdapterConfig(8, 16),
        four_bit=False,
        gradient_checkpointing=False,
    )
    model = build_llm(recipe, device=CPU)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or (full and weight.ndim > 1):
                weight.normal_(std=0.15)
    tokenizer = recipe.base.load_tokenizer()
    table = choose_verbalizers(tokenizer, TAGS).to_json(TAGS)
    config = {
        "prompt": PROMPT_VERSION,
        "verbalisers": table,
        "window": 512,
        "context": 64,
        "four_bit": False,
        "schedule": {"precision": "fp32"},
    }
    config |= changes.pop("config", {})
    known = {
        "base": recipe.base.reference,
        "base_revision": recipe.base.revision,
        "labels": TAGS.labels,
    }
    draft = VersionMetadata(tier="llm", name="tiny", config=config, **(known | changes))
    with store.staging_folder("llm") as folder:
        save_model(model, tokenizer, folder, base=recipe.base)
        manifest = store.publish(folder, draft)
    return store.resolve(f"llm/{manifest.version}")


def other_tags() -> dict[str, str]:
    """Verbalizers for labels that the version does not have."""
    return dict(zip(TagSet(("Gene", "Disease")).tag_names, "abcde", strict=True))
