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

SpanLists = list[list[Span]]
System = Callable[[Sequence[Document]], SpanLists]
SPACY = "spaCy, fp32, batch of {} (head hardly trained)"
PIPELINE = "HF pipeline, fp32, batch of {}"
BATCHES = (1, 4, 16)
TRAINING_DOCUMENTS = 40  # documents for spaCy's head
CPU = torch.device("cpu")


def tagger_system(tagger: EncoderTagger) -> System:
    """Make a system of a tagger."""
    return lambda documents: [[*prediction.spans] for prediction in tagger.predict(documents)]


def pipeline_system(folder: Path, batch: int) -> System:
    """Make a system of a Hugging Face pipeline.

    Its windows overlap, so that no text is truncated.
    """
    tagger = pipeline(
        "token-classification",
        model=str(folder),
        aggregation_strategy="first",
        stride=48,
        batch_size=batch,
    )

    def find(documents: Sequence[Document]) -> SpanLists:
        texts = [document.text for document in documents]
        return [
            [Span(entity["start"], entity["end"], entity["entity_group"]) for entity in entities]
            for entities in tagger(texts)
        ]

    return find


def make_forward_passes(tagger: EncoderTagger, documents: Sequence[Document]) -> Callable[[], None]:
    """Make a function that runs only a tagger's forward passes, on its streams."""
    size = tagger.documents_per_stream if tagger.runner.streams > 1 else tagger.documents_per_chunk
    chunks = []
    for start in range(0, len(documents), size):
        encoded = tagger.encode(documents[start : start + size])
        windows = [window for one in encoded for window in one.windows]
        batches = tagger.runner.plan_batches([len(window.input_ids) for window in windows])
        multiple = tagger.runner.pad_to_multiple_of
        chunks.append(
            [
                tagger.window_encoder.pad(
                    [windows[at] for at in batch], pad_to_multiple_of=multiple
                )
                for batch in batches
            ]
        )

    def run_all(batches: Sequence[ModelInputs]) -> None:
        for batch in batches:
            tagger.runner.compute_logits(batch)

    def run() -> None:
        with ThreadPoolExecutor(tagger.runner.streams) as pool:
            list(pool.map(run_all, chunks))

    return run


def compute_f1(documents: Sequence[Document], span_lists: SpanLists) -> float:
    """Compute strict F1."""
    predictions = [Prediction(tuple(spans), 1.0, "") for spans in span_lists]
    report = evaluate(documents, predictions, options=EvaluationOptions(resamples=1))
    return report.overall.strict.counts.f1


def time_call(run: Callable[[], object]) -> float:
    """Measure the seconds of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@contextmanager
def build_systems(
    training_documents: Sequence[Document],
) -> Iterator[tuple[dict[str, System], EncoderTagger]]:
    """Load all systems; yields them by name, and the tagger with OpenVINO."""
    folder = ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
    manifest = read_manifest(folder)
    fp32, default = (load_encoder(folder, manifest, device=CPU) for _ in range(2))
    assert isinstance(fp32.runner, TorchRunner)
    fp32.runner.set_precision("fp32")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache  # compile now, without the cache
        samples = read_sample_documents()
        compiled_file = compile_version(
            folder, quantization_documents=samples, check_documents=samples
        )
        compiled = load_openvino_encoder(folder, manifest, compiled_file)
        plain_folder = Path(cache, "plain")
        fp32.runner.model.save_pretrained(plain_folder)
        fp32.window_encoder.tokenizer.model_max_length = max_positions(fp32.runner.model)
        fp32.window_encoder.tokenizer.save_pretrained(plain_folder)
        by_name = {
            PIPELINE.format(batch): pipeline_system(plain_folder, batch) for batch in BATCHES
        }
        if find_spec("spacy_curated_transformers"):
            # Not a dependency, so imported only if it is installed.
            make_spacy_system = import_module("tests.bench.peer_spacy").train_spacy(
                Path(BaseModelRef(OFFLINE_BASE_MODEL).name_or_path), training_documents
            )
            by_name |= {SPACY.format(batch): make_spacy_system(batch) for batch in BATCHES}
        by_name["tagger, PyTorch, fp32"] = tagger_system(fp32)
        if default.runner.name != fp32.runner.name:
            by_name[f"tagger, {default.runner.name}"] = tagger_system(default)
        by_name[f"tagger, {compiled.runner.name}"] = tagger_system(compiled)
        yield by_name, compiled


def compare_systems(
    documents: Sequence[Document], training_documents: Sequence[Document], rounds: int
) -> Iterator[str]:
    """Run all systems in turn; yields the lines of the tables."""
    with build_systems(training_documents) as (by_name, compiled):
        passes = make_forward_passes(compiled, documents)
        openvino_name = list(by_name)[-1]
        scores = {name: compute_f1(documents, run(documents)) for name, run in by_name.items()}
        seconds: dict[str, list[float]] = {name: [] for name in (*by_name, "passes")}
        for round_number in range(rounds):
            names = list(seconds)[:: 1 if round_number % 2 else -1]
            for name in names:
                run = passes if name == "passes" else lambda name=name: by_name[name](documents)
                seconds[name].append(time_call(run))
    rivals = [PIPELINE.format(batch) for batch in BATCHES]
    best_pipeline = min(rivals, key=lambda name: median(seconds[name]))
    pass_share = median(
        pass_seconds / tagger_seconds
        for pass_seconds, tagger_seconds in zip(
            seconds["passes"], seconds[openvino_name], strict=True
        )
    )
    yield (
        f"{len(documents)} abstracts, {rounds} rounds, {os.cpu_count()} {platform.machine()} CPUs, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "openvino"))
        + f". The pipeline's best batch is {best_pipeline.rpartition(' ')[2]}."
    )
    yield ""
    yield "| system | strict F1 | abstracts/s, median | times the pipeline's best (min, max) |"
    yield "|---|---:|---:|---:|"
    for name in by_name:
        ratios = [
            pipeline_seconds / system_seconds
            for pipeline_seconds, system_seconds in zip(
                seconds[best_pipeline], seconds[name], strict=True
            )
        ]
        spread = f"**{median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"
        speed = len(documents) / median(seconds[name])
        yield f"| {name} | {scores[name]:.4f} | {speed:.1f} | {spread} |"
    yield ""
    yield f"The forward passes take {pass_share:.1%} of the tagger's time."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.set_verbosity_error()
    gold = read_documents(options.data / "BC5CDR" / "test.jsonl")[: options.documents]
    training_documents = read_documents(options.data / "BC5CDR" / "dev.jsonl")[:TRAINING_DOCUMENTS]
    print("\n".join(compare_systems(gold, training_documents, options.rounds)))


if __name__ == "__main__":
    main()
