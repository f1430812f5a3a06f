"""Settings of the server."""

from dataclasses import dataclass, field
from pathlib import Path

from tagalong.backend.models.base_models.load_options import WeightsMode
from tagalong.backend.retraining.trigger import RetrainSettings
from tagalong.backend.server.prediction.request import Limits
from tagalong.backend.storage.state_dir import event_store_path, server_state_dir

WEBHOOK_SECRET_HEADER = "X-Tagalong-Secret"  # noqa: S105 (the header's name)
MODEL_CLASS = "Tagalong"  # in /health
RETRAINING_DISABLED = RetrainSettings(unavailable_reason="this server has no training command")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Username and password, which Label Studio sends with all calls but webhook events."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a server."""

    models: Path  # the folder of model versions; it need not exist
    credentials: Credentials | None = None  # None lets everybody in
    # In the header `WEBHOOK_SECRET_HEADER` of webhook events, which have no credentials.
    webhook_secret: str | None = field(default=None, repr=False)
    # Names of this server in the URLs of its clients, beside loopback ones; None allows all.
    server_names: frozenset[str] | None = None
    allowed_hosts: frozenset[str] = frozenset()  # to fetch texts from, if tasks hold URLs
    # For texts stored in Label Studio, with addresses such as ``/data/upload/...``.
    label_studio_url: str | None = None  # its host must be an allowed one
    label_studio_key: str | None = field(default=None, repr=False)  # sent to Label Studio only
    limits: Limits = field(default_factory=Limits)
    max_memory_bytes: int | None = None  # of the process; None for most of what it may have
    llm_weights: WeightsMode | None = None  # None for the mode of the LLM's training
    retraining: RetrainSettings = RETRAINING_DISABLED
    # Compiles the version whose folder is its last argument; empty to use PyTorch only.
    openvino_build_command: tuple[str, ...] = ()

    @property
    def state_dir(self) -> Path:
        """The server's own folder; hidden, so that it is never taken for a tier."""
        return server_state_dir(self.models)

    @property
    def event_store_path(self) -> Path:
        """The file of webhook events."""
        return event_store_path(self.models)
