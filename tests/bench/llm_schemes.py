"""Decodings of one model and their costs, for benchmarks on a CPU and on a GPU."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tagalong.backend.models.base_models.load_options import Precision
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.llm.checkpoint import build_slot_decoder
from tagalong.backend.models.llm.prompt import PromptBuilder, PromptWindow, choose_verbalizers
from tagalong.backend.models.llm.slot_decoder import DecodedWindow, DecodingMode
from tagalong.ner.document import Document
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets
from tests.bench.paper_decoding import PaperDecoder

LABELS = ("Chemical", "Disease")
SEED = 20261125

Cost = tuple[list[int], int]  # model calls in sequence for each document, and tokens run
Scheme = Callable[[Sequence[Document]], Cost]


class Schemes:
    """The decodings of one decoder.

    Args:
        model: Decoder on its device, in evaluation mode.
        tokenizer: Tokenizer of the decoder.
        window: Maximum tokens of a window.
        precision: Arithmetic of the slots' passes.

    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        window: int,
        precision: Precision,
    ) -> None:
        self.tags = TagSet(LABELS)
        verbalizers = choose_verbalizers(tokenizer, self.tags)
        self._prompt_builder = PromptBuilder(tokenizer, self.tags, verbalizers, window=window)
        self._decoder = build_slot_decoder(
            model, self._prompt_builder, self.tags, precision=precision
        )
        self._paper_decoder = PaperDecoder(model, tokenizer, self.tags)
        self._reference_tags: dict[str, tuple[int, ...]] = {}

    def prepare(self, documents: Sequence[Document]) -> None:
        """Compute the decoder's tags of documents, from which drafts are made."""
        for document in documents:
            (decoded,) = self._decoder.decode(self._build_windows([document]))
            self._reference_tags[document.id] = decoded.tags

    def slot_scheme(self, decoding: DecodingMode, *, agreement: float | None = None) -> Scheme:
        """Make a scheme that fills slots.

        With an agreement, drafts are the reference tags, of which the other share is replaced.
        """

        def scheme(documents: Sequence[Document]) -> Cost:
            drafts = None
            if agreement is not None:
                drafts = [self._make_draft(document, agreement) for document in documents]
            decoded: list[DecodedWindow] = self._decoder.decode(
                self._build_windows(documents), drafts, decoding_mode=decoding
            )
            return [entry.passes for entry in decoded], sum(entry.tokens for entry in decoded)

        return scheme

    def generation_scheme(self, documents: Sequence[Document]) -> Cost:
        """Generate words and tags, as the study did."""
        answers = self._paper_decoder.decode(documents)
        return [entry.steps for entry in answers], sum(entry.tokens for entry in answers)

    def _make_draft(self, document: Document, agreement: float) -> list[int]:
        random = Random(f"{SEED}{document.id}")
        return [
            tag if random.random() < agreement else random.randrange(len(self.tags))
            for tag in self._reference_tags[document.id]
        ]

    def _build_windows(self, documents: Sequence[Document]) -> list[PromptWindow]:
        """Build one window for each document: none is longer."""
        words = [word_offsets(document.text) for document in documents]
        layouts = self._prompt_builder.build([document.text for document in documents], words)
        assert len(layouts) == len(documents)
        return layouts


def encoder_scheme(tagger: EncoderTagger) -> Scheme:
    """Make a scheme that tags with an encoder."""

    def scheme(documents: Sequence[Document]) -> Cost:
        tagger.predict(documents)
        words = [word_offsets(document.text) for document in documents]
        windows = tagger.window_encoder.encode([document.text for document in documents], words)
        return [1] * len(documents), sum(len(window.input_ids) for window in windows)

    return scheme


@dataclass(slots=True)
class SchemeCost:
    """Cost of a scheme.

    Attributes:
        seconds: Time of each turn.
        passes: Sequential model calls of each document.
        tokens: Processed tokens of all documents.
        words: Tagged words of all documents.
        documents: Documents of a turn.

    """

    seconds: list[float] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    tokens: int = 0
    words: int = 0
    documents: int = 0


def time_schemes(
    schemes: Mapping[str, Scheme], batches: Sequence[Sequence[Document]], *, rounds: int = 1
) -> dict[str, SchemeCost]:
    """Run every scheme on every batch, in a different order each time.

    Args:
        schemes: Schemes by name.
        batches: Documents to tag together.
        rounds: Number of rounds.

    Returns:
        The cost of each scheme.

    """
    costs = {name: SchemeCost() for name in schemes}
    for turn in range(rounds):
        for number, batch in enumerate(batches):
            names = list(schemes)
            Random(turn * len(batches) + number).shuffle(names)
            for name in names:
                start = time.perf_counter()
                passes, tokens = schemes[name](batch)
                costs[name].seconds.append(time.perf_counter() - start)
                if turn == 0:
                    costs[name].passes += passes
                    costs[name].tokens += tokens
                    costs[name].words += sum(len(word_offsets(one.text)) for one in batch)
                    costs[name].documents += len(batch)
    return costs


def format_ratios(costs: Mapping[str, SchemeCost], *, reference: str) -> Iterator[str]:
    """Format a Markdown table of relative times; absolute ones depend on the machine.

    Args:
        costs: Result of `time_schemes`.
        reference: Name of the scheme whose times all others are divided by, batch by batch.

    Yields:
        Lines.

    """
    heading = f"time / {reference} (min to max)"
    yield f"| decoding | passes, mean (max) | tokens run per word | {heading} |"
    yield "|---|---:|---:|---:|"
    for name, cost in costs.items():
        pairs = zip(cost.seconds, costs[reference].seconds, strict=True)
        time_ratios = [seconds / reference_seconds for seconds, reference_seconds in pairs]
        mean_passes = sum(cost.passes) / len(cost.passes)
        yield (
            f"| {name} | {mean_passes:.1f} ({max(cost.passes)}) | {cost.tokens / cost.words:.2f} "
            f"| **{median(time_ratios):.2f}** ({min(time_ratios):.2f} to {max(time_ratios):.2f}) |"
        )
