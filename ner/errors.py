"""Every error that Tagalong raises on purpose, as one tree.

A message says what was found, where, and what to do. A code names the kind of fault: it stays the
same when the wording changes, so that callers and tests can rely on it.

TagalongError
├── InputError              what was given to read cannot be used
│   ├── FormatError         a file is not in a format we know, or breaks its own format
│   ├── OffsetError         an annotation does not fit its text
│   └── LabelError          a label that the label set does not have
├── OutputError             a result cannot be written where it was asked for
├── BaseModelError          a base model is not there, or is not one that can be loaded
├── TrainingError           a training cannot start, or cannot go on
├── OpenVINOError           a model cannot be run by OpenVINO; PyTorch still can
├── OutOfMemoryError        a model needs more memory than there is
├── BatchError              a batch cannot go on
├── StateFileError          a record of what was done, or of webhook events, cannot be used
├── LabelStudioError        Label Studio could not be asked, or said no
├── ServerError             the server cannot listen where it was told to
└── RegistryError           the folder of model versions
    ├── VersionNotFound     no such version
    ├── VersionInvalid      a version whose files are missing, changed, or of a forbidden kind
    ├── PublishError        a version could not be written or made current
    └── CurrentVersionChangedError  another version is current than at the time of the decision
"""

from typing import Any, Literal


class TagalongError(Exception):
    """The base of all our errors: catch this to show one sentence instead of a traceback.

    Args:
        message: What was found and what to do, in one sentence.
        code: The kind of fault, such as ``config-without-labels``; None for the class's default.
    """

    code: str = "tagalong-error"

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are unpickled by calling the class, which fails where it takes other arguments.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    error_class: type[TagalongError], arguments: tuple[Any, ...], state: dict[str, Any]
) -> TagalongError:
    error = error_class.__new__(error_class, *arguments)
    error.__dict__.update(state)
    return error


class InputError(TagalongError):
    """What was given to read cannot be used."""

    code = "input-error"


class FormatError(InputError):
    """A file is not in a format we know, or breaks the rules of its own format."""

    code = "format-error"


class OffsetError(InputError):
    """An annotation does not fit its text: negative, reversed, empty, or past the end."""

    code = "offset-error"


class LabelError(InputError):
    """A label that the label set does not have."""

    code = "label-error"


class OutputError(TagalongError):
    """A result cannot be written where it was asked for; what was there before still is."""

    code = "output-error"


class BaseModelError(TagalongError):
    """A base model is not there, or is not one that can be loaded."""

    code = "base-model-error"


class TrainingError(TagalongError):
    """A training cannot start, or cannot go on."""

    code = "training-error"


class OpenVINOError(TagalongError):
    """A model cannot be run by the CPU engine; PyTorch still can."""

    code = "openvino-error"


class OutOfMemoryError(TagalongError):
    """A model needs more memory than there is, even for one document alone."""

    code = "out-of-memory-error"


class BatchError(TagalongError):
    """A batch cannot go on; what it has done is kept."""

    code = "batch-error"


class StateFileError(TagalongError):
    """A record cannot be used: of webhook events, which serving does not need, or of a batch."""

    code = "state-file-error"


LabelStudioErrorKind = Literal[
    "address",  # the URL is not one that can be asked
    "unreachable",  # nothing listens there, the name is unknown, or the connection broke off
    "slow",  # no answer within the time limit
    "key",  # 401: the key is wrong, expired, or of a kind that is switched off
    "forbidden",  # 403: the key is right, and may not do this
    "missing",  # 404: no such project, task or backend
    "refused",  # 400 and its like: what was sent breaks a rule
    "failed",  # 429, 5xx: Label Studio itself is in trouble
    "foreign",  # an answer, and not one of Label Studio's API: a login page, a proxy
    "installation",  # a Label Studio of our own cannot be installed
    "start",  # a Label Studio of our own does not start
]


class ServerError(TagalongError):
    """The server cannot listen where it was told to."""

    code = "server-error"


class LabelStudioError(TagalongError):
    """Label Studio could not be asked, or said no. It never quotes the key.

    Args:
        message: What happened, where, and what to do.
        kind: What a caller acts on.
        detail: The reason that Label Studio itself gave; empty if it gave none.
        code: None for ``label-studio-`` and the kind.
    """

    def __init__(
        self,
        message: str,
        kind: LabelStudioErrorKind = "failed",
        detail: str = "",
        *,
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code or f"label-studio-{kind}")
        self.kind = kind
        self.detail = detail


class RegistryError(TagalongError):
    """Something is wrong in the folder of model versions."""

    code = "registry-error"


class VersionNotFound(RegistryError):
    """There is no version of that name."""

    code = "version-not-found"


class VersionInvalid(RegistryError):
    """A version whose files are missing, changed since publishing, or of a forbidden kind."""

    code = "version-invalid"


class PublishError(RegistryError):
    """A version could not be written or made current; what was current before still is."""

    code = "publish-error"


class CurrentVersionChangedError(RegistryError):
    """Another version serves by now than the one that a promotion was decided against."""

    code = "current-version-changed"
