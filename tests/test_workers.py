"""Tests that share a Label Studio run in one worker."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.workers import END_TO_END, LONG_GROUPS, USES_VALIDATION, VALIDATING

TESTS = Path(__file__).parent
TEST = """
import pytest
@pytest.mark.parametrize("number", range(3))
def test_it(number): pass
"""


@pytest.mark.slow
def test_tests_that_share_fixtures_run_in_one_worker(tmp_path: Path) -> None:
    end_to_end = ["end_to_end/test_a.py", "end_to_end/test_b.py", "end_to_end/test_tabs.py"]
    places = [*end_to_end, "test_c.py", "test_d.py"]
    (tmp_path / "tests" / "end_to_end").mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text((TESTS / "workers.py").read_text(encoding="utf-8"))
    for place in places:
        (tmp_path / "tests" / place).write_text(TEST)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-n", "2", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    workers = defaultdict(set)
    passed = [line for line in result.stdout.splitlines() if " PASSED " in line]
    for line in passed:
        worker, place = line.split()[0], line.split(" PASSED ")[1].partition("::")[0]
        workers[place].add(worker)
    assert len(passed) == 3 * len(places)
    assert workers.keys() == {f"tests/{place}" for place in places}
    assert all(len(found) == 1 for found in workers.values())
    assert workers["tests/end_to_end/test_a.py"] == workers["tests/end_to_end/test_b.py"]
    assert workers["tests/end_to_end/test_a.py"] != workers["tests/end_to_end/test_tabs.py"]


def test_named_groups_exist() -> None:
    root = TESTS.parent
    assert all((TESTS / "end_to_end" / name).is_file() for name in USES_VALIDATION)
    groups = set(LONG_GROUPS) - {VALIDATING, END_TO_END}
    assert groups == {path for path in groups if (root / path).is_file()}
