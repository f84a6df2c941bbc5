"""From clicks to code: the script of a session, run, comes to the session's bits."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch

from cases import CASES
from unlearnkit import (
    METHODS,
    AdaptiveBoundary,
    ChosenBoundary,
    CrossEntropy,
    FixedBoundary,
    Replay,
    Session,
    StagedInfluence,
    WeightedCrossEntropy,
)
from unlearnkit.training.ensemble import AGGREGATIONS
from unlearnkit.unlearning.boundary.protocol import Costs, Decision
from unlearnkit.unlearning.inspection import Check
from unlearnkit.unlearning.workload import Workload
from worker import content, contents


class OtherLoss(CrossEntropy):
    """A loss of one's own."""


def run(text: str, **names: Any) -> Session:
    """Run a script whose places to fill in name what is given here."""
    for name in names:
        text = text.replace(f"{name}=...", f"{name}={name}_given")
        text = text.replace(f"{name} = ...", f"{name} = {name}_given")
    scope = {f"{name}_given": value for name, value in names.items()}
    exec(compile(text, "script", "exec"), scope)
    return scope["session"]


def everything(session: Session) -> tuple[object, ...]:
    """Checkpoints, requests, debt: what a script must come to."""
    approximations = {
        shard: {
            stage: content(checkpoint)
            for stage, checkpoint in session.store.approximation(
                session.plan.final_key(shard)
            ).checkpoints.items()
        }
        for shard in session.debt
    }
    return (
        contents(session.store),
        approximations,
        [ids.tolist() for ids in session._journal.history.revocations.requests],
        session.pending.tolist(),
        {shard: debt.tolist() for shard, debt in session.debt.items()},
    )


def much(session: Session) -> Session:
    """Every kind of step."""
    session.train()
    ids = session.dataset.train.ids
    session.revoke(ids[:9:2])
    session.unlearn()
    session.revoke(ids[1:8:3])
    session.unlearn(0, method=StagedInfluence(iterations=3), amend=Replay(4))
    session.revoke(ids[12])
    session.unlearn(boundary=AdaptiveBoundary())
    session.repay(sorted(session.debt)[:1])
    session.revoke([*session.dataset.probe.ids[:2], ids[14]])
    session.unlearn(0, amend="none")
    session.revoke(ids[16])
    session.withdraw()
    session.revoke(ids[18])
    return session


class AtLeastFour(AdaptiveBoundary):
    """Sends every amend of one epoch back."""

    def decide(self, workload: Workload, costs: Costs, debts: dict[int, int]) -> Decision:
        return FixedBoundary(0.0).decide(workload, costs, debts)

    def objection(self, check: Check) -> str:
        return "short" if check.replayed == 1 and check.shard % 2 else ""


def test_a_longer_amend_is_repeated() -> None:
    session = Session("digits", model="mlp", num_shards=4, num_slices=2, epochs=8, tails=(4, 1))
    session.train()
    session.revoke(session.dataset.train.ids[:9])
    session.unlearn(boundary=AtLeastFour())
    assert {check.shard: check.replayed for check in session.last.decision.checks} == {
        shard: 4 if shard % 2 else 1 for shard in session.debt
    }
    assert everything(run(session.to_script())) == everything(session)


@pytest.mark.filterwarnings("ignore:Spot check")
def test_spot_checks_are_repeated_and_no_others_are_made() -> None:
    options = {"model": "logistic", "num_shards": 12, "num_slices": 1, "epochs": 2, "tails": (2, 1)}
    session = Session("digits", **options)
    session.train()
    for first, spot_check in ((0, False), (40, None), (80, True), (120, None)):
        session.revoke(session.dataset.train.ids[first : first + 40])
        session.unlearn(boundary=AtLeastFour(), spot_check=spot_check)
    asked = [check.asked for check in session.spot_checks]
    assert asked == [False, True]
    again = run(session.to_script())
    assert everything(again) == everything(session)
    found = [replace(check, seconds=0.0) for check in session.spot_checks]
    assert [replace(check, seconds=0.0) for check in again.spot_checks] == found


def test_a_script_comes_to_the_bits_of_the_session(capsys: pytest.CaptureFixture[str]) -> None:
    options = {"num_shards": 4, "num_slices": 2, "epochs": 2, "seed": 11, "model": "logistic"}
    loss = WeightedCrossEntropy((1,) * 9 + (3,))
    session = much(Session("digits", **options, loss=loss, aggregation="majority-vote"))
    assert session.debt and len(session._journal.history.records) == 5
    again = run(session.to_script())
    assert everything(again) == everything(session)
    assert again.aggregation == "majority-vote" and again.spec == session.spec
    assert capsys.readouterr().out == "the same bits\n"


@pytest.mark.parametrize("name", ["mlp-dropout", "cnn-batchnorm"])
def test_own_data_are_to_be_filled_in(name: str) -> None:
    session, data = much(CASES[name].session()), CASES[name].dataset()
    script = session.to_script()
    assert everything(run(script, data=data)) == everything(session)
    with pytest.raises(TypeError, match="ellipsis is not a dataset; give a name"):
        run(script)
    with pytest.raises(SystemExit, match="not the data of the session"):
        run(script, data=replace(data, train=replace(data.train, features=data.train.features + 1)))


