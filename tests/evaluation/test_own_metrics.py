"""A metric of one's own stands in comparisons, their panel and studies, or is refused by name."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnkit as uk
from panels import opened
from unlearnkit.metrics.metrics import (
    BUILT_IN,
    METRICS,
    TABLE_COLUMNS,
    Measure,
    column_of,
    measure_all,
    try_metrics,
)
from unlearnkit.widgets.comparison.overview import MeasuresView, ScoresView
from unlearnkit.widgets.comparison.panel import ComparisonPanel


def total_variation(a, b, data):
    value = (a - b).abs().sum(-1).mean() / 2
    return Measure("total-variation", value, "lower", "half the L1 distance")


def session(target="class"):
    features = np.random.default_rng(0).normal(size=(300, 4)).astype("float32")
    labels = (features[:, 0] > 0).astype(int) if target == "class" else features[:, 0]
    session = uk.Session((features, labels), epochs=2, hidden=(4,))
    session.train()
    session.revoke(count=20)
    session.unlearn(0)
    return session


@pytest.fixture
def entered(monkeypatch):
    monkeypatch.setitem(METRICS, "total-variation", total_variation)


def test_it_stands_in_the_comparison_and_its_panel(entered):
    compared = session()
    result = compared.compare()
    frame = result.to_frame()
    outputs = {name: each.test for name, each in result.outputs.items()}
    for model in ("original", "unlearned"):
        expected = float((outputs[model] - outputs["scratch"]).abs().sum(1).mean() / 2)
        assert frame.loc[model, "total_variation"] == pytest.approx(expected) and expected > 0
    assert frame.loc["scratch", "total_variation"] == 0
    assert "total-variation" in repr(result) and "total_variation" in result._repr_html_()
    parts = result.measures.query("metric == 'total-variation' and model == 'unlearned'")
    assert list(parts["part"]) == ["forget", "retain", "test"] and parts["value"].notna().all()
    panel = ComparisonPanel(compared)
    panel._finished(result)
    shown = opened(panel, MeasuresView).measures.html
    assert "total-variation" in shown and "half the L1 distance" in shown
    outputs = opened(panel, ScoresView).outputs
    saved = pd.read_csv(io.StringIO(outputs.export.csv()), index_col="model")
    assert saved["total_variation"].tolist() == pytest.approx(frame["total_variation"].tolist())


def test_our_metrics_come_by_the_same_way():
    result = session().compare()
    frame, outputs, labels = result.to_frame(), result.outputs, result.labels["test"]
    own = measure_all(outputs["unlearned"].test, outputs["scratch"].test, labels)
    assert frame.loc["unlearned", "output_kl"] == own["output-kl"].value
    assert own["output-kl"].value == result.output_kl["unlearned"]
    assert frame.loc["unlearned", "churn"] == own["churn"].value == result.churn["unlearned"]
    gap = frame["test_accuracy"]["unlearned"] - frame["test_accuracy"]["scratch"]
    assert frame.loc["unlearned", "accuracy_gap"] == pytest.approx(gap)
    assert not any(" " in column or column != column.lower() for column in frame)


def test_metrics_of_classes_leave_a_regression_alone(entered):
    result = session("number").compare()
    assert {"output_kl", "total_variation"} <= set(result.to_frame())
    assert not {"churn", "accuracy_gap"} & set(result.to_frame())
    assert result.to_frame().loc["unlearned", "output_kl"] == result.output_kl["unlearned"]
    missing = result.measures.query("metric == 'churn'")
    assert missing["value"].isna().all() and set(missing["note"]) == {"a regression has no classes"}


@pytest.mark.parametrize(
    ("metric", "kind", "message"),
    [
        (lambda a, b, data: 1 / 0, ValueError, "the metric 'mine' failed with ZeroDivisionError"),
        (lambda a, b: 0.0, ValueError, "the metric 'mine' failed with TypeError"),
        (lambda a, b, data: 0.5, TypeError, "the metric 'mine' returned a float; return a"),
    ],
)
def test_one_that_fails_is_named_before_anything_is_trained(monkeypatch, metric, kind, message):
    compared = session()
    monkeypatch.setitem(METRICS, "mine", metric)
    events = []
    with pytest.raises(kind, match=message):
        compared.compare(on_progress=events.append)
    assert not events
    with pytest.raises(kind, match=message):
        uk.study("digits", models=["logistic"], revoked=[1], on_progress=events.append)
    assert not events


def test_without_examples_no_metric_is_called(monkeypatch):
    monkeypatch.setitem(METRICS, "mine", lambda a, b, data: 1 / 0)
    empty = torch.zeros(0, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure = measure_all(empty, empty, torch.zeros(0, dtype=torch.long))["mine"]
    assert np.isnan(measure.value) and measure.note == "no examples"


def test_a_study_has_a_column_of_it_also_for_rows_measured_before(tmp_path, monkeypatch):
    settings = {"models": ["logistic"], "epochs": 1, "revoked": [3], "policies": ["fixed"]}
    path = tmp_path / "study.jsonl"
    features = np.random.default_rng(0).normal(size=(300, 4))
    data = features, (features[:, 0] > 0).astype(int)
    before = uk.study(data, path=path, **settings)
    monkeypatch.setitem(METRICS, "total-variation", total_variation)
    after = uk.study(data, path=path, **settings)
    new = set(after) - set(before)
    assert new == {"total_variation", "total_variation_of_nothing"}
    assert after.loc[after["policy"] == "exact", "total_variation"].tolist() == [0]
    assert (after["total_variation_of_nothing"] > 0).all()
    again = uk.read_study(path)
    assert len(again) == len(after) and again["total_variation"].notna().all()


def measure(**changed):
    given = {"value": 0.5, "direction": "lower", "source": "a test", **changed}
    return lambda a, b, data: Measure("mine", **given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"value": "x"}, "'mine' returned a Measure with value='x'; give one number"),
        ({"value": None}, "value=None; give one number"),
        ({"value": torch.zeros(2)}, r"value=tensor\(\[0., 0.\]\); give one number"),
        ({"interval": 0.1}, r"interval=0.1; give \(low, high\), or None"),
        ({"interval": (0, 1, 2)}, r"interval=\(0, 1, 2\); give"),
        ({"direction": "max"}, "direction='max'; give 'lower', 'higher' or 'zero'"),
        ({"source": None}, "source=None; give a string"),
    ],
)
def test_a_measure_of_wrong_parts_is_refused_when_metrics_are_tried(monkeypatch, changed, message):
    monkeypatch.setitem(METRICS, "mine", measure(**changed))
    with pytest.raises(ValueError, match=message):
        try_metrics(torch.tensor([0, 1]), 2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, "fill the column") for name in ("seconds", "speed", "policy", "output_kl")),
        *((name, "fill the column") for name in ("debt", "membership-auc", "test accuracy")),
        ("accuracy_gap", "the metric 'accuracy-gap' has the same column 'accuracy_gap'"),
        *((name, "no letter or digit") for name in ("!!!", "")),
    ],
)
def test_a_name_of_another_column_is_refused_when_metrics_are_tried(monkeypatch, name, reason):
    monkeypatch.setitem(METRICS, name, measure())
    with pytest.raises(ValueError, match=reason):
        try_metrics(torch.tensor([0, 1]), 2)


@pytest.mark.parametrize("target", ["class", "number"])
def test_the_reserved_names_are_the_columns_that_the_tables_fill(target):
    compared = session(target)
    built_in = {column_of(metric.name) for metric in BUILT_IN}
    assert set(compared.compare().to_frame()) - built_in <= TABLE_COLUMNS
    table = uk.study(compared.dataset, models=["logistic"], epochs=1, revoked=[3])
    assert set(table) <= TABLE_COLUMNS


def test_a_metric_that_works_in_place_changes_nothing_else(monkeypatch):
    def zeroing(a, b, data):
        for tensor in (a, b, data):
            tensor.zero_()
        return measure()(a, b, data)

    monkeypatch.setitem(METRICS, "mine", zeroing)
    a, b, labels = torch.eye(3), torch.eye(3)[[0, 2, 1]], torch.arange(3)
    assert measure_all(a, b, labels)["mine"].value == 0.5
    assert torch.equal(a, torch.eye(3)) and labels.tolist() == [0, 1, 2]


def test_without_metrics_a_comparison_is_still_shown(monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", {})
    compared = session()
    result = compared.compare()
    assert "bit-identical" in repr(result) and "test_accuracy" in result.to_frame()
    panel = ComparisonPanel(compared)
    panel._finished(result)
    assert "uk.METRICS" in opened(panel, MeasuresView).measures.html


def test_a_metric_without_a_value_stays_in_the_table(monkeypatch):
    monkeypatch.setitem(METRICS, "mine", measure(value=float("nan")))
    frame = session().compare().to_frame()
    assert frame["mine"].isna().all()


def test_a_study_measures_a_replaced_metric_again_and_forgets_a_removed_one(tmp_path, monkeypatch):
    features = np.random.default_rng(0).normal(size=(300, 4))
    data = features, (features[:, 0] > 0).astype(int)
    settings = {"models": "logistic", "epochs": 1, "revoked": 3, "path": tmp_path / "study.jsonl"}
    monkeypatch.setitem(METRICS, "mine", measure(value=1.0))
    assert (uk.study(data, **settings)["mine"] == 1).all()
    size = settings["path"].stat().st_size
    monkeypatch.setitem(METRICS, "mine", measure(value=1.0))  # an equal function
    assert (uk.study(data, **settings)["mine"] == 1).all()
    assert settings["path"].stat().st_size == size
    monkeypatch.setitem(METRICS, "mine", measure(value=2.0))
    assert (uk.study(data, **settings)["mine"] == 2).all()
    monkeypatch.delitem(METRICS, "mine")
    assert not {"mine", "mine_of_nothing"} & set(uk.study(data, **settings))
    monkeypatch.setitem(METRICS, "churn", measure(value=3.0))
    assert (uk.study(data, **settings)["churn"] == 3).all()
    monkeypatch.setitem(METRICS, "churn", BUILT_IN[2])
    assert (uk.study(data, **settings)["churn"] < 3).all()


def test_a_file_refuses_a_metric_that_only_an_address_identifies(tmp_path, monkeypatch):
    class Mine:
        __call__ = staticmethod(measure())

    monkeypatch.setitem(METRICS, "mine", Mine())
    with pytest.raises(ValueError, match=r"the metric <.*Mine object at 0x.* make it a frozen"):
        uk.study("digits", path=tmp_path / "study.jsonl")
