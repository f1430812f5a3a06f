"""Everything Tagalong raises on purpose, as one tree.

Each message says what was found, where, and what to do.

TagalongError
├── InputError              what was given to read cannot be used
│   ├── FormatError         a file is not in a format we know, or breaks its own format
│   ├── OffsetError         an annotation does not fit its text
│   └── LabelError          a label that the label set does not have
├── OutputError             a result cannot be written where it was asked for
├── BaseModelError          a base model is not there, or is not one that can be loaded
├── TrainingError           a training cannot start, or cannot go on
├── EngineError             a model cannot be run by OpenVINO; PyTorch still can
├── OutOfMemoryError        a model needs more memory than there is
├── BatchError              a batch cannot go on
├── JournalError            a record of what was done, or of webhook events, cannot be used
├── LabelStudioError        Label Studio could not be asked, or said no
├── ServerError             the server cannot listen where it was told to
└── StoreError              the folder of model versions
    ├── VersionNotFound     no such version
    ├── VersionInvalid      a version whose files are missing, changed, or of a forbidden kind
    ├── PublishError        a version could not be written or made current
    └── Superseded          another version serves than the one a promotion was decided against
"""

from typing import Literal


class TagalongError(Exception):
    """The base of all our errors: catch this to show one sentence instead of a traceback."""


class InputError(TagalongError):
    """What was given to read cannot be used."""


class FormatError(InputError):
    """A file is not in a format we know, or breaks the rules of its own format."""


class OffsetError(InputError):
    """An annotation does not fit its text: negative, reversed, empty, or past the end."""


class LabelError(InputError):
    """A label that the label set does not have."""


class OutputError(TagalongError):
    """A result cannot be written where it was asked for; what was there before still is."""


class BaseModelError(TagalongError):
    """A base model is not there, or is not one that can be loaded."""


class TrainingError(TagalongError):
    """A training cannot start, or cannot go on."""


class OpenVINOError(TagalongError):
    """A model cannot be run by the CPU engine; PyTorch still can."""


class OutOfMemoryError(TagalongError):
    """A model needs more memory than there is, even for one document alone."""


class BatchError(TagalongError):
    """A batch cannot go on; what it has done is kept."""


class StateFileError(TagalongError):
    """A record cannot be used: of webhook events, which serving does not need, or of a batch."""


LabelStudioErrorCode = Literal[
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


class LabelStudioError(TagalongError):
    """Label Studio could not be asked, or said no. It never quotes the key.

    Args:
        message: What happened, where, and what to do.
        code: What a caller can tell apart.
        detail: What Label Studio itself gave as the reason; empty if it gave none.
    """

    def __init__(
        self, message: str, code: LabelStudioErrorCode = "failed", detail: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail


class RegistryError(TagalongError):
    """Something is wrong in the folder of model versions."""


class VersionNotFound(RegistryError):
    """There is no version of that name."""


class VersionInvalid(RegistryError):
    """A version whose files are missing, changed since publishing, or of a forbidden kind."""


class PublishError(RegistryError):
    """A version could not be written or made current; what was current before still is."""


class CurrentVersionChangedError(RegistryError):
    """Another version serves by now than the one that a promotion was decided against."""
