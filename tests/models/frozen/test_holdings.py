"""What a backbone consists of is found by following it, and identifies it in every process."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backbones import backbone
from unlearnkit.models.frozen.holdings import Holdings
from unlearnkit.models.surroundings import changed

WORDS = {"red", "green", "blue", "cyan"}
TABLE = np.arange(4.0)


class Encoder:
    """An object that holds a module, as a guest's pipeline does."""

    def __init__(self, module):
        self.model, self.scale, self.calls = module, 2.0, {}

    def encode(self, rows):
        return self.model(rows) * self.scale

    def __call__(self, rows):
        return self.encode(rows)


def reads_globals(texts):
    return [[TABLE[len(text) % 4] * (text in {"a", "b", "c"}), text in WORDS] for text in texts]


def test_modules_are_found_wherever_they_are_held():
    module = backbone()
    pipeline = Encoder(module)
    for given in (
        module,
        module.forward,
        pipeline,
        pipeline.encode,
        functools.partial(nn.functional.relu, module),
        lambda rows: module(rows),
        lambda rows: pipeline.encode(rows),
        {"module": [pipeline]}["module"][0].encode,
    ):
        assert list(Holdings(given).modules.values()) == [module]
    assert not Holdings(reads_globals).modules


def test_a_change_is_named():
    pipeline = Encoder(backbone())
    one = Holdings(pipeline.encode)
    before = one.state()
    with torch.no_grad():
        pipeline.model[4].bias[0] += 1
    assert changed(before, one.state()) == ("backbone.model.4.bias",)
    pipeline.scale = 3.0
    assert one.identity() != Holdings(Encoder(backbone()).encode).identity()


def test_the_identity_follows_code_values_and_tensors():
    def plus(by):
        return lambda rows: rows.flatten(1) + by

    found = [plus(1), plus(2), lambda rows: rows.flatten(1) - 1, backbone(), backbone(4)]
    found += [Encoder(backbone()), nn.Sequential(nn.Linear(2, 2), nn.ReLU()), reads_globals]
    assert len({Holdings(each).identity() for each in found}) == len(found)
    assert Holdings(plus(1)).identity() == Holdings(plus(1)).identity()
    assert Holdings(backbone()).identity() == Holdings(backbone()).identity()


IDENTITY = """
import sys; sys.path.insert(0, sys.argv[1])
from models.frozen.test_holdings import *
print(Holdings(reads_globals).identity(), Holdings(Encoder(backbone()).encode).identity())
"""


def test_the_identity_is_the_same_in_another_process():
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", IDENTITY, str(root / "tests")]
    seen = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True, env=_environment(root)
    ).stdout.split()
    assert seen == [
        Holdings(reads_globals).identity(),
        Holdings(Encoder(backbone()).encode).identity(),
    ]


def _environment(root):
    import os

    return {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(root)}


def test_modules_in_training_mode_compiled_or_without_values_are_refused():
    inside = nn.Sequential(backbone(), nn.Linear(13, 2)).eval()
    inside[0][1].train()
    with pytest.raises(ValueError, match=r"net is in training mode \(backbone\.0\.1 is a BatchN"):
        Holdings(inside).check_layers("net")
    with pytest.raises(TypeError, match="TorchScript"):
        Holdings(torch.jit.trace(backbone(), torch.ones(1, 2, 5, 5))).check_layers("net")
    with pytest.raises(ValueError, match=r"backbone\.weight is on the meta device"):
        Holdings(nn.Linear(2, 2, device="meta").eval()).check_layers("net")
