"""What answers behind the routes: a slot per tier, the journal, and what is told of them."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from threading import BoundedSemaphore

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.events.store import EventStore
from tagalong.backend.label_studio.api.connection import Connection
from tagalong.backend.label_studio.task_text import TaskTextReader
from tagalong.backend.models.load import load_tier
from tagalong.backend.models.registry import TIER_SPECS
from tagalong.backend.models.tier import Tier
from tagalong.backend.retraining.job_store import JobStore
from tagalong.backend.retraining.supervisor import Supervisor
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.server.prediction.drafting import make_drafted_loader
from tagalong.backend.server.prediction.handler import PredictHandler
from tagalong.backend.server.prediction.model_holder import ModelHolder
from tagalong.backend.server.prediction.openvino_builder import OpenVINOBuilder
from tagalong.backend.server.settings import Settings
from tagalong.ner.model_registry import DEFAULT_TIER, ModelRegistry


class Service:
    """Everything a running server holds.

    Args:
        settings: What it was told.
        load: Makes a version's folder a tier; None for what does so for each.
    """

    def __init__(self, settings: Settings, *, load: Callable[[Path], Tier] | None = None) -> None:
        self.settings = settings
        self.model_registry = ModelRegistry(settings.models, bundled_root=BUNDLED_MODELS_FOLDER)
        self.telemetry = Telemetry(tuple(TIER_SPECS))
        self.event_store = EventStore(settings.event_store_path)
        self.predict_handler = PredictHandler(create_task_text_reader(settings), settings.limits)
        self.predict_semaphore = BoundedSemaphore(settings.limits.max_concurrent_requests)
        slot = partial(ModelHolder, model_registry=self.model_registry, observer=self.telemetry)
        self._openvino_builder = OpenVINOBuilder(
            settings.openvino_build_command, settings.state_dir / "engine.log"
        )
        self.model_holders: dict[str, ModelHolder] = {}
        for name, spec in TIER_SPECS.items():  # a tier comes after the one that drafts for it
            if spec.uses_openvino:
                self.model_holders[name] = slot(
                    name,
                    load=load or self._openvino_builder.load,
                    find_upgrade=self._openvino_builder.find_upgrade,
                )
            elif spec.drafter_tier is not None:
                drafter = self.model_holders[spec.drafter_tier]
                drafted = make_drafted_loader(drafter, weights=settings.llm_weights)
                self.model_holders[name] = slot(name, load=load or drafted)
            else:
                self.model_holders[name] = slot(name, load=load or load_tier)
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
        """Begin to load what is current."""
        for slot in self.model_holders.values():
            slot.start()
        self.supervisor.start()

    def queue_job(self, project: int, tier: str, event_id: int) -> None:
        """Have a tier trained on a project, for whoever pressed the button.

        Args:
            project: Whose annotations to learn from.
            tier: Its name.
            event_id: Id of what Label Studio sent.

        Raises:
            JournalError: If it cannot be noted.
        """
        self.job_store.enqueue(project, tier, reason="the train button", last_event_id=event_id)
        self.supervisor.wake()

    def close(self) -> None:
        """Stop watching for versions and for annotations."""
        self.supervisor.close()
        for slot in reversed(self.model_holders.values()):  # a drafter closes last
            slot.close()
        self._openvino_builder.close()
        self.event_store.close()


def create_task_text_reader(settings: Settings) -> TaskTextReader:
    """What reads the texts of tasks.

    Args:
        settings: Its allowed_hosts, label_studio_url and label_studio_key are used.

    Returns:
        The reader. Label Studio is not asked for anything before a text lies there.

    Raises:
        InputError: If a host or the address is not one.
    """
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
