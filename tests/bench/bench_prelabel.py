"""The overhead of a batch over the tagger: time, file to file, and memory.

The documents are abstracts of BC5CDR, repeated with new ids. For time, `tagalong prelabel`'s work
alternates block by block with the tagger alone. The tagger gets each block at once, so it can sort
all of it by length. For memory, the command runs in its own process on a tenth of the documents and
on all.

    PYTHONPATH=. python tests/bench/bench_prelabel.py [--documents 10000] [--blocks 10]
        [--only time|memory]

"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tagalong.backend.batch.files import FileSource, PredictionsFileSink
from tagalong.backend.batch.journal import BatchJournal
from tagalong.backend.batch.local_engine import make_local_engine
from tagalong.backend.batch.passes import BatchPasses
from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.ner.document import Document
from tagalong.ner.model_registry import BUNDLED_REFERENCE as NAME
from tagalong.ner.model_registry import ModelRegistry
from tests.bench.corpora import DATA, read_documents

MIB = 1 << 20


def repeat_documents(corpus: list[Document], count: int) -> list[Document]:
    """Repeat documents with new ids and different texts."""
    return [
        Document(str(number), f"{document.text} {number}")
        for number, document in enumerate(islice(cycle(corpus), count))
    ]


def write_texts(documents: list[Document], path: Path) -> None:
    """Write texts as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps({"id": document.id, "text": document.text}) + "\n")


def time_batch(tagger: DocumentTagger, source: Path, out: Path) -> float:
    """Measure the seconds of the command's work, from file to file."""
    start = time.perf_counter()
    items = FileSource(source)
    sum(1 for _ in items)  # the command counts first
    sink = PredictionsFileSink(out)
    with BatchJournal(out.with_suffix(".journal")) as journal:
        journal.write_description({"source": str(source)})
        BatchPasses(journal, sink).predict(items, make_local_engine(tagger))
        sink.finish(journal)
        journal.remove()
    return time.perf_counter() - start


def time_tagger(tagger: DocumentTagger, documents: list[Document]) -> float:
    """Measure the seconds of the tagger, with everything in memory."""
    start = time.perf_counter()
    tagger.predict(documents)
    return time.perf_counter() - start


def measure_time(documents: list[Document], blocks: int, folder: Path) -> None:
    """Compare batch and tagger, block by block."""
    tagger = load_tagger(
        ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
    )
    tagger.predict(documents[:64])  # warm-up
    size = len(documents) // blocks
    batch_seconds, tagger_seconds, ratios = 0.0, 0.0, []
    for number in range(blocks):
        block = documents[number * size : (number + 1) * size]
        source, out = folder / "texts.jsonl", folder / f"out-{number}.jsonl"
        write_texts(block, source)
        seconds = {}
        for way in ("batch", "alone") if number % 2 else ("alone", "batch"):
            if way == "alone":
                seconds[way] = time_tagger(tagger, block)
            else:
                seconds[way] = time_batch(tagger, source, out)
        batch_seconds += seconds["batch"]
        tagger_seconds += seconds["alone"]
        ratios.append(seconds["alone"] / seconds["batch"])
    print(
        "| documents | speed of the batch / speed of the tagger alone | of one block (min, max) |"
    )
    print("|---:|---:|---:|")
    print(
        f"| {size * blocks:,} | **{tagger_seconds / batch_seconds:.3f}** "
        f"(median {statistics.median(ratios):.3f}) | "
        f"{min(ratios):.3f} to {max(ratios):.3f} |"
    )


def measure_peak(documents: list[Document], folder: Path) -> float:
    """Measure the peak memory of the command, in MiB."""
    source = folder / f"{len(documents)}.jsonl"
    write_texts(documents, source)
    command = [
        "-m",
        "tagalong",
        "prelabel",
        str(source),
        "--out",
        str(folder / f"{source.stem}.out"),
    ]
    probe = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], "
        "check=True, stdout=sys.stderr); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", probe, *command, "--models", str(folder / "models")],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    return int(done.stdout) * 1024 / MIB  # Linux counts KiB


def measure_memory(documents: list[Document], folder: Path) -> None:
    """Compare the peak memory for a tenth of the documents and for all."""
    few, many = (measure_peak(documents[:count], folder) for count in (len(documents) // 10, None))
    print("| documents | peak, MiB | growth |")
    print("|---:|---:|---:|")
    print(f"| {len(documents) // 10:,} | {few:.0f} | |")
    print(f"| {len(documents):,} | {many:.0f} | **{many / few - 1:+.1%}** |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--only", choices=("time", "memory"))
    options = parser.parse_args()
    corpus = [
        document
        for part in ("train", "dev", "test")
        for document in read_documents(options.data / "BC5CDR" / f"{part}.jsonl")
    ]
    documents = repeat_documents(corpus, options.documents)
    with tempfile.TemporaryDirectory() as name:
        if options.only in (None, "time"):
            measure_time(documents, options.blocks, Path(name))
            print()
        if options.only in (None, "memory"):
            measure_memory(documents, Path(name))


if __name__ == "__main__":
    main()
