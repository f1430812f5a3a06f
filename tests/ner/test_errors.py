"""Errors keep their code, class and message on the way to another process."""

import pickle

import pytest

from tagalong.backend.server.prediction.request import unprocessable_request
from tagalong.ner.errors import FormatError, LabelStudioError, TagalongError


def test_error_code_defaults_to_class_code():
    assert FormatError("no").code == "format-error"
    assert FormatError("no", code="odd-file").code == "odd-file"
    assert LabelStudioError("no", "slow").code == "label-studio-slow"


@pytest.mark.parametrize(
    "error",
    [
        FormatError("no", code="odd-file"),
        LabelStudioError("no", "slow", "why"),
        unprocessable_request("no", code="odd-body"),
    ],
)
def test_error_survives_pickling(error: TagalongError):
    loaded = pickle.loads(pickle.dumps(error))
    assert type(loaded) is type(error)
    assert str(loaded) == str(error)
    assert vars(loaded) == vars(error)


def test_error_classes_have_unique_codes():
    classes = [TagalongError]
    for one in classes:
        classes.extend(one.__subclasses__())
    codes = [one.code for one in classes if one is not LabelStudioError]
    assert len(set(codes)) == len(codes)
