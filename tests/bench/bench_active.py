"""Learning curves of every strategy of `tagalong curate select`, with gold labels as annotator.

Twenty random documents are annotated first, the same for every strategy. Then each strategy chooses
from the rest of train until 120 documents are annotated; random goes on to 200. After each choice a
model is trained from scratch, and its strict F1 is measured on documents outside the training.
Ninety curves must fit into hours of one core. So the encoder has MiniLM's lower layers and trains
for a few epochs. Its F1 is far below that of `train encoder`, for all strategies alike.

Every curve is a line of a file. So a stopped run resumes, and several processes may share the work:
start it twice. At the end it prints tables and draws figures of all curves.

    PYTHONPATH=. python tests/bench/bench_active.py [--results DIR] [--figures DIR] [--seeds 5]
        [--corpus NAME] [--strategy NAME] [--show]

"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from torch.nn import ModuleList
from transformers import AutoModel

from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.text.windows import WindowConfig
from tagalong.ner.document import Document, Prediction
from tagalong.ner.words import word_offsets
from tagalong.training.curate.encoder_outputs import embed_documents, predict_tag_distributions
from tagalong.training.curate.pool import Pool, deduplicate_pool
from tagalong.training.curate.selection_options import (
    SelectedDocument,
    SelectionOptions,
    StrategyName,
)
from tagalong.training.curate.strategies import STRATEGIES, select_from_pool
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import train_encoder
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tagalong.training.recipes.schedule import Schedule
from tests.bench.active_report import draw_figures, format_tables
from tests.bench.corpora import DATA, read_documents

CORPORA = {"BC5CDR": "test", "NCBI-disease": "dev"}  # evaluated on; NCBI-disease has no test here
LABELS = {"BC5CDR": ("Chemical", "Disease"), "NCBI-disease": ("Disease",)}
MAIN_STRATEGIES: tuple[StrategyName, ...] = ("random", "mixed")  # run first
OTHER_STRATEGIES: tuple[StrategyName, ...] = (
    "uncertainty",
    "margin",
    "least-confidence",
    "disagreement",
    "k-center",
    "k-means",
    "long",
)
# Annotated documents: of the first model of `disagreement`, at the start, and after each round.
EARLIER_DOCUMENTS, START_DOCUMENTS, ROUND_DOCUMENTS, LAST_DOCUMENTS = 10, 20, (60, 120), 200
TEST_DOCUMENTS, DEV_DOCUMENTS = 100, 16  # documents of fixed samples
LAYERS, REPEATS = 3, 4
BATCH_TOKENS, LEARNING_RATE = 512, 8e-4  # padded tokens of a step


@dataclass(frozen=True)
class Corpus:
    """Splits of a corpus: pool to annotate, test documents, dev documents for calibration."""

    name: str
    pool: Sequence[Document]
    test: Sequence[Document]
    dev: Sequence[Document]


@dataclass(frozen=True)
class Learner:
    """A model trained on some documents, and one trained on fewer of them."""

    labelled: Sequence[Document]
    tagger: EncoderTagger
    previous_tagger: EncoderTagger


@lru_cache
def load_corpus(name: str) -> Corpus:
    """Read a corpus and sample it by text, with the same result in every run."""
    pool = deduplicate_pool(read_documents(DATA / name / "train.jsonl"), seed=1).documents
    test = deduplicate_pool(
        read_documents(DATA / name / f"{CORPORA[name]}.jsonl"), pool, seed=1
    ).documents
    return Corpus(name, pool[DEV_DOCUMENTS:], test[:TEST_DOCUMENTS], pool[:DEV_DOCUMENTS])


@lru_cache
def make_base_model() -> BaseModelRef:
    """Save MiniLM without its upper layers."""
    source = Path(BaseModelRef(OFFLINE_BASE_MODEL).name_or_path)
    folder = Path(tempfile.mkdtemp(prefix="active-base-"))
    model = AutoModel.from_pretrained(source)
    model.encoder.layer = ModuleList(list(model.encoder.layer)[:LAYERS])
    model.config.num_hidden_layers = LAYERS
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder)
    return BaseModelRef(str(folder))


def train(corpus: Corpus, documents: Sequence[Document], seed: int) -> EncoderTagger:
    """Train an encoder; a validation costs as much as an epoch, so an epoch repeats the data."""
    schedule = Schedule(
        epochs=1,
        learning_rate=LEARNING_RATE,
        batch_tokens=BATCH_TOKENS,
        ema_decay=0.0,
        dropout_start_ratio=1 / 3,
        save_every=1_000_000,
        seed=seed,
    )
    recipe = EncoderRecipe(
        base=make_base_model(),
        window_config=WindowConfig(512, 48),
        train_window_config=WindowConfig(256, 16),
        schedule=schedule,
        dropout=0.1,
    )
    # One order for all strategies: training must not depend on the order of selection.
    documents = deduplicate_pool(documents, seed=seed).documents
    with tempfile.TemporaryDirectory() as folder:
        return train_encoder(
            TrainDevSplit([*documents] * REPEATS, corpus.dev, LABELS[corpus.name]),
            recipe=recipe,
            state_path=Path(folder) / "state",
        ).tagger


@lru_cache(maxsize=1)
def start_learner(corpus: Corpus, seed: int) -> Learner:
    """Train on the documents that every strategy starts with."""
    documents = [
        choice.document for choice in select_documents(corpus, "random", START_DOCUMENTS, seed)
    ]
    return Learner(
        documents,
        train(corpus, documents, seed),
        previous_tagger=train(corpus, documents[:EARLIER_DOCUMENTS], seed),
    )


def select_documents(
    corpus: Corpus, name: StrategyName, count: int, seed: int, learner: Learner | None = None
) -> list[SelectedDocument]:
    """Select documents; only the mixed strategy, the default, keeps its random share."""
    labelled = learner.labelled if learner else ()
    documents = deduplicate_pool(corpus.pool, labelled, seed=seed).documents
    options = SelectionOptions(
        name, count, SelectionOptions().random_share if name == "mixed" else 0.0, seed
    )
    if learner is None or name == "random":
        return select_from_pool(
            Pool(documents, [Prediction((), 0.5, "")] * len(documents)), options
        )
    compares_models = STRATEGIES[name].compares_models
    pool = Pool(
        documents,
        learner.tagger.predict(documents),
        learner.previous_tagger.predict(documents) if compares_models else (),
        deduplicate_pool(labelled, seed=seed).documents,
        embed=partial(embed_documents, learner.tagger),
        tag_distributions=partial(predict_tag_distributions, learner.tagger),
    )
    return select_from_pool(pool, options)


def compute_curve(corpus: Corpus, name: StrategyName, seed: int) -> Iterator[dict[str, Any]]:
    """Compute the points of a learning curve."""
    learner = start_learner(corpus, seed)
    yield evaluate_learner(corpus, learner)
    rounds = (
        (START_DOCUMENTS, *ROUND_DOCUMENTS, LAST_DOCUMENTS)
        if name == "random"
        else (START_DOCUMENTS, *ROUND_DOCUMENTS)
    )
    for previous, current in pairwise(rounds):
        selected = [
            choice.document
            for choice in select_documents(corpus, name, current - previous, seed, learner)
        ]
        labelled = [*learner.labelled, *selected]
        learner = Learner(labelled, train(corpus, labelled, seed), previous_tagger=learner.tagger)
        yield evaluate_learner(corpus, learner)


def evaluate_learner(corpus: Corpus, learner: Learner) -> dict[str, Any]:
    """Compute one point of a curve."""
    report = evaluate(
        corpus.test, learner.tagger.predict(corpus.test), options=EvaluationOptions(resamples=1)
    )
    return {
        "documents": len(learner.labelled),
        "words": sum(len(word_offsets(document.text)) for document in learner.labelled),
        "entities": sum(len(document.spans) for document in learner.labelled),
        "f1": report.overall.strict.counts.f1,
        "f1_long": report.by_length["3+"].strict.counts.f1,
    }


@contextmanager
def claim_curve(path: Path) -> Iterator[bool]:
    """Lock a curve; yields whether no other process computes it."""
    with path.open("a") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def read_results(results: Path) -> list[dict[str, Any]]:
    """Read the finished curves."""
    lines = [line for path in sorted(results.glob("*.jsonl")) for line in path.open()]
    return [json.loads(line) for line in lines]


def list_curves(seeds: int) -> list[tuple[int, str, StrategyName]]:
    """List seed, corpus and strategy of all curves, in the order of computation."""
    return [
        (seed, corpus, name)
        for names in (MAIN_STRATEGIES, OTHER_STRATEGIES)
        for seed in range(seeds)
        for corpus in CORPORA
        for name in names
    ]


def main() -> None:
    """Compute the missing curves, print the tables and draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("build/active"))
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--corpus", choices=CORPORA)
    parser.add_argument("--strategy", choices=MAIN_STRATEGIES + OTHER_STRATEGIES)
    parser.add_argument("--show", action="store_true", help="print finished results only")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for seed, corpus, name in [] if options.show else list_curves(options.seeds):
        if options.corpus not in (None, corpus) or options.strategy not in (None, name):
            continue
        key = f"{corpus}-{name}-{seed}"
        with claim_curve(options.results / f".{key}") as is_claimed:
            if not is_claimed or any(line["key"] == key for line in read_results(options.results)):
                continue
            start = time.process_time()
            points = list(compute_curve(load_corpus(corpus), name, seed))
            line = {"key": key, "corpus": corpus, "strategy": name, "seed": seed, "points": points}
            line["seconds"] = time.process_time() - start
            with (options.results / f"{corpus}.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        f1_scores = ", ".join(f"{point['f1']:.4f}" for point in points)
        print(f"{key}: {f1_scores} in {line['seconds']:.0f} s", flush=True)
    lines = read_results(options.results)
    print(format_tables(lines))
    draw_figures(lines, options.figures)


if __name__ == "__main__":
    main()
