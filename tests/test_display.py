"""What a notebook shows of results: every one has a short repr, and a table where it is one."""

import csv
import io
import re
from datetime import timedelta

import pandas as pd
import pytest

import unlearnkit as uk
from unlearnkit.display import csv_text
from unlearnkit.evaluation.parameters import parameter_sample, shifts, weight_images
from unlearnkit.evaluation.representations import twin_embedding
from unlearnkit.selection.example_map import example_map, example_table

LONGEST = 200  # characters of a repr
TABLES = (
    *("assessment", "comparison", "costs", "dataset", "decision", "ensemble", "example_map"),
    *("history", "parameter_sample", "partition", "plan", "population", "queue", "request"),
    *("shifts", "train_report", "twin_embedding", "unlearned", "weight_images", "workload"),
)
OTHERS = (
    *("approximation", "attack", "certificate", "checkpoint", "clock"),
    *(
        "constituent",
        "entry",
        "error_model",
        "examples",
        "gap",
        "journal",
        "measure",
        "outputs",
    ),
    *("revocations", "route", "session", "shard_work", "store"),
)
FRAMES = ("constituents", "example_table", "layers", "ledger", "measures", "scores", "stream")


@pytest.fixture(scope="module")
def results():
    """What the public functions and a small session's methods return, by name."""
    session = uk.Session("digits", model="logistic", epochs=2)
    report = session.train()
    request = session.revoke([3, 141, 592], deadline=timedelta(days=1))
    queue, assessment = session.queue, session.assess()
    unlearned = session.unlearn(max_share=0)
    comparison = session.compare()
    shard, journal = comparison.shards[0], session._journal
    options = {"model": "logistic", "epochs": 2, "num_test": 5}
    return {
        "approximation": session.store.approximation(session.plan.final_key(shard)),
        "assessment": assessment,
        "attack": comparison.attacks["unlearned"],
        "error_model": session.error_model,
        "certificate": session.certificate(),
        "checkpoint": next(iter(map(session.store.get, session.store.keys))),
        "clock": session.clock,
        "comparison": comparison,
        "constituent": session.ensemble.constituents[0],
        "constituents": comparison.constituents,
        "costs": assessment.costs,
        "dataset": session.dataset,
        "decision": assessment.decide(uk.AdaptiveBoundary()),
        "ensemble": session.ensemble,
        "entry": journal.history.records[0][1],
        "example_map": example_map(session),
        "example_table": example_table(session, ["loss"]),
        "examples": session.dataset.train,
        "gap": comparison.membership_gap,
        "history": journal.history,
        "journal": journal,
        "layers": comparison.layers,
        "ledger": session.ledger(),
        "check": unlearned.decision.checks[0],
        "measure": uk.relearn_time(comparison, unlearned, session.dataset),
        "measures": comparison.measures,
        "outputs": comparison.outputs["scratch"],
        "parameter_sample": parameter_sample(comparison, shard),
        "partition": session.plan.partition,
        "plan": session.plan,
        "population": uk.populate("digits", [3, 4], seeds=range(2), **options),
        "queue": queue,
        "request": request,
        "revocations": journal.history.revocations,
        "route": unlearned.decision.routes[0],
        "scores": comparison.scores,
        "session": session,
        "shard_work": assessment.workload.shards[0],
        "shifts": shifts(comparison, shard),
        "store": session.store,
        "stream": uk.stream(session, rounds=1, size=2),
        "train_report": report,
        "twin_embedding": twin_embedding(comparison, session.dataset, shard),
        "unlearned": unlearned,
        "weight_images": weight_images(comparison, shard),
        "workload": assessment.workload,
    }


def check_columns(frame: pd.DataFrame) -> None:
    assert len(frame) and all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in frame.columns)


@pytest.mark.parametrize("name", [*TABLES, *OTHERS])
def test_a_repr_is_one_short_line(results, name):
    text = repr(results[name])
    assert len(text) < LONGEST and "\n" not in text and " at 0x" not in text


@pytest.mark.parametrize("name", TABLES)
def test_a_result_that_is_a_table_gives_and_shows_it(results, name):
    result = results[name]
    check_columns(result.to_frame())
    shown = result._repr_html_()
    assert "<table" in shown
    assert shown.count("<tr") < 30  # long tables are cut


@pytest.mark.parametrize("name", FRAMES)
def test_columns_of_tables_are_in_snake_case(results, name):
    check_columns(results[name])


def test_a_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe():
    link = '=HYPERLINK("http://x")'
    texts = [link, "+1+1", "-a", "@SUM(A1)", "\tx", "\r=1", "cat", "a\r=1", "1e3", "-1.5"]
    frame = pd.DataFrame({"class": texts, link: [-0.1] * 10, "kept": pd.Categorical(texts)})
    read = list(csv.reader(io.StringIO(csv_text(frame))))
    safe = [f"'{text}" for text in texts[:5]] + ["'\n=1", "cat", "a\n=1", "1e3", "-1.5"]
    assert read[0] == ["class", f"'{link}", "kept"]
    assert [row[0] for row in read[1:]] == [row[2] for row in read[1:]] == safe
    assert {row[1] for row in read[1:]} == {"-0.1"}


def test_a_table_without_such_texts_is_written_as_pandas_writes_it():
    frame = pd.DataFrame(
        {"number": [0.1, float("nan")], "text": ["a", None], "when": pd.Timestamp("2026-01-02")}
    )
    assert csv_text(frame) == frame.to_csv(index=False)
    assert csv_text(frame[:0]) == frame[:0].to_csv(index=False)
