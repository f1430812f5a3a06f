"""The LLM tier: documents to predictions with a decoder, drafted by another tier.

Documents are laid out in windows, windows of similar length share a batch, and a batch that does
not fit into memory is halved. The same words and tags come out as of the encoder, so that scores,
temperature and length buckets compare.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from tagalong.backend.models.base_models.load_options import Drafter
from tagalong.backend.models.base_models.memory import is_out_of_memory
from tagalong.backend.models.decoding.predictions import decode_prediction, log_softmax
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.llm.decoding import DecodedWindow, DecodingMode, SlotDecoder
from tagalong.backend.models.llm.prompt import PromptBuilder, PromptWindow
from tagalong.backend.models.llm.throughput import MIN_MEASUREMENT_SECONDS, ThroughputEstimate
from tagalong.backend.models.text.window_encoder import batch_by_length
from tagalong.backend.models.tier import Tier
from tagalong.backend.models.tier.decoding_stats import DecodingStats
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import OutOfMemoryError
from tagalong.ner.tags import OUTSIDE, TagSet
from tagalong.ner.words import word_offsets

WARM_UP_TEXT = (
    "Naloxone reverses the antihypertensive effect of clonidine in hypertensive rats. " * 4
)


class LLMTier(Tier):
    """A decoder that answers in a few passes.

    Args:
        decoder: Fills slots.
        prompt_builder: Lays texts out.
        tag_set: The tags.
        version: Named in every prediction.
        temperature: See `tagalong.backend.models.decoding.predictions.log_softmax`.
        drafter: Says what the tags may be; None drafts O everywhere.
        decoding_mode: How slots are filled.
    """

    max_batch_tokens = 16384  # padded tokens of a batch: what a pass over them keeps in memory
    max_batch_rows = 16
    documents_per_chunk = 64  # documents in the air at once
    decoding_stats: DecodingStats

    def __init__(
        self,
        decoder: SlotDecoder,
        prompt_builder: PromptBuilder,
        *,
        tag_set: TagSet,
        version: str,
        temperature: float = 1.0,
        drafter: Drafter | None = None,
        decoding_mode: DecodingMode = "verified",
    ) -> None:
        self.decoder, self.prompt_builder = decoder, prompt_builder
        self.tag_set, self.labels = tag_set, tag_set.labels
        self.version = version
        self.temperature = temperature
        self.drafter = drafter
        self.decoding_mode = decoding_mode
        self.decoding_stats = DecodingStats()
        self.throughput = ThroughputEstimate()

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """Find the entities of documents.

        Args:
            documents: Only their texts count.

        Returns:
            One prediction per document, in the same order, empty ones included.

        Raises:
            OutOfMemoryError: If not even one window fits.
        """
        predictions = []
        for start in range(0, len(documents), self.documents_per_chunk):
            chunk = documents[start : start + self.documents_per_chunk]
            words = [word_offsets(document.text) for document in chunk]
            began = time.perf_counter()
            decided = self.decode_words(chunk, words)
            self.throughput.update(sum(map(len, words)), time.perf_counter() - began)
            for offsets, (tags, logits) in zip(words, decided, strict=True):
                log_probs = log_softmax(logits, temperature=self.temperature)
                predictions.append(
                    decode_prediction(
                        offsets, log_probs, tag_set=self.tag_set, version=self.version, tags=tags
                    )
                )
        return predictions

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
        """Say beforehand what predictions will take.

        Args:
            documents: Only their texts count.

        Returns:
            Seconds for each; 0 where nothing was measured yet.
        """
        return [
            self.throughput.estimate_seconds(len(word_offsets(entry.text))) for entry in documents
        ]

    def warm_up(self) -> None:
        """Predict something, more and more at once until it takes a while, to measure the pace."""
        for count in (1, 4, self.max_batch_rows):
            documents = [Document("", WARM_UP_TEXT)] * count
            began = time.perf_counter()
            self.predict(documents)
            taken = time.perf_counter() - began
            self.throughput.update(count * len(word_offsets(WARM_UP_TEXT)), taken, reset=True)
            if taken > MIN_MEASUREMENT_SECONDS:
                break

    def decode_words(
        self, documents: Sequence[Document], words: Sequence[Sequence[tuple[int, int]]]
    ) -> list[tuple[list[int], FloatArray]]:
        """Run the model.

        Args:
            documents: Only their texts count.
            words: Offsets of each document's words.

        Returns:
            For each document a legal tag per word, and logits of shape (words, tags) before any
            temperature, each word's given the tags before it.

        Raises:
            OutOfMemoryError: If not even one window fits.
        """
        width = len(self.tag_set)
        tags = [[OUTSIDE] * len(offsets) for offsets in words]
        logits: list[FloatArray] = [
            np.zeros((len(offsets), width), np.float32) for offsets in words
        ]
        layouts = self.prompt_builder.build([document.text for document in documents], words)
        drafts = self._draft_tags(documents)
        for batch in self._batches(layouts):
            rows = [layouts[index] for index in batch]
            own = None
            if drafts is not None:
                own = [drafts[row.document_index][row.words.start : row.words.stop] for row in rows]
            for row, decoded in zip(rows, self._decode(rows, own), strict=True):
                first = row.words.start
                inside = slice(row.owned_words.start - first, row.owned_words.stop - first)
                tags[row.document_index][row.owned_words.start : row.owned_words.stop] = (
                    decoded.tags[inside]
                )
                logits[row.document_index][row.owned_words.start : row.owned_words.stop] = (
                    decoded.logits[inside]
                )
        self.decoding_stats += DecodingStats(documents=len(documents))
        return [
            (self._join_windows(entry), scores) for entry, scores in zip(tags, logits, strict=True)
        ]

    def _draft_tags(self, documents: Sequence[Document]) -> list[Sequence[int]] | None:
        """What the drafter says, as tags; labels that this tier lacks are drafted as O."""
        if self.drafter is None or self.decoding_mode != "verified":
            return None
        drafts = []
        for document, prediction in zip(documents, self.drafter(documents), strict=True):
            spans = tuple(span for span in prediction.spans if span.label in self.labels)
            drafted = self.tag_set.encode(Document(document.id, document.text, spans))
            drafts.append([max(tag, OUTSIDE) for tag in drafted.tags])
        return drafts  # type: ignore[return-value]

    def _batches(self, layouts: Sequence[PromptWindow]) -> Iterator[list[int]]:
        """Windows of similar length, at most `batch_rows` of them."""
        lengths = [len(layout.input_ids) for layout in layouts]
        for batch in batch_by_length(lengths, max_tokens=self.max_batch_tokens):
            for start in range(0, len(batch), self.max_batch_rows):
                yield batch[start : start + self.max_batch_rows]

    def _decode(
        self, rows: Sequence[PromptWindow], drafts: Sequence[Sequence[int]] | None
    ) -> list[DecodedWindow]:
        """Decode a batch; where memory does not suffice, its halves."""
        try:
            found = self.decoder.decode(rows, drafts, decoding_mode=self.decoding_mode)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise OutOfMemoryError(
                    f"a window of {len(rows[0].input_ids)} tokens does not fit into memory: serve the "
                    "version in 4 bits, or train it with a smaller --window"
                ) from error
        else:
            self.decoding_stats += DecodingStats(
                passes=sum(entry.passes for entry in found),
                slots=sum(len(entry.tags) for entry in found),
                tokens=sum(entry.tokens for entry in found),
                accepted=sum(entry.accepted for entry in found),
            )
            return found
        half = len(rows) // 2  # outside the handler, which would hold on to what did not fit
        first, second = (None, None) if drafts is None else (drafts[:half], drafts[half:])
        return self._decode(rows[:half], first) + self._decode(rows[half:], second)

    def _join_windows(self, tags: Sequence[int]) -> list[int]:
        """Tags of windows side by side: an I- that follows nothing it may begins an entity."""
        joined: list[int] = []
        for tag in tags:
            before = joined[-1] if joined else None
            joined.append(tag if self.tag_set.may_follow(tag, before) else tag - 1)
        return joined
