"""``tagalong curate agreement``: agreement of annotators on the same tasks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tagalong.backend.storage.atomic_files import write_atomically
from tagalong.cli.curate.project import (
    ApiKeyOption,
    OptionalExportsArgument,
    ProjectOption,
    TabOption,
    UrlOption,
    check_new_file,
    open_annotated_corpus,
)
from tagalong.cli.terminal.console import console, echo_json
from tagalong.cli.terminal.options import (
    JsonOption,
    LabelConfigOption,
    ReportOption,
    build_read_options,
)
from tagalong.cli.terminal.tables import EMPTY_CELL, new_table
from tagalong.ner.scoring import LENGTH_BUCKETS
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.curate.inter_annotator import (
    AgreementReport,
    AgreementScores,
    compute_agreement,
    task_to_json,
)


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
    """Measure inter-annotator agreement, and find the tasks with least agreement.

    Example: tagalong curate agreement export.json
    """
    from tagalong.training.curate.pages import agreement_to_html, agreement_to_markdown
    from tagalong.training.evaluation.report import check_report_dir, write_report

    if report is not None:
        check_report_dir(report)
    check_new_file(out)
    options = replace(build_read_options("all", label_config), annotator_policy="each")
    with open_annotated_corpus(exports, project, url, key, options) as (corpus, curated_project):
        agreement, shown = compute_agreement(corpus.documents), ""
        if out is not None:
            write_task_agreements(agreement, out)
        if tab and curated_project is not None:
            shown = curated_project.show_tasks_in_tab(
                [entry.task_id for entry in agreement.by_task[:limit]], "Agreement"
            )
    if as_json:
        echo_json({**agreement.to_json(), **({"shown": shown} if shown else {})})
    else:
        render_agreement(agreement, limit=limit)
        if shown:
            console.print(f"These tasks are in this tab: {shown}", soft_wrap=True)
    if report is not None:
        write_report(
            report,
            report_json=agreement.to_json(),
            markdown=agreement_to_markdown(agreement),
            html=agreement_to_html(agreement, corpus.documents),
        )


def write_task_agreements(agreement: AgreementReport, path: Path) -> None:
    """Write the agreement on each task into a new file, one JSON object per line."""
    tasks = map(task_to_json, agreement.by_task)
    write_atomically(
        {path: (json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)}, overwrite=False
    )


def render_agreement(agreement: AgreementReport, *, limit: int) -> None:
    """Print an agreement report, with up to `limit` tasks."""
    single = (
        f"; {agreement.single_annotator_tasks:,} with one annotator are ignored"
        if agreement.single_annotator_tasks
        else ""
    )
    console.print(f"{len(agreement.by_task):,} tasks with several annotators{single}.")
    table = _build_table("Spans")
    table.add_row("All", *_score_cells(agreement.overall))
    table.add_section()
    for label, scores in agreement.by_label.items():
        table.add_row(Text(to_single_line(label)), *_score_cells(scores))
    table.add_section()
    for length in LENGTH_BUCKETS:
        name = f"{length} word{'s' * (length != '1')}"
        table.add_row(name, *_score_cells(agreement.by_length[length]))
    table.add_section()
    for pair, scores in agreement.by_pair.items():
        table.add_row(Text(to_single_line(" and ".join(pair))), *_score_cells(scores))
    console.print(table)
    table = _build_table("Task", "Annotators")
    for entry in agreement.by_task[:limit]:
        annotators = Text(to_single_line(", ".join(entry.annotators)))
        table.add_row(Text(to_single_line(entry.task_id)), annotators, *_score_cells(entry.scores))
    console.print(table)


def _build_table(*names: str) -> Table:
    table = new_table()
    for name in names:
        table.add_column(name, overflow="fold")
    for name in ("Compared", "Exact F1", "Overlap F1"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _score_cells(scores: AgreementScores) -> tuple[str, ...]:
    if not scores.compared_spans:
        return "0", EMPTY_CELL, EMPTY_CELL
    return f"{scores.compared_spans:,}", f"{scores.exact_f1:.3f}", f"{scores.overlap_f1:.3f}"
