"""Defaults of training that follow the data and the loss."""

from dataclasses import replace

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.approximate.curvature import effective_time
from unlearnkit.training.defaults import LONGEST_VISIT, TIMES, choose_model_and_spec, default_spec

DATA = uk.from_arrays(np.eye(20, 3, dtype="float32"), np.arange(20) % 2)
WEIGHTED = uk.WeightedCrossEntropy((1, 4))


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({}, 1),
        ({"loss": WEIGHTED}, 1 / 4),
        ({"loss": {"class_weights": [0.5, 4]}, "optimizer": "sgd"}, 1 / 4),
        ({"loss": uk.WeightedCrossEntropy((0.1, 0.5))}, 1),
        ({"loss": WEIGHTED, "optimizer": "adam"}, 1),  # its steps do not grow with the gradient
    ],
)
def test_the_default_rate_is_divided_by_the_largest_class_weight(given, share):
    _, spec = choose_model_and_spec(DATA, "logistic", **given)
    plain = default_spec(DATA, "logistic", optimizer=given.get("optimizer"))
    assert spec.learning_rate == share * plain.learning_rate


@pytest.mark.parametrize(
    ("examples", "given", "tails"),
    [
        (10_000, {}, (3,)),
        (60_000, {"learning_rate": 0.003}, (2,)),  # 188 steps of .03 are longer than 4
        (60_000, {"learning_rate": 0.002}, (3,)),
        (10_000, {"num_slices": 1}, (16, 12, 8, 3)),
        (10_000, {"num_slices": 9}, (2,)),  # half of its last stage
        (10_000, {"epochs": 3}, (1,)),
        (10_000, {"tails": (4, 1)}, (4, 1)),
        (10_000, {"optimizer": "adam"}, None),
        (10_000, {"spec": uk.TrainSpec(num_shards=10)}, None),
    ],
)
def test_the_default_tails_follow_the_stage_and_the_effective_time(examples, given, tails):
    arrays = np.zeros((examples, 1), "float32"), np.arange(examples) % 2
    data = uk.from_arrays(*arrays, test=arrays, probe=arrays)
    if "spec" not in given:
        given = {"num_shards": 10, "batch_size": 32, "learning_rate": 0.008, **given}
    _, spec = choose_model_and_spec(data, "logistic", **given)
    assert spec.tails == tails
    last = spec.stage_epochs()[-1]
    assert spec.tail_epochs() == (tails or tuple(sorted({min(4, last), 1}, reverse=True)))


def test_convolutional_networks_replay_three_epochs():
    data = images(6000)
    tails = {m: choose_model_and_spec(data, m, num_shards=1)[1].tails[-1] for m in ("mlp", "cnn")}
    assert tails == {"mlp": 2, "cnn": 3}


def test_a_rate_that_was_given_stays():
    _, spec = choose_model_and_spec(DATA, None, loss=WEIGHTED, learning_rate=0.03)
    assert spec.learning_rate == 0.03
    _, spec = choose_model_and_spec(DATA, None, loss=WEIGHTED, spec=uk.TrainSpec())
    assert spec.learning_rate == uk.TrainSpec().learning_rate


def images(count, width=28):
    """A dataset of this many training images, whose pixels nobody has to read."""
    pixels = np.zeros((count + 20, 1, width, width), dtype="uint8")
    labels = np.arange(count + 20) % 2
    held_out = {"test": (pixels[-20:-10], labels[-20:-10]), "probe": (pixels[-10:], labels[-10:])}
    return uk.from_arrays(pixels[:-20], labels[:-20], offset=127.5, scale=127.5, **held_out)


@pytest.mark.parametrize("model", ["logistic", "mlp", "cnn"])
def test_twenty_epochs_take_the_effective_time_of_the_shard(model):
    data = images(8000)
    for shards in (1, 4, 10):
        spec = default_spec(data, model, num_shards=shards)
        time, growth, power = TIMES[model]
        steps = 20 * 8000 / shards / spec.batch_size
        taken = effective_time(spec.learning_rate, spec.momentum, round(steps))
        wanted = time * (8000 / shards) ** growth / 784**power
        # Rates have two digits, and the first steps of momentum are short.
        assert taken == pytest.approx(wanted, rel=0.07)


def test_the_default_rate_follows_batches_momentum_and_inputs():
    rate = default_spec(images(8000), "mlp").learning_rate
    for given, factor in (({"batch_size": 16}, 0.5), ({"momentum": 0.95}, 0.5)):
        found = default_spec(images(8000), "mlp", **given).learning_rate
        assert found == pytest.approx(factor * rate, rel=0.06)
    assert default_spec(images(8000, width=14), "mlp").learning_rate > 1.5 * rate
    _, spec = choose_model_and_spec(images(8000), "mlp", num_shards=20)
    growth = TIMES["mlp"][1]  # half as many examples take half as many steps
    assert spec.learning_rate == pytest.approx(2 ** (1 - growth) * rate, rel=0.06)


@pytest.mark.parametrize("model", ["logistic", "mlp", "cnn"])
def test_the_default_rate_falls_with_the_square_of_the_inputs_span(model):
    narrow, wide = images(8000), replace(images(8000), input_span=4.0)
    rates = [default_spec(data, model).learning_rate for data in (narrow, wide)]
    assert rates[1] == pytest.approx(rates[0] / 4, rel=0.05)
    tails = [choose_model_and_spec(data, model)[1].tails for data in (narrow, wide)]
    assert tails[0] == tails[1]


@pytest.mark.parametrize("model", ["logistic", "mlp", "cnn"])
@pytest.mark.parametrize("given", [{}, {"batch_size": 16}, {"momentum": 0.8}])
def test_small_shards_take_no_longer_for_an_example_than_the_longest(model, given):
    data = images(1000, width=8)
    spec = default_spec(data, model, num_shards=10, **given)
    visit = spec.learning_rate / (1 - spec.momentum) / spec.batch_size
    assert visit == pytest.approx(LONGEST_VISIT, rel=0.03)
    assert default_spec(data, model, num_shards=1, **given).learning_rate < spec.learning_rate


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_default_rate_stays_below_the_bound_of_stability(momentum):
    data = images(1000)
    spec = default_spec(data, "logistic", num_shards=1, batch_size=1000, momentum=momentum)
    assert spec.learning_rate <= 2 * (1 + momentum) / (785 / 4)
    features = np.random.default_rng(0).normal(size=(1000, 400)).astype("float32")
    regression = uk.from_arrays(features, features[:, 0] + 0.5)
    session = uk.Session(regression, model="linear", batch_size=1000, momentum=momentum)
    session.train()
    assert session.score()["test"] > 0


def test_the_default_spec_reads_no_value_of_the_data():
    data = images(200)
    spec = default_spec(data, "mlp")
    data.train.features.fill_(255)
    data.train.labels.fill_(0)
    assert default_spec(data, "mlp") == spec


@pytest.mark.parametrize("model", ["linear", "mlp"])
@pytest.mark.parametrize("shards", [1, 5, 10])
def test_regressions_learn_at_their_default_rate(model, shards):
    session = uk.Session("diabetes", model=model, num_shards=shards)
    session.train()
    assert session.score()["test"] > 0.4  # 0.44 to 0.50 where this was measured
