"""Single-gradient unlearning: add back the forget set's gradients at the initial weights.

Thudi, Deza, Chandrasekaran and Papernot 2022, Unrolling SGD: Understanding Factors Influencing
Machine Unlearning. To first order around the initial weights w_0, m epochs of SGD with batch size b
are one long step along the sum of all gradients at w_0. Forgetting x undoes its contribution:

    w + eta (m / b) grad loss(x; w_0),        eta the learning rate.

For k of n examples this is eta T (k/n) times their mean gradient g_F, with T = m n / b the number
of steps. With momentum, eta T becomes the effective time h, in units of the learning rate.

Deviations from the source: w_0 is the start of each segment between two optimizer resets, not of
the whole run, and the contributions of all segments up to a stored state are added,
D += h (k/n) g_F. This is staged influence without curvature and without the larger weight that the
retained examples receive.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.baselines.trajectory import only_sgd
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.routes import Routes, refusal
from unlearnkit.approximate.segments import Segment
from unlearnkit.approximate.stored_states import Size, initial_state
from unlearnkit.models.vector import trainable_names
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class SingleGradient:
    """Add the forget gradient at the start of a segment, times the segment's effective time."""

    def __call__(
        self, given: ShardRound, segment: Segment, before: Float[Tensor, " parameter"]
    ) -> tuple[Float[Tensor, " parameter"], int]:
        """See :class:`~unlearnkit.approximate.baselines.trajectory.Advance`."""
        plan, forget = given.state.plan, given.forget.until(segment.stage)
        module = plan.architecture.module()
        start = initial_state(given) if segment.start is None else segment.start
        data = given.state.data(forget)
        g = mean_gradient(module, start, trainable_names(module), *data, plan.spec.loss)
        share = segment.num_forget / (segment.num_forget + segment.num_retain)
        return before + segment.path_time * share * g, len(forget)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """Count one gradient of the forget set."""
        return 1, size.forget

    def unsuitable(self, plan: Plan) -> str:
        """Refuse optimizers other than SGD, and modules without gradients in all parameters."""
        needs = "the single gradient needs the gradient of all parameters"
        return only_sgd("the single gradient", plan) or refusal(needs, Routes(plan).gradients)
