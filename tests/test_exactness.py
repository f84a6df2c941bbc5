"""Exactness: unlearned equals trained from scratch, byte for byte.

The reference is trained in another process, which is given the data with every revoked row
overwritten by NaN and its label by -1 (a target by NaN). All the while another thread here draws
random numbers.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch

from cases import CASES, Case
from unlearnkit import NotFiniteError, Session
from unlearnkit.training.plan import make_plan
from worker import Leaky, Worker, content, poisoned


@dataclass(frozen=True)
class Scenario:
    """Random requests on one case, each checked after it was unlearned.

    Attributes:
        case: its name.
        what: kinds, of which each request is one at random.
        max_shares: thresholds, of which each request gets one at random.
        requests: how many.
        sequence: whether requests follow each other in one session, and debts are repaid now and
            then; a fresh session for each otherwise.
    """

    case: str
    what: tuple[str, ...]
    max_shares: tuple[float, ...]
    requests: int
    sequence: bool

    def __str__(self) -> str:
        what, way = "+".join(dict.fromkeys(self.what)), "mixed" if 0 in self.max_shares else "exact"
        return f"{self.case}-{what}-{way}-x{self.requests}"


ALL = ("one", "one", "few", "few", "slice", "shard")
MIXED = (0, 0, 0.3, 1)
MAIN = ("logistic", "mlp-dropout", "cnn-batchnorm", "uneven")
OTHER = ("adam", "adamw", "squared-error", "regression", "regression-norm")
QUICK = [
    *(Scenario(case, ALL, MIXED, 8, sequence=True) for case in MAIN),
    *(Scenario(case, ("few",), (1,), 3, sequence=True) for case in OTHER),
]
SLOW = [
    scenario
    for case in MAIN
    for scenario in (
        Scenario(case, ("one",), (1,), 6, sequence=False),
        Scenario(case, ("few",), (1,), 6, sequence=False),
        Scenario(case, ("slice",), (1,), 4, sequence=False),
        Scenario(case, ("shard",), (1,), 3, sequence=False),
        Scenario(case, ALL[:5], (1,), 8, sequence=True),
        Scenario(case, ALL, MIXED, 24, sequence=True),
    )
]
SCENARIOS = [*QUICK, *(pytest.param(scenario, marks=pytest.mark.slow) for scenario in SLOW)]


def test_there_are_at_least_200_revocations() -> None:
    assert sum(scenario.requests for scenario in (*QUICK, *SLOW)) >= 200


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_unlearned_equals_from_scratch(scenario: Scenario, worker: Worker) -> None:
    case, rng = CASES[scenario.case], np.random.default_rng(list(str(scenario).encode()))
    session, checked, approximated = trained(case).fork(), 0, 0
    while checked < scenario.requests:
        if not scenario.sequence or len(session.revoked) > case.num_examples / 2:
            session = trained(case).fork()
        session.revoke(choose(session, str(rng.choice(scenario.what)), rng))
        estimate = session.workload()
        result = session.unlearn(float(rng.choice(scenario.max_shares)))
        exact = [work.visits for work in estimate.shards if work.shard in result.decision.exact]
        assert result.visits == result.decision.exact_visits == sum(exact)
        check(session, case, worker)
        if session.debt and rng.random() < 0.3:
            outstanding = session.workload().outstanding_visits
            assert session.repay().visits == outstanding
            assert not session.debt
            check(session, case, worker)
        checked += 1
        approximated += len(result.decision.approximate)
    assert (approximated > 0) == (0 in scenario.max_shares)


def check(session: Session, case: Case, worker: Worker) -> None:
    """Compare every clean checkpoint, and see that only a debt excuses a missing one."""
    plan, revoked = session.plan, session.revoked
    scratch = worker.scratch(case.name, poisoned(session.dataset.train, revoked), revoked)
    assert scratch.keys == [stage.key for stage in plan.stages]
    assert scratch.visits == sum(s.visits for s in plan.stages if plan.alive(s.shard))
    assert session.store.keys <= plan.keys
    for stage in plan.stages:
        if stage.key in session.store and plan.alive(stage.shard):
            assert content(session.store.get(stage.key)) == scratch.contents[stage.key]
        else:
            assert stage.shard in session.debt or not plan.alive(stage.shard)
    for constituent in session.ensemble.constituents:
        if constituent.exact:
            end = session.store.get(plan.final_key(constituent.shard)).state
            assert all(torch.equal(end[name], t) for name, t in constituent.state.items())


def choose(session: Session, what: str, rng: np.random.Generator) -> np.ndarray:
    """Ids of a random request of this kind; a shard is only taken whole if another is left."""
    partition, retained = session.plan.partition, session.plan.retained
    sizes = partition.sizes(retained)
    alive = np.flatnonzero(sizes.sum(1))
    if what == "one" or (what == "shard" and len(alive) == 1):
        return rng.choice(partition.ids[retained], 1)
    if what == "few":
        return rng.choice(partition.ids[retained], rng.integers(2, 6), replace=False)
    if what == "shard":
        return partition.ids[retained & (partition.shard == rng.choice(alive))]
    assert what == "slice"
    shard, r = rng.choice(np.argwhere(sizes))
    chosen = retained & (partition.shard == shard) & (partition.slice_ == r + 1)
    return partition.ids[chosen] if len(alive) > 1 else partition.ids[chosen][:1]


@cache
def trained(case: Case) -> Session:
    """The case, trained once; to be forked."""
    session = case.session()
    session.train()
    return session


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    process = Worker()
    yield process
    process.close()


@pytest.fixture(autouse=True)
def noise() -> Iterator[None]:
    """Another thread that draws from both global generators."""
    stop = threading.Event()

    def draw() -> None:
        while not stop.wait(0.0005):
            torch.rand(3)
            np.random.random(3)

    thread = threading.Thread(target=draw)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.parametrize("name", MAIN)
def test_keys_do_not_depend_on_what_was_revoked(name: str) -> None:
    case, session = CASES[name], trained(CASES[name])
    revoked = session.plan.partition.ids[::5]
    poison = poisoned(session.dataset.train, revoked)
    plan = make_plan(
        poison, case.architecture(), case.spec, partition=case.partition(poison), revoked=revoked
    )
    assert plan.chains == session.plan.without(revoked).chains


@pytest.mark.parametrize("name", ["logistic", "cnn-batchnorm"])
def test_a_leak_that_is_in_both_runs_is_found_by_the_poison_and_only_by_it(
    name: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = CASES[name].session()
    honest = session.plan.examples
    leaky = Leaky(honest.ids, honest.features, honest.labels)
    monkeypatch.setattr(session._journal, "plan", replace(session.plan, examples=leaky))
    session.train()
    revoked = session.plan.partition.ids[[4]]
    session.revoke(revoked)
    session.unlearn(1)
    examples = session.dataset.train
    final = session.plan.final_key(session.plan.shards_of(revoked)[0])
    ours = content(session.store.get(final))
    assert ours == worker.scratch(name, examples, revoked, leak=True).contents[final]
    poison = poisoned(examples, revoked)
    with pytest.raises(NotFiniteError, match="training diverged"):
        worker.scratch(name, poison, revoked, leak=True)
