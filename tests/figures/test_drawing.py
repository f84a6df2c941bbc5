"""Figures as objects: drawing changes nothing, and they show themselves."""

import json

import numpy as np
import torch

from unlearnkit import figures
from unlearnkit.evaluation import membership, parameters, predictions
from unlearnkit.figures.drawing import PLOTLY
from unlearnkit.figures.still import as_image
from worker import contents


def test_drawing_leaves_the_session_alone(session, compared):
    def state():
        weights = contents(session.store)
        return weights, torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()

    before = state()
    figures.workload_map(session.workload(), session.preview(0.3))
    figures.boundary_bars(session.workload(), session.preview(0.3), 0.3)
    for draw in (figures.comparison_accuracy, figures.layer_distances, figures.output_divergence):
        draw(compared)
    assert state() == before


def test_a_spec_is_the_figure_without_validation(session):
    workload = session.workload()
    spec = figures.workload_map.spec(workload)
    drawn = figures.workload_map(workload).to_plotly_json()
    assert drawn["data"] == spec["data"]


def test_a_figure_shows_itself_without_plotlys_server_and_as_a_picture(session):
    figure = figures.boundary_bars(session.workload(), session.preview(0.3), 0.3)
    bundle = figure._repr_mimebundle_()
    assert bundle[PLOTLY]["config"]["plotlyServerURL"] == ""
    assert "sendChartToCloud" in bundle[PLOTLY]["config"]["modeBarButtonsToRemove"]
    assert len(json.dumps(bundle[PLOTLY])) < 10_000
    shown = bundle["text/html"]
    assert "<script" not in shown and "cdn" not in shown
    assert 'alt="Cost of retraining each shard' in shown
    for name in figure.layout.xaxis.categoryarray:
        assert f"<td>{name}</td>" in shown
    assert callable(getattr(figure, "_ipython_display_", None)) is False


def test_every_figure_is_plain_json(mixed):
    comparison, dataset, exact, approximate = mixed
    names = dataset.class_names
    frame = predictions.class_agreement(comparison, "forget")
    losses = membership.membership_losses(comparison)
    specs = [
        *(
            draw.spec(parameters.parameter_sample(comparison, shard))
            for draw in (figures.parameter_scatter, figures.shift_scatter)
            for shard in (exact, approximate)
        ),
        figures.shift_histogram.spec(parameters.shifts(comparison, exact)),
        figures.class_accuracy.spec(frame, names, "forget"),
        figures.class_divergence.spec(frame, names, "forget"),
        figures.membership_losses.spec(losses, "original", 0.0),
        figures.membership_roc.spec(membership.roc_curves(losses), membership.roc_areas(losses)),
        figures.prediction_confusion.spec(predictions.prediction_confusion(comparison), names),
    ]
    for spec in specs:
        json.dumps(spec, allow_nan=False)
        assert as_image(spec), spec["layout"]["title"]
