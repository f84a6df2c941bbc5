"""A session in a folder that holds a run takes the run's settings for whatever it is not given."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from unlearnkit.models.losses import WeightedCrossEntropy
from unlearnkit.records.stored_settings import stored_settings
from unlearnkit.store import DiskStore, MemoryStore
from unlearnkit.training.partition import make_partition

SETTINGS = {
    **{"num_shards": 2, "num_slices": 2, "epochs": 2, "epoch_rule": "full", "batch_size": 16},
    **{"optimizer": "adam", "learning_rate": 0.02, "momentum": 0.5, "weight_decay": 0.01},
    **{"loss": WeightedCrossEntropy((1, 2)), "seed": 7, "kernel": "loop"},
}
RATE_FOLLOWS = ("batch_size", "optimizer", "momentum", "loss")  # the default rate, that is


def data(seed: int = 0) -> uk.data.examples.Dataset:
    features = np.random.default_rng(seed).normal(size=(60, 3)).astype("float32")
    return uk.from_arrays(features, (features[:, 0] > 0).astype(int))


def trained(folder, **options) -> uk.Session:
    session = uk.Session(data(), store=folder, **{**SETTINGS, **options})
    session.train(on_progress=False)
    return session


@pytest.mark.parametrize("model", [uk.MLP((5,), dropout=0.1), "logistic"])
def test_everything_but_the_data_comes_from_the_folder(tmp_path, model):
    first = trained(tmp_path, model=model, version="2")
    again = uk.Session(data(), store=tmp_path)
    assert again.trained and again.ensemble.digest == first.ensemble.digest
    assert (again.spec, again.plan.environment) == (first.spec, first.plan.environment)
    assert again.plan.architecture.digest == first.plan.architecture.digest
    again = uk.Session(data(), store=DiskStore(tmp_path), epochs=2, optimizer="adam")
    assert again.spec == first.spec
    with pytest.raises(uk.StoreError, match=r"belongs to another run. Its spec"):
        uk.Session(data(), store=tmp_path, momentum=0.6)
    for other in ({"num_slices": 3}, {"spec": uk.TrainSpec(num_shards=3)}):
        with pytest.raises(uk.StoreError, match=r"belongs to another run. Its spec"):
            uk.Session(data(), store=tmp_path, **other)
    with pytest.raises(uk.StoreError, match="Its model"):
        uk.Session(data(), store=tmp_path, model="mlp")
    with pytest.raises(uk.StoreError, match="Its dataset"):
        uk.Session(data(seed=1), store=tmp_path)
    with pytest.raises(ValueError, match="trained on 'arrays', which is not in DATASETS; give"):
        uk.Session(store=tmp_path)


def test_named_data_are_loaded_in_their_size(tmp_path):
    small = uk.load("digits", num_examples=200)
    first = uk.Session(small, model="logistic", epochs=1, store=tmp_path)
    first.train(on_progress=False)
    again = uk.Session(store=tmp_path)
    assert again.dataset.fingerprint == small.fingerprint and again.trained
    assert uk.Session(store=tmp_path / "new").dataset.name == "digits"


def test_a_partition_of_the_users_own_is_kept(tmp_path):
    other = make_partition(data().train, uk.TrainSpec(num_shards=2, num_slices=2, seed=99))
    first = trained(tmp_path, model="logistic", partition=other)
    again = uk.Session(data(), store=tmp_path)
    assert again.plan.partition.digest == other.digest
    assert again.ensemble.digest == first.ensemble.digest


class OwnLoss(type(uk.CrossEntropy())):
    """A loss that no store can rebuild."""

    name = "own"


def net(feature_shape, num_outputs):
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_models_and_losses_of_the_users_own_are_asked_for(tmp_path, monkeypatch):
    first = trained(tmp_path / "model", model=net)
    with pytest.raises(
        ValueError, match=r"trained 'net', a model of your own .* give it as model="
    ):
        uk.Session(data(), store=tmp_path / "model")
    again = uk.Session(data(), model=net, store=tmp_path / "model")
    assert again.ensemble.digest == first.ensemble.digest
    monkeypatch.setitem(uk.MODELS, "net", net)
    assert uk.Session(data(), store=tmp_path / "model").trained
    trained(tmp_path / "loss", model="logistic", loss=OwnLoss())
    with pytest.raises(ValueError, match=r"a loss of your own .* give it as loss="):
        uk.Session(data(), store=tmp_path / "loss")
    assert uk.Session(data(), store=tmp_path / "loss", loss=OwnLoss()).trained


def test_single_settings_change_a_spec_or_the_defaults_of_the_data():
    spec = uk.TrainSpec(epochs=7, seed=3, momentum=0.1)
    session = uk.Session(data(), spec=spec, momentum=0.2, seed=0)
    assert session.spec == spec.with_(momentum=0.2, seed=0)
    plain = uk.Session(data()).spec
    for name, value in {**SETTINGS, "device": "auto", "num_threads": 2}.items():
        found = uk.Session(data(), **{name: value}).spec
        changed = found.learning_rate != plain.learning_rate
        assert changed == (name in ("learning_rate", *RATE_FOLLOWS))
        followed = {"learning_rate": found.learning_rate, "tails": found.tails}
        assert found == plain.with_(**{name: value, **followed})
    regression = uk.from_arrays(torch.randn(60, 3), torch.randn(60))
    spec = uk.Session(regression, spec=uk.TrainSpec(epochs=2), optimizer="adamw").spec
    assert spec == uk.TrainSpec(epochs=2, optimizer="adamw", loss=uk.SquaredError())


def test_what_cannot_be_read_gives_no_settings(tmp_path):
    for store in (None, MemoryStore(), str(tmp_path), tmp_path / "nothing", "a\0b"):
        assert not stored_settings(store).spec
    first = trained(tmp_path, model="logistic")
    first.store.close()
    assert stored_settings(tmp_path).spec["epochs"] == 2
    manifest = tmp_path / "manifest.json"
    whole = manifest.read_text()
    for old, new in (('"epochs"', '"epoch"'), ('"rebuild"', '"other"'), ('"kind"', '"sort"')):
        assert old in whole
        manifest.write_text(whole.replace(old, new))
        assert not stored_settings(tmp_path).spec
    manifest.write_text(json.dumps([]))
    assert not stored_settings(tmp_path).spec
    manifest.write_text(whole)
    assert uk.Session(data(), store=tmp_path).trained


def test_a_store_keeps_the_rate_that_was_the_default_for_weighted_classes(tmp_path):
    loss = WeightedCrossEntropy((1, 20))
    earlier = {"learning_rate": 0.03, "optimizer": None, "model": "logistic"}
    first = trained(tmp_path, loss=loss, **earlier)
    again = uk.Session(data(), loss=loss, store=tmp_path)
    assert again.trained and again.spec == first.spec
    assert uk.Session(data(), loss=loss).spec.learning_rate < 0.01
