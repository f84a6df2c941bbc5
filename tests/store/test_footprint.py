"""The footprint: peaks follow from the checkpoints, and a large one is announced."""

from pathlib import Path

import pytest

from cases import CASES
from unlearnkit import Session
from unlearnkit.store import footprint
from unlearnkit.store.footprint import Footprint, free_disk, free_memory

MB = 10**6


def test_in_memory_the_old_checkpoints_are_counted_while_unlearning() -> None:
    found = Footprint(4 * MB, 10, 240 * MB, 16 * MB)
    assert (found.training, found.unlearning, found.comparing) == (256 * MB, 536 * MB, 336 * MB)
    assert repr(found) == (
        "Footprint(240 MB of checkpoints in memory; peak memory: training 256 MB, unlearning up to "
        "536 MB, comparing up to 336 MB)"
    )


def test_on_disk_only_models_at_work_are_counted() -> None:
    found = Footprint(4 * MB, 10, 240 * MB, 16 * MB, Path("folder"))
    assert (found.training, found.unlearning, found.comparing) == (16 * MB, 56 * MB, 136 * MB)


def test_more_than_a_quarter_of_the_free_space_is_announced_with_the_ways_out() -> None:
    found = Footprint(4 * MB, 10, 240 * MB, 16 * MB)
    assert not found.warning(free=960 * MB)
    assert "store='folder', or use fewer shards or slices" in found.warning(free=959 * MB)
    on_disk = Footprint(4 * MB, 10, 240 * MB, 16 * MB, Path("place"))
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
        state = session.ensemble.constituents[0].state
        assert announced.model == sum(tensor.nbytes for tensor in state.values())


def test_a_session_warns_before_training_and_not_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "free_memory", lambda: 1000)
    settings = dict(model="logistic", epochs=1, num_shards=2, num_slices=1)
    with pytest.warns(UserWarning, match="will take .* keep them on disk"):
        session = Session("digits", **settings)
    session.train()
    Session("digits", store=session.store, **settings)  # trained: nothing to announce
