"""Stores: what is kept, what is destroyed, and what a folder survives."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from cases import CASES
from lineage import parse
from stores import Store, approximation, checkpoint, reopened
from unlearnkit import DiskStore, Session, StoreError
from unlearnkit.records.audit import audit
from unlearnkit.store import Approximation, Checkpoint
from unlearnkit.training.plan import Plan
from worker import content

CASE = CASES["logistic"]


def assert_same(a: Store, b: Store) -> None:
    assert a.keys == b.keys
    for key in a.keys:
        assert content(a.get(key)) == content(b.get(key))


def test_a_fork_is_independent(store: Store) -> None:
    store.put(checkpoint("a"))
    other = store.fork()
    other.prune([], [])
    other.put(checkpoint("b"))
    assert reopened(store).keys == {"a"} and other.keys == {"b"}
    assert not isinstance(other, DiskStore)


# A session's folder


def files(folder: Path) -> dict[str, bytes]:
    """All that a folder holds, but for who opened it last."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("holder.json", "store.lock")
    }


def unlearned_on_disk(folder: Path) -> Session:
    """Trained, then one exact request, then one approximate one."""
    session = CASE.session(store=folder)
    session.train()
    for max_share in (1, 0):
        session.revoke(count=2, seed=4)
        session.unlearn(max_share)
    return session


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    session = CASE.session(store="~/run")
    session.train()
    session.revoke(count=2, seed=4)
    session.unlearn(1)
    assert (tmp_path / "run" / "manifest.json").is_file()
    session.certificate().to_json("~/certificate.json")
    assert (tmp_path / "certificate.json").is_file()
    session.store.close()
    assert Session(CASE.dataset(), store="~/run").plan.keys == session.plan.keys
    assert [*audit("~/run")]


def test_a_folder_is_resumed_with_the_same_bits_requests_and_debt(tmp_path: Path) -> None:
    session = unlearned_on_disk(tmp_path)
    assert session.debt
    again = CASE.session(store=tmp_path)
    assert_same(again.store, session.store)
    assert again.revoked.tolist() == session.revoked.tolist()
    assert again.plan.chains == session.plan.chains
    assert {s: d.tolist() for s, d in again.debt.items()} == {
        s: d.tolist() for s, d in session.debt.items()
    }
    assert again.ledger().equals(session.ledger())
    assert again.trained and again.original is None
    for a, b in zip(again.ensemble.constituents, session.ensemble.constituents, strict=True):
        assert all(torch.equal(a.state[name], b.state[name]) for name in a.state)


def test_a_resumed_session_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    in_memory = CASE.session()
    in_memory.train()
    CASE.session(store=tmp_path).train()
    for seed, max_share in enumerate((0, 0, 1, 0.2)):
        session = CASE.session(store=tmp_path)
        for one in (session, in_memory):
            one.revoke(count=3, seed=seed)
            one.unlearn(max_share)
        assert_same(session.store, in_memory.store)
    for one in (session, in_memory):
        one.repay()
    assert_same(CASE.session(store=tmp_path).store, in_memory.store)


