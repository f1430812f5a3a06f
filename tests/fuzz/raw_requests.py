"""Raw requests: unusual, malformed, and of two meanings (request smuggling)."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count

from tests.fuzz.server import (
    AUTHORIZATION,
    FOREIGN_SECRET,
    GOOD_BODY,
    HEADERS,
    SERVER_NAME,
    Answer,
    Server,
    find_wrong_words,
    read_answer,
)

SMUGGLED_PATH = "/smuggled"  # in the server's log only if a smuggled request was answered
SILENCE_SECONDS = 2.0  # after which an unfinished request is given up
FINAL_REQUEST = b"GET /health?final HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
MAX_ANSWERS = 10

AUTH = f"Authorization: {AUTHORIZATION}\r\nX-Tagalong-Secret: {HEADERS['X-Tagalong-Secret']}\r\n"
HOST = "Host: localhost\r\n"
SMUGGLED = f"DELETE {SMUGGLED_PATH} HTTP/1.1\r\n{HOST}\r\n"
BODY = '{"project":"1"}'
CHUNKED_BODY = f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


@dataclass(frozen=True, slots=True)
class Shape:
    """A raw request, and the statuses that its first answer may have.

    Without statuses, it is an error of the client or closes the connection. A shape may be
    `unfinished`: then no answer is right too.
    """

    name: str
    content: bytes
    statuses: frozenset[int] = frozenset()
    unfinished: bool = False
    has_body: bool = True  # whether its answer has one


def shapes() -> list[Shape]:
    """All shapes; their names are unique."""
    found = [
        *request_line_shapes(),
        *header_shapes(),
        *length_shapes(),
        *chunk_shapes(),
        *smuggling_shapes(),
        *large_shapes(),
        *sequence_shapes(),
    ]
    assert len({shape.name for shape in found}) == len(found)
    return found


def shape(name: str, content: str | bytes, *statuses: int, unfinished: bool = False) -> Shape:
    raw = content.encode("latin-1") if isinstance(content, str) else content
    has_body = not raw.startswith(b"HEAD ")
    return Shape(name, raw, frozenset(statuses), unfinished, has_body)


def get(target: str, *, version: str = "HTTP/1.1", headers: str = HOST) -> str:
    return f"GET {target} {version}\r\n{headers}\r\n"


def post(headers: str, body: str, *, path: str = "/versions", version: str = "HTTP/1.1") -> str:
    return f"POST {path} {version}\r\n{HOST}{AUTH}{headers}\r\n{body}"


def numbered(kind: str, contents: list[tuple[str, tuple[int, ...]]]) -> Iterator[Shape]:
    for number, (content, statuses) in zip(count(1), contents, strict=False):
        yield shape(f"{kind} {number}: {content[:40]!r}", content, *statuses)


def request_line_shapes() -> Iterator[Shape]:
    """Methods, targets and versions."""
    for method in ("HEAD", "OPTIONS"):
        yield shape(f"method {method}", f"{method} /health HTTP/1.1\r\n{HOST}\r\n", 200)
    methods = [
        "PUT",
        "DELETE",
        "PATCH",
        "TRACE",
        "CONNECT",
        "PRI",
        "FOO",
        "M-SEARCH",
        "!#$%",
        "G" * 999,
    ]
    methods += [
        "get",
        "Get",
        "GET\t",
        "\tGET",
        "G\0T",
        "G\xcbT",
        "GET,POST",
        "GET:",
        '"GET"',
        "(GET)",
        "1",
    ]
    for method in methods:
        statuses = (200,) if method == "\tGET" else ()  # space before a request is dropped
        yield shape(
            f"method {method[:20]!r}", f"{method} /health HTTP/1.1\r\n{HOST}\r\n", *statuses
        )
    good = [
        "/health",
        "/health?",
        "/health?a=b&&=;%zz",
        "//health",
        "///health",
        "/%68ealth",
        "/health#x",
    ]
    for target in good:
        yield shape(f"target {target!r}", get(target), 200)
    for target in ("/encoder", "/encoder//health"):
        yield shape(f"target {target!r}", get(target), 308)
    yield shape("target with its host", get("http://localhost/health"), 200)
    bad = [
        *(
            "*",
            "health",
            "localhost:80",
            "",
            "?",
            "#",
            "/..",
            "/../health",
            "/./health",
            "/health/.",
        ),
        *(
            "/health/",
            "/health/../health",
            "/health%2f",
            "/%2e%2e/health",
            "/health%00",
            "/%",
            "/%zz",
        ),
        *(
            "/%ff%fe",
            "/%c0%af",
            "/\xff\xfe",
            "/health\0",
            "/hea\tlth",
            "/hea lth",
            "/health\x0b",
            "/\x7f",
        ),
        *(
            "/health;x=y",
            "/health\\",
            "\\health",
            "/HEALTH",
            "/%0d%0aX: y",
            "/health%0d%0a",
            "/%250d",
        ),
        *(
            "http://",
            "http:///health",
            "http://[::1/health",
            "http://a b/health",
            "http://\xff/health",
        ),
        *(
            "http:health",
            "file:///etc/passwd",
            "javascript:1",
            "ws://localhost/health",
            "/" * 5_000,
        ),
        *("HTTP://LOCALHOST/health", f"https://{SERVER_NAME}/health", "http://localhost:80/health"),
        *("/" + "a" * 20_000, "/?" + "a=b&" * 5_000, "/static/../../etc/passwd"),
        *(
            "/encoder/encoder/health",
            "/metrics/",
            "/\u00e9",
            "http://evil.example@localhost/health",
        ),
    ]
    for target in bad:
        statuses = (200,) if target.startswith(("/?", "////")) else ()
        yield shape(f"target {len(target)}: {target[:30]!r}", get(target), *statuses)
    versions = ["HTTP/1.1", "HTTP/1.0"]
    for version in versions:
        yield shape(f"version {version}", get("/health", version=version), 200)
    versions = ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.0"]
    versions += ["HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/11", "HTTP/1.1.1", "HTTP/+1.1", "HTTP/01.1"]
    versions += [
        "http/1.1",
        "HTTPS/1.1",
        "HTTP 1.1",
        "HTTP/1.1 x",
        "HTTP/\xb9.1",
        "HTTP/1,1",
        "RTSP/1.0",
    ]
    for version in versions:
        yield shape(f"version {version!r}", get("/health", version=version))
        keep = f"{HOST}Connection: keep-alive\r\n"
        yield shape(f"kept version {version!r}", get("/health", version=version, headers=keep))
    yield from numbered(
        "line",
        [
            ("GET /health\r\n\r\n", ()),
            (f"GET /health\r\n{HOST}\r\n", ()),
            (f"GET  /health HTTP/1.1\r\n{HOST}\r\n", ()),
            (f"GET /health  HTTP/1.1\r\n{HOST}\r\n", ()),
            (f"GET\t/health\tHTTP/1.1\r\n{HOST}\r\n", ()),
            (f"GET /health HTTP/1.1 \r\n{HOST}\r\n", (200,)),
            (f" GET /health HTTP/1.1\r\n{HOST}\r\n", (200,)),
            (f"\r\n\r\nGET /health HTTP/1.1\r\n{HOST}\r\n", (200,)),
            (f"\nGET /health HTTP/1.1\r\n{HOST}\r\n", (200,)),
            (f"\0GET /health HTTP/1.1\r\n{HOST}\r\n", ()),
            (f"\xef\xbb\xbfGET /health HTTP/1.1\r\n{HOST}\r\n", ()),
            ("HTTP/1.1 200 OK\r\n\r\n", ()),
            (f"{FOREIGN_SECRET}\r\n\r\n", ()),
            (":\r\n\r\n", ()),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ()),
            ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", ()),
            ("GET /health HTTP/1.1\n\n\r\n\r\n", ()),
            (f"GET /health HTTP/1.1\r{HOST}\r\n", ()),
            (f"GET /health HTTP/1.1\n{HOST}\r\n", ()),
        ],
    )


def header_shapes() -> Iterator[Shape]:
    """Syntax of headers, their repetition, and names that programs trust."""
    secret = FOREIGN_SECRET
    bad = [
        *(
            f"X {secret}",
            f"X-Tagalong-Secret {secret}",
            f": {secret}",
            f"X : {secret}",
            f"X\t: {secret}",
        ),
        *(
            f" X: {secret}",
            f"X: {secret}\0",
            f"X: \x01{secret}",
            f"X: {secret}\x7f",
            f"X\0: {secret}",
        ),
        *(
            f"X: {secret}\r\n folded",
            f"X:\r\n\t{secret}",
            "Connection: Upgrade\r\nUpgrade: websocket",
        ),
        *(
            f"X\xe9: {secret}",
            f"X: {secret}\rY: 1",
            f"X: {secret}\nY: 1",
            f"\rX: {secret}",
            f"(X): {secret}",
        ),
        *(f"X: {secret}\r", f"{secret}", f'"X": {secret}', f"X@Y: {secret}", "=", "\0", "\x0bX: 1"),
    ]
    for line in bad:
        yield shape(f"header {line!r}", get("/health", headers=f"{line}\r\n{HOST}"))
        yield shape(f"last header {line!r}", get("/health", headers=f"{HOST}{line}\r\n"))
    good = [
        *(f"X:{secret}", f"X:\t {secret} \t", "X:", f"X: \xff{secret}", f"X: {'a' * 20_000}"),
        *(f"X!#$%&'*+.^`|~: {secret}", "Host_: x", "Connection: Upgrade", "Upgrade: h2c"),
        *(
            f"Script-Name: /{secret}",
            f"SCRIPT_NAME: /{secret}",
            f"Path-Info: /{secret}",
            "Proxy: http://x",
        ),
        *(f"X_Tagalong_Secret: {secret}", "Content_Length: 5", "Transfer_Encoding: chunked"),
        *(
            "Connection: close",
            "Connection: keep-alive, Upgrade",
            "Connection: ,,",
            "Connection: Host",
        ),
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ",
        *(
            "Keep-Alive: timeout=999999, max=x",
            "TE: trailers, chunked;q=nan",
            "Trailer: Content-Length",
        ),
        *("X-Forwarded-For: 127.0.0.1, \xff", "X-Forwarded-Proto: https", "X-Forwarded-Host: a,b"),
        *(
            "Forwarded: for=x;proto=\xff;host=",
            "X-Original-URL: /metrics",
            "X-Rewrite-URL: /metrics",
        ),
        *(
            "X-HTTP-Method-Override: DELETE",
            "Max-Forwards: -1",
            "Range: bytes=0-0,5-1",
            "If-Match: *",
        ),
        *(
            "If-Modified-Since: \xff",
            "Cookie: =;;=\xff",
            "Accept: ;;,,q=\xff",
            "Accept-Language: *-\xff",
        ),
        *(
            "Content-Type: \xff/\xff",
            "Content-Encoding: gzip, gzip",
            "Content-Length: 0",
            "Date: x",
        ),
        *(
            "Expect: 100-continue",
            "Expect: 100-CONTINUE\r\nContent-Length: 0",
            "Expect: 200-ok",
            "Via: 1.1 x",
        ),
        *(
            f"Authorization: Basic {secret}",
            "Authorization: \xff",
            "Authorization: Bearer x, Basic y",
        ),
    ]
    for line in good:
        yield shape(f"good header {line[:60]!r}", get("/health", headers=f"{HOST}{line}\r\n"), 200)
    for value in ("gopher", "https,http", '"https"', "http\xff", "javascript:", "", '"'):
        line = f"{HOST}X-Forwarded-Proto: {value}\r\n"
        yield shape(f"scheme {value!r}", get("/health", headers=line), 200)
    hosts = [
        "Host: a\r\nHost: localhost",
        "Host: localhost\r\nHost: localhost",
        "Host: localhost\r\n x",
    ]
    hosts += [
        "X: 1",
        "Host: localhost:",
        "Host:localhost:80:80",
        "Host: localhost\xff",
        "Host : localhost",
    ]
    for line in hosts:
        yield shape(f"hosts {line!r}", get("/health", headers=f"{line}\r\n"))
    yield shape("no host in HTTP/1.0", "GET /health HTTP/1.0\r\n\r\n", 200)
    yield shape("no headers", "GET /health HTTP/1.1\r\n\r\n")


def length_shapes() -> Iterator[Shape]:
    """Content-Length: its syntax, its repetition, and bodies that differ from it."""
    good = [str(len(BODY)), f"0{len(BODY)}", f"{'0' * 50}{len(BODY)}", f"\t{len(BODY)} "]
    for value in good:
        yield shape(f"length {value!r}", post(f"Content-Length: {value}\r\n", BODY), 200)
    bad = [
        "",
        "-1",
        "+15",
        "0x0f",
        "1e1",
        "15.0",
        "15;",
        "15,15",
        "15, 16",
        "1 5",
        "\xb2",
        "15\xa0",
    ]
    bad += [
        "9" * 20,
        "9" * 400,
        "9" * 5_000,
        "NaN",
        "15\x00",
        "１５".encode().decode("latin-1"),
        FOREIGN_SECRET,
    ]
    for value in bad:
        yield shape(
            f"length {value[:30]!r} {len(value)}", post(f"Content-Length: {value}\r\n", BODY)
        )
    length = len(BODY)
    pairs = [(length, length), (length, length + 1), (0, length), (length, 0), (length, "x")]
    for first, second in pairs:
        lines = f"Content-Length: {first}\r\nContent-Length: {second}\r\n"
        yield shape(f"lengths {first} and {second}", post(lines, BODY))
    yield shape("length, folded", post(f"Content-Length:\r\n {length}\r\n", BODY))
    yield shape("body of GET", get("/health", headers=f"{HOST}Content-Length: 4\r\n") + "body", 200)
    yield shape("no length", post("", ""), 200, 400)
    yield shape("length above body", post("Content-Length: 100\r\n", BODY), unfinished=True)
    yield shape(
        "expected body", post(f"Expect: 100-continue\r\nContent-Length: {length}\r\n", BODY), 200
    )
    waits = "Expect: 100-continue\r\nContent-Length: "
    yield shape("expected body, too large", post(f"{waits}99999999999\r\n", ""))
    yield shape("expected body, no number", post(f"{waits}x\r\n", ""))
    yield shape("expected body, 404", post(f"{waits}{length}\r\n", BODY, path="/unknown"))
    yield shape(
        "expected body, old version", post(f"{waits}{length}\r\n", BODY, version="HTTP/1.0"), 200
    )


def chunk_shapes() -> Iterator[Shape]:
    """Chunks: sizes, extensions, ends and trailers."""
    size = f"{len(BODY):x}"
    good = [
        *(f"{'0' * 2_000}{CHUNKED_BODY}", f"{size};{'a' * 2_000}\r\n{BODY}\r\n0\r\n\r\n"),
        *(
            CHUNKED_BODY,
            f"00000{size}\r\n{BODY}\r\n0\r\n\r\n",
            f"{size.upper()}\r\n{BODY}\r\n000\r\n\r\n",
        ),
        *(f"{size};a=b\r\n{BODY}\r\n0;c\r\n\r\n", f'{size};a="b;c"\r\n{BODY}\r\n0\r\n\r\n'),
        *(
            "".join(f"1\r\n{one}\r\n" for one in BODY) + "0\r\n\r\n",
            CHUNKED_BODY[:-2] + "X: y\r\n\r\n",
        ),
        CHUNKED_BODY[:-2]
        + f"Content-Length: 5\r\nTransfer-Encoding: x\r\nX: {FOREIGN_SECRET}\r\n\r\n",
    ]
    for number, body in enumerate(good):
        yield shape(f"chunks {number}: {body[:30]!r}", post(CHUNKED, body), 200)
    sizes = [
        "",
        " ",
        "-1",
        "+f",
        "0x0f",
        "f ",
        " f",
        "g",
        "f\0",
        "f\n",
        "f;\n",
        "f;=",
        "f ;a",
        "f;a=\x01",
        "f,f",
    ]
    sizes += ["f" * 17, "F" * 400, "f" * 1_000, FOREIGN_SECRET, "\xbd"]
    sizes += [
        "f;a\r",
        "f\rf",
        "7fffffffffffffff",
        "ffffffffffffffff",
        "f;a=b\nc",
        '"f"',
        "f:",
        "1_f",
        "NaN",
    ]
    for line in sizes:
        body = f"{line}\r\n{BODY}\r\n0\r\n\r\n"
        yield shape(f"chunk size {line[:30]!r} {len(line)}", post(CHUNKED, body))
    ends = ["", "\n", "\r", "x\r\n", "\r\r\n", "\0\r\n", " \r\n"]
    for end in ends:
        yield shape(f"chunk end {end!r}", post(CHUNKED, f"{size}\r\n{BODY}{end}0\r\n\r\n"))
    yield shape("chunk line ends in LF", post(CHUNKED, f"{size}\n{BODY}\n0\n\n"), unfinished=True)
    yield shape("chunk, half", post(CHUNKED, f"ff\r\n{BODY}"), unfinished=True)
    yield shape("chunks without an end", post(CHUNKED, f"{size}\r\n{BODY}\r\n"), unfinished=True)
    yield shape(
        "trailer without an end",
        post(CHUNKED, f"{size}\r\n{BODY}\r\n0\r\nX: 1\r\n"),
        unfinished=True,
    )
    yield shape("long trailer", post(CHUNKED, f"{CHUNKED_BODY[:-2]}X: {'a' * 70_000}"))
    yield shape("100,000 chunks", post(CHUNKED, "1\r\n \r\n" * 100_000 + CHUNKED_BODY), 200)
    yield shape("large chunks", post(CHUNKED, f"200000\r\n{' ' * 2**21}\r\n0\r\n\r\n"))
    yield shape("empty lines before a chunk", post(CHUNKED, "\r\n" * 3 + CHUNKED_BODY), 200, 400)


def smuggling_shapes() -> Iterator[Shape]:
    """Requests that a proxy may split otherwise: the second one must not be answered."""
    both = [
        ("{CL}{TE}", "both"),
        ("{TE}{CL}", "both, turned"),
    ]
    codings = [
        *(
            "chunked",
            "Chunked",
            "CHUNKED",
            " chunked ",
            "\tchunked",
            "chunked\t",
            '"chunked"',
            "chunked;q=1",
        ),
        *(
            "chunked, identity",
            "identity, chunked",
            "identity",
            "gzip, chunked",
            "chunked, gzip",
            "xchunked",
        ),
        *(
            "chunked,",
            ",chunked",
            "chunked, chunked",
            "chunked chunked",
            "\x0bchunked",
            "chunked\x0b",
            "x",
        ),
        *(
            "",
            "\xa0chunked",
            "chunked\x85",
            "chu\tnked",
            "chunked\0",
            "cow",
            "deflate",
            "\r\n chunked",
        ),
    ]
    ends = f"0\r\n\r\n{SMUGGLED}"
    for coding in codings:
        for form, name in both:
            lines = form.format(
                CL=f"Content-Length: {len(ends)}\r\n", TE=f"Transfer-Encoding: {coding}\r\n"
            )
            yield shape(f"{name}: {coding!r}", post(lines, ends))
    names = [
        "Transfer-Encoding ",
        "Transfer\\Encoding",
        "Transfer-Encoding\t",
        "\tTransfer-Encoding",
    ]
    names += ["Transfer-Encoding\0", "X: y\nTransfer-Encoding", "X: y\rTransfer-Encoding"]
    length = f"Content-Length: {len(ends)}\r\n"
    for name in names:
        yield shape(f"coding name {name!r}", post(f"{length}{name}: chunked\r\n", ends))
    for name in ("Transfer_Encoding", "X-Transfer-Encoding", "Transfer.Encoding"):  # read by nobody
        yield shape(f"other name {name!r}", post(f"{length}{name}: chunked\r\n", ends), 200, 400)
    twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
    for second in ("chunked", "identity", "x", ""):
        content = post(f"{twice}{second}\r\n", CHUNKED_BODY)
        yield shape(f"two codings: chunked and {second!r}", content)
        content = post(f"{twice}{second}\r\n{length}", ends)
        yield shape(f"two codings with length: chunked and {second!r}", content)
    for version in ("HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9"):
        lines = f"Connection: keep-alive\r\n{CHUNKED}"
        hidden = f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
        yield shape(f"chunks in {version}", post(lines, hidden, version=version))
        # Without chunks, the hidden request comes at once.
        yield shape(f"coding in {version}", post(lines, SMUGGLED, version=version))
        yield shape(f"both in {version}", post(f"{lines}{length}", ends, version=version))
    hidden = f"{len(SMUGGLED):x};a\n{SMUGGLED}\r\n0\r\n\r\n"
    yield shape("LF in an extension", post(CHUNKED, hidden))
    hidden = f"0\n\r\n\r\n{SMUGGLED}"
    yield shape("LF after the last size", post(CHUNKED, hidden))
    yield shape("chunk without an end, then a request", post(CHUNKED, f"1\r\n 0\r\n\r\n{SMUGGLED}"))
    yield shape("refused length, then a request", post("Content-Length: x\r\n", SMUGGLED))
    yield shape("refused header, then a request", get("/health", headers=f"X\r\n{HOST}") + SMUGGLED)
    yield shape("refused host, then a request", get("/health", headers=f"{HOST}{HOST}") + SMUGGLED)
    yield shape(
        "closed, then a request",
        get("/health", headers=f"{HOST}Connection: close\r\n") + SMUGGLED,
        200,
    )
    yield shape("old version, then a request", get("/health", version="HTTP/1.0") + SMUGGLED, 200)


def large_shapes() -> Iterator[Shape]:
    """Heads around their limit."""
    yield shape("head below its limit", get("/health", headers=f"{HOST}X: {'a' * 32_000}\r\n"), 200)
    for number in (32_768, 100_000, 1_000_000):
        yield shape(f"header of {number}", get("/health", headers=f"{HOST}X: {'a' * number}\r\n"))
        yield shape(f"{number} bytes without an end", "a" * number)
        yield shape(f"target of {number}", get("/" + "a" * number))
        yield shape(f"empty lines, {number}", "\r\n" * number, unfinished=True)
    yield shape("5,000 headers", get("/health", headers=HOST + "X: y\r\n" * 5_000), 200)
    yield shape("20,000 headers", get("/health", headers=HOST + "X: y\r\n" * 20_000))
    yield shape(
        "500 different headers",
        get("/health", headers=HOST + "".join(f"X{n}: y\r\n" for n in range(500))),
        200,
    )
    yield shape("400 folds", get("/health", headers=f"{HOST}X: y\r\n" + " z\r\n" * 400))
    yield shape(
        "header bytes of all kinds",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + bytes(range(256)) + b"\r\n\r\n",
    )


def sequence_shapes() -> Iterator[Shape]:
    """Requests that come together, and heads in unusual company."""
    good = (
        f"POST /predict HTTP/1.1\r\n{HOST}{AUTH}Content-Length: {len(GOOD_BODY)}\r\n\r\n".encode()
    )
    yield shape("three at once", (good + GOOD_BODY) * 3, 200)
    yield shape("nine at once", get("/health").encode() * 9, 200)
    yield shape("good and malformed", get("/health") + f"{FOREIGN_SECRET}\r\n\r\n", 200)
    yield shape("good, then bytes of TLS", get("/health") + "\x16\x03\x01\r\n\r\n", 200)
    yield shape("good, then nothing", get("/health") + "\r\n\r\n\r\n", 200)
    yield shape(
        "expects and pipelined", get("/health", headers=f"{HOST}Expect: 100-continue\r\n") * 2, 200
    )
    yield shape(
        "HEAD and a body", f"HEAD /health HTTP/1.1\r\n{HOST}Content-Length: 4\r\n\r\nbody", 200
    )
    yield shape("HEAD of nothing", f"HEAD /unknown HTTP/1.1\r\n{HOST}\r\n")
    yield shape("one byte", "G", unfinished=True)
    yield shape("half a head", f"GET /health HTTP/1.1\r\n{HOST}", unfinished=True)
    yield shape("zeros", "\0" * 1_000, unfinished=True)


def find_shape_fault(server: Server, one: Shape) -> str | None:
    """Send a shape; returns what is wrong with the answers."""
    with server.connect() as connection:
        try:
            answers = exchange(connection, one)
        except TimeoutError:
            return f"{one.name}: no answer"
    if not answers:
        return f"{one.name}: no answer" if one.statuses else None
    for answer in answers:
        if fault := answer.find_fault(has_body=one.has_body):
            return f"{one.name}: {fault}"
    first = answers[0]
    is_refused = 400 <= first.status < 500 or first.status in (501, 505)
    if not (is_refused if not one.statuses else first.status in one.statuses):
        return f"{one.name}: status {first.status}, {first.body[:100]!r}"
    if b"/predict" in one.content[:20] and first.status == 200:
        return find_wrong_words(first)
    return None


def exchange(connection: socket.socket, one: Shape) -> list[Answer]:
    """All answers, also to a last request on the same connection if it stays open."""
    answers: list[Answer] = []
    if one.unfinished:
        connection.settimeout(SILENCE_SECONDS)
    try:
        connection.sendall(one.content)
        answer, rest = read_answer(connection, has_body=one.has_body)
        if answer is not None:
            answers.append(answer)
            connection.sendall(FINAL_REQUEST)
        while answer is not None and len(answers) < MAX_ANSWERS:
            answer, rest = read_answer(connection, rest)
            answers += [answer] if answer else []
    except TimeoutError:
        if not one.unfinished:
            raise
    except (ConnectionError, ValueError):
        pass
    return answers


def find_shape_faults(server: Server) -> tuple[int, list[str]]:
    """Send all shapes; returns their number and what is wrong with the answers."""
    found = shapes()
    with ThreadPoolExecutor(16) as pool:
        results = pool.map(partial(find_shape_fault, server), found)
        faults = [fault for fault in results if fault]
    if SMUGGLED_PATH in server.log.read_text(encoding="utf-8", errors="replace"):
        faults.append("a smuggled request was answered")
    return len(found), faults
