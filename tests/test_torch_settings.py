"""Torch's settings: work has its own, odd ones are refused or named, and all are restored."""

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from unlearnkit.torch_settings import (
    SETTINGS,
    check_defaults,
    how_to_restore,
    matmul_precision,
    own_settings,
    unusual_settings,
)


def modes():
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


@pytest.mark.parametrize(
    "setting",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: np.errstate(all="raise"),
    ],
)
def test_work_has_its_own_modes_and_the_callers_come_back(setting):
    with setting():
        outside = modes(), np.geterr()
        with own_settings(), own_settings():
            assert modes() == (True, False, False)
            weights = torch.ones(2, requires_grad=True)
            product = torch.ones(2, 2) @ weights
            assert product.dtype == torch.float32
            product.sum().backward()
            assert weights.grad.tolist() == [2.0, 2.0]
            assert np.float32(1e-40) * np.float32(1e-10) == 0  # would raise as an underflow
        assert (modes(), np.geterr()) == outside
        with pytest.raises(KeyError), own_settings():
            raise KeyError
        assert (modes(), np.geterr()) == outside


def test_a_default_dtype_is_refused_in_one_sentence_that_names_the_way_back():
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match=r"default dtype is torch.float64.*set_default_dtype"):
            check_defaults()
        with pytest.raises(ValueError, match="default dtype"), own_settings():
            pass
    finally:
        torch.set_default_dtype(torch.float32)
    check_defaults()


def test_a_default_device_is_refused_too():
    with torch.device("meta"), pytest.raises(ValueError, match=r"default device is meta.*'cpu'"):
        check_defaults()
    with torch.device("cpu"):
        check_defaults()


# For each setting a call that changes it; the setting's own statement restores it.
CHANGES = {
    "mkldnn off": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "mkldnn deterministic": lambda: setattr(torch.backends.mkldnn, "deterministic", True),
    "convolutions of reduced precision": lambda: setattr(
        torch.backends.mkldnn.conv, "fp32_precision", "bf16"
    ),
    "denormal numbers flushed to zero": lambda: torch.set_flush_denormal(True),
    "recurrent layers of reduced precision": lambda: setattr(
        torch.backends.mkldnn.rnn, "fp32_precision", "bf16"
    ),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "flash attention off": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "memory-efficient attention off": lambda: torch.backends.cuda.enable_mem_efficient_sdp(False),
    "math attention off": lambda: torch.backends.cuda.enable_math_sdp(False),
    "attention fast path off": lambda: torch.backends.mha.set_fastpath_enabled(False),
    "opt_einsum off": lambda: setattr(torch.backends.opt_einsum, "enabled", False),
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.text)
def test_a_changed_setting_is_named_and_its_statement_restores_it(setting):
    assert unusual_settings() == unusual_settings(built_in=True) == ""
    CHANGES[setting.text]()
    try:
        if not setting.met():
            pytest.skip("this machine or build lacks the setting")
        assert unusual_settings() == f", {setting.text}"
        assert bool(unusual_settings(built_in=True)) == setting.built_in
        assert how_to_restore("float32", "float32" + unusual_settings()) == setting.restore
    finally:
        exec(setting.restore, {"torch": torch})
    assert unusual_settings() == ""


def test_the_precision_of_products_is_told_through_either_of_torchs_settings():
    assert matmul_precision() == torch.get_float32_matmul_precision()
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        assert matmul_precision() == "bf16"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert how_to_restore("float32, matmul highest", "float32, matmul medium") == (
        "torch.set_float32_matmul_precision('highest')"
    )


def whole(on_progress=False):
    """Train, unlearn exactly and approximately, compare and repay; return the results."""
    x = torch.arange(240.0).view(60, 4).sin()
    data = uk.from_arrays(x, (x[:, 0] > 0).long(), num_classes=2)
    model = lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 2))  # noqa: E731
    session = uk.Session(data, model=model, num_shards=2, num_slices=2, epochs=2)
    session.train(on_progress=on_progress)
    first, second = session.plan.partition.ids[[3, 30]]
    session.revoke([first])
    session.unlearn(1, on_progress=on_progress)
    digests = [session.ensemble.digest]
    assert session.compare(on_progress=on_progress).bit_identical
    session.revoke([second])
    session.unlearn(0, on_progress=on_progress)
    digests.append(session.ensemble.digest)
    session.repay(on_progress=on_progress)
    digests.append(session.ensemble.digest)
    inputs, _ = session.dataset.examples(session.dataset.test.ids)
    return digests, session.score(), session.ensemble.probabilities(inputs).tolist()


@pytest.fixture(scope="module")
def plain():
    return whole()


@pytest.mark.parametrize(
    "setting",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: np.errstate(all="raise"),
    ],
)
def test_a_session_gives_the_same_bits_in_any_mode_of_the_caller(plain, setting):
    with setting():
        assert whole() == plain


def test_a_callback_that_changes_settings_of_the_thread_changes_no_bits(plain):
    before = torch.get_num_threads()

    def meddle(event):
        torch.set_grad_enabled(False)
        torch.set_num_threads(before + 1)

    try:
        assert whole(meddle) == plain
    finally:
        torch.set_num_threads(before)
    assert torch.is_grad_enabled()


def test_a_session_made_before_names_the_default_dtype():
    x = torch.arange(120.0).view(60, 2).sin()
    session = uk.Session((x, (x[:, 0] > 0).long()), model="logistic", num_shards=2, epochs=1)
    torch.set_default_dtype(torch.float64)
    try:
        for step in (session.train, session.score, session.assess):
            with pytest.raises(ValueError, match="default dtype"):
                step()
        assert "not trained" in repr(session) and not session.busy
    finally:
        torch.set_default_dtype(torch.float32)
    session.train(on_progress=False)
    assert session.trained
