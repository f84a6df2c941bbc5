"""Features in a store: kept for the next session, searched for after forgetting, audited."""

from pathlib import Path

import numpy as np
import pytest
import torch

import unlearnkit as uk
from backbones import BATCH, backbone, images
from unlearnkit.models.frozen.features import features_of
from unlearnkit.records.same_bits import AuditError
from unlearnkit.store import DiskStore, StoreError
from unlearnkit.store.feature_file import FEATURES

OPTIONS = {"num_shards": 3, "num_slices": 2, "epochs": 4, "batch_size": 8}


def session(folder, module=None, head="logistic", twins=0):
    model = uk.Frozen(backbone() if module is None else module, head=head, batch_size=BATCH)
    return uk.Session(images(twins=twins), model=model, store=folder, **OPTIONS)


def folder_holds(folder, row):
    bytes_ = row.numpy().tobytes()
    return any(bytes_ in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_store_gives_the_bits_of_memory_and_its_features_to_the_next_session(tmp_path):
    one, plain = session(tmp_path), session(None)
    for each in (one, plain):
        each.train(on_progress=False)
        each.score()
    assert one.ensemble.digest == plain.ensemble.digest
    kept = features_of(one.dataset.train).kept
    one.store.close()
    module, seen = backbone(), []
    module.register_forward_hook(lambda *given: seen.append(1))
    again = session(tmp_path, module)
    opened = len(seen)
    assert np.array_equal(features_of(again.dataset.train).kept, kept)
    assert again.score() == plain.score()
    for each in (again, plain):
        each.revoke(each.dataset.train.ids[[1, 30]])
        each.unlearn(1.0, on_progress=False)
    assert again.ensemble.digest == plain.ensemble.digest
    assert len(seen) == opened <= 4
    features = features_of(again.dataset.train)
    assert features._tensor().data_ptr() == features._file.values.data_ptr()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_forgotten_features_are_nowhere_in_the_store(tmp_path, share):
    one = session(tmp_path, twins=1)
    one.train(on_progress=False)
    train = one.dataset.train
    first, twin, other = train.ids[[0, -1, 7]]
    rows = train[[first, twin, other]][0]
    assert all(folder_holds(tmp_path, row) for row in rows)
    one.revoke([first, other])
    one.unlearn(share, on_progress=False)
    assert folder_holds(tmp_path, rows[1]), "an equal row that was not forgotten keeps its own"
    assert not folder_holds(tmp_path, rows[2])
    one.revoke([twin])
    one.unlearn(share, on_progress=False)
    assert not any(folder_holds(tmp_path, row) for row in rows)
    one.compare(on_progress=False)
    assert not any(folder_holds(tmp_path, row) for row in rows)


def test_a_crash_after_the_commit_is_made_good_when_the_store_is_opened(tmp_path, monkeypatch):
    one = session(tmp_path)
    one.train(on_progress=False)
    gone = one.dataset.train.ids[[2, 5]]
    rows = one.dataset.train[gone][0]
    monkeypatch.setattr("unlearnkit.models.frozen.features.Features.forget", _die)
    one.revoke(gone)
    with pytest.raises(KeyboardInterrupt):
        one.unlearn(1.0, on_progress=False)
    one.store.close()
    monkeypatch.undo()
    assert all(folder_holds(tmp_path, row) for row in rows)
    session(tmp_path)
    assert not any(folder_holds(tmp_path, row) for row in rows)


def _die(self, ids):
    if len(ids):
        raise KeyboardInterrupt


@pytest.mark.parametrize("forked_first", [True, False])
def test_a_fork_and_a_session_on_disk_forget_for_themselves(tmp_path, forked_first):
    one = session(tmp_path, twins=1)
    one.train(on_progress=False)
    branch = one.fork()
    gone = one.dataset.train.ids[[2, 5, 6, 40]]
    rows = one.dataset.train[gone][0]
    forgets, other = (branch, one) if forked_first else (one, branch)
    forgets.revoke(gone)
    forgets.unlearn(1.0, on_progress=False)
    assert any(folder_holds(tmp_path, row) for row in rows) == forked_first
    assert not any(row.numpy().tobytes() in memory_of(forgets) for row in rows)
    assert all(row.numpy().tobytes() in memory_of(other) for row in rows)
    other.revoke(one.dataset.train.ids[[7, 8]])
    other.unlearn(1.0, on_progress=False)
    assert other.compare(on_progress=False).bit_identical
    assert np.isin(gone, features_of(other.dataset.train).kept).all()


def memory_of(one):
    return features_of(one.dataset.train)._tensor().numpy().tobytes()


def test_a_fork_is_not_misled_by_the_next_session_on_its_store(tmp_path):
    one = session(tmp_path)
    one.train(on_progress=False)
    branch, gone = one.fork(), one.dataset.train.ids[[2, 5, 6, 40]]
    wanted = one.dataset.train[gone][0]
    next_one = session(tmp_path)  # takes the store over
    next_one.revoke(gone)
    next_one.unlearn(1.0, on_progress=False)
    assert not any(folder_holds(tmp_path, row) for row in wanted)
    assert torch.equal(branch.dataset.train[gone][0], wanted)
    branch.revoke(branch.dataset.train.ids[:1])
    branch.unlearn(1.0, on_progress=False)
    assert branch.compare(on_progress=False).bit_identical


def test_a_fork_is_not_misled_by_another_process_on_its_store(tmp_path):
    module, seen = backbone(), []
    one = session(tmp_path, module)
    one.train(on_progress=False)
    branch, ids = one.fork(), one.dataset.train.ids
    wanted = one.dataset.train[ids][0]
    one.store.close()
    with open(tmp_path / FEATURES, "r+b") as handle:  # as another process may do from now on
        handle.write(bytes(4 * wanted[0].numel()))
    module.register_forward_hook(lambda *given: seen.append(1))
    assert torch.equal(branch.dataset.train[ids][0], wanted)
    assert len(seen) == 2, "the row that is gone was computed again, once more as a check"
    with open(tmp_path / FEATURES, "r+b") as handle:
        handle.write(bytes(4 * wanted.numel()))
    assert torch.equal(branch.dataset.train[ids][0], wanted) and len(seen) == 2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_fork_takes_no_memory_for_features_in_a_file(tmp_path):
    rows = torch.arange(40_000).reshape(20_000, 2) % 251
    data = uk.from_arrays(rows.to(torch.uint8), rows[:, 0] % 2, offset=125, scale=125)
    wide = torch.nn.Sequential(torch.nn.Linear(2, 512), torch.nn.Tanh()).eval()
    model = uk.Frozen(wide, head="logistic", batch_size=512)
    settings = {"num_shards": 2, "num_slices": 1, "epochs": 1, "batch_size": 512, "threads": 1}
    one = uk.Session(data, model=model, store=tmp_path, **settings)
    one.train(on_progress=False)
    size = (tmp_path / FEATURES).stat().st_size
    before = anonymous()
    branch = one.fork()
    branch.dataset.train[branch.dataset.train.ids[:64]]
    assert anonymous() - before < size / 4


def anonymous():
    """Bytes of anonymous memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_damaged_features_are_computed_again(tmp_path):
    one = session(tmp_path)
    one.train(on_progress=False)
    digest, wanted = one.ensemble.digest, one.dataset.train.inputs()
    one.store.close()
    with open(tmp_path / FEATURES, "r+b") as handle:
        handle.write(b"damage" * 40)
    again = session(tmp_path)
    assert torch.equal(again.dataset.train.inputs(), wanted)
    again.revoke(again.dataset.train.ids[:1])
    again.unlearn(1.0, on_progress=False)
    assert again.compare(on_progress=False).bit_identical
    assert digest != again.ensemble.digest


def test_another_backbone_is_refused_and_changes_nothing(tmp_path):
    one = session(tmp_path)
    one.train(on_progress=False)
    one.store.close()
    before = (tmp_path / FEATURES).read_bytes()
    with pytest.raises(StoreError, match=r"belongs to another run\. Its backbone"):
        session(tmp_path, backbone(seed=4))
    with pytest.raises(StoreError, match=r"belongs to another run\. Its backbone"):
        uk.Session(images(), model="logistic", store=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match=r"'logistic on Sequential'.*give it as model="):
        uk.Session(images(), store=tmp_path)
    assert (tmp_path / FEATURES).read_bytes() == before


def test_a_read_only_session_predicts_and_writes_nothing(tmp_path):
    one = session(tmp_path)
    one.train(on_progress=False)
    expected = one.score()
    reader = session(DiskStore(tmp_path, read_only=True))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert reader.score() == expected
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_the_certificate_and_the_audit_tell_of_features(tmp_path):
    one = session(tmp_path)
    one.train(on_progress=False)
    one.score()
    one.revoke(one.dataset.train.ids[[2, 5]])
    one.unlearn(1.0, on_progress=False)
    content = one.certificate().content
    assert content["features"] == {
        "backbone": one.plan.architecture.backbone.described,
        "kept": 148,
        "of revoked": 0,
    }
    assert "148 examples, none of which is revoked" in " ".join(content["says"])
    model = uk.Frozen(backbone(), batch_size=BATCH)
    says = " ".join(uk.audit(tmp_path, dataset=images(), model=model, retrain=True))
    assert "features of 148 examples are kept, none of which is revoked; their marks are" in says
    assert "features have the bits that the backbone computes" in says
    assert "clean checkpoints have the bits that retraining from scratch" in says
    with pytest.raises(ValueError, match="the run's model was"):
        list(uk.audit(tmp_path, dataset=images(), model=uk.Frozen(backbone(4), batch_size=BATCH)))


def test_an_audit_finds_features_that_should_be_gone_or_were_changed(tmp_path):
    one = session(tmp_path)
    one.train(on_progress=False)
    one.revoke(one.dataset.train.ids[[0]])
    one.unlearn(1.0, on_progress=False)
    one.store.close()
    whole = bytearray((tmp_path / FEATURES).read_bytes())
    with_leak, changed = bytearray(whole), bytearray(whole)
    with_leak[:4] = b"left"  # of the first training example
    (tmp_path / FEATURES).write_bytes(with_leak)
    with pytest.raises(AuditError, match="of the revoked example 7 are still in the folder"):
        list(uk.audit(tmp_path))
    changed[13 * 4 + 1] ^= 1
    (tmp_path / FEATURES).write_bytes(changed)
    list(uk.audit(tmp_path))  # the folder alone does not show it
    with pytest.raises(AuditError, match="were changed"):
        model = uk.Frozen(backbone(), batch_size=BATCH)
        list(uk.audit(tmp_path, dataset=images(), model=model))


def test_modifications_on_features_are_replayed(tmp_path):
    one = session(tmp_path)
    one.train(on_progress=False)
    one.revoke(one.dataset.train.ids[[2, 5]])
    one.unlearn(0.0, on_progress=False, spot_check=False)
    model = uk.Frozen(backbone(), batch_size=BATCH)
    says = " ".join(uk.audit(tmp_path, dataset=images(), model=model, replay=True))
    assert "the bits that modifying the original models again gives" in says


def test_a_saved_ensemble_needs_the_same_backbone(tmp_path):
    one = session(None, head=uk.MLP((6,)))
    one.train(on_progress=False)
    one.ensemble.save(tmp_path / "saved")
    again = uk.load_ensemble(tmp_path / "saved", model=uk.Frozen(backbone(), batch_size=BATCH))
    rows = one.dataset.raw(one.dataset.test.ids)
    assert torch.equal(again.probabilities(rows), one.ensemble.probabilities(rows))
    assert torch.equal(
        again.predict(one.dataset.test.inputs()), one.ensemble.predict(one.dataset.test.inputs())
    )
    for model, words in (
        (None, "'mlp on Sequential', a model of its author's own"),
        (uk.MLP((6,)), "heads are on a frozen backbone"),
        (uk.Frozen(backbone(4), batch_size=BATCH), "another version"),
        (uk.Frozen(backbone(), batch_size=BATCH + 1), "another version"),
    ):
        with pytest.raises(ValueError, match=words):
            uk.load_ensemble(tmp_path / "saved", model=model)


def test_a_script_leaves_the_backbone_to_be_filled_in():
    text = session(None, head=uk.MLP((6,))).to_script()
    assert "model=uk.Frozen(" in text
    assert "to fill in: the backbone 'Sequential'" in text and "head=uk.MLP(hidden=(6,)" in text
    assert f"batch_size={BATCH}" in text
