"""Decoders for benchmarks without a model hub: real model classes, two sizes."""

from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
from tests.tiny_bases import llama_tokenizer

POSITIONS = 8192
VOCABULARY = 8000


def random_llama(folder: Path, texts: Iterable[str]) -> Path:
    """Save a Llama of about 60 M random parameters, and a tokenizer trained on the corpus.

    Weights have a wider spread than usual. Otherwise every slot would get the same tag whatever is
    before it, and a draft would be right or wrong as a whole.

    """
    folder.mkdir(parents=True, exist_ok=True)
    corpus = [*texts, *["(), ), ). ...)-"] * 50]  # runs of punctuation, as in large corpora
    vocabulary = llama_tokenizer(folder, corpus, size=VOCABULARY)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=640,
        intermediate_size=1728,
        num_hidden_layers=11,
        num_attention_heads=10,
        num_key_value_heads=10,
        max_position_embeddings=POSITIONS,
        initializer_range=0.06,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def llama_from_minilm(folder: Path, *, layers: int = 4) -> Path:
    """Save a Llama of MiniLM's width, with MiniLM's vocabulary and embeddings."""
    base = BaseModelRef(OFFLINE_BASE_MODEL)
    tokenizer = base.load_tokenizer()
    embeddings = base.load_token_classifier(["O"]).get_input_embeddings().weight.detach()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=embeddings.shape[1],
        intermediate_size=4 * embeddings.shape[1] * 2 // 3,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=int(tokenizer.pad_token_id),
        bos_token_id=int(tokenizer.cls_token_id),
        eos_token_id=int(tokenizer.sep_token_id),
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(embeddings)
    model.save_pretrained(folder)
    tokenizer.model_max_length = POSITIONS
    tokenizer.save_pretrained(folder)
    return folder
