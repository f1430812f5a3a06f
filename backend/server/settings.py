"""What the server is told: where the versions are, who may ask, and how much at once."""

from dataclasses import dataclass, field
from pathlib import Path

from tagalong.backend.models.base_models.load_options import WeightsMode
from tagalong.backend.retraining.job_store import server_state_dir
from tagalong.backend.retraining.trigger import RetrainSettings
from tagalong.backend.server.prediction.limits import Limits

RETRAINING_DISABLED = RetrainSettings(unavailable_reason="this server was not told how to train")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may ask. Label Studio sends them with every call but webhook events.

    Attributes:
        username: As set on the ML backend in Label Studio.
        password: Likewise.
    """

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the server is told.

    Attributes:
        models: The folder of model versions; need not be there.
        credentials: None lets everybody ask.
        webhook_secret: What webhook events carry in the header `WEBHOOK_SECRET_HEADER`, since Label Studio
            sends those without credentials. None for no secret.
        allowed_hosts: Hosts that texts may be fetched from, where tasks hold URLs.
        label_studio_url: For texts at addresses that begin at Label Studio's own root, such as
            ``/data/upload/...``; its host must be an allowed one.
        label_studio_key: Sent to Label Studio, and nobody else, for such a text.
        limits: How much is taken on at once.
        llm_weights: How an LLM's weights are kept; None for as it was trained.
        retraining: How to train on what was annotated.
        openvino_build_command: Command that makes the CPU engine of a version whose folder is added to it;
            empty to serve with PyTorch alone.
    """

    models: Path
    credentials: Credentials | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    allowed_hosts: frozenset[str] = frozenset()
    label_studio_url: str | None = None
    label_studio_key: str | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    llm_weights: WeightsMode | None = None
    retraining: RetrainSettings = RETRAINING_DISABLED
    openvino_build_command: tuple[str, ...] = ()

    @property
    def state_dir(self) -> Path:
        """What the server keeps for itself; hidden, so that it is never taken for a tier."""
        return server_state_dir(self.models)

    @property
    def event_store_path(self) -> Path:
        """Where webhook events are recorded."""
        return self.state_dir / "journal.sqlite"


WEBHOOK_SECRET_HEADER = "X-Tagalong-Secret"  # noqa: S105 (the name of it)
