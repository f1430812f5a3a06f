"""The LLM tier at its real size on one GPU, with random weights, which do not change the time.

A model of Mistral-7B-Instruct-v0.3's shape takes optimizer steps of QLoRA with the study's settings
(Obeidat et al. 2025). The adapter has rank 128 on every linear layer and the output layer. The base
model is in NF4 with double quantization. Batches of 4 are accumulated 4 times, with gradient
checkpointing and paged AdamW in 8 bits.

It then tags sentences and abstracts of BC5CDR test. The decodings are the study's, sequential,
verified from drafts of several qualities, one pass, and as an encoder.

A model of BERT-large's shape is timed as in the study: one text at a time, padded to 512, in fp32,
with gradients. It is also timed in batches in bf16. No network is needed: the tokenizer is trained
on the corpus.

    PYTHONPATH=. python tests/bench/gpu.py [--data DIR] [--tiny] [--only train|decode]

With --tiny all models have a few layers, to test the script on a CPU too.
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
from peft import LoraConfig, TaskType, get_peft_model
from torch import nn
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    MistralConfig,
    MistralForCausalLM,
    MistralForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.llm.prompt import PromptBuilder, choose_verbalizers
from tagalong.backend.models.text.windows import WindowConfig, WindowEncoder
from tagalong.ner.document import Document
from tagalong.ner.tags import TagSet
from tagalong.training.llm.dataset import LLMDataset, SlotModel, slot_loss
from tagalong.training.loop.adapters import linear_layer_names, prepare_four_bit_model
from tagalong.training.loop.optimizers import choose_optimizer
from tests.bench.corpora import DATA, read_documents
from tests.bench.llm_schemes import (
    LABELS,
    Scheme,
    SchemeCost,
    Schemes,
    encoder_scheme,
    time_schemes,
)
from tests.tiny_bases import llama_tokenizer

Size = Mapping[str, object]  # configuration settings
TAGS = TagSet(LABELS)
WINDOW = 4096
BATCH_SIZE, ACCUMULATION_STEPS = 4, 4  # of an optimizer step, as in the study
STEPS = 5  # timed, after one warm-up step
AGREEMENTS = (1.0, 0.98, 0.95, 0.9)
SINGLE_TEXTS, BATCH_TEXTS = 8, 64  # texts at batch 1, and in the batch that fills the device
PADDED = 512  # length of every encoder input in the study
MISTRAL = {
    "vocab_size": 32768,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "rope_theta": 1e6,
    "sliding_window": None,
}
BERT = {
    "vocab_size": 30522,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "max_position_embeddings": 512,
}
TINY = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def create_model(
    device: torch.device, model_class: type[PreTrainedModel], config: object, dtype: torch.dtype
) -> PreTrainedModel:
    """Create a random model on a device."""
    torch.manual_seed(0)
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return model_class(config).eval()
    finally:
        torch.set_default_dtype(default_dtype)


def mistral_config(size: Size) -> MistralConfig:
    """Configure the decoder; a wide initialisation makes tags depend on earlier tags."""
    return MistralConfig(
        **size, initializer_range=0.05, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )


def quantize_to_four_bits(model: PreTrainedModel) -> PreTrainedModel:
    """Quantize a loaded model, as `from_pretrained` does while loading."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for name, layer in list(model.named_modules()):
        if not isinstance(layer, nn.Linear) or name == "lm_head":
            continue
        quantized = Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=False,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        device = layer.weight.device
        quantized.weight = Params4bit(
            layer.weight.data.cpu(),
            requires_grad=False,
            compress_statistics=True,
            quant_type="nf4",
        ).to(device)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, quantized)
    return model


