"""The LLM tier, trained here: its accuracy, its number of passes, and its exactness.

A Llama of four layers with MiniLM's vocabulary and embeddings is trained on BC5CDR with the command
of a user. It is compared on test with its single pass, the same base model as an encoder, and the
bundled encoder. Then its decodings tag the test documents, with drafts of the bundled encoder. This
gives passes and tokens of each as distributions, tags against `sequential` in fp32, and the effect
of bf16. The study's decoding is counted from the true answers.

    PYTHONPATH=. python tests/bench/bench_llm.py [--models DIR] [--only trained|scores|passes|exact]

With --models the version is kept there, and not trained again.

"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.utils import logging

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.base_models.load_options import Precision
from tagalong.backend.models.llm.prompt import PromptBuilder
from tagalong.backend.models.llm.slot_decoder import DecodedWindow, DecodingMode
from tagalong.backend.models.llm.tagger import LLMTagger
from tagalong.backend.models.load import load_tagger
from tagalong.backend.storage.model_store import ModelStore
from tagalong.ner.document import Document
from tagalong.ner.model_registry import BUNDLED_REFERENCE as NAME
from tagalong.ner.model_registry import ModelRegistry
from tagalong.ner.words import word_offsets
from tagalong.training.evaluation.evaluate import evaluate
from tagalong.training.evaluation.report import report_to_json
from tests.bench.bench_encoder import run_tagalong
from tests.bench.corpora import DATA, read_documents
from tests.bench.llm_bases import llama_from_minilm
from tests.bench.paper_decoding import PROMPT, PaperDecoder

TRAINING = (
    *("--full", "--learning-rate", "1e-3", "--epochs", "6", "--batch-tokens", "2048"),
    *("--window", "256"),
)
ABLATION = ("--name", "ablation", "--learning-rate", "1e-3", "--dropout", "0")
DEV_DOCUMENTS = 100  # dev documents for early stopping: all would take a third of the time
BATCH_SIZE = 16  # rows of a batch
WHOLE_DOCUMENT = 4096  # tokens: no document is longer


def train(corpus: Path, folder: Path) -> Iterator[str]:
    """Train the LLM, unless the version exists."""
    if (folder / "models" / "llm" / "current").exists():
        return
    base = llama_from_minilm(folder / "base")
    yield train_and_describe(
        *("llm", str(corpus / "train.jsonl"), "--dev", str(write_dev_sample(corpus, folder))),
        *("--base", str(base), "--models", str(folder / "models"), "--name", "llama", *TRAINING),
    )
    yield ""


def train_ablation(corpus: Path, folder: Path) -> Iterator[str]:
    """Train the same base model to tag every word in one pass, as an encoder."""
    if (folder / "ablation" / "encoder" / "current").exists():
        return
    yield train_and_describe(
        *("encoder", str(corpus / "train.jsonl"), "--dev", str(write_dev_sample(corpus, folder))),
        *("--base", str(folder / "base"), "--models", str(folder / "ablation"), *ABLATION),
    )
    yield ""


def write_dev_sample(corpus: Path, folder: Path) -> Path:
    """Write some documents of dev, for early stopping."""
    dev = folder / "dev.jsonl"
    with (corpus / "dev.jsonl").open(encoding="utf-8") as lines:
        dev.write_text("".join(islice(lines, DEV_DOCUMENTS)), encoding="utf-8")
    return dev


def train_and_describe(*arguments: str) -> str:
    """Train and describe the training."""
    start = time.monotonic()
    manifest = run_tagalong("train", *arguments)
    minutes = (time.monotonic() - start) / 60
    scores = ", ".join(f"{score:.4f}" for score in manifest["data"]["epochs"])
    best = manifest["data"]["best_epoch"]
    return (
        f"{manifest['version']}: {minutes:.0f} minutes; dev F1 of each epoch {scores}; "
        f"epoch {best} kept."
    )


def compare_scores(corpus: Path, folder: Path, documents: Sequence[Document]) -> Iterator[str]:
    """Evaluate the LLM and its alternatives on test; yields the table of F1 by length."""
    test = str(corpus / "test.jsonl")
    yield "| tags by | strict F1 | 1 word | 2 words | 3+ words | relaxed F1 | ECE |"
    yield "|---|---|---|---|---|---|---|"
    yield format_scores(
        "LLM, verified", run_tagalong("evaluate", "llm", test, "--models", str(folder / "models"))
    )
    llm = DraftedLLM(folder, documents, precision="auto")
    llm.tagger.decoding_mode = "single_pass"
    blank = [replace(document, spans=()) for document in documents]
    report = report_to_json(evaluate(documents, llm.tagger.predict(blank)))
    yield format_scores("LLM, single pass", report)
    report = run_tagalong("evaluate", "encoder", test, "--models", str(folder / "ablation"))
    yield format_scores("the same base model as an encoder", report)
    yield format_scores("bundled encoder", run_tagalong("evaluate", "bundled", test))


def format_scores(name: str, report: Mapping[str, Any]) -> str:
    """Format a row of the table."""
    figures = [report["strict"]]
    figures += [report["by_length"][length]["strict"] for length in ("1", "2", "3+")]
    figures += [report["relaxed"]]
    cells = [
        f"{one['f1']:.4f} ({one['interval'][0]:.3f} to {one['interval'][1]:.3f})" for one in figures
    ]
    return f"| {name} | {' | '.join(cells)} | {report['calibration']['ece']:.3f} |"


class DraftedLLM:
    """The trained LLM tagger, with the encoder's drafts of documents.

    Args:
        folder: Folder of the version.
        documents: Documents to tag.
        precision: Arithmetic of the passes.
        window: Tokens of a window; None for the version's own.

    """

    def __init__(
        self,
        folder: Path,
        documents: Sequence[Document],
        *,
        precision: Precision,
        window: int | None = None,
    ) -> None:
        self.documents = documents
        version = ModelStore(folder / "models").resolve("llm")
        self.tokenizer = AutoTokenizer.from_pretrained(version)
        tagger = load_tagger(version, device=torch.device("cpu"))
        assert isinstance(tagger, LLMTagger)
        tagger.slot_decoder.scorer._precision = precision
        if precision == "fp32":
            tagger.slot_decoder.scorer.model.float()  # versions are served in bf16
        if window is not None:
            verbalizers = tagger.prompt_builder.verbalizers
            tagger.prompt_builder = PromptBuilder(
                self.tokenizer, tagger.tag_set, verbalizers, window=window
            )
        tagger.drafter = load_tagger(
            ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER).resolve(NAME)
        ).predict
        self.tagger = tagger
        self.words = [word_offsets(document.text) for document in documents]
        self.layouts = tagger.prompt_builder.build([one.text for one in documents], self.words)
        drafts = [*tagger._draft_tags(documents, self.words)]
        self.drafts = [
            drafts[layout.document_index][layout.words.start : layout.words.stop]
            for layout in self.layouts
        ]

    def decode(self, decoding: DecodingMode, *, use_drafts: bool = False) -> list[DecodedWindow]:
        """Decode all windows, those of similar length together."""
        order = sorted(
            range(len(self.layouts)), key=lambda index: len(self.layouts[index].input_ids)
        )
        decoded_by_index: dict[int, DecodedWindow] = {}
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            layouts = [self.layouts[index] for index in batch]
            drafts = [self.drafts[index] for index in batch] if use_drafts else None
            decoded = self.tagger.slot_decoder.decode(layouts, drafts, decoding_mode=decoding)
            decoded_by_index |= zip(batch, decoded, strict=True)
        return [decoded_by_index[index] for index in range(len(order))]

    def total_by_document(self, costs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
        """Total the sequential calls and tokens of each document, from its windows.

        A document's windows share a batch, so it takes the calls of the slowest one.

        """
        calls, tokens = [0] * len(self.documents), [0] * len(self.documents)
        for layout, (window_passes, window_tokens) in zip(self.layouts, costs, strict=True):
            calls[layout.document_index] = max(calls[layout.document_index], window_passes)
            tokens[layout.document_index] += window_tokens
        return calls, tokens


def compare_passes(llm: DraftedLLM) -> Iterator[str]:
    """Count sequential model calls and tokens of each decoding; yields the table."""
    yield "| decoding | passes: mean | p50 | p90 | max | tokens run per word: mean | p90 | max |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    verified = llm.decode("verified", use_drafts=True)
    lengths = [len(words) for words in llm.words]
    for name, decoded in (
        ("verified, encoder's drafts", verified),
        ("verified, from O", llm.decode("verified")),
        ("single pass", llm.decode("single_pass")),
    ):
        costs = llm.total_by_document([(one.passes, one.tokens) for one in decoded])
        yield format_row(name, *costs, words=lengths)
    # `sequential` processes every token once, except the last slot.
    costs = llm.total_by_document([(len(one.words), one.slot_positions[-1]) for one in llm.layouts])
    yield format_row("sequential", *costs, words=lengths)
    answers, prompts = count_paper_tokens(llm)
    tokens = [one + other for one, other in zip(answers, prompts, strict=True)]
    yield format_row("study's (true answers' length)", answers, tokens, words=lengths)
    tags = sum(len(one.tags) for one in verified)
    yield ""
    yield (
        f"The encoder's draft agrees with {sum(one.accepted for one in verified) / tags:.1%} "
        "of the LLM's tags."
    )


def format_row(
    name: str, calls: Sequence[int], tokens: Sequence[int], *, words: Sequence[int]
) -> str:
    """Format a row of the table."""
    tokens_per_word = [run / max(1, count) for run, count in zip(tokens, words, strict=True)]
    deciles, token_deciles = quantiles(calls, n=10), quantiles(tokens_per_word, n=10)
    return (
        f"| {name} | **{fmean(calls):.2f}** | {deciles[4]:.0f} | {deciles[8]:.0f} | {max(calls)} "
        f"| {fmean(tokens_per_word):.2f} | {token_deciles[8]:.2f} | {max(tokens_per_word):.2f} |"
    )


def count_paper_tokens(llm: DraftedLLM) -> tuple[list[int], list[int]]:
    """Count the tokens of the study's answers and prompts, line ends included."""
    decoder = PaperDecoder(llm.tagger.slot_decoder.scorer.model, llm.tokenizer, llm.tagger.tag_set)
    types = ", ".join(llm.tagger.labels)

    def length(text: str) -> int:
        return len(llm.tokenizer(text, add_special_tokens=False)["input_ids"]) + text.count("\n")

    answers = [length(decoder.format_answer(document)) for document in llm.documents]
    prompts = [
        length(PROMPT.format(types=types, words=one.text.replace("\n", " ")))
        for one in llm.documents
    ]
    return answers, prompts


