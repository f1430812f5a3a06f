"""``tagalong train``: a command for each trainable tier, ``train_cli`` in the file of its name."""

from importlib import import_module

import typer

from tagalong.ner.tiers import TRAINABLE_TIERS

app = typer.Typer(no_args_is_help=True, help="Train a model version from annotated documents.")
for tier in TRAINABLE_TIERS:
    app.command(tier)(import_module(f"tagalong.cli.train.{tier}").train_cli)
