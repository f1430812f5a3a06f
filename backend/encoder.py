"""The encoder tier: documents to predictions with any token-classification model.

Windows of similar length share a batch; whatever runs it, what the scores of words become is the
same.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from backend.coupling import Coupling
from backend.decode import Scores, log_softmax, predict
from backend.forward import Batch, Forward
from backend.window_encoder import WindowEncoder
from ner.document import Document, Prediction
from ner.tags import TagSet
from ner.words import word_offsets

Words = Sequence[tuple[int, int]]


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
    # found out what the scores of the one before it say.
    chunk_documents = 64

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
        chunks = [
            documents[start : start + self.chunk_documents]
            for start in range(0, len(documents), self.chunk_documents)
        ]
        if len(chunks) <= 1:
            return [one for chunk in chunks for one in self._decode_all(*self._scored(chunk))]
        with ThreadPoolExecutor(1) as decoder:
            waiting = [decoder.submit(self._decode_all, *self._scored(chunk)) for chunk in chunks]
            return [prediction for future in waiting for prediction in future.result()]

    def _scored(
        self, documents: Sequence[Document]
    ) -> tuple[Sequence[Document], list[Words], list[Scores]]:
        """Documents with their words and scores."""
        words: list[Words] = [word_offsets(document.text) for document in documents]
        return documents, words, self.score(documents, words)

    def _decode_all(
        self, documents: Sequence[Document], words: Sequence[Words], scores: Sequence[Scores]
    ) -> list[Prediction]:
        """What the scores of documents say."""
        return list(map(self._decode, documents, words, scores))

    def _decode(self, document: Document, words: Words, logits: Scores) -> Prediction:
        """What the scores of a document's words say together."""
        shared = self.coupling.share(document.text, words, logits)
        return predict(
            words,
            log_softmax(shared, temperature=self.temperature),
            tag_set=self.tag_set,
            version=self.version,
            transitions=self.coupling.steps(),
        )

    def score(self, documents: Sequence[Document], words: Sequence[Words]) -> list[Scores]:
        """Run the model.

        Args:
            documents: Only their texts count.
            words: Offsets of each document's words.

        Returns:
            Logits of shape (words, tags) per document, before any coupling and temperature.
        """
        return self.gather(documents, words, self.forward.logits, width=len(self.tag_set))

    def gather(
        self,
        documents: Sequence[Document],
        words: Sequence[Words],
        run: Callable[[Batch], Scores],
        *,
        width: int,
    ) -> list[Scores]:
        """Collect what a pass gives for the words, each from the window that owns it.

        Args:
            documents: Only their texts count.
            words: Offsets of each document's words.
            run: Gives something for every sub-word of a batch: (windows, longest, width).
            width: How much that is.

        Returns:
            Of shape (words, width) per document, from the first sub-word of each word.
        """
        found: list[Scores] = [np.zeros((len(offsets), width), np.float32) for offsets in words]
        windows = self.windows.encode([document.text for document in documents], words)
        lengths = [len(window.ids) for window in windows]
        for batch in self.forward.plan(lengths):
            rows = [windows[index] for index in batch]
            given = run(self.windows.pad(rows, multiple=self.forward.multiple))
            for window, row in zip(rows, given, strict=True):
                owned = slice(window.owned.start, window.owned.stop)
                found[window.document][owned] = row[window.owned_positions]
        return found
