"""The status page: well-formed, escaped, and without external resources."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagalong.backend.retraining.job import Job, JobState, StratumComparison
from tagalong.backend.retraining.job import JobResult as Trained
from tagalong.backend.server.monitoring.project_rows import make_project_rows
from tagalong.backend.server.monitoring.snapshot import (
    AssignmentState,
    LoadFailure,
    ModelState,
    PoolState,
    ProjectState,
    RequestStats,
    Snapshot,
    UnreadableTask,
)
from tagalong.backend.server.monitoring.status_page import (
    ScoreRow,
    ScoreTable,
    StoredState,
    read_score_tables,
    render_status_page,
    summarize_status,
)
from tagalong.backend.server.monitoring.telemetry import Telemetry
from tagalong.backend.storage.project_key import ProjectKey
from tagalong.ner.document import DroppedAnnotation
from tests.backend.server.manifests import DEV, make_manifest
from tests.html_page import HOSTILE, LINKS, Page

PROJECT = ProjectKey(7, 1795378435)
ADDRESS = "http://127.0.0.1:9090"


def busy(*, name: str = "Drug", reason: str = "it is gone: copy it again") -> Snapshot:
    """Snapshot with every section, and one string from outside."""
    telemetry = Telemetry()
    now = datetime.now(UTC)
    manifest, failure = make_manifest(labels=("Chemical", name)), LoadFailure("bad-2", reason, now)
    served = ModelState("encoder", "encoder", manifest, now, 1.84, load_failures=(failure,))
    for state in (served, ModelState("llm", "llm", loading_version="llm-1")):
        telemetry.record_model_state(state)
    for status in (200, 422, 500):
        telemetry.record_response("/predict", status, 0.2)
    lost = [DroppedAnnotation(name, "a patient's words", "label unknown", 0, 4)] * 3
    unread = [UnreadableTask("no text", f"task 4 has no text, only {name}")]
    labels = {"Chemical": name, name: None}
    telemetry.record_predictions(
        PROJECT, "encoder", RequestStats("encoder", "v-1", 4, 9, labels, lost, unread)
    )
    return telemetry.take_snapshot()


def many_projects(count: int = 50, *, name: str = "Device", error: str | None = None) -> Snapshot:
    """Projects with a model each, of which every tenth has lost its model, and one is silent."""
    telemetry = Telemetry()
    now = datetime.now(UTC)
    state = ModelState("encoder", "encoder", make_manifest(), now, 1.0)
    for model in ("encoder", "cardiology", "project-8"):
        telemetry.record_model_state(replace(state, model=model))
    assignments = []
    for number in range(1, count + 1):
        key, model = ProjectKey(number, 1795378435), f"project-{number}"
        fault = f"there is no model '{model}'" if number % 10 == 0 else ""
        assignments.append(AssignmentState(key, "encoder", model, fault))
        if number == count:
            continue
        labels = {"Chemical": "Drug", "Disease": name, "Gene": None}
        stats = RequestStats(
            *(
                "encoder" if fault else model,
                f"{model}-20261122-35fd034f",
                14 * number,
                977 * number,
            ),
            labels=labels,
            dropped_annotations=[DroppedAnnotation("Gene", "", "label unknown", 0, 4)] * number,
            unpredicted=(name, "Dose") if number % 3 == 0 else (),
        )
        telemetry.record_predictions(key, "encoder", stats)
    unloaded = [f"project-{number}" for number in range(1, count + 1) if number != 8]
    loaded = ["cardiology", "encoder", "llm", "project-8"]
    telemetry.record_pool(
        PoolState(loaded, unloaded, 1_834_000_000, 4_000_000_000, assignments, error)
    )
    return telemetry.take_snapshot()


def render(snapshot: Snapshot, *, address: str = ADDRESS, root_path: str = "", **stored) -> str:
    state = StoredState(**stored)
    return render_status_page(snapshot, state, address=address, root_path=root_path)


@pytest.mark.parametrize(
    "snapshot",
    [
        Telemetry().take_snapshot(),
        busy(),
        busy(name=HOSTILE, reason=HOSTILE),
        many_projects(name=HOSTILE),
    ],
    ids=["fresh", "busy", "hostile", "many"],
)
@pytest.mark.parametrize("error", [None, HOSTILE])
def test_page_is_well_formed_and_loads_nothing(snapshot: Snapshot, error: str | None) -> None:
    html = render(snapshot, event_store_error=error, events={"TASKS_CREATED": 3}, address=HOSTILE)
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert {"h1", "main", "section", "footer"} <= set(page.tags)
    assert not {"script", "img", "iframe", "object", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    links = [value or "" for _, name, value in page.attributes if name in LINKS]
    assert links
    assert all(link == "data:," or re.fullmatch(r"/[a-z][a-z/]*", link) for link in links)
    assert not re.search(r"url\(|@import|@font-face", html)
    assert len(page.values("id")) == len(set(page.values("id")))
    assert set(page.values("aria-labelledby")) == set(page.values("id"))
    assert page.tags.count("caption") == page.tags.count("table")


def test_fifty_projects_are_a_row_each() -> None:
    jobs = [
        replace(training(state), id=number, project=ProjectKey(number, 1795378435))
        for number, state in enumerate((JobState.FAILED, JobState.PROMOTED, JobState.RUNNING), 7)
    ]
    html = render(many_projects(), jobs=[*jobs, replace(jobs[0], id=1, result=None)])
    page = Page(html)
    assert page.tags.count("details") == 50 + 2  # two models beside the default ones
    assert "open" not in [name for tag, name, _ in page.attributes if tag == "details"]
    row = re.search(r'<th scope="row"><bdi>10</bdi>.*?</tr>', html, re.DOTALL)
    assert row
    text = " ".join(Page(f"<table>{row[0].replace('</tr>', '')}</table>").text.split())
    assert text.startswith("10 encoder project-10-20261122-35fd034f The default answers: there")
    assert "2 found 140 9,770 10 a moment ago" not in text  # requests come first
    assert "2 found 1 140 9,770 10 a moment ago –" in text
    for excerpt in (
        "9 project-9 project-9-20261122-35fd034f 2 found 2 not found",
        "50 encoder The default answers: there is no model 'project-50'. – 0 0 0 0 – –",
        "No model predicts these labels of the project yet: Device and Dose.",
        "1.8 GB; beyond 4.0 GB, idle models are unloaded",
        "cardiology, encoder, llm and project-8",
        "project-13 and 37 more: the first request",
        "Promoted",
    ):
        assert excerpt in page.text
    assert html.count("The default model answers:") == 5


def test_projects_of_one_number_are_told_apart() -> None:
    telemetry = Telemetry()
    for created in (1795378435, 1795378436, None):
        stats = RequestStats("encoder", "v-1", 1, 1)
        telemetry.record_predictions(ProjectKey(7, created), "encoder", stats)
    page = Page(render(telemetry.take_snapshot()))
    assert page.text.count("7 (created on ") == 2 * 2
    assert "open" in page.values("open") or None in page.values("open")


def test_backend_of_a_model_is_not_told_of_a_lost_assignment() -> None:
    snapshot = many_projects(12)
    urls = [replace_model(state, "cardiology") for state in snapshot.projects]
    rows = make_project_rows(replace(snapshot, projects=tuple(urls)), [])
    assert {row.fault for row in rows if row.state} == {""}


def replace_model(state: ProjectState, model: str) -> ProjectState:
    state.model = model
    return state


def test_damaged_assignments_are_in_the_head() -> None:
    snapshot = many_projects(2, error=HOSTILE)
    assert summarize_status(snapshot, StoredState()) == ("Assignments cannot be read", "bad")
    html = render(snapshot)
    assert HOSTILE not in html
    assert HOSTILE in "".join(Page(html).words)


def test_outside_strings_are_escaped() -> None:
    html = render(busy(name=HOSTILE, reason=HOSTILE))
    assert HOSTILE not in html
    assert "".join(Page(html).words).count(HOSTILE) >= 5


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=60))
def test_no_name_breaks_the_page(name: str) -> None:
    html = render(busy(name=name, reason=name))
    assert Page(html).tags == Page(render(busy(name="x" if name else ""))).tags
    html.encode()


def test_page_shows_everything() -> None:
    text = "".join(Page(render(busy(), events={"ANNOTATION_CREATED": 1_234})).words)
    for excerpt in (
        "A version does not load",
        "tiny-20261122-35fd034f",
        "package:tiny/model @ 0.1.0",
        "loaded in 1.84 s",
        "0.839",
        "3 words or more",
        "902",
        "bad-2",
        "it is gone: copy it again",
        "Loading",
        "llm-1",
        "/predict",
        "0.20 s",
        "Project 7",
        "label unknown",
        "task 4 has no text, only Drug",
        "Annotation created",
        "1,234",
    ):
        assert excerpt in text
    assert "patient" not in text


def test_fresh_server_shows_next_steps() -> None:
    page = Page(render(Telemetry().take_snapshot()))
    assert page.text.count(ADDRESS) == 2  # in the head and in the steps
    assert "table" not in page.tags


def training(state: JobState, words: str = "it is better") -> Job:
    """A job in a state."""
    asked = datetime(2026, 11, 22, 20, 13, tzinfo=UTC)
    strata = (
        StratumComparison("all", 40, 0.813, 0.709, -0.01, 0.21),
        StratumComparison("3+", 2, 0.5),
    )
    outcome = Trained(
        *(words, True, "cardiology", words, "encoder", "v-0", 30, 7, strata, (words,)),
    )
    return Job(
        *(1, PROJECT, "encoder", words, 3, state, 1, 0, False, asked),
        ended_at=asked if state.is_finished else None,
        status_message="" if state.is_finished else "epoch 2 of 9",
        result=outcome if state.is_finished else None,
    )


@pytest.mark.parametrize("state", JobState)
def test_training_is_shown(state: JobState) -> None:
    html = render(busy(), jobs=[training(state)])
    text = Page(html).text
    assert (state.capitalize() if state != "kept" else "Not promoted") in text
    assert ("epoch 2 of 9" in text) == (state is JobState.RUNNING)
    figures = ("0.813", "0.709", "-0.010 to +0.210", "7 documents", "encoder v-0", "cardiology")
    assert all((figure in text) == state.is_finished for figure in figures)
    hostile = render(busy(), jobs=[training(state, HOSTILE)], job_store_error=HOSTILE)
    assert HOSTILE not in hostile
    assert HOSTILE in "".join(Page(hostile).words)


def test_failing_event_store_is_shown_instead_of_counts() -> None:
    page = Page(render(busy(), event_store_error="it-is-gone", events={"TASKS_CREATED": 8_765}))
    assert "it-is-gone" in page.text
    assert "8,765" not in page.text


def test_links_keep_the_root_path() -> None:
    page = Page(render(busy(), root_path="/tagalong"))
    assert "/tagalong/metrics" in page.values("href")
    assert "/tagalong/llm/versions" in page.values("href")
    assert f"{ADDRESS}/tagalong" in page.text


@pytest.mark.parametrize(
    ("state", "error", "expected"),
    [
        (ModelState("encoder", "encoder"), None, ("Starting", "wait")),
        (ModelState("encoder", "encoder", loading_version="a-1"), None, ("Loading", "wait")),
        (
            ModelState("encoder", "encoder", load_failures=busy().models[0].load_failures),
            None,
            ("No version loads", "bad"),
        ),
        (replace(busy().models[0], load_failures=()), None, ("Ready", "good")),
        (replace(busy().models[0], load_failures=()), "gone", ("Events cannot be stored", "bad")),
        (busy().models[0], None, ("A version does not load", "bad")),
    ],
)
def test_overall_status_word(state, error, expected) -> None:
    snapshot = replace(Telemetry().take_snapshot(), models=(state, ModelState("llm", "llm")))
    assert summarize_status(snapshot, StoredState(event_store_error=error)) == expected


def test_scores_are_read_from_the_manifest() -> None:
    (table,) = read_score_tables(ModelState("encoder", "encoder", manifest=make_manifest()))
    assert table == ScoreTable(
        split="dev",
        documents=48,
        rows=(
            ScoreRow("All", 0.8392, 902),
            ScoreRow("1 word", 0.8719, 676),
            ScoreRow("2 words", 0.7629, 148),
            ScoreRow("3 words or more", 0.6713, 78),
        ),
    )


@pytest.mark.parametrize(
    "found", [None, 3, [], {}, {"strict_f1": "high"}, {"strict_f1": True}, {"strict_f1": 2}]
)
def test_invalid_scores_are_left_out(found: object) -> None:
    manifest = make_manifest(scores={"dev": found, "test": DEV})
    assert [
        table.split for table in read_score_tables(ModelState("e", "e", manifest=manifest))
    ] == ["test"]


def test_fractional_support_is_not_summed() -> None:
    scores = {"dev": {"strict_f1": 0.5, "by_length": {"1": 0.5, "2": 0.5}, "support": {"1": 7}}}
    manifest = make_manifest(scores=scores)
    (table,) = read_score_tables(ModelState("e", "e", manifest=manifest))
    assert [row.support for row in table.rows] == [None, 7, None]
    assert table.documents is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
SPLIT = st.fixed_dictionaries(
    {"strict_f1": st.floats(0, 1)},
    optional={
        name: JSON | st.dictionaries(st.text(max_size=2), JSON)
        for name in DEV
        if name != "strict_f1"
    },
)


@settings(max_examples=60, deadline=None)
@given(scores=st.dictionaries(st.text(max_size=5), JSON | SPLIT, max_size=3))
def test_no_manifest_breaks_the_page(scores) -> None:
    telemetry = Telemetry()
    state = ModelState("encoder", "encoder", make_manifest(scores=scores), datetime.now(UTC), 1.0)
    telemetry.record_model_state(state)
    Page(render(telemetry.take_snapshot()))
