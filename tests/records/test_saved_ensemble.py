"""Saved ensembles: another process predicts the same bits, and a stranger's folder does no harm."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unlearnkit as uk
from cases import CASES, SMALL, norm_and_dropout
from unlearnkit.models.losses import SquaredError
from unlearnkit.store import StoreError
from unlearnkit.store.files import digest_of
from unlearnkit.training.ensemble import AGGREGATIONS, Ensemble


def trained(name: str, **options: Any) -> uk.Session:
    session = CASES[name].session(**options)
    session.train(on_progress=False)
    return session


def rewritten(folder: Path, change: Any) -> None:
    """Change the content of the description, and make its digest fit."""
    path = folder / "ensemble.json"
    whole = json.loads(path.read_text())
    change(whole["content"])
    whole["digest"] = digest_of(whole["content"])
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("logistic", {"spec": SMALL.with_(loss=uk.WeightedCrossEntropy((1, 2, 3)))}),
        ("mlp-dropout", {"aggregation": "majority-vote"}),
        ("cnn-batchnorm", {}),
        ("uneven", {}),
        ("regression", {}),
    ],
)
def test_a_loaded_ensemble_predicts_the_same_bits(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    session = trained(name, **options)
    saved, inputs = session.ensemble, session.dataset.test.inputs()
    saved.save(tmp_path)
    foreign = session.plan.architecture.foreign
    loaded = uk.load_ensemble(tmp_path, CASES[name].model if foreign else None)
    assert loaded.digest == saved.digest
    assert torch.equal(loaded.probabilities(inputs), saved.probabilities(inputs))
    assert torch.equal(loaded.predict(inputs), saved.predict(inputs))
    assert torch.equal(loaded.probabilities(inputs.double()), saved.probabilities(inputs.double()))
    assert torch.equal(loaded.module()(inputs), saved.module()(inputs))
    assert (loaded.signature, loaded.loss) == (saved.signature, saved.loss)
    assert loaded.is_regression == saved.is_regression
    loaded.save(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "ensemble.json").read_text())
    assert again == json.loads((tmp_path / "ensemble.json").read_text())


LOAD = """
import sys, torch, unlearnkit as uk
ensemble = uk.load_ensemble(sys.argv[1])
inputs = torch.arange(60.0).reshape(10, 6) / 60
print(ensemble.digest, ensemble.probabilities(inputs).view(torch.int32).tolist())
"""


def test_another_process_predicts_the_same_bits(tmp_path: Path) -> None:
    ensemble = trained("logistic").ensemble
    ensemble.save(tmp_path)
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = ensemble.probabilities(torch.arange(60.0).reshape(10, 6) / 60)
    assert done.stdout.strip() == f"{ensemble.digest} {expected.view(torch.int32).tolist()}"


def test_the_folder_tells_what_goes_in_and_names_no_ids(tmp_path: Path) -> None:
    session = trained("logistic")
    debt = session.revoke(count=3).ids.tolist()
    session.unlearn(0, on_progress=False)
    session.ensemble.save(tmp_path, card="# Card")
    told = json.loads((tmp_path / "ensemble.json").read_text())["content"]
    assert told["inputs"]["shape"] == [6] and told["inputs"]["dtype"] == "float32"
    assert told["outputs"]["classes"] == ["a", "b", "c"]
    owed = {each["shard"]: each["debt"] for each in told["constituents"]}
    assert sum(owed.values()) == len(debt)
    assert {s: len(ids) for s, ids in session.debt.items()} == {s: n for s, n in owed.items() if n}
    loaded = uk.load_ensemble(tmp_path)
    assert repr(loaded) == repr(session.ensemble)
    assert loaded.to_frame().equals(session.ensemble.to_frame())
    assert {int(one) for each in loaded.constituents for one in each.debt} == {-1}
    assert (tmp_path / "README.md").read_text() == "# Card"


class Own(nn.Module):
    """Writes to its inputs and returns float64; the session finds both out."""

    def __init__(self, activation: Any = torch.tanh, width: int = 4) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, width), nn.Linear(width, 3)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return self.last(self.activation(self.first(x))).double()


def test_a_model_of_the_user_is_given_again_and_checked(tmp_path: Path) -> None:
    data = CASES["logistic"].dataset()
    session = uk.Session(data, model=Own, spec=SMALL)
    session.train(on_progress=False)
    session.ensemble.save(tmp_path)
    inputs = data.test.inputs()
    loaded = uk.load_ensemble(tmp_path, model=Own)
    assert torch.equal(loaded.probabilities(inputs), session.ensemble.probabilities(inputs))
    assert torch.equal(inputs, data.test.inputs())
    for model, said in (
        (None, "of 'Own', a model of its author's own that a folder cannot rebuild; give what"),
        (partial(Own, width=5), r"first.weight was saved as \(4, 6\) torch.float32, and the model"),
        (lambda: nn.Linear(6, 3), "does not fit .* first.weight was saved, and|weight is missing"),
        (partial(Own, torch.relu), "computes something else: for an example of ones it gives"),
    ):
        with pytest.raises(ValueError, match=said):
            uk.load_ensemble(tmp_path, model)


class Doubled(SquaredError):
    name = "doubled"

    def probabilities(self, outputs: torch.Tensor) -> torch.Tensor:
        return 2 * outputs


def test_losses_aggregations_and_models_of_the_user_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = trained("uneven").ensemble
    with monkeypatch.context() as patch:
        patch.setitem(AGGREGATIONS._entries, "best", lambda stacked: stacked.amax(0))
        patch.setitem(uk.MODELS._entries, "norm_and_dropout", norm_and_dropout)
        parts = ensemble.architecture, Doubled(), ensemble.constituents, "best"
        Ensemble(*parts).save(tmp_path)
        loaded = uk.load_ensemble(tmp_path, loss=Doubled())
        inputs = torch.randn(5, 4)
        assert torch.equal(loaded.probabilities(inputs), Ensemble(*parts).probabilities(inputs))
        with pytest.raises(ValueError, match="trained with 'doubled', a loss of its author's"):
            uk.load_ensemble(tmp_path)
    with pytest.raises(ValueError, match="uses 'best', an aggregation of its author's own"):
        uk.load_ensemble(tmp_path, norm_and_dropout, loss=Doubled())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["model"]["built-in"].update(hidden=[10**9]), "do not fit its model: 1.weight"),
        (lambda c: c["model"]["built-in"].update(hidden=[1] * 10**4), "more layers than tensors"),
        (lambda c: c["model"]["built-in"].update(kind="os.system"), "damaged"),
        (lambda c: c["model"].update({"built-in": ["mlp"]}), "damaged"),
        (lambda c: c["inputs"].update(shape=[2**30, 2**30]), "is not the shape of an example"),
        (lambda c: c["inputs"].update(shape="5"), "is not a count"),
        (lambda c: c["outputs"].update(number=10**8), "names 3 of 100000000 classes"),
        (lambda c: c["outputs"].update(classes=[1, 2, 3]), "is no list of names"),
        (lambda c: c["constituents"][0].update(debt=2**62), "is not a count"),
        (lambda c: c["constituents"][0].update(debt=-1), "is not a count"),
        (lambda c: c["constituents"][1].update(shard=0), "constituents are not those"),
        (lambda c: c["constituents"].pop(), "files are not those of its constituents"),
        (lambda c: c.update(regression="no"), "is not of the kind"),
        (lambda c: c.update(regression=True, aggregation="majority-vote"), "counts votes"),
        (lambda c: c.pop("aggregation"), r"damaged \(KeyError"),
        (lambda c: c["model"].pop("built-in"), r"damaged \(KeyError"),
        (lambda c: c.update({"probabilities of ones": 1.0}), "is not of the kind"),
        (lambda c: c["loss"].update(plain={"class_weights": [float("nan")]}), "damaged"),
        (lambda c: c["model"].update(rebuilt=1), "is not of the kind"),
        (lambda c: c["files"][0]["tensors"].append("more"), "tensors are not those"),
    ],
)
def test_a_folder_of_a_stranger_raises_one_error(change: Any, said: str, tmp_path: Path) -> None:
    trained("mlp-dropout").ensemble.save(tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(StoreError, match=said):
        uk.load_ensemble(tmp_path)


def test_a_debt_of_any_number_takes_no_memory(tmp_path: Path) -> None:
    trained("logistic").ensemble.save(tmp_path)
    rewritten(tmp_path, lambda c: c["constituents"][0].update(debt=2**31 - 1, exact=False))
    loaded = uk.load_ensemble(tmp_path)
    assert repr(loaded.constituents[0]) == "Constituent(shard 0, 2,147,483,647 examples of debt)"


def test_what_predicts_nothing_is_not_saved(tmp_path: Path) -> None:
    ensemble = trained("logistic").ensemble
    with pytest.raises(ValueError, match="no constituents, so it cannot be saved"):
        Ensemble(ensemble.architecture, ensemble.loss, ()).save(tmp_path / "a")
    next(iter(ensemble.constituents[1].state.values())).fill_(torch.nan)
    with pytest.raises(uk.NotFiniteError, match=r"shard 1 .* cannot be saved"):
        ensemble.save(tmp_path / "a")
    assert not (tmp_path / "a").exists()