def time_training(
    device: torch.device,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[Document],
    size: Size,
) -> Iterator[str]:
    """Time optimizer steps of QLoRA; yields a table with the peak memory."""
    dtype = torch.bfloat16
    model = quantize_to_four_bits(
        create_model(device, MistralForCausalLM, mistral_config(size), dtype)
    )
    model.config.use_cache = False
    model = prepare_four_bit_model(model)
    lora = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=128,
        lora_alpha=256,
        lora_dropout=0.05,
        target_modules=linear_layer_names(model),
    )
    lora_model = get_peft_model(model, lora).train()
    verbalizers = choose_verbalizers(tokenizer, TAGS)
    prompt_builder = PromptBuilder(tokenizer, TAGS, verbalizers, window=WINDOW)
    dataset = LLMDataset(documents, tag_set=TAGS, prompt_builder=prompt_builder, pad_token_id=0)
    tag_ids = torch.tensor(verbalizers.ids, device=device)
    loss = partial(slot_loss, tag_ids=tag_ids, noise_share=0.1)
    slot_model = SlotModel(lora_model, tag_ids)
    weights = [weight for weight in lora_model.parameters() if weight.requires_grad]
    optimizer = choose_optimizer(device)([{"params": weights, "lr": 4e-5}])
    seconds, tokens = [], 0
    for step in range(STEPS + 1):
        start = time.perf_counter()
        for accumulation in range(ACCUMULATION_STEPS):
            first = (step * ACCUMULATION_STEPS + accumulation) * BATCH_SIZE
            batch = {
                name: tensor.to(device)
                for name, tensor in dataset.collate(range(first, first + BATCH_SIZE)).items()
            }
            tokens += int(batch["attention_mask"].sum()) if step else 0
            with torch.autocast(device.type, torch.bfloat16):
                (loss(slot_model, batch) / ACCUMULATION_STEPS).backward()
        optimizer.step()
        optimizer.zero_grad()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    trained_millions = sum(weight.numel() for weight in weights) / 1e6
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
    yield "| QLoRA | trained parameters | texts a step | tokens a step | s a step | peak, GiB |"
    yield "|---|---:|---:|---:|---:|---:|"
    yield (
        f"| {type(optimizer).__name__} | {trained_millions:.0f} M "
        f"| {BATCH_SIZE * ACCUMULATION_STEPS} "
        f"| {tokens / STEPS:.0f} | {median(seconds[1:]):.2f} | {peak:.1f} |"
    )


def make_decoder_schemes(
    device: torch.device, tokenizer: PreTrainedTokenizerBase, size: Size
) -> tuple[Schemes, dict[str, Scheme]]:
    """Make schemes of all decodings of the 7B model in bf16."""
    model = create_model(device, MistralForCausalLM, mistral_config(size), torch.bfloat16)
    schemes = Schemes(model, tokenizer, window=WINDOW, precision="bf16")
    schemes_by_name = {
        f"verified, {agreement:.0%} agree": schemes.slot_scheme("verified", agreement=agreement)
        for agreement in AGREEMENTS
    }
    schemes_by_name["single pass"] = schemes.slot_scheme("single_pass")
    schemes_by_name["sequential"] = schemes.slot_scheme("sequential")
    schemes_by_name["study's"] = schemes.generation_scheme
    return schemes, schemes_by_name


def make_ablation(
    device: torch.device, tokenizer: PreTrainedTokenizerBase, size: Size
) -> EncoderTagger:
    """Make the same decoder an encoder: one bidirectional pass over the text alone."""
    config = mistral_config(size)
    config.is_causal, config.num_labels = False, len(TAGS)
    model = create_model(device, MistralForTokenClassification, config, torch.bfloat16)
    forward = TorchRunner(model, precision="bf16")
    windows = WindowEncoder(tokenizer, WindowConfig(window=WINDOW, context=0))
    return EncoderTagger(forward, windows, tag_set=TAGS, version="ablation")


def make_encoder(
    device: torch.device, tokenizer: PreTrainedTokenizerBase, size: Size
) -> EncoderTagger:
    """Make an encoder tagger of BERT-large's shape."""
    config = BertConfig(**size, num_labels=len(TAGS))
    model = create_model(device, BertForTokenClassification, config, torch.float32)
    forward = TorchRunner(model, precision="bf16")
    windows = WindowEncoder(
        tokenizer, WindowConfig(window=PADDED, context=48), max_positions=PADDED
    )
    return EncoderTagger(forward, windows, tag_set=TAGS, version="bert")


def compile_encoder(tagger: EncoderTagger) -> EncoderTagger:
    """Compile the passes of an encoder, for batches of any shape."""
    assert isinstance(tagger.runner, TorchRunner)
    forward = TorchRunner(torch.compile(tagger.runner.model, dynamic=True), precision="bf16")
    return EncoderTagger(forward, tagger.window_encoder, tag_set=TAGS, version="compiled")


