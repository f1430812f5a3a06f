"""Tiny base models: the real classes of every family with random weights.

Each is a folder like a hub checkout and is loaded by `from_pretrained`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import sentencepiece
import torch
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    DebertaV2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from tests.languages import read_sentences

CORPUS = [
    "Naloxone reverses the antihypertensive effect of clonidine in hypertensive rats.",
    "Lithium (Li+) toxicity, e.g. acute renal failure; 5-HT6 antagonists and Ca2+ blockers.",
    "1,2-dichloroethane caused β-adrenergic naïve responses (see ref. 12) in all patients.",
    "The patient developed aspirin-induced asthma after a 300-mg dose of acetylsalicylic acid.",
] * 4
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
DECODERS = ("mistral", "llama")
FAMILIES = ("bert-cased", "bert-uncased", "minilm", "biomedbert", "deberta-v3", *DECODERS)
CHINESE = [document.text for document in read_sentences("zh")]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_base(family: str, folder: Path) -> Path:
    """Write a base model of a family into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = TOKENIZERS[family](folder)
    config = make_config(family, vocabulary)
    torch.manual_seed(0)
    whole = AutoModelForCausalLM if family in DECODERS else AutoModel  # as on the hub
    whole.from_config(config).save_pretrained(folder)
    return folder


def make_config(family: str, vocabulary: int) -> PretrainedConfig:
    """The family's real configuration class at a tiny size."""
    if family.startswith("bert"):
        return BertConfig(
            vocab_size=vocabulary, intermediate_size=64, max_position_embeddings=128, **SIZES
        )
    if family in ("minilm", "biomedbert"):  # many small heads, or one head per 64 dimensions
        narrow = {"hidden_size": 48, "num_attention_heads": 12, "intermediate_size": 192}
        wide = {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 256}
        shape = SIZES | (narrow if family == "minilm" else wide)
        return BertConfig(vocab_size=vocabulary, max_position_embeddings=512, **shape)
    if family == "deberta-v3":
        return DebertaV2Config(
            vocab_size=vocabulary,
            intermediate_size=64,
            max_position_embeddings=128,
            relative_attention=True,
            position_buckets=16,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type="p2c|c2p",
            position_biased_input=False,
            type_vocab_size=0,
            **SIZES,
        )
    kind = {"mistral": MistralConfig, "llama": LlamaConfig}[family]
    return kind(
        vocab_size=vocabulary,
        intermediate_size=128,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **(SIZES | {"hidden_size": 64}),  # 64 is the smallest 4-bit block
    )


def _word_pieces(
    *, lowercase: bool, corpus: Sequence[str] = CORPUS, vocabulary: int = 220
) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        corpus, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=list(SPECIAL))
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _bert_tokenizer(
    *, lowercase: bool, corpus: Sequence[str] = CORPUS, vocabulary: int = 220
) -> Callable[[Path], int]:
    def write(folder: Path) -> int:
        tokenizer = _word_pieces(lowercase=lowercase, corpus=corpus, vocabulary=vocabulary)
        names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
        _save(tokenizer, folder, {f"{name}_token": token for name, token in names.items()})
        return tokenizer.get_vocab_size()

    return write


def _minilm_tokenizer(folder: Path) -> int:
    """A tokenizer.json with truncation and padding, as sentence-transformers stores it."""
    tokenizer = _word_pieces(lowercase=True)
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return tokenizer.get_vocab_size()


def _biomedbert_tokenizer(folder: Path) -> int:
    """A vocabulary without tokenizer.json, as on the hub."""
    tokenizer = _word_pieces(lowercase=True)
    tokenizer.model.save(str(folder))  # vocab.txt
    settings = {"do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return tokenizer.get_vocab_size()


def _deberta_tokenizer(folder: Path) -> int:
    """A SentencePiece model without tokenizer.json, as on the hub."""
    text = folder / "corpus.txt"
    text.write_text("\n".join(CORPUS), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "spm"),
        vocab_size=200,
        hard_vocab_limit=False,
        model_type="unigram",
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        user_defined_symbols="[MASK]",
        minloglevel=2,
    )
    settings = {
        "tokenizer_class": "DebertaV2Tokenizer",
        "do_lower_case": False,
        "vocab_type": "spm",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    text.unlink()
    return 256


def _mistral_tokenizer(folder: Path) -> int:
    """BPE with visible spaces, as in tokenizer.json of Mistral and Llama 2."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "<s>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=460, special_tokens=special, show_progress=False)
    )
    # Trained on words but applied to whole texts, so no token has an inner space.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    _save(tokenizer, folder, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})
    return tokenizer.get_vocab_size()


def llama_tokenizer(folder: Path, corpus: Sequence[str] = CORPUS, *, size: int = 420) -> int:
    """Byte-level BPE without an unknown token, as of Llama 3."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                # Runs of punctuation stay together, for tokens like ")-".
                pattern=Regex(r" ?[^\s\p{L}\p{N}]+| ?\p{L}+|\p{N}{1,3}|\s+"),
                behavior="isolated",
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|begin_of_text|>", "<|end_of_text|>"]
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 1)]
    )
    _save(tokenizer, folder, {"bos_token": special[1], "eos_token": special[2]})
    return tokenizer.get_vocab_size()


def _save(tokenizer: Tokenizer, folder: Path, names: dict[str, str]) -> None:
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


TOKENIZERS: dict[str, Callable[[Path], int]] = {
    "bert-chinese": _bert_tokenizer(lowercase=False, corpus=CHINESE, vocabulary=900),
    "bert-cased": _bert_tokenizer(lowercase=False),
    "bert-uncased": _bert_tokenizer(lowercase=True),
    "minilm": _minilm_tokenizer,
    "biomedbert": _biomedbert_tokenizer,
    "deberta-v3": _deberta_tokenizer,
    "mistral": _mistral_tokenizer,
    "llama": llama_tokenizer,
}
