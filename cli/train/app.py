"""``tagalong train``: a command for each tier that has a file with its name here."""

from importlib import import_module
from importlib.util import find_spec

import typer

from tagalong.ner.tiers import TIERS

app = typer.Typer(no_args_is_help=True, help="Train a model version from annotated documents.")
for tier in TIERS:
    if find_spec(f"tagalong.cli.train.{tier}"):  # a tier may be served without being trained here
        app.command(tier)(import_module(f"tagalong.cli.train.{tier}").train_cli)
