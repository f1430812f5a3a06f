"""Training windows of an encoder: tags and weights at first sub-words, and the loss at them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tagalong.backend.models.text.windows import EncodedWindow, WindowEncoder
from tagalong.ner.document import Document
from tagalong.ner.tags import IGNORE_INDEX, TagSet
from tagalong.training.data.silver import SilverDocument
from tagalong.training.loop.trainer import TensorBatch
from tagalong.training.recipes.encoder_recipe import EncoderRecipe


class TrainingWindows:
    """Windows of the training documents, with tags and weights.

    Words of `silver` have a weight each; those of `documents` have the weight 1.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        tag_set: TagSet,
        windows: WindowEncoder,
        silver: Sequence[SilverDocument] = (),
    ) -> None:
        all_documents = [*documents, *(one.document for one in silver)]
        tagged = [tag_set.encode(document) for document in all_documents]
        self._window_encoder = windows
        self._windows = windows.encode(
            [document.text for document in all_documents], [entry.words for entry in tagged]
        )
        self.tags = [entry.tags for entry in tagged]  # silver last
        # Annotations that flat BIO cannot represent; silver reports its own.
        self.dropped = tuple(one for entry in tagged[: len(documents)] for one in entry.dropped)
        self.lengths = [len(window.input_ids) for window in self._windows]  # in sub-words
        gold = [(1.0,) * len(entry.words) for entry in tagged[: len(documents)]]
        weights = [*gold, *(one.word_weights for one in silver)]
        self._word_weights = self._normalize_weights(weights)

    def _normalize_weights(self, weights: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
        """Scale the weights to a mean of 1, so that steps are as long as without silver.

        Empty if all weights are 1: the loss then equals the unweighted one to the last bit.
        """
        used = [
            weights[window.document_index][word]
            for window in self._windows
            for word in window.words
            if self.tags[window.document_index][word] != IGNORE_INDEX
        ]
        if all(weight == 1 for weight in used):
            return []
        mean = sum(used) / len(used) or 1.0  # all may be 0
        return [tuple(weight / mean for weight in one) for one in weights]

    def collate(self, indices: Sequence[int]) -> TensorBatch:
        """Make a batch of windows.

        Returns the inputs of the model, and `labels` of shape (windows, longest): the tag at the
        first sub-word of every word, IGNORE_INDEX everywhere else. With silver also `weights` of
        the same shape.
        """
        windows = [self._windows[index] for index in indices]
        padded = self._window_encoder.pad(windows)
        batch = {name: torch.from_numpy(array) for name, array in padded.items()}
        # Context words have labels too: another view of a word is a free training example.
        labels = _scatter_to_first_subwords(
            windows, self.tags, torch.full_like(batch["input_ids"], IGNORE_INDEX)
        )
        if not self._word_weights:
            return {**batch, "labels": labels}
        weights = _scatter_to_first_subwords(windows, self._word_weights, torch.zeros(labels.shape))
        return {**batch, "labels": labels, "weights": weights}


def _scatter_to_first_subwords(
    windows: Sequence[EncodedWindow], values: Sequence[Sequence[float]], rows: Tensor
) -> Tensor:
    """Write the values of words to the positions of their first sub-words."""
    for row, window in zip(rows, windows, strict=True):
        word_values = values[window.document_index][window.words.start : window.words.stop]
        row[list(window.word_positions)] = torch.tensor(word_values)
    return rows


def build_token_loss(
    recipe: EncoderRecipe, tokenizer: PreTrainedTokenizerBase
) -> Callable[[nn.Module, TensorBatch], Tensor]:
    """Cross entropy at first sub-words, with word weights and word dropout, as a function."""
    mask_id = tokenizer.mask_token_id
    mask_probability = recipe.mask_probability if mask_id is not None else 0.0
    special_ids = torch.tensor(sorted(tokenizer.all_special_ids))

    def loss(model: nn.Module, batch: TensorBatch) -> Tensor:
        ids = batch["input_ids"]
        if mask_probability:
            masked = torch.rand(ids.shape, device=ids.device) < mask_probability
            masked &= ~torch.isin(ids, special_ids.to(ids.device))
            ids = ids.masked_fill(masked, mask_id)
        logits = model(input_ids=ids, attention_mask=batch["attention_mask"]).logits
        labels, weights = batch["labels"].flatten(), batch.get("weights")
        total = nn.functional.cross_entropy(
            logits.float().flatten(0, 1),  # in bf16 the sum over a batch would lose digits
            labels,
            ignore_index=IGNORE_INDEX,
            label_smoothing=recipe.label_smoothing,
            reduction="sum" if weights is None else "none",
        )
        if weights is not None:
            total = (total * weights.flatten()).sum()
        # Divide by the number of words, not by the weights of the batch. The weights have a mean of
        # 1 over all windows, and a batch of silver alone must count less than one of gold.
        return total / (labels != IGNORE_INDEX).sum().clamp(min=1)  # a batch may be fully masked

    return loss
