"""The encoder tier: documents to predictions with any token-classification model.

Windows of similar length share a batch; whatever runs it, what the scores of words become is the
same.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from backend.coupling import Coupling
from backend.decode import log_softmax, predict
from backend.forward import Batch, Forward
from backend.viterbi import Scores
from backend.window_encoder import EncodedWindow, WindowEncoder
from ner.document import Document, Prediction
from ner.tags import TagSet
from ner.words import word_offsets

Words = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Read:
    """A document as the model reads it.

    Attributes:
        document: Only its text counts.
        words: Their offsets.
        windows: Together they own each word once.
    """

    document: Document
    words: Words
    windows: Sequence[EncodedWindow]


class EncoderTier:
    """A token-classification model that answers in real time.

    Args:
        forward: Runs the model.
        windows: Turns documents into windows with the model's own tokenizer.
        tag_set: The tags, in the order of the model's outputs.
        version: Named in every prediction.
        temperature: See `backend.decode.log_softmax`.
        coupling: How the words of a document bear on each other.
    """

    # Documents in the air at once: memory does not grow with a batch, and while a chunk runs it is
    # found out what the scores of the one before it say. Of those on lanes each has its own.
    chunk_documents = 64
    lane_documents = 16

    def __init__(
        self,
        forward: Forward,
        windows: WindowEncoder,
        *,
        tag_set: TagSet,
        version: str,
        temperature: float = 1.0,
        coupling: Coupling | None = None,
    ) -> None:
        self.forward = forward
        self.windows = windows
        self.tag_set = tag_set
        self.version = version
        self.temperature = temperature
        self.coupling = coupling or Coupling()

    @property
    def labels(self) -> tuple[str, ...]:
        """Entity types, in the order of the label config."""
        return self.tag_set.labels

    def predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """Find the entities of documents.

        Args:
            documents: Only their texts count.

        Returns:
            One prediction per document, in the same order, empty ones included.
        """
        lanes = self.forward.lanes
        size = self.chunk_documents
        if lanes > 1:  # few documents are enough to give every lane some
            size = max(1, min(self.lane_documents, -(-len(documents) // lanes)))
        chunks = [documents[start : start + size] for start in range(0, len(documents), size)]
        if len(chunks) <= 1:
            return [one for chunk in chunks for one in self._predict(chunk)]
        if lanes > 1:
            with ThreadPoolExecutor(lanes) as pool:
                return [one for found in pool.map(self._predict, chunks) for one in found]
        with ThreadPoolExecutor(1) as decoder:
            waiting = [decoder.submit(self._decide_all, *self._scored(chunk)) for chunk in chunks]
            return [prediction for future in waiting for prediction in future.result()]

    def _predict(self, documents: Sequence[Document]) -> list[Prediction]:
        """All that is done for some documents, one after the other."""
        return self._decide_all(*self._scored(documents))

    def _scored(self, documents: Sequence[Document]) -> tuple[list[Read], list[Scores]]:
        """Documents as they were read, and their scores."""
        read = self.read(documents)
        return read, self.score(read)

    def _decide_all(self, read: Sequence[Read], scores: Sequence[Scores]) -> list[Prediction]:
        """What the scores of documents say."""
        return list(map(self.decide, read, scores))

    def read(self, documents: Sequence[Document]) -> list[Read]:
        """Do what comes before the passes.

        Args:
            documents: Only their texts count.

        Returns:
            Each with its words and its windows, in the same order.
        """
        words: list[Words] = [word_offsets(document.text) for document in documents]
        windows: list[list[EncodedWindow]] = [[] for _ in documents]
        for window in self.windows.encode([document.text for document in documents], words):
            windows[window.document].append(window)
        return list(map(Read, documents, words, windows))

    def score(self, read: Sequence[Read]) -> list[Scores]:
        """Run the model.

        Args:
            read: Documents, as `read` gives them.

        Returns:
            Logits of shape (words, tags) per document, before any coupling and temperature.
        """
        return self.gather(read, self.forward.logits, width=len(self.tag_set))

    def decide(self, read: Read, logits: Scores) -> Prediction:
        """Do what comes after the passes: find what the scores of a document's words say together.

        Args:
            read: The document.
            logits: As `score` gives them.

        Returns:
            The prediction.
        """
        shared = self.coupling.share(read.document.text, read.words, logits)
        return predict(
            read.words,
            log_softmax(shared, temperature=self.temperature),
            tag_set=self.tag_set,
            version=self.version,
            transitions=self.coupling.steps(),
        )

    def gather(
        self, read: Sequence[Read], run: Callable[[Batch], Scores], *, width: int
    ) -> list[Scores]:
        """Collect what a pass gives for the words, each from the window that owns it.

        Args:
            read: Documents, as `read` gives them.
            run: Gives something for every sub-word of a batch: (windows, longest, width).
            width: How much that is.

        Returns:
            Of shape (words, width) per document, from the first sub-word of each word.
        """
        found: list[Scores] = [np.zeros((len(one.words), width), np.float32) for one in read]
        windows = [
            (window, of_words)
            for one, of_words in zip(read, found, strict=True)
            for window in one.windows
        ]
        for batch in self.forward.plan([len(window.ids) for window, _ in windows]):
            rows = [windows[place] for place in batch]
            padded = self.windows.pad(
                [window for window, _ in rows], multiple=self.forward.multiple
            )
            for (window, of_words), row in zip(rows, run(padded), strict=True):
                owned = slice(window.owned.start, window.owned.stop)
                of_words[owned] = row[window.owned_positions]
        return found
