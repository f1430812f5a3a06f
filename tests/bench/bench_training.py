"""Training throughput: our loop against the Hugging Face token classification example.

Both train on the same sentences (BC5CDR train) with the same base model, in turn in one process.
The Trainer of transformers has the example's defaults (random batches of 8, each padded to its
longest, fp32). Our loop has our defaults (bf16 if the machine has it), and runs once more in fp32.
The measure is real tokens, without padding, per second of training steps.

    PYTHONPATH=. python tests/bench/bench_training.py [--data DIR] [--sentences 480] [--rounds 3]
"""

import argparse
import os
import statistics
import tempfile
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from transformers import (
    DataCollatorForTokenClassification,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging

from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
from tagalong.backend.models.base_models.load_options import Precision
from tagalong.ner.document import Document
from tagalong.ner.tags import TagSet
from tagalong.training.corpus import read_corpus
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import train_encoder
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.schedule import TrainingProgress

LABELS = ("Chemical", "Disease")


def ours(sentences: list[Document], folder: Path, *, precision: Precision = "auto") -> float:
    """Tokens per second of our loop."""
    plain = EncoderRecipe()
    seen: list[TrainingProgress] = []
    train_encoder(
        TrainDevSplit(sentences, sentences[:4], LABELS),
        recipe=replace(plain, schedule=replace(plain.schedule, epochs=1, precision=precision)),
        state_path=folder / "state",
        on_progress=seen.append,
    )
    return seen[-1].tokens_per_second


def theirs(sentences: list[Document], folder: Path) -> float:
    """Tokens per second of the example's recipe, first sub-words labelled as in ours."""
    tag_set = TagSet(LABELS)
    base = BaseModelRef(OFFLINE_BASE_MODEL)
    tokenizer = base.load_tokenizer()
    rows = []
    for document in sentences:
        tagged = tag_set.encode(document)
        words = [document.text[start:end] for start, end in tagged.words]
        row = tokenizer(words, is_split_into_words=True, truncation=True)
        owners = [None, *row.word_ids()]
        row["labels"] = [
            -100 if owner is None or owner == before else tagged.tags[owner]
            for before, owner in pairwise(owners)
        ]
        rows.append(row)
    trainer = Trainer(
        model=base.load_token_classifier(tag_set.tag_names),
        args=TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            use_cpu=True,
        ),
        train_dataset=rows,
        data_collator=DataCollatorForTokenClassification(tokenizer),
    )
    trainer.remove_callback(PrinterCallback)  # only the table is printed
    seconds: float = trainer.train().metrics["train_runtime"]
    return sum(len(row["input_ids"]) for row in rows) / seconds


def main() -> None:
    """Measure and print a row of a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", default=os.environ.get("TAGALONG_DATA", "../shared/data"), type=Path
    )
    parser.add_argument("--sentences", default=480, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    corpus = read_corpus([options.data / "BC5CDR" / "bio" / "train.jsonl"])
    sentences = list(corpus.documents[: options.sentences])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        turns = [
            (
                ours(sentences, folder),
                ours(sentences, folder, precision="fp32"),
                theirs(sentences, folder),
            )
            for _ in range(options.rounds)
        ]
    print("| sentences | ours / example recipe (min, max) | ours in fp32 / example recipe |")
    print("|---|---|---|")
    print(f"| {len(sentences)} | {ratio(turns, 0)} | {ratio(turns, 1)} |")


def ratio(turns: list[tuple[float, float, float]], column: int) -> str:
    """Tokens per second over the example's, turn by turn."""
    each = [turn[column] / turn[2] for turn in turns]
    return f"**{statistics.median(each):.2f}** ({min(each):.2f} to {max(each):.2f})"


if __name__ == "__main__":
    main()
