"""A training from the command line, with its messages before, during and after it."""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from tagalong.cli.terminal.console import echo_json, error_console
from tagalong.cli.terminal.progress import training_progress_bar
from tagalong.cli.terminal.tables import format_score, print_report
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import DroppedAnnotation
from tagalong.ner.text_sanitizing import escape_unprintable
from tagalong.training.corpus import Corpus, describe_reading, describe_warning
from tagalong.training.data.silver import SilverData
from tagalong.training.data.train_dev_split import TrainDevSplit
from tagalong.training.evaluation.label_names import format_label_counts, format_labels

if TYPE_CHECKING:  # torch would make `tagalong --help` slow
    from tagalong.training.jobs.train_version import TrainedVersion, TrainInputs, TrainJob


def train_and_print(job: "TrainJob", inputs: "TrainInputs", *, as_json: bool) -> None:
    """Run a training with messages on stderr; print a comparison, or JSON, on stdout."""
    from tagalong.training.evaluation.report import report_to_json
    from tagalong.training.evaluation.tables import report_tables
    from tagalong.training.jobs.train_version import GOLD_ONLY, read_training_data, train_version

    data = read_training_data(job, inputs)
    # Of the processes that train together, one reports.
    console = error_console if data.is_main_process else Console(quiet=True)

    def show(message: str) -> None:
        shown = escape_unprintable(message, keep="\n")  # labels may have any characters
        console.print(shown, markup=False, soft_wrap=True)

    show(describe_split(data.split, data.corpus, data.dev_corpus))
    if data.split.silver is not None:
        show(describe_silver(data.split.silver))
    with training_progress_bar(console) as on_progress:
        version = train_version(job, data, on_progress=on_progress, on_message=show)
    if version is None:
        return
    console.print(describe_version(version, job.store.root), soft_wrap=True)
    report = report_to_json(version.comparison) if version.comparison else None
    if as_json:
        echo_json(version.manifest.to_json() | ({"report": report} if inputs.silver else {}))
    elif version.comparison is not None and report is not None:
        tables = [one for one in report_tables(version.comparison) if one.title.endswith(GOLD_ONLY)]
        print_report(report, tables)


def describe_split(split: TrainDevSplit, corpus: Corpus, dev: Corpus | None = None) -> str:
    """Describe the documents of a training, and problems of reading them."""
    train_spans, dev_spans = (
        sum(len(document.spans) for document in documents) for documents in (split.train, split.dev)
    )
    lines = [
        f"Training {format_labels(split.labels)} on {pluralize(len(split.train), 'document')} "
        f"({pluralize(train_spans, 'entity')}), with {len(split.dev)} "
        f"({pluralize(dev_spans, 'entity')}) for dev."
    ]
    if split.word_rule_choice is not None and any(split.word_rule_choice.lost.values()):
        lines.append(split.word_rule_choice.describe())
    if split.flat_losses is not None and split.flat_losses.lost:
        lines.append(f"{split.flat_losses.describe()}. The training ignores their words.")
    if split.overlapping_documents:
        lines.append(
            f"{pluralize(split.overlapping_documents, 'document is', 'documents are')} left "
            "out: dev has the same texts."
        )
    if split.dev_only_labels:
        named = format_label_counts(split.dev_only_labels)
        lines.append(f"Train has no entity of these labels, so dev misses them all: {named}.")
    for name, one in (("", corpus), ("dev", dev)):
        if one is not None:
            lines += describe_reading(one, name)
    return "\n".join(lines)


def describe_silver(silver: SilverData) -> str:
    """Describe silver data and its exclusions."""
    lines = [
        f"Silver: {pluralize(len(silver.documents), 'document')} "
        f"({pluralize(silver.entity_count, 'entity')}) labelled by "
        f"{', '.join(silver.versions)}; a word with confidence 1 has weight "
        f"{silver.options.weight:g}, a word of gold 1."
    ]
    if silver.excluded_counts:
        counts = ", ".join(f"{count} {why}" for why, count in silver.excluded_counts.items())
        lines.append(f"Silver documents left out: {counts}.")
    if silver.dropped:
        lines.append(f"Silver entities dropped, their words masked: {_reasons(silver.dropped)}.")
    if silver.unscored_entities:
        lines.append(
            f"{silver.unscored_entities} silver entities without a score have that of their "
            "document."
        )
    lines += [describe_warning(warning, "silver") for warning in silver.warnings]
    return "\n".join(lines)


def describe_version(version: "TrainedVersion", models: Path) -> str:
    """Describe a version, its scores on dev and how to try it, in lines of Rich's markup."""
    manifest = version.manifest
    name = escape(manifest.version)
    is_default = models == Path(os.environ.get("TAGALONG_MODELS", "models"))
    folder = "" if is_default else f" --models {escape(shlex.quote(str(models)))}"
    dev = manifest.scores["dev"]
    support = dev.get("support", {})  # absent in versions of earlier releases
    lengths = ", ".join(
        f"{length} {format_score(f1)}"
        + (f" ({support[length]} in gold)" if length in support else "")
        for length, f1 in dev["by_length"].items()
    )
    lines = [
        f"Published [bold]{name}[/]"
        + (", now current." if version.promoted else "; it is not the current version."),
        f"On dev: strict F1 {format_score(dev['strict_f1'])}, relaxed F1 "
        f"{format_score(dev['relaxed_f1'])}; strict F1 by words: {lengths}.",
    ]
    if (gain := version.f1_gain or 0.0) < 0:
        lines.append(
            f"Silver lowers strict F1 on dev by {-gain:.3f}, so the version is not promoted: try a "
            "lower --silver-weight, or train without --silver."
        )
    lines.append(f"Try it: tagalong predict --model {name}{folder} 'some text'")
    if not version.promoted:
        lines.append(f"Make it current: tagalong models promote {name}{folder}")
    return "\n".join(lines)


def _reasons(dropped: Sequence[DroppedAnnotation]) -> str:
    counts = Counter(one.reason for one in dropped)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
