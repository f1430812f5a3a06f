"""A backend that marks the first word of every text; TOY_FAULT makes it fail.

A script of the standard library, started as ``tagalong serve`` is.
"""

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION = "toy-20260131-0a1b2c3d"
FAULT = os.environ.get("TOY_FAULT", "")


def prediction(task: Any) -> dict[str, Any]:
    text = task["data"]["text"]
    end = len(text.split()[0])
    start = 1 if FAULT == "shifted" else 0
    value = {"start": start, "end": end, "text": text[:end], "labels": ["Chemical"]}
    names = {"from_name": "label", "to_name": "text", "type": "labels"}
    region = {"id": f"r{end}", "score": 0.5, "value": value, **names}
    return {"result": [region], "score": 0.5, "model_version": VERSION}


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = 500 if FAULT == "broken" and self.path == "/predict" else 200
        payload: dict[str, Any] = {"status": "UP", "model_version": VERSION}
        if self.path == "/predict":
            payload = {"results": [prediction(task) for task in json.loads(body)["tasks"]]}
        content = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer  # noqa: N815


def main() -> None:
    options = argparse.ArgumentParser()
    for name in ("--host", "--port", "--models"):
        options.add_argument(name, required=True)
    given = options.parse_args()
    ThreadingHTTPServer((given.host, int(given.port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