def compare_precisions(folder: Path, documents: Sequence[Document]) -> Iterator[str]:
    """Compare tags with the reference, in fp32 and in bf16; yields the table."""
    yield "| arithmetic | documents | slots | slots that differ from `sequential` | documents |"
    yield "|---|---:|---:|---:|---:|"
    references = {}
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        llm = DraftedLLM(folder, documents, precision=precision, window=WHOLE_DOCUMENT)
        reference = references[precision] = llm.decode("sequential")
        verified = llm.decode("verified", use_drafts=True)
        differing, margins = find_differences(verified, reference)
        slots = sum(len(one.tags) for one in reference)
        in_documents = sum(
            one.tags != two.tags for one, two in zip(verified, reference, strict=True)
        )
        yield (
            f"| {precision} | {len(documents)} | {slots} | {differing} "
            f"({differing / slots:.4%}) | {in_documents} |"
        )
    if margins:
        yield ""
        yield (
            f"Where bf16 differs, the two best tags of a document's first differing slot are "
            f"{np.median(margins):.3f} apart (median; largest {max(margins):.3f}, in log-odds)."
        )
    differing, margins = find_differences(references["bf16"], references["fp32"])
    yield ""
    yield (
        f"`sequential` in bf16 differs from itself in fp32 at {differing} slots "
        f"({differing / slots:.4%})"
        + (f", whose first margins are {np.median(margins):.3f} (median)." if margins else ".")
    )


