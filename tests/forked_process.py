"""Python programs in child processes, forked from a server that has imported torch.

A new interpreter needs seconds to import torch. Tests of a process that do not test its start use
a fork server, one for each pytest worker.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Self, TextIO
from unittest.mock import patch

from tagalong.backend.demo.supervised_process import find_free_port

CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = [  # missing names are ignored; test_forked_process.py checks them
    "tagalong.backend.server.app",
    "tagalong.cli.main",
    "tagalong.training.jobs.tier_trainers",
    "tagalong.training.llm.train",
]
CONTEXT.set_forkserver_preload(IMPORTED)


class ForkedProcess:
    """A Python program with the part of `subprocess.Popen` that tests need.

    Args:
        arguments: Arguments of `python`: a file, `-m` with a module, or `-c` with
            code, and the program's own arguments.
        env: The environment; by default that of this process.
        log: File for its output; by default `stdout` and `stderr` are pipes.
        new_session: Whether it has its own process group.
    """

    def __init__(
        self,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        new_session: bool = False,
    ) -> None:
        self.args = ["python", *map(str, arguments)]
        pipes = [CONTEXT.Pipe(duplex=False) for _ in range(0 if log else 2)]
        self._process = CONTEXT.Process(
            target=_run_program,
            args=(
                self.args[1:],
                Path.cwd(),
                dict(os.environ if env is None else env),
                log or [end for _, end in pipes],
                new_session,
            ),
        )
        with patch.dict(
            sys.modules, {"__main__": ModuleType("__main__")}
        ):  # without pytest as main module
            self._process.start()
        outputs = [_open_text(reader, writer) for reader, writer in pipes]
        self.stdout, self.stderr = outputs or (None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.join()
        self._close()

    def _close(self) -> None:
        for output in (self.stdout, self.stderr):
            if output is not None:
                output.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, the negative number of a signal, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; returns the whole output."""
        with ThreadPoolExecutor(2) as readers:  # in parallel: a full pipe would block the process
            outputs = [
                readers.submit(output.read) for output in (self.stdout, self.stderr) if output
            ]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()  # else the readers do not end
                raise
            shown = [output.result() for output in outputs] or ["", ""]
        self._close()
        return shown[0], shown[1]

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def run_forked(
    *arguments: object, env: Mapping[str, str] | None = None, check: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run a Python program, as `subprocess.run` does."""
    with ForkedProcess(*arguments, env=env) as process:
        stdout, stderr = process.communicate()
    done = subprocess.CompletedProcess(process.args, process.wait(), stdout, stderr)
    if check and done.returncode:
        raise AssertionError(f"exit status {done.returncode}:\n{done.stderr}")
    return done


def run_ranks(
    *arguments: object, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a Python program as the two processes of a distributed training on CPUs.

    They have the environment variables that distributed trainings need. The output is that of both.
    """
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_port()), "WORLD_SIZE": "2"}
    return run_together(
        [{**(env or os.environ), **shared, "RANK": str(n), "LOCAL_RANK": str(n)} for n in range(2)],
        *arguments,
    )


def run_together(
    environments: Sequence[Mapping[str, str]], *arguments: object
) -> "subprocess.CompletedProcess[str]":
    """Run a Python program as two processes, each with its environment; all output is joined."""
    ranks = [ForkedProcess(*arguments, env=env) for env in environments]
    with ranks[0], ranks[1], ThreadPoolExecutor(2) as readers:
        outputs = list(readers.map(ForkedProcess.communicate, ranks))
    stdout, stderr = ("".join(shown) for shown in zip(*outputs, strict=True))
    assert [rank.returncode for rank in ranks] == [0, 0], stderr
    return subprocess.CompletedProcess(ranks[0].args, 0, stdout, stderr)


def _open_text(reader: Connection, writer: Connection) -> TextIO:
    """Open a pipe for reading; only the process keeps the writing end."""
    writer.close()
    with reader:
        return os.fdopen(os.dup(reader.fileno()), encoding="utf-8")


def _run_program(
    arguments: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    outputs: Path | Sequence[Connection],
    new_session: bool,
) -> None:
    """Run `python ARGUMENTS` in the new process."""
    if new_session:
        os.setsid()
    if isinstance(outputs, Path):
        outputs = [outputs.open("wb")] * 2
    for output, number in zip(outputs, (1, 2), strict=True):
        os.dup2(output.fileno(), number)
    for output in outputs:
        output.close()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=stream is sys.stderr)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    try:
        match arguments:
            case ["-c", code, *rest]:
                sys.argv = ["-c", *rest]
                exec(code, {"__name__": "__main__"})
            case ["-m", module, *rest]:
                sys.argv = [module, *rest]
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            case [path, *rest]:
                sys.argv = [path, *rest]
                runpy.run_path(path, run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing does not run them
