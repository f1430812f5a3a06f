"""The log of an import."""

from tagalong.backend.annotations.import_log import ImportLog


def test_a_place_is_an_example_once() -> None:
    log = ImportLog()
    for place in ("1", "1", "2", "1", "3", "4"):
        log.record_warning("relation", place)
    (warning,) = log.warnings()
    assert (warning.count, warning.examples) == (6, ("1", "2", "3"))