def find_differences(
    windows: Sequence[DecodedWindow], reference: Sequence[DecodedWindow]
) -> tuple[int, list[float]]:
    """Count differing slots; also returns the reference's margin at the first of each document."""
    differing, margins = 0, []
    for one, other in zip(windows, reference, strict=True):
        differing_slots = [n for n, pair in enumerate(zip(one.tags, other.tags, strict=True))
                  if pair[0] != pair[1]]  # fmt: skip
        differing += len(differing_slots)
        if differing_slots:
            best = np.sort(other.logits[differing_slots[0]])[::-1]
            margins.append(float(best[0] - best[1]))
    return differing, margins


def run_parts(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Run the requested parts; yields the lines of their tables."""
    corpus, only = options.data / "BC5CDR", options.only
    yield from train(corpus, folder)
    documents = read_documents(corpus / "test.jsonl")[: options.documents]
    if only in (None, "scores"):
        yield from train_ablation(corpus, folder)
        yield from compare_scores(corpus, folder, documents)
        yield ""
    if only in (None, "passes"):
        for title, window in (
            ("Whole documents:", WHOLE_DOCUMENT),
            ("In windows as in training:", None),
        ):
            yield title
            yield ""
            yield from compare_passes(
                DraftedLLM(folder, documents, precision="auto", window=window)
            )
            yield ""
    if only in (None, "exact"):
        yield from compare_precisions(folder, documents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--models", type=Path, help="folder of the trained version")
    parser.add_argument("--only", choices=("trained", "scores", "passes", "exact"))
    parser.add_argument("--documents", type=int, default=500)
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with ExitStack() as stack:
        folder = options.models or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for line in run_parts(options, folder):
            print(line, flush=True)


if __name__ == "__main__":
    main()
