"""The section of the membership attack: its threshold and the riskiest examples."""

import re

import pytest

from panels import opened
from unlearnkit.evaluation import membership
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
