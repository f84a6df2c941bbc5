"""The audit that replays modifications: what it passes, what it finds, what it refuses."""

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import CASES, Case, of_slice
from tampering import with_approximation, with_ledger
from unlearnkit import AMENDS, METHODS, Session
from unlearnkit.__main__ import main
from unlearnkit.approximate import Modified, OnStep, Replay, ShardRound, StagedInfluence
from unlearnkit.approximate.defaults import default_method, earlier_defaults
from unlearnkit.interrupts import Cancelled
from unlearnkit.models.losses import CrossEntropy, Loss, WeightedCrossEntropy
from unlearnkit.progress import ProgressEvent
from unlearnkit.records.audit import AuditError, audit
from unlearnkit.records.ledger import keyed_digest, plan_digest
from unlearnkit.store import Approximation, DiskStore
from unlearnkit.training.environment import environment
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.inspection import Check

LOGISTIC = CASES["logistic"]


def data() -> Any:
    """What ``--data records.test_replay:data`` names."""
    return LOGISTIC.dataset()


def replayed(case: Case, folder: Path, head: str | None = None) -> list[str]:
    return list(audit(folder, head, dataset=case.dataset(), model=case.model, replay=True))


def forget(session: Session, shards: Sequence[int], stage: int = 1, **options: Any) -> list[int]:
    """Forget one example of each of these shards, approximately unless options say otherwise."""
    ids = [of_slice(session, shard, stage) for shard in shards]
    session.revoke(ids)
    session.unlearn(**({"max_share": 0} | options))
    return ids


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shard 0 owes an example, and had forgotten another one exactly; shard 1 owes two."""
    folder = tmp_path_factory.mktemp("honest") / "store"
    session = LOGISTIC.session(store=folder)
    session.train()
    forget(session, [0, 2], max_share=1)
    forget(session, [1])
    forget(session, [0, 1])
    assert {shard: len(debt) for shard, debt in session.debt.items()} == {0: 1, 1: 2}
    session.store.close()
    return folder


def test_an_approximation_has_the_bits_of_its_replay(honest: Path) -> None:
    before = {p: p.read_bytes() for p in honest.rglob("*") if p.is_file()}
    said = replayed(LOGISTIC, honest, DiskStore(honest, read_only=True).head)
    assert b'"formulas"' not in (honest / "ledger.jsonl").read_bytes()
    assert said[-1].startswith(
        "the 2 approximate constituents have the bits that modifying the original models again "
        "gives (3 modifications in 2 requests, "
    )
    assert not any("retraining from scratch" in claim for claim in said)
    both = list(audit(honest, dataset=data(), replay=True, retrain=True))
    assert (
        sum("retraining from scratch" in claim for claim in both) == 1 and both[-1][:5] == "the 2"
    )
    assert {p: p.read_bytes() for p in honest.rglob("*") if p.is_file()} == before


class Picky(FixedBoundary):
    """Refuses shard 0 early, lets shard 1 pass, and asks for a longer amend of shard 2."""

    def objection(self, check: Check) -> str:
        late = check.replayed is not None
        return (
            "no" if check.shard == 0 or (check.shard == 2 and late and check.replayed == 1) else ""
        )


@pytest.mark.parametrize("name", ["logistic", "squared-error"])
def test_refused_shards_and_longer_amends_are_replayed_as_recorded(
    name: str, tmp_path: Path
) -> None:
    session = CASES[name].session(store=tmp_path)
    session.train()
    forget(session, [0, 1, 2], boundary=Picky(0), max_share=None)
    (line,) = session._journal.history.lines
    amends = {look["shard"]: look["replayed"] for look in line["looks"]}
    assert amends[0] is None and amends[1] == 1 and amends[2] > 1
    session.store.close()
    assert "the 2 approximate constituents have the bits" in replayed(CASES[name], tmp_path)[-1]


def test_what_was_repaid_begins_again_from_the_retrained_model(tmp_path: Path) -> None:
    session = LOGISTIC.session(store=tmp_path)
    session.train()
    forget(session, [0, 1])
    session.repay([0])
    forget(session, [0], 2)
    session.repay([1])
    session.store.close()
    said = replayed(LOGISTIC, tmp_path)
    assert "the 1 approximate constituent has the bits" in said[-1]
    assert "(1 modification in 1 request" in said[-1]
    session = LOGISTIC.session(store=tmp_path)
    session.repay()
    session.store.close()
    assert "no constituent is approximate" in replayed(LOGISTIC, tmp_path)[-1]


def test_a_request_after_an_interrupted_repayment_is_replayed(tmp_path: Path) -> None:
    case, stop = CASES["uneven"], threading.Event()
    session = case.session(store=tmp_path)
    session.train()
    forget(session, [0])

    def on_progress(event: ProgressEvent) -> None:
        if event.stage == session.spec.num_slices:
            stop.set()

    with pytest.raises(Cancelled):
        session.repay(cancel=stop, on_progress=on_progress)
    chain = session.plan.chains[0]
    assert chain[0].key in session.store and chain[-1].key not in session.store
    forget(session, [0], 2)
    session.store.close()
    assert "the 1 approximate constituent has the bits" in replayed(case, tmp_path)[-1]


def unmodified(folder: Path, approximation: Approximation) -> None:
    """The original model under the name of an approximation."""
    original = LOGISTIC.session()
    original.train()
    chain = original.plan.chains[1]
    assert approximation.shard == 1
    checkpoints = {
        r: replace(kept, state=old.state, tails=old.tails)
        for r, kept in approximation.checkpoints.items()
        for old in [original.store.get(chain[r - 1].key)]
    }
    with_approximation(folder, replace(approximation, checkpoints=checkpoints))


def another_example(folder: Path, approximation: Approximation) -> None:
    """A model that has forgotten another example than the one that it names."""
    other = LOGISTIC.session()
    other.train()
    partition = other.plan.partition
    ids = partition.ids[(partition.shard == 1) & (partition.slice_ == 1)]
    for one in np.setdiff1d(ids, approximation.debt)[:2]:
        other.revoke(int(one))
        other.unlearn(0)
    found = other.store.approximation(other.plan.final_key(1))
    assert found is not None and len(found.debt) == 2
    checkpoints = {
        r: replace(kept, state=found.checkpoints[r].state, tails=found.checkpoints[r].tails)
        for r, kept in approximation.checkpoints.items()
    }
    with_approximation(folder, replace(approximation, checkpoints=checkpoints))


def one_tail(folder: Path, approximation: Approximation) -> None:
    """One number of a tail, from which a later request would begin."""
    last = max(approximation.checkpoints)
    kept = approximation.checkpoints[last]
    q = min(kept.tails)
    tail = {name: value.clone() for name, value in kept.tails[q].items()}
    next(iter(tail.values())).view(-1)[0] += 1e-3
    forged = replace(kept, tails={**kept.tails, q: tail})
    checkpoints = {**approximation.checkpoints, last: forged}
    with_approximation(folder, replace(approximation, checkpoints=checkpoints))


@pytest.mark.parametrize("forgery", [unmodified, another_example, one_tail])
def test_a_forged_approximation_is_found(forgery: Any, honest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(honest, folder)
    store = DiskStore(folder, read_only=True)
    found = [store.approximation(base) for base in store.bases]
    forgery(folder, next(each for each in found if each is not None and each.shard == 1))
    list(audit(folder, dataset=data()))  # neither the folder nor retraining tells
    with pytest.raises(
        AuditError, match=r"shard 1 is not what modifying the original model again gives: in stage"
    ):
        replayed(LOGISTIC, folder)


def test_a_swapped_debt_is_found(honest: Path, tmp_path: Path) -> None:
    """Shard 0 pretends to owe the example that it forgot exactly, and the other way round."""
    folder = tmp_path / "store"
    shutil.copytree(honest, folder)
    store = DiskStore(folder, read_only=True)
    session = LOGISTIC.session(store=store)
    kept = store.approximation(session.plan.final_key(0))
    assert kept is not None
    secret, lines = store.secret(), session._journal.history.lines
    first, owed = lines[0]["ids"], int(kept.debt[0])
    given = next(i for i in first if session.plan.shards_of(np.array([i])) == (0,))
    swap = {given: owed, owed: given}
    debt = np.array([given])
    checkpoints = {
        r: replace(each, lineage=session.plan.lineage(0, r, debt))
        for r, each in kept.checkpoints.items()
    }
    with_approximation(folder, replace(kept, debt=debt, checkpoints=checkpoints))

    def change(lines: list[dict[str, Any]]) -> None:
        plan = LOGISTIC.session().plan
        for line in lines:
            if line["kind"] == "unlearn":
                line["ids"] = sorted(swap.get(i, i) for i in line["ids"])
                line["digest"] = keyed_digest(np.array(line["ids"]), secret)
                plan = plan.without(line["ids"])
                line["plan"] = plan_digest(plan, secret)

    with_ledger(folder, change)
    list(audit(folder, dataset=data()))
    with pytest.raises(AuditError, match="shard 0 is not what modifying the original model again"):
        replayed(LOGISTIC, folder)


def test_a_modification_that_the_ledger_does_not_record_is_found(
    honest: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(honest, folder)

    def change(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            for look in line.get("looks", ()):
                look["replayed"] = 3 if look["replayed"] else look["replayed"]

    with_ledger(folder, change)
    with pytest.raises(
        AuditError, match="shard 1 was accepted, but when it is replayed, its amend"
    ):
        replayed(LOGISTIC, folder)


def test_the_default_of_an_earlier_version_is_replayed(tmp_path: Path) -> None:
    session = CASES["squared-error"].session(store=tmp_path)
    session.train()
    usual, former = default_method(session.plan), earlier_defaults(session.plan)[0]
    assert repr(usual) != repr(former)
    forget(session, [0], method=former)
    session.store.close()
    assert "1 approximate constituent has" in replayed(CASES["squared-error"], tmp_path)[-1]


@dataclass(frozen=True)
class Own(StagedInfluence):
    """A method that the package does not know."""

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        return super().__call__(rounds, on_progress=on_progress)


def test_a_method_of_ones_own_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = LOGISTIC.session(store=tmp_path)
    session.train()
    forget(session, [0], method=Own(), amend=Replay(2))
    session.store.close()
    with pytest.raises(ValueError, match=r"the method Own\(.* is not known here; .*uk.METHODS\["):
        replayed(LOGISTIC, tmp_path)
    monkeypatch.setitem(METHODS, "own", Own())
    with pytest.raises(ValueError, match=r"the amend Replay\(.* is not known here; .*uk.AMENDS\["):
        replayed(LOGISTIC, tmp_path)
    monkeypatch.setitem(AMENDS, "two", Replay(2))
    assert "the 1 approximate constituent has the bits" in replayed(LOGISTIC, tmp_path)[-1]


@pytest.mark.parametrize(
    ("name", "loss", "formula"),
    [
        ("uneven", CrossEntropy(), "batch statistics"),
        ("logistic", WeightedCrossEntropy((1, 2, 3)), "expected class weight"),
    ],
)
def test_lines_of_a_version_with_another_formula_are_not_replayed(
    name: str, loss: Loss, formula: str, tmp_path: Path
) -> None:
    case = replace(CASES[name], spec=CASES[name].spec.with_(loss=loss))
    session = case.session(store=tmp_path)
    session.train()
    forget(session, [2])
    session.store.close()
    assert "the 1 approximate constituent has the bits" in replayed(case, tmp_path)[-1]
    with_ledger(tmp_path, lambda lines: [line.pop("formulas", None) for line in lines])
    with pytest.raises(ValueError, match=f"another formula for the {formula} of this model"):
        replayed(case, tmp_path)


def test_without_the_data_or_the_environment_nothing_is_replayed(
    honest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="need the data of the run: give dataset="):
        next(audit(honest, replay=True))
    monkeypatch.setattr(
        "unlearnkit.training.plan.environment",
        lambda *given: replace(environment(*given), torch="1.0"),
    )
    with pytest.raises(ValueError, match=r"environment was .* but here it is .*'1.0'"):
        replayed(LOGISTIC, honest)


def test_the_command_line_replays(honest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["audit", str(honest), "--replay"]
    assert main([*command, "--data", "records.test_replay:data"]) == 0
    out = capsys.readouterr().out
    assert "modifying the original models again" in out and "retraining from scratch" not in out
    assert main([*command, "--retrain", "--data", "records.test_replay:data"]) == 0
    out = capsys.readouterr().out
    assert "modifying the original models again" in out and "retraining from scratch" in out
    with pytest.raises(SystemExit):
        main(command)
    assert "--replay needs the data" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Spot check")
@pytest.mark.parametrize("case", ["logistic", "mlp-dropout"])
def test_a_spot_check_replays_audits_and_repeats(case: str, tmp_path: Path) -> None:
    problem, folder = CASES[case], tmp_path / "store"
    session = problem.session(store=folder)
    session.train()
    shards = range(session.plan.num_shards)
    forget(session, shards, spot_check=True)
    (found,) = session.spot_checks
    forget(session, [found.shard])  # modified again, from the exact model
    forget(session, shards, spot_check=False)
    model, debt = session.error_model, session.debt
    assert session.certificate().content["requests"][0]["spot_check"]["shard"] == found.shard
    session.store.close()
    said = list(
        audit(folder, dataset=problem.dataset(), model=problem.model, replay=True, retrain=True)
    )
    assert any("have the bits that modifying the original models again gives" in s for s in said)
    again = problem.session(store=folder)
    assert again.spot_checks == (found,) and again.error_model == model
    assert again.debt.keys() == debt.keys()
    lines = [line for line, _ in again.store.ledger() if line["kind"] == "unlearn"]
    assert ["spot_check" in line for line in lines] == [True, False, False]


def test_a_spot_check_of_a_shard_that_is_not_exact_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    session = LOGISTIC.session(store=folder)
    session.train()
    forget(session, [0, 1])
    session.store.close()

    def claim(lines: list[dict[str, Any]]) -> None:
        line = next(line for line in lines if line["kind"] == "unlearn")
        line["spot_check"] = {"shard": 0, "asked": True, "visits": 1, "seconds": 0.1}

    with_ledger(folder, claim)
    with pytest.raises(AuditError, match="shard 0 was spot-checked, but has no exact route"):
        list(audit(folder))
