"""The estimator: scikit-learn's own checks, and forgetting to the bits of training from scratch."""

import gc
import pickle
import types
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import has_fit_parameter
from torch import nn

import unlearnkit
from estimator_cases import OURS, bits, problem
from unlearnkit import CNN, MLP, AdaptiveBoundary, Session, TrainSpec, from_arrays
from unlearnkit.estimators import UnlearnableClassifier, UnlearnableRegressor
from unlearnkit.seeding import state_bytes
from unlearnkit.store import MemoryStore
from unlearnkit.training.ensemble import assemble
from unlearnkit.training.kernels import dealing
from unlearnkit.training.plan import make_plan
from unlearnkit.training.train import train
from worker import content, contents, poisoned, retrained

# These checks fit features around 100, with which a regression at the default rate diverges.
UNSCALED = ("check_fit_idempotent", "check_fit_check_is_fitted", "check_n_features_in")


@parametrize_with_checks(
    [UnlearnableClassifier(), UnlearnableClassifier("logistic"), UnlearnableRegressor("linear")]
)
def test_scikit_learns_checks(estimator, check, monkeypatch) -> None:
    """All of them apply, and none is excused."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it the checks of array inputs are skipped
    if isinstance(estimator, UnlearnableRegressor) and check.func.__name__ in UNSCALED:
        estimator.set_params(learning_rate=1e-5)
    if estimator.model == "logistic" and check.func.__name__ == "check_class_weight_classifiers":
        estimator.set_params(scale=20.0)  # its features spread by 20, too far for a linear model
    check(estimator)


def net(feature_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(feature_shape[0], 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("model", "shape"),
    [(MLP((7,)), (5,)), ("logistic", (5,)), (CNN((2, 3)), (1, 8, 8)), (net, (5,))],
)
def test_unlearning_gives_the_bits_of_training_without_the_rows(model, shape) -> None:
    X, y = problem(shape=shape)
    classifier = UnlearnableClassifier(model, **OURS).fit(X, y)
    before = bits(classifier)
    rows = [60, 2, 17, 2]
    classifier.unlearn(rows[:1]).unlearn(rows)
    assert classifier.revoked_.tolist() == [2, 17, 60]

    # From scratch: the partition of the first fit, and the rows' content overwritten before.
    first = UnlearnableClassifier(model, **OURS).fit(X, y).plan_
    poison, store = poisoned(first.examples, np.array(rows)), MemoryStore()
    plan = make_plan(
        poison, first.architecture, first.spec, partition=first.partition, revoked=rows
    )
    train(plan, store)
    assert bits(classifier) == contents(store) != before
    for ours, theirs in zip(
        classifier.ensemble_.constituents, assemble(plan, store).constituents, strict=True
    ):
        assert state_bytes(ours.state) == state_bytes(theirs.state)


def test_a_regressor_unlearns_to_the_bits_of_training_without_the_rows() -> None:
    X, _ = problem()
    y = 200 + 50 * np.stack([X[:, 0], X[:, 1] - X[:, 2]], 1)
    constants = {"target_offset": 200, "target_scale": [50, 60]}
    regressor = UnlearnableRegressor(MLP((7,)), **OURS, **constants).fit(X, y)
    first, before = regressor.plan_, bits(regressor)
    rows = [3, 44]
    assert regressor.unlearn(rows).predict(X).shape == (61, 2)
    store = MemoryStore()
    plan = make_plan(
        poisoned(first.examples, np.array(rows)),
        first.architecture,
        first.spec,
        partition=first.partition,
        revoked=rows,
    )
    train(plan, store)
    assert bits(regressor) == contents(store) != before
    # The units of y come back, and a y of one column may be flat.
    long = UnlearnableRegressor("logistic", random_state=0, epochs=60, **constants).fit(X, y)
    assert long.score(X, y) > 0.95
    flat = UnlearnableRegressor("linear", random_state=0, target_scale=60).fit(X, y[:, 0])
    assert flat.predict(X).shape == (61,)


def test_it_trains_what_a_session_trains() -> None:
    X, y = problem()
    classifier = UnlearnableClassifier(MLP((7,)), **OURS).fit(X, y)
    spec = classifier.plan_.spec
    assert (spec.seed, spec.num_shards, spec.batch_size) == (3, 3, 32)
    session = Session(classifier.dataset_, model=MLP((7,)), spec=spec)
    session.train()
    assert contents(session.store) == bits(classifier)


def test_threads_are_limited_without_changing_bits(monkeypatch) -> None:
    given = list[int | None]()
    used = dealing.threads_used

    def seen(plan, lanes, threads):
        given.append(threads)
        return used(plan, lanes, threads)

    for module in ("training.train", "unlearning.modify"):
        monkeypatch.setattr(f"unlearnkit.{module}.threads_used", seen)
    X, y = problem()
    found = []
    for threads in (1, np.int64(2)):
        estimator = UnlearnableClassifier("logistic", threads=threads, **OURS)
        for step in (
            lambda e: e.fit(X, y),
            lambda e: e.unlearn([3], boundary=0),
            lambda e: e.repay(),
            lambda e: e.unlearn([5]),
            lambda e: e.compare(),
        ):
            given.clear()
            step(estimator)
            assert threads in given
        found.append(bits(estimator))
    assert found[0] == found[1]
    with pytest.raises(ValueError, match="threads=0 leaves no thread"):
        UnlearnableClassifier(threads=0).fit(X, y)


def test_a_boundary_may_choose_to_modify() -> None:
    X, y = problem()
    classifier = UnlearnableClassifier(MLP((7,)), **OURS).fit(X, y)
    classifier.unlearn([4, 5], boundary=0)
    assert sorted(np.concatenate(list(classifier.debt_.values()))) == [4, 5]
    assert not classifier.unlearned_.decision.exact
    rest = [row for debt in classifier.debt_ for row in classifier.plan_.partition.shard_rows(debt)]
    classifier.unlearn(np.setdiff1d(rest, [4, 5])[:1], boundary=1)
    exact = classifier.unlearned_.decision.exact
    assert len(exact) == 1 and exact[0] not in classifier.debt_
    classifier.unlearn(30, boundary=AdaptiveBoundary())
    assert classifier.unlearned_.decision.boundary.startswith("AdaptiveBoundary")


@pytest.mark.parametrize("model", ["logistic", MLP((7,), dropout=0.2), net])
def test_a_fitted_one_pickles_and_goes_on(model) -> None:
    X, y = problem()
    classifier = UnlearnableClassifier(model, **OURS).fit(X, y)
    classifier.predict(X)
    copy = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(copy.predict_proba(X), classifier.predict_proba(X))
    assert bits(copy.unlearn([3])) == bits(classifier.unlearn([3]))


def test_the_original_is_left_to_the_caller() -> None:
    X, y = problem()
    classifier = UnlearnableClassifier("logistic", **OURS).fit(X, y)
    X[:] = np.nan
    assert torch.isfinite(classifier.dataset_.train.features).all()


def test_it_goes_through_a_grid_search_with_the_names_of_columns() -> None:
    X, y = problem()
    frame = pd.DataFrame(X, columns=list("abcde"))
    search = GridSearchCV(
        UnlearnableClassifier("logistic", **OURS),
        {"learning_rate": np.array([0.01, 0.1]), "num_shards": np.arange(2, 4)},
        cv=2,
    )
    best = search.fit(frame, y).best_estimator_
    assert len(search.cv_results_["params"]) == 4 and best.score(frame, y) > 0.6  # of three classes
    assert best.feature_names_in_.tolist() == list("abcde")
    with warnings.catch_warnings(), pytest.raises(ValueError, match="feature names"):
        warnings.simplefilter("error")
        best.predict(frame.rename(columns={"a": "z"}))


def test_seeds() -> None:
    X, y = problem()

    def keys(random_state):
        return UnlearnableClassifier("logistic", **{**OURS, "random_state": random_state}).fit(X, y)

    assert bits(keys(1)) == bits(keys(1)) != bits(keys(2))
    assert bits(keys(None)) != bits(keys(None))
    drawn = [bits(keys(np.random.RandomState(5))) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_fewer_shards_where_there_are_few_rows() -> None:
    X, y = problem()
    for rows, expected in ((61, (5, 3)), (30, (5, 3)), (29, (4, 3)), (7, (1, 3))):
        spec = UnlearnableClassifier("logistic", epochs=1).fit(X[:rows], y[:rows]).plan_.spec
        assert (spec.num_shards, spec.num_slices) == expected
    with pytest.raises(ValueError, match="leaves shard 4 "):
        UnlearnableClassifier("logistic", num_shards=5, num_slices=3).fit(X[:12], y[:12])


def test_the_package_has_it_too() -> None:
    assert unlearnkit.UnlearnableClassifier is UnlearnableClassifier
    assert unlearnkit.UnlearnableRegressor is UnlearnableRegressor
    with pytest.raises(AttributeError, match="has no attribute 'Classifier'"):
        unlearnkit.Classifier  # noqa: B018


def test_bad_rows() -> None:
    X, y = problem()
    classifier = UnlearnableClassifier("logistic", **OURS)
    with pytest.raises(NotFittedError):
        classifier.unlearn([1])
    classifier.fit(X, y)
    with pytest.raises(KeyError, match="id 61 is not in X; training ids run from 0 to 60"):
        classifier.unlearn([61])
    with pytest.raises(TypeError, match=r"numpy\.flatnonzero"):
        classifier.unlearn(y == "ant")
    with pytest.raises(ValueError, match="revokes all 61"):
        classifier.unlearn(range(61))
    assert not hasattr(clone(classifier), "plan_")


@pytest.mark.parametrize("share", [np.float32(0.5), np.int64(1), np.float64(0)])
def test_a_threshold_may_be_a_numpy_scalar(share) -> None:
    X, y = problem()
    classifier = UnlearnableClassifier("logistic", **OURS).fit(X, y)
    decision = classifier.unlearn([3], boundary=share).unlearned_.decision
    assert decision.boundary == repr(unlearnkit.FixedBoundary(share.item()))


def test_constants_by_column_hold_for_fitting_and_predicting() -> None:
    X, y = problem()
    offset, scale = np.arange(5) * 100.0, np.array([1.0, 10, 100, 0.1, 3])
    raw = pd.DataFrame(X.astype(np.float64) * scale + offset, columns=list("abcde"))
    inputs = ((raw.to_numpy() - offset) / scale).astype(np.float32)
    names = dict(zip("abcde", offset, strict=True))
    for a, b in ((offset, scale.tolist()), (names, scale)):
        plain = UnlearnableClassifier("logistic", **OURS).fit(inputs, y)
        ours = clone(UnlearnableClassifier("logistic", offset=a, scale=b, **OURS)).fit(raw, y)
        ours = pickle.loads(pickle.dumps(ours))
        assert bits(ours) == bits(plain)
        assert np.array_equal(ours.predict_proba(raw), plain.predict_proba(inputs))
        assert bits(ours.unlearn(3)) == bits(plain.unlearn(3))
    with pytest.raises(ValueError, match="1 of 61 rows hold NaN or infinite values"):
        UnlearnableClassifier(scale=[1e-300, 1, 1, 1, 1]).fit(np.eye(61, 5), y)
    with pytest.warns(UserWarning, match="uk.suggest_scaling"):
        UnlearnableClassifier("logistic", **OURS).fit(raw, y)


def tensors_within(start: object) -> list[torch.Tensor | np.ndarray]:
    """All tensors and arrays that an object refers to, however deep."""
    found, seen, todo = [], set(), [start]
    skipped = (type, type(np), types.FunctionType, types.BuiltinFunctionType)
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, skipped):
            continue
        seen.add(id(each))
        if isinstance(each, torch.Tensor | np.ndarray):
            found.append(each)
        todo += gc.get_referents(each)
    return found


def traces(estimator: object, values: np.ndarray) -> list[str]:
    """Where a row is still found: in the bytes of a pickle, or in a tensor in memory."""
    needles = [values.astype(kind).tobytes() for kind in (np.float32, np.float64)]
    found = ["pickle"] if any(needle in pickle.dumps(estimator) for needle in needles) else []
    for each in tensors_within(estimator):
        array = each.detach().numpy() if isinstance(each, torch.Tensor) else each
        if array.dtype != object and any(
            n in np.ascontiguousarray(array).tobytes() for n in needles
        ):
            found.append(f"{type(each).__name__} of shape {tuple(array.shape)}")
    return found


@pytest.mark.parametrize("boundary", [1, 0])
@pytest.mark.parametrize("by_column", [False, True])
def test_no_content_of_a_forgotten_row_stays(boundary, by_column) -> None:
    X, y = problem()
    scale = [2.0] * 5 if by_column else 1.0
    classifier = UnlearnableClassifier("logistic", scale=scale, **OURS).fit(X, y)
    held, digest = X[17] / np.float32(2 if by_column else 1), classifier.plan_.partition.digests[17]
    kept, digest = X.copy(), digest.copy()
    assert set(traces(classifier, held)) >= {"pickle", "Tensor of shape (61, 5)"}
    assert digest.tobytes() in pickle.dumps(classifier)
    keys = classifier.plan_.without([17]).keys
    classifier.unlearn(17, boundary=boundary)
    assert traces(classifier, held) == [] and digest.tobytes() not in pickle.dumps(classifier)
    assert classifier.plan_.keys == keys and np.array_equal(X, kept)
    assert classifier.dataset_.train.features[17].isnan().all()
    assert traces(classifier, X[18] / np.float32(2 if by_column else 1)) != []
    # What follows works without the row.
    classifier.unlearn(18, boundary=boundary).repay()
    assert classifier.debt_ == {} and classifier.compare().bit_identical
    assert traces(classifier, held) == []
    assert classifier.plan_.examples.labels[17] == classifier.plan_.examples.labels[18] == -1


def test_one_call_drops_the_models_from_before() -> None:
    X, y = problem()
    classifier = UnlearnableClassifier("logistic", **OURS).fit(X, y)
    with pytest.raises(LookupError, match="nothing has been unlearned yet"):
        classifier.compare()
    weight = classifier.ensemble_.by_shard[0].state["1.weight"].numpy().copy()
    shard = classifier.plan_.partition.shard_rows(0)
    classifier.unlearn(shard[:3])
    assert traces(classifier, weight) != []
    classifier.discard_original()
    assert traces(classifier, weight) == []
    with pytest.raises(LookupError, match="original models were discarded"):
        classifier.compare()


def test_comparing_takes_the_rows_that_the_estimator_does_not_hold() -> None:
    X, y = problem(90)
    test, rows = (X[61:], y[61:]), [3, 44, 60]
    ours = UnlearnableClassifier(MLP((7,)), **OURS).fit(X[:61], y[:61])
    ours.unlearn(rows, boundary=0)
    found = ours.compare(*test, forgotten=(X[rows], y[rows]))
    assert not found.bit_identical and found.ids["forget"].tolist() == rows
    assert found.labels["forget"].tolist() == [ours.classes_.tolist().index(y[i]) for i in rows]
    # The session has all of it, and says the same.
    data = from_arrays(
        X[:61],
        np.searchsorted(ours.classes_, y[:61]),
        test=(X[61:], np.searchsorted(ours.classes_, y[61:])),
        probe=(X[:1], np.zeros(1, int)),
        class_names=ours.classes_.tolist(),
    )
    session = Session(data, model=MLP((7,)), spec=ours.plan_.spec)
    session.train()
    session.revoke(rows)
    session.unlearn(0)
    theirs = session.compare()
    for part in ("original", "scratch"):
        assert found.scores.loc[part].tolist() == theirs.scores.loc[part].tolist()
        assert torch.equal(found.outputs[part].forget, theirs.outputs[part].forget)
    alone = ours.repay().compare()
    assert alone.bit_identical and len(alone.outputs["scratch"].test) == 0
    assert ours.repaid_.debt_after == 0
    with pytest.raises(ValueError, match=r"holds 1 rows, but .* forgot 3; .* 3, 44, 60"):
        ours.compare(forgotten=(X[:1], y[:1]))
    with pytest.raises(TypeError, match="X and y together"):
        ours.compare(X)
    with pytest.raises(ValueError, match="y holds yak, which are not among the classes"):
        ours.compare(X[:1], ["yak"])


def test_a_regressor_compares_in_its_units() -> None:
    X, _ = problem()
    y = 200 + 50 * X[:, 0]
    regressor = UnlearnableRegressor("linear", target_offset=200, target_scale=50, **OURS)
    found = (
        regressor.fit(X[:40], y[:40])
        .unlearn([2, 9])
        .compare(X[40:], y[40:], forgotten=(X[[2, 9]], y[[2, 9]]))
    )
    assert found.bit_identical
    errors = regressor.predict(X[40:]) - y[40:]
    assert found.scores.loc["unlearned", "test"] == pytest.approx(np.sqrt(np.mean(errors**2)), 1e-4)


def test_every_setting_of_training_is_taken() -> None:
    X, y = problem()
    settings = {
        **{"num_shards": 2, "num_slices": 2, "epochs": 2, "epoch_rule": "full", "batch_size": 16},
        **{"optimizer": "adam", "learning_rate": 0.01, "momentum": 0.5, "weight_decay": 0.01},
        **{"num_threads": 1, "kernel": "loop", "device": "cpu", "tails": (2, 1)},
    }
    loss = unlearnkit.WeightedCrossEntropy((1, 2, 3))
    whole = TrainSpec(**settings, loss=loss, seed=7)
    single = UnlearnableClassifier(hidden=(7,), loss=loss, random_state=7, **settings).fit(X, y)
    group = clone(UnlearnableClassifier(MLP((7,)), spec=whole)).fit(X, y)
    assert single.plan_.spec == group.plan_.spec == whole
    assert bits(single) == bits(group)
    changed = group.set_params(spec=whole, num_slices=1, random_state=8).fit(X, y).plan_.spec
    assert changed == whole.with_(num_slices=1, seed=8)
    regressor = UnlearnableRegressor("linear", spec=whole.with_(loss="cross-entropy")).fit(
        X, X[:, 0]
    )
    assert regressor.plan_.spec.loss == unlearnkit.models.losses.SquaredError()
    votes = UnlearnableClassifier("logistic", aggregation="majority-vote", **OURS).fit(X, y)
    assert set(np.unique(votes.predict_proba(X) * 3).round(4)) <= {0.0, 1.0, 2.0, 3.0}
    for bad, error in (
        ({"epochs": 0}, ValueError),
        ({"hidden": (3,), "model": "logistic"}, ValueError),
        ({"aggregation": "median"}, KeyError),
        ({"spec": "fast"}, TypeError),
    ):
        with pytest.raises(error, match=next(iter(bad)).split("_")[0]):
            UnlearnableClassifier(**bad).fit(X, y)


class Lookup(nn.Module):
    def __init__(self, first: int = 2**40) -> None:
        super().__init__()
        self.first, self.words, self.head = first, nn.Embedding(61, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(x - self.first).mean(1))


def test_whole_numbers_stay_whole_where_that_is_asked_for() -> None:
    rng, (_, y) = np.random.default_rng(0), problem()
    X = 2**40 + rng.integers(61, size=(61, 5))
    ours = clone(UnlearnableClassifier(Lookup, dtype=torch.int64, **OURS)).fit(X, y)
    small = UnlearnableClassifier(partial(Lookup, 0), dtype=torch.int64, **OURS).fit(X - 2**40, y)
    assert np.array_equal(ours.predict_proba(X), small.predict_proba(X - 2**40))
    for boundary in (1, 0):
        row = int(ours.plan_.partition.ids[ours.plan_.retained][0])
        ours.unlearn(row, boundary=boundary)
        assert ours.dataset_.train.features[row].tolist() == [-1] * 5
        assert X[row].tobytes() not in pickle.dumps(ours)
    assert ours.repay().compare(X, y).bit_identical
    with pytest.warns(UserWarning, match="column 0 of the features holds whole numbers above"):
        UnlearnableClassifier("logistic", scale=2.0**40, **OURS).fit(X, y)
    with pytest.raises(ValueError, match="61 of 61 rows hold other values"):
        ours.fit(X + 0.5, y)
    with pytest.raises(ValueError, match=r"offset and scale do not apply .* torch\.int64"):
        ours.set_params(offset=3).fit(X, y)


def test_weights_of_rows_are_refused_with_the_reason() -> None:
    X, y = problem()
    for estimator, targets in ((UnlearnableClassifier(), y), (UnlearnableRegressor(), X[:, 0])):
        assert not has_fit_parameter(estimator, "sample_weight")
        with pytest.raises(TypeError, match=r"count every row once, .* class_weight"):
            estimator.fit(X, targets, sample_weight=np.ones(61))
        with pytest.raises(TypeError, match="unexpected arguments weight; give only X and y"):
            estimator.fit(X, targets, weight=1)


@pytest.mark.parametrize("estimator", [UnlearnableClassifier(), UnlearnableRegressor()])
def test_masked_entries_are_refused(estimator) -> None:
    X, y = np.ma.masked_array(np.ones((30, 2))), np.ma.masked_array(np.arange(30) % 3)
    X[4, 1] = np.ma.masked
    with pytest.raises(ValueError, match=r"X: 1 of 30 rows have masked entries \(rows? .*4"):
        estimator.fit(X, y.data)
    y[7] = np.ma.masked
    with pytest.raises(ValueError, match=r"y: 1 of 30 rows have masked entries"):
        estimator.fit(X.data, y)


@pytest.mark.filterwarnings("ignore:Spot check")
def test_a_spot_check_leaves_the_checked_shard_exact_and_is_done_once():
    X, y = problem(90)
    options = OURS | {"num_shards": 11, "num_slices": 1}
    estimator = UnlearnableClassifier(model="logistic", **options).fit(X, y)
    exact = UnlearnableClassifier(model="logistic", **options).fit(X, y).unlearn(range(40))
    estimator.unlearn(range(40), boundary=0)
    (found,) = estimator.spot_checks_
    assert found.shard not in estimator.debt_ and not found.asked
    assert found.probe == 0 and found.removed == found.forget_removed
    key = exact.plan_.final_key(found.shard)
    assert content(estimator.store_.get(key)) == content(exact.store_.get(key))
    estimator.unlearn(range(40, 70), boundary=0)
    assert estimator.spot_checks_ == (found,)
    assert estimator.fit(X, y).spot_checks_ == ()
    estimator.unlearn(range(40), boundary=0, amend="none")
    estimator.unlearn(range(40, 70), boundary=0)  # another check, now of the default
    assert [check.usual for check in estimator.spot_checks_] == [False, True]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["red", "blue"] * 20, "str"),
        (pd.Categorical(["red", "blue"] * 20), "category"),
        (pd.date_range("2020-01-01", periods=40), "datetime64"),
    ],
)
def test_columns_that_hold_no_numbers_are_named(column, kind) -> None:
    X = pd.DataFrame({"size": np.arange(40.0), "coat": column})
    with pytest.raises(TypeError, match=f"X has columns {{'coat': '{kind}.*OneHotEncoder"):
        UnlearnableClassifier("logistic").fit(X, np.arange(40) % 2)


def test_missing_values_are_named_by_row_and_not_imputed() -> None:
    X, y = np.eye(40, 3), np.arange(40) % 2
    X[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN\) \(rows 7\).*not with a statistic of the data"):
        UnlearnableClassifier("logistic").fit(X, y)
    labels = np.array([None, *["a", "b"] * 20], object)[:40]
    with pytest.raises(ValueError, match="y is missing in rows 0; leave these rows out"):
        UnlearnableClassifier("logistic").fit(np.eye(40, 3), labels)


def test_a_regression_wants_numbers() -> None:
    with pytest.raises(TypeError, match=r"y holds values of kind <U1 \(such as a\)"):
        UnlearnableRegressor("linear").fit(np.eye(40, 3), np.array(["a", "b"] * 20))


def test_sample_weight_of_none_is_no_weight() -> None:
    model = UnlearnableClassifier("logistic", epochs=1, random_state=0)
    assert model.fit(np.eye(40, 3), np.arange(40) % 2, sample_weight=None).classes_.size == 2


def test_whole_numbers_that_float64_cannot_tell_apart_are_announced() -> None:
    X, y = 2**62 + np.arange(40).reshape(-1, 1), np.arange(40) % 2
    for offset in (0.0, [float(2**62)]):
        with pytest.warns(UserWarning, match="40 different ones become 1"):
            UnlearnableClassifier("logistic", epochs=1, offset=offset).fit(X, y)


def test_groups_are_forgotten_whole_by_name() -> None:
    X, y = problem()
    persons = [f"person {row % 20}" for row in range(61)]
    plain = UnlearnableClassifier("logistic", **OURS).fit(X, y)
    assert bits(plain) == bits(UnlearnableClassifier("logistic", **OURS).fit(X, y, np.arange(61)))
    classifier = UnlearnableClassifier("logistic", **OURS).fit(X, y, groups=persons)
    partition = classifier.plan_.partition
    of_seven = np.array(persons) == "person 7"
    assert len({*zip(partition.shard[of_seven], partition.slice_[of_seven], strict=True)}) == 1

    classifier.unlearn(group="person 7").unlearn(groups=["person 3", "person 0"])
    assert classifier.revoked_.tolist() == [0, 3, 7, 20, 23, 27, 40, 43, 47, 60]
    assert classifier.compare().bit_identical and classifier.debt_ == {}
    assert b"person 7" not in pickle.dumps(classifier) and b"person 8" in pickle.dumps(classifier)
    examples = classifier.dataset_.train
    assert retrained(classifier.plan_, examples, classifier.revoked_) == bits(classifier)


def test_likely_leavers_of_an_estimator_are_late_and_forgotten_exactly() -> None:
    X, y = problem()
    persons = np.arange(61) // 3
    by_person = {person: 9.0 if person % 4 == 0 else 1.0 for person in range(21)}
    rates = np.array([by_person[person] for person in persons])
    classifier = UnlearnableClassifier("logistic", **OURS).fit(X, y, persons, propensity=by_person)
    given = classifier.dataset_.train
    assert given.propensity.tolist() == (rates / 9).tolist()
    partition = classifier.plan_.partition
    assert partition.slice_[rates > 1].mean() > partition.slice_[rates == 1].mean()
    same = UnlearnableClassifier("logistic", **OURS).fit(X, y, persons, propensity=rates)
    assert bits(same) == bits(classifier)
    classifier.unlearn(groups=[4, 5])
    assert retrained(classifier.plan_, given, classifier.revoked_) == bits(classifier)
    assert (classifier.dataset_.train.propensity[classifier.revoked_] == 0).all()
    with pytest.raises(ValueError, match="propensity is a mapping by group, but the data have no"):
        classifier.fit(X, y, propensity=by_person)
    with pytest.raises(ValueError, match=r"shape \(60,\) for 61 rows"):
        classifier.fit(X, y, propensity=rates[1:])


def test_what_an_estimator_has_forgotten_stays_forgotten(tmp_path) -> None:
    X, y = problem()
    persons = np.array([f"person {row % 20}" for row in range(61)])
    classifier = UnlearnableClassifier("logistic", **OURS).fit(X, y, persons, tombstones=True)
    assert repr(classifier.tombstones()) == "Tombstones(0 groups, 0 row contents)"
    classifier.unlearn(group="person 7").unlearn([3, 23]).unlearn([43])  # all rows of person 3
    classifier.unlearn([9], boundary=0)
    assert repr(classifier.tombstones()) == "Tombstones(2 groups, 7 row contents)"
    again = pickle.loads(pickle.dumps(classifier))
    again.tombstones().save(tmp_path / "tombstones.json")

    # A backup, in another order, in which person 7 has new rows, and nobody knows who has row 9.
    order = np.random.default_rng(0).permutation(61)
    backup, theirs = X[order].copy(), np.where(persons == "person 9", "x", persons)[order]
    new = order % 20 == 7
    backup[new] += 1
    with pytest.warns(UserWarning, match="name 7 rows of 3 groups of the data as forgotten before"):
        later = UnlearnableClassifier("logistic", **OURS).fit(
            backup, y[order], theirs, tombstones=tmp_path / "tombstones.json"
        )
    expected = np.flatnonzero(np.isin(order, [3, 23, 43, 9]) | new)
    assert later.revoked_.tolist() == expected.tolist()
    assert b"person 7" not in pickle.dumps(later) and b"person 8" in pickle.dumps(later)
    plain = UnlearnableClassifier("logistic", **OURS).fit(backup, y[order], theirs)
    assert retrained(later.plan_, plain.dataset_.train, later.revoked_) == bits(later)
    later.unlearn(group="person 4")
    assert repr(later.tombstones()) == "Tombstones(3 groups, 13 row contents)"
    with pytest.raises(LookupError, match=r"keeps no tombstones, .* by fit\(..., tombstones=True"):
        plain.unlearn([3]).tombstones()
    with pytest.raises(ValueError, match="name all 61 training examples of X as forgotten before"):
        plain.fit(X, y, np.full(61, "person 7"), tombstones=classifier.tombstones())
    with pytest.raises(TypeError, match=r"tombstones=3 is a int; give what session.tombstones\(\)"):
        plain.fit(X, y, tombstones=3)


def test_a_regressor_takes_groups_too() -> None:
    X, _ = problem()
    regressor = UnlearnableRegressor("linear", **OURS).fit(X, X[:, 1], groups=np.arange(61) // 3)
    assert regressor.unlearn(group=np.int64(2)).revoked_.tolist() == [6, 7, 8]
    assert regressor.compare(X, X[:, 1]).bit_identical


def test_bad_groups_of_an_estimator() -> None:
    X, y = problem()
    classifier = UnlearnableClassifier("logistic", **OURS)
    with pytest.raises(ValueError, match="60 groups for 61 rows; give one group per row"):
        classifier.fit(X, y, groups=range(60))
    with pytest.raises(ValueError, match=r"missing in 1 of 61 rows \(rows 0\)"):
        classifier.fit(X, y, groups=[None, *range(60)])
    classifier.fit(X, y)
    with pytest.raises(ValueError, match="X has no groups; say which rows belong together"):
        classifier.unlearn(group=3)
    classifier.fit(X, y, groups=np.arange(61) // 3)
    with pytest.raises(KeyError, match="no group 99 in 'group'; the known ones are 0, 1, 2"):
        classifier.unlearn(groups=[3, 99])
    with pytest.raises(TypeError, match="needs row numbers, group= or groups="):
        classifier.unlearn()
    with pytest.raises(TypeError, match="groups='ann' is a str; give a list of names, or"):
        classifier.unlearn(groups="ann")
    assert len(classifier.revoked_) == 0


def test_an_estimator_trains_a_head_on_a_frozen_backbone() -> None:
    X, y = problem()
    body = nn.Sequential(nn.Linear(X.shape[1], 7), nn.Tanh()).eval()
    model = unlearnkit.Frozen(body, head="logistic", batch_size=8)
    one = UnlearnableClassifier(model, num_shards=2, num_slices=2, epochs=3, random_state=0)
    with torch.no_grad():
        features = body(torch.tensor(X, dtype=torch.float32)).numpy()
    plain = clone(one).set_params(model="logistic").fit(features, y)
    one = clone(one).fit(X, y)
    assert np.allclose(one.predict_proba(X), plain.predict_proba(features), atol=1e-5)
    gone = [0, 5]
    kept = one.plan_.examples.computed
    one.unlearn(gone)
    plain.unlearn(gone)
    assert np.allclose(one.predict_proba(X), plain.predict_proba(features), atol=1e-5)
    assert not np.isin(gone, kept.kept).any()
    assert bool(one.plan_.examples.features[gone].isnan().all())
    again = pickle.loads(pickle.dumps(one))
    assert np.array_equal(again.predict_proba(X), one.predict_proba(X))
    assert one.compare(X, y, forgotten=(X[gone], y[gone])).bit_identical
