"""The encoder on every corpus: strict F1 by entity length.

Runs the commands of a user: `train encoder` with MiniLM on train, with early stopping on dev, then
`evaluate` on test. A corpus without test is evaluated on dev, with a held-out share of train for
early stopping. Every corpus is a line of a file, so a stopped run resumes. Prints rows of a
Markdown table.

    PYTHONPATH=. python tests/bench/bench_corpora.py [--data DIR] [--results DIR] [--corpus NAME]
        [--show]

"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tagalong.ner.words import word_offsets
from tests.bench.bench_encoder import run_tagalong
from tests.bench.corpora import DATA, read_documents

# Four corpora of the study and two more, with the split for evaluation.
CORPORA = {
    "BC5CDR": "test",
    "ChemProt": "test",
    "BioRED": "dev",
    "JNLPBA": "test",
    "NCBI-disease": "dev",
    "BC2GM": "test",
}
LENGTHS = ("1", "2", "3+")
WORDS = 1_000_000  # trained on: twelve epochs of BC5CDR train
EPOCHS = (3, 15)  # minimum and maximum
HEAD = (
    "| corpus | evaluated on | strict F1 | 1 word | 2 words | 3+ words | relaxed F1 | share of 3+ |"
)


def epochs_for(corpus: Path) -> int:
    """Compute the epochs at which all corpora cost about the same."""
    words = sum(len(word_offsets(one.text)) for one in read_documents(corpus / "train.jsonl"))
    return max(EPOCHS[0], min(EPOCHS[1], round(WORDS / words)))


def train_and_evaluate(corpus: Path, split: str) -> dict[str, Any]:
    """Train and evaluate on a corpus."""
    epochs = epochs_for(corpus)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as models:
        models_option = ("--models", models)
        dev = () if split == "dev" else ("--dev", str(corpus / "dev.jsonl"))
        train = str(corpus / "train.jsonl")
        options = ("--epochs", str(epochs), "--allow-losses", *models_option)  # nested: ChemProt
        run_tagalong("train", "encoder", train, *dev, *options)
        minutes = (time.monotonic() - start) / 60
        report = run_tagalong("evaluate", "encoder", str(corpus / f"{split}.jsonl"), *models_option)
    scores = {name: report[name] for name in ("documents", "strict", "relaxed", "by_length")}
    return {"corpus": corpus.name, "side": split, "epochs": epochs, "minutes": minutes, **scores}


def format_row(result: dict[str, Any]) -> str:
    """Format a row of the table."""

    def format_f1(scores: dict[str, Any]) -> str:
        low, high = scores["interval"]
        return f"{scores['f1']:.3f} ({low:.3f} to {high:.3f})"

    by_length = [result["by_length"][length]["strict"] for length in LENGTHS]
    share = by_length[-1]["gold"] / max(1, result["strict"]["gold"])
    cells = [
        result["corpus"],
        f"{result['side']}, {result['documents']:,}",
        format_f1(result["strict"]),
    ]
    cells += [*map(format_f1, by_length), f"{result['relaxed']['f1']:.3f}", f"{share:.0%}"]
    return f"| {' | '.join(cells)} |"


def read_results(results: Path) -> dict[str, dict[str, Any]]:
    """Read the finished results."""
    path = results / "corpora.jsonl"
    lines = [json.loads(line) for line in path.open()] if path.is_file() else []
    return {line["corpus"]: line for line in lines}


def main() -> None:
    """Measure what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--results", type=Path, default=Path("build/corpora"))
    parser.add_argument("--corpus", choices=CORPORA)
    parser.add_argument("--show", action="store_true", help="print finished results only")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for name, split in {} if options.show else CORPORA.items():
        if name in read_results(options.results) or options.corpus not in (None, name):
            continue
        result = train_and_evaluate(options.data / name, split)
        with (options.results / "corpora.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
        progress = f"{result['epochs']} epochs, {result['minutes']:.0f} minutes"
        print(f"{name}: {progress}", file=sys.stderr)
    results = read_results(options.results)
    print("\n".join([HEAD, "|---" * HEAD.count(" | ") + "|---|"]))
    print("\n".join(format_row(results[name]) for name in CORPORA if name in results))


if __name__ == "__main__":
    main()
