"""Studies of a frozen backbone: each example passes it once, however many models are trained."""

import numpy as np
import pytest

import unlearnkit as uk
from backbones import BATCH, as_plain, backbone, images, one_by_one
from unlearnkit.studies.leave_out import leave_out

SETTINGS = {"num_shards": 3, "num_slices": 2, "epochs": 2, "batch_size": 8}


def study(data, model):
    found = uk.study(
        data, models=[model], num_shards=(2, 3), epochs=2, revoked=(3,), seeds=(0, 1),
        on_progress=False,
    )  # fmt: skip
    return found[["output_kl", "test_accuracy", "membership_gap_of_nothing"]].to_numpy()


def populate(data, model):
    found = uk.populate(data, data.train.ids[:4], seeds=range(3), model=model, **SETTINGS)
    return np.stack([found.margins[kind] for kind in ("original", "unlearned", "scratch")])


def leave(data, model):
    found = leave_out(data, 5, num_subsets=3, model=model, **SETTINGS)
    return np.stack([*found.margins, found.whole])


@pytest.mark.parametrize("measure", [study, populate, leave])
def test_every_example_passes_the_backbone_once(measure):
    module, passed = backbone(), []
    module.register_forward_hook(lambda layer, rows, out: passed.append(1))
    data = images()
    found = measure(data, uk.Frozen(module, head="logistic", batch_size=BATCH))
    ids = np.concatenate([part.ids for part in data.parts.values()])
    # One without rows, three of the trial, and one that is repeated in each pass.
    assert len(passed) <= len(np.unique(ids // BATCH)) + 10
    plain = as_plain(data, one_by_one(backbone(), data))
    assert found.tobytes() == measure(plain, "logistic").tobytes()


def test_workers_use_the_features_of_the_process_that_sent_them():
    data = images()
    model = uk.Frozen(backbone(), head="logistic", batch_size=BATCH)
    options = {"seeds": range(2), "model": model, **SETTINGS}
    here, there = (
        uk.populate(data, data.train.ids[:4], parallel=parallel, on_progress=False, **options)
        for parallel in (None, 2)
    )
    for kind, margins in here.margins.items():
        assert margins.tobytes() == there.margins[kind].tobytes()
