"""Run the benchmarks of the documentation and replace their printed output.

A benchmark there is a fenced block without a language that contains commands. Its output is behind
it, before the next block, between ``<!-- printed -->`` and ``<!-- /printed -->``. The output of the
commands replaces it, with the day, the machine and the versions. If a command fails, the old output
stays, and the command is named at the end.

    PYTHONPATH=. python tests/bench/rewrite.py [--only WORD] [--list] [--page FILE ...]

"""

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(ROOT / "docs" / name for name in ("benchmarks.md", "experiments.md"))
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(
    r"(?<=^<!-- printed -->\n)(?P<printed>.*?)(?=^<!-- /printed -->$)", re.MULTILINE | re.DOTALL
)
VARIABLE = re.compile(r"[A-Z_]+=")
LIBRARIES = ("torch", "transformers", "peft", "openvino")


def benchmarks(page: str) -> Iterator[tuple[str, re.Match[str]]]:
    """The commands of each benchmark, and the place of their output."""
    blocks = list(BLOCK.finditer(page))
    ends = [block.start() for block in blocks[1:]] + [len(page)]
    for block, end in zip(blocks, ends, strict=True):
        place = PLACE.search(page, block.end(), end)
        if place and not block["kind"]:
            yield block["commands"], place


def under(printed: str) -> str:
    """Printed output with the day, the machine and the versions."""
    found = [f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    day, cpus = datetime.now(UTC).date(), len(os.sched_getaffinity(0))
    return f"*{day}, {cpus} CPUs of {processor()}; {', '.join(found)}*\n\n{printed.strip()}\n"


def processor() -> str:
    """Name of the processor."""
    known = Path("/proc/cpuinfo")
    text = known.read_text(encoding="utf-8") if known.is_file() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return name[1] if name else platform.machine()


def output_of(command: str) -> str:
    """Run a command in the repository and return its output.

    Raises:
        CalledProcessError: If it fails.

    """
    words = shlex.split(command)
    count = next(place for place, word in enumerate(words) if not VARIABLE.match(word))
    variables, program = words[:count], words[count:]
    if program[0] == "python":
        program[0] = sys.executable
    print(f"== {command}", file=sys.stderr, flush=True)
    environment = {**os.environ, **dict(one.split("=", 1) for one in variables)}
    return subprocess.run(
        program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def renew(page: Path, *, only: str) -> list[str]:
    """Run the benchmarks whose commands contain a word, and write each result at once.

    Returns:
        The commands that failed.

    """
    failed = []
    for commands, _ in list(benchmarks(page.read_text(encoding="utf-8"))):
        if only not in commands:
            continue
        try:
            printed = "\n".join(output_of(one) for one in commands.splitlines() if one)
        except (OSError, subprocess.CalledProcessError) as error:
            failed.append(f"{commands.strip()}: {error}")
            continue
        text = page.read_text(encoding="utf-8")  # it may have been edited during the run
        places = [place for found, place in benchmarks(text) if found == commands]
        for place in places[:1]:
            page.write_text(
                text[: place.start()] + under(printed) + text[place.end() :], encoding="utf-8"
            )
    return failed


def main() -> None:
    """Renew the pages, or list their commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="commands that contain it")
    parser.add_argument("--list", action="store_true", help="print the commands only")
    parser.add_argument("--page", type=Path, nargs="*", default=PAGES)
    options = parser.parse_args()
    failed = []
    for page in options.page:
        if options.list:
            found = benchmarks(page.read_text(encoding="utf-8"))
            print("".join(commands for commands, _ in found if options.only in commands), end="")
        else:
            failed += renew(page, only=options.only)
    if failed:
        raise SystemExit(
            "\n".join(["the old output stays for these commands, which failed:", *failed])
        )


if __name__ == "__main__":
    main()
