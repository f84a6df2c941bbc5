"""Choosing what to forget: tables, queries, pasted ids, hard examples, the map."""

import numpy as np
import pandas as pd
import pytest
import torch

import unlearnkit as uk
from cases import CASES
from unlearnkit.selection import example_scores


@pytest.fixture(scope="module", params=["mlp-dropout", "cnn-batchnorm", "squared-error"])
def session(request):
    session = CASES[request.param].session()
    session.train()
    return session


def gradients_by_autograd(session, module, ids):
    """Squared norm of each example's gradient in the last layer, one example at a time."""
    loss, found = session.spec.loss, []
    last = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
    for i in ids:
        inputs, labels = session.dataset.examples([int(i)])
        outputs = module(inputs)
        if loss.name == "squared-error":
            target = torch.nn.functional.one_hot(labels, 3).float()
            value = 0.5 * (outputs - target).square().sum()
        else:
            value = torch.nn.functional.cross_entropy(outputs, labels, reduction="sum")
        parts = torch.autograd.grad(value, [last.weight, last.bias])
        found.append((float(value.detach()), sum(float(part.square().sum()) for part in parts)))
    return np.array(found)


def test_scores_are_those_of_autograd_under_the_shards_own_models(session):
    plan, store = session.plan, session.store
    losses = example_scores.example_losses(plan, store)
    influence = example_scores.self_influence(plan, store)
    epochs, partition = plan.spec.stage_epochs(), plan.partition
    for shard in range(plan.num_shards):
        rows = np.flatnonzero(partition.shard == shard)
        expected = np.zeros(len(rows))
        for stage in range(1, plan.spec.num_slices + 1):
            state = store.get(plan.chains[shard][stage - 1].key).state
            module = plan.architecture.module(state)
            found = gradients_by_autograd(session, module, partition.ids[rows])
            seen = partition.slice_[rows] <= stage
            expected += seen * epochs[stage - 1] * plan.spec.learning_rate * found[:, 1]
        np.testing.assert_allclose(losses[rows], found[:, 0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(influence[rows], expected, rtol=1e-4, atol=1e-8)


def test_the_hardest_come_first_and_revoked_ones_never(session):
    fork = session.fork()
    frame = uk.example_table(fork, ["loss", "self_influence"])
    for score in ("loss", "self_influence"):
        hard = uk.hardest(fork, 3, score)
        assert hard.tolist() == frame.nlargest(3, score)["id"].tolist()
    worst = uk.hardest(fork, 2)
    fork.revoke(worst)
    fork.unlearn(0.0)  # approximate: corrected checkpoints stand for those that are gone
    assert not set(uk.hardest(fork, 5).tolist()) & set(worst.tolist())
    assert uk.hardest(fork, 1, "self_influence").tolist() != []
    only = uk.hardest(fork, 1, label="b")
    assert (fork.dataset.examples(only)[1] == 1).all()


def test_a_score_needs_models_of_the_right_kind():
    untrained = CASES["uneven"].session()
    with pytest.raises(LookupError, match="no model yet; train first"):
        uk.hardest(untrained, 1)
    with pytest.raises(KeyError, match="no score is named 'size'; known are loss, self_influence"):
        uk.hardest(untrained, 1, "size")
    softly = uk.Session(
        CASES["uneven"].dataset(),
        model=lambda shape, n: torch.nn.Sequential(torch.nn.Linear(4, n), torch.nn.Tanh()),
        num_shards=2,
        num_slices=1,
        epochs=1,
    )
    softly.train()
    with pytest.raises(ValueError, match="does not end in a linear layer"):
        uk.hardest(softly, 1, "self_influence")
    with pytest.raises(ValueError, match="count=0 is out of range; give 1 to 34"):
        uk.hardest(softly, 0)


def people():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 60), "net income": rng.normal(size=60)})
    frame["coat"] = np.where(rng.random(60) < 0.5, "red", "grey")
    frame["left"] = np.where(rng.random(60) < 0.4, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def tabular():
    data = uk.from_frame(
        people(), "left", categories={"coat": ["red"]}, class_names=["no", "yes"], scale={"age": 10}
    )
    session = uk.Session(data, model="logistic", num_shards=3, num_slices=2, epochs=2)
    session.train()
    return session


def test_the_columns_of_a_table_keep_their_names(tabular):
    names = ("age", "net income", "coat=red", "coat=other")
    assert tabular.dataset.feature_names == names
    table = uk.example_table(tabular)
    assert list(table)[5:] == list(names)
    np.testing.assert_allclose(table["age"], people()["age"][table["id"]] / 10, rtol=1e-6)
    with pytest.raises(ValueError, match="1 feature names for features of shape"):
        uk.Dataset(
            *("x", tabular.dataset.train, tabular.dataset.probe, tabular.dataset.test),
            *(2, ("no", "yes"), ("age",)),
        )


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("age > 5 and class_name == 'yes'", lambda t: (t.age > 5) & (t.label == 1)),
        ("`coat=red` == 1 or shard in [0, 2]", lambda t: (t["coat=red"] == 1) | (t.shard != 1)),
        ("class_name.str.contains('e') & slice == 2", lambda t: (t.label == 1) & (t.slice == 2)),
        ("`net income` < loss", lambda t: t["net income"] < t.loss),
        ("age > 1000", lambda t: t.age > 1000),
    ],
)
def test_a_query_revokes_those_of_which_it_holds(tabular, query, holds):
    table = uk.example_table(tabular, ["loss"])
    fork = tabular.fork()
    request = fork.revoke(query=query)
    assert request.ids.tolist() == table["id"][holds(table)].tolist() == fork.pending.tolist()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("agee > 3", "name 'agee' is not defined in the table; its columns are id, label, class_"),
        ("age > ", r"the query 'age >' cannot be read \(invalid syntax"),
        ("age = 3", "the query 'age = 3' is no condition; compare something, such as label == 3"),
        ("age", "the query 'age' is no condition"),
        ("age > @x", "cannot use Python variables"),
        ("age.to_csv('stolen.csv')", "a query cannot call .to_csv; it may call abs, between"),
        ("age.__class__ == 3", "a query cannot call .__class__"),
        (" ", "the query is empty"),
    ],
)
def test_a_wrong_query_is_one_sentence(tabular, query, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        tabular.revoke(query=query)
    assert "\n" not in str(caught.value) and len(tabular.pending) == 0


def test_a_query_stands_alone(tabular):
    with pytest.raises(ValueError, match="a query and another choice were both given"):
        tabular.revoke([1], query="age > 3")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("3, 141; 592", [3, 141, 592]),
        ("[3, 4,\n5]", [3, 4, 5]),
        ("3 4\n5 6\n", [3, 4, 5, 6]),
        ("customer id\n3\n4.0\n\n", [3, 4]),
        ("\ufeffName;ID\r\n'a b';3\r\n\r\n'c';5\r\n", [3, 5]),
        ('id,why\n7,"asked, twice"\n12,', [7, 12]),
        ("a\tids\nx\t1\ny\t", [1]),
    ],
)
def test_ids_in_a_text(text, ids):
    assert uk.ids_in(text) == ids


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        ("", None, "there are no ids in the text"),
        (
            "3\nx7\n-4",
            None,
            r"2 entries are no ids: 'x7' \(line 2\), '-4' \(line 3\); ids are whole",
        ),
        ("3, x", None, r"1 entry is no id: 'x' \(line 1\)"),
        ("a,b\n1,2", None, "the columns are a, b, and none is named id; name that of the ids"),
        ("a,b\n1,2", "c", "and none is named 'c'"),
    ],
)
def test_wrong_entries_are_named(text, column, sentence):
    with pytest.raises(ValueError, match=sentence):
        uk.ids_in(text, column)


