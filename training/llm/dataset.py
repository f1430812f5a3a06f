"""Training windows of an LLM: prompts with gold tags in their slots, and a loss at slots alone.

The study that this follows took the loss over prompt, text and padding too. Here the model trains
only on predictions that it makes in serving.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tagalong.backend.models.llm.prompt import PromptBuilder
from tagalong.backend.models.llm.scorer import tag_logits
from tagalong.ner.document import Document
from tagalong.ner.tags import IGNORE_INDEX, OUTSIDE, TagSet
from tagalong.training.loop.trainer import TensorBatch


class LLMDataset:
    """Prompts with gold tags in their slots, built as in serving.

    `pad_token_id` fills shorter rows; no token attends to it.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        tag_set: TagSet,
        prompt_builder: PromptBuilder,
        pad_token_id: int,
    ) -> None:
        tagged = [tag_set.encode(document) for document in documents]
        self._prompt_builder, self._pad_id = prompt_builder, pad_token_id
        self._prompt_windows = prompt_builder.build(
            [document.text for document in documents], [entry.words for entry in tagged]
        )
        self._tags = [entry.tags for entry in tagged]
        self.dropped = tuple(lost for entry in tagged for lost in entry.dropped)
        # A row ends before its last slot: the tag in it is predicted, and no later token reads it.
        first = len(prompt_builder.prefix)
        self.lengths = [first + layout.slot_positions[-1] for layout in self._prompt_windows]

    def collate(self, indices: Sequence[int]) -> TensorBatch:
        """Make a batch of windows.

        Returns tensors of shape (windows, longest). Beside `input_ids` and `attention_mask`,
        `slots` says whether a position holds a tag. `labels` has the tag of each slot at the
        position before it, and IGNORE_INDEX elsewhere and for masked words.
        """
        first = len(self._prompt_builder.prefix)
        shape = len(indices), max(self.lengths[index] for index in indices)
        ids = torch.full(shape, self._pad_id)
        mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORE_INDEX)
        slots = torch.zeros(shape, dtype=torch.bool)
        for row, index in enumerate(indices):
            layout, length = self._prompt_windows[index], self.lengths[index]
            tags = self._tags[layout.document_index][layout.words.start : layout.words.stop]
            known_tags = [OUTSIDE if tag == IGNORE_INDEX else tag for tag in tags]
            slots_filled = layout.fill_slots(known_tags, self._prompt_builder.verbalizers)
            filled = [*self._prompt_builder.prefix, *slots_filled]
            ids[row, :length] = torch.tensor(filled[:length])
            mask[row, :length] = 1
            positions = torch.tensor(layout.slot_positions) + first
            labels[row, positions - 1] = torch.tensor(tags)
            slots[row, positions[:-1]] = True
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "slots": slots}


class SlotModel(nn.Module):
    """A decoder with tag logits as its output, in one call that accelerate can wrap.

    `tag_ids` are the vocabulary ids of the tags' verbalizers, on the model's device.
    """

    def __init__(self, model: PreTrainedModel, tag_ids: Tensor) -> None:
        super().__init__()
        self.model = model
        self._tag_ids = tag_ids

    def forward(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Tag logits, (positions, tags), at the true entries of `positions`, (rows, longest)."""
        decoder = self.model.get_decoder()
        hidden = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return tag_logits(self.model, hidden[positions], self._tag_ids)


def slot_loss(
    model: nn.Module, batch: TensorBatch, *, tag_ids: Tensor, noise_share: float
) -> Tensor:
    """Mean cross entropy over the tags at each slot of a `SlotModel`, with noise before it.

    In training the tags before a slot are gold, in serving they are predictions. Noise, a share of
    them replaced by random ones, keeps the model from relying on them (Bengio et al. 2015,
    scheduled sampling).
    """
    ids, labels = batch["input_ids"], batch["labels"]
    if noise_share:
        replaced = torch.rand(ids.shape, device=ids.device) < noise_share
        random_tags = torch.randint(len(tag_ids), ids.shape, device=ids.device)
        ids = torch.where(replaced & batch["slots"], tag_ids[random_tags], ids)
    known = labels != IGNORE_INDEX
    logits = model(ids, batch["attention_mask"], known)
    total = nn.functional.cross_entropy(logits.float(), labels[known], reduction="sum")
    return total / known.sum().clamp(min=1)  # a batch may be fully masked
