"""What the comparison looks into, against scikit-learn, dense formulas and counting by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.metrics import auc, confusion_matrix, roc_auc_score, roc_curve

from cases import CASES
from unlearnkit import as_architecture
from unlearnkit.evaluation import membership, parameters, predictions, representations
from unlearnkit.evaluation.comparison import MODELS, PARTS
from unlearnkit.metrics.metrics import output_kl


def compared(name, max_share=0.3, count=3):
    """A comparison after forgetting examples of two shards."""
    session = CASES[name].session()
    session.train()
    session.revoke(count=count, seed=1)
    session.unlearn(max_share)
    return session.compare(), session.dataset


@pytest.fixture(scope="module")
def mixed():
    """Some constituents exact, some approximate."""
    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    late = partition.ids[(partition.shard == 1) & (partition.slice_ == 3)]
    early = partition.ids[(partition.shard == 2) & (partition.slice_ == 1)]
    session.revoke([*late[:1], *early[:2]])
    session.unlearn(0.3)
    comparison = session.compare()
    assert 0 < comparison.constituents["bit identical"].sum() < len(comparison.constituents)
    return comparison, session.dataset


@pytest.fixture(scope="module")
def images():
    return compared("cnn-batchnorm", 0.0)


def shard_of(comparison, identical):
    frame = comparison.constituents
    return int(frame["shard"][frame["bit identical"] == identical].iloc[0])


# Parameters


def test_a_sample_holds_true_values_fairly_and_always_the_same(mixed):
    comparison, _ = mixed
    shard = shard_of(comparison, False)
    sample = parameters.parameter_sample(comparison, shard, most=40)
    counts = sample.frame["layer"].value_counts()
    assert counts.sum() == 40 and not sample.frame.duplicated(["layer", "index"]).any()
    full = [layer for layer, size in sample.sizes.items() if counts[layer] < size]
    assert max(counts) - min(counts[layer] for layer in full) <= 1
    for row in sample.frame.itertuples():
        for model in MODELS:
            state = getattr(comparison, model).by_shard[shard].state
            assert getattr(row, model) == float(state[row.layer].flatten()[row.index])
    again = parameters.parameter_sample(comparison, shard, most=40)
    other = parameters.parameter_sample(comparison, shard, most=40, seed=1)
    assert again.frame.equals(sample.frame) and not other.frame.equals(sample.frame)
    exact = parameters.parameter_sample(comparison, shard_of(comparison, True))
    assert exact.identical and (exact.frame["unlearned"] == exact.frame["scratch"]).all()
    assert not sample.identical


def test_shifts_count_every_parameter_and_agree_with_the_table(mixed):
    comparison, _ = mixed
    for identical in (False, True):
        shard = shard_of(comparison, identical)
        found = parameters.shifts(comparison, shard, bins=21)
        assert (found.frame[["needed", "made", "left"]].sum() == found.num_parameters).all()
        row = comparison.constituents.set_index("shard").loc[shard]
        assert found.left == pytest.approx(row["unlearned to scratch (L2)"], rel=1e-5)
        assert found.needed == pytest.approx(row["original to scratch (L2)"], rel=1e-5)
        # The law of cosines ties the three norms together.
        product = 2 * found.needed * found.made * found.cosine
        assert found.needed**2 + found.made**2 - product == pytest.approx(
            found.left**2, abs=1e-9 * found.needed**2
        )
        middle = found.frame.iloc[10]
        assert middle["low"] < 0 < middle["high"]
        assert (middle["left"] == found.num_parameters and found.left == 0) == identical
    with pytest.raises(ValueError, match="bins=4 met; give an odd number"):
        parameters.shifts(comparison, shard, bins=4)
    with pytest.raises(KeyError, match="shard 0 was not trained from scratch for this; there is 1"):
        parameters.shifts(comparison, 0)


def test_weight_images_are_the_weights_of_the_units_that_moved_most(images):
    comparison, _ = images
    shard = comparison.shards[0]
    shown = parameters.weight_images(comparison, shard, most=2)
    weights = {m: getattr(comparison, m).by_shard[shard].state[shown.layer] for m in MODELS}
    moved = [
        float((a - b).norm()) for a, b in zip(weights["scratch"], weights["original"], strict=True)
    ]
    assert list(shown.units) == sorted(range(3), key=lambda unit: -moved[unit])[:2]
    for model in MODELS:
        for unit, image in zip(shown.units, shown.images[model], strict=True):
            assert image == pytest.approx(weights[model][unit, 0].numpy())
    frame = shown.to_frame()
    assert len(frame) == 2 * 9
    row = frame.query("unit == @shown.units[1] and row == 2 and column == 1").iloc[0]
    assert row["scratch"] == shown.images["scratch"][1, 2, 1]


def test_only_layers_that_look_at_images_have_images(mixed):
    comparison, _ = mixed
    assert parameters.weight_images(comparison, comparison.shards[0]) is None
    flat = CASES["cnn-batchnorm"]
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    architecture = as_architecture(lambda: linear, flat.feature_shape, 3)
    assert parameters.image_layer(architecture) == ("1.weight", (1, 8, 8))


# Representations


def test_cka_is_the_dense_formula_both_ways_round():
    generator = torch.Generator().manual_seed(0)
    for size in (6, 30):  # fewer and more examples than features
        x = torch.randn(size, 9, generator=generator, dtype=torch.float64)
        y = torch.randn(size, 4, generator=generator, dtype=torch.float64) + x[:, :4]
        centre = torch.eye(size, dtype=torch.float64) - 1 / size

        def hsic(a, b, centre=centre):
            return torch.trace(a @ a.T @ centre @ b @ b.T @ centre)

        expected = hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()
        assert representations.linear_cka(x, y) == pytest.approx(float(expected), rel=1e-10)
        rotation, _ = torch.linalg.qr(torch.randn(9, 9, generator=generator, dtype=torch.float64))
        assert representations.linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1)
    assert representations.linear_cka(x, x) == 1
    assert math.isnan(representations.linear_cka(x, torch.zeros(30, 2)))


def test_layers_give_what_the_module_gives(mixed, images):
    for comparison, dataset in (mixed, images):
        architecture = comparison.scratch.architecture
        state = comparison.scratch.constituents[0].state
        inputs, _ = dataset.examples(dataset.test.ids)
        given = representations.layer_outputs(architecture, state, inputs)
        module = architecture.module(state)
        with torch.no_grad():
            assert torch.equal(list(given.values())[-1], module(inputs))
            hidden = torch.nn.Sequential(*list(module)[:-1])(inputs)
        assert torch.equal(given[representations.HIDDEN], hidden.flatten(1))


def test_layer_similarity_is_one_where_exact_and_less_where_not(mixed):
    comparison, dataset = mixed
    frame = representations.layer_similarity(comparison, dataset)
    exact = frame["shard"] == shard_of(comparison, True)
    unlearned = frame["model"] == "unlearned"
    assert (frame["CKA"][exact & unlearned] == 1).all() and frame["identical"][
        exact & unlearned
    ].all()
    rest = frame[~exact | ~unlearned]
    assert rest["CKA"].between(0, 1).all() and not rest["identical"].all()
    assert representations.HIDDEN not in set(frame["layer"])


@pytest.mark.parametrize("model", ["unlearned", "original"])
def test_twins_stand_where_scikit_learns_pca_puts_them(mixed, model):
    comparison, dataset = mixed
    shard = shard_of(comparison, False)
    twin = representations.twin_embedding(comparison, dataset, shard, model=model, most=9)
    assert (~twin.forgotten).sum() == 9 and 0 < twin.forgotten.sum() < 3
    assert twin.ids[9:].tolist() == comparison.forgotten_of(shard).tolist()
    inputs, labels = dataset.examples(twin.ids)
    assert twin.labels.tolist() == labels.tolist()
    hidden = {
        name: representations.layer_outputs(
            comparison.scratch.architecture, getattr(comparison, name).by_shard[shard].state, inputs
        )[representations.HIDDEN]
        .double()
        .numpy()
        for name in ("scratch", model)
    }
    pca = PCA(2, svd_solver="full").fit(hidden["scratch"][:9])
    signs = [1 if row[np.abs(row).argmax()] > 0 else -1 for row in pca.components_]
    assert twin.scratch == pytest.approx(pca.transform(hidden["scratch"]) * signs, abs=1e-6)
    assert twin.other == pytest.approx(pca.transform(hidden[model]) * signs, abs=1e-6)
    assert twin.explained == pytest.approx(pca.explained_variance_ratio_.sum())
    assert not twin.identical and len(twin.to_frame()) == len(twin.ids)


def test_twins_of_an_exact_constituent_do_not_move(mixed):
    comparison, dataset = mixed
    twin = representations.twin_embedding(comparison, dataset, shard_of(comparison, True))
    assert twin.identical and (twin.scratch == twin.other).all()


def test_a_model_without_hidden_layers_is_shown_by_its_output():
    comparison, dataset = compared("logistic", 0.0)
    shard = comparison.shards[0]
    twin = representations.twin_embedding(comparison, dataset, shard)
    assert twin.layer == representations.OUTPUT and not twin.identical


# Predictions


def test_confusion_and_classes_are_counts(mixed):
    comparison, _ = mixed
    predictions = {name: comparison.outputs[name].test.argmax(1).numpy() for name in MODELS}
    for model in ("unlearned", "original"):
        table = predictions.prediction_confusion(comparison, model)
        expected = confusion_matrix(predictions["scratch"], predictions[model], labels=range(3))
        assert table.tolist() == expected.tolist()
        assert 1 - np.trace(table) / table.sum() == pytest.approx(comparison.churn[model])
    with pytest.raises(KeyError, match="no part is named 'probe'; known are forget, retain, test"):
        predictions.prediction_confusion(comparison, part="probe")


@pytest.mark.parametrize("part", PARTS)
def test_classes_add_up_to_the_whole(mixed, part):
    comparison, _ = mixed
    frame = predictions.class_agreement(comparison, part)
    weights = frame["examples"] / frame["examples"].sum()
    assert frame["examples"].sum() == len(comparison.ids[part])
    for model in MODELS:
        whole = comparison.accuracies.loc[model, part]
        assert (weights * frame[model]).sum() == pytest.approx(whole)
    for model in MODELS[:2]:
        outputs = comparison.outputs
        whole = output_kl(getattr(outputs["scratch"], part), getattr(outputs[model], part))
        assert (weights * frame[f"{model} KL"]).sum() == pytest.approx(whole)


def test_most_changed_are_the_greatest_divergences(mixed):
    comparison, _ = mixed
    frame = predictions.most_changed(comparison, "retain", most=5)
    p, q = (comparison.outputs[name].retain.double() for name in ("scratch", "unlearned"))
    every = torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(1)
    assert frame["KL"].tolist() == pytest.approx(every.sort(descending=True).values[:5].tolist())
    place = comparison.ids["retain"].tolist().index(frame["id"][0])
    assert int(every.argmax()) == place
    assert frame["label"][0] == comparison.labels["retain"][place]
    assert frame["unlearned"][0] == q[place].argmax() and frame["scratch p"][0] == p[place].max()


def test_nothing_changed_where_all_is_exact():
    comparison, _ = compared("uneven", 1.0)
    assert comparison.bit_identical
    assert predictions.most_changed(comparison).empty
    assert len(predictions.most_changed(comparison, model="original"))
    assert (membership.riskiest(membership.membership_losses(comparison))["excess"] == 0).all()


# Membership


def test_curves_are_scikit_learns_and_their_area_the_reported_one(mixed):
    comparison, _ = mixed
    losses = membership.membership_losses(comparison)
    truth = losses["part"] == "forget"
    curves = membership.roc_curves(losses)
    for model in MODELS:
        own = curves[curves["model"] == model]
        false, true, _ = roc_curve(truth, -losses[model], drop_intermediate=False)
        assert own["false positive rate"].tolist() == pytest.approx(false.tolist())
        assert own["true positive rate"].tolist() == pytest.approx(true.tolist())
        area = auc(own["false positive rate"], own["true positive rate"])
        assert area == pytest.approx(comparison.attacks[model].auc)
        assert area == pytest.approx(roc_auc_score(truth, -losses[model]))
        reported = comparison.attacks[model]
        value, interval = membership.roc_areas(losses)[model]
        assert value == pytest.approx(reported.auc)
        assert interval == pytest.approx(reported.interval)


def test_ties_move_both_rates_at_once():
    members, others = torch.tensor([0.5, 0.5, 1.0]), torch.tensor([0.5, 2.0])
    curve = membership.roc_curve(members, others)
    ranks = rankdata([-0.5, -0.5, -1.0, -0.5, -2.0])
    mann_whitney = (ranks[:3].sum() - 6) / 6
    area = auc(curve["false positive rate"], curve["true positive rate"])
    assert area == pytest.approx(mann_whitney)
    assert membership.roc_curve(torch.empty(0), others).empty


def test_rates_at_a_threshold_are_counts_on_the_curve(mixed):
    comparison, _ = mixed
    losses = membership.membership_losses(comparison)
    curves = membership.roc_curves(losses)
    for share in (0.0, 0.25, 1.0):
        threshold = membership.threshold_at(losses, share)
        found = membership.rates(losses, "unlearned", threshold)
        test = losses.query("part == 'test'")["unlearned"]
        assert found.false == pytest.approx(max(math.ceil(share * 12), 1) / 12)
        assert threshold in set(test)
        row = curves.query("model == 'unlearned' and threshold == @threshold").iloc[0]
        assert (found.false, found.true) == (row["false positive rate"], row["true positive rate"])
        low, high = found.true_interval
        assert 0 <= low <= found.true <= high <= 1
    with pytest.raises(ValueError, match=r"share=1.5 of 12 test examples"):
        membership.threshold_at(losses, 1.5)


def test_the_riskiest_are_those_known_better_than_scratch_knows_them(mixed):
    comparison, _ = mixed
    frame = membership.riskiest(membership.membership_losses(comparison))
    assert sorted(frame["id"]) == sorted(comparison.ids["forget"])
    assert frame["excess"].is_monotonic_decreasing
    place = comparison.ids["forget"].tolist().index(frame["id"][0])
    label = int(comparison.labels["forget"][place])
    p = {name: float(comparison.outputs[name].forget[place, label]) for name in MODELS}
    assert frame["label"][0] == label
    assert frame["excess"][0] == pytest.approx(math.log(p["unlearned"] / p["scratch"]), abs=1e-9)
    assert frame["original"][0] == pytest.approx(-math.log(p["original"]), rel=1e-6)


def test_a_constituent_is_attacked_with_what_its_own_shard_lost(mixed):
    comparison, dataset = mixed
    lost = {shard: comparison.forgotten_of(shard) for shard in comparison.shards}
    assert sorted(np.concatenate(list(lost.values()))) == sorted(comparison.ids["forget"])
    for shard, ids in lost.items():
        losses = membership.constituent_losses(comparison, dataset, shard)
        assert losses["id"][losses["part"] == "forget"].tolist() == ids.tolist()
        inputs, labels = dataset.examples(losses["id"].to_numpy())
        for model in MODELS:
            module = comparison.scratch.architecture.module(
                getattr(comparison, model).by_shard[shard].state
            )
            expected = torch.nn.functional.cross_entropy(module(inputs), labels, reduction="none")
            assert losses[model].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        exact = shard == shard_of(comparison, True)
        assert (membership.riskiest(losses)["excess"] == 0).all() == exact


def test_a_shard_that_lost_nothing_in_this_request_has_no_areas():
    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    for shard in (1, 2):
        session.revoke(partition.ids[partition.shard == shard][:1].tolist())
        session.unlearn(0.0)
    comparison = session.compare()
    assert comparison.shards == (1, 2) and comparison.forgotten_of(1).size == 0
    losses = membership.constituent_losses(comparison, session.dataset, 1)
    assert membership.roc_curves(losses).empty and membership.riskiest(losses).empty
    area, interval = membership.roc_areas(losses)["unlearned"]
    assert math.isnan(area) and interval is None
    rates = membership.rates(losses, "unlearned", 1.0)
    assert math.isnan(rates.true) and rates.true_interval is None


def test_looking_leaves_the_global_generators_alone(mixed):
    comparison, dataset = mixed
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    parameters.parameter_sample(comparison, comparison.shards[0])
    representations.twin_embedding(comparison, dataset, comparison.shards[0])
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before
