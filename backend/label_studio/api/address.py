"""The address and the key of a Label Studio, from what was typed or pasted."""

from urllib.parse import urlsplit

from tagalong.ner.errors import LabelStudioError

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
BROWSER_PAGE_PREFIXES = (
    "projects",
    "user",
    "organization",
    "api",
)  # of the browser, cut off a pasted address


def normalize_url(url: str) -> str:
    """The address of Label Studio from what was typed, or pasted from the browser.

    Args:
        url: Of Label Studio or of one of its pages.

    Returns:
        Scheme, host, port and path prefix; no slash at the end.

    Raises:
        LabelStudioError: If it is not the address of a web server, or holds a password.
    """
    url = url.strip()
    if "://" not in url and url.partition("/")[0].partition(":")[0] in LOOPBACK_HOSTS:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as it is asked for
    except ValueError as error:
        raise _address_error() from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise _address_error()
    path = parts.path.split("/")
    cut = next(
        (place for place, name in enumerate(path) if name in BROWSER_PAGE_PREFIXES), len(path)
    )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = host if port is None else f"{host}:{port}"
    return f"{parts.scheme}://{authority}{'/'.join(path[:cut])}".rstrip("/")


def _address_error() -> LabelStudioError:
    """Without the address: a password in it is what may be wrong."""
    return LabelStudioError(
        "that is not the address of a Label Studio: give it as http://HOST:PORT or https://HOST, "
        "without a user and password",
        "address",
    )


def validate_key(key: str) -> str:
    """The key without blanks around it, if it can be sent at all.

    Args:
        key: A legacy token or a personal one.

    Returns:
        The key as it is sent.

    Raises:
        LabelStudioError: If it has characters that cannot be in a key.
    """
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise LabelStudioError(
            "the key is empty, or has characters that no key of Label Studio has: copy it from "
            "Account & Settings",
            "key",
        )
    return key
