"""``tagalong curate``: what annotators should look at next."""

import typer

from tagalong.cli.curate.agreement import agreement_cli
from tagalong.cli.curate.review import review_cli
from tagalong.cli.curate.select import select_cli

app = typer.Typer(no_args_is_help=True, help="Choose what annotators should look at.")
app.command("select")(select_cli)
app.command("review")(review_cli)
app.command("agreement")(agreement_cli)
