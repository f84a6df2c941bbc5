"""Dampening, computed by hand."""

import torch

from rounds import one_stored_state, uneven_session
from unlearnkit.approximate import (
    Dampening,
)
from unlearnkit.approximate.stored_states import pool_of


def test_dampening_by_hand():
    """Logistic regression: the gradient of one example is (p - e_t) x^T, by hand in loops."""
    session = uneven_session("logistic")
    given, stored = one_stored_state(session, 2)
    rule = Dampening(alpha=1.2, lambda_=0.7, examples=10**6)
    found, _ = rule(given, stored)
    w, b = (stored.state[f"1.{part}"].double() for part in ("weight", "bias"))
    squares = []
    for members in (stored.forget, pool_of(stored)):
        inputs, labels = given.state.data(members)
        total = torch.zeros(w.shape[0], w.shape[1] + 1, dtype=torch.float64)
        for x, y in zip(inputs.double(), labels, strict=True):
            p = (w @ x + b).softmax(0)
            p[y] -= 1
            total += torch.outer(p, torch.cat([x, torch.ones(1)])) ** 2 / len(inputs)
        squares.append(total)
    expected = torch.cat([w, b[:, None]], 1)
    dampened = 0
    for i in range(expected.shape[0]):
        for j in range(expected.shape[1]):
            forget, training = float(squares[0][i, j]), float(squares[1][i, j])
            if forget > 1.2 * training:
                expected[i, j] *= min(0.7 * training / forget, 1)
                dampened += 1
    assert 0 < dampened < expected.numel()
    ours = torch.cat([found["1.weight"], found["1.bias"][:, None]], 1)
    assert torch.allclose(ours.double(), expected, rtol=1e-4, atol=1e-6)
