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
OUTPUT = re.compile(
    r"(?<=^<!-- printed -->\n)(?P<printed>.*?)(?=^<!-- /printed -->$)", re.MULTILINE | re.DOTALL
)
VARIABLE = re.compile(r"[A-Z_]+=")
LIBRARIES = ("torch", "transformers", "peft", "openvino")


def find_benchmarks(page: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Find the commands of each benchmark, and the match of their output."""
    blocks = list(BLOCK.finditer(page))
    ends = [block.start() for block in blocks[1:]] + [len(page)]
    for block, end in zip(blocks, ends, strict=True):
        output = OUTPUT.search(page, block.end(), end)
        if output and not block["kind"]:
            yield block["commands"], output


def add_environment(printed: str) -> str:
    """Add the day, the machine and the versions to printed output."""
    versions = [f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    day, cpus = datetime.now(UTC).date(), len(os.sched_getaffinity(0))
    return (
        f"*{day}, {cpus} CPUs of {read_cpu_name()}; {', '.join(versions)}*\n\n{printed.strip()}\n"
    )


def read_cpu_name() -> str:
    """Read the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.machine()


def run_command(command: str) -> str:
    """Run a command in the repository and return its output.

    Raises:
        CalledProcessError: If it fails.

    """
    words = shlex.split(command)
    count = next(index for index, word in enumerate(words) if not VARIABLE.match(word))
    variables, program = words[:count], words[count:]
    if program[0] == "python":
        program[0] = sys.executable
    print(f"== {command}", file=sys.stderr, flush=True)
    environment = {**os.environ, **dict(variable.split("=", 1) for variable in variables)}
    return subprocess.run(
        program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def renew_page(page: Path, *, only: str) -> list[str]:
    """Run the benchmarks whose commands contain a word, and write each result at once.

    Returns:
        The commands that failed.

    """
    failed = []
    for commands, _ in list(find_benchmarks(page.read_text(encoding="utf-8"))):
        if only not in commands:
            continue
        try:
            printed = "\n".join(
                run_command(command) for command in commands.splitlines() if command
            )
        except (OSError, subprocess.CalledProcessError) as error:
            failed.append(f"{commands.strip()}: {error}")
            continue
        text = page.read_text(encoding="utf-8")  # it may have been edited during the run
        outputs = [
            output for other_commands, output in find_benchmarks(text) if other_commands == commands
        ]
        for output in outputs[:1]:
            page.write_text(
                text[: output.start()] + add_environment(printed) + text[output.end() :],
                encoding="utf-8",
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
            blocks = find_benchmarks(page.read_text(encoding="utf-8"))
            print("".join(commands for commands, _ in blocks if options.only in commands), end="")
        else:
            failed += renew_page(page, only=options.only)
    if failed:
        raise SystemExit(
            "\n".join(["the old output stays for these commands, which failed:", *failed])
        )


if __name__ == "__main__":
    main()
