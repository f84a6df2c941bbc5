"""The footprint: peaks follow from the checkpoints, and a large one is announced."""

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import unlearnkit as uk
from cases import CASES
from unlearnkit import Session
from unlearnkit.store import disk, footprint
from unlearnkit.store.footprint import Footprint, free_disk, free_memory

MB = 10**6


def test_in_memory_the_old_checkpoints_are_counted_while_unlearning() -> None:
    found = Footprint(4 * MB, 10, 240 * MB, 20 * MB, 12 * MB)
    assert (found.training, found.unlearning) == (252 * MB, 492 * MB)
    assert (found.modifying, found.comparing) == (496 * MB, 344 * MB)
    assert repr(found) == (
        "Footprint(240 MB of checkpoints in memory; peak memory: training 252 MB, retraining every "
        "shard 492 MB, modifying every shard 496 MB, comparing 344 MB)"
    )


def test_on_disk_only_what_is_at_work_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "CACHE_BYTES", 5 * MB)
    found = Footprint(4 * MB, 10, 240 * MB, 20 * MB, 12 * MB, Path("folder"))
    assert (found.training, found.unlearning) == (32 * MB, 73 * MB)
    assert (found.modifying, found.comparing) == (109 * MB, 173 * MB)


def test_more_than_a_quarter_of_the_free_space_is_announced_with_the_ways_out() -> None:
    found = Footprint(4 * MB, 10, 240 * MB, 20 * MB, 12 * MB)
    assert not found.warning(free=960 * MB)
    assert "store='folder', or use fewer shards or slices" in found.warning(free=959 * MB)
    on_disk = Footprint(4 * MB, 10, 240 * MB, 20 * MB, 12 * MB, Path("place"))
    assert "in place; use fewer shards" in on_disk.warning(free=959 * MB)


def test_the_free_memory_is_read_where_the_system_tells_it(tmp_path: Path) -> None:
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:  8000 kB\nMemFree:  1000 kB\nMemAvailable:  3000 kB\n")
    assert free_memory(str(table)) == 3000 * 1024
    assert free_disk(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", ["logistic", "cnn-batchnorm"])
def test_the_bytes_announced_are_those_kept_after_training(name: str, tmp_path: Path) -> None:
    for store in (None, tmp_path):
        session = CASES[name].session(store=store)
        announced = session.footprint
        session.train()
        assert announced.checkpoints == session.store.nbytes
        final = session.store.get(session.plan.final_key(0))
        assert announced.final == final.nbytes
        assert announced.model == sum(tensor.nbytes for tensor in final.state.values())


class Live(TorchDispatchMode):
    """Counts the bytes of tensors that operations made and that are still in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, Tensor):
                memory = each.untyped_storage()
                if memory._cdata not in self.known:
                    self.known[memory._cdata] = memory.nbytes()
                    self.now += memory.nbytes()
                    weakref.finalize(memory, self.drop, memory._cdata)
        self.most = max(self.most, self.now)
        return made

    def drop(self, key: int) -> None:
        self.now -= self.known.pop(key)


def in_this_mode(live: Live, work: Callable[[], object]) -> None:
    """Do work in a thread that is not the main one, so that no other thread does it instead."""

    def run() -> None:
        with live:
            work()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_announced_peaks_are_those_of_the_tensors_in_memory(
    on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnkit.training.kernels.stacked.GROUP_STATE_BYTES", 1)
    monkeypatch.setattr("unlearnkit.approximate.influence.stacked.BATCH_BYTES", 1)
    for module in (disk, footprint):
        monkeypatch.setattr(module, "CACHE_BYTES", 1)  # nothing is cached
    data = torch.randn(24, 256), torch.arange(24) % 2
    settings = dict(num_shards=3, num_slices=2, epochs=2)
    for share, step in ((1.0, "unlearning"), (0.0, "modifying")):
        with Live() as live:
            session = Session(
                data, model=uk.MLP((256,)), store=tmp_path / step if on_disk else None, **settings
            )
            part = session.plan.partition
            first = [part.ids[(part.shard == s) & (part.slice_ == 1)][0] for s in range(3)]
            session.revoke(first)
            for name, work in (
                ("training", session.train),
                (step, partial(session.unlearn, share)),
                ("comparing", session.compare),
            ):
                announced = getattr(session.footprint, name)
                live.most = live.now
                in_this_mode(live, work)
                assert live.most == pytest.approx(announced, rel=0.25), name


def test_a_session_warns_before_training_and_not_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "free_memory", lambda: 1000)
    settings = dict(model="logistic", epochs=1, num_shards=2, num_slices=1)
    with pytest.warns(UserWarning, match="will take .* keep them on disk"):
        session = Session("digits", **settings)
    session.train()
    Session("digits", store=session.store, **settings)  # trained: nothing to announce
