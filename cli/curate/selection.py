"""Documents and models -> what to annotate next, wherever the documents come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import track

from tagalong.backend.batch.source_and_sink import format_names
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import LabelConfig
from tagalong.cli.terminal.console import error_console
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import InputError, LabelError
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.corpus import Corpus
from tagalong.training.curate.selection import SelectedDocument, SelectionOptions, StrategyName

if TYPE_CHECKING:  # what imports numpy, scikit-learn or torch would make `tagalong --help` slow
    from tagalong.backend.models.tier import Tier
    from tagalong.training.curate.pool import DeduplicatedPool
    from tagalong.training.curate.strategies import StrategyInputs

BATCH_DOCUMENTS = 64  # documents a tier gets at once, for a smooth bar


@dataclass(frozen=True, slots=True)
class SelectionResult:
    """What to annotate next.

    Attributes:
        selected_documents: In order.
        pool: The documents they were chosen from.
        version: Of the model that was asked.
        strategy: By which they were chosen.
    """

    selected_documents: list[SelectedDocument]
    pool: "DeduplicatedPool"
    version: str
    strategy: StrategyName

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "model": self.version,
            "strategy": self.strategy,
            "pool": len(self.pool.documents),
            "annotated": self.pool.already_annotated,
            "repeated": self.pool.repeated_texts,
            "wordless": self.pool.without_words,
            "chosen": [
                choice.to_json(rank) for rank, choice in enumerate(self.selected_documents, start=1)
            ],
        }


def check_known_labels(tier: "Tier", corpus: Corpus, config: LabelConfig | None = None) -> None:
    """Tell which labels were annotated that a model knows nothing of.

    Args:
        tier: The model.
        corpus: What is annotated already.
        config: A labelling config, which may call the model's labels by other names.

    Raises:
        LabelError: If that is all of them.
    """
    used = sorted({span.label for document in corpus.documents for span in document.spans})
    known = (
        tier.labels if config is None else map_labels(tier.labels, config).project_labels.values()
    )
    unknown = [label for label in used if label not in known]
    if unknown and len(unknown) == len(used):
        raise LabelError(
            f"{tier.version} finds {format_names(tier.labels)}, but what was annotated is "
            f"{format_names(used)}, of which it can be neither sure nor unsure: name a --model that was "
            "trained on them"
        )
    if unknown:
        said = f"{tier.version} does not know {format_names(unknown)}: nothing is chosen for these."
        error_console.print(to_single_line(said), style="yellow", markup=False, soft_wrap=True)


def select_next_documents(
    documents: Sequence[Document],
    tier: "Tier",
    options: SelectionOptions,
    *,
    labeled: Sequence[Document] = (),
    other_tier: "Tier | None" = None,
) -> SelectionResult:
    """Ask models about documents, and choose.

    Args:
        documents: Wherever they come from.
        tier: The current model.
        options: How to choose.
        labeled: What is annotated already.
        other_tier: A second model, where the strategy compares.

    Returns:
        What to annotate next.

    Raises:
        InputError: If nothing is left to choose from, or the strategy needs another model.
        LabelError: If two models have no label in common.
    """
    from tagalong.training.curate.disagreement import keep_shared_labels
    from tagalong.training.curate.pool import deduplicate_pool
    from tagalong.training.curate.strategies import select_documents

    sifted = deduplicate_pool(documents, labeled, seed=options.seed)
    if not sifted.documents:
        raise InputError(
            f"of {len(documents):,} documents {sifted.already_annotated:,} are annotated already and "
            f"{sifted.without_words:,} have no words, so none is left to choose: add documents"
        )
    evidence = build_strategy_inputs(tier, options.strategy)
    labels = [] if other_tier is None else shared_labels(tier, other_tier)
    # In the order of the lots: what shares a batch is the same then, whatever order they came in.
    predictions = predict_with_progress(tier, sifted.documents)
    if other_tier is not None:
        said = keep_shared_labels(
            predictions, predict_with_progress(other_tier, sifted.documents), labels
        )
        predictions, evidence = said[0], replace(evidence, other_predictions=said[1])
    with error_console.status("Choosing"):
        choices = select_documents(
            sifted.documents, predictions, options, labeled=labeled, inputs=evidence
        )
    return SelectionResult(choices, sifted, tier.version, options.strategy)


def shared_labels(one: "Tier", other: "Tier") -> list[str]:
    """What two models can disagree on.

    Args:
        one: A model.
        other: Another.

    Returns:
        The labels that both know.

    Raises:
        InputError: If they are the same model.
        LabelError: If there are none.
    """
    if one.version == other.version:
        raise InputError(f"{one.version} agrees with itself: name another model with --against")
    if labels := [label for label in one.labels if label in other.labels]:
        return labels
    raise LabelError(
        f"{one.version} finds {format_names(one.labels)}, and {other.version} {format_names(other.labels)}: "
        "compare two models that have a label in common"
    )


def predict_with_progress(tier: "Tier", documents: Sequence[Document]) -> list[Prediction]:
    """Have a model predict, with a bar.

    Args:
        tier: The model.
        documents: What for.

    Returns:
        One prediction per document, in the same order.
    """
    batches = [
        documents[first : first + BATCH_DOCUMENTS]
        for first in range(0, len(documents), BATCH_DOCUMENTS)
    ]
    progress = track(
        batches, f"Asking {escape(tier.version)}", console=error_console, transient=True
    )
    return [prediction for batch in progress for prediction in tier.predict(batch)]


def build_strategy_inputs(tier: "Tier", name: StrategyName) -> "StrategyInputs":
    """What a strategy may look at beside what models predict.

    Args:
        tier: The current model.
        name: Of the strategy.

    Returns:
        What an encoder has; nothing where the model is none.

    Raises:
        InputError: If the strategy cannot do without.
    """
    from tagalong.backend.models.encoder.tier import EncoderTier
    from tagalong.training.curate.embeddings import embed_documents
    from tagalong.training.curate.strategies import STRATEGIES, StrategyInputs
    from tagalong.training.curate.tag_distributions import predict_tag_distributions as ask_words

    if isinstance(tier, EncoderTier):
        return StrategyInputs(
            document_vectors=partial(embed_documents, tier),
            tag_distributions=partial(ask_words, tier),
        )
    if needs := STRATEGIES[name].required_inputs - {"other_predictions"}:
        raise InputError(
            f"the strategy {name} asks for {' and '.join(sorted(needs))}, which only an encoder "
            f"has, and {tier.version} is none: name an encoder with --model, or choose another "
            "strategy, such as uncertainty"
        )
    return StrategyInputs()
