"""One training process against two workers, cold and warm, in wall and CPU seconds.

    make bench NAME=workers [ARGS="WORKLOAD EPOCHS_TIMES"]

A cold run starts its workers, a warm one finds them there. Wall times tell something on an idle
machine only; processor seconds of the parent and of the workers hold up better.
"""

import os
import sys
import time

import psutil
from joblib.externals.loky import get_reusable_executor
from workloads import workloads

from unlearnkit.store import MemoryStore
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.train import train

ROUNDS, WARM = 4, 3


def children_seconds() -> float:
    """Processor seconds of all processes below this one so far."""
    return sum(sum(p.cpu_times()[:2]) for p in psutil.Process().children(recursive=True))


def measure(plan: Plan, parallel: int | None) -> str:
    """Train everything once."""
    begun, own, below = time.perf_counter(), time.process_time(), children_seconds()
    train(plan, MemoryStore(), parallel=parallel)
    wall, own = time.perf_counter() - begun, time.process_time() - own
    return f"{wall:.2f} (cpu {own:.2f} + {children_seconds() - below:.2f})"


def main(name: str = "mlp784", times: str = "1") -> None:
    """Measure and print, round by round."""
    work = workloads()[name]
    spec = work.spec.with_(epochs=work.spec.epochs * int(times))
    plan = make_plan(work.dataset.train, work.architecture, spec)
    print(f"{work.name}, {spec.epochs} epochs: {plan.total_visits:,} visits")
    measure(plan, None)
    for _ in range(ROUNDS):
        get_reusable_executor().shutdown(wait=True)
        serial, cold = measure(plan, None), measure(plan, 2)
        warm = ", ".join(measure(plan, 2) for _ in range(WARM))
        print(f"one {serial}  cold {cold}  warm {warm}  load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":  # workers import this file
    main(*sys.argv[1:])
