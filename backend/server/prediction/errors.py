"""Requests that the server refuses, with the HTTP status of the answer."""

from http import HTTPStatus

from tagalong.ner.errors import TagalongError


class RequestError(TagalongError):
    """A refused request.

    Args:
        status: Of the answer.
        message: What was found and what to do; without any text of a document.
        code: The kind of fault.
    """

    def __init__(self, status: HTTPStatus, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status


def unprocessable_request(message: str, *, code: str) -> RequestError:
    """The request does not follow the protocol (422)."""
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, message, code=code)


def request_too_large(message: str, *, code: str) -> RequestError:
    """The request asks for more than the server does at once (413)."""
    return RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, code=code)


def service_unavailable(message: str, *, code: str) -> RequestError:
    """The server cannot answer now (503)."""
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, message, code=code)