def study_encoder_scheme(tagger: EncoderTagger) -> Scheme:
    """Make a scheme timed as in the study.

    One text at a time, padded or cut to 512 tokens, in fp32, with gradients.
    """
    assert isinstance(tagger.runner, TorchRunner)
    model = tagger.runner.model

    def scheme(documents: Sequence[Document]) -> tuple[list[int], int]:
        for document in documents:
            ids = tagger.window_encoder.tokenizer(document.text, truncation=True, max_length=PADDED)
            row = torch.zeros(1, PADDED, dtype=torch.long)
            row[0, : len(ids["input_ids"])] = torch.tensor(ids["input_ids"])
            mask = (row != 0).long().to(model.device)
            model(input_ids=row.to(model.device), attention_mask=mask).logits.argmax(-1).cpu()
        return [1] * len(documents), PADDED * len(documents)

    return scheme


def format_rows(costs: Mapping[str, SchemeCost]) -> Iterator[str]:
    """Format texts per second and passes of every scheme, and its time relative to others."""
    yield "| | texts/s | passes, mean | tokens run per word | time / encoder | paper / it |"
    yield "|---|---:|---:|---:|---:|---:|"
    seconds = {name: sum(cost.seconds) for name, cost in costs.items()}
    for name, cost in costs.items():
        passes = sum(cost.passes) / len(cost.passes)
        encoder_ratio = seconds[name] / seconds["BERT-large, batched"]
        study_ratio = seconds["study's"] / seconds[name]
        yield (
            f"| {name} | {cost.documents / seconds[name]:.2f} | {passes:.1f} "
            f"| {cost.tokens / cost.words:.2f} | {encoder_ratio:.1f} | {study_ratio:.1f} |"
        )


def time_decoding(
    device: torch.device,
    tokenizer: PreTrainedTokenizerBase,
    corpora: Mapping[str, Sequence[Document]],
    sizes: tuple[Size, Size],
) -> Iterator[str]:
    """Time every decoding on texts of two lengths, one at a time and in batches."""
    schemes, schemes_by_name = make_decoder_schemes(device, tokenizer, sizes[0])
    bert = make_encoder(device, tokenizer, sizes[1])
    schemes_by_name["the same base model as an encoder"] = encoder_scheme(
        make_ablation(device, tokenizer, sizes[0])
    )
    schemes_by_name["BERT-large, batched"] = encoder_scheme(bert)
    schemes_by_name["BERT-large, batched and compiled"] = encoder_scheme(compile_encoder(bert))
    schemes_by_name["BERT-large, timed as by the study"] = study_encoder_scheme(bert)
    for name, texts in corpora.items():
        schemes.prepare(texts[: max(SINGLE_TEXTS, BATCH_TEXTS)])
        time_schemes(schemes_by_name, [texts[:1]])  # warm-up
        for batches in ([[text] for text in texts[:SINGLE_TEXTS]], [texts[:BATCH_TEXTS]]):
            yield f"\n{name}, {len(batches[0])} at once, {sum(map(len, batches))} in all:\n"
            yield from format_rows(time_schemes(schemes_by_name, batches))


def _wait(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def train_tokenizer(folder: Path, texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """Train byte-level BPE on the corpus; runs of marks give it tokens for tags."""
    llama_tokenizer(folder, [*texts, *["(), ), ). ...)-"] * 50], size=8000)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", choices=("train", "decode"))
    options = parser.parse_args()
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    decoder_size, encoder_size = (
        ({**MISTRAL, **TINY, "num_key_value_heads": 2}, {**BERT, **TINY})
        if options.tiny
        else (MISTRAL, BERT)
    )
    corpus = options.data / "BC5CDR"
    corpora = {
        "sentences": read_documents(corpus / "bio" / "test.jsonl")[:BATCH_TEXTS],
        "abstracts": read_documents(corpus / "test.jsonl")[:BATCH_TEXTS],
    }
    if options.tiny:
        corpora = {name: texts[:4] for name, texts in corpora.items()}
    train = read_documents(corpus / "train.jsonl")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}\n")
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(Path(folder), [document.text for document in train])
    if options.only != "decode":
        for line in time_training(device, tokenizer, train, decoder_size):
            print(line, flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if options.only != "train":
        for line in time_decoding(device, tokenizer, corpora, (decoder_size, encoder_size)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
