"""What the server is told: where the versions are, who may ask, and how much at once."""

from dataclasses import dataclass, field
from pathlib import Path

from backend.llm.kept import Weights
from backend.retraining.due import Training
from backend.retraining.runs import server_home
from ner.catalogue import DEFAULT_TIER

UNTAUGHT = Training(why_not="this server was not told how to train")
ENCODER, LLM = TIERS = (DEFAULT_TIER, "llm")  # the first answers where the path names none


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
class Limits:
    """How much is taken on at once. More is refused in words, before any work is done.

    Attributes:
        body: Bytes of a request.
        tasks: Of one request. Label Studio gives up on it after 100 seconds, whatever it is owed.
        characters: Of one text; a longer one gets an empty result, and is counted.
        predictions: Requests in work or waiting for it.
        wait: Seconds a request waits for a model that is being loaded for the first time.
        reading: Seconds for fetching the texts of one request, where tasks hold URLs.
        predicting: Seconds of work that an LLM takes on: what Label Studio waits, less what
            reading and answering take.
    """

    body: int = 64 * 2**20
    tasks: int = 1_000
    characters: int = 500_000
    predictions: int = 24
    wait: float = 90.0
    reading: float = 50.0
    predicting: float = 80.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the server is told.

    Attributes:
        models: The folder of model versions; need not be there.
        credentials: None lets everybody ask.
        webhook_secret: What webhook events carry in the header `SECRET_HEADER`, since Label Studio
            sends those without credentials. None for no secret.
        allowed_hosts: Hosts that texts may be fetched from, where tasks hold URLs.
        label_studio_url: For texts at addresses that begin at Label Studio's own root, such as
            ``/data/upload/...``; its host must be an allowed one.
        label_studio_key: Sent to Label Studio, and nobody else, for such a text.
        limits: How much is taken on at once.
        llm_weights: How an LLM's weights are kept; None for as it was trained.
        training: How to train on what was annotated.
        make_engine: Command that makes the CPU engine of a version whose folder is added to it;
            empty to serve with PyTorch alone.
    """

    models: Path
    credentials: Credentials | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    allowed_hosts: frozenset[str] = frozenset()
    label_studio_url: str | None = None
    label_studio_key: str | None = field(default=None, repr=False)
    limits: Limits = Limits()
    llm_weights: Weights | None = None
    training: Training = UNTAUGHT
    make_engine: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """What the server keeps for itself; hidden, so that it is never taken for a tier."""
        return server_home(self.models)

    @property
    def journal_path(self) -> Path:
        """Where webhook events are recorded."""
        return self.home / "journal.sqlite"


SECRET_HEADER = "X-Tagalong-Secret"  # noqa: S105 (the name of it)
