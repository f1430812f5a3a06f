"""Hosts and origins of requests, to a real server with one name beside the loopback ones."""

from collections.abc import Iterator

from tests.fuzz.server import AUTHORIZATION, HEADERS, SERVER_NAME, Server, read_answer

SERVED, NOT_SERVED, FOREIGN = 200, {400, 421}, {403}
GOOD_HOSTS = [
    *(
        "localhost",
        "localhost:80",
        "LOCALHOST",
        "localhost.",
        "a.localhost:1",
        "127.0.0.1",
        "[::1]",
    ),
    *("127.1.2.3:65535", "[::1]:1", "[::ffff:127.0.0.1]", "host.docker.internal", SERVER_NAME),
    *(f"{SERVER_NAME.upper()}:443", f"{SERVER_NAME}.", "host.containers.internal:1"),
]
BAD_HOSTS = [
    *(
        "evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "0.0.0.0",
    ),
    *(
        "10.0.0.1",
        "[::2]",
        "[::]",
        "[fe80::1%25lo]",
        "localhost@evil.example",
        "localhost, evil",
        ",",
    ),
    *(
        "evil.example@localhost",
        "localhost/",
        "http://localhost",
        "local host",
        "::1",
        "",
        ":80",
        ".",
    ),
    *(
        "0x7f000001",
        "2130706433",
        "127.1",
        "017700000001",
        "localhost:",
        "localhost:x",
        "localhost:-1",
    ),
    *(
        "localhost:99999999",
        "loc\xe5lhost",
        "\xff",
        "a..b",
        "x" * 300,
        "localhost#",
        "localhost?",
        "%6c",
    ),
    *(
        f"x.{SERVER_NAME}",
        f"{SERVER_NAME}..",
        "localhost\\",
        '"localhost"',
        "localhost;",
        "[::1",
        "::1]",
    ),
    *("xn--a", "localhost:80:80", "[localhost]", "169.254.169.254"),
]
OWN = [
    {},
    {"Origin": "http://localhost"},
    {"Origin": "https://localhost"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"},
    {"Sec-Fetch-Site": "none"},
    {"Referer": "https://evil.example/"},
    {"Referer": "\xff://["},
    {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]
FOREIGN_ORIGINS = [
    *("https://evil.example", "null", "", "http://localhost:8080", "http://localhost.evil.example"),
    *(
        "http://evil.example:80",
        "http://[evil",
        "http://localhost@evil.example",
        "localhost",
        "file://",
    ),
    *(
        "http://localhost,http://evil.example",
        "http://LOCALHOST",
        "\xff",
        "http://localhost:80\\@evil",
    ),
    *("moz-extension://x", "http://127.0.0.1", "//", "http://", "https://localhost:443"),
]
FOREIGN_SITES = [
    "cross-site",
    "same-site",
    "Cross-Site",
    "",
    "same-origin, cross-site",
    "x",
    "None",
    "\xff",
]
CHANGES = ["/setup", "/predict", "/webhook", "/train", "/versions", "/job_status", "/llm/setup"]


def forms() -> Iterator[tuple[str, str, dict[str, str], set[int]]]:
    """Method, path, headers and the statuses that are right."""
    for host in GOOD_HOSTS:
        yield "GET", "/health", {"Host": host}, {SERVED}
        yield "GET", "/", {"Host": host, "Accept": "text/html"}, {SERVED}
        yield "POST", "/versions", {"Host": host, "Origin": f"http://{host}"}, {SERVED}
    for host in BAD_HOSTS:
        for path in ("/health", "/", "/metrics", "/unknown"):
            yield "GET", path, {"Host": host}, NOT_SERVED
        yield "POST", "/predict", {"Host": host, "Origin": f"http://{host}"}, NOT_SERVED
        forwarded = {"X-Forwarded-Host": "localhost", "X-Forwarded-Server": "localhost"}
        yield (
            "GET",
            "/health",
            {"Host": host, **forwarded, "Forwarded": "host=localhost"},
            NOT_SERVED,
        )
    for headers in OWN:
        yield "POST", "/versions", headers, {SERVED}
        yield "GET", "/health", headers, {SERVED}
    foreign = [{"Origin": origin} for origin in FOREIGN_ORIGINS]
    foreign += [{"Sec-Fetch-Site": site} for site in FOREIGN_SITES]
    foreign += [{"Sec-Fetch-Site": site, "Origin": "http://localhost"} for site in FOREIGN_SITES]
    foreign += [{"Sec-Fetch-Site": "none", "Origin": origin} for origin in FOREIGN_ORIGINS]
    for headers in foreign:
        for path in CHANGES:
            yield "POST", path, headers, FOREIGN
        yield "DELETE", "/unknown", headers, FOREIGN
        yield "GET", "/health", headers, {SERVED}


def find_form_faults(server: Server) -> tuple[int, list[str]]:
    """Send all forms; returns their number and what is wrong with the answers."""
    faults, count = [], 0
    for method, path, headers, right in forms():
        count += 1
        lines = {**HEADERS, "Authorization": AUTHORIZATION, "Content-Length": "2", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with server.connect() as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n{{}}".encode("latin-1"))
            answer, _ = read_answer(connection)
        name = f"{method} {path} {headers}"
        if answer is None:
            faults.append(f"{name}: no answer")
        elif fault := answer.find_fault():
            faults.append(f"{name}: {fault}")
        elif answer.status not in right:
            faults.append(f"{name}: status {answer.status}")
    return count, faults
