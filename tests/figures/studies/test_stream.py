"""Figures of a stream of requests."""

import pytest

import unlearnkit as uk
from unlearnkit import figures


def test_a_stream_shows_debt_and_both_costs():
    session = uk.Session("digits", model="logistic", num_shards=2, num_slices=2, epochs=2)
    session.train()
    frame = uk.stream(session, rounds=3, size=4, boundary=uk.FixedBoundary(0.0))
    exact, boundary, debt, retrained = figures.stream_debt(frame).data
    assert list(debt.y) == [4, 8, 12] and not len(retrained.x)
    assert list(exact.y) == pytest.approx(frame["exact_cpu_seconds"].cumsum().tolist())
    assert list(boundary.y) == pytest.approx(frame["cpu_seconds"].cumsum().tolist())
