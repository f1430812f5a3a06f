"""The tiers that Tagalong serves, and what each needs of a server; see CONTRIBUTING.md."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.tiers import ENCODER, LLM

Loader = Callable[..., DocumentTagger | None]  # (folder, manifest, **LoadOptions)


@dataclass(frozen=True, slots=True)
class TierSpec:
    """How a server loads and runs the versions of a tier."""

    # ``module:function``, tried in order; one returns None where it does not apply. Imported when a
    # version is first loaded: transformers takes two seconds to import its models, and OpenVINO
    # needs none of them.
    loaders: tuple[str, ...]
    drafter_tier: str | None = None  # its served version drafts the tags; None for no drafts
    counts_decoding: bool = False  # `decoding_stats` of its taggers become metrics

    def import_loaders(self) -> Iterator[Loader]:
        """Import one loader after the other, as they are asked for."""
        for reference in self.loaders:
            module, _, name = reference.partition(":")
            yield cast(Loader, getattr(import_module(module), name))


TIER_SPECS: dict[str, TierSpec] = {
    ENCODER: TierSpec(
        loaders=(
            "tagalong.backend.models.openvino.load:load_compiled_encoder",
            "tagalong.backend.models.encoder.checkpoint:load_encoder",
        ),
    ),
    LLM: TierSpec(
        loaders=("tagalong.backend.models.llm.checkpoint:load_llm",),
        drafter_tier=ENCODER,
        counts_decoding=True,
    ),
}