def test_a_map_is_a_fair_sample_on_the_plane_of_greatest_variance(session):
    fork = session.fork()
    everything = uk.example_map(fork)
    inputs, labels = fork.dataset.examples(everything.ids)
    assert everything.total == len(everything.ids) == len(fork.dataset.train)
    assert everything.labels.tolist() == labels.tolist()
    flat = inputs.flatten(1).double().numpy()
    values = np.sort(np.linalg.eigvalsh(np.cov(flat.T)))[::-1]
    assert everything.explained == pytest.approx(values[:2].sum() / values.sum())
    np.testing.assert_allclose(everything.places.var(0, ddof=1), values[:2], rtol=1e-6)

    waiting = fork.dataset.train.ids[-3:]
    fork.revoke(waiting)
    some = uk.example_map(fork, most=10)
    assert waiting[0] in some.ids and 10 <= len(some.ids) <= 11  # a tenth of them added
    drawn = np.concatenate([uk.example_map(session, most=10, seed=seed).ids for seed in range(60)])
    counts = np.bincount(np.searchsorted(everything.ids, drawn), minlength=everything.total)
    expected = 600 / everything.total  # binomial, so within five of its deviations
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)
    hidden = uk.example_map(fork, 1)
    assert hidden.shard == 1 and hidden.explained != everything.explained
    with pytest.raises(IndexError, match="there is no shard 9"):
        uk.example_map(fork, 9)
