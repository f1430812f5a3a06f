"""How much work the server takes on at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken on at once. More is refused in words, before any work is done.

    Attributes:
        max_body_bytes: Bytes of a request.
        max_tasks: Of one request. Label Studio gives up on it after 100 seconds, whatever it is owed.
        max_text_characters: Of one text; a longer one gets an empty result, and is counted.
        max_concurrent_requests: Requests in work or waiting for it.
        model_load_timeout_seconds: Seconds a request waits for a model that is being loaded for the first time.
        read_timeout_seconds: Seconds for fetching the texts of one request, where tasks hold URLs.
        predict_budget_seconds: Seconds of work that an LLM takes on: what Label Studio waits, less what
            reading and answering take.
    """

    max_body_bytes: int = 64 * 2**20
    max_tasks: int = 1_000
    max_text_characters: int = 500_000
    max_concurrent_requests: int = 24
    model_load_timeout_seconds: float = 90.0
    read_timeout_seconds: float = 50.0
    predict_budget_seconds: float = 80.0
