"""The benchmark pages list every benchmark, and a run replaces only their output."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tagalong.backend.bundled import BUNDLED_MODELS_FOLDER
from tagalong.backend.models.encoder.tagger import EncoderTagger
from tagalong.backend.models.load import load_version
from tagalong.ner.model_registry import ModelRegistry
from tests.bench.rewrite import PAGES, ROOT, find_benchmarks
from tests.bench.server_direct import TimedRunner, answer

REWRITE = ROOT / "tests" / "bench" / "rewrite.py"
PAGE = """# Page

```
NUMBER=7 python -c "import os; print('| seven |', os.environ['NUMBER'])"
```

Wanted: a seven.

<!-- printed -->
| six |
<!-- /printed -->

```sh
not run
```

Only looks like a place:

<!-- printed -->
| shown |
<!-- /printed -->

```
python -c "print('half'); raise SystemExit(3)"
```

<!-- printed -->
| whole |
<!-- /printed -->

The end.
"""


def rewrite(page: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(REWRITE), "--page", str(page), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_output_replaces_earlier_output(page: Path) -> None:
    done = rewrite(page)
    assert done.returncode == 1
    assert "\npython -c \"print('half')" in done.stderr
    text = page.read_text(encoding="utf-8")
    stamp = re.search(r"^\*\d{4}-\d\d-\d\d, \d+ CPUs of .+; Python .+\*\n\n", text, re.MULTILINE)
    assert stamp
    assert text.replace(stamp[0], "") == PAGE.replace("| six |", "| seven | 7")


def test_only_selected_benchmarks_run(page: Path) -> None:
    assert rewrite(page, "--only", "nothing that is there").returncode == 0
    assert page.read_text(encoding="utf-8") == PAGE
    listed = rewrite(page, "--list", "--only", "NUMBER").stdout
    assert listed == PAGE.split("```\n")[1]


def test_every_benchmark_is_on_a_page() -> None:
    commands = [
        command for page in PAGES for command, _ in find_benchmarks(page.read_text("utf-8"))
    ]
    documented = {
        name for command in commands for name in re.findall(r"tests/bench/\w+\.py", command)
    }
    files = {
        path.relative_to(ROOT).as_posix()
        for kind in ("bench", "check")
        for path in (ROOT / "tests" / "bench").glob(f"{kind}_*.py")
    }
    assert documented == files


def test_forward_passes_are_timed_inside_a_prediction() -> None:
    tagger = load_version(ModelRegistry(BUNDLED_MODELS_FOLDER, bundled_root=BUNDLED_MODELS_FOLDER))
    assert isinstance(tagger, EncoderTagger)
    tagger.runner = TimedRunner(tagger.runner)
    timed = answer(tagger, ["Naloxone reverses clonidine."])
    assert 0 < timed["bare"] < timed["seconds"]
    assert len(timed["spans"]) == 2
