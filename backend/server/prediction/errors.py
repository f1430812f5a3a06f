"""What the server refuses, with the HTTP status that says it."""

from http import HTTPStatus

from tagalong.ner.errors import TagalongError


class RequestError(TagalongError):
    """A request that is not served.

    Args:
        status: Of the answer.
        message: What was found and what to do; holds no text of a document.
        code: The kind of fault; None for the default of the class.
    """

    code = "request-error"

    def __init__(self, status: HTTPStatus, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status


def unprocessable_request(sentence: str, *, code: str | None = None) -> RequestError:
    """The request is not one of the protocol (422)."""
    return RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, sentence, code=code)


def request_too_large(sentence: str, *, code: str | None = None) -> RequestError:
    """The request asks for more than is taken on at once (413)."""
    return RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence, code=code)


def service_unavailable(sentence: str, *, code: str | None = None) -> RequestError:
    """It cannot be served now (503)."""
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code=code)
