"""The ML backend that a project is to use: its address, and its row if the project has one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from urllib.parse import urlsplit

from tagalong.backend.doctor.backend_client import Login, call_backend
from tagalong.backend.doctor.context import (
    DEFAULT_BACKEND_URL,
    HEALTH_TIMEOUT_SECONDS,
    DoctorContext,
    DoctorOptions,
)
from tagalong.backend.label_studio.api.address import LOOPBACK_HOSTS
from tagalong.backend.label_studio.api.objects import MLBackend
from tagalong.backend.server.settings import MODEL_CLASS, WEBHOOK_SECRET_HEADER
from tagalong.ner.errors import InputError
from tagalong.ner.manifest import SAFE_NAME_PATTERN
from tagalong.ner.tiers import TIERS

MODELS_PATH = "/models/"  # before the name of a model, in the URL of its backend
DEFAULT_PORTS = {"http": 80, "https": 443}

NAMED_MODEL_PATTERN = re.compile(rf"/({'|'.join(TIERS)}|models/[^/]+)$")  # end of a path

AddressKey = tuple[str, str, int, str]  # scheme, host, port and path


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """The project to connect, and its backend."""

    url: str  # of Label Studio
    key: str = field(repr=False)  # a legacy token or a personal one
    project: int
    server_url: str = DEFAULT_BACKEND_URL  # of the server, as Label Studio reaches it
    local_server_url: str = DEFAULT_BACKEND_URL  # from here
    model: str | None = None  # None for the default of the server
    login: Login | None = field(default=None, repr=False)  # of the server
    webhook_secret: str | None = field(default=None, repr=False)
    keep_sampling: bool = False

    @property
    def backend_url(self) -> str:
        """Address of the model's backend, as Label Studio reaches it."""
        return self.server_url if self.model is None else _model_url(self.server_url, self.model)

    @property
    def local_backend_url(self) -> str:
        """Address of the model's backend from here."""
        local = self.local_server_url
        return local if self.model is None else _model_url(local, self.model)


class ConnectContext(DoctorContext):
    """A project, and the backend that it is to use, which need not be its first."""

    def __init__(self, options: ConnectOptions) -> None:
        local_url, login = options.local_backend_url, options.login
        super().__init__(DoctorOptions(options.url, options.key, options.project, local_url, login))
        self.connect_options = options

    @property
    def backend(self) -> MLBackend | None:
        """The row of the backend, also under another address; None if the project has none."""
        return self._own_row

    @property
    def backend_url(self) -> str:
        """Address that the backend is to have for Label Studio."""
        return self.connect_options.backend_url

    @property
    def webhook_url(self) -> str:
        """Address that the webhook is to have."""
        return f"{self.backend_url}/webhook"

    @property
    def secret_headers(self) -> Mapping[str, str]:
        """The headers of the webhook that hold its secret; none without a secret."""
        secret = self.connect_options.webhook_secret
        return {WEBHOOK_SECRET_HEADER: secret} if secret else {}

    def options_of_last_check(self) -> DoctorOptions:
        """The options of the doctor, whose backend is the first one of the project."""
        if self.is_first_backend:
            return self.options
        return replace(self.options, backend_url=None)

    @property
    def is_first_backend(self) -> bool:
        """Whether Label Studio asks this backend for predictions, now or once it is added."""
        return not self.backends or (
            self.backend is not None and self.backends[0].id == self.backend.id
        )

    @cached_property
    def _own_row(self) -> MLBackend | None:
        target = address_key(self.backend_url)
        for is_own in (
            lambda row: row.url.rstrip("/") == self.backend_url,
            lambda row: address_key(row.url) == target,
            self._is_same_tier,
            self._is_stale,
        ):
            if found := next(filter(is_own, self.backends), None):
                return found
        return None

    def _is_same_tier(self, row: MLBackend) -> bool:
        """Whether a Tagalong server answers there, with the tier of the backend to connect."""
        health = call_backend(f"{row.url}/health", timeout_seconds=HEALTH_TIMEOUT_SECONDS)
        tier = self.health_response.get("tier")
        return health.get("model_class") == MODEL_CLASS and health.get("tier") == tier

    def _is_stale(self, row: MLBackend) -> bool:
        """Whether nothing answers there any more, and it was Tagalong on another port."""
        # Other backends are hardly called by their version, which ours must be.
        was_connected = bool(row.title) and row.title == row.model_version
        (_, host, _, path), (_, new_host, _, new_path) = map(
            address_key, (row.url, self.backend_url)
        )
        return not row.is_connected and was_connected and (host, path) == (new_host, new_path)


def parse_server_url(url: str, *, model: str | None = None) -> str:
    """Check the address of a server, as users type or paste it; it gets no slash at its end.

    Raises:
        InputError: If it is not the address of a web server, holds a password, or names a model
            although one is given.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        is_valid = parts.port != 0 and bool(parts.hostname) and parts.scheme in DEFAULT_PORTS
    except ValueError:
        is_valid = False
    if not is_valid or parts.username is not None or parts.query or parts.fragment:
        # The message does not quote the address, because it may hold a password.
        raise InputError(
            "the address of the backend is not one of a web server: give it as http://HOST:PORT or "
            "https://HOST, without a user and password",
            code="invalid-backend-url",
        )
    if model is not None and NAMED_MODEL_PATTERN.search(parts.path):
        raise InputError(
            f"{url} names a model already: give the address of the server, and --model {model}",
            code="two-models",
        )
    return url


def check_model_name(name: str) -> str:
    """Return the name of a model, or raise `InputError` if no model can have it."""
    if SAFE_NAME_PATTERN.fullmatch(name) is None:
        raise InputError(
            f"{name!r:.120} cannot be the name of a model: give one of letters, digits, dots, "
            "hyphens and underscores, as `tagalong models list` shows it",
            code="invalid-model-name",
        )
    return name


def check_webhook_secret(secret: str) -> str:
    """Return a secret, or raise `InputError` if no header can hold it."""
    if not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise InputError(
            "TAGALONG_WEBHOOK_SECRET cannot be sent in a header: use ASCII letters, digits and "
            "marks, without blanks at its ends, here and on the server",
            code="invalid-webhook-secret",
        )
    return secret


def address_key(url: str) -> AddressKey:
    """What two spellings of one address have in common; all loopback hosts are one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # of no server
        return "", url, 0, ""
    host = (parts.hostname or "").lower()
    if host in LOOPBACK_HOSTS or host.startswith("127."):
        host = LOOPBACK_HOSTS[0]
    port = DEFAULT_PORTS.get(parts.scheme, 0) if port is None else port
    return parts.scheme, host, port, parts.path.rstrip("/")


def _model_url(server_url: str, model: str) -> str:
    return f"{server_url}{MODELS_PATH}{model}"
