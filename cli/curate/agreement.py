"""``tagalong curate agreement``: how far those who annotated the same tasks agree."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.cli.curate.project import (
    ApiKeyOption,
    OptionalExportsArgument,
    ProjectOption,
    ReportOption,
    TabOption,
    UrlOption,
    open_annotated_corpus,
)
from tagalong.cli.terminal.console import console, echo_json
from tagalong.cli.terminal.options import JsonOption, LabelConfigOption, build_read_options
from tagalong.ner.errors import OutputError
from tagalong.ner.scoring import LENGTH_BUCKETS
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.curate.inter_annotator import (
    AgreementReport,
    AgreementScores,
    compute_agreement,
    task_to_json,
)

EMPTY_CELL = "-"  # agreement on no spans


def agreement_cli(
    exports: OptionalExportsArgument = None,
    project: ProjectOption = None,
    url: UrlOption = None,
    key: ApiKeyOption = None,
    tab: TabOption = False,
    limit: Annotated[
        int, typer.Option(min=1, help="Number of tasks to show, least agreement first.")
    ] = 20,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Output file for all tasks, in JSON lines."),
    ] = None,
    report: ReportOption = None,
    label_config: LabelConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how far the annotators of the same tasks agree, and on which tasks least.

    Example: tagalong curate agreement export.json
    """
    from tagalong.training.curate.pages import agreement_to_html, agreement_to_markdown
    from tagalong.training.evaluation.report import check_report_dir, write_report

    if report is not None:
        check_report_dir(report)
    if out is not None and out.exists():
        raise OutputError(f"{out} is there already: choose another name")
    options = replace(build_read_options("all", label_config), annotator_policy="each")
    with open_annotated_corpus(exports, project, url, key, options) as (corpus, place):
        agreement, shown = compute_agreement(corpus.documents), ""
        if out is not None:
            write_task_agreements(agreement, out)
        if tab and place is not None:
            shown = place.show_tasks_in_tab(
                [entry.task_id for entry in agreement.by_task[:limit]], "Agreement"
            )
    if as_json:
        echo_json({**agreement.to_json(), **({"shown": shown} if shown else {})})
    else:
        render_agreement(agreement, limit=limit)
        if shown:
            console.print(f"These tasks are in a tab: {shown}", soft_wrap=True)
    if report is not None:
        write_report(
            report,
            report_json=agreement.to_json(),
            markdown=agreement_to_markdown(agreement),
            html=agreement_to_html(agreement, corpus.documents),
        )


def write_task_agreements(agreement: AgreementReport, path: Path) -> None:
    """Write how far people agree on each task into a file, one task a line.

    Args:
        agreement: What was measured.
        path: The file.

    Raises:
        OutputError: If it is there already, or cannot be written.
    """
    tasks = map(task_to_json, agreement.by_task)
    write_atomically(
        {path: (json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)}, overwrite=False
    )


def render_agreement(agreement: AgreementReport, *, limit: int) -> None:
    """Show how far people agree.

    Args:
        agreement: What was measured.
        limit: How many tasks to show.
    """
    alone = (
        f"; {agreement.single_annotator_tasks:,} more have one annotator only"
        if agreement.single_annotator_tasks
        else ""
    )
    console.print(f"{len(agreement.by_task):,} tasks of two annotators or more{alone}.")
    grid = _build_table("Spans")
    grid.add_row("All", *_score_cells(agreement.overall))
    grid.add_section()
    for label, agreed in agreement.by_label.items():
        grid.add_row(Text(to_single_line(label)), *_score_cells(agreed))
    grid.add_section()
    for length in LENGTH_BUCKETS:
        name = f"{length} word{'s' * (length != '1')}"
        grid.add_row(name, *_score_cells(agreement.by_length[length]))
    grid.add_section()
    for pair, agreed in agreement.by_pair.items():
        grid.add_row(Text(to_single_line(" and ".join(pair))), *_score_cells(agreed))
    console.print(grid)
    grid = _build_table("Task", "Annotators")
    for entry in agreement.by_task[:limit]:
        who = Text(to_single_line(", ".join(entry.annotators)))
        grid.add_row(Text(to_single_line(entry.task_id)), who, *_score_cells(entry.scores))
    console.print(grid)


def _build_table(*names: str) -> Table:
    """A table of figures; in plain characters where it goes into a file."""
    grid = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII)
    for name in names:
        grid.add_column(name, overflow="fold")
    for name in ("Compared", "Exact F1", "Overlap F1"):
        grid.add_column(name, justify="right", no_wrap=True)
    return grid


def _score_cells(agreed: AgreementScores) -> tuple[str, ...]:
    """How many spans were compared, and both ratios."""
    if not agreed.compared_spans:
        return "0", EMPTY_CELL, EMPTY_CELL
    return f"{agreed.compared_spans:,}", f"{agreed.exact_f1:.3f}", f"{agreed.overlap_f1:.3f}"
