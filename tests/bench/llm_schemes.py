"""Every decoding of one decoder, and its cost: for benchmarks on a CPU and on a GPU."""

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
        self._planner = PromptBuilder(tokenizer, self.tags, verbalizers, window=window)
        self._decoder = build_slot_decoder(model, self._planner, self.tags, precision=precision)
        self._paper = PaperDecoder(model, tokenizer, self.tags)
        self._own: dict[str, tuple[int, ...]] = {}

    def prepare(self, documents: Sequence[Document]) -> None:
        """Compute the decoder's own tags, as the source of drafts."""
        for document in documents:
            (decoded,) = self._decoder.decode(self._laid_out([document]))
            self._own[document.id] = decoded.tags

    def slots(self, decoding: DecodingMode, *, agreement: float | None = None) -> Scheme:
        """Fill slots from drafts: the decoder's own tags, of which some are replaced."""

        def scheme(documents: Sequence[Document]) -> Cost:
            drafts = None
            if agreement is not None:
                drafts = [self._draft_of(document, agreement) for document in documents]
            found: list[DecodedWindow] = self._decoder.decode(
                self._laid_out(documents), drafts, decoding_mode=decoding
            )
            return [entry.passes for entry in found], sum(entry.tokens for entry in found)

        return scheme

    def generated(self, documents: Sequence[Document]) -> Cost:
        """Generate words and tags, as the study did."""
        found = self._paper.decode(documents)
        return [entry.steps for entry in found], sum(entry.tokens for entry in found)

    def _draft_of(self, document: Document, agreement: float) -> list[int]:
        chance = Random(f"{SEED}{document.id}")
        return [
            tag if chance.random() < agreement else chance.randrange(len(self.tags))
            for tag in self._own[document.id]
        ]

    def _laid_out(self, documents: Sequence[Document]) -> list[PromptWindow]:
        """One window a document: none is longer."""
        words = [word_offsets(document.text) for document in documents]
        layouts = self._planner.build([document.text for document in documents], words)
        assert len(layouts) == len(documents)
        return layouts


def at_once(tagger: EncoderTagger) -> Scheme:
    """Tag with an encoder."""

    def scheme(documents: Sequence[Document]) -> Cost:
        tagger.predict(documents)
        words = [word_offsets(document.text) for document in documents]
        windows = tagger.window_encoder.encode([document.text for document in documents], words)
        return [1] * len(documents), sum(len(window.input_ids) for window in windows)

    return scheme


@dataclass(slots=True)
class Measured:
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


def measure(
    schemes: Mapping[str, Scheme], batches: Sequence[Sequence[Document]], *, rounds: int = 1
) -> dict[str, Measured]:
    """Run every scheme on every batch, in a different order each time.

    Args:
        schemes: Schemes by name.
        batches: Documents to tag together.
        rounds: Number of rounds.

    Returns:
        The cost of each scheme.

    """
    found = {name: Measured() for name in schemes}
    for turn in range(rounds):
        for number, batch in enumerate(batches):
            names = list(schemes)
            Random(turn * len(batches) + number).shuffle(names)
            for name in names:
                start = time.perf_counter()
                passes, tokens = schemes[name](batch)
                found[name].seconds.append(time.perf_counter() - start)
                if turn == 0:
                    found[name].passes += passes
                    found[name].tokens += tokens
                    found[name].words += sum(len(word_offsets(one.text)) for one in batch)
                    found[name].documents += len(batch)
    return found


def ratios(found: Mapping[str, Measured], *, to: str) -> Iterator[str]:
    """Rows of a Markdown table, without absolute times, which depend on the machine.

    Args:
        found: Result of `measure`.
        to: Scheme that all are divided by, turn by turn.

    Yields:
        Lines.

    """
    yield f"| decoding | passes, mean (max) | tokens run per word | time / {to} (min to max) |"
    yield "|---|---:|---:|---:|"
    for name, one in found.items():
        each = [mine / its for mine, its in zip(one.seconds, found[to].seconds, strict=True)]
        mean = sum(one.passes) / len(one.passes)
        yield (
            f"| {name} | {mean:.1f} ({max(one.passes)}) | {one.tokens / one.words:.2f} "
            f"| **{median(each):.2f}** ({min(each):.2f} to {max(each):.2f}) |"
        )
