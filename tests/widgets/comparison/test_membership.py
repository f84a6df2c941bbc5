"""The section of the membership attack: its threshold and the riskiest examples."""

import re

import pytest

import unlearnkit as uk
from cases import CASES
from panels import compare, opened
from unlearnkit.evaluation import membership
from unlearnkit.evaluation.shard_attack import attack_shards
from unlearnkit.widgets import PANELS
from unlearnkit.widgets.comparison.membership import MembershipView


def text(prose):
    return re.sub(r"<[^>]+>", " ", prose.html)


def test_the_threshold_sweeps_and_the_riskiest_are_listed(panel):
    found = opened(panel, MembershipView)
    losses = membership.membership_losses(panel.comparison)
    for share in (0.0, 40.0, 100.0):
        found.slider.value = share
        threshold = membership.threshold_at(losses, share / 100)
        rates = membership.rates(losses, "unlearned", threshold)
        assert found.losses.view.spec["layout"]["shapes"][0]["x0"] == pytest.approx(threshold)
        mark = found.roc.view.spec["data"][3]
        assert (mark["x"], mark["y"]) == ([rates.false], [rates.true])
        assert f"Unlearned: {rates.true:.1%} of forgotten" in text(found.summary)
        assert f"threshold_at(losses, {share / 100:g}, 'unlearned')" in found._code_line.code
    riskiest = membership.riskiest(losses)["id"].tolist()
    assert len(riskiest) == 3
    listed = re.findall(r"<tr><td[^>]*>(\d+)</td>", found.risks.html)
    assert [int(i) for i in listed] == riskiest
    shard = found.shard.options[1][1]
    found.shard.value = shard
    listed = re.findall(r"<tr><td[^>]*>(\d+)</td>", found.risks.html)
    lost = panel.comparison.forgotten_of(shard).tolist()
    assert sorted(int(i) for i in listed) == lost and len(lost) < 3
    assert f"session.compare(), session.dataset, {shard})" in found._code_line.code


def test_every_constituent_is_attacked_beside_the_retrained_one(panel):
    found = opened(panel, MembershipView)
    for rate in (0.01, 0.001):
        found.rate.value = rate
        frame = attack_shards(panel.comparison, rates=(rate,), each=True)
        drawn = found.shards.view.spec
        labels = drawn["layout"]["yaxis"]["ticktext"]
        assert sorted(labels[1:]) == [f"shard {shard}" for shard in panel.comparison.shards]
        whole = frame[(frame["shard"] == "all") & (frame["models"] == "scratch")].iloc[0]
        assert f"retrained {whole['true_rate']:.1%}" in text(found.worst)
        assert "test examples are few for this rate" in text(found.worst)
        assert "Worst shard, unlearned" in text(found.worst) and ", p " in text(found.worst)
        assert f"rates=({rate:g},), each=True)" in found._code_line.code


def test_a_single_shard_has_nothing_to_compare_it_with():
    data = CASES["uneven"].dataset()
    session = uk.Session(data, model="logistic", num_shards=1, num_slices=2, epochs=2)
    session.train()
    session.revoke(data.train.ids[:3])
    session.unlearn(1.0)
    panel = PANELS["comparison"](session)
    compare(panel)
    found = opened(panel, MembershipView)
    assert panel.error is None and "No constituent can be attacked" in text(found.worst)
    assert found.shards.widget.layout.display == "none"
