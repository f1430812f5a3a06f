"""The LLM tier's decodings against the study's, with the same random weights, in one run.

A Llama of about 60 M random parameters reads BC5CDR test documents in fp32. It runs the study's
decoding, which generates every word and tag to the length of the true answer. It also runs
sequential, verified and single-pass decoding, and the same decoder as an encoder. The bundled
encoder is included. Schemes take turns on the same documents.

The errors of a draft decide the cost of verifying, and no draft agrees with random weights. So
drafts are the decoder's own tags, of which a share is replaced. By default this is the share of
differing tags of the trained taggers of `bench_llm.py`.

    PYTHONPATH=. python tests/bench/bench_llm_speed.py [--documents 8] [--rounds 2]
        [--agreement 0.944]
"""

import argparse
import os
import tempfile
import warnings
from pathlib import Path
from random import Random

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from transformers.utils import logging

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.base_models.base_model import BaseModelRef
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.text.windows import WindowConfig, WindowEncoder
from tagalong.ner.model_registry import BUNDLED_REFERENCE as NAME
from tagalong.ner.model_registry import ModelRegistry
from tagalong.ner.words import word_offsets
from tests.bench.corpora import DATA, read_documents
from tests.bench.llm_bases import POSITIONS, random_llama
from tests.bench.llm_schemes import (
    SEED,
    Scheme,
    Schemes,
    encoder_scheme,
    format_ratios,
    time_schemes,
)

BATCH_SIZE = 16  # documents of the larger batch
REFERENCE = "verified, drafted"


def make_schemes(folder: Path, agreement: float) -> tuple[Schemes, dict[str, Scheme]]:
    """Every decoding with the decoder in a folder, and the bundled encoder."""
    base = BaseModelRef(str(folder))
    tokenizer = base.load_tokenizer()
    model = base.load_causal_lm(four_bit=False).eval()
    schemes = Schemes(model, tokenizer, window=POSITIONS, precision="fp32")
    ablation = EncoderTagger(
        TorchRunner(base.load_token_classifier(schemes.tags.tag_names).eval(), precision="fp32"),
        WindowEncoder(tokenizer, WindowConfig(window=1024, context=0)),
        tag_set=schemes.tags,
        version="ablation",
    )
    bundled = load_tagger(
        ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
    )
    assert isinstance(bundled, EncoderTagger)
    assert isinstance(bundled.runner, TorchRunner)
    bundled.runner.set_precision("fp32")
    return schemes, {
        REFERENCE: schemes.slot_scheme("verified", agreement=agreement),
        "verified, from O": schemes.slot_scheme("verified"),
        "sequential": schemes.slot_scheme("sequential"),
        "single pass": schemes.slot_scheme("single_pass"),
        "study's": schemes.generation_scheme,
        "the same base as an encoder": encoder_scheme(ablation),
        "bundled encoder (22 M)": encoder_scheme(bundled),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--documents", type=int, default=8, help="number of documents at batch 1")
    parser.add_argument("--rounds", type=int, default=2, help="rounds at batch 16")
    parser.add_argument("--agreement", type=float, default=0.944)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    corpus = options.data / "BC5CDR"
    documents = read_documents(corpus / "test.jsonl")
    single_documents = Random(SEED).sample(documents, options.documents)
    batch_documents = documents[:BATCH_SIZE]
    with tempfile.TemporaryDirectory() as folder:
        texts = [document.text for document in read_documents(corpus / "train.jsonl")]
        schemes, schemes_by_name = make_schemes(
            random_llama(Path(folder), texts), options.agreement
        )
    schemes.prepare([*single_documents, *batch_documents])
    time_schemes(schemes_by_name, [[single_documents[0]]])  # warm-up
    for size, batches, rounds in (
        (1, [[document] for document in single_documents], 1),
        (BATCH_SIZE, [batch_documents], options.rounds),
    ):
        count = sum(map(len, batches))
        words = sum(len(word_offsets(one.text)) for batch in batches for one in batch)
        print(f"\nBatch {size}: {count} documents of {words / count:.0f} words on average.\n")
        for line in format_ratios(
            time_schemes(schemes_by_name, batches, rounds=rounds), reference=REFERENCE
        ):
            print(line, flush=True)


if __name__ == "__main__":
    main()
