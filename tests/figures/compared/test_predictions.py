"""Figures of predictions."""

import numpy as np
import pytest

from unlearnkit import figures
from unlearnkit.evaluation import predictions
from unlearnkit.evaluation.comparison import MODELS


def test_confusion_has_every_count_once(mixed):
    comparison, dataset, *_ = mixed
    table = predictions.prediction_confusion(comparison, "original")
    figure = figures.prediction_confusion(table, dataset.class_names, "original")
    drawn = sum(np.array([[v or 0 for v in row] for row in trace.z]) for trace in figure.data)
    assert drawn.tolist() == table.tolist()
    differ = table.sum() - np.trace(table)
    assert f"{differ or 'none'} of 12" in figure.layout.title.text


def test_classes_are_drawn_as_measured(mixed):
    comparison, dataset, *_ = mixed
    frame = predictions.class_agreement(comparison)
    for trace, model in zip(
        figures.class_accuracy(frame, dataset.class_names).data, MODELS, strict=True
    ):
        assert list(trace.x) == frame[model].tolist()
    figure = figures.class_divergence(frame, dataset.class_names)
    for trace, model in zip(figure.data, MODELS[:2], strict=True):
        assert list(trace.x) == pytest.approx(frame[f"{model}_kl"].tolist())
    assert list(figure.layout.yaxis.ticktext) == ["a", "b", "c"]
