"""Influence with a fixed damping: one Newton-like step from every stored state.

To remove k of n examples from a model that minimises their mean loss plus (lambda/2) |w|^2, Koh and
Liang 2017 (Understanding Black-box Predictions via Influence Functions, section 2.1) upweight each
of them by -1/n. To first order this changes the parameters by

    D = (1/n) H^-1 sum_forget grad loss = (k/n) H^-1 g_F,        H = G + (lambda + damping) I,

with g_F the mean forget gradient. The damping is needed if the model is not a minimiser or the
Hessian is not positive definite (section 4.2). H and the damping have units of loss per squared
parameter. The system is solved by conjugate gradients (section 3).

Deviations from the source: G is the Gauss-Newton matrix instead of the Hessian, on a sample of the
retained examples instead of all; each stored state gets its own step, from the slices up to its
stage. The damping is one number for all stages, while staged influence derives 1/h from the
effective time of training.
"""

from dataclasses import dataclass

from unlearnkit.approximate.curvature import conjugate_gradients, gauss_newton, mean_gradient
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import Routes, refusal
from unlearnkit.approximate.stored_states import Size, StoredState
from unlearnkit.models.vector import flatten, trainable_names, unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class FixedDamping:
    """The influence step with the same damping for all stored states.

    Attributes:
        damping: added to the curvature in addition to weight decay; 0 or more.
        examples: upper limit of retained examples for G.
        iterations: upper limit of conjugate gradient iterations.
        tolerance: relative residual at which conjugate gradients stop.
    """

    damping: float = 0.03
    examples: int = 512
    iterations: int = 20
    tolerance: float = 0.01

    def __call__(self, given: ShardRound, stored: StoredState) -> tuple[State, int]:
        """See :class:`~unlearnkit.approximate.stored_states.Rule`."""
        plan, module = given.state.plan, given.state.plan.architecture.module()
        names, loss = trainable_names(module), plan.spec.loss
        k, n = len(stored.forget), len(stored.forget) + len(stored.retain)
        gradient = mean_gradient(
            module, stored.state, names, *given.state.data(stored.forget), loss
        )
        sample, _ = given.state.data(stored.retain.sample(self.examples, given.generator))
        curved = gauss_newton(module, stored.state, names, sample, loss)
        damping = plan.spec.weight_decay + self.damping
        solved = conjugate_gradients(
            lambda v: curved(v) + damping * v,
            k / n * gradient,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        moved = flatten(stored.state, names) + solved.x
        values = unflatten(moved, stored.state, names)
        state = plan.architecture.moved(stored.state, values)
        return state, k + len(sample) * (1 + solved.iterations)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count one gradient, a linearisation and all products."""
        products = 1 + self.iterations
        return 1 + products, size.forget + min(self.examples, size.retain) * products

    def unsuitable(self, plan: Plan) -> str:
        """Refuse modules and losses without curvature products; the training does not matter."""
        routes = Routes(plan)
        return refusal(
            "the influence step needs curvature products", routes.loss or routes.products
        )
