"""What answers behind the routes: a slot per tier, the journal, and what is told of them."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from threading import BoundedSemaphore

from backend.bundle import BUNDLED
from backend.remote.connection import Connection
from backend.retraining.runs import Runs
from backend.retraining.supervisor import Supervisor
from backend.server.drafting import llm_loader
from backend.server.engines import EngineRoom
from backend.server.journal import Journal
from backend.server.predicting import Predictor
from backend.server.settings import ENCODER, LLM, Settings
from backend.server.slot import TierSlot
from backend.server.telemetry import Telemetry
from backend.task_text import TaskTexts
from backend.tier import Tier
from ner.catalogue import Catalogue


class Service:
    """Everything a running server holds.

    Args:
        settings: What it was told.
        load: Makes a version's folder a tier; None for what does so for each.
    """

    def __init__(self, settings: Settings, *, load: Callable[[Path], Tier] | None = None) -> None:
        self.settings = settings
        self.catalogue = Catalogue(settings.models, bundled=BUNDLED)
        self.telemetry = Telemetry()
        self.journal = Journal(settings.journal_path)
        self.predictor = Predictor(task_texts(settings), settings.limits)
        self.room = BoundedSemaphore(settings.limits.predictions)
        slot = partial(TierSlot, catalogue=self.catalogue, witness=self.telemetry)
        self._engines = EngineRoom(settings.make_engine, settings.home / "engine.log")
        encoder = slot(ENCODER, load=load or self._engines.load, better=self._engines.better)
        llm = slot(LLM, load=load or llm_loader(encoder, weights=settings.llm_weights))
        self.slots = {ENCODER: encoder, LLM: llm}
        self.runs = Runs(settings.models)
        self.supervisor = Supervisor(
            self.runs,
            self.journal,
            settings.training,
            tier=ENCODER,
            log_path=settings.home / "training.log",
            note=self.telemetry.trained,
        )

    def start(self) -> None:
        """Begin to load what is current."""
        for slot in self.slots.values():
            slot.start()
        self.supervisor.start()

    def train(self, project: int, tier: str, event: int) -> None:
        """Have a tier trained on a project, for whoever pressed the button.

        Args:
            project: Whose annotations to learn from.
            tier: Its name.
            event: Id of what Label Studio sent.

        Raises:
            JournalError: If it cannot be noted.
        """
        self.runs.ask(project, tier, reason="the train button", upto=event)
        self.supervisor.stir()

    def close(self) -> None:
        """Stop watching for versions and for annotations."""
        self.supervisor.close()
        for slot in reversed(self.slots.values()):  # the encoder drafts for the LLM
            slot.close()
        self._engines.close()
        self.journal.close()


def task_texts(settings: Settings) -> TaskTexts:
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
        return TaskTexts(settings.allowed_hosts, label_studio_url=url)

    @cache
    def connection() -> Connection:
        return Connection(url, key)

    return TaskTexts(
        settings.allowed_hosts,
        label_studio_url=url,
        authorization=lambda: connection().authorization(),
    )
