"""``tagalong curate``: which tasks to annotate next, and which annotations look wrong."""

import typer

app = typer.Typer(no_args_is_help=True, help="Choose what annotators should look at.")


@app.callback()
def curate_cli() -> None:
    """Choose what annotators should look at."""
