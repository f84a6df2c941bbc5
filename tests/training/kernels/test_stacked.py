"""The stacked-lane kernel: bits independent of grouping, numbers those of the per-lane loop."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unlearnkit as uk
from unlearnkit.data.examples import Examples
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.builtin import Logistic
from unlearnkit.progress import Run
from unlearnkit.seeding import state_bytes
from unlearnkit.torch_settings import compute_threads
from unlearnkit.training.kernels.loop import run_loop
from unlearnkit.training.kernels.stacked import _Group, run_stacked
from unlearnkit.training.plan import make_plan
from unlearnkit.training.schedule import END, TAIL, make_job
from unlearnkit.training.spec import OPTIMIZERS


def problem(features=5, classes=3, examples=60, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(examples, features)).astype(np.float32)
    return uk.from_arrays(x, np.arange(examples) % classes, num_classes=classes, seed=seed)


def make(model, data, **options):
    spec = uk.TrainSpec(**{"num_shards": 4, "num_slices": 2, "epochs": 4, **options})
    architecture = as_architecture(model, data.feature_shape, data.num_classes)
    return make_plan(data.train, architecture, spec)


def states(plan, kernel, shards=None, **options):
    """Every checkpoint and tail that training from scratch comes by."""
    chosen = range(plan.num_shards) if shards is None else shards
    jobs = [
        make_job(plan, plan.chains[s], plan.architecture.initial(plan.spec.seed, s))
        for s in chosen
        if plan.alive(s)
    ]
    found = {}

    def on_mark(job, mark, state, loss):
        if mark.kind in (TAIL, END):
            found[job.shard, mark.stage.index, mark.kind, mark.number] = state

    with compute_threads(plan.spec.num_threads):
        kernel(plan, jobs, on_mark, **options)
    return found


def as_bytes(found):
    return {place: state_bytes(state) for place, state in found.items()}


models = st.one_of(
    st.just(Logistic()),
    st.builds(
        uk.MLP,
        hidden=st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple),
        activation=st.sampled_from(["relu", "gelu", "tanh"]),
        dropout=st.sampled_from([0.0, 0.3]),
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    model=models,
    features=st.integers(1, 40),
    classes=st.sampled_from([2, 3, 4, 5, 10, 16, 17, 19]),
    examples=st.integers(60, 150),
    batch_size=st.integers(1, 40),
    optimizer=st.sampled_from(OPTIMIZERS),
    threads=st.sampled_from([1, 2]),
    seed=st.integers(0, 5),
)
def test_bits_do_not_depend_on_how_many_lanes_run_together(
    model, features, classes, examples, batch_size, optimizer, threads, seed
):
    data = problem(features, classes, examples, seed)
    plan = make(model, data, batch_size=batch_size, optimizer=optimizer, num_threads=threads)
    gone = np.random.default_rng(seed).choice(data.train.ids, 9, replace=False)
    for current in (plan, plan.without(gone)):
        alone = as_bytes(states(current, run_stacked, group=1))
        assert alone == as_bytes(states(current, run_stacked, group=3))
        assert alone == as_bytes(states(current, run_stacked))
        assert alone == as_bytes(states(current, run_stacked, run=Run(losses=True)))
        some = as_bytes(states(current, run_stacked, shards=[1, 3]))
        assert some == {place: found for place, found in alone.items() if place[0] in (1, 3)}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "loss", ["cross-entropy", "squared-error", uk.WeightedCrossEntropy((1, 3, 0, 0.5))], ids=str
)
@pytest.mark.parametrize(
    "model",
    [
        Logistic(),
        uk.MLP((7,), "relu"),
        uk.MLP((9, 33), activation="gelu"),
        uk.MLP((16,), activation="tanh"),
    ],
    ids=str,
)
def test_it_computes_what_the_loop_computes(model, loss, optimizer):
    data = problem(features=6, classes=4)
    plan = make(model, data, optimizer=optimizer, loss=loss, batch_size=7, learning_rate=0.01)
    plan = plan.without(data.train.ids[::5])
    stacked, loop = states(plan, run_stacked), states(plan, run_loop)
    assert stacked.keys() == loop.keys()
    for place, state in loop.items():
        for name, expected in state.items():
            # About 60 steps of float32 arithmetic in another order. Adam divides by the gradient's
            # own size, so single numbers with gradients near 0 may go another way.
            tolerance = 1e-5 if optimizer == "sgd" else 1e-2
            difference = (stacked[place][name] - expected).norm()
            assert difference <= tolerance * (expected.norm() + 1e-3), (place, name)


def test_dropout_masks_of_survivors_do_not_change():
    data = problem(features=6, examples=80)
    model = uk.MLP((8,), dropout=0.5)
    plan = make(model, data, num_shards=1, num_slices=1, epochs=1, batch_size=64)
    # One step, so that what differs is what the revoked example itself did.
    whole = states(plan, run_stacked)
    assert as_bytes(whole) == as_bytes(states(plan, run_stacked, run=Run(losses=True)))
    poisoned = data.train.features.clone()
    poisoned[3] = float("nan")
    other = Examples(data.train.ids, poisoned, data.train.labels)
    spec, architecture = plan.spec, plan.architecture
    without = plan.without(data.train.ids[3:4])
    again = make_plan(
        other, architecture, spec, partition=plan.partition, revoked=data.train.ids[3:4]
    )
    assert as_bytes(states(without, run_stacked)) == as_bytes(states(again, run_stacked))
    assert without.keys == again.keys


@pytest.mark.parametrize("hidden", [(5,), (20, 12)])
def test_padding_stays_zero(hidden):
    data = problem(features=6, classes=3)
    plan = make(uk.MLP(hidden), data, batch_size=5, weight_decay=0.1)
    initial = plan.architecture.initial
    jobs = [make_job(plan, chain, initial(0, s)) for s, chain in enumerate(plan.chains)]
    group = _Group(plan, plan.architecture.stack, sorted(jobs, key=lambda job: -len(job)))
    group.run(lambda *_: None, Run())
    real = [width for width in group.stack.widths[1:] for _ in range(2)]
    for piece, flip, inside in zip(
        group.parameters, [f for f in group.layout.flipped for _ in range(2)], real, strict=True
    ):
        across = piece.transpose(1, 2) if flip and piece.shape[1] > 1 else piece
        assert across[..., inside:].numel()
        assert across[..., inside:].abs().max() == 0
