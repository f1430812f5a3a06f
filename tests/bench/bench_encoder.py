"""The encoder on BC5CDR test: a full training on train, and the bundled version.

Runs the commands of a user in separate processes: `train encoder` with its defaults and early
stopping on dev, then `evaluate` on test. Prints rows of a Markdown table. The minutes include
reading, loading, validation and publishing. Usage:

    PYTHONPATH=. python tests/bench/bench_encoder.py [--data DIR] [--only bundled|trained]

"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.corpora import DATA

HEAD = "| version | strict F1 | 1 word | 2 words | 3+ words | relaxed F1 | ECE | training |"


def run_tagalong(*arguments: str) -> Any:
    """Run a command and parse the JSON object it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tagalong", *arguments, "--json"], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def format_row(name: str, report: Mapping[str, Any], training: str) -> str:
    """Format a row of the table: F1 with its interval, and by length."""

    def format_f1(scores: Mapping[str, Any]) -> str:
        low, high = scores["interval"]
        return f"{scores['f1']:.4f} ({low:.3f} to {high:.3f})"

    lengths = [format_f1(report["by_length"][length]["strict"]) for length in ("1", "2", "3+")]
    cells = [name, format_f1(report["strict"]), *lengths, format_f1(report["relaxed"])]
    cells += [f"{report['calibration']['ece']:.3f}", training]
    return f"| {' | '.join(cells)} |"


def train(corpus: Path, models: str) -> str:
    """Train with the defaults; return epochs, minutes, and minutes on an idle machine."""
    start, cpu_start = time.monotonic(), child_cpu_seconds()
    manifest = run_tagalong(
        *("train", "encoder", str(corpus / "train.jsonl"), "--dev", str(corpus / "dev.jsonl")),
        *("--models", models, "--name", "minilm", "--allow-losses"),
    )
    minutes = (time.monotonic() - start) / 60
    all_core_minutes = (child_cpu_seconds() - cpu_start) / (os.cpu_count() or 1) / 60
    n_epochs, best_epoch = len(manifest["data"]["epochs"]), manifest["data"]["best_epoch"]
    return (
        f"{best_epoch} of {n_epochs} epochs, {minutes:.0f} min "
        f"({all_core_minutes:.0f} min of all cores)"
    )


def child_cpu_seconds() -> float:
    """Measure the CPU seconds of ended child processes."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", choices=("bundled", "trained"))
    options = parser.parse_args()
    corpus = options.data / "BC5CDR"
    test = str(corpus / "test.jsonl")
    rows = [HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    with tempfile.TemporaryDirectory() as models:
        if options.only != "trained":
            rows.append(
                format_row("bundled (LoRA)", run_tagalong("evaluate", "bundled", test), "shipped")
            )
        if options.only != "bundled":
            duration = train(corpus, models)
            report = run_tagalong("evaluate", "encoder", test, "--models", models)
            rows.append(format_row("full tuning", report, duration))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
