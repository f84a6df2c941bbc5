"""Regression: targets, the measures against computations of another kind, and every panel."""

import re

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import mean_squared_error, r2_score, roc_auc_score
from torch import nn
from torch.utils.data import TensorDataset

import unlearnkit as uk
from cases import CASES
from unlearnkit import METHODS
from unlearnkit.evaluation import membership, predictions
from unlearnkit.selection.example_map import example_table
from unlearnkit.widgets.comparison.predictions import TargetView

RNG = np.random.default_rng(3)

FEATURES = RNG.normal(size=(40, 3)).astype(np.float32)

TARGETS = 100 + 30 * FEATURES[:, 0] + RNG.normal(size=40)


@pytest.fixture(autouse=True)
def close_widgets():
    """Close what a test opened: ipywidgets keeps every open widget alive, to the very exit."""
    yield
    ipywidgets.Widget.close_all()


def unlearned(max_share=0.0, **options):
    session = uk.Session("diabetes", epochs=6, **options)
    session.train()
    session.revoke(count=12)
    session.unlearn(max_share)
    return session


def test_fractions_are_targets_scaled_by_constants() -> None:
    data = uk.from_arrays(FEATURES, TARGETS, target_offset=100, target_scale=30)
    assert data.is_regression and (data.num_classes, data.num_outputs) == (0, 1)
    ids = [5, 31, 7]
    _, rows = data.examples(ids)
    assert rows.dtype == torch.float32
    np.testing.assert_allclose(rows[:, 0].numpy(), (TARGETS[ids] - 100) / 30, rtol=1e-6)
    np.testing.assert_allclose(data.in_units(rows)[:, 0].numpy(), TARGETS[ids], rtol=1e-6)
    np.testing.assert_allclose(sorted(data.to_frame()["target"]), sorted(TARGETS), rtol=1e-6)
    other = uk.from_arrays(FEATURES, TARGETS, target_offset=90, target_scale=30)
    assert other.fingerprint != data.fingerprint


def test_several_targets_have_constants_each() -> None:
    both = np.stack([TARGETS, -TARGETS], 1)
    names = ("up", "down")
    data = uk.from_arrays(FEATURES, both, target_scale=[30, 10], target_names=names)
    assert data.num_outputs == 2 and "2 targets" in repr(data)
    np.testing.assert_allclose(data.examples([4])[1][0].numpy(), both[4] / [30, 10], rtol=1e-6)


def test_frames_files_and_torch_datasets_have_targets_too(tmp_path) -> None:
    frame = pd.DataFrame(FEATURES, columns=list("abc")).assign(price=TARGETS)
    whole = uk.from_arrays(FEATURES, TARGETS, target_scale=30)
    data = uk.from_frame(frame, "price", target_scale=30)
    assert data.fingerprint == whole.fingerprint and data.target_names == ("price",)
    frame.to_csv(tmp_path / "prices.csv", index=False)
    assert uk.from_file(tmp_path / "prices.csv", "price").is_regression
    pairs = TensorDataset(torch.from_numpy(FEATURES), torch.from_numpy(TARGETS))
    assert uk.from_torch(pairs, target_scale=30).fingerprint == whole.fingerprint
    two = TensorDataset(torch.from_numpy(FEATURES), torch.rand(40, 2))
    assert uk.from_torch(two).num_outputs == 2
    whole_numbers = frame.assign(price=TARGETS.round().astype(int))
    assert uk.from_frame(whole_numbers, "price", task="regression").is_regression


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        (TARGETS.round(), {}, "classes or targets; give task='regression'"),
        (TARGETS, {"task": "ranking"}, "task='ranking' is not known"),
        (TARGETS, {"task": "regression", "num_classes": 2}, "leave them out"),
        (TARGETS, {"target_scale": 0}, "target_scale=0; give finite constants"),
        (TARGETS, {"target_scale": [1, 2]}, "2 constants for 1 targets"),
        (
            TARGETS,
            {"test": (FEATURES, np.stack([TARGETS] * 2, 1))},
            "same number of targets in every part",
        ),
        (TARGETS * np.nan, {}, "40 of 40 rows have a label that is NaN"),
        (TARGETS * 0 + 0.5, {}, "all targets are equal"),
        (np.arange(40) % 2, {"target_scale": 3}, "give task='regression', or leave them out"),
    ],
)
def test_bad_targets(targets, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        uk.from_arrays(FEATURES, targets, **options)


def test_the_linear_model_learns_what_least_squares_finds() -> None:
    session = uk.Session("diabetes", model="logistic", num_shards=1, num_slices=1, epochs=300)
    assert session.plan.architecture.name == "linear" and session.spec.loss == uk.SquaredError()
    session.train()
    data = session.dataset
    inputs, targets = data.train.inputs().double(), data.train.labels.double()
    design = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)
    weights = torch.linalg.lstsq(design, targets).solution
    test, truth = data.examples(data.test.ids)
    fitted = torch.cat([test.double(), torch.ones(len(test), 1)], 1) @ weights
    score = session.score()["test"]
    # Minibatch noise and a small weight decay are what is between the two.
    assert score == pytest.approx(r2_score(truth, fitted), abs=0.03)
    predicted = session.ensemble.predict(test)
    assert predicted.shape == (89, 1)
    assert score == pytest.approx(r2_score(truth, predicted), rel=1e-5)


