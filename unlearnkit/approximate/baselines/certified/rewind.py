"""Rewind-to-Delete: return to an earlier stored state, and train from there without the forget set.

Mu and Klabjan 2024, Rewind-to-Delete: Certified Machine Unlearning for Nonconvex Functions (arXiv
2409.09778). Training of T steps is rewound by K steps, to a state that was itself trained with the
forget set, and these K steps are repeated on the retained examples. Gaussian noise can be added to
the result.

The certificate bounds the distance of the rewound state from exact retraining. Both begin with the
same weights and take the same keyed batches. Let every example's loss have gradients of norm at
most G and a Hessian of norm at most L. If m of the b examples of a batch are to be forgotten, the
gradients of the batch with and without them differ by at most 2 G m/b at equal weights, so that
with learning rate eta, weight decay lambda and momentum beta, from d = v = 0 on,

    v <- beta v + (L + lambda) d + 2 G m/b,        d <- d + eta v,

bounds the distances d of the weights and v of the momentum. Where training resets the optimizer, v
becomes 0. After the rewinding both take the same gradients, m = 0. For full batches without
momentum and weight decay this is the bound of the source,

    d_T = (2 G m / (L n)) ((1 + eta L)^(T-K) - 1) (1 + eta L)^K.

For a convex loss without momentum, the gradient step stretches distances at most by the factor
max(|1 - eta lambda|, |1 - eta (L + lambda)|), which is 1 or less at small learning rates (Nesterov
2004, Introductory Lectures on Convex Optimization, section 2.1.3), and takes the place of
1 + eta (L + lambda).

Both constants are proven here for logistic regression alone: with inputs of norm at most r, and a
further input 1 for the bias, G = sqrt(2) sqrt(r^2 + 1) and L = (r^2 + 1)/2. With momentum the bound
grows exponentially in T and soon says nothing, as it does for the networks of the source, whose
constants are estimated. It holds for models that were trained, not for those that an earlier
approximate round has left, and while no batch loses all its examples, which training then skips.

Deviations from the source: batches instead of all examples, momentum, and optimizer resets are
those of training; a state is rewound by a number of stored states, and each stored state of the
shard by itself. Rewinding all stored states costs about as much as exact retraining. From the
first affected stage on there is no earlier state to return to, so that it is retrained.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unlearnkit.approximate.baselines.certified.gaussian import gaussian_noise, noise_for
from unlearnkit.approximate.optimise import check_setting
from unlearnkit.approximate.protocol import Members, Modified, OnStep, ShardRound, progress_within
from unlearnkit.approximate.segments import segments_of
from unlearnkit.approximate.stored_states import (
    initial_state,
    modified,
    sizes_of,
    stored_states_of,
)
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import END, EPOCH, RESET, TAIL, Job, Mark, make_job

Place = tuple[int, int]
"""Where training stands: a stage, and its epochs done. The end of a stage is the start of the
next."""


@dataclass(frozen=True)
class RewindToDelete:
    """Repeat the training before each stored state, on the retained examples.

    Attributes:
        back: by how many stored states each is rewound, 1 or more.
        noise: standard deviation of Gaussian noise that is added to every parameter, 0 or more.
    """

    back: int = 1
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_setting("back", self.back, 1, whole=True)
        check_setting("noise", self.noise, 0)

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        return [
            self._modify(each, progress_within(on_progress, number, len(rounds)))
            for number, each in enumerate(rounds)
        ]

    def _modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        stored_states, states, visits = stored_states_of(given), dict[str, State](), 0
        for number, each in enumerate(segments_of(given, to_end=True)):
            on_progress(f"shard {given.state.shard}: {each.name}", number / len(stored_states))
            states[each.name], spent = self.rewound(given, each.stage, each.tail or 0)
            visits += spent
        return modified(given, stored_states, states, visits)

    def rewound(self, given: ShardRound, stage: int, tail: int = 0) -> tuple[State, int]:
        """Return a stored state after it was rewound, and the number of example gradients.

        Args:
            given: the round.
            stage: 1-based stage of the stored state.
            tail: q if it is the tail q epochs before the end of the stage; 0 for the end.
        """
        plan, chain = given.state.plan, given.state.chain
        if not len(given.retain.until(stage)):
            return initial_state(given), 0
        at, epoch = start_of(plan, (stage, chain[stage - 1].epochs - tail), self.back)
        at, epoch = max((at, epoch), (int(given.forget.slices.min()), 0))
        start = initial_state(given)
        if epoch:
            start = given.state.checkpoints[at].tails[chain[at - 1].epochs - epoch]
        elif at > 1:
            start = given.state.checkpoints[at - 1].state
        while not len(given.retain.until(at)):  # such a stage ends with the initial state
            at, epoch, start = at + 1, 0, initial_state(given)
        job = until_tail(make_job(plan, chain[at - 1 : stage], start, epoch), tail)
        state = run_jobs(plan, [job])[-1].state if len(job) else start
        return self._noisy(given, state, f"{stage} {tail}"), int((job.rows >= 0).sum())

    def _noisy(self, given: ShardRound, state: State, name: str) -> State:
        if not self.noise:
            return state
        plan, names = given.state.plan, given.state.plan.architecture.trainable_names
        w = flatten(state, names)
        key = (plan.spec.seed, given.state.chain[-1].key, name)
        noisy = (w.double() + gaussian_noise(w.shape, self.noise, *key)).to(w.dtype)
        return plan.architecture.moved(state, unflatten(noisy, state, names))

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Sum the example gradients of all repeated segments."""
        return self._planned(plan, shard, forget)[1]

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Sum the training batches of all repeated segments."""
        return Batches.total(self._planned(plan, shard, own) for shard, own in forget.items())

    def _planned(self, plan: Plan, shard: int, forget: Members) -> tuple[int, int]:
        sizes = sizes_of(plan, shard, forget)
        steps = visits = 0
        for i in range(len(sizes)):
            for size in sizes[max(0, i + 1 - self.back) : i + 1]:
                steps, visits = steps + size.epochs * size.steps, visits + size.epochs * size.retain
        return steps, visits

    def is_separate(self, plan: Plan) -> bool:
        """Return True: every shard is rewound by itself."""
        return True

    def unsuitable(self, plan: Plan) -> str:
        """Accept every plan."""
        return ""

    def certificate(
        self, plan: Plan, after: Plan, shard: int, largest_norm: float
    ) -> "RewindCertificate":
        """Bound the distance of a shard's final state from exact retraining, before any noise.

        Args:
            plan: the plan that the shard was trained with.
            after: the plan without the examples to be forgotten.
            shard: 0-based shard.
            largest_norm: bound on the L2 norm of every example's inputs, as the model sees them.

        Raises:
            ValueError: the model, the loss or the optimizer is not covered, or an input is larger.
        """
        check_setting("largest_norm", largest_norm, 0)
        spec, stack = plan.spec, plan.architecture.stack
        proven = type(spec.loss) is CrossEntropy  # a subclass may have larger derivatives
        if stack is None or len(stack.linears) > 1 or not proven:
            raise ValueError(
                "the constants of the certificate are proven for logistic regression with "
                "cross-entropy only; other models can be rewound without a certificate"
            )
        if spec.optimizer != "sgd":
            raise ValueError(f"the certificate holds for SGD, not for {spec.optimizer}")
        inputs, _ = plan.examples[plan.partition.ids[plan.partition.shard_rows(shard)]]
        largest = float(inputs.flatten(1).double().norm(dim=1).max())
        if not largest <= largest_norm:
            raise ValueError(
                f"an input of shard {shard} has the norm {largest:.6g}, above {largest_norm=:g}; "
                "scale the inputs, or give a larger bound that does not depend on the examples"
            )
        square = largest_norm**2 + 1
        end = plan.spec.num_slices, plan.chains[shard][-1].epochs
        start = start_of(plan, end, self.back)
        distance = rewind_distance(
            plan, after, shard, start, gradient=math.sqrt(2 * square), smoothness=square / 2,
            convex=True,
        )  # fmt: skip
        return RewindCertificate(shard, start, distance)


@dataclass(frozen=True)
class RewindCertificate:
    """A bound on the distance of a rewound final state from exact retraining.

    With noise added to both, nobody can tell one from the other better than (epsilon, delta) says.
    The statement concerns the final parameters of one shard, for who knows neither the seed nor the
    other stored states.

    Attributes:
        shard: 0-based shard.
        start: stage and epoch to which it is rewound.
        distance: bound on the L2 distance; infinity if nothing is proven.
    """

    shard: int
    start: Place
    distance: float

    def noise(self, epsilon: float, delta: float) -> float:
        """Return the standard deviation of Gaussian noise for (epsilon, delta)."""
        return noise_for(self.distance, epsilon, delta)


def rewind_distance(
    plan: Plan,
    after: Plan,
    shard: int,
    start: Place,
    *,
    gradient: float,
    smoothness: float,
    convex: bool,
) -> float:
    """Return the bound d_T of the module's docstring; infinity if a batch loses all its examples.

    Args:
        plan: the plan that the shard was trained with.
        after: the plan without the examples to be forgotten.
        shard: 0-based shard.
        start: stage and epoch to which the shard is rewound.
        gradient: G.
        smoothness: L.
        convex: whether every example's loss is convex.
    """
    spec = plan.spec
    eta, decay, momentum = spec.learning_rate, spec.weight_decay, spec.momentum
    stretch = 1 + eta * (smoothness + decay)
    if convex and not momentum:
        stretch = max(abs(1 - eta * decay), abs(1 - eta * (smoothness + decay)))
    with_, without = (make_job(each, each.chains[shard], {}) for each in (plan, after))
    left = dict(zip(map(tuple, without.keys), (without.rows >= 0).sum(1), strict=True))
    resets = {mark.step for mark in with_.marks if mark.kind == RESET}
    d = v = 0.0
    for step, (key, count) in enumerate(
        zip(map(tuple, with_.keys), (with_.rows >= 0).sum(1), strict=True)
    ):
        if key not in left:
            return math.inf
        lost = 0.0 if key[:2] >= start else float((count - left[key]) / count)
        force = 2 * gradient * lost
        if momentum:
            v = (0.0 if step in resets else momentum * v) + (smoothness + decay) * d + force
            d += eta * v
        else:
            d = stretch * d + eta * force
        if not math.isfinite(d):
            return math.inf
    return d


def start_of(plan: Plan, end: Place, back: int) -> Place:
    """Return the place of the stored state that lies ``back`` stored states before a place."""
    spec = plan.spec
    epochs = spec.stage_epochs()[-1]
    places = {(stage, 0) for stage in range(1, spec.num_slices + 1)}
    places |= {(spec.num_slices, epochs - q) for q in spec.tail_epochs()}
    earlier = sorted(place for place in places if place < end)
    return earlier[max(0, len(earlier) - back)]


def until_tail(job: Job, tail: int) -> Job:
    """Return a job that ends at a tail of its last stage, or the whole job for tail 0."""
    if not tail:
        return job
    steps = [m.step for m in job.marks if m.kind == TAIL and m.number == tail]
    end = steps[0] if steps else 0
    marks = [m for m in job.marks if m.step < end or (m.step == end and m.kind == EPOCH)]
    return replace(
        job,
        rows=job.rows[:end],
        num_slots=job.num_slots[:end],
        keys=job.keys[:end],
        marks=(*marks, Mark(end, END, job.marks[-1].stage)),
    )
