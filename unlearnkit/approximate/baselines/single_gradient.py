"""Single-gradient unlearning: give back the pull of the forget set, as it was at the start.

Thudi, Deza, Chandrasekaran and Papernot 2022, Unrolling SGD: Understanding Factors Influencing
Machine Unlearning. To first order around its first weights w_0, m epochs of SGD in batches of b are
one long step along the sum of all gradients at w_0. Forgetting x then gives its part back:

    w + eta (m / b) grad loss(x; w_0),        eta the learning rate.

Over k of n examples that is eta T (k/n) times their mean gradient g_F, T = m n / b being the number
of steps; with momentum eta T becomes the effective time h, a number in units of the learning rate.

How it deviates: w_0 is the start of each segment between two resets of the optimizer, not of the
whole run, and the pulls of all segments until a stored state are added up, D += h (k/n) g_F. That
is staged influence without its curvature, and without what the retained examples then pull more.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from unlearnkit.approximate.baselines.trajectory import only_sgd
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.protocol import ShardRound
from unlearnkit.approximate.segments import Segment
from unlearnkit.approximate.stored_states import Size, untrained
from unlearnkit.models.vector import trainable_names
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class SingleGradient:
    """The forget gradient at the start of a segment, times the time that was trained on it."""

    def __call__(
        self, given: ShardRound, segment: Segment, before: Float[Tensor, " parameter"]
    ) -> tuple[Float[Tensor, " parameter"], int]:
        """See :class:`~unlearnkit.approximate.baselines.trajectory.Advance`."""
        plan, forget = given.state.plan, given.forget.until(segment.stage)
        module = plan.architecture.module()
        start = untrained(given) if segment.start is None else segment.start
        data = given.state.data(forget)
        g = mean_gradient(module, start, trainable_names(module), *data, plan.spec.loss)
        share = segment.num_forget / (segment.num_forget + segment.num_retain)
        return before + segment.path_time * share * g, len(forget)

    def cost(self, plan: Plan, size: Size) -> tuple[int, int]:
        """One gradient."""
        return 1, size.forget

    def unsuitable(self, plan: Plan) -> str:
        """Refuse other optimizers than SGD."""
        return only_sgd("the single gradient", plan)
