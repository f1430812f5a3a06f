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
GOLD, TEXTS, TAUGHT, SCHOOL, DEV, TEST = 50, 400, 200, 100, 150, 200  # documents
WORDS = 100  # of a training document
HEAD = (
    "| trained on | dev F1 | test F1 | 1 word | 2 words | 3+ words "
    "| difference from gold alone | from gold with as many steps |"
)


@dataclass(frozen=True)
class Parts:
    """The documents of each role; no two share any."""

    gold: Sequence[Document]
    texts: Sequence[Document]
    taught: Sequence[Document]
    school: Sequence[Document]
    dev: Sequence[Document]
    test: Sequence[Document]


def draw(data: Path) -> Parts:
    """Draw the documents of each role, always the same."""
    train, dev, test = (
        Random(7).sample(documents, len(documents))
        for documents in (
            read_documents(data / f"{name}.jsonl") for name in ("train", "dev", "test")
        )
    )
    train, dev = [list(map(shortened, documents)) for documents in (train, dev)]
    texts = [Document(one.id, one.text) for one in train[GOLD : GOLD + TEXTS]]
    school, ours = TAUGHT + SCHOOL, TAUGHT + SCHOOL + DEV
    return Parts(
        train[:GOLD], texts, dev[:TAUGHT], dev[TAUGHT:school], dev[school:ours], test[:TEST]
    )


def shortened(document: Document) -> Document:
    """Its first words, up to the end of the last entity that starts in them."""
    ends = [end for _, end in word_offsets(document.text)[:WORDS]]
    end = ends[-1]
    while inside := [span.end for span in document.spans if span.start < end < span.end]:
        end = max(inside)
    kept = tuple(span for span in document.spans if span.end <= end)
    return Document(document.id, document.text[:end], kept)


def train(
    documents: Sequence[Document],
    dev: Sequence[Document],
    *,
    epochs: int,
    seed: int,
    silver: SilverData | None = None,
) -> EncoderTagger:
    """Train an encoder with the default recipe, except its epochs."""
    plain = EncoderRecipe()
    schedule = replace(plain.schedule, epochs=epochs, patience=epochs, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return train_encoder(
            TrainDevSplit(documents, dev, LABELS, silver=silver),
            recipe=replace(plain, schedule=schedule),
            state_path=Path(folder) / "state",
        ).tagger


def teach(parts: Parts, *, seed: int, path: Path) -> None:
    """Train the teacher, label the texts, and write its predictions as a batch does."""
    teacher = train(parts.taught, parts.school, epochs=8, seed=seed)
    pairs = zip(parts.texts, teacher.predict(parts.texts), strict=True)
    lines = (json.dumps(prediction_to_json(*pair), ensure_ascii=False) + "\n" for pair in pairs)
    path.write_text("".join(lines), encoding="utf-8")
    print(row("(the teacher)", teacher, parts)[0], flush=True)


def without_scores(pair: PredictedDocument) -> PredictedDocument:
    """A prediction without its scores."""
    document, said = pair
    spans = tuple(replace(span, score=None) for span in said.spans)
    return document, replace(said, spans=spans, score=1.0)


def row(
    name: str, tagger: EncoderTagger, parts: Parts, rivals: Sequence[Sequence[Prediction]] = ()
) -> tuple[str, list[Prediction]]:
    """One row of the table: F1 with its interval, by length, and against other systems."""
    options = EvaluationOptions(labels=LABELS)
    dev = evaluate(parts.dev, tagger.predict(parts.dev), options=options)
    said = tagger.predict(parts.test)
    report = evaluate(parts.test, said, options=options)
    cells = [name, f"{dev.overall.strict.counts.f1:.4f}"]
    for figures in (report.overall, *report.by_length.values()):
        low, high = figures.strict.interval
        cells.append(f"{figures.strict.counts.f1:.4f} ({low:.3f} to {high:.3f})")
    cells += [gain(evaluate(parts.test, said, against=one, options=options)) for one in rivals]
    cells += [""] * (HEAD.count(" | ") + 1 - len(cells))
    return f"| {' | '.join(cells)} |", said


def gain(report: EvaluationReport) -> str:
    """The paired difference, overall."""
    assert report.comparison
    found = report.comparison.overall.strict
    low, high = found.interval
    return f"**{found.difference:+.4f}** ({low:+.3f} to {high:+.3f}), p {found.p_value:.3f}"


def numbers(text: str) -> list[float]:
    """Parse numbers between commas."""
    return [float(one) for one in text.split(",") if one]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--weights", type=numbers, default=[0.25, 0.5, 1.0])
    parser.add_argument("--sure", type=numbers, default=[0.5])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument(
        "--predictions", type=Path, help="predictions of another teacher or of an earlier run"
    )
    options = parser.parse_args()
    start = time.process_time()
    parts = draw(options.data / "BC5CDR")
    print(HEAD, "|---" * HEAD.count(" | ") + "|---|", sep="\n", flush=True)
    how = {"epochs": options.epochs, "seed": options.seed}
    with tempfile.TemporaryDirectory() as folder:
        path = options.predictions or Path(folder) / "predictions.jsonl"
        if not path.exists():
            teach(parts, seed=options.seed, path=path)
        said = read_predictions(path)
    longer = how | {"epochs": options.epochs * (GOLD + TEXTS) // GOLD}
    rivals: list[Sequence[Prediction]] = []
    for name, settings in (("gold alone", how), (f"gold alone, {longer['epochs']} epochs", longer)):
        tagger = train(parts.gold, parts.dev, **settings)
        line, predictions = row(name, tagger, parts, rivals)
        rivals.append(predictions)
        print(line, flush=True)
    reserved: ReservedDocuments = {
        "text in dev": parts.dev,
        "text held out": parts.test,
        "text in gold": parts.gold,
    }
    trials = [("", weight, said) for weight in options.weights]
    trials += [(", unweighted", weight, [*map(without_scores, said)]) for weight in options.sure]
    for note, weight, pairs in trials:
        silver = select_silver(pairs, SilverOptions(weight=weight), reserved, LABELS)
        tagger = train(parts.gold, parts.dev, silver=silver, **how)
        print(
            row(f"gold and silver, weight {weight:g}{note}", tagger, parts, rivals)[0], flush=True
        )
    print(f"\n{(time.process_time() - start) / 60:.0f} minutes of one core.")


if __name__ == "__main__":
    main()
