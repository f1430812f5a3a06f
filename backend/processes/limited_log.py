"""The log of a process, without texts and secrets.

The messages of exceptions, of warnings and of other packages may quote what they work on. So the
log has their kind and place instead, and our own messages, each on one line.
"""

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import Any

from tagalong.ner.errors import describe_fault, describe_place
from tagalong.ner.text_sanitizing import escape_unprintable

OWN_PREFIX = "tagalong."  # of our loggers; their messages quote no text

log = logging.getLogger(__name__)


class LimitedRecord(logging.LogRecord):
    """A log record on one line: without the words of other packages, and without tracebacks."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        message = self.getMessage() if self.name.startswith(OWN_PREFIX) else self._describe()
        error = self.exc_info[1] if self.exc_info else None
        if error is not None:
            message = f"{message}: {describe_fault(error)}"
        self.msg, self.args = escape_unprintable(message), None
        self.exc_info = self.exc_text = self.stack_info = None

    def _describe(self) -> str:
        return f"{self.levelname} of {self.name} at {describe_place(self.pathname, self.lineno)}"


def limit_log() -> None:
    """Limit what this process logs, for good: messages, warnings and uncaught exceptions."""
    logging.setLogRecordFactory(LimitedRecord)
    logging.raiseExceptions = False  # else a handler that fails prints the arguments of the record
    warnings.showwarning = _log_warning  # type: ignore[assignment]
    sys.excepthook = _log_uncaught
    sys.unraisablehook = lambda found: _log_uncaught(found.exc_type, found.exc_value, None)
    threading.excepthook = lambda found: _log_uncaught(found.exc_type, found.exc_value, None)


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, _: TracebackType | None
) -> None:
    if not issubclass(kind, SystemExit):
        log.error("uncaught: %s", kind.__name__ if error is None else describe_fault(error))


def _log_warning(
    _: Warning | str, category: type[Warning], filename: str, lineno: int, *__: object
) -> None:
    log.warning("%s at %s", category.__name__, describe_place(filename, lineno))