def test_an_ensemble_predicts_the_mean_and_does_not_vote() -> None:
    session = CASES["regression-norm"].session()
    session.train()
    inputs, _ = session.dataset.examples(session.dataset.test.ids)
    alone = [session.plan.architecture.module(c.state) for c in session.ensemble.constituents]
    with torch.no_grad():
        mean = sum(module(inputs) for module in alone) / len(alone)
    torch.testing.assert_close(session.ensemble.predict(inputs), mean)
    with pytest.raises(ValueError, match="counts votes for classes, and a regression has none"):
        CASES["regression"].session(aggregation="majority-vote")


def test_what_is_for_classes_names_the_way_out() -> None:
    session = unlearned(model="linear")
    with pytest.raises(ValueError, match=r"session\.score\(\) gives its R2"):
        session.accuracy()
    with pytest.raises(ValueError, match="chooses a class, and diabetes is a regression"):
        session.revoke(label=3)
    with pytest.raises(TypeError, match="squared-error for float targets"):
        uk.Session("diabetes", loss="cross-entropy")
    comparison = session.compare()
    with pytest.raises(ValueError, match=r"comparison\.scores holds its RMSE"):
        comparison.accuracies  # noqa: B018
    for function in (predictions.prediction_confusion, predictions.class_agreement):
        with pytest.raises(ValueError, match="needs classes, but this is a regression"):
            function(comparison)


def test_a_comparison_measures_what_it_says() -> None:
    session = unlearned(model="mlp")
    data, comparison = session.dataset, session.compare()
    outputs = {name: comparison.outputs[name].test.double() for name in comparison.outputs}
    for name in ("original", "unlearned"):
        moved = (outputs[name] - outputs["scratch"]).square().mean() / 2
        assert comparison.output_kl[name] == pytest.approx(float(moved), rel=1e-9)
    assert 0 < comparison.output_kl["unlearned"] < comparison.output_kl["original"]
    truth = data.in_units(data.test.labels).numpy()
    predicted = data.in_units(comparison.outputs["scratch"].test).numpy()
    rmse = mean_squared_error(truth, predicted) ** 0.5
    assert comparison.scores["test"]["scratch"] == pytest.approx(rmse, rel=1e-5)
    assert "test_rmse" in comparison.to_frame() and not comparison.churn
    errors = [
        (data.examples(comparison.ids[part])[1] - getattr(comparison.outputs["unlearned"], part))
        for part in ("forget", "test")
    ]
    members = np.concatenate([np.ones(len(errors[0])), np.zeros(len(errors[1]))])
    score = -torch.cat(errors).double().square().flatten().numpy()
    auc = roc_auc_score(members, score)
    assert comparison.attacks["unlearned"].auc == pytest.approx(auc, rel=1e-9)
    losses = membership.membership_losses(comparison)
    np.testing.assert_allclose(np.sort(losses["unlearned"]), np.sort(-score / 2), rtol=1e-5)
    frame = predictions.predictions(comparison, data)
    np.testing.assert_allclose(frame["true"], truth[:, 0])
    np.testing.assert_allclose(frame["scratch"], predicted[:, 0])


def test_the_guard_looks_at_predictions() -> None:
    session = unlearned(max_share=0.0, model="mlp")
    checks = session.last.decision.checks
    before, after = session.original.by_shard, session.ensemble.by_shard
    inputs, targets = session.dataset.examples(session.dataset.probe.ids)
    for check in checks:
        outputs = []
        for side in (before, after):
            with torch.no_grad():
                outputs.append(session.plan.architecture.module(side[check.shard].state)(inputs))
        moved = (outputs[0] - outputs[1]).square().sum(1).mean() / 2
        assert check.kl == pytest.approx(float(moved), rel=1e-4)
        loss = [float((each - targets).square().mean()) for each in outputs]
        assert check.rise == pytest.approx(loss[1] / loss[0] - 1, abs=1e-5)
    forgotten = session.fork()
    forgotten.revoke(count=12, seed=1)
    refused = forgotten.unlearn(boundary=uk.AdaptiveBoundary(light=0, min_gain=1, max_drift=1e-9))
    assert not refused.decision.approximate


