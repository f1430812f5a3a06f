"""A Label Studio with one project, whose tasks have addresses of their texts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.backend.web_server import Page, WebServer, serve_pages
from tests.odd_documents import annotation, region

KEY = "a" * 40
XML = """<View><Labels name="label" toName="text"><Label value="Chemical"/></Labels>
<Text name="text" value="$file.url" valueType="url"/></View>"""
TEXTS = [f"Naloxone {number} reverses." for number in range(1, 7)]
PREFIX = "/data/upload/1/"


class ApiPages(dict[str, Page]):
    """Pages whose query does not matter."""

    def get(self, path: str, default: Any = None) -> Any:
        """The page at a path."""
        return super().get(path.partition("?")[0], default)


@contextmanager
def serve_url_project() -> Iterator[tuple[WebServer, WebServer]]:
    """Serve Label Studio, and another host that has the text of the last task.

    The text of the task before is missing.
    """
    pages = ApiPages({f"{PREFIX}{n}.txt": Page(text.encode()) for n, text in enumerate(TEXTS)})
    with serve_pages({"/last.txt": Page(TEXTS[-1].encode())}) as other, serve_pages(pages) as own:
        files = [f"{PREFIX}{number}.txt" for number in range(len(TEXTS))]
        del pages[files[-2]]
        files[-1] = f"http://{other.host}/last.txt"
        tasks = [
            {
                "id": number,
                "data": {"file": {"url": file}, "year": 1999},
                "annotations": [annotation(region(text, 0, 8, "Chemical"))],
                "predictions": [],
            }
            for number, (file, text) in enumerate(zip(files, TEXTS, strict=True), start=1)
        ]
        project = {"id": 1, "title": "P", "label_config": XML, "show_collab_predictions": True}
        project["created_at"] = "2026-11-22T20:13:55.5Z"
        pages["/api/projects/1/"] = Page(json.dumps(project).encode())
        pages["/api/tasks/"] = Page(json.dumps({"tasks": tasks, "total": len(tasks)}).encode())
        yield own, other
