"""Runs pydoclint, and reports a section only where a docstring has it.

pydoclint asks for every section as soon as a docstring has one. Here, a section that only repeats
names and types is left out; one that exists must match the signature.

    python tests/docstrings.py ner backend training cli
"""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

SECTIONS = {"DOC101": "Args:", "DOC103": "Args:", "DOC201": "Returns:", "DOC402": "Yields:"}
FINDING = re.compile(r"\s+(\d+): (DOC\d+): ")


@cache
def docstrings(path: Path) -> dict[int, str]:
    """Docstrings by the line of their definition; that of ``__init__`` is its class's."""
    found: dict[int, str] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.lineno] = ast.get_docstring(node) or ""
    return found


def findings(output: str) -> list[str]:
    """The lines of pydoclint about sections that exist, and about everything else."""
    kept: list[str] = []
    path = Path()
    for line in output.splitlines():
        match = FINDING.match(line)
        if match is None:
            path = Path(line.strip()) if line.strip() else path
            continue
        section = SECTIONS.get(match[2])
        if section is None or section in docstrings(path).get(int(match[1]), section):
            kept.append(f"{path}:{line.strip()}")
    return kept


if __name__ == "__main__":
    ran = subprocess.run(
        [Path(sys.executable).with_name("pydoclint"), "--quiet", *sys.argv[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in (0, 1):  # pydoclint itself failed
        sys.exit(ran.stderr)
    found = findings(ran.stdout + ran.stderr)
    print("\n".join(found))
    sys.exit(bool(found))
