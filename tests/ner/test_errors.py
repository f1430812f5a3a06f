"""Errors keep their code, class and message on the way to another process."""

import pickle

import pytest

from tagalong.backend.server.prediction.request import unprocessable_request
from tagalong.ner.errors import FormatError, LabelStudioError, TagalongError


def test_the_code_of_an_error_is_its_own_or_that_of_its_class():
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
def test_an_error_survives_pickling(error: TagalongError):
    loaded = pickle.loads(pickle.dumps(error))
    assert type(loaded) is type(error)
    assert str(loaded) == str(error)
    assert vars(loaded) == vars(error)


def test_every_class_has_a_code_of_its_own():
    classes = [TagalongError]
    for one in classes:
        classes.extend(one.__subclasses__())
    codes = [one.code for one in classes if one is not LabelStudioError]
    assert len(set(codes)) == len(codes)
