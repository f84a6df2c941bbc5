"""Membership curves, against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.metrics import auc, roc_auc_score, roc_curve

from cases import CASES
from comparisons import shard_of
from unlearnkit.evaluation import membership
from unlearnkit.evaluation.comparison import MODELS


def test_curves_are_scikit_learns_and_their_area_the_reported_one(mixed):
    comparison, _ = mixed
    losses = membership.membership_losses(comparison)
    truth = losses["part"] == "forget"
    curves = membership.roc_curves(losses)
    for model in MODELS:
        own = curves[curves["model"] == model]
        false, true, _ = roc_curve(truth, -losses[model], drop_intermediate=False)
        assert own["false_positive_rate"].tolist() == pytest.approx(false.tolist())
        assert own["true_positive_rate"].tolist() == pytest.approx(true.tolist())
        area = auc(own["false_positive_rate"], own["true_positive_rate"])
        assert area == pytest.approx(comparison.attacks[model].auc)
        assert area == pytest.approx(roc_auc_score(truth, -losses[model]))
        reported = comparison.attacks[model]
        value, interval = membership.roc_areas(losses)[model]
        assert value == pytest.approx(reported.auc)
        assert interval == pytest.approx(reported.interval)


def test_ties_move_both_rates_at_once():
    members, others = torch.tensor([0.5, 0.5, 1.0]), torch.tensor([0.5, 2.0])
    curve = membership.roc_curve(members, others)
    ranks = rankdata([-0.5, -0.5, -1.0, -0.5, -2.0])
    mann_whitney = (ranks[:3].sum() - 6) / 6
    area = auc(curve["false_positive_rate"], curve["true_positive_rate"])
    assert area == pytest.approx(mann_whitney)
    assert membership.roc_curve(torch.empty(0), others).empty


def test_rates_at_a_threshold_are_counts_on_the_curve(mixed):
    comparison, _ = mixed
    losses = membership.membership_losses(comparison)
    curves = membership.roc_curves(losses)
    for share in (0.0, 0.25, 1.0):
        threshold = membership.threshold_at(losses, share)
        found = membership.rates(losses, "unlearned", threshold)
        test = losses.query("part == 'test'")["unlearned"]
        assert found.false == pytest.approx(max(math.ceil(share * 12), 1) / 12)
        assert threshold in set(test)
        row = curves.query("model == 'unlearned' and threshold == @threshold").iloc[0]
        assert (found.false, found.true) == (row["false_positive_rate"], row["true_positive_rate"])
        low, high = found.true_interval
        assert 0 <= low <= found.true <= high <= 1
    with pytest.raises(ValueError, match=r"share=1.5 and 12 test examples"):
        membership.threshold_at(losses, 1.5)


def test_the_riskiest_are_those_known_better_than_scratch_knows_them(mixed):
    comparison, _ = mixed
    frame = membership.riskiest(membership.membership_losses(comparison))
    assert sorted(frame["id"]) == sorted(comparison.ids["forget"])
    assert frame["excess"].is_monotonic_decreasing
    place = comparison.ids["forget"].tolist().index(frame["id"][0])
    label = int(comparison.labels["forget"][place])
    p = {name: float(comparison.outputs[name].forget[place, label]) for name in MODELS}
    assert frame["label"][0] == label
    assert frame["excess"][0] == pytest.approx(math.log(p["unlearned"] / p["scratch"]), abs=1e-9)
    assert frame["original"][0] == pytest.approx(-math.log(p["original"]), rel=1e-6)


def test_a_constituent_is_attacked_with_what_its_own_shard_lost(mixed):
    comparison, dataset = mixed
    lost = {shard: comparison.forgotten_of(shard) for shard in comparison.shards}
    assert sorted(np.concatenate(list(lost.values()))) == sorted(comparison.ids["forget"])
    for shard, ids in lost.items():
        losses = membership.constituent_losses(comparison, dataset, shard)
        assert losses["id"][losses["part"] == "forget"].tolist() == ids.tolist()
        inputs, labels = dataset.examples(losses["id"].to_numpy())
        for model in MODELS:
            module = comparison.scratch.architecture.module(
                getattr(comparison, model).by_shard[shard].state
            )
            expected = torch.nn.functional.cross_entropy(module(inputs), labels, reduction="none")
            assert losses[model].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        exact = shard == shard_of(comparison, True)
        assert (membership.riskiest(losses)["excess"] == 0).all() == exact


def test_a_shard_that_lost_nothing_in_this_request_has_no_areas():
    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    for shard in (1, 2):
        session.revoke(partition.ids[partition.shard == shard][:1].tolist())
        session.unlearn(0.0)
    comparison = session.compare()
    assert comparison.shards == (1, 2) and comparison.forgotten_of(1).size == 0
    losses = membership.constituent_losses(comparison, session.dataset, 1)
    assert membership.roc_curves(losses).empty and membership.riskiest(losses).empty
    area, interval = membership.roc_areas(losses)["unlearned"]
    assert math.isnan(area) and interval is None
    rates = membership.rates(losses, "unlearned", 1.0)
    assert math.isnan(rates.true) and rates.true_interval is None
