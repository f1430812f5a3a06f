"""A Label Studio on loopback: its data, its account, and a server that ends when we do."""

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from tagalong.backend.demo.supervised_process import (
    LOOPBACK_ADDRESS,
    SupervisedProcess,
    find_free_port,
    is_port_free,
)
from tagalong.backend.label_studio.api.client import LabelStudioClient, connect
from tagalong.ner.atomic_io import write_text_atomically
from tagalong.ner.errors import LabelStudioError

START_TIMEOUT_SECONDS = (
    300.0  # seconds: it makes its database then, which slow disks take minutes for
)
ACCOUNT_EMAIL = "demo@localhost"
ACCOUNT_FILE = "account.json"  # beside the data, so that neither is ever there without the other
INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
# Label Studio refuses every backend and webhook at an address that is not public. Of its own list
# this leaves out loopback, and nothing else. ML_BLOCK_LOCAL_IP stays on: off, it lets a backend be
# anywhere.
BANNED_SUBNETS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "233.252.0.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:0000::/32",
    "2001:20::/28",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
)
LABEL_STUDIO_VARIABLES = {
    "USE_DEFAULT_BANNED_SUBNETS": "false",
    "USER_ADDITIONAL_BANNED_SUBNETS": ",".join(BANNED_SUBNETS),
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Who logs in to a Label Studio of ours. It is for loopback alone."""

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LabelStudioServer(AbstractContextManager["LabelStudioServer"]):
    """A Label Studio that we started.

    Attributes:
        url: Where it answers.
        account: Who may log in.
        process: Its server.
    """

    url: str
    account: Account
    process: SupervisedProcess

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def connect(self) -> LabelStudioClient:
        """What to ask it, with a legacy token."""
        return connect(self.url, self.account.token)

    def stop(self) -> None:
        """End it and all that it started."""
        self.process.stop()


def start_label_studio(
    program: Path,
    home: Path,
    *,
    port: int | None = None,
    extra_variables: Mapping[str, str] | None = None,
    timeout_seconds: float = START_TIMEOUT_SECONDS,
) -> LabelStudioServer:
    """Start a Label Studio on SQLite, and wait until it answers to its account.

    Several may run at once, each with a home and a port of its own.

    Args:
        program: ``label-studio`` of its own environment.
        home: Gets its data, its account and its log.
        port: Where it is to listen; None for any free port.
        extra_variables: Environment variables, feature flags for example.
        timeout_seconds: How long to wait.

    Returns:
        The running server; the caller stops it.

    Raises:
        LabelStudioError: If the port is taken, or it ends before it answers, or takes too long.
    """
    port = find_free_port() if port is None else port
    if not is_port_free(port):
        raise LabelStudioError(
            f"port {port} is taken by another program: end that, or give another port", "start"
        )
    data = home.absolute() / "data"
    account = read_or_create_account(data)
    running = LabelStudioServer(
        url=f"http://{LOOPBACK_ADDRESS}:{port}",
        account=account,
        process=SupervisedProcess(
            "Label Studio",
            _build_command(program, data, port),
            environment=_build_environment(data, account, extra_variables or {}),
            log_path=home.absolute() / "label-studio.log",
        ),
    )
    try:
        with connect(running.url, account.token, retries=0) as asking:
            running.process.wait_until_ready(
                lambda: _is_ready(asking), timeout_seconds=timeout_seconds
            )
    except BaseException:  # Ctrl-C too: who gets no server has none to stop
        running.stop()
        raise
    return running


def read_or_create_account(data: Path) -> Account:
    """The account of a Label Studio of ours, made up the first time.

    Args:
        data: Where its data is, or will be.

    Returns:
        The account, which a file keeps that its owner alone may read.

    Raises:
        LabelStudioError: If that file is there and broken.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = data / ACCOUNT_FILE
    if not path.exists():
        account = Account(ACCOUNT_EMAIL, secrets.token_urlsafe(9), secrets.token_hex(20))
        write_text_atomically(path, json.dumps(asdict(account)), mode=0o600)
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return Account(str(held["email"]), str(held["password"]), str(held["token"]))
    except (ValueError, KeyError, TypeError) as error:
        raise LabelStudioError(
            f"{path} is broken: remove {data}, and the demo begins anew", "start"
        ) from error


def _build_command(program: Path, data: Path, port: int) -> list[str]:
    """How it is started. The account goes by the environment, which other users cannot list."""
    return [
        str(program.absolute()),
        "start",
        *("--data-dir", str(data)),
        *("--internal-host", LOOPBACK_ADDRESS),  # else all addresses of the machine
        *("--port", str(port)),
        "--debug",  # all it does: end where the port is taken, instead of moving to the next
        "--no-browser",
        "--enable-legacy-api-token",
    ]


def _build_environment(data: Path, account: Account, extra: Mapping[str, str]) -> dict[str, str]:
    """All that it sees: of ours next to nothing, for it takes names as common as DEBUG and PORT."""
    ours = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    return {
        **ours,
        "HOME": str(data),  # it writes there too
        "PYTHONUNBUFFERED": "1",  # so that the log has the last words of a crash
        "LABEL_STUDIO_USERNAME": account.email,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
        **LABEL_STUDIO_VARIABLES,
        **extra,
    }


def _is_ready(asking: LabelStudioClient) -> bool:
    """Whether it is up, and the one with our account."""
    try:
        asking.whoami()
    except LabelStudioError as error:
        if error.kind in ("key", "foreign"):
            raise LabelStudioError(
                f"at {asking.url} another program answers, or a Label Studio with another account: "
                "end it, or give another port or another --home",
                "start",
            ) from error
        return False
    return True
