"""The audit that trains from scratch: what it passes, what it finds, what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cases
from cases import CASES, Case, norm_and_dropout
from tampering import altered, at_most, offsets, recorded_again, with_manifest
from unlearnkit import CrossEntropy, Session, from_arrays
from unlearnkit.__main__ import main
from unlearnkit.records.audit import AuditError, audit

LOGISTIC = CASES["logistic"]


def mixed(case: Case, folder: Path, **options: Any) -> Session:
    """Exact, approximate and mixed requests, a repayment, and a debt at the end."""
    session = case.session(store=folder, **options)
    session.train()
    rng = np.random.default_rng(2)
    for number, max_share in enumerate((1, 0, 0.4, 1, 0)):
        left = session.plan.partition.ids[session.plan.retained]
        session.revoke(rng.choice(left, 2, replace=False))
        session.unlearn(max_share)
        if number == 2:
            session.repay()
    session.store.close()
    assert session.debt
    return session


def data() -> Any:
    """What ``--data records.test_audit:data`` names."""
    return LOGISTIC.dataset()


@pytest.mark.parametrize("name", ["logistic", "mlp-dropout", "cnn-batchnorm"])
def test_a_good_store_has_the_bits_of_training_from_scratch(name: str, tmp_path: Path) -> None:
    session = mixed(CASES[name], tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    said = list(audit(session.store, session.store.head, dataset=CASES[name].dataset()))
    assert f"{len(session.store.keys)} clean checkpoints have the bits" in said[-2]
    assert f"without the {len(session.revoked)} revoked examples" in said[-2]
    assert said[-1].startswith(f"{len(session.debt)} of ") and "debt" in said[-1]
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_repaid_all_constituents_are_compared(tmp_path: Path) -> None:
    mixed(LOGISTIC, tmp_path)
    session = LOGISTIC.session(store=tmp_path)
    session.repay()
    said = list(audit(tmp_path, dataset=data()))
    assert f"{len(session.plan.keys)} clean checkpoints have the bits" in said[-1]


@pytest.mark.parametrize("tensor", ["end/", "1/"])
def test_weights_altered_consistently_are_found(
    tensor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = LOGISTIC.session(store=tmp_path)
    session.train()
    session.revoke(count=3)
    session.unlearn(1)
    session.store.close()
    # Tails are with the last stage only.
    for path in sorted(tmp_path.glob("shard-0000/*")):
        if tensor == "1/" and b'"1/' not in path.read_bytes()[:4000]:
            path.rename(path.with_name("z" + path.name))  # looked at last
    first = altered(tmp_path, offsets(tensor))
    for path in tmp_path.glob("shard-0000/z*"):
        path.rename(path.with_name(path.name[1:]))
    with pytest.raises(AuditError, match="is not the file that the ledger records"):
        list(audit(tmp_path))
    recorded_again(tmp_path)
    list(audit(tmp_path))  # the folder alone does not tell
    with pytest.raises(AuditError, match="no line of the ledger has the head"):
        list(audit(tmp_path, session.store.head))
    command = ["audit", str(tmp_path), "--retrain", "--data", "records.test_audit:data"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("BROKEN: the clean checkpoint of shard 0, stage ")
    assert first.stem in error and "is not what retraining from scratch gives: 1 of " in error
    assert ("at its end" if tensor == "end/" else "at its tail 1") in error


def test_the_command_line_takes_a_named_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session("digits", model="mlp", hidden=(9,), epochs=2, store=tmp_path)
    session.train()
    session.revoke([3, 141, 592])
    session.unlearn(0)
    session.store.close()
    command = ["audit", str(tmp_path), "--retrain"]
    assert main([*command, "--data", "digits"]) == 0
    out = capsys.readouterr().out
    assert "clean checkpoints have the bits" in out and "constituents are approximate" in out
    assert main([*command, "--data", "digits", "--num-examples", "900"]) == 2
    error = capsys.readouterr().err
    assert error.count("with fingerprint") == 2 and session.dataset.fingerprint in error
    assert main([*command, "--data", "digitz"]) == 2
    assert "no dataset is named 'digitz'" in capsys.readouterr().err
    assert main([*command, "--data", "nowhere:data"]) == 2
    assert "nowhere:data was not found" in capsys.readouterr().err
    for wrong in (command, ["audit", str(tmp_path), "--data", "digits"]):
        with pytest.raises(SystemExit):
            main(wrong)


def test_a_model_of_ones_own_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES["uneven"]
    mixed(case, tmp_path, version="3")
    with pytest.raises(
        ValueError, match=r"'norm_and_dropout' is not a built-in one; give it: --mod"
    ):
        list(audit(tmp_path, dataset=case.dataset()))
    list(audit(tmp_path, dataset=case.dataset(), model=norm_and_dropout))
    with pytest.raises(ValueError, match=r"the run's model was .* but here it is .*'mlp'"):
        list(audit(tmp_path, dataset=case.dataset(), model="mlp"))
    assert cases.norm_and_dropout is norm_and_dropout
    command = ["audit", str(tmp_path), "--retrain", "--data", "records.test_audit:data"]
    assert main([*command, "--model", "cases:norm_and_dropout"]) == 2
    assert "the data given is 'logistic'" in capsys.readouterr().err


class Own(CrossEntropy):
    """A loss that the package does not know."""


def test_a_loss_of_ones_own_is_given(tmp_path: Path) -> None:
    session = mixed(LOGISTIC, tmp_path, spec=LOGISTIC.spec.with_(loss=Own()))
    with pytest.raises(ValueError, match=r"custom loss .*spec="):
        list(audit(tmp_path, dataset=data()))
    list(audit(tmp_path, dataset=data(), spec=session.spec))
    with pytest.raises(ValueError, match="the run's spec was"):
        list(audit(tmp_path, dataset=data(), spec=LOGISTIC.spec))


def test_a_store_of_an_earlier_version_says_what_it_lacks(tmp_path: Path) -> None:
    mixed(LOGISTIC, tmp_path)
    with_manifest(tmp_path, lambda content: content["run"].pop("rebuild"))
    with pytest.raises(ValueError, match=r"earlier version .* does not say how .*train\(\)"):
        list(audit(tmp_path, dataset=data()))
    list(audit(tmp_path, dataset=data(), model="logistic", spec=LOGISTIC.spec))
    session = LOGISTIC.session(store=tmp_path)
    session.train()
    list(audit(tmp_path, dataset=data()))


def test_another_environment_is_named(tmp_path: Path) -> None:
    mixed(LOGISTIC, tmp_path)
    with_manifest(tmp_path, lambda content: content["run"]["environment"].update(torch="1.0"))
    recorded_again(tmp_path)
    with pytest.raises(ValueError, match=r"environment was .*'1.0'.* here it is"):
        list(audit(tmp_path, dataset=data()))


def test_an_interrupted_training_is_said_to_be_one(tmp_path: Path) -> None:
    session = LOGISTIC.session(store=tmp_path)
    session.train()
    session.store.prune([session.plan.chains[0][0].key], [])
    LOGISTIC.session(store=tmp_path).store.close()  # the ledger takes note of it
    said = list(audit(tmp_path, dataset=data()))
    assert said[-2].startswith("1 clean checkpoints have the bits")
    assert said[-1] == "3 of 3 constituents are not trained yet"


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "mlp", "hidden": [10**12]},
        {"kind": "mlp", "hidden": [10**9, 10**9]},
        {"kind": "mlp", "hidden": 3},
        {"kind": "os.system", "hidden": []},
        {"kind": "logistic", "x": 1},
        [],
        7,
    ],
    ids=str,
)
def test_a_strangers_model_is_not_built(value: object, tmp_path: Path) -> None:
    mixed(LOGISTIC, tmp_path)
    with_manifest(
        tmp_path, lambda content: content["run"]["rebuild"]["model"].update({"built-in": value})
    )
    with at_most(512), pytest.raises(AuditError, match="spec or model cannot be built"):
        list(audit(tmp_path, dataset=data()))


@pytest.mark.parametrize("value", [{"loss": "x"}, {"loss": "cross-entropy", "seed": []}, 3, None])
def test_a_strangers_spec_is_not_believed(value: object, tmp_path: Path) -> None:
    mixed(LOGISTIC, tmp_path)
    with_manifest(tmp_path, lambda content: content["run"]["rebuild"].update(spec=value))
    with pytest.raises(AuditError, match="spec or model cannot be built"):
        list(audit(tmp_path, dataset=data()))


class Viewing(nn.Module):
    """A network that has to be rebuilt, whose view is not possible in the kernel's layout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.utils.weight_norm(nn.Conv2d(1, 3, 3))
        self.head = nn.Linear(3 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(x)).view(len(x), -1))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_a_foreign_module_is_audited_as_it_was_trained(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(60, 1, 8, 8)).astype("float32")
    given = from_arrays(images, np.arange(60) % 3)
    settings = {"num_shards": 2, "num_slices": 2, "epochs": 2}
    session = Session(given, model=Viewing, store=tmp_path, **settings)
    session.train()
    session.revoke(count=2)
    session.unlearn(1)
    session.store.close()
    said = list(audit(tmp_path, dataset=given, model=Viewing))
    assert "4 clean checkpoints have the bits" in said[-1]
    repeated = session.certificate().content["repeated"]
    assert repeated["repeated"] >= 3 and repeated["steps"] > repeated["repeated"]
