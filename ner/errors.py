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
└── StoreError              the folder of model versions
    ├── VersionNotFound     no such version
    ├── VersionInvalid      a version whose files are missing, changed, or of a forbidden kind
    └── PublishError        a version could not be written or made current
"""


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


class StoreError(TagalongError):
    """Something is wrong in the folder of model versions."""


class VersionNotFound(StoreError):
    """There is no version of that name."""


class VersionInvalid(StoreError):
    """A version whose files are missing, changed since publishing, or of a forbidden kind."""


class PublishError(StoreError):
    """A version could not be written or made current; what was current before still is."""
