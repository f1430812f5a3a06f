"""The log of a process, which quotes nothing that the process works on."""

import pytest

from tests.forked_process import run_forked

SECRET = "John Doe"
START = f"""
import logging, sys, threading, warnings
from tagalong.backend.processes.limited_log import limit_log
limit_log()
text = "{SECRET}"
library, own = logging.getLogger("library"), logging.getLogger("tagalong.backend")
library.addHandler(logging.StreamHandler())
library.propagate = False
def fail():
    raise KeyError(text)
class Late:
    def __del__(self):
        fail()
    def __repr__(self):
        return text
"""
FAULTS = {
    "message of a library": "library.warning('read %s', text)",
    "formatted message of a library": "library.error(f'read {text}')",
    "exception in a library": "try: fail()\nexcept KeyError: library.exception(text)",
    "stack in a library": "library.error(text, stack_info=True)",
    "exception in our log": "try: fail()\nexcept KeyError: own.exception('failed')",
    "warning": "warnings.simplefilter('always'); warnings.warn(text)",
    "uncaught exception": "import atexit; sys.excepthook(KeyError, KeyError(text), None)",
    "uncaught exception of a thread": "threading.Thread(target=fail).start()",
    "exception while an object is deleted": "Late()",
    "handler that fails": "library.handlers[0].format = lambda _: fail()\nlibrary.error(text)",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_log_has_kind_and_place_only(kind: str) -> None:
    done = run_forked("-c", f"{START}\n{FAULTS[kind]}")
    shown = done.stdout + done.stderr
    assert SECRET not in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) == (kind != "handler that fails"), shown
    if "exception" in kind:
        assert "KeyError" in shown


def test_place_is_file_and_line() -> None:
    done = run_forked("-c", f"{START}\nthreading.Thread(target=fail).start()")
    assert "threading.py:" in done.stderr
    assert done.stderr.rstrip().endswith("<string>:10"), done.stderr


def test_our_messages_stay_on_one_line() -> None:
    done = run_forked("-c", f"{START}\nown.warning('%s', 'a\\r\\nb \\x1b[2J \\udc80 ä')")
    assert done.stderr.splitlines() == [r"a\r\nb \x1b[2J \udc80 ä"]
