"""Refuses requests that a page of another site has a browser send.

A page of another site can make a browser send a request to this server. With a name whose address
it changes (DNS rebinding), it can also read the answer. Label Studio and programs send neither
``Origin`` nor ``Sec-Fetch-Site``.
"""

import ipaddress
import re
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from flask import request

from tagalong.backend.server.prediction.request import RequestError

HOST_PATTERN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
# A container calls its host by these. The domain ``internal`` is not in the public DNS.
CONTAINER_HOST_NAMES = frozenset({"host.docker.internal", "host.containers.internal"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Whether a name or an address, such as ``::1``, is that of the machine itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def check_host(server_names: Collection[str] | None) -> None:
    """Refuse a request for another host than this machine or `server_names`; None allows all.

    A browser always sends the header; a program of HTTP/1.0 may leave it out.
    """
    header = request.headers.get("Host")
    if server_names is None or header is None:
        return
    match = HOST_PATTERN.fullmatch(header)
    name = match[1].strip("[]").lower().removesuffix(".") if match else ""
    if not (is_loopback(name) or name in CONTAINER_HOST_NAMES or name in server_names):
        raise RequestError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "the server does not serve the host of this URL: call it by a loopback name such as "
            "localhost, or start it with that host in --server-names",
            code="host-not-served",
        )


def check_same_origin() -> None:
    """Refuse a change that a page of another site asks for.

    The algorithm of Go's ``http.CrossOriginProtection``. Behind a proxy that replaces ``Host``,
    ``Sec-Fetch-Site`` decides alone; no page can set it, nor ``X-Forwarded-Host``.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if request.method in SAFE_METHODS or site == "same-origin":
        return
    origin = request.headers.get("Origin")
    own_hosts = {request.headers.get("Host"), request.headers.get("X-Forwarded-Host")} - {None}
    if site not in (None, "none") or (origin is not None and _netloc(origin) not in own_hosts):
        raise RequestError(
            HTTPStatus.FORBIDDEN,
            "a page of another site sent this request: send it from a program or from a page of "
            "this server",
            code="cross-site-request",
        )


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
