"""The study's decoding as a baseline: every word and tag is generated.

Obeidat et al. 2025 (arXiv 2504.00664) prompt in the Alpaca format. The model writes one line
``word:TAG`` for every word, greedily, in batches of 16 in file order, with prompts padded on the
left. Lines are cut at their last colon and aligned to the words. Two things are faster here.
Prompts are padded to the longest of their batch instead of the corpus. No metric is computed during
the measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tagalong.ner.document import Document
from tagalong.ner.tags import OUTSIDE, TagSet
from tagalong.ner.words import word_offsets

ROWS = 16  # rows of a batch
PROMPT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nIdentify the entities of the types {types} and tag every word of the input "
    "by the BIO scheme.\n\n### Input:\n{words}\n\n### Response:\n"
)


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    """The generated answer for one text.

    Attributes:
        tags: One tag for each word; O if the answer has no line for it.
        steps: Sequential model calls until the answer was complete.
        tokens: Processed tokens of prompt and answer.

    """

    tags: list[int]
    steps: int
    tokens: int


class PaperDecoder:
    """Generates tags line by line.

    Args:
        model: Decoder.
        tokenizer: Tokenizer of the decoder.
        tag_set: The tags.

    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tag_set: TagSet
    ) -> None:
        self._model, self._tokenizer, self._tag_set = model, tokenizer, tag_set

    def format_answer(self, document: Document) -> str:
        """Format the correct answer, whose length is forced on untrained models."""
        tagged = self._tag_set.encode(document)
        names = [self._tag_set.tag_names[max(tag, OUTSIDE)] for tag in tagged.tags]
        words = [document.text[start:end] for start, end in tagged.words]
        return "".join(f"{word}:{name}\n" for word, name in zip(words, names, strict=True))

    def decode(self, documents: Sequence[Document]) -> list[GeneratedAnswer]:
        """Tag documents, in batches in their order.

        Args:
            documents: Documents with gold spans, which set the length of the generated answers.

        Returns:
            One result each.

        """
        answers = []
        for start in range(0, len(documents), ROWS):
            answers += self._decode_batch(documents[start : start + ROWS])
        return answers

    @torch.inference_mode()
    def _decode_batch(self, documents: Sequence[Document]) -> list[GeneratedAnswer]:
        """Generate for all rows until the longest answer is complete, as `generate` does."""
        words = [
            [one.text[start:end] for start, end in word_offsets(one.text)] for one in documents
        ]
        types = ", ".join(self._tag_set.labels)
        prompts = [
            self._ids(PROMPT.format(types=types, words=" ".join(document_words)))
            for document_words in words
        ]
        lengths = [len(self._ids(self.format_answer(document))) for document in documents]
        longest = max(map(len, prompts))
        pad = int(self._tokenizer.pad_token_id)
        device = self._model.device
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in prompts], device=device)
        mask = torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in prompts], device=device
        )
        generated_ids = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            min_new_tokens=max(lengths),
            max_new_tokens=max(lengths),
            pad_token_id=pad,
        )[:, longest:]
        texts = self._tokenizer.batch_decode(
            [row[:length] for row, length in zip(generated_ids.tolist(), lengths, strict=True)]
        )
        return [
            GeneratedAnswer(self.parse_answer(text, document_words), length, len(prompt) + length)
            for text, document_words, prompt, length in zip(
                texts, words, prompts, lengths, strict=True
            )
        ]

    def parse_answer(self, answer: str, words: Sequence[str]) -> list[int]:
        """Parse an answer.

        Args:
            answer: Lines of any content.
            words: Words of the text.

        Returns:
            A tag for every word: that of the aligned line if it is valid, else O.

        """
        ids = {name: tag for tag, name in enumerate(self._tag_set.tag_names)}
        lines = [line.rpartition(":") for line in answer.splitlines()]
        answered_words = [word for word, _, _ in lines]
        tags = [OUTSIDE] * len(words)
        matcher = SequenceMatcher(a=answered_words, b=list(words), autojunk=False)
        for first, second, size in matcher.get_matching_blocks():
            for offset in range(size):
                tags[second + offset] = ids.get(lines[first + offset][2].strip(), OUTSIDE)
        return tags

    def _ids(self, text: str) -> list[int]:
        """Tokenize a text without special tokens, as for all compared schemes."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
