"""The LLM tier: predictions by a decoder, which verifies the drafts of another tier.

Windows of similar length share a batch, and a batch that does not fit into memory is halved. Words
and tags are those of the encoder, so that scores, temperature and length buckets compare.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tagalong.backend.models.base_models.load_options import Drafter
from tagalong.backend.models.base_models.memory import is_out_of_memory
from tagalong.backend.models.decoding.predictions import decode_prediction, log_softmax
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.llm.prompt import PROMPT_VERSION, PromptBuilder, PromptWindow
from tagalong.backend.models.llm.slot_decoder import DecodedWindow, DecodingMode, SlotDecoder
from tagalong.backend.models.tagger import DecodingStats, DocumentTagger
from tagalong.backend.models.text.subwords import WordOffsets
from tagalong.backend.models.text.windows import batch_by_length
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import OutOfMemoryError
from tagalong.ner.tags import OUTSIDE, TagSet
from tagalong.ner.words import word_offsets

WARM_UP_TEXT = (
    "Naloxone reverses the antihypertensive effect of clonidine in hypertensive rats. " * 4
)
MIN_MEASUREMENT_SECONDS = 1.0  # a shorter run measures its overhead more than the throughput
DECAY = 0.8  # weight of the earlier measurements at each new one


class ThroughputEstimate:
    """Words per second, over the latest runs that were long enough."""

    def __init__(self) -> None:
        self._words = self._seconds = 0.0

    def update(self, words: int, seconds: float, *, reset: bool = False) -> None:
        """Add a measurement; `reset` takes it alone, however short it was."""
        if reset:
            self._words, self._seconds = float(words), seconds
        elif seconds >= MIN_MEASUREMENT_SECONDS and words:
            self._words = DECAY * self._words + words
            self._seconds = DECAY * self._seconds + seconds

    def estimate_seconds(self, words: int) -> float:
        """Seconds to tag some words; 0 before the first measurement."""
        return words * self._seconds / self._words if self._words else 0.0


class LLMTagger(DocumentTagger):
    """A decoder that answers in a few passes; without a drafter, O is drafted everywhere."""

    max_batch_tokens = 16384  # padded tokens: bounds the memory of a pass
    max_batch_rows = 16
    documents_per_chunk = 64
    decoding_mode: DecodingMode = "verified"
    decoding_stats: DecodingStats

    def __init__(
        self,
        slot_decoder: SlotDecoder,
        prompt_builder: PromptBuilder,
        *,
        tag_set: TagSet,
        version: str,
        temperature: float = 1.0,
        drafter: Drafter | None = None,
    ) -> None:
        self.slot_decoder, self.prompt_builder = slot_decoder, prompt_builder
        self.tag_set, self.labels = tag_set, tag_set.labels
        self.version = version
        self.temperature = temperature
        self.drafter = drafter
        self.decoding_stats = DecodingStats()
        self.throughput = ThroughputEstimate()

    def config_to_json(self) -> Mapping[str, Any]:
        """The format of the prompt, and the token of each tag."""
        verbalizers = self.prompt_builder.verbalizers.to_json(self.tag_set)
        return {"prompt": PROMPT_VERSION, "verbalisers": verbalizers}

    def calibration_to_json(self) -> Mapping[str, Any]:
        """The temperature."""
        return {"temperature": round(self.temperature, 4)}

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """One prediction per document, in the same order, empty ones included.

        Raises `OutOfMemoryError` where not even one window fits.
        """
        predictions = []
        for start in range(0, len(documents), self.documents_per_chunk):
            chunk = documents[start : start + self.documents_per_chunk]
            words = [word_offsets(document.text) for document in chunk]
            began = time.perf_counter()
            decoded = self.decode_words(chunk, words)
            self.throughput.update(sum(map(len, words)), time.perf_counter() - began)
            for offsets, (tags, logits) in zip(words, decoded, strict=True):
                log_probs = log_softmax(logits, temperature=self.temperature)
                predictions.append(
                    decode_prediction(
                        offsets, log_probs, tag_set=self.tag_set, version=self.version, tags=tags
                    )
                )
        return predictions

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
        """Seconds that each document will take; 0 before the first measurement."""
        return [
            self.throughput.estimate_seconds(len(word_offsets(document.text)))
            for document in documents
        ]

    def warm_up(self) -> None:
        """Measure the throughput, on larger batches until one takes long enough."""
        for count in (1, 4, self.max_batch_rows):
            documents = [Document("", WARM_UP_TEXT)] * count
            start = time.perf_counter()
            self.predict(documents)
            seconds = time.perf_counter() - start
            self.throughput.update(count * len(word_offsets(WARM_UP_TEXT)), seconds, reset=True)
            if seconds > MIN_MEASUREMENT_SECONDS:
                break

    def decode_words(
        self, documents: Sequence[Document], words: Sequence[WordOffsets]
    ) -> list[tuple[list[int], FloatArray]]:
        """Tag the words of documents, given the offsets of the words.

        Returns for each document a legal tag per word, and uncalibrated logits of shape (words,
        tags), each word's given the tags before it. Raises `OutOfMemoryError` where not even one
        window fits.
        """
        width = len(self.tag_set)
        tags = [[OUTSIDE] * len(offsets) for offsets in words]
        logits = [np.zeros((len(offsets), width), np.float32) for offsets in words]
        windows = self.prompt_builder.build([document.text for document in documents], words)
        drafts = self._draft_tags(documents)
        for batch in self._batches(windows):
            window_drafts = drafts and [
                drafts[window.document_index][window.words.start : window.words.stop]
                for window in batch
            ]
            for window, decoded in zip(batch, self._decode(batch, window_drafts), strict=True):
                index, inside = window.document_index, window.owned_slice
                owned = slice(window.owned_words.start, window.owned_words.stop)
                tags[index][owned] = decoded.tags[inside]
                logits[index][owned] = decoded.logits[inside]
        self.decoding_stats += DecodingStats(documents=len(documents))
        # An entity may end with its window: then an I- tag follows none.
        return list(zip(map(self.tag_set.legalize, tags), logits, strict=True))

    def _draft_tags(self, documents: Sequence[Document]) -> list[list[int]] | None:
        """The drafts as tags; labels that this tagger lacks are drafted as O."""
        if self.drafter is None or self.decoding_mode != "verified":
            return None
        drafts = []
        for document, prediction in zip(documents, self.drafter(documents), strict=True):
            spans = tuple(span for span in prediction.spans if span.label in self.labels)
            drafted = self.tag_set.encode(Document(document.id, document.text, spans))
            drafts.append([max(tag, OUTSIDE) for tag in drafted.tags])  # none is ignored here
        return drafts

    def _batches(self, windows: Sequence[PromptWindow]) -> Iterator[list[PromptWindow]]:
        """Windows of similar length."""
        lengths = [len(window.input_ids) for window in windows]
        for batch in batch_by_length(lengths, max_tokens=self.max_batch_tokens):
            for start in range(0, len(batch), self.max_batch_rows):
                yield [windows[index] for index in batch[start : start + self.max_batch_rows]]

    def _decode(
        self, windows: Sequence[PromptWindow], drafts: Sequence[Sequence[int]] | None
    ) -> list[DecodedWindow]:
        """Decode a batch, or its halves where memory does not suffice."""
        try:
            decoded = self.slot_decoder.decode(windows, drafts, decoding_mode=self.decoding_mode)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(windows) == 1:
                raise OutOfMemoryError(
                    f"a window of {len(windows[0].input_ids)} tokens does not fit into memory: "
                    "serve the version in 4 bits, or train it with a smaller --window",
                    code="window-too-large-for-memory",
                ) from error
        else:
            self.decoding_stats += DecodingStats(
                passes=sum(window.passes for window in decoded),
                slots=sum(len(window.tags) for window in decoded),
                tokens=sum(window.tokens for window in decoded),
                accepted=sum(window.accepted for window in decoded),
            )
            return decoded
        # Outside the handler: the error keeps the tensors that did not fit alive.
        half = len(windows) // 2
        first, second = (None, None) if drafts is None else (drafts[:half], drafts[half:])
        return self._decode(windows[:half], first) + self._decode(windows[half:], second)
