"""Limits of the work that the server accepts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request. The server refuses more, with a reason, before it starts any work.

    Attributes:
        max_body_bytes: Size of a request.
        max_tasks: Tasks of a request. Label Studio gives up on a request after 100 seconds.
        max_text_characters: A task with a longer text gets an empty result, and is counted.
        max_concurrent_requests: Requests in work or waiting.
        model_load_timeout_seconds: How long a request waits for the first load of a model.
        read_timeout_seconds: For fetching the texts of a request, if its tasks hold URLs.
        predict_budget_seconds: Work that an LLM accepts: the 100 seconds that Label Studio waits,
            less reading and answering.
    """

    max_body_bytes: int = 64 * 2**20
    max_tasks: int = 1_000
    max_text_characters: int = 500_000
    max_concurrent_requests: int = 24
    model_load_timeout_seconds: float = 90.0
    read_timeout_seconds: float = 50.0
    predict_budget_seconds: float = 80.0
