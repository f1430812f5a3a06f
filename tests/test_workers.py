"""What shares a Label Studio runs in one worker, whatever else runs beside it."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent
TEST = """
import pytest
@pytest.mark.parametrize("number", range(3))
def test_it(number): pass
"""


def test_what_shares_something_runs_in_one_worker(tmp_path: Path) -> None:
    places = ["end_to_end/test_a.py", "end_to_end/test_b.py", "test_c.py", "test_d.py"]
    (tmp_path / "tests" / "end_to_end").mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text((TESTS / "workers.py").read_text(encoding="utf-8"))
    for place in places:
        (tmp_path / "tests" / place).write_text(TEST)
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-n", "2", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    workers = defaultdict(set)
    passed = [line for line in told.stdout.splitlines() if " PASSED " in line]
    for line in passed:
        worker, place = line.split()[0], line.split(" PASSED ")[1].partition("::")[0]
        workers[place].add(worker)
    assert len(passed) == 3 * len(places)
    assert workers.keys() == {f"tests/{place}" for place in places}
    assert all(len(found) == 1 for found in workers.values())
    assert workers["tests/end_to_end/test_a.py"] == workers["tests/end_to_end/test_b.py"]
    assert len(set.union(*workers.values())) == 2