def test_rounds_that_correct_later_stages_fit_a_folder(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    partition = session.plan.partition
    for r in (1, 2):  # the second round leaves stage 1 as the first one corrected it
        session.revoke(partition.ids[(partition.shard == 0) & (partition.slice_ == r)][:2])
        session.unlearn(0)
    assert len(CASE.session(store=tmp_path).debt[0]) == 4


@pytest.mark.parametrize("moment", ["train", "modify", "commit", "settle"])
def test_after_a_crash_the_folder_opens_and_the_next_run_ends_in_the_same_bits(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        """Not to be handled by anyone: the process would be gone."""

    expected, session = CASE.session(), CASE.session(store=tmp_path)
    for one in (expected, session):
        one.train()
        one.revoke(count=5, seed=1)
        one.preview(0.6)  # which also rehearses, so that nothing below does
    result = expected.unlearn(0.6)
    assert result.decision.exact and result.decision.approximate
    progress = iter(range(1000))

    def crash(*args: object, **kwargs: object) -> None:
        raise Crash

    # No clean-up may run either, so we cut off the functions that would do it.
    monkeypatch.setattr("unlearnkit.unlearning.unlearn.settle", crash)
    if moment == "commit":
        monkeypatch.setattr(DiskStore, "commit", crash)
    with pytest.raises(Crash):
        session.unlearn(
            0.6,
            on_progress=lambda event: (
                crash()
                if (moment == "train" and next(progress) == 3)
                or (moment == "modify" and event.phase == "modify")
                else None
            ),
        )
    monkeypatch.undo()
    again = CASE.session(store=tmp_path)
    assert again.trained
    assert again.store.keys <= again.plan.keys
    if moment == "settle":  # the manifest was replaced: the request is completed
        assert again.revoked.tolist() == expected.revoked.tolist()
    else:
        assert not len(again.revoked)
        again.revoke(expected.revoked)
        again.unlearn(0.6)
    assert_same(again.store, expected.store)


@pytest.mark.parametrize(
    ("change", "both"),
    [
        (
            {"spec": CASE.spec.with_(seed=5)},
            r"Its spec: TrainSpec\(.*seed=0.*session's spec: .*seed=5",
        ),
        (
            {"model": "mlp"},
            r"Its model: .*'kind': 'logistic'.*This session's model: .*'mlp'.*'activation': 'gelu'",
        ),
        ({"data": "squared-error"}, r"Its dataset: .*'logistic'.*dataset: .*'squared-error'"),
        ({"partition": True}, r"Its partition: \w+\. This session's partition: \w+"),
    ],
    ids=["spec", "model", "dataset", "partition"],
)
def test_a_folder_of_another_run_is_refused_and_not_touched(
    change: dict[str, object], both: str, tmp_path: Path
) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    before = files(tmp_path)
    options: dict[str, object] = {"spec": CASE.spec, "model": CASE.model, "store": tmp_path}
    data = CASES[str(change.pop("data", "logistic"))].dataset()
    if change.pop("partition", False):
        partition = session.plan.partition
        change["partition"] = replace(partition, shard=(partition.shard + 1) % 3)
    with pytest.raises(StoreError, match=both):
        Session(data, **{**options, **change})
    assert before == files(tmp_path)
    FileLock(tmp_path / "store.lock", timeout=0).acquire()  # nobody holds it


def test_a_damaged_file_is_refused_by_name_and_trained_again_on_request(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    undisturbed = session.store.fork()
    path = sorted(tmp_path.glob("shard-0001/*"))[0]
    whole = path.read_bytes()
    damages = {cut: whole[:cut] for cut in (0, 5, len(whole) // 2, len(whole) - 1)}
    for at in (3, 40, len(whole) // 4, len(whole) // 2, len(whole) - 1):
        damages[-at] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    for damaged in damages.values():
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=rf"{path.name} is damaged .*repair=True"):
            DiskStore(tmp_path).verify()
        assert path.read_bytes() == damaged
    path.unlink()
    with pytest.raises(StoreError, match=rf"{path.name} is damaged .*missing.*repair=True"):
        CASE.session(store=tmp_path)
    DiskStore(tmp_path, repair=True)  # as the message advises
    session = CASE.session(store=tmp_path)
    assert {run.shard for run in session.train().runs} == {1}
    assert_same(session.store, undisturbed)


def test_leftovers_of_interrupted_writing_are_removed(tmp_path: Path) -> None:
    (tmp_path / "shard-0000").mkdir()
    for folder in (tmp_path, tmp_path / "shard-0000"):
        (folder / ".writing-x").write_bytes(b"half")
    DiskStore(tmp_path)
    assert not files(tmp_path)


def test_no_file_holds_the_bytes_of_a_destroyed_checkpoint(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    before: Plan = session.plan
    stale = {stage.key: session.store.get(stage.key) for stage in before.stages}
    session.revoke(before.partition.ids[::6])
    session.unlearn(0.2)
    written = b"".join(files(tmp_path).values())
    for key in before.keys - session.plan.keys:
        assert stale[key].state["1.weight"].numpy().tobytes() not in written
    for key in session.store.keys:
        assert session.store.get(key).state["1.weight"].numpy().tobytes() in written


@pytest.mark.parametrize("committed", [False, True])
def test_an_approximation_that_is_replaced_is_destroyed(store: Store, committed: bool) -> None:
    first = approximation("a", checkpoint("a", value=0.123), checkpoint("b", stage=2, value=0.321))
    second = approximation("a", checkpoint("c", stage=2, value=0.5))
    on_disk = isinstance(store, DiskStore)
    for one in (first, second):
        store.put_approximation(one)
        assert content_of(store.approximation("a")) == content_of(one)  # nor from the cache
        if committed and on_disk:
            store.commit({})
    again = reopened(store)
    assert content_of(again.approximation("a")) == content_of(second)
    assert again.nbytes == second.nbytes and not again.keys
    if on_disk:
        written = b"".join(files(store.folder).values())
        for gone in first.checkpoints.values():
            assert gone.state["w"].numpy().tobytes() not in written
        assert second.checkpoints[2].state["w"].numpy().tobytes() in written


def content_of(kept: Approximation) -> dict[int, object]:
    return {stage: content(each) for stage, each in kept.checkpoints.items()}


def test_no_file_holds_the_bytes_of_a_replaced_approximation(tmp_path: Path) -> None:
    session = CASE.session(store=tmp_path)
    session.train()
    replaced: list[bytes] = []
    for _ in range(3):
        plan = session.plan
        for shard in session.debt:
            kept = session.store.approximation(plan.final_key(shard))
            end = kept.checkpoints[CASE.spec.num_slices]
            replaced.append(end.state["1.weight"].numpy().tobytes())
        rows = [plan.partition.shard_rows(shard) for shard in range(plan.num_shards)]
        session.revoke([int(plan.partition.ids[of[plan.retained[of]][0]]) for of in rows])
        session.unlearn(0)
        written = b"".join(files(tmp_path).values())
        assert not any(weights in written for weights in replaced)
        names = {path.stem for path in tmp_path.glob("shard-*/approximate-*")}
        assert names == {f"approximate-{session.plan.final_key(shard)}" for shard in session.debt}
    assert len(replaced) == 2 * CASE.spec.num_shards


def test_what_is_put_is_whole_in_its_file_when_put_returns(tmp_path: Path) -> None:
    session = CASES["logistic"].session()
    session.train()
    store = DiskStore(tmp_path)
    for key in sorted(session.store.keys):
        store.put(session.store.get(key))
        (path,) = tmp_path.glob(f"shard-*/{key}.safetensors")
        (artefact,) = parse(path)
        assert artefact.shard == session.store.get(key).shard


def test_checkpoints_of_another_model_are_refused(tmp_path: Path) -> None:
    state = {"w": torch.zeros(2, 3), "n": torch.tensor(7)}
    kept = Checkpoint("a" * 8, 0, 1, state, {1: state}, b"\xf0")
    store = DiskStore(tmp_path)
    store.put(kept)
    kinds = {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
    store.expect(kinds)
    assert torch.equal(store.get("a" * 8).state["w"], state["w"])
    for name, kind in (("w", (torch.Size([3, 2]), None)), ("n", (torch.Size([]), torch.float32))):
        store.expect({**kinds, name: kind})
        with pytest.raises(StoreError, match=f"its tensor '{name}' is .*, but the run's model has"):
            store.get("a" * 8)
    store.expect({"w": (torch.Size([2, 3]), None)})
    with pytest.raises(StoreError, match="its tensors are not those of the run's model"):
        store.get("a" * 8)
    store.expect({"w": (torch.Size([2, 3]), None)}, others=True)
    assert store.get("a" * 8).stage == 1


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="is a file; give the path of a folder"):
        DiskStore(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
