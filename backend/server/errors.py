"""What the server refuses, with the HTTP status that says it."""

from http import HTTPStatus

from ner.errors import TagalongError


class Refusal(TagalongError):
    """A request that is not served.

    Args:
        status: Of the answer.
        sentence: What was found and what to do; holds no text of a document.
    """

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def malformed(sentence: str) -> Refusal:
    """The request is not one of the protocol (422)."""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, sentence)


def too_much(sentence: str) -> Refusal:
    """The request asks for more than is taken on at once (413)."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)


def unavailable(sentence: str) -> Refusal:
    """It cannot be served now (503)."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, sentence)
