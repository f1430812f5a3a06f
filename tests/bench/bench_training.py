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


def measure_tagalong(
    sentences: list[Document], folder: Path, *, precision: Precision = "auto"
) -> float:
    """Measure tokens per second of our loop."""
    recipe = EncoderRecipe()
    progress: list[TrainingProgress] = []
    train_encoder(
        TrainDevSplit(sentences, sentences[:4], LABELS),
        recipe=replace(recipe, schedule=replace(recipe.schedule, epochs=1, precision=precision)),
        state_path=folder / "state",
        on_progress=progress.append,
    )
    return progress[-1].tokens_per_second


def measure_trainer(sentences: list[Document], folder: Path) -> float:
    """Measure tokens per second of the example's recipe, first sub-words labelled as in ours."""
    tag_set = TagSet(LABELS)
    base = BaseModelRef(OFFLINE_BASE_MODEL)
    tokenizer = base.load_tokenizer()
    rows = []
    for document in sentences:
        tagged = tag_set.encode(document)
        words = [document.text[start:end] for start, end in tagged.words]
        encoded = tokenizer(words, is_split_into_words=True, truncation=True)
        word_ids = [None, *encoded.word_ids()]
        encoded["labels"] = [
            -100 if word_id is None or word_id == previous else tagged.tags[word_id]
            for previous, word_id in pairwise(word_ids)
        ]
        rows.append(encoded)
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
    return sum(len(encoded["input_ids"]) for encoded in rows) / seconds


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
        speeds = [
            (
                measure_tagalong(sentences, folder),
                measure_tagalong(sentences, folder, precision="fp32"),
                measure_trainer(sentences, folder),
            )
            for _ in range(options.rounds)
        ]
    print("| sentences | ours / example recipe (min, max) | ours in fp32 / example recipe |")
    print("|---|---|---|")
    print(f"| {len(sentences)} | {format_ratio(speeds, 0)} | {format_ratio(speeds, 1)} |")


def format_ratio(speeds: list[tuple[float, float, float]], column: int) -> str:
    """Format the ratio of tokens per second to the example's, by rounds."""
    ratios = [speed[column] / speed[2] for speed in speeds]
    return f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
