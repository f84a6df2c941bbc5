"""Groups from the data to the store: exact by person, byte for byte, on every kind of grouping."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import unlearnkit as uk
from unlearnkit import Session, figures, from_frame
from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation import membership, representations
from unlearnkit.records.audit import audit
from unlearnkit.store import StoreError
from unlearnkit.unlearning.expected_workload import visits_of_forgetting
from worker import content, retrained

GIVEN = {"hidden": (7,), "epochs": 4, "num_shards": 4, "num_slices": 3, "seed": 2}


def data_of(persons: Any, **options: Any) -> Dataset:
    """Noisy blobs, of which each row belongs to a person."""
    rng = np.random.default_rng(len(persons))
    kind = rng.integers(0, 3, len(persons))
    columns = {f"x{i}": rng.normal(size=len(persons)) + (kind == i) for i in range(4)}
    frame = pd.DataFrame({**columns, "person": persons, "kind": kind})
    return from_frame(frame, "kind", groups="person", **options)


def equal_persons() -> list[str]:
    return [f"person {p}" for p in np.random.default_rng(0).permutation(np.arange(300) // 6)]


def one_with_a_tenth() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.r_[np.zeros(30, int), np.arange(270) // 5 + 1])


def persons_of_one_row() -> list[int | str]:
    return [row if row % 2 else f"person {row}" for row in range(300)]


def one_with_a_tenth_and_5000_with_one_row() -> np.ndarray:
    persons = np.r_[np.zeros(600, int), np.arange(5000) + 1, np.arange(400) // 8 + 5001]
    return np.random.default_rng(0).permutation(persons)


def is_exact(session: Session) -> bool:
    """Whether each checkpoint has the bytes of training on data whose revoked rows are NaN."""
    found, plan = retrained(session.plan, session.dataset.train, session.revoked), session.plan
    alive = {stage.key for stage in plan.stages if plan.alive(stage.shard)}
    assert found.keys() == alive and alive <= session.store.keys
    return all(found[key] == content(session.store.get(key)) for key in alive)


@pytest.mark.parametrize("persons", [equal_persons, one_with_a_tenth, persons_of_one_row])
def test_a_person_is_forgotten_to_the_bytes_of_training_without_their_rows(persons) -> None:
    session = Session(data_of(persons()), **GIVEN)
    session.train()
    trained = np.unique(session.dataset.train.groups)
    rows = np.bincount(session.dataset.train.groups)
    largest = int(rows.argmax())
    for number in (largest, *np.setdiff1d(trained, [largest])[:2].tolist()):
        request = session.revoke(group=session.dataset.grouping.names[number])
        assert request.num_groups == 1
        assert session.unlearn(1).debt_after == 0
        assert is_exact(session)


@pytest.mark.parametrize("rates", [False, True])
def test_very_unbalanced_persons_are_kept_whole_and_forgotten_exactly(rates: bool) -> None:
    persons = one_with_a_tenth_and_5000_with_one_row()
    data = data_of(persons, propensity=likely(persons) if rates else None)
    held = [set(part.groups.tolist()) for part in data.parts.values()]
    assert sum(map(len, held)) == len(set.union(*held)) == len(data.grouping) == 5051
    assert [len(part) for part in data.parts.values()] == [4200, 600, 1200]
    given = {**GIVEN, "epochs": 1, "num_shards": 5, "batch_size": 256}
    session = Session(data, **given)
    places = session.plan.partition.shard * 10 + session.plan.partition.slice_
    sizes = session.plan.partition.sizes(session.plan.retained)
    assert np.ptp(sizes.sum(1)) <= 8 * 1.2 and sizes.sum() == 4200
    numbers = data.train.groups
    apart = [g for g in np.unique(numbers) if len(np.unique(places[numbers == g])) > 1]
    assert [data.grouping.names[number] for number in apart] == [0]
    assert len(np.unique(session.plan.partition.shard[np.isin(numbers, apart)])) == 1
    session.train()
    for name in (0, *in_part(data, "train", 9)[-2:]):
        session.revoke(group=name)
        assert session.unlearn(1).debt_after == 0
        assert is_exact(session)
    assert is_about_nobody_else(session, 0) and is_about_nobody_else(session, name)


def is_about_nobody_else(session: Session, name: Any) -> bool:
    """Whether the page for a person holds their rows and no id, name or value of anybody else."""
    page = session.certificate(group=name)
    own = session.dataset.ids_of_groups([name])
    assert [row["id"] for row in page.content["rows"]] == own.tolist()
    text = page.to_json() + page.to_html()
    for examples in session.dataset.parts.values():
        others = ~np.isin(examples.ids, own)
        values = examples.features.numpy()[others][:200].ravel()
        assert not any(str(abs(value)) in text for value in values.tolist())

    def leaves(content: Any) -> list[Any]:
        if isinstance(content, dict):
            return [leaf for value in content.values() for leaf in leaves(value)]
        if isinstance(content, list | tuple):
            return [leaf for value in content for leaf in leaves(value)]
        return [content]

    return {leaf for leaf in leaves(page.content["rows"]) if type(leaf) is int} == {*own.tolist()}


@pytest.mark.parametrize(
    "persons", [equal_persons, one_with_a_tenth, one_with_a_tenth_and_5000_with_one_row]
)
def test_a_person_costs_about_what_one_row_of_the_same_slice_costs(persons) -> None:
    session = Session(data_of(persons()), **GIVEN)
    data, plan, costs = session.dataset, session.plan, session.group_costs()
    whole = 0
    for name, visits in list(zip(costs.names, costs.visits.tolist(), strict=True))[:300]:
        rows = plan.partition.rows(data.ids_of_groups([name]))
        places = {*zip(plan.partition.shard[rows], plan.partition.slice_[rows], strict=True)}
        one_row, _ = visits_of_forgetting(plan, plan.partition.ids[rows[:1]])
        if len(places) == 1:
            assert visits <= 1.2 * one_row
            whole += 1
    assert whole >= 30


def test_an_average_person_of_twenty_rows_costs_a_twentieth_of_training_at_most() -> None:
    persons = np.random.default_rng(0).permutation(np.repeat(np.arange(500), 20))
    session = Session(data_of(persons), **{**GIVEN, "num_shards": 20})
    assert session.group_costs().mean_share <= 0.05
    assert session.expected_share() == pytest.approx(session.group_costs().share_of(1))


def test_a_backup_with_likely_leavers_is_recognised_and_not_trained_on(tmp_path: Path) -> None:
    names = equal_persons()
    data = data_of(names, propensity=likely(names))
    session = Session(data, **GIVEN)
    session.train()
    leaver = in_part(data, "train", 1)[0]
    session.revoke(group=leaver)
    session.unlearn(1)
    session.tombstones().save(tmp_path / "tombstones.json")
    # The backup comes back with other rates, which make another partition.
    backup = data_of(names, propensity={name: 1.0 + (name == leaver) for name in names})
    with pytest.warns(UserWarning, match="name 6 rows of 1 group of the data as forgotten before"):
        later = Session(backup, tombstones=tmp_path / "tombstones.json", **GIVEN)
    later.train()
    assert later.revoked.tolist() == backup.ids_of_groups([leaver]).tolist() and is_exact(later)
    page = later.certificate(group=leaver)
    assert is_about_nobody_else(later, leaver) and "6 rows" in repr(page)


def likely(persons: Any) -> dict[Any, float]:
    """Rates by person, of whom every fifth is likely to leave."""
    return {p: 9.0 if i % 5 == 0 else 1.0 for i, p in enumerate(dict.fromkeys(persons))}


@pytest.mark.parametrize("persons", [equal_persons, one_with_a_tenth, persons_of_one_row])
def test_propensities_shape_bits_through_the_partition_alone(persons) -> None:
    names = list(persons())
    data = data_of(names, propensity=likely(names))
    plain = Session(replace(data, train=replace(data.train, propensity=None)), **GIVEN)
    session = Session(data, **GIVEN)
    assert session.plan.partition.digest != plain.plan.partition.digest
    same = Session(plain.dataset, partition=session.plan.partition, **GIVEN)
    assert same.plan.digest == session.plan.digest
    session.train()
    held = np.unique(data.train.groups)
    rates = likely(names)
    for leaving in (True, False):
        name = next(
            n for n in map(data.grouping.names.__getitem__, held) if (rates[n] > 1) is leaving
        )
        session.revoke(group=name)
        assert session.unlearn(1).debt_after == 0
        assert is_exact(session)


def test_a_store_goes_on_with_the_same_propensities_only(tmp_path: Path) -> None:
    names = equal_persons()
    rates = likely(names)
    Session(data_of(names), store=tmp_path / "plain", **GIVEN).train()
    session = Session(data_of(names, propensity=rates), store=tmp_path / "run", **GIVEN)
    session.train()
    name = in_part(session.dataset, "train", 1)[0]
    session.revoke(group=name)
    session.unlearn(1)
    session.store.close()
    doubled = {name: 2 * rate for name, rate in rates.items()}
    again = Session(data_of(names, propensity=doubled), store=tmp_path / "run")
    assert again.trained and is_exact(again)
    again.store.close()
    assert audit(tmp_path / "run", dataset=again.dataset, retrain=True)
    for folder, other in (("run", rates | {name: 5.0}), ("run", None), ("plain", rates)):
        with pytest.raises(StoreError, match=r"belongs to another run\. Its dataset"):
            Session(data_of(names, propensity=other), store=tmp_path / folder, **GIVEN)
    everyone_alike = dict.fromkeys(rates, 3.0)
    assert Session(data_of(names, propensity=everyone_alike), store=tmp_path / "plain").trained


def test_groups_of_one_row_train_what_is_trained_without_groups() -> None:
    data = data_of(persons_of_one_row())
    grouped, plain = Session(data, **GIVEN), Session(data.without_groups(), **GIVEN)
    assert grouped.plan.digest == plain.plan.digest


def test_a_store_goes_on_with_the_same_groups_only(tmp_path: Path) -> None:
    session = Session(data_of(equal_persons()), store=tmp_path / "run", **GIVEN)
    session.train()
    session.store.close()
    renamed = data_of([name.upper() for name in equal_persons()])
    assert Session(renamed, store=tmp_path / "run").trained
    others = data_of(equal_persons()[::-1])
    for other in (others, others.without_groups()):
        with pytest.raises(StoreError, match=r"belongs to another run\. Its dataset"):
            Session(other, store=tmp_path / "run", **GIVEN)


def test_no_name_of_a_group_is_written(tmp_path: Path) -> None:
    session = Session(data_of(equal_persons()), store=tmp_path / "run", **GIVEN)
    session.train()
    session.revoke(group="person 7", deadline=timedelta(hours=1))
    session.unlearn(0)
    session.repay()
    session.certificate()
    files = [file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert files and not any(b"person 7" in content for content in files)


def in_part(data: Dataset, part: str, count: int = 2) -> list[str]:
    """Names of groups that are in this part."""
    return [data.grouping.names[number] for number in np.unique(data.parts[part].groups)[:count]]


def test_revoking_a_group_takes_the_rows_of_every_part() -> None:
    session = Session(data_of(equal_persons()), **GIVEN)
    data = session.dataset
    for part in data.parts:
        (name,) = in_part(data, part, 1)
        assert repr(session.revoke(group=name)) == "Request(1 group, 6 examples)"
        assert np.isin(data.ids_of_groups([name]), session.pending).all()
    session.withdraw(group=in_part(data, "test", 1)[0])
    assert len(session.pending) == 12
    with pytest.raises(KeyError, match="has no pending example, so nothing was withdrawn"):
        session.withdraw(groups=[*in_part(data, "probe", 1), *in_part(data, "test", 1)])
    assert len(session.pending) == 12
    session.withdraw()
    names = [*in_part(data, "train"), *in_part(data, "test")]
    assert session.revoke(groups=names).num_groups == 4
    assert session.pending.tolist() == data.ids_of_groups(names).tolist()


def test_a_query_for_a_person_finds_their_rows_in_every_part() -> None:
    session = Session(data_of(equal_persons()), **GIVEN)
    data = session.dataset
    for part in data.parts:
        (name,) = in_part(data, part, 1)
        session.withdraw()
        session.revoke(query=f"person == {name!r}")
        assert session.pending.tolist() == data.ids_of_groups([name]).tolist()
    session.withdraw()
    (name,) = in_part(data, "train", 1)
    session.revoke(query=f"person == {name!r} and x0 > 0")
    rows = session.dataset.ids_of_groups([name])
    large = session.dataset.examples(rows)[0][:, 0].numpy() > 0
    assert session.pending.tolist() == rows[large].tolist()
    session.withdraw()
    session.revoke(query="x0 > 1")  # which says nothing of persons
    assert np.isin(session.pending, session.dataset.train.ids).all()


def test_evaluation_reads_no_row_of_a_revoked_person() -> None:
    session = Session(data_of(equal_persons()), **GIVEN)
    session.train()
    data = session.dataset
    names = [in_part(data, part, 1)[0] for part in data.parts]
    gone = data.ids_of_groups(names)
    session.revoke(groups=names)
    session.unlearn(1)
    for part in (data.probe, data.test):  # reading them would fail, or make scores NaN
        part.features[np.isin(part.ids, gone)] = np.nan
        part.labels[np.isin(part.ids, gone)] = -1
    assert all(np.isfinite(list(session.score().values())))
    comparison = session.compare()
    assert comparison.bit_identical
    assert comparison.ids["test"].tolist() == np.setdiff1d(data.test.ids, gone).tolist()
    assert np.isin(comparison.ids["forget"], data.train.ids).all()
    assert np.isfinite(comparison.scores.drop(columns="forget")).all(axis=None)
    (shard,) = comparison.shards
    representations.layer_similarity(comparison, data)
    representations.twin_embedding(comparison, data, shard)
    losses = membership.constituent_losses(comparison, data, shard)
    assert not np.isin(losses["id"][losses["part"] == "test"], gone).any()


def test_a_whole_test_part_may_be_revoked() -> None:
    session = Session(data_of(equal_persons()), **GIVEN)
    session.train()
    session.revoke(
        groups=[*in_part(session.dataset, "test", 99), *in_part(session.dataset, "train")]
    )
    session.unlearn(1)
    assert np.isnan(session.score()["test"]) and session.score()["probe"] >= 0
    assert session.compare().bit_identical


def test_a_store_remembers_groups_of_all_parts_and_is_audited(tmp_path: Path) -> None:
    data = data_of(equal_persons())
    session = Session(data, store=tmp_path / "run", **GIVEN)
    session.train()
    names = [in_part(data, part, 1)[0] for part in data.parts]
    session.revoke(groups=names)
    session.unlearn(0)
    later = in_part(data, "test")[1]
    session.revoke(group=later, deadline=timedelta(days=1))
    session.store.close()

    again = Session(data, store=tmp_path / "run")
    assert again.revoked.tolist() == data.ids_of_groups(names).tolist()
    assert again.pending.tolist() == data.ids_of_groups([later]).tolist()
    assert np.isin(data.ids_of_groups(names), again.revoke(groups=names).ids).sum() == 0
    again.unlearn(1)
    again.repay()
    assert is_exact(again)
    again.store.close()
    assert audit(tmp_path / "run", dataset=data, retrain=True)


def test_bad_requests_for_groups_change_nothing() -> None:
    session = Session(data_of(equal_persons()), **GIVEN)
    with pytest.raises(KeyError, match=r"no group 'ann' in 'person'; the known ones are 'person"):
        session.revoke(group="ann")
    with pytest.raises(KeyError, match="no group 'ann'"):
        session.revoke(groups=["person 3", "ann"])
    with pytest.raises(ValueError, match="group= and groups= were both given"):
        session.revoke(group="person 3", groups=["person 4"])
    with pytest.raises(ValueError, match="groups and another choice were both given"):
        session.revoke([3], group="person 3")
    with pytest.raises(TypeError, match="groups='person 3' is a str; give a list of names"):
        session.revoke(groups="person 3")
    with pytest.raises(ValueError, match="revokes all 210 training examples"):
        session.revoke(groups=in_part(session.dataset, "train", 99))
    with pytest.raises(ValueError, match="ids and groups were both given"):
        session.withdraw([3], group="person 3")
    assert len(session.pending) == 0
    plain = Session(session.dataset.without_groups(), **GIVEN)
    with pytest.raises(ValueError, match="has no groups; say which rows belong together"):
        plain.revoke(group="person 3")
    with pytest.raises(KeyError, match="in the test part of frame, which no model was trained on"):
        plain.revoke(plain.dataset.test.ids[:1])
    assert session.revoke(session.dataset.test.ids[:1]).num_groups == 1


def test_workload_and_ledger_count_groups() -> None:
    session = Session(data_of(equal_persons()), **GIVEN)
    session.train()
    names = [*in_part(session.dataset, "train"), *in_part(session.dataset, "test", 1)]
    session.revoke(groups=names)
    workload = session.workload()
    assert workload.num_groups == 2 and repr(workload).startswith("Workload(2 groups, ")
    assert repr(session).endswith(", trained, 18 pending of 3 groups)")
    assert repr(session.assess()).startswith("Assessment(2 groups, ")
    assert repr(session.unlearn(0)).startswith("Unlearned(18 examples of 3 groups, ")
    assert ", debt of 2 groups in " in repr(session)
    owed = np.concatenate(list(session.debt.values()))
    assert set(session.dataset.group_names(owed)) == set(in_part(session.dataset, "train"))
    session.repay()
    assert repr(session).endswith(", trained, 18 revoked of 3 groups)")
    ledger = session.ledger()
    assert ledger["groups"].fillna(-1).tolist() == [3, -1] and ledger["examples"].tolist()[0] == 18
    plain = Session(session.dataset.without_groups(), **GIVEN)
    plain.train()
    plain.revoke(count=1)
    assert plain.workload().num_groups is None and "group" not in repr(plain.workload())
    assert "group" not in repr(plain.assess())
    assert "group" not in repr(plain.unlearn(1))
    assert "groups" not in plain.ledger()


def test_the_queue_says_whose_rows_are_due(tmp_path: Path) -> None:
    session = Session(data_of(equal_persons()), store=tmp_path / "run", **GIVEN)
    session.train()
    first, second = in_part(session.dataset, "train")
    session.revoke(group=second, deadline=timedelta(days=9))
    session.revoke(group=first, deadline=timedelta(days=1))
    assert repr(session.queue).startswith("Queue(12 examples of 2 groups, the first due by ")
    assert session.queue.to_frame()["group"].tolist() == [first] * 6 + [second] * 6
    assert session.dataset.group_names(session.due(timedelta(days=2))) == (first,)
    session.store.close()
    again = Session(session.dataset, store=tmp_path / "run")
    assert again.queue.to_frame()["group"].tolist() == [first] * 6 + [second] * 6
    again.withdraw(group=first)
    assert repr(again.queue).startswith("Queue(6 examples of 1 group, ")
    again.store.close()
    plain = Session(session.dataset.without_groups(), **GIVEN)
    plain.revoke(count=1, deadline=timedelta(days=1))
    assert repr(plain.queue).startswith("Queue(1 example, the first due by ")
    assert plain.queue.to_frame().columns.tolist() == ["id", "deadline"]
    with pytest.raises(ValueError, match="has no groups; say which rows belong together"):
        plain.dataset.group_names([3])


@pytest.mark.parametrize("persons", [equal_persons, one_with_a_tenth])
def test_whole_groups_are_drawn_at_random(persons) -> None:
    session = Session(data_of(persons()), **GIVEN)
    data = session.dataset
    total = len(np.unique(data.train.groups))
    drawn = session.revoke(count=3, by_group=True, seed=4)
    assert drawn.num_groups == 3
    assert drawn.ids.tolist() == data.ids_of_groups(data.group_names(drawn.ids)).tolist()
    assert session.revoke(share=0.5, by_group=True).num_groups == round((total - 3) / 2)
    session.withdraw()
    assert session.revoke(count=3, by_group=True, seed=4).ids.tolist() == drawn.ids.tolist()
    session.withdraw()
    half = data.ids_of_groups([data.grouping.names[data.train.groups[0]]])[:1]
    session.revoke(half)  # a group that is revoked in part can still be drawn, for its rest
    assert session.revoke(share=0.9, by_group=True).num_groups == round(total * 0.9)
    with pytest.raises(ValueError, match=rf"count={total} is out of range; \d+ groups are left"):
        session.revoke(count=total, by_group=True)
    for options in ({}, {"label": 1, "count": 1}, {"label": 1}):
        with pytest.raises(ValueError, match="by_group=True draws whole groups; give count= or"):
            session.revoke(by_group=True, **options)
    with pytest.raises(ValueError, match="were both given"):
        session.revoke([3], by_group=True, count=1)
    with pytest.raises(ValueError, match="has no groups; say which rows belong together"):
        Session(data.without_groups(), **GIVEN).revoke(count=1, by_group=True)


def test_studies_and_streams_revoke_whole_groups() -> None:
    data = data_of(equal_persons())
    frame = uk.study(
        data,
        models=["logistic"],
        num_shards=[4],
        num_slices=[3],
        epochs=2,
        revoked=[("group", 2)],
        policies={},
    )
    assert frame["revoked"].tolist() == [12] and frame["kind"].tolist() == ["group"]
    session = Session(data, model="logistic", num_shards=4, num_slices=3, epochs=2)
    session.train()
    costs = session.group_costs()
    share = costs.expected(2) / (costs.total_visits * (1 - 2 / len(costs.names)))
    assert frame["expected_share"].tolist() == pytest.approx([share], rel=0.02)
    rounds = uk.stream(session, rounds=3, size=2, by_group=True, boundary=uk.FixedBoundary(1))
    assert rounds["revoked"].tolist() == [12, 24, 36] and rounds["groups"].tolist() == [2, 4, 6]
    title = figures.stream_debt(rounds).layout.title.text
    assert title.startswith("A stream of 3 requests of 2 groups: ")
    assert rounds["bit_identical"].tolist() == rounds["exact_operations"].tolist()
    with pytest.raises(ValueError, match="20 requests of 2 groups would use up the 35 remaining"):
        uk.stream(session, rounds=20, size=2, by_group=True)
    plain = Session(data.without_groups(), model="logistic", epochs=1)
    with pytest.raises(ValueError, match="frame has no groups"):
        uk.stream(plain, by_group=True)
    with pytest.raises(ValueError, match="requests of kind 'group' need groups"):
        uk.study(plain.dataset, revoked=[("group", 2)])
