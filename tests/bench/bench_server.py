"""The server: overhead of HTTP, throughput compared with a plain server, and growth of memory.

    PYTHONPATH=. python tests/bench/bench_server.py [--data DIR]
        [--only start|latency|load|busy|memory]
        [--seconds 60] [--requests 10000] [--pairs 200] [--threads N]

Server, rival, tagger and load generator are separate processes; the first three have the same
number of compute threads. Compared systems take turns in one run. The rival has the same weights in
Flask, a Hugging Face pipeline and gunicorn. Like Label Studio's examples, whose settings it has, it
computes in fp32.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from statistics import median, quantiles
from threading import Event
from typing import Any

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.encoder.checkpoint import max_positions
from tagalong.backend.models.encoder.runner import TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.openvino.compile import compile_version, read_sample_documents
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.manifest import VersionMetadata, read_manifest
from tagalong.ner.model_registry import BUNDLED_REFERENCE as NAME
from tagalong.ner.model_registry import ModelRegistry
from tests.bench.corpora import DATA, read_documents
from tests.bench.server_processes import (
    ROOT,
    DirectTagger,
    Server,
    direct_tagger,
    environment,
    generate_load,
    rival_server,
    run_training,
    start_server,
)
from tests.bench.server_requests import CONFIGS, predict_body

WARM_UP = 20  # requests before the measurement
CLIENTS = (1, 4, 16)
ROUNDS = 3
STARTS = 5
IMPORT = "import torch, transformers"
AT_ONCE = 128  # texts of one direct call of the tagger
PROMOTE_EVERY = 10.0  # seconds between two promotions
PARTS = 5  # parts of the memory test; the first is warm-up

Span = tuple[int, int, str]  # start, end, label
Answered = tuple[float, float, list[Span]]  # seconds, seconds of forward passes if known, spans


def percentile(values: Sequence[float], percent: int) -> float:
    """Compute a percentile; NaN for no values."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def spread(ratios: Sequence[float]) -> str:
    """Format a median and quartiles."""
    return (
        f"**{median(ratios):.3f}** ({percentile(ratios, 25):.3f} to {percentile(ratios, 75):.3f})"
    )


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def compare_start_times(models: Path, text: str, *, threads: int) -> Iterator[str]:
    """Time `tagalong serve` until its first prediction, and `tagalong --help`.

    They alternate with the imports that any server of such a model needs.

    """
    commands = {
        IMPORT: ["-c", IMPORT],
        "tagalong --help": ["-m", "tagalong", "--help"],
    }
    seconds_by_name: dict[str, list[float]] = {name: [] for name in (*commands, "first prediction")}
    for _ in range(STARTS):
        for name, command in commands.items():
            start = time.perf_counter()
            run = [sys.executable, *command]
            subprocess.run(run, env=environment(threads), cwd=ROOT, check=True, capture_output=True)
            seconds_by_name[name].append(time.perf_counter() - start)
        start = time.perf_counter()
        with start_server(models, threads=threads) as server:
            predict_over_http(server, None, text)
            seconds_by_name["first prediction"].append(time.perf_counter() - start)
    yield "| | seconds, median (from, to) | times the import (from, to) |"
    yield "|---|---:|---:|"
    for name, seconds in seconds_by_name.items():
        ratios = [
            seconds_of_run / import_seconds
            for seconds_of_run, import_seconds in zip(seconds, seconds_by_name[IMPORT], strict=True)
        ]
        yield (
            f"| {name} | {median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) "
            f"| {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


def compare_latency(
    server: Server, texts: Sequence[str], *, pairs: int, threads: int
) -> Iterator[str]:
    """Time each abstract over HTTP and by the tagger, in alternating order.

    Every abstract comes twice in a row; the noise is the ratio of the tagger's two times.

    """
    with direct_tagger(threads=threads) as tagger:
        seconds_over_http: list[float] = []
        seconds_alone: list[float] = []
        ratios_to_passes: list[float] = []
        for number in range(WARM_UP + pairs):
            text = texts[number // 2 % len(texts)]
            ways = (
                (predict_over_http, predict_by_tagger)
                if number % 2
                else (predict_by_tagger, predict_over_http)
            )
            answers = {way: way(server, tagger, text) for way in ways}
            over_http, _, served_spans = answers[predict_over_http]
            alone, passes, tagger_spans = answers[predict_by_tagger]
            if served_spans != tagger_spans:
                raise SystemExit("the server and the tagger find different spans")
            seconds_over_http.append(over_http)
            seconds_alone.append(alone)
            ratios_to_passes.append(over_http / passes)
    seconds_over_http, seconds_alone, ratios_to_passes = (
        values[WARM_UP:] for values in (seconds_over_http, seconds_alone, ratios_to_passes)
    )
    columns = (seconds_over_http, seconds_alone)
    ratios = [over_http / alone for over_http, alone in zip(*columns, strict=True)]
    difference = median(over_http - alone for over_http, alone in zip(*columns, strict=True))
    repeated = zip(seconds_alone[::2], seconds_alone[1::2], strict=False)
    noise = median(max(pair) / min(pair) for pair in repeated)
    yield (
        "| pairs | threads | over HTTP | tagger alone | HTTP / tagger (quartiles) | more | noise |"
    )
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    yield (
        f"| {pairs} | {threads} | {milliseconds(median(seconds_over_http))} "
        f"| {milliseconds(median(seconds_alone))} "
        f"| {spread(ratios)} | {1000 * difference:.1f} ms | {noise:.2f} |"
    )
    yield ""
    yield "| over HTTP / forward passes | p50 | p90 | p95 |"
    yield "|---|---:|---:|---:|"
    cells = [f"{percentile(ratios_to_passes, percent):.2f}" for percent in (50, 90, 95)]
    yield f"| of the same abstract | {' | '.join(cells)} |"
    seconds_of_passes = [
        over_http / ratio
        for over_http, ratio in zip(seconds_over_http, ratios_to_passes, strict=True)
    ]
    cells = [
        f"{percentile(seconds_over_http, percent) / percentile(seconds_of_passes, percent):.2f}"
        for percent in (50, 90, 95)
    ]
    yield f"| of the percentiles | {' | '.join(cells)} |"


def predict_over_http(server: Server, _: DirectTagger | None, text: str) -> Answered:
    """Predict over HTTP, on a kept connection."""
    body = predict_body([text], CONFIGS[0])
    seconds, content = server.post("/predict", body)
    (item,) = json.loads(content)["results"]
    values = [region["value"] for region in item["result"]]
    return seconds, 0.0, [(one["start"], one["end"], one["labels"][0]) for one in values]


def predict_by_tagger(_: Server, tagger: DirectTagger, text: str) -> Answered:
    """Predict directly by the tagger."""
    return tagger.predict(text)


def run_long_load(server: Server, data: Path, seconds: float) -> Iterator[str]:
    """Run many clients for long, beside polls that must never wait."""
    clients = str(max(CLIENTS))
    measurements = generate_load(
        server, data, "--clients", clients, "--seconds", str(seconds), "--poll"
    )
    generator_share = f"the generator used {measurements['cpu']:.0%} of a core"
    yield f"{clients} clients for {measurements['seconds']:.0f} s; {generator_share}."
    yield ""
    yield from format_routes(measurements)


def format_routes(measurements: dict[str, Any]) -> Iterator[str]:
    """Format answers, errors and times of every route."""
    yield "| route | answers | errors | p50 | p95 | p99 | slowest | over 1 s |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for route in ("predict", "health", "setup", "webhook"):
        times, errors = measurements[route]["seconds"], measurements[route]["errors"]
        cells = [milliseconds(percentile(times, percent)) for percent in (50, 95, 99)]
        cells += [milliseconds(max(times)), str(sum(one > 1 for one in times))]
        failed = f"{sum(errors.values())} {errors or ''}".rstrip()
        yield f"| /{route} | {len(times)} | {failed} | {' | '.join(cells)} |"


def run_busy(models: Path, data: Path, seconds: float, *, threads: int) -> Iterator[str]:
    """Time polls, which must never wait, during loading, promotions and a training.

    They start as soon as the port is open, before the first version is loaded.

    """
    store = ModelStore(models)
    versions = [publish_bundled_copy(store, name) for name in ("first", "second")]
    store.promote("encoder", versions[0])
    stopped, served = Event(), [versions[0]]

    def promote() -> None:
        while not stopped.wait(PROMOTE_EVERY):
            served.append(versions[len(served) % 2])
            store.promote("encoder", served[-1])

    with (
        ThreadPoolExecutor(1) as other,
        run_training(threads=threads),
        start_server(models, threads=threads, loaded=False) as server,
    ):
        promoting = other.submit(promote)
        try:
            options = ("--clients", "4", "--seconds", str(seconds), "--poll")
            measurements = generate_load(server, data, *options)
        finally:
            stopped.set()
        promoting.result()
        health = json.loads(server.pool.request("GET", "/health").data)
    if health["version"] not in served:
        raise SystemExit(f"{health['version']} serves, and none of {served}")
    yield f"{seconds:.0f} s beside a training, from the start on; {len(served) - 1} promotions."
    yield ""
    yield from format_routes(measurements)


def publish_bundled_copy(store: ModelStore, name: str) -> str:
    """Publish a copy of the bundled version; returns its version."""
    folder = ModelRegistry(Path("no-models"), bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
    manifest = read_manifest(folder)
    metadata = {field.name: getattr(manifest, field.name) for field in fields(VersionMetadata)}
    with store.staging_folder("encoder") as staging:
        for file in manifest.files:
            shutil.copy2(folder / file, staging / file)
        return store.publish(staging, VersionMetadata(**{**metadata, "name": name})).version


def compare_throughput(
    servers: Sequence[Server], tagger: DirectTagger, data: Path, seconds: float
) -> Iterator[str]:
    """Compare servers in turn with more and more clients, and the tagger with all texts at once."""
    documents = read_documents(data / "BC5CDR" / "test.jsonl")[:AT_ONCE]
    texts = [document.text for document in documents]
    tagger.predict_all(texts)
    names = [server.name for server in servers]
    ours, theirs = names
    yield (
        f"| clients | {ours}, requests/s | p50 | p95 | {theirs}, requests/s | p50 | p95 "
        f"| ratio of requests/s (min, max) | {ours} / tagger with all texts at once |"
    )
    yield "|---:|" + "---:|" * 8
    for clients in CLIENTS:
        rates: dict[str, list[float]] = {name: [] for name in names}
        times: dict[str, list[float]] = {name: [] for name in names}
        tagger_rates: list[float] = []
        for turn in range(ROUNDS):
            tagger_seconds = tagger.predict_all(texts)
            for server in servers if turn % 2 else reversed(servers):
                options = ["--clients", str(clients), "--seconds", str(seconds)]
                options += ["--first", str(AT_ONCE)]  # the same texts, since others are shorter
                measurements = generate_load(server, data, *options)
                if measurements["predict"]["errors"]:
                    raise SystemExit(f"{server.name}: {measurements['predict']['errors']}")
                rates[server.name].append(
                    len(measurements["predict"]["seconds"]) / measurements["seconds"]
                )
                times[server.name] += measurements["predict"]["seconds"]
            tagger_rates.append(2 * len(texts) / (tagger_seconds + tagger.predict_all(texts)))
        cells = [str(clients)]
        for name in names:
            cells.append(f"{median(rates[name]):.1f}")
            cells += [milliseconds(percentile(times[name], percent)) for percent in (50, 95)]
        ratios = [
            rate / reference for rate, reference in zip(rates[ours], rates[theirs], strict=True)
        ]
        cells.append(f"**{median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})")
        shares = [
            rate / reference for rate, reference in zip(rates[ours], tagger_rates, strict=True)
        ]
        cells.append(f"**{median(shares):.2f}** ({min(shares):.2f} to {max(shares):.2f})")
        yield f"| {' | '.join(cells)} |"


def measure_memory(server: Server, data: Path, requests: int) -> Iterator[str]:
    """Measure resident memory over many requests, and its growth after the first fifth.

    Memory fluctuates with the current work. So medians of many samples are compared too: of the
    second fifth of the requests and of the last.

    """
    measurements = generate_load(server, data, "--soak", str(requests), "--pids", str(server.pid))
    samples = measurements["samples"]
    yield "| requests | memory, MiB |"
    yield "|---:|---:|"
    for sample in samples[:: max(1, len(samples) // 20)]:
        yield f"| {sample['requests']:,} | {sum(sample['kib']) / 1024:.1f} |"
    fifth = requests / PARTS
    second_fifth = [sample for sample in samples if fifth <= sample["requests"] <= 2 * fifth]
    last_fifth = [sample for sample in samples if sample["requests"] >= requests - fifth]
    yield ""
    yield "| growth from one sample to the other | from median to median |"
    yield "|---:|---:|"
    before, after = ([sum(one["kib"]) for one in fifth] for fifth in (second_fifth, last_fifth))
    growth = median(after) / median(before) - 1
    yield f"| {after[-1] / before[0] - 1:+.1%} | **{growth:+.1%}** |"
    errors = measurements["predict"]["errors"]
    yield ""
    yield f"{requests:,} requests for predictions; errors: {errors or 'none'}."


@contextmanager
def rival_model() -> Iterator[Path]:
    """Save the bundled version as a plain model: its adapter merged into the base model."""
    tagger = load_tagger(
        ModelRegistry(Path("no-models"), bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
    )
    assert isinstance(tagger, EncoderTagger)
    assert isinstance(tagger.runner, TorchRunner)
    with tempfile.TemporaryDirectory() as folder:
        tagger.runner.model.save_pretrained(folder)
        tagger.window_encoder.tokenizer.model_max_length = max_positions(tagger.runner.model)
        tagger.window_encoder.tokenizer.save_pretrained(folder)
        yield Path(folder)


def run_parts(options: argparse.Namespace) -> Iterator[str]:
    """Run the requested parts; yields the lines of their tables."""
    threads, only = options.threads, options.only
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as models:
        os.environ["XDG_CACHE_HOME"] = cache  # the compiled model of all servers
        samples = read_sample_documents()
        bundled = ModelRegistry(Path("no-models"), bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
        compile_version(bundled, quantization_documents=samples, check_documents=samples)
        texts = [one.text for one in read_documents(options.data / "BC5CDR" / "test.jsonl")]
        if only in (None, "start"):
            yield from compare_start_times(Path(models), texts[0], threads=threads)
            yield ""
        if only in (None, "latency"):
            with start_server(Path(models), threads=threads) as server:
                yield from compare_latency(server, texts, pairs=options.pairs, threads=threads)
            yield ""
        if only in (None, "load"):
            with (
                start_server(Path(models), threads=threads) as server,
                rival_model() as folder,
                rival_server(folder, threads=threads) as rival,
                direct_tagger(threads=threads) as tagger,
            ):
                for warmed in (server, rival):
                    generate_load(warmed, options.data, "--clients", "2", "--seconds", "5")
                yield from compare_throughput(
                    (server, rival), tagger, options.data, options.seconds / 6
                )
                yield ""
                yield from run_long_load(server, options.data, options.seconds)
            yield ""
        if only in (None, "busy"):
            yield from run_busy(
                Path(models) / "busy", options.data, options.seconds, threads=threads
            )
            yield ""
        if only in (None, "memory"):
            with start_server(Path(models), threads=threads) as server:
                yield from measure_memory(server, options.data, options.requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", choices=("start", "latency", "load", "busy", "memory"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    for line in run_parts(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
