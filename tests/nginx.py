"""nginx with the configuration of docs/deployment.md, on a free port of loopback."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tagalong.backend.demo.supervised_process import SupervisedProcess, find_free_port

DEPLOYMENT = Path(__file__).parents[1] / "docs" / "deployment.md"
CONFIG = re.compile(r"^```nginx\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MISSING = "nginx is not installed (Debian: apt-get install nginx-light)"
SERVER_NAME = "tagalong.example.org"  # in the documentation
MAIN = """daemon off; master_process off; pid nginx.pid; error_log error.log info;
events {{}}
http {{
  access_log access.log; {temporary}
  {content}
}}
"""
TEMPORARY = "".join(
    f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


def read_documented_config() -> str:
    """The configuration in the documentation."""
    (config,) = CONFIG.findall(DEPLOYMENT.read_text(encoding="utf-8"))
    return str(config)


def find_nginx() -> str:
    """The program; skips the test without it. Debian's is in a folder for administrators."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return program or pytest.skip(MISSING)


@contextmanager
def start_nginx(
    folder: Path,
    port: int,
    *,
    tls: bool = False,
    changes: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Start nginx in front of a server; yields its URL.

    Args:
        folder: Folder for its files; ``access.log`` is nginx's own.
        port: Port of the server.
        tls: Whether it uses TLS, with the certificate ``tagalong.pem`` of the folder.
        changes: Replacements in the documented configuration.
    """
    program, own_port = find_nginx(), find_free_port()
    config = read_documented_config()
    replacements = {
        "127.0.0.1:9090": f"127.0.0.1:{port}",
        "listen 443 ssl;": f"listen 127.0.0.1:{own_port}{' ssl' if tls else ''};",
        **(changes or {}),
    }
    if not tls:
        config = re.sub(r"^ *ssl_.*\n", "", config, flags=re.MULTILINE)
    for documented, used in replacements.items():
        assert documented in config, documented
        config = config.replace(documented, used)
    config = re.sub(r"/etc/ssl/\w+", str(folder), config)
    path = folder / "nginx.conf"
    path.write_text(MAIN.format(temporary=TEMPORARY, content=config), encoding="utf-8")
    with SupervisedProcess(
        "nginx",
        [program, "-p", str(folder), "-c", str(path), "-e", "stderr"],
        environment={},
        log_path=folder / "nginx.log",
    ) as process:
        process.wait_until_ready(lambda: _listens(own_port), timeout_seconds=30.0)
        yield f"http{'s' if tls else ''}://127.0.0.1:{own_port}"


def make_certificate(folder: Path) -> Path:
    """Make a certificate for loopback, ``tagalong.pem``, and its key; skips without openssl."""
    program = shutil.which("openssl") or pytest.skip("openssl is not installed")
    certificate, key = folder / "tagalong.pem", folder / "tagalong.key"
    curve = "ec_paramgen_curve:prime256v1"
    command = [program, "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", curve]
    names = f"subjectAltName=IP:127.0.0.1,DNS:{SERVER_NAME}"
    command += ["-subj", f"/CN={SERVER_NAME}", "-addext", names]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
