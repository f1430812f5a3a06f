"""The address and the key of a Label Studio, as users type or paste them."""

import ssl
from functools import cache
from typing import TypedDict
from urllib.parse import urlsplit

import httpx

from tagalong.ner.errors import LabelStudioError

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
BROWSER_PAGE_PREFIXES = ("projects", "user", "organization", "api")  # cut off a pasted address


class ClientOptions(TypedDict):
    """Options of `httpx.Client` that depend on the address."""

    trust_env: bool
    verify: ssl.SSLContext


def client_options(url: str) -> ClientOptions:
    """The options of a client for an address."""
    # A proxy in the environment is never meant for this machine.
    uses_environment = urlsplit(url).hostname not in LOOPBACK_HOSTS
    return {"trust_env": uses_environment, "verify": _read_certificates(uses_environment)}


@cache  # reading them takes 20 ms, more than a request to this machine
def _read_certificates(trust_env: bool) -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=trust_env)


def normalize_url(url: str) -> str:
    """Reduce a typed or pasted address, or that of a page, to scheme, host, port and path prefix.

    Raises:
        LabelStudioError: If it is not the address of a web server, or holds a password.
    """
    url = url.strip()
    if "://" not in url and url.partition("/")[0].partition(":")[0] in LOOPBACK_HOSTS:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # httpx encodes the host in this way
    except ValueError as error:
        raise _address_error() from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise _address_error()
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = host if port is None else f"{host}:{port}"
    return f"{parts.scheme}://{authority}{remove_page(parts.path)}"


def remove_page(path: str) -> str:
    """Reduce the path of Label Studio, or of one of its pages, to the prefix without end slash."""
    names = path.split("/")
    end = next((i for i, name in enumerate(names) if name in BROWSER_PAGE_PREFIXES), len(names))
    return "/".join(names[:end]).rstrip("/")


def _address_error() -> LabelStudioError:
    # The message does not quote the address, because it may hold a password.
    return LabelStudioError(
        "the address is not that of a Label Studio: give it as http://HOST:PORT or https://HOST, "
        "without a user and password",
        "address",
    )


def validate_key(key: str) -> str:
    """Strip an API key; LabelStudioError if it is empty, or has characters that no key has."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise LabelStudioError(
            "the key is empty, or has characters that no key of Label Studio has: copy it from "
            "Account & Settings",
            "key",
        )
    return key
