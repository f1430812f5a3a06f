"""``tagalong curate agreement``: agreement of annotators on the same tasks."""

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text

from tagalong.backend.formats.columns import ColumnOptions
from tagalong.cli.curate import options
from tagalong.cli.curate.sources import (
    ProjectAccess,
    add_address,
    check_new_file,
    open_annotated_corpus,
    write_json_lines,
)
from tagalong.cli.terminal.console import console, echo_json, warn
from tagalong.cli.terminal.options import (
    EntityLabelOption,
    JsonOption,
    LabelConfigOption,
    ReportOption,
    TagColumnOption,
    WordColumnOption,
    build_read_options,
)
from tagalong.cli.terminal.tables import build_rich_table
from tagalong.ner.counted_nouns import pluralize
from tagalong.ner.length_buckets import LENGTH_NOTES
from tagalong.ner.text_sanitizing import to_single_line
from tagalong.training.corpus import describe_reading

if TYPE_CHECKING:  # numpy would make `tagalong --help` slow
    from tagalong.training.curate.inter_annotator import AgreementReport


def agreement_cli(
    exports: options.OptionalExportsArgument = None,
    project: options.ProjectOption = None,
    url: options.UrlOption = None,
    key: options.ApiKeyOption = None,
    allowed_hosts: options.AllowedHostsOption = "",
    tab: options.TabOption = False,
    limit: options.TaskLimitOption = 20,
    out: options.TasksOutOption = None,
    report: ReportOption = None,
    label_config: LabelConfigOption = None,
    word_column: WordColumnOption = None,
    tag_column: TagColumnOption = None,
    entity_label: EntityLabelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure inter-annotator agreement, and find the tasks with least agreement.

    Example: tagalong curate agreement export.json
    """
    from tagalong.training.curate.inter_annotator import compute_agreement
    from tagalong.training.curate.pages import agreement_to_html, agreement_to_markdown
    from tagalong.training.evaluation.report import check_report_dir, write_report

    if report is not None:
        check_report_dir(report)
    check_new_file(out)
    # "each" keeps one document per annotator; it is no value of the option --annotators.
    columns = ColumnOptions(word_column, tag_column, entity_label)
    read = replace(build_read_options("all", label_config, columns), annotator_policy="each")
    access = ProjectAccess(project, url, key, allowed_hosts)
    with open_annotated_corpus(exports, access, read) as (corpus, curated_project):
        for sentence in describe_reading(corpus):
            warn(sentence)
        agreement, shown = compute_agreement(corpus.documents), ""
        if out is not None:
            write_json_lines((entry.to_json() for entry in agreement.by_task), out)
        if tab and curated_project is not None:
            tasks = [entry.task_id for entry in agreement.by_task[:limit]]
            shown = curated_project.show_tasks_in_tab(tasks, "Agreement")
    if as_json:
        echo_json(add_address(agreement.to_json(), shown))
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


def render_agreement(agreement: "AgreementReport", *, limit: int) -> None:
    """Print an agreement report, with up to `limit` tasks."""
    from tagalong.training.curate.pages import agreement_tables

    single = (
        f"; {agreement.single_annotator_tasks:,} with one annotator are ignored"
        if agreement.single_annotator_tasks
        else ""
    )
    console.print(f"{pluralize(len(agreement.by_task), 'task')} with several annotators{single}.")
    *strata, tasks = agreement_tables(agreement, max_tasks=limit)
    # One table of all strata keeps their numbers in the same columns.
    table = build_rich_table(replace(strata[0], columns=("Spans", *strata[0].columns[1:]), rows=()))
    for stratum in strata:
        for row in stratum.rows:
            table.add_row(*(Text(to_single_line(cell)) for cell in row))
        table.add_section()
    table.rows[0].end_section = True  # the total, of all labels
    console.print(table)
    console.print(LENGTH_NOTES["words"])
    console.print(build_rich_table(tasks))