def test_so_are_a_model_a_loss_and_a_partition_of_ones_own() -> None:
    case = CASES["uneven"]
    data, partition = case.dataset(), case.partition(case.dataset().train)
    spec = case.spec.with_(loss=OtherLoss())
    session = much(case.session(spec=spec, version="2"))
    script = session.to_script()
    assert "model=...,  # to fill in: the model 'norm_and_dropout'" in script
    assert "version='2'" in script
    again = run(script, data=data, model=case.model, partition=partition, loss=OtherLoss())
    assert everything(again) == everything(session)


def test_a_resumed_session_writes_the_same_script(tmp_path: Path) -> None:
    case = CASES["logistic"]
    with_store = much(case.session(store=tmp_path / "run"))
    with_store.withdraw()
    script = with_store.to_script()
    assert run(script, data=case.dataset()).ensemble.digest == with_store.ensemble.digest
    with_store.store.close()
    assert case.session(store=tmp_path / "run").to_script(tmp_path / "again.py") == script
    assert (tmp_path / "again.py").read_text() == script


def test_a_script_says_which_entries_have_to_be_registered_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(METHODS, "mine", StagedInfluence(iterations=3))
    monkeypatch.setitem(AGGREGATIONS, "voting", AGGREGATIONS["mean-probability"])
    session = Session("digits", model="logistic", epochs=1, aggregation="voting")
    session.train()
    session.revoke([3, 141])
    session.unlearn(0, method="mine", amend="none")
    lines = session.to_script().splitlines()
    asked = [line for line in lines if "register" in line]
    assert asked == [
        "# register your own aggregation first: uk.training.ensemble.AGGREGATIONS['voting'] = ...",
        "# register your own method first: uk.METHODS['mine'] = ...",
    ]
    assert lines.index(asked[0]) < lines.index("    aggregation='voting',")
    assert lines.index(asked[1]) < lines.index("    method='mine',")


def test_a_notebook_is_valid_and_does_the_same(tmp_path: Path) -> None:
    session = much(CASES["logistic"].session())
    session.to_notebook(tmp_path / "run.ipynb")
    notebook = nbformat.read(tmp_path / "run.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    again = run("\n\n".join(code), data=CASES["logistic"].dataset())
    assert everything(again) == everything(session)
    raw = json.loads((tmp_path / "run.ipynb").read_text())
    assert all(not cell.get("outputs") for cell in raw["cells"])


def test_before_training_there_is_nothing_to_compare() -> None:
    session = Session("digits", model="logistic")
    script = session.to_script()
    assert "session.train()" not in script and "session.ensemble" not in script
    assert everything(run(script)) == everything(session)


def test_other_bits_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session("digits", model="logistic", epochs=1)
    session.train()
    script, rate = session.to_script(), f"learning_rate={session.spec.learning_rate}"
    assert rate in script
    run(script.replace(rate, "learning_rate=0.02"))
    assert capsys.readouterr().out.startswith("different bits: is this the environment")


def test_many_ids_stay_readable() -> None:
    session = Session("digits", model="logistic", epochs=1)
    session.train()
    session.revoke(range(300))
    script = session.to_script()
    assert max(map(len, script.splitlines())) <= 100
    assert np.array_equal(run(script).pending, np.arange(300))


def test_the_digest_of_an_ensemble_is_of_its_bits() -> None:
    session = CASES["logistic"].session()
    session.train()
    ensemble, before = session.ensemble, session.ensemble.digest
    state = ensemble.constituents[1].state
    name = next(iter(state))
    state[name] = state[name].clone()
    state[name].view(torch.int32).view(-1)[0] ^= 1
    other = type(ensemble)(ensemble.architecture, ensemble.loss, ensemble.constituents)
    assert other.digest != before


def test_a_chosen_boundary_does_as_it_is_told() -> None:
    session = CASES["logistic"].session()
    session.train()
    partition = session.plan.partition
    session.revoke([partition.ids[partition.shard == shard][0] for shard in (0, 2)])
    decision = session.preview(boundary=ChosenBoundary((2,)))
    assert (decision.exact, decision.approximate) == ((2,), (0,))
    assert session.preview(boundary=ChosenBoundary()).approximate == (0, 2)
    with pytest.raises(
        ValueError, match=r"shards \[1\] are not hit by the request; it hits \[0, 2"
    ):
        session.preview(boundary=ChosenBoundary((1, 2)))
    # What cannot be modified is retrained all the same.
    adam = CASES["adam"].session()
    adam.train()
    adam.revoke(adam.dataset.train.ids[0])
    assert len(adam.preview(boundary=ChosenBoundary()).exact) == 1


@pytest.mark.parametrize(
    "evil",
    [
        "Replay(); raise SystemExit('run')",
        "Replay(tail=exit('run'))",
        "x\nraise SystemExit('run')",
        "exit('run')",
    ],
)
def test_words_of_a_ledger_never_become_code(evil: str) -> None:
    session = CASES["logistic"].session()
    session.train()
    session.revoke(session.dataset.train.ids[0])
    session.unlearn(0)
    records = tuple(
        ({**line, "amend": evil, "method": evil, "boundary": evil}, entry)
        for line, entry in session._journal.history.records
    )
    session._journal.history = replace(session._journal.history, records=records)
    script = session.to_script()
    with pytest.raises((TypeError, AttributeError)):  # of the places to fill in, and no exit
        run(script, data=CASES["logistic"].dataset())
