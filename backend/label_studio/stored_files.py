"""Files of tasks in Label Studio: the only addresses that get its API key with a task's text.

The routes are those that serve files in Label Studio 1.23.2 (``data_import/urls.py`` and
``io_storages/urls.py``). It matches some other routes, such as ``metrics/``, anywhere in a path, so
a prefix such as ``/storage-data/`` is not enough.
"""

import re
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import parse_qsl, quote, unquote

from tagalong.backend.label_studio.api.address import remove_page
from tagalong.backend.label_studio.fetch import DEFAULT_PORTS, WebAddress, parse_web_address
from tagalong.ner.errors import InputError

# Django stores uploads under names of these characters only. A segment of dots is no name.
UPLOAD_PATTERN = re.compile(r"/data/upload(?:/(?!\.+(?:/|\Z))[\w.-]+)+")
# Path, and the parameter that names the file. Label Studio adds a missing slash at the end.
PARAMETER_BY_PATTERN = {
    re.compile(r"/data/local-files/?"): "d",
    re.compile(r"/storage-data/uploaded/?"): "filepath",
    re.compile(r"/(?:tasks|projects)/[0-9]{1,19}/resolve/?"): "fileuri",
}


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """The files of one Label Studio."""

    server: WebAddress  # its path is the decoded prefix, such as "/label-studio", or empty

    @classmethod
    def parse(cls, url: str) -> "StoredFiles":
        """Parse the address of a Label Studio, or of one of its pages.

        Raises:
            InputError: If it is not a web address, or holds credentials.
        """
        address = parse_web_address(url)
        prefix = remove_page(address.path.partition("?")[0])
        return cls(replace(address, path=unquote(prefix)))

    def make_absolute(self, value: str) -> str:
        """Complete an address that starts with a slash, as a browser does."""
        scheme, netloc = self.server.scheme, self.server.netloc
        return f"{scheme}:{value}" if value.startswith("//") else f"{scheme}://{netloc}{value}"

    def is_on_host(self, address: WebAddress) -> bool:
        """Whether an address is on the host of Label Studio, in any spelling and scheme.

        Names are not looked up. A second name of the host is another host, and gets no key.
        """
        ports = {self.server.port, address.port}
        same_port = len(ports) == 1 or ports <= set(DEFAULT_PORTS.values())
        return same_port and _normalize_host(address.host) == _normalize_host(self.server.host)

    def find_file(self, address: WebAddress) -> WebAddress:
        """Return the address of a file as it is requested, on the configured server.

        It is rebuilt from the decoded parts, so that no later parser can read another path in it.

        Raises:
            InputError: If it is not the address of a file. Label Studio is not asked.
        """
        if (path := self._rebuild_path(address.path)) is not None:
            return replace(self.server, path=path)
        raise InputError(
            "its text is on the host of Label Studio, where texts are read from files of tasks "
            "only: upload the text as a file, or import the plain text",
            code="text-not-in-file",
        )

    def _rebuild_path(self, target: str) -> str | None:
        path, _, query = target.partition("?")
        try:
            path = unquote(path, errors="strict")
        except UnicodeDecodeError:
            return None
        prefix = self.server.path
        if not path.startswith(f"{prefix}/"):
            return None
        route = path.removeprefix(prefix)
        if UPLOAD_PATTERN.fullmatch(route):
            return quote(path)
        for pattern, name in PARAMETER_BY_PATTERN.items():
            if pattern.fullmatch(route):
                values = [value for key, value in parse_qsl(query) if key == name]
                return f"{quote(path.rstrip('/'))}/?{name}={quote(values[-1])}" if values else None
        return None


def _normalize_host(host: str) -> str:
    # Resolvers read numbers of one to four parts in three bases as IPv4 addresses.
    name = host.strip("[]").rstrip(".")
    address: IPv4Address | IPv6Address | None = None
    with suppress(ValueError):
        address = ip_address(name)
    if address is None:
        with suppress(OSError):
            address = IPv4Address(socket.inet_aton(name))
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address is None:
        is_loopback = name == "localhost" or name.endswith(".localhost")
    else:
        is_loopback = address.is_loopback or address.is_unspecified
    return "localhost" if is_loopback else str(address or name)
