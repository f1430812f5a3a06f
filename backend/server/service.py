"""The state behind the routes: the served models, the stores and the telemetry."""

import logging
from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import Unpack

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.events.store import EventStore
from tagalong.backend.label_studio.api.http_client import Connection
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.backend.models.base_models.load_options import (
    BaseModelCache,
    LoadOptions,
    WeightsMode,
)
from tagalong.backend.models.load import load_tagger
from tagalong.backend.models.tagger import DocumentTagger
from tagalong.backend.models.tier_specs import TIER_SPECS
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.retraining.supervisor import Supervisor
from tagalong.backend.server.guess_limiter import GuessLimiter
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction.handler import PredictHandler
from tagalong.backend.server.prediction.memory import default_memory_bound
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.backend.server.prediction.model_pool import Loader, ModelPool
from tagalong.backend.server.prediction.openvino_builder import OpenVINOBuilder
from tagalong.backend.server.prediction.request import RequestError, service_unavailable
from tagalong.backend.server.prediction.scheduler import RequestScheduler
from tagalong.backend.server.request_checks import BodyBudget
from tagalong.backend.server.settings import Settings
from tagalong.ner.document import Document, Prediction
from tagalong.ner.errors import TagalongError
from tagalong.ner.manifest import read_manifest
from tagalong.ner.model_registry import ModelRegistry
from tagalong.ner.tiers import DEFAULT_TIER

log = logging.getLogger(__name__)


class Service:
    """The state of a running server; `load` as in `create_app`."""

    def __init__(
        self, settings: Settings, *, load: Callable[[Path], DocumentTagger] | None = None
    ) -> None:
        self.settings = settings
        self.model_registry = ModelRegistry(settings.models, bundled_root=BUNDLED_MODELS_FOLDER)
        self.telemetry = Telemetry()
        self.event_store = EventStore(settings.event_store_path)
        self.predict_handler = PredictHandler(
            create_task_text_reader(settings), settings.limits, self.telemetry
        )
        self.body_budget = BodyBudget(settings.limits.max_total_body_bytes)
        self.guess_limiter = GuessLimiter()
        self.predict_semaphore = BoundedSemaphore(settings.limits.max_concurrent_requests)
        self._schedulers = {
            tier: RequestScheduler(
                f"{tier}-forward", on_decoded=partial(self.telemetry.on_decoded, tier)
            )
            for tier in TIER_SPECS
        }
        base_model_cache = BaseModelCache()
        self._openvino_builders = {
            tier: OpenVINOBuilder(
                settings.openvino_build_command,
                settings.state_dir / "openvino.log",
                load=make_loader(
                    partial(self._draft, spec.drafter_tier) if spec.drafter_tier else None,
                    weights_mode=settings.llm_weights,
                    base_model_cache=base_model_cache,
                ),
            )
            for tier, spec in TIER_SPECS.items()
        }
        self.model_pool = ModelPool(
            self.model_registry,
            {tier: load or builder.load for tier, builder in self._openvino_builders.items()},
            self._make_holder,
            telemetry=self.telemetry,
            max_memory_bytes=settings.max_memory_bytes or default_memory_bound(),
        )
        self.job_store = JobStore(settings.models)
        self.supervisor = Supervisor(
            self.job_store,
            self.event_store,
            settings.retraining,
            tier=DEFAULT_TIER,
            log_path=settings.state_dir / "training.log",
            on_finished=self.telemetry.record_job,
        )

    def start(self) -> None:
        """Start loading the current versions and running due jobs."""
        self.model_pool.start()
        self.supervisor.start()

    def _make_holder(self, model: str, tier: str, load: Loader) -> ModelHolder:
        return ModelHolder(
            model,
            self.model_registry,
            tier=tier,
            scheduler=self._schedulers[tier],
            telemetry=self.telemetry,
            load=load,
            find_upgrade=self._openvino_builders[tier].find_upgrade,
        )

    def _draft(
        self, tier: str, labels: Collection[str], documents: Sequence[Document]
    ) -> Sequence[Prediction]:
        with self.model_pool.lease(tier) as holder:
            return draft(holder, labels, documents)

    def find_fault(self, model: str) -> RequestError | None:
        """Why the server cannot work with a model; None if it can.

        Anyone may read the sentence: it names no version and no file.
        """
        if not self.model_pool.is_served(model):
            message = f"no version of model {model!r} is served: the status page says why"
            return service_unavailable(message, code="no-version-served")
        if self.event_store.write_error is not None:
            message = "webhook events cannot be stored: the status page says why"
            return service_unavailable(message, code="events-not-stored")
        return None

    def is_degraded(self, model: str) -> bool:
        """Whether the server does less with a model than it should."""
        self.model_pool.assignments.read()  # sets its error
        errors = (
            self.event_store.error,
            self.job_store.error,
            self.model_pool.assignments.error,
            self.find_fault(model),
        )
        return bool(self.model_pool.find(model).state.load_failures) or any(errors)

    def close(self) -> None:
        """Stop all threads and processes of the server."""
        self.supervisor.close()
        self.model_pool.close()
        for scheduler in reversed(self._schedulers.values()):  # a drafter after its user
            scheduler.close()
        for builder in self._openvino_builders.values():
            builder.close()
        self.event_store.close()


def create_task_text_reader(settings: Settings) -> TaskTextReader:
    """Create the reader of task texts; it asks Label Studio only for texts stored there."""
    url, key = settings.label_studio_url, settings.label_studio_key
    if url is None or key is None:
        return TaskTextReader(settings.allowed_hosts, label_studio_url=url)

    @cache
    def connection() -> Connection:
        return Connection(url, key)

    return TaskTextReader(
        settings.allowed_hosts,
        label_studio_url=url,
        authorization=lambda: connection().authorization_header(),
    )


def draft(
    drafter_holder: ModelHolder, labels: Collection[str], documents: Sequence[Document]
) -> Sequence[Prediction]:
    """Draft by the served version of a holder; O everywhere if it has none of the labels."""
    tagger = drafter_holder.tagger
    if tagger is not None and not set(labels).isdisjoint(tagger.labels):
        try:
            return drafter_holder.scheduler.predict(tagger, documents)
        except (TagalongError, RuntimeError) as error:
            # A draft changes the cost of an answer, never the answer: go on without.
            log.warning("the drafting tagger failed: %s", type(error).__name__)
    return [Prediction((), 1.0, "")] * len(documents)


def make_loader(
    drafter: Callable[[Collection[str], Sequence[Document]], Sequence[Prediction]] | None,
    *,
    weights_mode: WeightsMode | None,
    base_model_cache: BaseModelCache,
) -> Callable[..., DocumentTagger]:
    """Create a loader of versions, for which `drafter` drafts documents with some labels.

    An adapter reuses the base model that is in memory, unless it is to be merged into it. A
    `weights_mode` of None is the mode of the version's training.
    """

    def load(folder: Path, **options: Unpack[LoadOptions]) -> DocumentTagger:
        options = {**options, "weights_mode": weights_mode}
        options["base_model_cache"] = base_model_cache
        if drafter is not None:
            labels = read_manifest(folder, verify=False).labels
            options["drafter"] = partial(drafter, labels)
        return load_tagger(folder, **options)

    return load
