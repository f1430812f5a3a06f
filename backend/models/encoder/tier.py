"""The encoder tier: documents to predictions with any token-classification model.

Windows of similar length share a batch; whatever runs it, what the scores of words become is the
same.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tagalong.backend.models.decoding.consistency import ScoreRefiner
from tagalong.backend.models.decoding.predictions import decode_prediction, log_softmax
from tagalong.backend.models.decoding.viterbi import FloatArray
from tagalong.backend.models.encoder.runner import ModelInputs, ModelRunner
from tagalong.backend.models.text.window_encoder import EncodedWindow, WindowEncoder
from tagalong.backend.models.tier import Tier
from tagalong.ner.document import Document, Prediction
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets

WordOffsets = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """A document as the model reads it.

    Attributes:
        document: Only its text counts.
        words: Their offsets.
        windows: Together they own each word once.
    """

    document: Document
    words: WordOffsets
    windows: Sequence[EncodedWindow]


class EncoderTier(Tier):
    """A token-classification model that answers in real time.

    Args:
        runner: Runs the model.
        window_encoder: Turns documents into windows with the model's own tokenizer.
        tag_set: The tags, in the order of the model's outputs.
        version: Named in every prediction.
        temperature: See `tagalong.backend.models.decoding.predictions.log_softmax`.
        score_refiner: How the words of a document bear on each other.
    """

    # Documents in the air at once: memory does not grow with a batch, and while a chunk runs it is
    # found out what the scores of the one before it say. Of those on lanes each has its own.
    documents_per_chunk = 64
    documents_per_stream = 16

    def __init__(
        self,
        runner: ModelRunner,
        window_encoder: WindowEncoder,
        *,
        tag_set: TagSet,
        version: str,
        temperature: float = 1.0,
        score_refiner: ScoreRefiner | None = None,
    ) -> None:
        self.runner = runner
        self.window_encoder = window_encoder
        self.tag_set, self.labels = tag_set, tag_set.labels
        self.version = version
        self.temperature = temperature
        self.score_refiner = score_refiner or ScoreRefiner()

    @property
    def runtime_name(self) -> str:
        """The library and the arithmetic that run the model."""
        return self.runner.name

    @property
    def can_use_openvino(self) -> bool:
        """Whether OpenVINO could run the model faster."""
        return self.runner.can_use_openvino

    @property
    def streams(self) -> int:
        """Batches that the model runs at the same time."""
        return self.runner.streams

    @property
    def documents_per_request_chunk(self) -> int:
        """Documents of one request that are queued together."""
        return self.runner.documents_per_request_chunk

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """Find the entities of documents.

        Args:
            documents: Only their texts count.

        Returns:
            One prediction per document, in the same order, empty ones included.
        """
        lanes = self.runner.streams
        size = self.documents_per_chunk
        if lanes > 1:  # few documents are enough to give every lane some
            size = max(1, min(self.documents_per_stream, -(-len(documents) // lanes)))
        chunks = [documents[start : start + size] for start in range(0, len(documents), size)]
        if len(chunks) <= 1:
            return [one for chunk in chunks for one in self._predict(chunk)]
        if lanes > 1:
            with ThreadPoolExecutor(lanes) as pool:
                return [one for found in pool.map(self._predict, chunks) for one in found]
        with ThreadPoolExecutor(1) as decoder:
            waiting = [
                decoder.submit(self._decode_all, *self._encode_and_compute(chunk))
                for chunk in chunks
            ]
            return [prediction for future in waiting for prediction in future.result()]

    def _predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """All that is done for some documents, one after the other."""
        return self._decode_all(*self._encode_and_compute(documents))

    def _encode_and_compute(
        self, documents: Sequence[Document]
    ) -> tuple[list[EncodedDocument], list[FloatArray]]:
        """Documents as they were read, and their scores."""
        read = self.encode(documents)
        return read, self.compute_logits(read)

    def _decode_all(
        self, read: Sequence[EncodedDocument], scores: Sequence[FloatArray]
    ) -> list[Prediction]:
        """What the scores of documents say."""
        return list(map(self.decode, read, scores))

    def encode(self, documents: Sequence[Document]) -> list[EncodedDocument]:
        """Do what comes before the passes.

        Args:
            documents: Only their texts count.

        Returns:
            Each with its words and its windows, in the same order.
        """
        words: list[WordOffsets] = [word_offsets(document.text) for document in documents]
        windows: list[list[EncodedWindow]] = [[] for _ in documents]
        for window in self.window_encoder.encode([document.text for document in documents], words):
            windows[window.document_index].append(window)
        return list(map(EncodedDocument, documents, words, windows))

    def compute_logits(self, documents: Sequence[EncodedDocument]) -> list[FloatArray]:
        """Run the model.

        Args:
            documents: Documents, as `read` gives them.

        Returns:
            Logits of shape (words, tags) per document, before any coupling and temperature.
        """
        return self.collect_word_values(
            documents, self.runner.compute_logits, width=len(self.tag_set)
        )

    def run(self, encoded: Sequence[EncodedDocument]) -> list[FloatArray]:
        """See `compute_logits`."""
        return self.compute_logits(encoded)

    def decode(self, encoded: EncodedDocument, output: FloatArray) -> Prediction:
        """Do what comes after the passes: find what the scores of a document's words say together.

        Args:
            encoded: The document.
            output: As `compute_logits` gives it.

        Returns:
            The prediction.
        """
        shared = self.score_refiner.smooth(encoded.document.text, encoded.words, output)
        return decode_prediction(
            encoded.words,
            log_softmax(shared, temperature=self.temperature),
            tag_set=self.tag_set,
            version=self.version,
            transitions=self.score_refiner.transition_matrix(),
        )

    def collect_word_values(
        self,
        documents: Sequence[EncodedDocument],
        run: Callable[[ModelInputs], FloatArray],
        *,
        width: int,
    ) -> list[FloatArray]:
        """Collect what a pass gives for the words, each from the window that owns it.

        Args:
            documents: Documents, as `read` gives them.
            run: Gives something for every sub-word of a batch: (windows, longest, width).
            width: How much that is.

        Returns:
            Of shape (words, width) per document, from the first sub-word of each word.
        """
        found: list[FloatArray] = [
            np.zeros((len(one.words), width), np.float32) for one in documents
        ]
        windows = [
            (window, of_words)
            for one, of_words in zip(documents, found, strict=True)
            for window in one.windows
        ]
        for batch in self.runner.plan_batches([len(window.input_ids) for window, _ in windows]):
            rows = [windows[place] for place in batch]
            padded = self.window_encoder.pad(
                [window for window, _ in rows], pad_to_multiple_of=self.runner.pad_to_multiple_of
            )
            for (window, of_words), row in zip(rows, run(padded), strict=True):
                owned = slice(window.owned_words.start, window.owned_words.stop)
                of_words[owned] = row[window.owned_positions]
        return found
