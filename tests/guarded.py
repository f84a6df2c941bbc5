"""Networks on digits, boundaries that approximate everything, and amends that ruin the result."""

from dataclasses import dataclass, replace

import unlearnkit as uk
from unlearnkit.approximate import Replay
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary


@dataclass(frozen=True)
class Spoil:
    """An amend that ruins what it gets, and may know a longer one, which ruins it too or not."""

    better: "Replay | Spoil | None"
    replays: int = 1

    def epochs(self, plan):
        """None."""
        return 0

    def longer(self, plan):
        """The better one."""
        return self.better

    def __call__(self, rounds, modified, *, on_progress):
        """Three times the parameters, with the other sign."""
        done = Replay(self.replays)(rounds, modified, on_progress=on_progress)
        return [
            replace(
                each,
                checkpoint=replace(
                    each.checkpoint,
                    state={name: -3 * value for name, value in each.checkpoint.state.items()},
                ),
            )
            for each in done
        ]


class Approximating(AdaptiveBoundary):
    """Sends everything that may be approximate there, and judges by its caps."""

    def decide(self, workload, costs, debts):
        """As the fixed boundary at 0."""
        return uk.FixedBoundary(0.0).decide(workload, costs, debts)


CAPPED = Approximating(max_correction=9, min_agreement=0.7)
UNCAPPED = Approximating(
    min_agreement=-1, max_motion=float("inf"), max_correction=float("inf"), max_drift=float("inf")
)


def fork(trained, count=30):
    session = trained.fork()
    session.revoke(count=count)
    return session


def evenly(ids, most):
    """At most this many of the ids, from the first to the last."""
    if len(ids) <= most:
        return ids
    return ids[[round(i * (len(ids) - 1) / (most - 1)) for i in range(most)]]


def network(learning_rate):
    session = uk.Session(
        "digits",
        model="mlp",
        num_shards=3,
        num_slices=2,
        epochs=15,
        learning_rate=learning_rate,
        tails=(4, 1),
    )
    session.train()
    return session
