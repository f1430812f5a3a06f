"""``tagalong``: all commands under one name, and the output of errors."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperOption

from tagalong.cli import data, model_archives, model_assignments, models
from tagalong.cli.benchmark import benchmark_cli
from tagalong.cli.connect import connect_cli, disconnect_cli
from tagalong.cli.curate import app as curate
from tagalong.cli.demo import demo_cli
from tagalong.cli.doctor import doctor_cli
from tagalong.cli.evaluate import evaluate_cli
from tagalong.cli.predict import predict_cli
from tagalong.cli.prelabel.command import prelabel_cli
from tagalong.cli.retrain import retrain_cli
from tagalong.cli.serve import serve_cli
from tagalong.cli.terminal.console import error_console, silence_libraries
from tagalong.cli.terminal.renamed import refuse_renamed
from tagalong.cli.train import app as train
from tagalong.ner.errors import TagalongError

METAVARS = {"int": "N", "float": "X", "str": "TEXT", "Path": "FILE", "list[Path]": "FILE"}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train.app, name="train")
app.add_typer(curate.app, name="curate")
models.app.add_typer(model_archives.app)
models.app.add_typer(model_assignments.app)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.command("benchmark")(benchmark_cli)
app.command("connect")(connect_cli)
app.command("demo")(demo_cli)
app.command("disconnect")(disconnect_cli)
app.command("doctor")(doctor_cli)
app.command("evaluate")(evaluate_cli)
app.command("predict")(predict_cli)
app.command("prelabel")(prelabel_cli)
app.command("retrain")(retrain_cli)
app.command("serve")(serve_cli)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; end the process with 0, 1 (the work failed), 2 (wrong usage) or 130 (Ctrl-C).

    `arguments` are those after ``tagalong``; None for those of this process.
    """
    silence_libraries()
    command = typer.main.get_command(app)
    simplify_metavars(command)
    try:
        refuse_renamed(command, sys.argv[1:] if arguments is None else arguments, os.environ)
        command(arguments, prog_name="tagalong")
    except TagalongError as error:
        _exit_with_error(str(error), error)
    except OSError as error:
        if error.errno is None:  # a library's own use of the name, for what we did not foresee
            raise
        _exit_with_error(f"{error.filename or 'the system'}: {error.strerror}", error)


def simplify_metavars(command: Any, parent: typer.Context | None = None) -> None:
    """Show plain value names in the help: nothing for a flag, ``N`` instead of ``<int range>``.

    Changes a `TyperCommand`, or a `TyperGroup` with its subcommands; `parent` is the context of its
    group.
    """
    # The context hands down the names of the help option, which is cached at the first call.
    context = typer.Context(command, parent, **command.context_settings)
    help_option = command.get_help_option(context)
    for option in (*command.params, help_option):
        if isinstance(option, TyperOption) and option.metavar is None:
            option.metavar = "" if option.is_flag else METAVARS.get(option.bare_type())
    for subcommand in getattr(command, "commands", {}).values():
        simplify_metavars(subcommand, context)


def _exit_with_error(sentence: str, cause: Exception) -> NoReturn:
    error_console.print(f"Error: {sentence}", style="red", markup=False, soft_wrap=True)
    raise SystemExit(1) from cause


def print_version(requested: bool) -> None:
    """Print the version and end, if ``--version`` was given."""
    if requested:
        typer.echo(f"tagalong {version('tagalong')}")
        raise typer.Exit


@app.callback()
def tagalong_cli(
    _: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Pre-label biomedical text in Label Studio: train, evaluate and serve NER models."""
