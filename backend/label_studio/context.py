"""The regions in an interactive request: new ones, and existing ones.

The editor of Label Studio 1.23 sends a request when a region is drawn or relabelled, without saying
which of the two. The request holds all regions with the label of that region (the context). The
other regions are in drafts and annotations stored seconds ago, and the request does not say which
of these is open. If an answer has a region whose id the editor knows, the editor fails, and sends
no further requests. So every region that may exist counts as existing, and each drawn region is
answered once.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tagalong.backend.documents.offsets import (
    RawSpan,
    find_counting,
    is_contradicted,
    is_inside,
)
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.results import SPAN_TYPE, read_text_ranges, span_value
from tagalong.ner.document import Document, Span

TASK_RESULT_KEYS = ("drafts", "annotations", "predictions")  # the newest results first
CONTEXT_ID_KEYS = ("draft_id", "annotation_id")  # keys in a context for the first two
# Thousands of regions may cover the whole text, and each comparison takes time by its length.
MAX_MENTION_CHARACTERS = 500  # code points, as drawn; a passage does not recur
MAX_COMPARED_REGIONS = 1_000  # of a text, to find how all are counted


@dataclass(frozen=True, slots=True)
class InteractiveContext:
    """The regions of an annotator, sorted."""

    new_spans: tuple[Span, ...]  # drawn just now, in the project's labels
    # All that may exist, drawn ones included. A label outside the config stays as sent; a missing
    # label is empty.
    existing_spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _ShownText:
    start: int  # in the document
    text: str
    to_code_points: Callable[[RawSpan], RawSpan | None]


@dataclass(frozen=True, slots=True)
class _Region:
    id: str  # empty if it has none
    span: Span
    is_manual: bool


def read_interactive_context(
    task: object,
    context: object,
    config: LabelConfig,
    document: Document,
    *,
    seen_regions: Callable[[Sequence[str]], frozenset[str]] = lambda _: frozenset(),
) -> InteractiveContext:
    """Read the regions of an interactive request.

    Malformed regions, regions of other controls, and those outside the text are skipped. The texts
    that the sent regions state show how their offsets count. A region that contradicts its text is
    no new span, unless it is longer than `MAX_MENTION_CHARACTERS`.
    `seen_regions` returns those of some region ids that earlier requests for this task had.

    Returns:
        New spans, neither stored nor in an earlier request. Existing spans, from the context and
        from the stored results that may be open in the editor.
    """
    result = _as_object(context).get("result")
    texts = _find_countings(result, config, document)
    sent = list(_read_regions(result, config, texts))
    versions = _current_results(_as_object(task), _as_object(context), sent, config, texts)
    stored = [region for version in versions for region in version]
    before = seen_regions([region.id for region in sent if region.id])
    # The last region sent is the newest. A slow Label Studio may have stored it by now.
    newest = {sent[-1].id} if sent else set()
    known = before | ({region.id for region in stored if region.id} - newest)
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
    texts: Mapping[str, _ShownText],
) -> list[list[_Region]]:
    # The regions of the stored results that may be open in the editor. First choice: results that
    # the context names. Second: results that share most regions with the context, drafts before
    # annotations before predictions. Third: all results without regions of the sent label, because
    # the editor would have sent those regions too.
    several = [[*map(_as_object, _as_array(task.get(name)))] for name in TASK_RESULT_KEYS]
    named = zip(several, map(context.get, CONTEXT_ID_KEYS), strict=False)
    chosen = [one for versions, wanted in named for one in versions if _has_id(one, wanted)]
    if chosen:
        return [list(_read_regions(one.get("result"), config, texts)) for one in chosen]
    stored = [
        [list(_read_regions(one.get("result"), config, texts)) for one in versions]
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
    return value if isinstance(value, dict) else {}


def _as_array(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _has_id(version: Mapping[str, Any], wanted_id: object) -> bool:
    # Label Studio sends ids as numbers or as text.
    return isinstance(wanted_id, int | str) and str(version.get("id")) == str(wanted_id)


def _find_countings(
    result: object, config: LabelConfig, document: Document
) -> dict[str, _ShownText]:
    # By name of a <Text>.
    regions: dict[str, list[RawSpan]] = {}
    for _, name, region in _raw_regions(result, config):
        known = regions.setdefault(name, [])
        if _can_recur(region) and len(known) < MAX_COMPARED_REGIONS:
            known.append(region)
    texts = {}
    for shown, start, end in read_text_ranges(document, config):
        text = document.text[start:end]
        counting = find_counting(regions.get(shown.object, ()), text)
        texts[shown.object] = _ShownText(start, text, counting.make_converter(text))
    return texts


def _can_recur(region: RawSpan) -> bool:
    return region.end - region.start <= MAX_MENTION_CHARACTERS


def _raw_regions(
    result: object, config: LabelConfig
) -> Iterator[tuple[Mapping[str, Any], str, RawSpan]]:
    # Each region of the config's controls with the name of its <Text>.
    controls = {text.object: text.control for text in config.texts}
    for item in map(_as_object, _as_array(result)):
        value = span_value(item)
        start, end, labels = value.get("start"), value.get("end"), value.get(SPAN_TYPE)
        name = str(item.get("to_name", config.object))
        control = controls.get(name)
        ours = (
            item.get("from_name", control) == control and item.get("type", SPAN_TYPE) == SPAN_TYPE
        )
        # Not isinstance, which accepts True as an int.
        if ours and type(start) is type(end) is int and isinstance(labels, list):
            first = labels[0] if labels and isinstance(labels[0], str) else ""
            label = config.names_by_spelling.get(first, first)
            text = value.get("text")
            stated = text if isinstance(text, str) else ""
            yield item, name, RawSpan(start, end, (label,), stated)


def _read_regions(
    result: object, config: LabelConfig, texts: Mapping[str, _ShownText]
) -> Iterator[_Region]:
    for item, name, stated in _raw_regions(result, config):
        shown = texts.get(name)
        region = None if shown is None else shown.to_code_points(stated)
        if shown is None or region is None or not is_inside(region, shown.text):
            continue
        span = Span(shown.start + region.start, shown.start + region.end, region.labels[0])
        # A person drew it: a region from a prediction has a score.
        is_manual = item.get("origin", "manual") == "manual" and "score" not in item
        identifier = item.get("id")
        yield _Region(
            identifier if isinstance(identifier, str) else "",
            span,
            is_manual and not (_can_recur(region) and is_contradicted(region, shown.text)),
        )


def with_unique_region_ids(document: Document, context: object) -> Document:
    """Change a document's id, so that its predicted regions get ids unknown to the editor.

    The new id depends only on the regions in the context.
    """
    ids = [_as_object(item).get("id") for item in _as_array(_as_object(context).get("result"))]
    names = "\0".join(sorted(name for name in ids if isinstance(name, str)))
    digest = hashlib.blake2b(names.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return replace(document, id=f"{document.id}\0{digest}")
