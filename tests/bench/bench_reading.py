"""Read a large Label Studio export: seconds, and peak memory relative to the file size.

The export repeats a corpus with new ids until it has enough abstracts. Each reader runs in its own
process, so that its peak can be measured. Usage:

    PYTHONPATH=. python tests/bench/bench_reading.py [--documents 20000] [--data ../shared/data]

"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

MIB = 1 << 20


def make_export(corpus: list[dict[str, Any]], path: Path, count: int) -> None:
    """Write an export in the shape of Label Studio 1.23, compact as the server sends it."""
    with path.open("w", encoding="utf-8") as file:
        for number, document in enumerate(islice(cycle(corpus), count), start=1):
            file.write("[" if number == 1 else ",")
            json.dump(make_task(document, number), file, ensure_ascii=False, separators=(",", ":"))
        file.write("]")


def make_task(document: dict[str, Any], number: int) -> dict[str, Any]:
    """One task with one annotation, field for field."""
    date = "2026-11-22T18:08:35.192592Z"
    text = document["text"]
    result = [
        {
            "value": {
                "start": entity["start"],
                "end": entity["end"],
                "text": text[entity["start"] : entity["end"]],
                "labels": [entity["label"]],
            },
            "id": f"{number:06x}{index:04x}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "origin": "manual",
        }
        for index, entity in enumerate(document["entities"])
    ]
    annotation = {
        "id": number,
        "completed_by": 1,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": date,
        "updated_at": date,
        "draft_created_at": None,
        "lead_time": 41.7,
        "prediction": {},
        "result_count": len(result),
        "unique_id": f"131ad7c6-b1cb-4f2e-9870-{number:012x}",
        "import_id": None,
        "last_action": None,
        "bulk_created": False,
        "task": number,
        "project": 1,
        "updated_by": 1,
        "parent_prediction": None,
        "parent_annotation": None,
        "last_created_by": None,
    }
    return {
        "id": number,
        "annotations": [annotation],
        "drafts": [],
        "predictions": [],
        "data": {"text": text, "pmid": document["id"]},
        "meta": {},
        "created_at": date,
        "updated_at": date,
        "allow_skip": True,
        "inner_id": number,
        "total_annotations": 1,
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": 1,
        "updated_by": 1,
        "comment_authors": [],
    }


def measure_reader(reader: str, path: Path) -> dict[str, float]:
    """Read an export in this process; returns time and memory."""
    start = time.perf_counter()
    if reader == "tagalong":
        from tagalong.training.corpus import read_corpus

        documents = len(read_corpus([path]).documents)
    else:
        documents = len(load_json(path))
    seconds = time.perf_counter() - start
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(one.split()[1]) for one in lines if one.startswith("VmHWM")) * 1024
    return {"documents": documents, "seconds": seconds, "peak": peak}


def load_json(path: Path) -> Any:
    """Load everything at once, as most scripts do."""
    with path.open(encoding="utf-8") as file:
        return json.load(file)


def main() -> None:
    """Create the export, read it each way, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--data", default=os.environ.get("TAGALONG_DATA", "../shared/data"))
    parser.add_argument("--read", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        reader, path = options.read
        print(json.dumps(measure_reader(reader, Path(path))))
        return
    import ijson

    source = Path(options.data) / "BC5CDR"
    corpus = [
        json.loads(line)
        for part in ("train", "dev", "test")
        for line in (source / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder) / "export.json"
        make_export(corpus, export, options.documents)
        size = export.stat().st_size
        print(f"{options.documents:,} tasks, {size / MIB:.0f} MiB, ijson's {ijson.backend}")
        for reader in ("tagalong", "json.load"):
            command = [sys.executable, __file__, "--read", reader, str(export)]
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
            done = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
            result = json.loads(done.stdout)
            print(
                f"{reader:10} {result['documents']:6,} documents  {result['seconds']:5.1f} s  "
                f"peak {result['peak'] / MIB:5.0f} MiB = {result['peak'] / size:.2f} x the file"
            )


if __name__ == "__main__":
    main()
