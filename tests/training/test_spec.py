"""Specs: how many epochs each stage gets."""

import json

import numpy as np
import pytest
import torch

from unlearnkit import TrainSpec
from unlearnkit.seeding import digest
from unlearnkit.training.spec import EPOCH_RULES, as_recorded, spec_from


@pytest.mark.parametrize("slices", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("epochs", [1, 3, 20])
def test_epoch_rules(slices: int, epochs: int) -> None:
    for rule in EPOCH_RULES:
        spec = TrainSpec(num_slices=slices, epochs=epochs, epoch_rule=rule)
        stages = spec.stage_epochs()
        assert len(stages) == slices and min(stages) >= 1
        pools = np.arange(1, slices + 1) / slices
        work = float(np.dot(stages, pools))
        if rule == "full":
            assert stages == (epochs,) * slices
        elif 2 * epochs >= slices + 1 and rule == "sisa":
            # As much as E epochs on the whole shard; cumulative rounding is off by at most half
            # an epoch at every slice bound, by parts: |error| <= 1/2 (1 + (R - 1)/R) < 1.
            assert abs(work - epochs) < 1
        assert spec.tail_epochs() == tuple(
            sorted(
                {1, min(4, stages[-1])} | ({2 * stages[-1] // 3} if stages[-1] >= 16 else set()),
                reverse=True,
            )
        )


def test_tails_that_are_given_are_kept_in_order_and_within_the_stage() -> None:
    spec = TrainSpec(num_slices=1, epochs=12, tails=[2, 16, np.int64(8)])
    assert spec.tails == (16, 8, 2) and spec.tail_epochs() == (12, 8, 2)
    assert TrainSpec(num_slices=1, epochs=12, tails=(8, 2, 16)) == spec
    assert spec_from(json.loads(json.dumps(spec.to_dict()))) == spec
    assert "tails=(16, 8, 2)" in repr(spec)


def test_specs_with_and_without_tails_are_told_apart_and_older_ones_keep_their_digest() -> None:
    usual = TrainSpec()
    assert "tails" not in repr(usual) and "tails" not in usual.to_dict()
    assert usual.digest == digest(*(f"{n}={v!r}" for n, v in vars(usual).items() if n != "tails"))
    assert len({usual.digest, *(usual.with_(tails=t).digest for t in [(4, 1), (4,), (1,)])}) == 4
    with pytest.raises(TypeError, match="tails=2 is no sequence of whole numbers; give one such"):
        TrainSpec(tails=2)
    with pytest.raises(TypeError, match="are not all whole numbers"):
        TrainSpec(tails=(1.5,))
    for wrong in ((), (0,), (2, 2), (2**31,)):
        with pytest.raises(ValueError, match="are no distinct numbers of 1 or more"):
            TrainSpec(tails=wrong)


def test_equal_work_is_equal_up_to_rounding() -> None:
    stages = TrainSpec(num_slices=5, epochs=60, epoch_rule="equal_work").stage_epochs()
    assert stages == (60, 30, 20, 15, 12)


def test_numbers_of_numpy_and_devices_of_torch_are_plain_values():
    plain = TrainSpec(num_shards=2, learning_rate=0.5, seed=3)
    given = TrainSpec(
        num_shards=np.int64(2),
        learning_rate=np.float32(0.5),
        seed=np.uint8(3),
        device=torch.device("cpu"),
    )
    assert given == plain and repr(given) == repr(plain)
    with pytest.raises(TypeError, match="epochs=True is a bool; give a whole number"):
        TrainSpec(epochs=np.True_)


@pytest.mark.parametrize("name", ["num_shards", "num_slices", "epochs", "batch_size"])
def test_numbers_that_do_not_fit_into_32_bits_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is above 2,147,483,647; give a smaller number"):
        TrainSpec(**{name: 2**31})


def test_threads_that_no_system_starts_and_rates_that_no_float_holds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_threads is above 1,024"):
        TrainSpec(num_threads=10**6)
    with pytest.raises(ValueError, match=r"learning_rate=1000.* is out of range"):
        TrainSpec(learning_rate=10**400)


def test_numbers_of_numpy_are_those_of_python() -> None:
    plain = TrainSpec(learning_rate=0.05, momentum=0.5, weight_decay=0.25)
    given = TrainSpec(
        learning_rate=np.float64(0.05), momentum=np.float32(0.5), weight_decay=np.float64(0.25)
    )
    assert given.digest == plain.digest and repr(given) == repr(plain)


def test_a_store_of_earlier_versions_keeps_the_digest_of_numpys_numbers() -> None:
    plain = TrainSpec(learning_rate=0.05)
    recorded = repr(plain).replace("learning_rate=0.05", "learning_rate=np.float64(0.05)")
    assert repr(as_recorded(plain, recorded)) == recorded != repr(plain)
    assert as_recorded(plain, recorded).digest != plain.digest
    other = recorded.replace("0.05", "0.5")  # another run's
    assert repr(as_recorded(plain, other)) == repr(plain)
