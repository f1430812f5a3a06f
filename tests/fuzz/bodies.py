"""Bodies of requests, mutated from valid ones; a seed and an index give the same body again.

Tools such as Schemathesis need an OpenAPI description, and draw values from its types. Hypothesis
draws values too; an example of it cannot be made again from an index. Neither cuts bytes.
"""

import copy
import gzip
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tests.backend.server.app_client import ABSTRACT, CONFIG, request_for
from tests.fuzz.server import TEXT_MARKER, Answer, Connection, Server

TEXT = f"{TEXT_MARKER}: {ABSTRACT}"
MAX_SECONDS = 30.0  # for an answer; the slowest take half a second
MAX_DEPTH = 100_000  # of brackets in a body
KEY = re.compile(rb'"\w+": ')

URL_CONFIG = CONFIG.replace('value="$text"', 'valueType="url" value="$text"')
ENTITIES = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
CONFIGS = [
    CONFIG,
    URL_CONFIG,
    CONFIG.replace("<Text ", '<Text encoding="base64" '),
    CONFIG.replace('"$text"', '"$"'),
    CONFIG.replace('"$text"', '"$a.b[0]"'),
    CONFIG.replace("Labels", "HyperTextLabels").replace("<Text", "<HyperText"),
    CONFIG.replace('name="label"', 'name="label" smart="false" maxUsages="1"'),
    CONFIG.replace("</View>", '<Labels name="b" toName="text"><Label value="X"/></Labels></View>'),
    CONFIG.replace("</View>", '<TextArea name="c" toName="text"/><Choices name="c"/></View>'),
    CONFIG.replace("</Labels>", '<Label value=""/><Label/><Label value="Chemical"/></Labels>'),
    '<?xml version="1.0" encoding="utf-16"?>' + CONFIG,
    '<?xml version="1.0" encoding="EBCDIC-CP-XX"?>' + CONFIG,
    f'<!DOCTYPE View [<!ENTITY a0 "x">{ENTITIES}]><View>&a11;</View>',
    '<!DOCTYPE View [<!ENTITY a SYSTEM "file:///etc/passwd">]><View><Text name="&a;"/></View>',
    '<View xmlns="urn:x" xmlns:y="urn:y"><y:Text name="text" value="$text"/></View>',
    "<View>" * 2_000 + "</View>" * 2_000,
    "<View>" + '<Label value="Chemical"/>' * 2_000 + "</View>",
    "<View/>",
    "",
    "<",
    "\N{BYTE ORDER MARK}" + CONFIG,
    CONFIG.replace("text", "t\u00e9xt\U0001f9ea"),
    CONFIG.replace("Chemical", "\ud83d"),
    CONFIG.replace("Chemical", "\0"),
    CONFIG.replace("<Label value", "<!-- " + "-" * 100_000 + " --><Label value"),
]
TEXTS = [
    "",
    " ",
    "\0",
    "naloxone \ud83d",
    "\udc00\ud800",
    "\u202enaloxone",
    "e\u0301" * 500,
    "\U0001f9ea" * 300,
    "\r\n\u2028\u0085",
    "naloxone " * 3_000,
    "x" * 50_000,
    "1" * 5_000,
    "../../etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:1/data/upload/1/x.txt",
    "http://[::1/",
    "//evil.example/x",
    "/api/invite",
    "%s%n{}${x}{{7*7}}",
    "'; DROP TABLE events; --",
    "7.1795354311",
    "7." * 3_000,
    "2026-02-30T99:99:99Z",
    "ANNOTATION_CREATED",
    "START_TRAINING",
    "none",
    "__class__",
]
NUMBERS = [
    *(0, -0.0, -1, 1, 0.5, 1e-320, 1e308, -1e308, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1),
    *(10**100, 10**400, float("nan"), float("inf"), float("-inf")),
]
KEYS = [
    *("id", "data", "text", "result", "value", "start", "end", "labels", "from_name", "to_name"),
    *("type", "annotations", "predictions", "drafts", "project", "context", "control", "action"),
    *("task", "tasks", "annotation", "updated_at", "created_at", "origin", "", "\0", "\ud83d"),
    *("__proto__", "a.b", "$text", "model_version", "score", "x" * 2_000),
]
CONTENT_TYPES = [
    *("application/json", "application/json; charset=utf-16", "text/plain", "text/html", "", "/"),
    *("application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "x" * 500),
    *("multipart/form-data; boundary=x", "application/json; charset=nonsense", "\xff\xfe", ";;=,"),
]
HEADERS = [
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "br, gzip"},
    {"Accept": "text/html"},
    {"Accept": "*/*;q=nan, \xff;q=1e9,,,"},
    {"Accept-Charset": "utf-7"},
    {"Accept-Encoding": "gzip;q=0"},
    {"If-None-Match": "*"},
    {"Range": "bytes=-1"},
    {"Cookie": "a=\xff; =; ;;"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Origin": "http://localhost"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Authorization": "Basic \xff"},
    {"X-Tagalong-Secret": "\xff"},
]


@dataclass(frozen=True, slots=True)
class BodyRequest:
    """A POST request."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def region(start: int, end: int, label: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": "naloxone", "labels": [label]}
    return {
        "id": f"r{start}",
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": value,
        "origin": "manual",
        "score": 0.5,
    }


def valid_requests(rng: random.Random) -> tuple[str, Any]:
    """A route and a valid body of it."""
    result = [region(18, 26, "Chemical"), region(1, 5, "Disease")]
    annotation = {
        "id": 11,
        "task": 5,
        "project": 1,
        "result": result,
        "was_cancelled": False,
        "completed_by": {"id": 1, "email": f"{TEXT_MARKER}@example.org"},
        "lead_time": 3.2,
        "updated_at": "2026-11-30T10:00:00.000000Z",
    }
    task = {"id": 5, "data": {"text": TEXT}, "annotations": [annotation], "predictions": []}
    project = {"id": 1, "title": TEXT, "created_at": "2026-11-30T10:00:00Z", "label_config": CONFIG}
    predict = request_for(TEXT, "lithium", xml=rng.choice([CONFIG, rng.choice(CONFIGS)]))
    predict["tasks"][0] |= {"annotations": [annotation], "drafts": [{"id": 3, "result": result}]}
    interactive = request_for(TEXT, params={"context": {"result": result}})
    interactive["tasks"][0] |= {"drafts": [], "predictions": [{"id": 3, "result": result}]}
    extra_params = {"control": "label"}
    setup = {
        "project": "1.1795354311",
        "schema": CONFIG,
        "hostname": "http://localhost:8080",
        "access_token": "x",
        "extra_params": rng.choice([extra_params, '{"control": "x"}']),
    }
    events = [
        {
            "action": "ANNOTATION_CREATED",
            "project": project,
            "task": task,
            "annotation": annotation,
        },
        {
            "action": "ANNOTATIONS_DELETED",
            "project": project,
            "annotations": [annotation, {"id": 2}],
        },
        {"action": "TASKS_CREATED", "project": project, "tasks": [task, {"id": 6}]},
        {"action": "TASKS_DELETED", "project": project, "tasks": list(range(50))},
        {"action": "PROJECT_UPDATED", "project": project},
        {"action": "PROJECT_DELETED", "project": {"id": 2}},
        {"action": "START_TRAINING", "project": project},
    ]
    route, body = rng.choice(
        [
            ("/predict", predict),
            ("/predict", predict),
            ("/predict", interactive),
            ("/setup", setup),
            ("/webhook", rng.choice(events)),
            ("/train", {"project": project, **rng.choice(events)}),
            ("/versions", {"project": "1.1795354311"}),
            ("/job_status", {"job": rng.choice(["1", 1, "999"])}),
        ]
    )
    prefix = rng.choice(["", "", "/encoder", "/llm"]) if route != "/predict" else "/encoder"
    return (prefix if rng.random() < 0.5 else "") + route, copy.deepcopy(body)


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value with each of its keys or indices."""
    waiting = [value] if isinstance(value, dict | list) else []
    while waiting:
        container = waiting.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            yield container, key
            if isinstance(container[key], dict | list) and container[key]:
                waiting.append(container[key])


def make_value(rng: random.Random, depth: int = 0) -> Any:
    """Any value of JSON."""
    kind = rng.randrange(6 if depth < 4 else 4)
    match kind:
        case 0:
            return rng.choice([None, True, False])
        case 1:
            return rng.choice([*NUMBERS, rng.randrange(-(2**70), 2**70)])
        case 2:
            return rng.choice([*TEXTS, rng.choice(CONFIGS)])
        case 3:
            return TEXT
        case 4:
            return [make_value(rng, depth + 1) for _ in range(rng.randrange(5))]
        case _:
            size = rng.randrange(5)
            return {rng.choice(KEYS): make_value(rng, depth + 1) for _ in range(size)}


def splice(rng: random.Random, text: str) -> str:
    """Put something into a text, cut it or repeat a part."""
    start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    match rng.randrange(3):
        case 0:
            return (
                text[:start] + rng.choice([*TEXTS[:9], "<", "&", '"', "\\", "]]>"]) + text[start:]
            )
        case 1:
            return text[:start] + text[end:]
        case _:
            return text[:end] + text[start:]


def change_value(rng: random.Random, value: Any) -> Any:
    """Another value in the place of one."""
    if isinstance(value, str) and rng.random() < 0.5:
        return splice(rng, value)
    changes: list[Callable[[], Any]] = [
        lambda: make_value(rng),
        lambda: [value],
        lambda: {"id": value},
        lambda: str(value),
        lambda: None,
        lambda: [value] * rng.choice([2, 10, 1_001 if len(str(value)) < 1_000 else 3]),
    ]
    if isinstance(value, int | float):
        changes += [lambda: -value, lambda: value * 10**30, lambda: f"{value}.5"]
    return rng.choice(changes)()


def change_structure(rng: random.Random, body: Any) -> Any:
    """Change a value, remove it, repeat it, rename its key, or swap it with another."""
    places = list(nodes(body))
    if not places or rng.random() < 0.03:
        return make_value(rng)
    container, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container[rng.choice(KEYS)] = container.pop(key)
        case 2 if isinstance(container, dict):
            container[rng.choice(KEYS)] = make_value(rng)
        case 3 if isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        case 4:
            other, other_key = rng.choice(places)
            if other_key in other if isinstance(other, dict) else other_key < len(other):
                container[key] = copy.deepcopy(other[other_key])
        case _:
            container[key] = change_value(rng, container[key])
    return body


def change_bytes(rng: random.Random, body: bytes) -> bytes:
    """Change bytes of a body, its encoding or its depth."""
    start, end = sorted(rng.randrange(len(body) + 1) for _ in range(2))
    depth = rng.choice([10, 400, 600, 5_000, MAX_DEPTH])
    junk = rng.choice(
        [b"\0", b"\xff", b"[", b"{", b'"', b"\\ud83d", b"NaN", b"1e999999", b"-", b","]
    )
    changes: list[Callable[[], bytes]] = [
        lambda: body[:start],
        lambda: body[:start] + body[end:],
        lambda: body[:start] + junk + body[start:],
        lambda: body[:start] + bytes([rng.randrange(256)]) + body[start + 1 :],
        lambda: bytes(one ^ (rng.random() < 0.01) << rng.randrange(8) for one in body),
        lambda: b"\xef\xbb\xbf" + body,
        lambda: body.decode("latin-1").encode(
            rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-7"])
        ),
        lambda: gzip.compress(body, 1),
        lambda: body + body,
        lambda: body + b"\n" * 1_000,
        lambda: b"",
        lambda: rng.randbytes(rng.randrange(300)),
        lambda: b"[" * depth + b"]" * rng.choice([0, depth]),
        lambda: b'{"tasks":' * depth + b"1" + b"}" * depth,
        lambda: b'{"tasks":[' + b"[]," * rng.choice([1_000, 100_000]) + b"{}]}",
        lambda: b'{"id":' + b"9" * rng.choice([4_000, 5_000, 100_000]) + b"}",
        f"tasks={TEXT}&project=1".encode,
    ]
    return rng.choice(changes)()


def repeat_keys(rng: random.Random, body: bytes) -> bytes:
    """Give a key of an object a second value."""
    found = list(KEY.finditer(body))
    if not found:
        return body
    match = rng.choice(found)
    value = json.dumps(make_value(rng)).encode()
    return body[: match.start()] + match[0] + value + b", " + body[match.start() :]


def make_request(seed: int, index: int) -> BodyRequest:
    """Mutate a valid request."""
    rng = random.Random(f"{seed}:{index}")
    path, value = valid_requests(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 5])):
        value = change_structure(rng, value)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    body = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        body = repeat_keys(rng, body)
    if rng.random() < 0.25:
        body = change_bytes(rng, body)
    headers = {"Content-Type": "application/json"}
    if rng.random() < 0.15:
        headers["Content-Type"] = rng.choice(CONTENT_TYPES)
    if rng.random() < 0.1:
        headers |= rng.choice(HEADERS)
    if rng.random() < 0.02:
        path = rng.choice(
            ["/unknown", f"{path}/", f"/{path}", "/metrics", "/health", "/", "/ready"]
        )
    return BodyRequest(path, body, headers)


