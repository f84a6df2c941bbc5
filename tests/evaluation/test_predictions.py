"""Predictions compared, against counting by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from comparisons import compared
from unlearnkit.evaluation import membership, predictions
from unlearnkit.evaluation.comparison import MODELS, PARTS
from unlearnkit.metrics.metrics import output_kl


def test_confusion_and_classes_are_counts(mixed):
    comparison, _ = mixed
    predicted = {name: comparison.outputs[name].test.argmax(1).numpy() for name in MODELS}
    for model in ("unlearned", "original"):
        table = predictions.prediction_confusion(comparison, model)
        expected = confusion_matrix(predicted["scratch"], predicted[model], labels=range(3))
        assert table.tolist() == expected.tolist()
        assert 1 - np.trace(table) / table.sum() == pytest.approx(comparison.churn[model])
    with pytest.raises(
        KeyError, match="no part is named 'probe'; choose from forget, retain, test"
    ):
        predictions.prediction_confusion(comparison, part="probe")


@pytest.mark.parametrize("part", PARTS)
def test_classes_add_up_to_the_whole(mixed, part):
    comparison, _ = mixed
    frame = predictions.class_agreement(comparison, part)
    weights = frame["examples"] / frame["examples"].sum()
    assert frame["examples"].sum() == len(comparison.ids[part])
    for model in MODELS:
        whole = comparison.accuracies.loc[model, part]
        assert (weights * frame[model]).sum() == pytest.approx(whole)
    for model in MODELS[:2]:
        outputs = comparison.outputs
        whole = output_kl(getattr(outputs["scratch"], part), getattr(outputs[model], part))
        assert (weights * frame[f"{model}_kl"]).sum() == pytest.approx(whole)


def test_most_changed_are_the_greatest_divergences(mixed):
    comparison, _ = mixed
    frame = predictions.most_changed(comparison, "retain", most=5)
    p, q = (comparison.outputs[name].retain.double() for name in ("scratch", "unlearned"))
    every = torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(1)
    assert frame["kl"].tolist() == pytest.approx(every.sort(descending=True).values[:5].tolist())
    place = comparison.ids["retain"].tolist().index(frame["id"][0])
    assert int(every.argmax()) == place
    assert frame["label"][0] == comparison.labels["retain"][place]
    assert frame["unlearned"][0] == q[place].argmax() and frame["scratch_p"][0] == p[place].max()


def test_nothing_changed_where_all_is_exact():
    comparison, _ = compared("uneven", 1.0)
    assert comparison.bit_identical
    assert predictions.most_changed(comparison).empty
    assert len(predictions.most_changed(comparison, model="original"))
    assert (membership.riskiest(membership.membership_losses(comparison))["excess"] == 0).all()
