"""Every error that Tagalong raises on purpose, as one tree.

A message says what was found, where, and what to do. A code names the kind of fault: it stays the
same when the wording changes, so that callers and tests can rely on it.
"""

import copyreg
import errno
import re
import traceback
from pathlib import PurePath
from typing import Any, Literal

MAX_PLACES = 20  # of an exception in the log
WORD_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class TagalongError(Exception):
    """The base of all our errors: catch this to show one sentence instead of a traceback."""

    code: str = "tagalong-error"  # the kind of fault, such as ``config-without-labels``

    def __init_subclass__(cls) -> None:
        """Derive the default code from the name: ``format-error`` of `FormatError`."""
        if "code" not in vars(cls):
            cls.code = WORD_BOUNDARY.sub("-", cls.__name__).lower()

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are unpickled by calling the class, which fails where it takes other arguments.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class InputError(TagalongError):
    """An input cannot be used."""


class FormatError(InputError):
    """A file is in an unknown format, or breaks the rules of its format."""


class OffsetError(InputError):
    """An annotation does not fit its text: negative, reversed, empty, or past the end."""


class LabelError(InputError):
    """A label is not in the label set."""


class OutputError(TagalongError):
    """A result cannot be written; an existing file is unchanged."""


class BaseModelError(TagalongError):
    """A base model is missing or cannot be loaded."""


class TrainingError(TagalongError):
    """A training cannot start or continue."""


class OpenVINOError(TagalongError):
    """OpenVINO cannot run a model; PyTorch still can."""


class OutOfMemoryError(TagalongError):
    """The memory is too small for a model, even with one document."""


class BatchError(TagalongError):
    """A batch cannot continue; its results so far are kept."""


class StateFileError(TagalongError):
    """A state file (webhook events, jobs, batch journal) cannot be used."""


LabelStudioErrorKind = Literal[
    "address",  # the URL is invalid
    "unreachable",  # nothing listens there, unknown name, or broken connection
    "slow",  # no answer within the time limit
    "key",  # 401: the key is wrong, expired, or its kind is disabled
    "forbidden",  # 403: the key does not permit this
    "missing",  # 404: no such project, task or backend
    "refused",  # 400 and similar: the request breaks a rule
    "failed",  # 429, 5xx: Label Studio's own failure
    "foreign",  # not Label Studio's API: a login page, a proxy
    "installation",  # the Label Studio of the demo cannot be installed
    "start",  # the Label Studio of the demo does not start
]


class ServerError(TagalongError):
    """The server cannot listen on its address."""


class LabelStudioError(TagalongError):
    """A request to Label Studio failed or was refused. The message never quotes the key."""

    def __init__(
        self,
        message: str,
        kind: LabelStudioErrorKind = "failed",
        detail: str = "",
        *,
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code or f"label-studio-{kind}")
        self.kind = kind  # callers act on it
        self.detail = detail  # the reason that Label Studio itself gave; empty if it gave none


class RegistryError(TagalongError):
    """The folder of model versions cannot be used as asked."""


class VersionNotFound(RegistryError):
    """There is no such version."""


class VersionInvalid(RegistryError):
    """The files of a version are missing, changed or of a forbidden kind."""


class PublishError(RegistryError):
    """A version could not be published or promoted; nothing in the store is half done."""


class CurrentVersionChangedError(RegistryError):
    """The current version is not the one that a promotion was decided against."""

    code = "current-version-changed"


def find_fault_kind(error: BaseException) -> str:
    """The code of an exception, or else its class: a message may quote a text or a secret."""
    match error:
        case TagalongError():
            return error.code
        case OSError(errno=int(number)) if number in errno.errorcode:
            return errno.errorcode[number]
    return getattr(error, "sqlite_errorname", type(error).__name__)


def describe_fault(error: BaseException) -> str:
    """The kind of an exception and the lines that it passed, on one line; quotes no values."""
    frames = [*traceback.walk_tb(error.__traceback__)][-MAX_PLACES:]
    places = [describe_place(frame.f_code.co_filename, line) for frame, line in frames]
    return " ".join([find_fault_kind(error), *(["at", *places] if places else [])])


def describe_place(path: str, line: int) -> str:
    """A line of a file, such as ``server/app.py:12``."""
    return f"{'/'.join(PurePath(path).parts[-2:])}:{line}"
