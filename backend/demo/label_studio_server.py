"""A Label Studio on loopback: its data, its account, and a server that ends with us."""

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tagalong.backend.demo.supervised_process import (
    LOOPBACK_ADDRESS,
    SupervisedProcess,
    find_free_port,
    is_port_free,
    port_taken_error,
)
from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.ner.atomic_io import PRIVATE_FOLDER_MODE, write_text_atomically
from tagalong.ner.errors import LabelStudioError

START_TIMEOUT_SECONDS = 300.0  # the first start creates a database, minutes on a slow disk
ACCOUNT_EMAIL = "demo@localhost"
ACCOUNT_FILE = "account.json"  # in the data folder, so that neither exists without the other
INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
# Label Studio refuses backends and webhooks at addresses that are not public. This is its own list
# without loopback. ML_BLOCK_LOCAL_IP stays on, because without it a backend may be anywhere.
BANNED_SUBNETS = (
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,"
    "192.0.2.0/24,192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,"
    "203.0.113.0/24,224.0.0.0/4,233.252.0.0/24,240.0.0.0/4,255.255.255.255/32,::/128,"
    "::ffff:0:0/96,::ffff:0:0:0/96,64:ff9b::/96,64:ff9b:1::/48,100::/64,2001:0000::/32,"
    "2001:20::/28,2001:db8::/32,2002::/16,fc00::/7,fe80::/10,ff00::/8"
)
LABEL_STUDIO_VARIABLES = {
    "USE_DEFAULT_BANNED_SUBNETS": "false",
    "USER_ADDITIONAL_BANNED_SUBNETS": BANNED_SUBNETS,
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
}


@dataclass(frozen=True, slots=True)
class Account:
    """The account of our Label Studio, for loopback only."""

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LabelStudioServer(AbstractContextManager["LabelStudioServer"]):
    """A running Label Studio."""

    url: str
    account: Account
    process: SupervisedProcess

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def connect(self) -> LabelStudioClient:
        """Make a client with the legacy token of the account."""
        return connect(self.url, self.account.token)


def start_label_studio(
    program: Path,
    home: Path,
    *,
    port: int | None = None,
    extra_variables: Mapping[str, str] | None = None,
    timeout_seconds: float = START_TIMEOUT_SECONDS,
) -> LabelStudioServer:
    """Start a Label Studio on SQLite, and wait until it accepts its account.

    Each needs its own home, for data, account and log, and its own port; None is any free port.
    Raises `LabelStudioError` if the port is taken, or the server ends early, or starts too slowly.
    """
    port = find_free_port() if port is None else port
    if not is_port_free(port):
        raise port_taken_error(port)
    data = home.absolute() / "data"
    account = read_or_create_account(data)
    process = SupervisedProcess(
        "Label Studio",
        _build_command(program, data, port),
        environment=_build_environment(data, account, extra_variables or {}),
        log_path=home.absolute() / "label-studio.log",
    )
    url = f"http://{LOOPBACK_ADDRESS}:{port}"
    try:
        with connect(url, account.token, retries=0) as client:
            process.wait_until_ready(lambda: _is_ready(client), timeout_seconds=timeout_seconds)
    except BaseException:  # Ctrl-C too: the caller has no server to stop yet
        process.stop()
        raise
    return LabelStudioServer(url, account, process)


def read_or_create_account(data: Path) -> Account:
    """Read the account from the data folder, or create it the first time."""
    data.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
    path = data / ACCOUNT_FILE
    if not path.exists():
        account = Account(ACCOUNT_EMAIL, secrets.token_urlsafe(9), secrets.token_hex(20))
        write_text_atomically(path, json.dumps(asdict(account)))
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Account(str(fields["email"]), str(fields["password"]), str(fields["token"]))
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path} is broken: remove {data}, and the demo starts from scratch"
        raise LabelStudioError(message, "start", code="account-file-broken") from error


def _build_command(program: Path, data: Path, port: int) -> list[str]:
    """The command line, without the account: other users can list command lines."""
    return [
        str(program.absolute()),
        "start",
        *("--data-dir", str(data)),
        *("--internal-host", LOOPBACK_ADDRESS),  # the default is all addresses
        *("--port", str(port)),
        "--debug",  # its only effect: end if the port is taken, instead of using the next one
        "--no-browser",
        "--enable-legacy-api-token",
    ]


def _build_environment(data: Path, account: Account, extra: Mapping[str, str]) -> dict[str, str]:
    # Label Studio reads variables as common as DEBUG and PORT, so it inherits almost none.
    return {
        **{name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ},
        "HOME": str(data),  # it writes there as well
        "PYTHONUNBUFFERED": "1",  # so that the log has the last lines before a crash
        "LABEL_STUDIO_USERNAME": account.email,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
        **LABEL_STUDIO_VARIABLES,
        **extra,
    }


def _is_ready(client: LabelStudioClient) -> bool:
    try:
        client.whoami()
    except LabelStudioError as error:
        if error.kind in ("key", "foreign"):
            raise LabelStudioError(
                f"at {client.url} another program answers, or a Label Studio with another account: "
                "end it, or give another port or another --home",
                "start",
                code="port-taken",
            ) from error
        return False
    return True
