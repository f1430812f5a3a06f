"""Gold alone against gold and silver, on BC5CDR: the value of another system's labels.

50 documents of train are gold, and 400 others are texts that only a teacher has labelled. The
teacher, in place of an LLM, is trained here on 200 documents of dev, with early stopping on 100
others. So it has seen no document of the student's training or evaluation. The student is MiniLM.
150 more documents of dev serve for its early stopping and for the choice of a weight. To finish in
minutes, all these documents are cut to 100 words. The 200 documents of test are whole.

Gold alone has the same recipe, thus as many epochs, and once more as many steps. "Unweighted"
ignores the teacher's scores.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/bench/bench_silver.py [--data ../shared/data]
        [--weights 0.25,0.5,1] [--sure 0.5] [--epochs 3] [--seed 42] [--predictions FILE]

"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from tagalong.backend.documents.jsonl import prediction_to_json
from tagalong.backend.formats.registry import read_predictions
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.ner.document import Document, Prediction
from tagalong.ner.tags import TagSet
from tagalong.ner.words import word_offsets
from tagalong.training.data.silver import (
    PredictedDocument,
    ReservedDocuments,
    SilverData,
    SilverOptions,
    select_silver,
)
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.encoder.train import train_encoder
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tagalong.training.evaluation.report import EvaluationReport
from tagalong.training.recipes.encoder_recipe import EncoderRecipe
from tests.bench.corpora import DATA, read_documents

LABELS = ("Chemical", "Disease")
GOLD, TEXTS, TEACHER_TRAIN, TEACHER_DEV, DEV, TEST = 50, 400, 200, 100, 150, 200  # documents
WORDS = 100  # of a training document
HEAD = (
    "| trained on | dev F1 | test F1 | 1 word | 2 words | 3+ words "
    "| difference from gold alone | from gold with as many steps |"
)


@dataclass(frozen=True)
class Samples:
    """Documents of each role; no document has two."""

    gold: Sequence[Document]
    texts: Sequence[Document]
    teacher_train: Sequence[Document]
    teacher_dev: Sequence[Document]
    dev: Sequence[Document]
    test: Sequence[Document]


def sample_documents(data: Path) -> Samples:
    """Sample the documents of each role, always the same."""
    train, dev, test = (
        Random(7).sample(documents, len(documents))
        for documents in (
            read_documents(data / f"{name}.jsonl") for name in ("train", "dev", "test")
        )
    )
    train, dev = [list(map(shorten, documents)) for documents in (train, dev)]
    texts = [Document(one.id, one.text) for one in train[GOLD : GOLD + TEXTS]]
    teacher_end, dev_end = TEACHER_TRAIN + TEACHER_DEV, TEACHER_TRAIN + TEACHER_DEV + DEV
    return Samples(
        train[:GOLD],
        texts,
        dev[:TEACHER_TRAIN],
        dev[TEACHER_TRAIN:teacher_end],
        dev[teacher_end:dev_end],
        test[:TEST],
    )


def shorten(document: Document) -> Document:
    """Cut a document after its first words, but not inside an entity."""
    ends = [end for _, end in word_offsets(document.text)[:WORDS]]
    end = ends[-1]
    while ends_inside := [span.end for span in document.spans if span.start < end < span.end]:
        end = max(ends_inside)
    spans = tuple(span for span in document.spans if span.end <= end)
    return Document(document.id, document.text[:end], spans)


def train(
    documents: Sequence[Document],
    dev: Sequence[Document],
    *,
    epochs: int,
    seed: int,
    silver: SilverData | None = None,
) -> EncoderTagger:
    """Train an encoder with the default recipe, except its epochs."""
    recipe = EncoderRecipe()
    schedule = replace(recipe.schedule, epochs=epochs, patience=epochs, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return train_encoder(
            TrainDevSplit(documents, dev, LABELS, silver=silver),
            recipe=replace(recipe, schedule=schedule),
            state_path=Path(folder) / "state",
        ).tagger


def write_teacher_predictions(samples: Samples, *, seed: int, path: Path) -> None:
    """Train the teacher, label the texts, and write its predictions as a batch does."""
    teacher = train(samples.teacher_train, samples.teacher_dev, epochs=8, seed=seed)
    pairs = zip(samples.texts, teacher.predict(samples.texts), strict=True)
    lines = (json.dumps(prediction_to_json(*pair), ensure_ascii=False) + "\n" for pair in pairs)
    path.write_text("".join(lines), encoding="utf-8")
    print(evaluate_row("(the teacher)", teacher, samples)[0], flush=True)


def without_scores(pair: PredictedDocument) -> PredictedDocument:
    """Remove the scores of a prediction."""
    document, prediction = pair
    spans = tuple(replace(span, score=None) for span in prediction.spans)
    return document, replace(prediction, spans=spans, score=1.0)


def evaluate_row(
    name: str,
    tagger: EncoderTagger,
    samples: Samples,
    baselines: Sequence[Sequence[Prediction]] = (),
) -> tuple[str, list[Prediction]]:
    """Evaluate a tagger; returns a row of the table, and the predictions.

    The row has F1 with its interval, by length, and compared with baselines.
    """
    options = EvaluationOptions(labels=LABELS)
    dev = evaluate(samples.dev, tagger.predict(samples.dev), options=options)
    predictions = tagger.predict(samples.test)
    report = evaluate(samples.test, predictions, options=options)
    cells = [name, f"{dev.overall.strict.counts.f1:.4f}"]
    for figures in (report.overall, *report.by_length.values()):
        low, high = figures.strict.interval
        cells.append(f"{figures.strict.counts.f1:.4f} ({low:.3f} to {high:.3f})")
    cells += [
        format_difference(evaluate(samples.test, predictions, against=baseline, options=options))
        for baseline in baselines
    ]
    cells += [""] * (HEAD.count(" | ") + 1 - len(cells))
    return f"| {' | '.join(cells)} |", predictions


def format_difference(report: EvaluationReport) -> str:
    """Format the paired difference in overall F1."""
    assert report.comparison
    difference = report.comparison.overall.strict
    low, high = difference.interval
    return (
        f"**{difference.difference:+.4f}** ({low:+.3f} to {high:+.3f}), p {difference.p_value:.3f}"
    )


def parse_numbers(text: str) -> list[float]:
    """Parse numbers between commas."""
    return [float(one) for one in text.split(",") if one]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--weights", type=parse_numbers, default=[0.25, 0.5, 1.0])
    parser.add_argument("--sure", type=parse_numbers, default=[0.5])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument(
        "--predictions", type=Path, help="predictions of another teacher or of an earlier run"
    )
    options = parser.parse_args()
    start = time.process_time()
    samples = sample_documents(options.data / "BC5CDR")
    print(HEAD, "|---" * HEAD.count(" | ") + "|---|", sep="\n", flush=True)
    settings = {"epochs": options.epochs, "seed": options.seed}
    with tempfile.TemporaryDirectory() as folder:
        path = options.predictions or Path(folder) / "predictions.jsonl"
        if not path.exists():
            write_teacher_predictions(samples, seed=options.seed, path=path)
        teacher_predictions = read_predictions(path)
    longer_settings = settings | {"epochs": options.epochs * (GOLD + TEXTS) // GOLD}
    baselines: list[Sequence[Prediction]] = []
    for name, run_settings in (
        ("gold alone", settings),
        (f"gold alone, {longer_settings['epochs']} epochs", longer_settings),
    ):
        tagger = train(samples.gold, samples.dev, **run_settings)
        line, predictions = evaluate_row(name, tagger, samples, baselines)
        baselines.append(predictions)
        print(line, flush=True)
    reserved: ReservedDocuments = {
        "text in dev": samples.dev,
        "text held out": samples.test,
        "text in gold": samples.gold,
    }
    trials = [("", weight, teacher_predictions) for weight in options.weights]
    trials += [
        (", unweighted", weight, [*map(without_scores, teacher_predictions)])
        for weight in options.sure
    ]
    for note, weight, pairs in trials:
        silver = select_silver(pairs, SilverOptions(weight=weight), reserved, TagSet(LABELS))
        tagger = train(samples.gold, samples.dev, silver=silver, **settings)
        print(
            evaluate_row(f"gold and silver, weight {weight:g}{note}", tagger, samples, baselines)[
                0
            ],
            flush=True,
        )
    print(f"\n{(time.process_time() - start) / 60:.0f} minutes of one core.")


if __name__ == "__main__":
    main()
