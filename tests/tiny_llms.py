"""Tiny LLMs: real classes with random weights."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tagalong.backend.models.llm.prompt import PromptBuilder, choose_verbalizers
from tagalong.backend.models.llm.scorer import TagScorer
from tagalong.backend.models.llm.slot_decoder import SlotDecoder
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets
from tests.tiny_bases import CORPUS, llama_tokenizer, make_base

TAGS = TagSet(("Chemical", "Disease"))
WINDOW = 20  # of the sliding attention, much shorter than a text
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES = ("llama", "mistral", "sliding", "alternating")
LIMITED_POSITIONS = ("learned", "dynamic", "longrope")  # position types of a fixed window
WORDS = [*sorted({word for text in CORPUS for word in text.split()}), "β", "(", "…", "a1", "😀"]


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer like Mistral's, with tokens that mix letters and punctuation."""
    return AutoTokenizer.from_pretrained(make_base("mistral", Path(mkdtemp()) / "base"))


def make_llm(family: str, *, seed: int = 0, spread: float = 0.15) -> PreTrainedModel:
    """A decoder whose logits differ clearly between tags."""
    torch.manual_seed(seed)
    size = {"vocab_size": len(tokenizer()), "initializer_range": spread, **SIZES}
    model: PreTrainedModel
    match family:
        case "llama":
            model = LlamaForCausalLM(LlamaConfig(**size))
        case "mistral":
            model = MistralForCausalLM(MistralConfig(sliding_window=None, **size))
        case "sliding":
            model = MistralForCausalLM(MistralConfig(sliding_window=WINDOW, **size))
        case "alternating":  # one layer of full attention, one of sliding
            window = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
            model = Qwen3ForCausalLM(Qwen3Config(head_dim=16, **window, **size))
        case _:
            raise ValueError(family)
    return model.eval()


def make_window_limited_llm(positions: str, window: int) -> PreTrainedModel:
    """A decoder whose positional encoding ends with the window or changes there."""
    torch.manual_seed(0)
    size = {"vocab_size": len(tokenizer()), "initializer_range": 0.15, **SIZES}
    size["max_position_embeddings"] = window
    rope = {"rope_type": positions, "rope_theta": 10_000.0}
    model: PreTrainedModel
    match positions:
        case "learned":
            model = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=len(tokenizer()),
                    n_positions=window,
                    n_embd=64,
                    n_layer=2,
                    n_head=4,
                    initializer_range=0.3,
                )
            )
        case "dynamic":
            model = LlamaForCausalLM(LlamaConfig(rope_parameters={**rope, "factor": 2.0}, **size))
        case "longrope":
            size["max_position_embeddings"] = 4 * window
            rope |= {"original_max_position_embeddings": window, "factor": 4.0}
            rope |= {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
            made = Phi3Config(
                rope_parameters=rope,
                original_max_position_embeddings=window,
                sliding_window=None,
                **size,
            )
            model = Phi3ForCausalLM(made)
        case _:
            raise ValueError(positions)
    return model.eval()


@dataclass(frozen=True)
class TinyLLM:
    """A decoder with its prompt builder, scorer and slot decoder."""

    model: PreTrainedModel
    planner: PromptBuilder
    scorer: TagScorer
    decoder: SlotDecoder


def make_tiny_llm(model: PreTrainedModel, *, window: int = 4096) -> TinyLLM:
    verbalizers = choose_verbalizers(tokenizer(), TAGS)
    planner = PromptBuilder(tokenizer(), TAGS, verbalizers, window=window)
    scorer = TagScorer(model, verbalizers.ids, planner.prefix, precision="fp32")
    return TinyLLM(model, planner, scorer, SlotDecoder(scorer, TAGS, verbalizers))


def random_texts(seed: int, count: int, *, longest: int) -> list[str]:
    """Texts of 1 to `longest` words, short ones more often."""
    chance = random.Random(seed)
    return [
        " ".join(chance.choices(WORDS, k=int(longest ** chance.random()))) for _ in range(count)
    ]


def random_draft(seed: int, words: int) -> list[int]:
    """Random tags, including illegal sequences."""
    chance = random.Random(seed)
    return [chance.randrange(len(TAGS)) for _ in range(words)]


def words_of(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    return [list(word_offsets(text)) for text in texts]


def save_llm(
    folder: Path, corpus: Sequence[str], *, vocabulary: int = 800, **settings: Any
) -> Path:
    """Save a base model like a hub checkout: a random Llama with a tokenizer of the corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = [*corpus, *["(), ), ). ...)-"] * 20]  # runs of punctuation, as in large corpora
    vocabulary = llama_tokenizer(folder, corpus, size=vocabulary)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=vocabulary, **(SIZES | settings))
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
