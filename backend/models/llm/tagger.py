"""The LLM tier: predictions by a decoder, which verifies the drafts of another tier.

Windows of similar length share a batch, and a batch that does not fit into memory is halved. Words
and tags are those of the encoder, so that scores, temperature and length buckets compare.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from tagalong.backend.models.base_models.load_options import Drafter
from tagalong.backend.models.base_models.memory import is_out_of_memory
from tagalong.backend.models.decoding.predictions import decode_prediction, log_softmax
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.llm.prompt import PROMPT_VERSION, PromptBuilder, PromptWindow
from tagalong.backend.models.llm.slot_decoder import DecodedWindow, DecodingMode, SlotDecoder
from tagalong.backend.models.tagger import DecodingStats, DocumentTagger, ThroughputEstimate
from tagalong.backend.models.text.subwords import WordOffsets
from tagalong.backend.models.text.windows import EncodedDocument, batch_by_length
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import OutOfMemoryError
from tagalong.ner.manifest import WORD_RULE_KEY
from tagalong.ner.tags import OUTSIDE, TagSet

WARM_UP_TEXT = (
    "Naloxone reverses the antihypertensive effect of clonidine in hypertensive rats. " * 4
)
MIN_MEASUREMENT_SECONDS = 1.0  # a shorter run measures its overhead more than the throughput


TagsAndLogits = tuple[list[int], FloatArray]  # a tag per word; logits of shape (words, tags)


@dataclass(frozen=True, slots=True)
class EncodedPrompts(EncodedDocument[PromptWindow]):
    """A document, or a part of it, as prompts."""

    draft: Sequence[int]  # a tag for each word of the document


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
        # A CPU gains little from a batch, and other requests wait for it.
        on_cpu = slot_decoder.scorer.model.device.type == "cpu"
        self.parts_per_turn = 2 if on_cpu else self.max_batch_rows
        self.throughput = ThroughputEstimate(min_seconds=MIN_MEASUREMENT_SECONDS)

    def config_to_json(self) -> Mapping[str, Any]:
        """The format of the prompt, the token of each tag, and the word rule."""
        verbalizers = self.prompt_builder.verbalizers.to_json(self.tag_set)
        rule = self.tag_set.word_rule.name
        return {"prompt": PROMPT_VERSION, "verbalisers": verbalizers, WORD_RULE_KEY: rule}

    def calibration_to_json(self) -> Mapping[str, Any]:
        """The temperature."""
        return {"temperature": round(self.temperature, 4)}

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """One prediction per document, in the same order, empty ones included.

        Raises `OutOfMemoryError` where not even one window fits.
        """
        predictions = []
        for start in range(0, len(documents), self.documents_per_chunk):
            encoded = self.encode(documents[start : start + self.documents_per_chunk])
            for one, output in zip(encoded, self.run(encoded), strict=True):
                predictions.append(self.decode(one, [output]))
        return predictions

    def encode(self, documents: Sequence[Document]) -> list[EncodedPrompts]:
        """Draft the tags of each document, and build its prompts."""
        find_words = self.tag_set.word_rule.find_words
        words = [find_words(document.text) for document in documents]
        windows: list[list[PromptWindow]] = [[] for _ in documents]
        for window in self.prompt_builder.build([document.text for document in documents], words):
            windows[window.document_index].append(window)
        drafts = self._draft_tags(documents, words)
        return list(map(EncodedPrompts, documents, words, windows, drafts))

    def split(self, encoded: EncodedPrompts) -> list[EncodedPrompts]:
        """Split a long document into its windows."""
        return encoded.split(windows_per_part=1)

    def run(self, parts: Sequence[EncodedPrompts]) -> list[TagsAndLogits]:
        """Tag the owned words of each part, with uncalibrated logits given the tags before.

        Raises `OutOfMemoryError` where not even one window fits.
        """
        with self.throughput.measure(sum(part.owned_characters for part in parts)):
            return self._run(parts)

    def decode(self, encoded: EncodedPrompts, outputs: Sequence[TagsAndLogits]) -> Prediction:
        """Calibrate the logits of a document, and decode its entities."""
        tags, logits = self._join(outputs)
        log_probs = log_softmax(logits, temperature=self.temperature)
        return decode_prediction(
            encoded.words, log_probs, tag_set=self.tag_set, version=self.version, tags=tags
        )

    def estimate_seconds(self, documents: Sequence[Document]) -> list[float]:
        """Seconds that each document takes without other work; empty before the first run."""
        return self.throughput.estimate_seconds(documents)

    def warm_up(self) -> None:
        """Measure the throughput, on larger batches until one takes long enough."""
        for count in (1, 4, self.max_batch_rows):
            documents = [Document("", WARM_UP_TEXT)] * count
            start = time.perf_counter()
            self.predict(documents)
            seconds = time.perf_counter() - start
            self.throughput.update(count * len(WARM_UP_TEXT), seconds, reset=True)
            if seconds > MIN_MEASUREMENT_SECONDS:
                break

    def decode_words(self, documents: Sequence[Document]) -> list[TagsAndLogits]:
        """Tag the words of documents.

        Returns for each document a legal tag per word, and uncalibrated logits of shape (words,
        tags), each word's given the tags before it. Raises `OutOfMemoryError` where not even one
        window fits.
        """
        return [self._join([output]) for output in self.run(self.encode(documents))]

    def _join(self, outputs: Sequence[TagsAndLogits]) -> TagsAndLogits:
        """Join the outputs of the parts of one document."""
        tags = [*chain.from_iterable(of_part for of_part, _ in outputs)]
        # An entity may end with its window: then an I- tag follows none.
        return self.tag_set.legalize(tags), np.concatenate([logits for _, logits in outputs])

    def _run(self, parts: Sequence[EncodedPrompts]) -> list[TagsAndLogits]:
        width = len(self.tag_set)
        outputs: list[TagsAndLogits] = []
        rows: list[tuple[PromptWindow, EncodedPrompts, TagsAndLogits]] = []
        for part in parts:
            count = len(part.owned_words)
            outputs.append(([OUTSIDE] * count, np.zeros((count, width), np.float32)))
            rows += [(window, part, outputs[-1]) for window in part.windows]
        for batch in self._plan_batches([len(window.input_ids) for window, _, _ in rows]):
            windows = [rows[index][0] for index in batch]
            drafts = [
                rows[index][1].draft[window.words.start : window.words.stop]
                for index, window in zip(batch, windows, strict=True)
            ]
            for index, decoded in zip(batch, self._decode(windows, drafts), strict=True):
                window, part, (tags, logits) = rows[index]
                start = window.owned_words.start - part.owned_words.start
                owned = slice(start, start + len(window.owned_words))
                tags[owned] = decoded.tags[window.owned_slice]
                logits[owned] = decoded.logits[window.owned_slice]
        finished = sum(part.owned_words.stop == len(part.words) for part in parts)
        self.decoding_stats += DecodingStats(documents=finished)
        return outputs

    def _draft_tags(
        self, documents: Sequence[Document], words: Sequence[WordOffsets]
    ) -> Iterator[list[int]]:
        """The drafts as tags.

        O is drafted for labels that this tagger lacks. So it is for entities with an edge inside
        one of its words, where the drafter has another word rule.
        """
        if self.drafter is None or self.decoding_mode != "verified":
            yield from ([OUTSIDE] * len(of_document) for of_document in words)
            return
        for document, prediction in zip(documents, self.drafter(documents), strict=True):
            spans = tuple(span for span in prediction.spans if span.label in self.labels)
            drafted = self.tag_set.encode(Document(document.id, document.text, spans))
            yield [max(tag, OUTSIDE) for tag in drafted.tags]  # none is ignored here

    def _plan_batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Group windows of similar length."""
        for batch in batch_by_length(lengths, max_tokens=self.max_batch_tokens):
            for start in range(0, len(batch), self.max_batch_rows):
                yield batch[start : start + self.max_batch_rows]

    def _decode(
        self, windows: Sequence[PromptWindow], drafts: Sequence[Sequence[int]]
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
        first = self._decode(windows[:half], drafts[:half])
        return first + self._decode(windows[half:], drafts[half:])
