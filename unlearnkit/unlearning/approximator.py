"""Bundles the method, amend, probe and error model for the approximate part of a request."""

from dataclasses import dataclass

from unlearnkit.approximate import Amend, Method, Replay
from unlearnkit.approximate.defaults import default_method
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import Probe


@dataclass(frozen=True, eq=False)
class Approximator:
    """How shards are modified, and how the results are judged.

    Attributes:
        method: modifies the parameters.
        amend: continues training afterwards.
        probe: held-out examples on which approximations are checked; it may be empty.
        error_model: the error model, fitted to past repayments.
    """

    method: Method
    amend: Amend
    probe: Probe
    error_model: ErrorModel

    @classmethod
    def of(
        cls,
        plan: Plan,
        method: Method | None = None,
        amend: Amend | None = None,
        *,
        probe: Probe | None = None,
        error_model: ErrorModel = ErrorModel(),
    ) -> "Approximator":
        """Build an approximator, with defaults that suit a plan.

        Args:
            plan: plan whose model and shards determine the default method.
            method: the method of modification; by default that of
                :func:`~unlearnkit.approximate.defaults.default_method`.
            amend: the amend run after the method; by default a replay from the last tail.
            probe: the probe; empty by default, in which case only corrections are checked.
            error_model: the error model; empty by default, so that no error is bounded.
        """
        if probe is None:
            nothing = plan.examples[plan.partition.ids[:0]]
            probe = Probe(plan.architecture, plan.spec.loss, *nothing)
        return cls(method or default_method(plan), amend or Replay(), probe, error_model)
