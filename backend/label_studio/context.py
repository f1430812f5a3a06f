"""An interactive call -> what an annotator drew just now, and what else may be marked by now.

The editor of Label Studio 1.23 asks when a region is drawn, and when one gets another label, and
does not say which. It sends all regions that have the label of that one then (the context); the
others are in what was stored some seconds ago, and nothing says which of the stored versions is the
one at work. It fails over an answer with a region whose id it has, and never asks again. So what
may be there counts as there, and a region that was drawn is answered once.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tagalong.backend.label_studio.results import LabelConfig
from tagalong.ner.document import Document, Span

TASK_RESULT_KEYS = ("drafts", "annotations", "predictions")  # of a task; the first is the latest
CONTEXT_ID_KEYS = ("draft_id", "annotation_id")  # what a context may name the first two by


@dataclass(frozen=True, slots=True)
class InteractiveContext:
    """What a person has marked in a text.

    Attributes:
        new_spans: What was drawn just now, sorted, in the project's labels.
        existing_spans: All regions that may be there, the drawn ones too, sorted. A label that the config
            does not have is as it was sent, and empty where there is none.
    """

    new_spans: tuple[Span, ...]
    existing_spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Region:
    """A region of a result: its id, empty where it has none, and whether a person drew it."""

    id: str
    span: Span
    is_manual: bool


def _no_seen_regions(_: Sequence[str]) -> frozenset[str]:
    """No region came before."""
    return frozenset()


def read_interactive_context(
    task: object,
    context: object,
    config: LabelConfig,
    document: Document,
    *,
    seen_regions: Callable[[Sequence[str]], frozenset[str]] = _no_seen_regions,
) -> InteractiveContext:
    """Read what an interactive call says about regions. Whatever cannot be read is left out.

    Args:
        task: As Label Studio sends it, with ``annotations``, ``drafts`` and ``predictions``.
        context: As Label Studio sends it, with ``result``, and perhaps with ``annotation_id`` and
            ``draft_id``.
        config: The project's labelling config; regions of other controls are left out.
        document: The task's text; regions outside it are left out.
        seen_regions: Says which of some regions, by id, earlier calls for this task brought.

    Returns:
        What was drawn: what neither came before nor is stored. The last one sent is the newest,
        and may be stored already where Label Studio is slow. And what is there: what was sent, and
        the regions of the stored versions that may be at work.
    """
    sent = list(_read_regions(_as_object(context).get("result"), config, document))
    versions = _current_results(_as_object(task), _as_object(context), sent, config, document)
    stored = [region for version in versions for region in version]
    before = seen_regions([region.id for region in sent if region.id])
    known = before | ({region.id for region in stored if region.id} - {sent[-1].id if sent else ""})
    drawn = {
        region.span
        for region in sent
        if region.is_manual and region.span.label in config.labels and region.id not in known
    }
    existing = {region.span for region in (*sent, *stored)}
    return InteractiveContext(tuple(sorted(drawn)), tuple(sorted(existing)))


def _current_results(
    task: Mapping[str, Any],
    context: Mapping[str, Any],
    sent: Sequence[_Region],
    config: LabelConfig,
    document: Document,
) -> list[list[_Region]]:
    """The regions of the stored versions that the annotator may have before them.

    Those that the context names; else those that have most of what was sent, drafts before
    annotations before predictions; else all but those with regions of the label that was sent, for
    these would have been sent too.
    """
    several = [[*map(_as_object, _as_array(task.get(name)))] for name in TASK_RESULT_KEYS]
    wanted = [
        (versions, context.get(name))
        for versions, name in zip(several, CONTEXT_ID_KEYS, strict=False)
    ]
    chosen = [one for versions, name in wanted for one in versions if _has_id(one, name)]
    if chosen:
        return [list(_read_regions(one.get("result"), config, document)) for one in chosen]
    stored = [
        [list(_read_regions(one.get("result"), config, document)) for one in versions]
        for versions in several
    ]
    ids = {region.id for region in sent if region.id}
    shared = [[len(ids & {region.id for region in one}) for one in kind] for kind in stored]
    most = max((count for counts in shared for count in counts), default=0)
    if most:
        kind, counts = next(pair for pair in zip(stored, shared, strict=True) if most in pair[1])
        return [one for one, count in zip(kind, counts, strict=True) if count == most]
    labels = {region.span.label for region in sent}
    every = [one for kind in stored for one in kind]
    return [one for one in every if not labels & {region.span.label for region in one}]


def _as_object(value: object) -> Mapping[str, Any]:
    """An object of JSON; nothing for any other value."""
    return value if isinstance(value, dict) else {}


def _as_array(value: object) -> Sequence[Any]:
    """An array of JSON; nothing for any other value."""
    return value if isinstance(value, list) else ()


def _has_id(version: Mapping[str, Any], name: object) -> bool:
    """Whether a version has an id. Label Studio sends it as a number or as text."""
    return isinstance(name, int | str) and str(version.get("id")) == str(name)


def _read_regions(result: object, config: LabelConfig, document: Document) -> Iterator[_Region]:
    """The regions of a result that are stretches of the text."""
    for item in map(_as_object, _as_array(result)):
        value = _as_object(item.get("value"))
        start, end, labels = value.get("start"), value.get("end"), value.get("labels")
        ours = (
            item.get("from_name", config.control) == config.control
            and item.get("to_name", config.object) == config.object
            and item.get("type", "labels") == "labels"
        )
        # Not isinstance: True is an int to it.
        if not ours or type(start) is not int or type(end) is not int:
            continue
        if 0 <= start < end <= len(document.text) and isinstance(labels, list):
            first = labels[0] if labels and isinstance(labels[0], str) else ""
            span = Span(start, end, config.names_by_spelling.get(first, first))
            name = item.get("id")
            yield _Region(name if isinstance(name, str) else "", span, _is_manual(item))


def _is_manual(item: Mapping[str, Any]) -> bool:
    """Whether a person drew a region. What the editor took over from an answer has a score."""
    return item.get("origin", "manual") == "manual" and "score" not in item


def with_unique_region_ids(document: Document, context: object) -> Document:
    """Rename a document, so that regions written for it get ids that none at work has.

    Args:
        document: The task's text.
        context: As Label Studio sends it.

    Returns:
        The document by an id that depends on the regions sent: the same call, the same id.
    """
    ids = [_as_object(item).get("id") for item in _as_array(_as_object(context).get("result"))]
    names = "\0".join(sorted(name for name in ids if isinstance(name, str)))
    digest = hashlib.blake2b(names.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return replace(document, id=f"{document.id}\0{digest}")