def test_an_error_is_calibrated_on_predictions() -> None:
    session = unlearned(max_share=0.0, model="mlp")
    approximate = session.ensemble.by_shard
    session.repay()
    inputs, _ = session.dataset.examples(session.dataset.probe.ids)
    errors = sorted(error for _, error in session.error_model.pairs)
    expected = []
    for shard, exact in session.ensemble.by_shard.items():
        with torch.no_grad():
            states = (approximate[shard].state, exact.state)
            a, b = (session.plan.architecture.module(state)(inputs) for state in states)
        expected.append(float((a - b).square().sum(1).mean()) / 2)
    assert errors == pytest.approx(sorted(expected), rel=1e-4)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_takes_targets_or_says_why_not(method) -> None:
    session = CASES["regression-norm"].session()
    session.train()
    session.revoke(session.plan.partition.ids[[3, 8]])
    result = session.unlearn(0.0, method=method)
    assert np.isfinite(list(session.compare().output_kl.values())).all()
    if method == "amnesiac-relabelling":
        assert not result.decision.approximate
        assert "random labels need classes" in result.decision.routes[0].reason


def test_examples_are_chosen_by_their_target() -> None:
    session = uk.Session("diabetes", model="linear", epochs=2)
    session.train()
    request = session.revoke(query="target > 300 and age < 0")
    inputs, targets = session.dataset.examples(request.ids)
    assert len(request) and (session.dataset.in_units(targets) > 300).all()
    assert (inputs[:, 0] < 0).all()
    assert "target" in example_table(session)


def test_a_study_of_a_regression_has_errors_in_place_of_accuracies() -> None:
    frame = uk.study(
        CASES["regression"].dataset(),
        models=["linear"],
        num_shards=[2],
        num_slices=[1],
        epochs=2,
        revoked=[3],
    )
    assert np.isfinite(frame["test_rmse_gap"]).all() and "test_accuracy" not in frame


def test_any_module_learns_targets() -> None:
    data = uk.from_arrays(FEATURES, TARGETS, target_offset=100, target_scale=30)
    session = uk.Session(data, model=lambda: nn.Linear(3, 1), num_shards=2, num_slices=2)
    session.train()
    session.revoke(data.train.ids[:2])
    session.unlearn(1)
    assert session.compare().bit_identical and session.score()["test"] > 0.8
    with pytest.raises(ValueError, match="has 1 classes or targets"):
        uk.Session(data, model=lambda: nn.Linear(3, 2))


def run(panel):
    assert panel.runner.start().wait(60)
    assert panel.error is None
    return panel


def text(prose) -> str:
    return re.sub(r"<[^>]+>", " ", prose.html)


@pytest.mark.parametrize("case", ["regression", "regression-norm"])
def test_every_panel_goes_from_training_to_comparison(case) -> None:
    session = CASES[case].session()
    dashboard = session.dashboard()
    training = run(dashboard["training"])
    assert "R2 of the trained ensemble" in text(training.status)
    assert "R2" in str(training.accuracies.view.figure)

    revocation = dashboard["revocation"]
    assert "by class" not in revocation.mode.options
    revocation.ids.value = ", ".join(map(str, session.plan.partition.ids[[2, 9]]))
    revocation.add.click()
    assert "Targets: " in text(revocation.pending)
    for name in revocation.selectors:
        revocation.mode.value = name
        assert revocation.error is None
    query = revocation.selectors["by query"]
    query.query.value = "target > -10" if case == "regression" else "target_0 > -10"
    assert "training examples found" in text(query.found) and revocation.error is None

    boundary = dashboard["boundary"]
    boundary.instrument.threshold = 0
    run(boundary)
    assert session.last.decision.approximate
    comparison = run(dashboard["comparison"])
    assert "RMSE on test examples" in text(comparison.verdict)
    titles = [section.title for section in comparison.sections]
    assert "Predictions" in titles and "Class by class" not in titles
    for section in comparison.sections:
        section.open = True
        assert comparison.error is None
        exec(section.code, {"session": session, "uk": uk})
    (view,) = (section for section in comparison.sections if type(section) is TargetView)
    assert len(view.changed.html) and view.predicted.view.figure
    assert all(panel.error is None for panel in dashboard.panels.values())
