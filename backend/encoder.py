"""The encoder tier: documents to predictions with any token-classification model.

Sub-words are planned into windows, windows of similar length share a batch, and the first sub-word
of each word speaks for the word. Training reads its windows from here too, so that what is learnt
is what is served.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from backend.coupling import Coupling
from backend.decode import Scores, log_softmax, predict
from backend.precision import Precision, half_precision
from backend.subwords import SubWords, SubWordTokenizer
from backend.windows import Window, plan_windows
from ner.document import Document, Prediction
from ner.tags import TagSet
from ner.words import word_offsets

# Rows of a batch are padded to a multiple of so many sub-words. A kernel is made and kept for every
# shape that comes, by PyTorch's bf16 attention without end: 300 MB in the long run, and some time.
PAD_MULTIPLE = 16
MAX_PER_WORD = 64  # sub-words read of one word; longer words are sequences and base64 blobs


@dataclass(frozen=True, slots=True)
class Reading:
    """How long the windows are; part of a version, since a model serves as it was trained.

    Attributes:
        window: Sub-words a window holds, special tokens included.
        context: Sub-words of neighbouring words on either side of what a window owns.
    """

    window: int = 320
    context: int = 48


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """One window as the model takes it.

    Attributes:
        document: Index of its document in the batch given.
        ids: Sub-words with the special tokens around them.
        words: The words it reads.
        owned: Those of them whose tags it decides; the others are context.
        positions: Where in `ids` the first sub-word of each word it reads stands.
    """

    document: int
    ids: tuple[int, ...]
    words: range
    owned: range
    positions: tuple[int, ...]

    @property
    def owned_positions(self) -> list[int]:
        """Where in `ids` the first sub-word of each word it owns stands."""
        first = self.words.start
        return list(self.positions[self.owned.start - first : self.owned.stop - first])


class WindowEncoder:
    """Turns documents into windows.

    Args:
        tokenizer: Of the base.
        reading: How long windows are.
        limit: Positions the model has, or None for no limit.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, reading: Reading, *, limit: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self._subwords = SubWordTokenizer(tokenizer)
        special = len(self._subwords.prefix) + len(self._subwords.suffix)
        self._longest = min(reading.window, limit or reading.window)
        self._capacity = self._longest - special
        # A short window keeps room to own at least as much as it borrows on both sides.
        self._context = min(reading.context, self._capacity // 4)
        self._longest_word = min(MAX_PER_WORD, self._capacity - self._context)

    def encode(
        self, texts: Sequence[str], words: Sequence[Sequence[tuple[int, int]]]
    ) -> list[EncodedWindow]:
        """Plan and fill the windows of documents.

        Args:
            texts: The texts.
            words: Offsets of each text's words.

        Returns:
            Windows in order of the documents; each word is owned by exactly one.
        """
        windows = []
        split = self._subwords.split(texts, words, longest=self._longest_word)
        for index, subwords in enumerate(split):
            plan = plan_windows(subwords.lengths, capacity=self._capacity, context=self._context)
            windows += [self._fill(index, window, subwords) for window in plan]
        return windows

    def _fill(self, document: int, window: Window, subwords: SubWords) -> EncodedWindow:
        """Put the sub-words of a window between the special tokens."""
        prefix, suffix = self._subwords.prefix, self._subwords.suffix
        offset = len(prefix) - subwords.starts[window.first]
        ids = subwords.ids[subwords.starts[window.first] : subwords.starts[window.last]]
        words = range(window.first, window.last)
        return EncodedWindow(
            document=document,
            ids=(*prefix, *ids, *suffix),
            words=words,
            owned=range(window.own_first, window.own_last),
            positions=tuple(subwords.starts[word] + offset for word in words),
        )

    def pad(self, windows: Sequence[EncodedWindow], *, multiple: int = 1) -> dict[str, Tensor]:
        """Stack windows.

        Args:
            windows: One batch.
            multiple: What the length of the rows is rounded up to a multiple of, as far as the
                longest window there can be.

        Returns:
            `input_ids` and `attention_mask`, each of shape (windows, longest).
        """
        longest = max(len(window.ids) for window in windows)
        shape = len(windows), min(longest + -longest % multiple, self._longest)
        ids = torch.full(shape, int(self.tokenizer.pad_token_id))
        mask = torch.zeros(shape, dtype=torch.long)
        for row, window in enumerate(windows):
            ids[row, : len(window.ids)] = torch.tensor(window.ids)
            mask[row, : len(window.ids)] = 1
        return {"input_ids": ids, "attention_mask": mask}


def batch_by_length(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Group items of similar length, so that little of a padded batch is padding.

    Args:
        lengths: Tokens of each item.
        budget: Tokens a padded batch may have; a longer item gets a batch of its own.

    Yields:
        Indices into `lengths`, longest items first; together a partition of them.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class EncoderTier:
    """A token-classification model that answers in real time.

    Args:
        model: On its device, in the mode it is to be served in.
        windows: Turns documents into windows with the model's own tokenizer.
        tag_set: The tags, in the order of the model's outputs.
        version: Named in every prediction.
        temperature: See `backend.decode.log_softmax`.
        coupling: How the words of a document bear on each other.
        precision: Arithmetic of the forward pass; ``auto`` is bf16 where it is native.
    """

    # Padded tokens per forward pass. What is in work should fit a CPU's caches: 1024 took
    # a tenth less time for 16 abstracts than 4096, and less memory. A GPU wants more at once.
    cpu_batch_tokens, gpu_batch_tokens = 1024, 4096
    chunk_documents = 256  # documents in the air at once, so that memory does not grow with a batch

    def __init__(
        self,
        model: PreTrainedModel,
        windows: WindowEncoder,
        *,
        tag_set: TagSet,
        version: str,
        temperature: float = 1.0,
        coupling: Coupling | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.model = model
        self.windows = windows
        self.tag_set = tag_set
        self.version = version
        self.temperature = temperature
        self.coupling = coupling or Coupling()
        self.precision = precision

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
        predictions: list[Prediction] = []
        for start in range(0, len(documents), self.chunk_documents):
            chunk = documents[start : start + self.chunk_documents]
            words = [word_offsets(document.text) for document in chunk]
            scores = self.score(chunk, words)
            predictions += map(self._decode, chunk, words, scores)
        return predictions

    def _decode(
        self, document: Document, words: Sequence[tuple[int, int]], logits: Scores
    ) -> Prediction:
        """What the scores of a document's words say together."""
        shared = self.coupling.share(document.text, words, logits)
        return predict(
            words,
            log_softmax(shared, temperature=self.temperature),
            tag_set=self.tag_set,
            version=self.version,
            transitions=self.coupling.steps(),
        )

    def score(
        self, documents: Sequence[Document], words: Sequence[Sequence[tuple[int, int]]]
    ) -> list[Scores]:
        """Run the model.

        Args:
            documents: Only their texts count.
            words: Offsets of each document's words.

        Returns:
            Logits of shape (words, tags) per document, before any coupling and temperature.
        """
        shapes = [(len(offsets), len(self.tag_set)) for offsets in words]
        scores: list[Scores] = [np.zeros(shape, np.float32) for shape in shapes]
        windows = self.windows.encode([document.text for document in documents], words)
        lengths = [len(window.ids) for window in windows]
        on_cpu = self.model.device.type == "cpu"
        budget = self.cpu_batch_tokens if on_cpu else self.gpu_batch_tokens
        for batch in batch_by_length(lengths, budget=budget):
            rows = [windows[index] for index in batch]
            for window, logits in zip(rows, self._forward(rows), strict=True):
                owned = slice(window.owned.start, window.owned.stop)
                scores[window.document][owned] = logits[window.owned_positions]
        return scores

    @torch.inference_mode()
    def _forward(self, windows: Sequence[EncodedWindow]) -> Scores:
        """Logits of one batch: (windows, longest, tags)."""
        device = self.model.device
        padded = self.windows.pad(windows, multiple=PAD_MULTIPLE)
        batch = {name: tensor.to(device) for name, tensor in padded.items()}
        with half_precision(device, wanted=self.precision):
            logits = self.model(**batch).logits
        array: Scores = logits.float().cpu().numpy()
        return array
