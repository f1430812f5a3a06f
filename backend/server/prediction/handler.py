"""Answers `/predict` requests: one Label Studio result per task, in order, empty ones included."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tagalong.backend.label_studio.context import read_interactive_context, with_unique_region_ids
from tagalong.backend.label_studio.interactive import suggest_spans
from tagalong.backend.label_studio.label_config import LabelConfig
from tagalong.backend.label_studio.label_config_parser import parse_label_config
from tagalong.backend.label_studio.label_map import map_labels
from tagalong.backend.label_studio.results import prediction_to_label_studio
from tagalong.backend.label_studio.task_text import (
    MAX_ID_CHARACTERS,
    TaskTextReader,
    describe_task,
)
from tagalong.backend.server.monitoring.snapshot import RequestStats, UnreadableTask
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.backend.server.prediction.request import (
    Limits,
    PredictRequest,
    check_client,
    check_latency_budget,
    unprocessable_request,
)
from tagalong.ner.document import Document, DroppedAnnotation, Prediction
from tagalong.ner.errors import InputError

MAX_SEEN_REGIONS = 100_000  # a task has hundreds
MODEL_SUGGESTIONS_ID = "the model's own"  # marks a task whose first call got all predictions
READ_TIMEOUT_MESSAGE = (
    "fetching the texts of earlier tasks took {:.0f} seconds, and Label Studio waits for 100: "
    "select fewer tasks, or import the plain texts"
)


class PredictHandler:
    """Answers requests with the predictions of a tagger."""

    def __init__(self, texts: TaskTextReader, limits: Limits, telemetry: Telemetry) -> None:
        self._texts, self._limits, self._telemetry = texts, limits, telemetry
        self._seen_regions = SeenRegions()

    def handle(
        self,
        request: PredictRequest,
        model_holder: ModelHolder,
        *,
        control_name: str | None,
        has_client_gone: Callable[[], bool] = lambda: False,
    ) -> list[dict[str, Any]]:
        """Answer a request with one result per task, in order.

        `control_name` is the name of the ``<Labels>`` to use, if the config has several. Raises
        `RequestError` if no task has a usable text, or the answer would take too long. Raises
        `TagalongError` if the labelling config cannot be used, or no version is served. Stops if
        `has_client_gone` says so.
        """
        start = time.monotonic()
        config = parse_label_config(request.label_config, control=control_name)
        tagger = model_holder.wait_for_tagger(
            timeout_seconds=self._limits.model_load_timeout_seconds
        )
        label_map = map_labels(tagger.labels, config)
        found = self._read_documents(request, config, has_client_gone)
        documents = [one for one in found if isinstance(one, Document)]
        unreadable = [one for one in found if isinstance(one, UnreadableTask)]
        if unreadable and not documents:
            raise unprocessable_request(unreadable[0].message, code="no-readable-task")
        # The time for reading is spent: the tagger gets the rest of what Label Studio waits.
        seconds_left = self._limits.predict_budget_seconds - (time.monotonic() - start)
        found_predictions = model_holder.scheduler.predict(
            tagger,
            documents,
            project=str(request.project),
            check_admission=partial(check_latency_budget, max_seconds=max(0.0, seconds_left)),
            has_client_gone=has_client_gone,
        )
        predictions = iter(found_predictions)
        results: list[dict[str, Any]] = []
        dropped: list[DroppedAnnotation] = []
        for task, document in zip(request.tasks, found, strict=True):
            if isinstance(document, Document):
                shown, prediction = document, next(predictions)
            else:  # Label Studio drops all results unless each task has one
                shown = Document(str(task.get("id", "")), "")
                prediction = Prediction((), 1.0, tagger.version)
            prediction = label_map.apply(shown, prediction)
            dropped += prediction.dropped
            if request.is_interactive:
                prediction = self._suggest_regions(shown, prediction, task, request, config)
                shown = with_unique_region_ids(shown, request.context)
            results.append(prediction_to_label_studio(shown, prediction, config))
        regions = sum(len(result["result"]) for result in results)
        labels = {label: label_map.project_labels.get(label) for label in tagger.labels}
        stats = RequestStats(
            *(model_holder.name, tagger.version, len(results), regions, labels),
            unpredicted=label_map.unpredicted,
            dropped_annotations=dropped,
            unreadable_tasks=unreadable,
        )
        self._telemetry.record_predictions(request.project, model_holder.tier, stats)
        return results

    def _read_documents(
        self, request: PredictRequest, config: LabelConfig, has_client_gone: Callable[[], bool]
    ) -> list[Document | UnreadableTask]:
        deadline = time.monotonic() + self._limits.read_timeout_seconds
        found = []
        for task in request.tasks:
            check_client(has_client_gone)
            found.append(self._read_document(task, config, deadline=deadline))
        return found

    def _read_document(
        self, task: Mapping[str, Any], config: LabelConfig, *, deadline: float
    ) -> Document | UnreadableTask:
        if time.monotonic() > deadline:
            message = READ_TIMEOUT_MESSAGE.format(self._limits.read_timeout_seconds)
            return UnreadableTask("took too long", message)
        try:
            document = self._texts.read_document(task, config)
        except InputError as error:
            return UnreadableTask("no text", str(error))
        length, max_length = len(document.text), self._limits.max_text_characters
        if length <= max_length:
            if len(document.id) > MAX_ID_CHARACTERS:  # it is hashed again for each region
                digest = hashlib.blake2b(document.id.encode(errors="surrogatepass"))
                return replace(document, id=digest.hexdigest())
            return document
        return UnreadableTask(
            "too long",
            f"{describe_task(document.id)} has a text of {length:,} characters, and at most "
            f"{max_length:,} are allowed in a request: split it, or label it with `tagalong "
            "prelabel`",
        )

    def _suggest_regions(
        self,
        document: Document,
        prediction: Prediction,
        task: Mapping[str, Any],
        request: PredictRequest,
        config: LabelConfig,
    ) -> Prediction:
        """Suggestions after the annotator drew a region; none after any other action."""
        mark_seen = partial(self._seen_regions.mark_seen, f"{request.project}\0{document.id}")
        context = read_interactive_context(
            task, request.context, config, document, seen_regions=mark_seen
        )
        if not context.new_spans:
            return replace(prediction, spans=())
        # Predictions offered before are not repeated: the annotator may have deleted them.
        offered = task.get("predictions") or mark_seen([MODEL_SUGGESTIONS_ID])
        predicted = () if offered else prediction.spans
        return replace(prediction, spans=suggest_spans(document, predicted, context))


class SeenRegions:
    """Regions already answered in interactive calls, so that each action gets one answer.

    They are kept in memory only: after a restart a deleted mention may be suggested once more.
    """

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def mark_seen(self, task_key: str, region_ids: Sequence[str]) -> frozenset[str]:
        """Mark regions of a task as seen, and return those that were seen before."""
        digests = {name: _compute_region_digest(task_key, name) for name in region_ids}
        with self._lock:
            seen_before = frozenset(
                name for name, digest in digests.items() if digest in self._digests
            )
            for digest in digests.values():
                self._digests[digest] = None
                self._digests.move_to_end(digest)
            while len(self._digests) > MAX_SEEN_REGIONS:
                self._digests.popitem(last=False)
        return seen_before


def _compute_region_digest(task_key: str, region_id: str) -> bytes:
    # Clients choose the ids, so only a digest of fixed size is kept.
    content = f"{len(task_key)}\0{task_key}\0{region_id}".encode(errors="surrogatepass")
    return hashlib.blake2b(content, digest_size=16).digest()
