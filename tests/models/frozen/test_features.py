"""Features: those of each example alone, kept until it is forgotten, and destroyed then."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

import unlearnkit as uk
from backbones import BATCH, as_plain, backbone, images, one_by_one
from unlearnkit.models.frozen.features import features_of, with_features
from unlearnkit.models.frozen.trial import TRIED
from unlearnkit.store import MemoryStore
from unlearnkit.training.plan import make_plan
from unlearnkit.training.train import train
from worker import content, poisoned

OPTIONS = {"num_shards": 3, "num_slices": 2, "epochs": 4, "batch_size": 8}


def frozen(head="logistic", module=None):
    return uk.Frozen(backbone() if module is None else module, head=head, batch_size=BATCH)


def session(data=None, head="logistic", **options):
    data = images() if data is None else data
    return uk.Session(data, model=frozen(head), **{**OPTIONS, **options})


class Own(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.out = torch.nn.LayerNorm(13), torch.nn.Linear(13, 3)

    def forward(self, features):
        return self.out(self.norm(features))


@pytest.mark.parametrize("head", ["logistic", uk.MLP((6,)), Own], ids=["logistic", "mlp", "own"])
def test_the_head_has_the_bits_of_features_computed_one_by_one(head):
    data = images()
    plain = uk.Session(as_plain(data, one_by_one(backbone(), data)), model=head, **OPTIONS)
    frozen_one = session(data, head)
    for each in (plain, frozen_one):
        each.train(on_progress=False)
    assert plain.ensemble.digest == frozen_one.ensemble.digest
    assert plain.spec == frozen_one.spec
    assert plain.score() == frozen_one.score()


def test_every_part_has_the_features_of_each_example_alone():
    data = images()
    expected = one_by_one(backbone(), data)
    attached = with_features(data, frozen())
    for part in attached.parts.values():
        found = part[part.ids[::-1].copy()][0]
        wanted = torch.stack([expected[i] for i in part.ids[::-1].tolist()])
        assert found.numpy().tobytes() == wanted.numpy().tobytes()
        assert part.inputs().numpy().tobytes() == wanted.flip(0).numpy().tobytes()
    some = attached.examples([data.test.ids[4], data.train.ids[2]])[0]
    assert torch.equal(some, torch.stack([expected[data.test.ids[4]], expected[data.train.ids[2]]]))


def test_unlearned_equals_retrained_on_rows_overwritten_with_nan():
    one = session(head=uk.MLP((6,)))
    one.train(on_progress=False)
    gone = one.dataset.train.ids[[0, 4, 31, 60]]
    one.revoke(gone)
    one.unlearn(1.0, on_progress=False)
    poison = replace(images(), train=poisoned(images().train, gone))
    again = with_features(poison, frozen())
    plan = make_plan(again.train, one.plan.architecture, one.spec, revoked=gone)
    store = MemoryStore()
    train(plan, store, on_progress=False)
    assert store.keys == one.store.keys
    for key in store.keys:
        assert content(store.get(key)) == content(one.store.get(key))
    assert one.compare(on_progress=False).bit_identical


def test_an_approximation_is_that_of_features_given_as_data():
    data, found = images(), []
    plain = uk.Session(as_plain(data, one_by_one(backbone(), data)), model="logistic", **OPTIONS)
    for each in (plain, session(data)):
        each.train(on_progress=False)
        each.revoke(each.dataset.train.ids[3:8])
        each.unlearn(0.0, on_progress=False, spot_check=False)
        comparison = each.compare(on_progress=False)
        judged = comparison.to_frame().drop(columns=["seconds", "predicted_seconds"])
        found.append((each.ensemble.digest, judged.to_csv()))
        each.repay(on_progress=False)
        found[-1] += (each.ensemble.digest,)
    assert found[0] == found[1]


def test_each_example_passes_the_backbone_once():
    module, seen = backbone(), []
    module.register_forward_hook(lambda layer, rows, out: seen.append(rows[0].clone()))
    one = uk.Session(images(), model=frozen(module=module), **OPTIONS)
    one.train(on_progress=False)
    one.score()
    batches = len(np.unique(np.concatenate([p.ids for p in one.dataset.parts.values()]) // BATCH))
    assert (
        len(seen) <= batches + 10
    )  # one without rows, three of the trial, and one repeated in each pass
    seen.clear()
    one.revoke(one.dataset.train.ids[:2])
    one.unlearn(1.0, on_progress=False)
    one.revoke(one.dataset.train.ids[5:9])
    one.unlearn(0.0, on_progress=False)
    assert not seen
    one.compare(on_progress=False)  # on forgotten examples, whose features were destroyed
    assert len(seen) <= 4


def test_labels_need_no_features():
    module, seen = backbone(), []
    data = with_features(images(), frozen(module=module))
    module.register_forward_hook(lambda layer, rows, out: seen.append(rows[0].clone()))
    ids = np.concatenate([part.ids[:3] for part in data.parts.values()])
    assert data.labels(ids).tolist() == images().examples(ids)[1].tolist() and not seen


def values_of(one):
    return features_of(one.dataset.train)._tensor()


def is_in(row, values):
    return row.numpy().tobytes() in values.numpy().tobytes()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_features_are_destroyed_with_the_example_on_every_route(share):
    one = session()
    one.train(on_progress=False)
    gone = one.dataset.train.ids[[2, 9]]
    rows = one.dataset.train[gone][0]
    assert all(is_in(row, values_of(one)) for row in rows)
    one.revoke(gone)
    one.unlearn(share, on_progress=False)
    assert not any(is_in(row, values_of(one)) for row in rows)
    assert not np.isin(gone, features_of(one.dataset.train).kept).any()
    again = one.dataset.train[gone][0]  # computed once more, to the same bits, and not kept
    assert torch.equal(again, rows)
    assert not any(is_in(row, values_of(one)) for row in rows)


def test_equal_rows_are_forgotten_one_by_one():
    data = images(twins=2)
    one = session(data)
    one.train(on_progress=False)
    first, twin = data.train.ids[0], data.train.ids[-2]
    assert torch.equal(data.train.raw([first]), data.train.raw([twin]))
    own = one.dataset.train[[first, twin]][0]
    one.revoke([first])
    one.unlearn(1.0, on_progress=False)
    assert is_in(own[1], values_of(one)), "the other example keeps its features"
    assert one.compare(on_progress=False).bit_identical
    one.revoke([twin])
    one.unlearn(1.0, on_progress=False)
    assert not any(is_in(row, values_of(one)) for row in own)
    assert one.compare(on_progress=False).bit_identical


def test_a_cancelled_or_failed_request_destroys_nothing():
    import threading

    one = session()
    one.train(on_progress=False)
    one.score()
    kept, cancel = features_of(one.dataset.train).kept, threading.Event()
    cancel.set()
    one.revoke(one.dataset.train.ids[:3])
    with pytest.raises(uk.Cancelled):
        one.unlearn(1.0, on_progress=False, cancel=cancel)
    assert np.array_equal(features_of(one.dataset.train).kept, kept)


@pytest.mark.parametrize("forked_first", [True, False])
def test_a_fork_and_its_session_forget_for_themselves(forked_first):
    one = session()
    one.train(on_progress=False)
    branch = one.fork()
    gone = one.dataset.train.ids[:2]
    rows = one.dataset.train[gone][0]
    forgets, other = (branch, one) if forked_first else (one, branch)
    forgets.revoke(gone)
    forgets.unlearn(1.0, on_progress=False)
    assert not any(is_in(row, values_of(forgets)) for row in rows)
    assert all(is_in(row, values_of(other)) for row in rows)
    other.revoke(one.dataset.train.ids[2:4])
    other.unlearn(1.0, on_progress=False)
    assert other.compare(on_progress=False).bit_identical


def test_training_in_workers_and_threads_gives_the_same_bits():
    digests = set()
    for options in ({"threads": 1}, {"threads": 2}, {"parallel": 2}):
        one = session(head=uk.MLP((6,)), **options)
        one.train(on_progress=False)
        digests.add(one.ensemble.digest)
    assert len(digests) == 1


def test_progress_names_the_pass_and_cancelling_keeps_what_was_computed():
    import threading

    events, cancel = [], threading.Event()

    def stop_in_the_middle(event):
        events.append(event)
        if len(events) == 4:
            cancel.set()

    one = session()
    with pytest.raises(uk.Cancelled):
        one.train(on_progress=stop_in_the_middle, cancel=cancel)
    assert {event.phase for event in events} == {"features"}
    assert events[0].sentence == "computing features"
    kept = len(features_of(one.dataset.train).kept)
    assert 4 <= kept < 150
    one.train(on_progress=False)
    other = session()
    other.train(on_progress=False)
    assert one.ensemble.digest == other.ensemble.digest


def test_the_trial_reads_no_revoked_row():
    data, one = images(), session()
    gone = data.train.ids[:40]
    attached = with_features(replace(data, train=poisoned(data.train, gone)), frozen())
    plan = make_plan(attached.train, one.plan.architecture, one.spec, revoked=gone)
    ids = plan.partition.ids
    features_of(attached.train).compute(ids[plan.retained][:9])
    assert TRIED in features_of(attached.train).backbone.trials


def test_features_that_are_not_finite_name_the_examples():
    data = images()
    data.train.features[50] = 1e30
    module = torch.nn.Sequential(torch.nn.Flatten(), Square()).eval()
    with pytest.raises(
        ValueError, match=f"NaN or infinite features for 1 of .*{data.train.ids[50]}"
    ):
        uk.Session(data, model=frozen(module=module), **OPTIONS).train(on_progress=False)


class Square(torch.nn.Module):
    def forward(self, rows):
        return (rows / 9) ** 2


def test_a_parameter_that_changes_is_found_before_anything_is_computed():
    module = backbone()
    one = uk.Session(images(), model=frozen(module=module), **OPTIONS)
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match=r"has changed in backbone\.0\.weight since"):
        one.train(on_progress=False)
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] -= 1


def test_a_backbone_put_into_training_mode_is_found():
    module = backbone()
    one = uk.Session(images(), model=frozen(module=module), **OPTIONS)
    one.train(on_progress=False)
    one.score()
    module.train()
    with pytest.raises(ValueError, match="training mode"):
        one.ensemble.predict(one.dataset.raw(one.dataset.test.ids))
    assert len(one.ensemble.predict(one.dataset.test.inputs()))  # needs no backbone


def test_a_pickled_estimator_keeps_its_features():
    attached = with_features(images(), frozen())
    rows = attached.train.inputs()
    again = pickle.loads(pickle.dumps(attached))
    assert np.array_equal(features_of(again.train).kept, features_of(attached.train).kept)
    assert torch.equal(again.train.inputs(), rows)


def test_unknown_ids_and_the_repr_are_told():
    features = features_of(with_features(images(), frozen()).train)
    assert repr(features) == "Features(Sequential, 0 of 150 examples kept)"
    with pytest.raises(KeyError, match="unknown ids 5"):
        features.rows(np.array([5]))


def test_data_with_features_share_them_with_the_next_session_that_asks():
    model = frozen()
    one = uk.Session(images(), model=model, **OPTIONS)
    one.train(on_progress=False)
    one.score()
    gone = one.dataset.train.ids[:1]
    one.revoke(gone)
    one.unlearn(1.0, on_progress=False)
    other = uk.Session(one.dataset, model=model, **OPTIONS)
    kept = features_of(other.dataset.train).kept
    assert len(kept) >= 149
    other.train(on_progress=False)
    assert gone in features_of(other.dataset.train).kept  # it has not forgotten the example
    assert gone not in features_of(one.dataset.train).kept
    plain = uk.Session(one.dataset, model="logistic", **OPTIONS)
    assert plain.dataset.train.computed is None


def letters(texts):
    """Counts of letters, which no other text of the batch has an influence on."""
    return np.array([[len(t), *(t.count(c) for c in "abcdefgh ")] for t in texts]) / 10


def padded(texts):
    """The same, padded to the longest text of the batch."""
    return letters([text.ljust(max(map(len, texts))) for text in texts])


def sentences(count=90):
    rng, words = (
        np.random.default_rng(5),
        ["abba", "bed", "cafe", "dad", "egg", "fee", "gag", "hag"],
    )
    labels = rng.integers(0, 2, count)
    rows = [
        " ".join(rng.choice(words[2 * label : 6 + 2 * label], 1 + i % 5))
        for i, label in enumerate(labels)
    ]
    return rows, labels


def test_any_callable_over_strings_is_a_backbone(tmp_path):
    rows, labels = sentences()
    model = uk.Frozen(letters, head=uk.MLP((5,)), batch_size=16)
    one = uk.Session((rows, labels), model=model, store=tmp_path, **OPTIONS)
    plain = uk.Session((letters(rows), labels), model=uk.MLP((5,)), **OPTIONS)
    for each in (one, plain):
        each.train(on_progress=False)
    assert one.ensemble.digest == plain.ensemble.digest
    assert torch.equal(
        one.ensemble.predict(rows[:9]), plain.ensemble.predict(letters(rows[:9]).astype("f4"))
    )
    assert "logistic" not in repr(one) and "mlp on letters" in repr(one)
    train = one.dataset.train
    gone = [i for i in train.ids if rows.count(rows[i]) == 1][-2:]  # others have features as well
    before = train[gone][0]
    assert all(is_in(row, values_of(one)) for row in before)
    one.revoke(gone)
    one.unlearn(1.0, on_progress=False)
    assert one.compare(on_progress=False).bit_identical
    assert not any(is_in(row, values_of(one)) for row in before)
    says = " ".join(uk.audit(tmp_path, dataset=one.dataset, model=model, retrain=True))
    assert "have the bits that retraining from scratch without the 2 revoked examples" in says
    with pytest.raises(TypeError, match="letters takes texts, but the rows are a Tensor"):
        one.plan.architecture.backbone(torch.ones(2, 3))


def test_texts_padded_to_the_longest_of_the_batch_are_refused_but_one_by_one():
    rows, labels = sentences()
    with pytest.raises(ValueError, match=r"influence each other.*padding='max_length'"):
        uk.Session((rows, labels), model=uk.Frozen(padded, batch_size=16), **OPTIONS)
    uk.Session((rows, labels), model=uk.Frozen(padded, batch_size=1), **OPTIONS)


def test_token_ids_reach_the_backbone_as_whole_numbers():
    tokens = torch.randint(0, 50, (90, 6), generator=torch.Generator().manual_seed(2))
    labels = (tokens[:, 0] > 25).long()
    table = torch.nn.EmbeddingBag(50, 8).eval()
    data = uk.from_arrays(tokens, labels, dtype=torch.int64)
    one = uk.Session(data, model=uk.Frozen(table, batch_size=16), **OPTIONS)
    one.train(on_progress=False)
    with torch.no_grad():
        expected = table(tokens)
    assert torch.allclose(one.dataset.test.inputs(), expected[one.dataset.test.ids])
    assert torch.equal(
        one.ensemble.predict(tokens[one.dataset.test.ids]),
        one.ensemble.predict(one.dataset.test.inputs()),
    )
    with pytest.raises(TypeError, match=r"torch.float32, but EmbeddingBag takes int64"):
        one.ensemble.predict(tokens.float())


def test_features_far_from_one_are_told():
    with pytest.warns(UserWarning, match=r"features of the function range from .*fixed constant"):
        module = lambda rows: rows.flatten(1) * 1e4  # noqa: E731
        uk.Session(images(), model=frozen(module=module), **OPTIONS)


def test_few_rows_of_widely_spread_ids_take_few_batches():
    ids = np.sort(np.random.default_rng(0).choice(10**6, 96, replace=False))
    data = images(96)
    train = replace(data.train, ids=ids[: len(data.train)])
    probe = replace(data.probe, ids=ids[len(train) : len(train) + len(data.probe)])
    test = replace(data.test, ids=ids[len(train) + len(probe) :])
    spread = replace(data, train=train, probe=probe, test=test)
    seen, module = [], backbone()
    module.register_forward_hook(lambda *given: seen.append(1))
    attached = with_features(spread, frozen(module=module))
    rows = attached.train.inputs()
    most = np.bincount(train.ids % BATCH).max()
    assert len(seen) <= most + 5
    expected = one_by_one(backbone(), spread)
    assert torch.equal(rows, torch.stack([expected[i] for i in train.ids.tolist()]))
