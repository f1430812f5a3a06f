"""The encoder on a CPU: OpenVINO beside PyTorch and the Hugging Face pipeline, same weights.

Every system reads the same abstracts of BC5CDR test, all in one call. They take turns, and ratios
are of times in one round. Strict F1 is measured on all abstracts.

If spaCy and spacy-curated-transformers are installed, spaCy's transformer pipeline is included.

    PYTHONPATH=. python tests/bench/bench_openvino.py [--data DIR] [--documents 100] [--rounds 5]

"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from transformers import logging, pipeline

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.base_models.base_model import OFFLINE_BASE_MODEL, BaseModelRef
from tagalong.backend.models.encoder.checkpoint import load_encoder, max_positions
from tagalong.backend.models.encoder.runner import ModelInputs, TorchRunner
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.openvino.compile import compile_version, read_sample_documents
from tagalong.backend.models.openvino.load import load_openvino_encoder
from tagalong.ner.document import Document, Prediction, Span
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import BUNDLED_REFERENCE as NAME
from tagalong.ner.model_registry import ModelRegistry
from tagalong.training.evaluation.evaluate import EvaluationOptions, evaluate
from tests.bench.corpora import DATA, read_documents

Found = list[list[Span]]
System = Callable[[Sequence[Document]], Found]
SPACY = "spaCy, fp32, batch of {} (head hardly trained)"
PIPELINE = "HF pipeline, fp32, batch of {}"
BATCHES = (1, 4, 16)
LEARNT = 40  # documents for spaCy's head
CPU = torch.device("cpu")


def of_tagger(tagger: EncoderTagger) -> System:
    """Spans of a tagger."""
    return lambda documents: [[*prediction.spans] for prediction in tagger.predict(documents)]


def of_pipeline(folder: Path, batch: int) -> System:
    """Spans of a Hugging Face pipeline; its windows overlap, so that no text is truncated."""
    tagger = pipeline(
        "token-classification",
        model=str(folder),
        aggregation_strategy="first",
        stride=48,
        batch_size=batch,
    )

    def find(documents: Sequence[Document]) -> Found:
        texts = [document.text for document in documents]
        return [
            [Span(one["start"], one["end"], one["entity_group"]) for one in found]
            for found in tagger(texts)
        ]

    return find


def bare(tagger: EncoderTagger, documents: Sequence[Document]) -> Callable[[], None]:
    """Only a tagger's forward passes over its batches of documents, on its streams."""
    size = tagger.documents_per_stream if tagger.runner.streams > 1 else tagger.documents_per_chunk
    chunks = []
    for start in range(0, len(documents), size):
        read = tagger.encode(documents[start : start + size])
        windows = [window for one in read for window in one.windows]
        plan = tagger.runner.plan_batches([len(window.input_ids) for window in windows])
        multiple = tagger.runner.pad_to_multiple_of
        chunks.append(
            [
                tagger.window_encoder.pad(
                    [windows[at] for at in batch], pad_to_multiple_of=multiple
                )
                for batch in plan
            ]
        )

    def run_all(batches: Sequence[ModelInputs]) -> None:
        for batch in batches:
            tagger.runner.compute_logits(batch)

    def run() -> None:
        with ThreadPoolExecutor(tagger.runner.streams) as pool:
            list(pool.map(run_all, chunks))

    return run


def f1(documents: Sequence[Document], found: Found) -> float:
    """Strict F1."""
    predictions = [Prediction(tuple(spans), 1.0, "") for spans in found]
    report = evaluate(documents, predictions, options=EvaluationOptions(resamples=1))
    return report.overall.strict.counts.f1


def timed(run: Callable[[], object]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@contextmanager
def systems(learnt: Sequence[Document]) -> Iterator[tuple[dict[str, System], EncoderTagger]]:
    """All systems, and the tagger with OpenVINO."""
    folder = ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
    manifest = read_manifest(folder)
    fp32, usual = (load_encoder(folder, manifest, device=CPU) for _ in range(2))
    assert isinstance(fp32.runner, TorchRunner)
    fp32.runner.set_precision("fp32")
    with tempfile.TemporaryDirectory() as aside:
        os.environ["XDG_CACHE_HOME"] = aside  # compile now, without the cache
        samples = read_sample_documents()
        kept = compile_version(folder, quantization_documents=samples, check_documents=samples)
        compiled = load_openvino_encoder(folder, manifest, kept)
        plain = Path(aside, "plain")
        fp32.runner.model.save_pretrained(plain)
        fp32.window_encoder.tokenizer.model_max_length = max_positions(fp32.runner.model)
        fp32.window_encoder.tokenizer.save_pretrained(plain)
        found = {PIPELINE.format(batch): of_pipeline(plain, batch) for batch in BATCHES}
        if find_spec("spacy_curated_transformers"):
            # Not a dependency, so imported only if it is installed.
            batched = import_module("tests.bench.peer_spacy").of_spacy(
                Path(BaseModelRef(OFFLINE_BASE_MODEL).name_or_path), learnt
            )
            found |= {SPACY.format(batch): batched(batch) for batch in BATCHES}
        found["tagger, PyTorch, fp32"] = of_tagger(fp32)
        if usual.runner.name != fp32.runner.name:
            found[f"tagger, {usual.runner.name}"] = of_tagger(usual)
        found[f"tagger, {compiled.runner.name}"] = of_tagger(compiled)
        yield found, compiled


def report(documents: Sequence[Document], learnt: Sequence[Document], rounds: int) -> Iterator[str]:
    """Run all systems in turn; returns the lines of the tables."""
    with systems(learnt) as (competing, compiled):
        passes = bare(compiled, documents)
        ours = list(competing)[-1]
        scores = {name: f1(documents, run(documents)) for name, run in competing.items()}
        taken: dict[str, list[float]] = {name: [] for name in (*competing, "passes")}
        for turn in range(rounds):
            names = list(taken)[:: 1 if turn % 2 else -1]
            for name in names:
                run = passes if name == "passes" else lambda name=name: competing[name](documents)
                taken[name].append(timed(run))
    rivals = [PIPELINE.format(batch) for batch in BATCHES]
    best = min(rivals, key=lambda name: median(taken[name]))
    share = median(one / all_ for one, all_ in zip(taken["passes"], taken[ours], strict=True))
    yield (
        f"{len(documents)} abstracts, {rounds} rounds, {os.cpu_count()} {platform.machine()} CPUs, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "openvino"))
        + f". The pipeline's best batch is {best.rpartition(' ')[2]}."
    )
    yield ""
    yield "| system | strict F1 | abstracts/s, median | times the pipeline's best (min, max) |"
    yield "|---|---:|---:|---:|"
    for name in competing:
        ratios = [rival / own for rival, own in zip(taken[best], taken[name], strict=True)]
        spread = f"**{median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"
        speed = len(documents) / median(taken[name])
        yield f"| {name} | {scores[name]:.4f} | {speed:.1f} | {spread} |"
    yield ""
    yield f"The forward passes take {share:.1%} of the tagger's time."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.set_verbosity_error()
    gold = read_documents(options.data / "BC5CDR" / "test.jsonl")[: options.documents]
    learnt = read_documents(options.data / "BC5CDR" / "dev.jsonl")[:LEARNT]
    print("\n".join(report(gold, learnt, options.rounds)))


if __name__ == "__main__":
    main()
