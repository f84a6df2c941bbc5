"""Groups of examples, such as persons, as panels name, find and count them."""

import weakref
from collections import Counter
from collections.abc import Callable, Hashable
from functools import cached_property

import numpy as np
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.display import plural
from unlearnkit.figures.drawing import percent
from unlearnkit.session import Session
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.expected_workload import GroupCosts

NOUN = "group"
# Endings of nouns whose plural takes more than an s.
ODD_ENDINGS = ("s", "x", "y", "z", "ch", "sh", "o", "man", "child")

Ids = Int[np.ndarray, " example"]
Numbers = Int[np.ndarray, " group"]


class Groups:
    """The groups of a dataset, by their numbers.

    Attributes:
        noun: what a group is called: the name of its column if that is a plain noun, such as
            ``"person"``, and otherwise ``"group"``.

    Args:
        dataset: a dataset that has groups.
    """

    def __init__(self, dataset: Dataset) -> None:
        grouping = dataset.named_grouping()
        self.noun = noun_of(grouping.column)
        self._names = grouping.names
        parts = list(dataset.parts.values())
        ids = np.concatenate([examples.ids for examples in parts])
        numbers = np.concatenate([part.groups for part in parts if part.groups is not None])
        order = np.argsort(ids)
        self.ids, self.numbers = ids[order], numbers[order]
        self._usual: tuple[Callable[[], Plan | None], list[str]] = (lambda: None, [])

    def __len__(self) -> int:
        """Number of groups."""
        return len(self._names)

    def __repr__(self) -> str:
        return f"Groups({self.count(len(self))})"

    def name(self, number: int) -> Hashable:
        """Return the name of a group."""
        return self._names[number]

    @cached_property
    def texts(self) -> list[str]:
        """The name of each group as text; empty where the name was forgotten."""
        texts = ["" if name is None else str(name) for name in self._names]
        shared = {text for text, count in Counter(texts).items() if count > 1}
        if not shared:
            return texts
        # Only the quotes tell the text "17" from the number 17.
        return [
            repr(name) if text in shared and text else text
            for name, text in zip(self._names, texts, strict=True)
        ]

    @cached_property
    def _lower(self) -> list[str]:
        return ["" if name is None else str(name).lower() for name in self._names]

    def find(self, text: str) -> list[int]:
        """Return the groups whose name contains a text, whatever the case of its letters.

        Names that are the text come first, then those that begin with it.
        """
        wanted = text.strip().lower()
        found = [n for n, name in enumerate(self._lower) if wanted in name and name]
        return sorted(found, key=lambda n: _rank(self._lower[n], wanted))

    def named(self, text: str) -> list[int]:
        """Return the groups that a text names in full; those in the same case if there are any."""
        wanted = text.strip()
        same = [n for n in self.find(wanted) if self._lower[n] == wanted.lower()] if wanted else []
        return [n for n in same if str(self._names[n]) == wanted] or same

    def of(self, ids: Ids | list[int]) -> Int[np.ndarray, " example"]:
        """Return the number of the group of each of these examples, which the dataset contains."""
        found: np.ndarray = self.numbers[np.searchsorted(self.ids, np.asarray(ids, np.int64))]
        return found

    def rows(self, numbers: Numbers | list[int]) -> Ids:
        """Return the ids of all examples of these groups, in any part, ascending."""
        found: np.ndarray = self.ids[np.isin(self.numbers, np.asarray(numbers, np.int64))]
        return found

    def sizes(self, ids: Ids) -> Int[np.ndarray, " group"]:
        """Return how many of these examples each group holds."""
        counts: np.ndarray = np.bincount(self.of(ids), minlength=len(self))
        return counts

    def count(self, number: int) -> str:
        """Format a number of groups, such as ``"3 persons"``."""
        return plural(number, self.noun)

    def counted(self, ids: Ids) -> str:
        """Format a number of examples with that of their groups."""
        return f"{plural(len(ids), 'example')} of {self.count(len(np.unique(self.of(ids))))}"

    def usual_cost(self, session: Session) -> list[str]:
        """Say what one group costs on average and at worst, and ten together; computed once."""
        plan = session.plan
        if self._usual[0]() is not plan:
            self._usual = weakref.ref(plan), self._cost_sentences(session.group_costs())
        return self._usual[1]

    def _cost_sentences(self, costs: GroupCosts) -> list[str]:
        if not costs.names:
            return []
        text = (
            f"Forgetting one {self.noun} costs {percent(costs.mean_share)} of training from "
            f"scratch on average{by_propensity(costs)}, and {percent(float(costs.share.max()))} "
            f"at worst ({costs.worst})"
        )
        may_leave = min(int((costs.rates > 0).sum()), len(costs.names) - 1)
        ten = f"; ten together {percent(costs.share_of(10))}" if may_leave >= 10 else ""
        return [f"{text}{ten}.", costs.note]

    def listing(self, numbers: Numbers | list[int], most: int = 4) -> str:
        """List names in text, and count those beyond the first few."""
        texts = [self.texts[int(number)] for number in numbers[:most]]
        if len(numbers) > most:
            return f"{', '.join(texts)} and {len(numbers) - most:,} more"
        return " and ".join([*filter(None, [", ".join(texts[:-1])]), *texts[-1:]])


def by_propensity(costs: GroupCosts) -> str:
    """Return the words that qualify an average which propensities weight; empty without them."""
    return " by propensity" if len(np.unique(costs.rates)) > 1 else ""


def groups_in(dataset: Dataset) -> Groups | None:
    """Return the groups of a dataset; None if it has none."""
    if dataset.grouping is None:
        return None
    if dataset not in _GROUPS:
        _GROUPS[dataset] = Groups(dataset)
    return _GROUPS[dataset]


_GROUPS: "weakref.WeakKeyDictionary[Dataset, Groups]" = weakref.WeakKeyDictionary()


def noun_in(dataset: Dataset) -> str:
    """Return what the groups of a dataset are called; empty if it has none."""
    return "" if dataset.grouping is None else noun_of(dataset.grouping.column)


def counted(dataset: Dataset, ids: Ids) -> str:
    """Format a number of examples, with that of their groups if the data have groups."""
    groups = groups_in(dataset)
    return plural(len(ids), "example") if groups is None else groups.counted(ids)


def noun_of(column: str) -> str:
    """Return what the groups of a column are called in the singular.

    >>> noun_of("person"), noun_of("Patient"), noun_of("user_id"), noun_of("family")
    ('person', 'patient', 'group', 'group')
    """
    noun = column.strip().lower()
    plain = noun.isascii() and noun.isalpha() and len(noun) > 2
    return noun if plain and not noun.endswith(ODD_ENDINGS) else NOUN


def _rank(name: str, wanted: str) -> int:
    if name == wanted:
        return 0
    return 1 if name.startswith(wanted) else 2
