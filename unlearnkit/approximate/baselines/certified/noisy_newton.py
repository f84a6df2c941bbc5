"""Newton's method with noise: certified removal by (epsilon, delta), for logistic regression.

Guo et al. 2020, Certified Data Removal from Machine Learning Models (arXiv 1911.03030), call a
removal (epsilon, delta)-certified if what it leaves is distributed almost as what training without
the removed examples would leave: for every set S of models,

    P(removed in S) <= exp(epsilon) P(retrained in S) + delta,        and with both exchanged.

Their assumptions are a linear model, a convex loss with bounded derivatives, inputs of norm at most
1, and an L2 penalty. They take one Newton step, bound the gradient that is left by these constants,
and hide it by noise that was added to the training objective.

Here Newton's method goes on until the proven distance |grad F(w)|/lambda to the minimiser w* of the
retained objective is at most ``tolerance`` (:mod:`.newton`), in double precision. Then Gaussian
noise is added to w, of a standard deviation that hides this tolerance (:mod:`.gaussian`), and the
sum is rounded to single precision, which reveals nothing more. The standard deviation follows from
the settings and the numbers of shards and slices alone, so it reveals nothing about any example. A
shard that does not reach the tolerance is refused, and retrained exactly.

**What is certified.** For one request, the states that this method stores for all shards and stages
together are (epsilon, delta)-indistinguishable from the minimisers of the objectives on the
retained examples, plus the same noise. There are at most S R of them, with independent noise, each
within the tolerance, so the noise is that for a distance of tolerance sqrt(S R). For q requests it
is epsilon_of(sqrt(q) mu, delta) instead of epsilon. An amend that trains from these states on the
retained examples, such as a replay, keeps the certificate; distillation, which reads the original
model, does not.

**What is not certified.** The reference is a training that converges, which the default spec does
not. Nothing is said about the models before the request, about states of stages before the first
that is affected, which were trained exactly without the examples, about the partition, the choice
of settings and constants computed from all data, or about what the ledger and the boundary compute
from the forgotten examples. Nor is it covered whether a shard was refused: the solver starts at the
original model, so whether it reaches the tolerance can depend on them. The noise is pseudorandom
(PCG64) and follows from the session's seed, so that an audit can replay it: whoever knows or
guesses the seed, or has the store, can subtract it. Use a seed that cannot be guessed, such as
``secrets.randbits(60)``, and keep it to yourself. Rounding in the arithmetic of doubles is not
covered.

Deviations from the source: noise on the result in place of the objective, because it is then
independent of the error that it hides, and training needs no noise; a measured residual in place of
its bound, so that inputs have to be finite but not bounded; several steps; and the analytic
Gaussian mechanism. Publishing noisy parameters in this way is due to Neel, Roth and
Sharifi-Malvajerdi 2021, Descent-to-Delete (arXiv 2007.02923).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from unlearnkit.approximate.baselines.certified.gaussian import (
    check_privacy,
    epsilon_of,
    gaussian_noise,
    largest_mu,
)
from unlearnkit.approximate.baselines.certified.newton import Newton, state_of
from unlearnkit.approximate.optimise import check_setting
from unlearnkit.approximate.protocol import Members, Modified, OnStep, ShardRound, progress_within
from unlearnkit.approximate.stored_states import (
    StoredState,
    initial_state,
    modified,
    stored_states_of,
)
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class NoisyNewton:
    """Solve for the minimiser of the retained objective, and hide the remaining error by noise.

    Attributes:
        epsilon: bound on the logarithm of the ratio of probabilities, from 0.001 to 100.
        delta: probability with which the bound may fail, from 1e-12 to 0.5.
        tolerance: L2 distance to the minimiser that is reached before noise is added, above 0. The
            noise is proportional to it.
        steps: upper limit of Newton steps.
        products: upper limit of Hessian products in each step.
    """

    epsilon: float = 1.0
    delta: float = 1e-5
    tolerance: float = 1e-4
    steps: int = 50
    products: int = 1000

    def __post_init__(self) -> None:
        """Check the settings."""
        check_privacy(self.epsilon, self.delta)
        check_setting("tolerance", self.tolerance, 1e-9)
        check_setting("steps", self.steps, 0, whole=True)
        check_setting("products", self.products, 1, whole=True)

    @property
    def newton(self) -> Newton:
        """The solver."""
        return Newton(self.tolerance, self.steps, self.products)

    def sigma(self, num_shards: int, num_slices: int) -> float:
        """Return the standard deviation of the noise in an ensemble of this shape."""
        joint = self.tolerance * math.sqrt(num_shards * num_slices)
        return joint / largest_mu(self.epsilon, self.delta)

    def epsilon_after(self, requests: int) -> float:
        """Return the epsilon that this many requests have together, at the same delta.

        >>> NoisyNewton(epsilon=1.0).epsilon_after(1), round(NoisyNewton().epsilon_after(4), 2)
        (1.0, 2.15)
        """
        if requests <= 1:
            return self.epsilon
        return epsilon_of(math.sqrt(requests) * largest_mu(self.epsilon, self.delta), self.delta)

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`.

        Raises:
            torch.linalg.LinAlgError: a shard does not reach the tolerance.
        """
        return [
            self._modify(each, progress_within(on_progress, number, len(rounds)))
            for number, each in enumerate(rounds)
        ]

    def _modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        stored_states, visits = stored_states_of(given), 0
        found, bound = dict[int, State](), 0.0
        for number, stored in enumerate(stored_states):
            if stored.stage not in found:
                on_progress(
                    f"shard {given.state.shard}: {stored.name}", number / len(stored_states)
                )
                found[stored.stage], bound, spent = self.released(given, stored)
                visits += spent
        states = {stored.name: found[stored.stage] for stored in stored_states}
        return modified(given, stored_states, states, visits, bound)

    def released(self, given: ShardRound, stored: StoredState) -> tuple[State, float, int]:
        """Return a stage's noisy state, its proven distance from the minimiser, and the visits."""
        if not len(stored.retain):
            return initial_state(given), 0.0, 0
        plan = given.state.plan
        solution, objective = self.newton.solve(given, stored)
        distance = objective.distance_bound(solution)
        if not distance <= self.tolerance:
            raise torch.linalg.LinAlgError(  # type: ignore[attr-defined]
                f"its distance to the minimiser is proven to be at most {distance:.1e}, above the "
                f"tolerance of {self.tolerance:.1e}, after {self.steps} steps"
            )
        sigma = self.sigma(plan.spec.num_shards, plan.spec.num_slices)
        key = given.state.chain[stored.stage - 1].key  # names the shard and its retained examples
        noise = gaussian_noise(tuple(solution.shape), sigma, plan.spec.seed, key)
        noisy = (solution + noise).float()
        return state_of(plan, noisy), objective.distance_bound(noisy), objective.visits

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Count all products, and one gradient for each step."""
        return self.newton.visits(plan, shard, forget)

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Count the expected passes for a start at the trained parameters."""
        return self.newton.batches(plan, forget)

    def is_separate(self, plan: Plan) -> bool:
        """Return True: every shard is solved by itself."""
        return True

    def unsuitable(self, plan: Plan) -> str:
        """Refuse models and specs whose objective is not strongly convex."""
        return self.newton.unsuitable(plan)
