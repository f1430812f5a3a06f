"""What the server refuses, with the HTTP status that says it."""

from http import HTTPStatus

from tagalong.ner.errors import TagalongError


class RequestError(TagalongError):
    """A request that is not served.

    Args:
        status: Of the answer.
        message: What was found and what to do; holds no text of a document.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def unprocessable_request(sentence: str) -> RequestError:
    """The request is not one of the protocol (422)."""
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, sentence)


def request_too_large(sentence: str) -> RequestError:
    """The request asks for more than is taken on at once (413)."""
    return RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)


def service_unavailable(sentence: str) -> RequestError:
    """It cannot be served now (503)."""
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, sentence)
