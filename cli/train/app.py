"""``tagalong train``: one command for each tier, in the file with the tier's name."""

from importlib import import_module

import typer

from tagalong.ner.tiers import TIERS

app = typer.Typer(no_args_is_help=True, help="Train a tier from annotated documents.")
for tier in TIERS:
    app.command(tier)(import_module(f"tagalong.cli.train.{tier}").train_cli)
