"""The file format: what is encoded is decoded to the bit, and no altered byte passes."""

import numpy as np
import pytest
import torch

from unlearnkit.store import Approximation, Checkpoint
from unlearnkit.store.codec import decode, encode, name_of

STATE = {
    "w": torch.tensor([[1.5, float("nan")], [-0.0, float("inf")]]),
    "half": torch.tensor([0.1, 0.2], dtype=torch.bfloat16),
    "double": torch.tensor(0.1, dtype=torch.float64),
    "n": torch.tensor([2**62, -1]),
    "mask": torch.tensor([True, False]),
    "none": torch.zeros(0, 3),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}
CLEAN = Checkpoint("abc", 3, 2, STATE, {1: STATE, 4: STATE}, b"\xf0\x01")


def file_of(kept: Checkpoint | Approximation) -> bytes:
    return b"".join(encode(kept)[0])


def same(a: Checkpoint, b: Checkpoint) -> bool:
    states = [(a.state, b.state), *((a.tails[q], b.tails[q]) for q in a.tails)]
    return (a.key, a.shard, a.stage, a.lineage) == (b.key, b.shard, b.stage, b.lineage) and all(
        list(one) == list(other)
        and all(
            one[name].dtype == other[name].dtype
            and one[name].shape == other[name].shape
            and one[name].contiguous().reshape(-1).view(torch.uint8).tolist()
            == other[name].contiguous().reshape(-1).view(torch.uint8).tolist()
            for name in one
        )
        for one, other in states
    )


def test_a_checkpoint_comes_back_to_the_bit() -> None:
    back, digest = decode(name_of(CLEAN), file_of(CLEAN))
    assert isinstance(back, Checkpoint) and digest == encode(CLEAN)[1]
    assert list(back.tails) == [1, 4] and same(CLEAN, back)


def test_an_approximation_comes_back_to_the_bit() -> None:
    kept = Approximation(
        3, "abc", np.array([3, 9]), {2: CLEAN, 1: Checkpoint("b", 3, 1, STATE, {})}, 'in "words"'
    )
    back, _ = decode(name_of(kept), file_of(kept))
    assert isinstance(back, Approximation)
    assert (back.base, back.debt.tolist(), back.method) == ("abc", [3, 9], 'in "words"')
    assert list(back.checkpoints) == [1, 2]
    assert all(same(kept.checkpoints[stage], back.checkpoints[stage]) for stage in (1, 2))


def test_a_flipped_byte_anywhere_is_noticed() -> None:
    data = file_of(Checkpoint("abc", 3, 2, {"w": torch.ones(2)}, {}))
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(ValueError, match="does not match its digest"):
            decode("shard-0003/abc.safetensors", flipped)


def test_a_file_at_anothers_place_is_refused() -> None:
    assert name_of(CLEAN) == "shard-0003/abc.safetensors"
    assert (
        name_of(Approximation(3, "abc", np.array([3]), {2: CLEAN}, ""))
        == "shard-0003/approximate-abc.safetensors"
    )
    with pytest.raises(ValueError, match=r"it belongs at shard-0003/abc\.safetensors"):
        decode("shard-0002/abc.safetensors", file_of(CLEAN))
    with pytest.raises(ValueError, match="cannot name a file"):
        name_of(Checkpoint("../abc", 3, 2, STATE, {}))
    with pytest.raises(TypeError, match="complex128, which a store cannot keep"):
        encode(Checkpoint("abc", 3, 2, {"w": torch.zeros(1, dtype=torch.complex128)}, {}))
