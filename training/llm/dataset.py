"""What an LLM learns from: laid-out texts with their tags in the slots, and a loss at slots alone.

The study that this follows took the loss over prompt, text and padding too; here every prediction
that is learnt is one that is made in serving.
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
    """Texts laid out, with the right tags in their slots.

    Args:
        documents: With spans.
        tag_set: What can be said of a word.
        prompt_builder: As the tier lays texts out.
        pad_token_id: What fills shorter rows up; nothing ever attends to it.
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
        # The last slot is predicted, and what fills it is never read.
        self.lengths = [
            len(prompt_builder.prefix) + layout.slot_positions[-1]
            for layout in self._prompt_windows
        ]

    def collate(self, indices: Sequence[int]) -> TensorBatch:
        """Make a batch of some windows.

        Args:
            indices: Of windows.

        Returns:
            All of shape (windows, longest): `input_ids` and `attention_mask`; `labels`, the tag of
            each slot at the place before it, IGNORED everywhere else and where a word's tag is not
            known; `slots`, whether a place is one that a tag was fed back to.
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
            fed = [OUTSIDE if tag == IGNORE_INDEX else tag for tag in tags]
            filled = [
                *self._prompt_builder.prefix,
                *layout.fill_slots(fed, self._prompt_builder.verbalizers),
            ]
            ids[row, :length] = torch.tensor(filled[:length])
            mask[row, :length] = 1
            places = torch.tensor(layout.slot_positions) + first
            labels[row, places - 1] = torch.tensor(tags)
            slots[row, places[:-1]] = True
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "slots": slots}


class SlotModel(nn.Module):
    """A decoder that gives tag logits at chosen places, in one call that processes can share.

    Args:
        model: Adapted or not.
        tag_ids: Vocabulary id of each tag's verbaliser, on the model's device.
    """

    def __init__(self, model: PreTrainedModel, tag_ids: Tensor) -> None:
        super().__init__()
        self.model = model
        self._tag_ids = tag_ids

    def forward(self, ids: Tensor, mask: Tensor, places: Tensor) -> Tensor:
        """Run the decoder.

        Args:
            ids: Tokens, (rows, longest).
            mask: 1 where there is one.
            places: Where logits are wanted, boolean, of the same shape.

        Returns:
            Shape (places, tags).
        """
        decoder = self.model.get_decoder()
        hidden = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return tag_logits(self.model, hidden[places], self._tag_ids)


class SlotLoss:
    """Cross entropy over the tags at each slot, a share of the tags before it being wrong.

    A model that has only ever seen right tags before a slot believes them; in serving they are its
    own (Bengio et al. 2015, scheduled sampling).

    Args:
        tag_ids: Vocabulary id of each tag's verbaliser, on the model's device.
        noise: Share of the tags fed back that are replaced by any.
    """

    def __init__(self, tag_ids: Tensor, *, noise: float) -> None:
        self._tag_ids, self._noise_share = tag_ids, noise

    def __call__(self, model: nn.Module, batch: TensorBatch) -> Tensor:
        """The mean loss of a batch.

        Args:
            model: As `SlotModel`.
            batch: As `LLMDataset.collate` makes it.

        Returns:
            A scalar.
        """
        ids, labels = batch["input_ids"], batch["labels"]
        if self._noise_share:
            wrong = torch.rand(ids.shape, device=ids.device) < self._noise_share
            drawn = torch.randint(len(self._tag_ids), ids.shape, device=ids.device)
            ids = torch.where(wrong & batch["slots"], self._tag_ids[drawn], ids)
        known = labels != IGNORE_INDEX
        logits = model(ids, batch["attention_mask"], known)
        total = nn.functional.cross_entropy(logits.float(), labels[known], reduction="sum")
        return total / known.sum().clamp(min=1)  # all of a batch may be unknown
