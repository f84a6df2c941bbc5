"""What the approximate part of a request is carried out and judged with."""

from dataclasses import dataclass

from unlearnkit.approximate import Amend, Method, Replay
from unlearnkit.approximate.defaults import default_method
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.error_model import ErrorModel
from unlearnkit.unlearning.inspection import Probe


@dataclass(frozen=True, eq=False)
class Approximator:
    """How shards are modified, and by what the results are judged.

    Attributes:
        method: modifies the parameters.
        amend: trains on afterwards.
        probe: examples on which approximations are inspected; there may be none.
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
        """An approximator with the defaults of a plan for what is not given.

        Args:
            plan: whose model and shards the default method suits.
            method: :func:`~unlearnkit.approximate.defaults.default_method` by default.
            amend: replay of the last epoch by default.
            probe: by default empty, so that only the corrections are judged.
            error_model: empty by default, so that no error is bounded.
        """
        if probe is None:
            nothing = plan.examples[plan.partition.ids[:0]]
            probe = Probe(plan.architecture, plan.spec.loss, *nothing)
        return cls(method or default_method(plan), amend or Replay(), probe, error_model)
