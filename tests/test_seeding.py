"""Seeds and digests: the same key gives the same numbers, and other keys give other ones."""

import numpy as np
import torch

from unlearnkit.seeding import derive, digest, numpy_generator, state_bytes, torch_generator


def test_a_key_is_read_part_by_part():
    keys = [(1,), (2,), ("1",), (1, 2), (12,), ("ab", "c"), ("a", "bc"), ("abc",), (-1,)]
    seeds = [derive(*key) for key in keys]
    assert len(set(seeds)) == len(keys) and all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [derive(*key) for key in keys]


def test_generators_are_private_and_repeatable():
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    a, b = numpy_generator(3, "x").random(9), numpy_generator(3, "x").random(9)
    assert (a == b).all() and (a != numpy_generator(4, "x").random(9)).all()
    c, d = (torch.rand(9, generator=torch_generator(3, "x")) for _ in range(2))
    assert torch.equal(c, d)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_bytes_of_a_state_tell_bits_kinds_and_names_apart():
    state = {"w": torch.tensor([0.0, 1.0])}
    others = [
        {"w": torch.tensor([-0.0, 1.0])},
        {"w": torch.tensor([[0.0, 1.0]])},
        {"w": torch.tensor([0.0, 1.0], dtype=torch.float64)},
        {"v": torch.tensor([0.0, 1.0])},
    ]
    assert state_bytes(state) == state_bytes({"w": torch.tensor([0.0, 1.0])})
    assert len({state_bytes(each) for each in (state, *others)}) == 5
    assert digest("a", "bc") != digest("ab", "c")