def find_body_faults(
    server: Server, seed: int, indices: Iterable[int], *, report: Callable[[str], object] = print
) -> list[str]:
    """Send mutated bodies, and a good request after each; returns what is wrong."""
    faults: list[str] = []
    connection = Connection(server)
    for index in indices:
        request = make_request(seed, index)
        start = time.monotonic()
        try:
            answer = connection.post(request.path, request.body, request.headers)
            fault = (
                answer.find_fault()
                or find_content_fault(request, answer)
                or connection.find_good_request_fault()
            )
        except OSError as error:
            fault = f"no answer: {error}"
            connection = Connection(server)
        if (seconds := time.monotonic() - start) > MAX_SECONDS:
            fault = fault or f"an answer after {seconds:.0f} s"
        if fault:
            faults.append(f"seed {seed}, body {index}, {request.path}: {fault}")
            report(faults[-1])
    connection.close()
    return faults


def find_content_fault(request: BodyRequest, answer: Answer) -> str | None:
    """What is wrong with a good answer; a batch of predictions has one for each task."""
    if answer.status != HTTPStatus.OK or not request.path.endswith("/predict"):
        return None
    tasks = json.loads(request.body)["tasks"]
    results = json.loads(answer.body)["results"]
    if len(results) != len(tasks) or any("score" not in result for result in results):
        return f"{len(results)} predictions for {len(tasks)} tasks"
    return None
