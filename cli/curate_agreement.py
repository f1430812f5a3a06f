"""``tagalong curate agreement``: how far those who annotated the same tasks agree."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from cli.console import console, echo_json
from cli.curate_project import DrawnReport, Exported, Key, Project, Tab, Url, reviewed
from cli.options import AsJson, LabelConfigFile, read_options
from ner.errors import OutputError
from ner.printable import on_one_line
from ner.scoring import LENGTHS
from training.corpus import write_whole
from training.curate.agreement import Agreed, Agreement, measure_agreement, task_to_json

NOTHING = "-"  # agreement on no spans


def agreement_cli(
    exports: Exported = None,
    project: Project = None,
    url: Url = None,
    key: Key = None,
    tab: Tab = False,
    limit: Annotated[int, typer.Option(min=1, help="Tasks shown, the worst first.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write every task into a file of JSON lines."),
    ] = None,
    report: DrawnReport = None,
    label_config: LabelConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Measure how far the annotators of the same tasks agree, and on which tasks least.

    Example: tagalong curate agreement export.json
    """
    from training.curate.pages import agreement_to_html, agreement_to_markdown
    from training.report import check_folder, write_report

    if report is not None:
        check_folder(report)
    if out is not None and out.exists():
        raise OutputError(f"{out} is there already: choose another name")
    options = replace(read_options("all", label_config), annotators="each")
    with reviewed(exports, project, url, key, options) as (corpus, place):
        agreement, shown = measure_agreement(corpus.documents), ""
        if out is not None:
            write_tasks(agreement, out)
        if tab and place is not None:
            shown = place.show([entry.task for entry in agreement.by_task[:limit]], "Agreement")
    if as_json:
        echo_json({**agreement.to_json(), **({"shown": shown} if shown else {})})
    else:
        render_agreement(agreement, limit=limit)
        if shown:
            console.print(f"These tasks are in a tab: {shown}", soft_wrap=True)
    if report is not None:
        write_report(
            report,
            figures=agreement.to_json(),
            markdown=agreement_to_markdown(agreement),
            page=agreement_to_html(agreement, corpus.documents),
        )


def write_tasks(agreement: Agreement, path: Path) -> None:
    """Write how far people agree on each task into a file, one task a line.

    Args:
        agreement: What was measured.
        path: The file.

    Raises:
        OutputError: If it is there already, or cannot be written.
    """
    tasks = map(task_to_json, agreement.by_task)
    write_whole(
        {path: (json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)}, force=False
    )


def render_agreement(agreement: Agreement, *, limit: int) -> None:
    """Show how far people agree.

    Args:
        agreement: What was measured.
        limit: How many tasks to show.
    """
    alone = f"; {agreement.alone:,} more have one annotator only" if agreement.alone else ""
    console.print(f"{len(agreement.by_task):,} tasks of two annotators or more{alone}.")
    grid = _grid("Spans")
    grid.add_row("All", *_figures(agreement.overall))
    grid.add_section()
    for label, agreed in agreement.by_label.items():
        grid.add_row(Text(on_one_line(label)), *_figures(agreed))
    grid.add_section()
    for length in LENGTHS:
        name = f"{length} word{'s' * (length != '1')}"
        grid.add_row(name, *_figures(agreement.by_length[length]))
    grid.add_section()
    for pair, agreed in agreement.by_pair.items():
        grid.add_row(Text(on_one_line(" and ".join(pair))), *_figures(agreed))
    console.print(grid)
    grid = _grid("Task", "Annotators")
    for entry in agreement.by_task[:limit]:
        who = Text(on_one_line(", ".join(entry.annotators)))
        grid.add_row(Text(on_one_line(entry.task)), who, *_figures(entry.agreed))
    console.print(grid)


def _grid(*names: str) -> Table:
    """A table of figures; in plain characters where it goes into a file."""
    grid = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII)
    for name in names:
        grid.add_column(name, overflow="fold")
    for name in ("Compared", "Exact F1", "Overlap F1"):
        grid.add_column(name, justify="right", no_wrap=True)
    return grid


def _figures(agreed: Agreed) -> tuple[str, ...]:
    """How many spans were compared, and both ratios."""
    if not agreed.spans:
        return "0", NOTHING, NOTHING
    return f"{agreed.spans:,}", f"{agreed.exact_f1:.3f}", f"{agreed.overlap_f1:.3f}"
