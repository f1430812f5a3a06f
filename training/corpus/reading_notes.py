"""Sentences about the losses and warnings of reading, for every command that reads annotations."""

from collections import Counter
from collections.abc import Iterable

from tagalong.backend.annotations.import_log import WARNING_DESCRIPTIONS, CorpusWarning, ImportLog
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.document import DroppedAnnotation
from tagalong.training.corpus.corpus import Corpus

MAX_EXAMPLE_CHARACTERS = 300


def describe_reading(corpus: Corpus, source: str = "") -> list[str]:
    """Describe what was lost in reading and how it was handled; ``source`` names the documents."""
    return [
        *describe_losses(corpus.dropped, source),
        *(describe_warning(warning, source) for warning in corpus.warnings),
    ]


def describe_log(log: ImportLog, source: str = "") -> tuple[str, ...]:
    """Describe the reading of a file that is no corpus, such as predictions."""
    warnings = (describe_warning(warning, source) for warning in log.warnings())
    return (*describe_losses(log.dropped, source), *warnings)


def describe_losses(dropped: Iterable[DroppedAnnotation], source: str = "") -> list[str]:
    """Count lost annotations by reason in one sentence; none if there are none."""
    reasons = Counter[str](one.reason for one in dropped)
    if not reasons:
        return []
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    count = reasons.total()
    return [f"{_subject(source)}{pluralize(count, 'annotation')} lost ({listed})."]


def describe_warning(warning: CorpusWarning, source: str = "") -> str:
    """Describe one warning with its first example."""
    times = pluralize(warning.count, "time")
    example = warning.examples[0][:MAX_EXAMPLE_CHARACTERS] if warning.examples else ""
    return f"{_subject(source)}{warning.kind}, {times}; {WARNING_DESCRIPTIONS[warning.kind]}" + (
        f" (first: {example})." if example else "."
    )


def _subject(source: str) -> str:
    return f"Reading {source}: " if source else "Reading: "
