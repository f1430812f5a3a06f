"""A task -> a document with the very text that Label Studio's editor counts offsets in.

The editor (1.23, ``tags/object/RichText/model.js``) takes the data as they are, decodes them by
``atob``, or fetches them; nothing is stripped or normalised on the way, and nothing is here.
"""

import re
from base64 import b64decode
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from tagalong.backend.documents.jsonl import reject_lone_surrogates
from tagalong.backend.label_studio.fetch import (
    Fetcher,
    WebAddress,
    parse_allowed_host,
    parse_web_address,
)
from tagalong.backend.label_studio.results import UNDEFINED_KEY, LabelConfig, format_names
from tagalong.ner.document import Document
from tagalong.ner.errors import FormatError, InputError

BASE64_WHITESPACE = re.compile(r"[\t\n\f\r ]")  # what atob leaves out
BASE64_DIGITS = re.compile(r"[A-Za-z0-9+/]*")
JSON_TYPE_NAMES = {
    type(None): "nothing",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


@dataclass(frozen=True, slots=True)
class TaskTextReader:
    """Reads the texts of tasks.

    Attributes:
        allowed_hosts: Hosts that texts may be fetched from, each ``HOST`` or ``HOST:PORT``; without
            a port, the usual one of http and https is meant. Nothing is fetched from others.
        label_studio_url: Where Label Studio is, for addresses that begin at its own root, such as
            ``/data/upload/...``; its host must be among those that are allowed.
        authorization: Gives what to send to Label Studio as ``Authorization``, such as
            ``Token ...`` or ``Bearer ...``; no other server ever gets it. Asked for every text.
        max_bytes: Bytes of a text that is fetched.
        timeout_seconds: For fetching one text, all in all.
    """

    allowed_hosts: frozenset[str] = frozenset()
    label_studio_url: str | None = field(default=None, kw_only=True)
    authorization: Callable[[], str] | None = field(default=None, kw_only=True, repr=False)
    max_bytes: int = field(default=10_000_000, kw_only=True)
    timeout_seconds: float = field(default=10.0, kw_only=True)
    _fetcher: Fetcher = field(init=False, repr=False, compare=False)
    _label_studio_address: WebAddress | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read hosts and address once, so that a mistake shows at the start.

        Raises:
            InputError: If a host is not one, or Label Studio's address is not one of the web.
        """
        hosts = frozenset(map(parse_allowed_host, self.allowed_hosts))
        home = self.label_studio_url
        object.__setattr__(self, "allowed_hosts", hosts)
        object.__setattr__(
            self, "_label_studio_address", None if home is None else parse_web_address(home)
        )
        object.__setattr__(
            self,
            "_fetcher",
            Fetcher(max_bytes=self.max_bytes, timeout_seconds=self.timeout_seconds),
        )

    def read_document(self, task: Mapping[str, Any], config: LabelConfig) -> Document:
        """Read the text of a task.

        Args:
            task: As Label Studio sends it.
            config: The project's labelling config.

        Returns:
            The document, without spans; its id is the task's.

        Raises:
            InputError: If there is no text where the config says, or it cannot be decoded or
                fetched; says which task, and nothing of its text.
        """
        name = str(task.get("id", ""))
        where = f"task {name:.60}"
        value = _read_value(task.get("data"), config, where)
        try:
            return Document(name, reject_lone_surrogates(self._decode_value(value, config), where))
        except FormatError:
            raise
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def _decode_value(self, value: str, config: LabelConfig) -> str:
        """What the editor shows for a value of the data."""
        match config.text_encoding:
            case "text":
                return value
            case "url":
                # A browser's fetch().text() takes everything for UTF-8, whatever the header says,
                # drops one byte order mark, and puts U+FFFD for what is broken.
                return self._fetch(value).removeprefix(BOM_UTF8).decode(errors="replace")
            case "base64":
                return _atob(value).decode("latin-1")  # one character for each byte
            case "base64unicode":
                return _decode_utf8(_atob(value))

    def _fetch(self, value: str) -> bytes:
        """What is at an address, if it may be asked for."""
        address = parse_web_address(self._absolute_url(value))
        if not address.is_allowed(self.allowed_hosts):
            raise InputError(
                f"its text is on {address.netloc}, which is not among the hosts that texts may be "
                "fetched from: allow it when the server is started, or import the plain text"
            )
        headers = {"Accept": "text/plain, */*", "User-Agent": "tagalong"}
        at_home = self._label_studio_address is not None and address.is_same_server(
            self._label_studio_address
        )
        if at_home and self.authorization is not None:
            headers["Authorization"] = self.authorization()
        return self._fetcher.fetch(address, headers)

    def _absolute_url(self, value: str) -> str:
        """An address in full. As in the editor, only one that begins with a slash is relative."""
        if not value.startswith("/"):
            return value
        if self.label_studio_url is None:
            raise InputError(
                "its text is in Label Studio's own files, and the server was not told where Label "
                "Studio is: tell it, or import the plain text"
            )
        try:
            return urljoin(self.label_studio_url, value)
        except ValueError as error:
            raise InputError("the address of its text is broken: mend it in the data") from error


def _read_value(data: object, config: LabelConfig, where: str) -> str:
    """What the data hold for the text."""
    fields = data if isinstance(data, dict) else {}
    for key in (config.data_key, UNDEFINED_KEY):
        if isinstance(value := fields.get(key), str):
            return value
    kind = JSON_TYPE_NAMES.get(type(fields.get(config.data_key)), "a number")
    raise FormatError(
        f"{where} has {kind} under {config.data_key!r}, where the labelling config expects the "
        f"text; its data have {format_names(fields)}: import the text under that key, or name the "
        "right key in the labelling config"
    )


def _atob(value: str) -> bytes:
    """Decode as the browser's ``atob`` does (https://infra.spec.whatwg.org/#forgiving-base64)."""
    digits = BASE64_WHITESPACE.sub("", value)
    if len(digits) % 4 == 0:
        digits = digits.removesuffix("=").removesuffix("=")
    if len(digits) % 4 == 1 or not BASE64_DIGITS.fullmatch(digits):
        raise InputError("its text is not base64, as the labelling config says: import it anew")
    return b64decode(digits + "=" * (-len(digits) % 4))


def _decode_utf8(content: bytes) -> str:
    """Decode as the editor's ``atobUnicode`` does, which takes nothing broken."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            'its text is base64, but not of UTF-8, as encoding="base64unicode" says: import it anew'
        ) from error
