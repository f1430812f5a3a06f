"""The models of a batch: one, or a cascade of a fast one and a better one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from tagalong.backend.models.tagger import DecodingStats
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.errors import InputError
from tagalong.ner.manifest import read_manifest

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.backend.models.tagger import DocumentTagger

TaggerLoader = Callable[[ModelStore, str], "DocumentTagger"]


@dataclass(frozen=True)
class ModelReference:
    """A model version, loaded where it predicts."""

    version: str  # its name in predictions
    labels: tuple[str, ...]
    load: "Callable[[], DocumentTagger]"  # can be sent to another machine
    model: str = ""  # that has the version; empty for a folder outside the registry

    @cached_property
    def tagger(self) -> "DocumentTagger":
        """The tagger, loaded in this process on first use."""
        return self.load()

    @property
    def decoding_stats(self) -> DecodingStats | None:
        """Decoding in this process; None for an encoder, and for an LLM that was not loaded."""
        stats = getattr(self.__dict__.get("tagger"), "decoding_stats", None)
        return stats if isinstance(stats, DecodingStats) else None


@dataclass(frozen=True, slots=True)
class BatchModels:
    """The models of a batch."""

    first_pass: ModelReference  # predicts every document
    second_pass: ModelReference | None = None  # predicts some again; None without a cascade
    second_pass_share: float = 0.0  # of the documents, from 0 to 1

    def __iter__(self) -> Iterator[ModelReference]:
        yield self.first_pass
        if self.second_pass is not None:
            yield self.second_pass

    def __str__(self) -> str:
        # Journals identify the models of a batch by it, so it must not change.
        if self.second_pass is None:
            return self.first_pass.version
        return (
            f"{self.first_pass.version}, then {self.second_pass.version} for "
            f"{self.second_pass_share:.4g} of them"
        )

    @property
    def names(self) -> str:
        """The names of the models, as journals note them."""
        return ", ".join(model.model for model in self)


def choose_models(
    store: ModelStore,
    first_pass: str,
    second_pass: str | None = None,
    *,
    load: TaggerLoader,
    second_pass_share: float = 0.0,
) -> BatchModels:
    """Find the models of a batch by reference; nothing is loaded before it predicts."""
    # Other machines may see the folder at the same path, but not from another working directory.
    absolute = ModelStore(store.root.resolve(), store.bundled_root)

    def find(reference: str) -> ModelReference:
        folder = absolute.resolve(reference)
        manifest = read_manifest(folder, verify=False)
        roots = (absolute.root, absolute.bundled_root)
        return ModelReference(
            manifest.version,
            tuple(manifest.labels),
            partial(load, absolute, reference),
            folder.parent.name if folder.parent.parent in roots else "",
        )

    first = find(first_pass)
    if second_pass is None:
        return BatchModels(first)
    second = find(second_pass)
    if first.version == second.version:
        raise InputError(
            f"{first.version} would predict everything twice: name two versions, with --encoder "
            "and --llm",
            code="cascade-of-one-version",
        )
    return BatchModels(first, second, second_pass_share)
