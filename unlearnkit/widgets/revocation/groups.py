"""A selector of groups, such as persons: find one, see their examples and what they cost."""

from collections.abc import Hashable, Sequence
from typing import Any

import ipywidgets
import numpy as np
from jaxtyping import Float, Int

from unlearnkit.figures.drawing import percent
from unlearnkit.session import Session
from unlearnkit.unlearning.expected_workload import GroupCosts, visits_of_forgetting
from unlearnkit.unlearning.request import Request
from unlearnkit.widgets.parts.groups import Groups, by_propensity
from unlearnkit.widgets.parts.html import Html, paragraphs
from unlearnkit.widgets.parts.panel import Panel, row
from unlearnkit.widgets.parts.pictures import pictures
from unlearnkit.widgets.parts.shared import plural, strip
from unlearnkit.widgets.revocation.base import Ids, Selector, button, can_be_written, group_call
from unlearnkit.widgets.revocation.picker import Picker

MOST_FOUND = 12  # groups in the list
MOST_SHOWN = 24  # rows of the chosen groups


class GroupSelector(Selector):
    """Finds groups by name, shows their rows and their cost, and revokes whole groups."""

    def __init__(self, panel: Panel, session: Session, groups: Groups) -> None:
        super().__init__(panel, session)
        self.found: Groups = groups
        self.name, noun = f"by {groups.noun}", groups.noun
        self.meaning = (
            f"All rows of a {noun} lie in one slice of one shard where they fit, so that "
            f"forgetting them costs little more than forgetting one of them. The cost is "
            f"that of exact retraining: the visits (gradients of one example) of the "
            f"stages that were trained on these rows, and their share of training "
            f"everything from scratch without them. An early slice is expensive, a late "
            f"one cheap. Debt and the request that waits come on top: the workload counts "
            f"them. A {noun} whose rows are all in the probe or test part costs nothing, "
            f"because no model was trained on them."
        )

    def build(self) -> Sequence[ipywidgets.Widget]:
        """Create the search field, the list of matches, and the rows of the chosen groups."""
        noun = self.found.noun
        self.search = ipywidgets.Text("", placeholder="a name or a part of it", description=noun)
        self.search.style.description_width = "initial"
        self.search.layout.width = "320px"
        self.summary = Html(live=True)
        self.picker = Picker(
            label=f"{noun.capitalize()}s; arrow keys move, the space bar picks",
            text=[0, 5],
        )
        self.none = button("Pick none", f"Unpick all {noun}s")
        self.chosen, self.cost, self.rows = Html(live=True), Html(live=True), Html()
        self._plan: object = None
        guard = self.panel.guard
        self.search.observe(guard(lambda change: self._list()), names="value")
        self.picker.observe(guard(lambda change: self._say()), names="picked")
        self.none.on_click(guard(lambda pressed: self.picker.set_trait("picked", [])))
        return [
            row(self.search, self.summary),
            self.picker,
            row(self.none, self.chosen),
            self.cost,
            self.rows,
        ]

    def renew(self) -> None:
        """Count rows and costs again if they may have changed, and list the matches."""
        session, groups = self.session, self.found
        if self._plan is not session.plan:
            self.costs: GroupCosts = session.group_costs()
            self._visits = np.zeros(len(groups), np.int64)
            self._share, self._shards = np.zeros(len(groups)), np.zeros(len(groups), np.int64)
            if self.costs.names:
                at = session.dataset.named_grouping().numbers_of(self.costs.names)
                self._visits[at], self._share[at] = self.costs.visits, self.costs.share
                self._shards[at] = self.costs.shards
            alive = np.setdiff1d(groups.ids, session.revoked, assume_unique=True)
            self._rows: Int[np.ndarray, " group"] = groups.sizes(alive)
            self._plan = session.plan
        self._waiting: Int[np.ndarray, " group"] = groups.sizes(session.pending)
        self._list()

    def _matches(self) -> list[int]:
        """Return the groups that the search finds; without one, the most expensive first."""
        if self.search.value.strip():
            return self.found.find(self.search.value)
        shares: Float[np.ndarray, " group"] = np.where(self._rows > 0, self._share, -1.0)
        order = np.argsort(-shares, kind="stable").tolist()
        return [number for number in order if self.found.texts[number]]

    def _list(self) -> None:
        matches, noun = self._matches(), self.found.noun
        few = matches[:MOST_FOUND]
        items: list[dict[str, Any]] = []
        for number in few:
            cells = self._cells(number)
            label = f"{noun} {cells[0]}, {cells[1]} examples, costs {cells[4]} of training"
            label += f", {cells[5]}" if cells[5] else ""
            waiting = bool(self._waiting[number])
            items.append({"id": number, "label": label, "waiting": waiting, "cells": cells})
        headers = [noun, "examples", "shards", "visits", "of training", "state"]
        self.picker.show(items, headers)
        more = f"; the first {len(few)} are listed" if len(matches) > len(few) else ""
        if self.search.value.strip():
            said = f"{self.found.count(len(matches))} found{more}."
        else:
            said = f"{self.found.count(len(matches))}{more}, the most expensive at the top."
        self.summary.html = paragraphs(said)
        self._say()

    def _cells(self, number: int) -> list[str]:
        rows, waiting = int(self._rows[number]), int(self._waiting[number])
        state = "" if self._shards[number] else "never trained on"
        if not rows:
            state = "forgotten"
        if waiting:
            state = "in the request" if waiting == rows else f"{waiting} of {rows} in the request"
        return [
            self.found.texts[number],
            f"{rows:,}",
            str(self._shards[number]),
            f"{self._visits[number]:,}",
            percent(float(self._share[number])),
            state,
        ]

    def _numbers(self) -> list[int]:
        """Return the picked groups; without any, the one that the search names in full."""
        if self.picker.picked:
            return sorted(self.picker.picked)
        named = self.found.named(self.search.value)
        return named if len(named) == 1 else []

    def _say(self) -> None:
        """Name the chosen groups, with their cost and rows."""
        groups, numbers = self.found, self._numbers()
        self.none.disabled = not self.picker.picked
        if not numbers:
            self.chosen.html = paragraphs(
                f"None picked. Click a {groups.noun}, or move with Tab and the arrow keys and "
                "press space."
            )
            self.cost.html = paragraphs(*groups.usual_cost(self.session))
            self.rows.html = ""
            return
        ids = self._alive(numbers)
        named = groups.listing(numbers)
        self.chosen.html = paragraphs(f"{groups.count(len(numbers))} chosen: {named}.")
        self.cost.html = paragraphs(self._where(ids), self._price(numbers, ids))
        self.rows.html = self._shown(ids)

    def _alive(self, numbers: list[int]) -> Ids:
        ids: Ids = np.setdiff1d(self.found.rows(numbers), self.session.revoked, assume_unique=True)
        return ids

    def _where(self, ids: Ids) -> str:
        """Say in which shards and slices the rows lie."""
        if not len(ids):
            return "All of their examples are forgotten already."
        partition, data = self.session.plan.partition, self.session.dataset
        held = {
            part: int(np.isin(ids, examples.ids).sum()) for part, examples in data.parts.items()
        }
        words = {"train": "training", "probe": "probe", "test": "test"}
        parts = [f"{count:,} in the {words[part]} part" for part, count in held.items() if count]
        trained = ids[np.isin(ids, partition.ids)]
        rows = partition.rows(trained)
        places = np.unique(np.stack([partition.shard[rows], partition.slice_[rows]]), axis=1).T
        shown = ", ".join(f"shard {s} slice {r}" for s, r in places[:6].tolist())
        more = f" and {len(places) - 6} other slices" if len(places) > 6 else ""
        where = f", in {shown}{more}" if len(trained) else ", which no model was trained on"
        return f"{plural(len(ids), 'example')} ({' and '.join(parts)}){where}."

    def _price(self, numbers: list[int], ids: Ids) -> str:
        """Say what forgetting the chosen groups costs, beside an average group."""
        if not len(ids):
            return ""
        visits, total = visits_of_forgetting(self.session.plan, ids)
        if not visits:
            return "Forgetting them costs nothing."
        one, mean = len(numbers) == 1, self.costs.mean_share
        together = "Forgetting them" if one else "Forgetting all of them together"
        weighted = by_propensity(self.costs)
        average = f"; one {self.found.noun} costs {percent(mean)} on average{weighted}"
        beside = average if one else ""
        return (
            f"{together} costs {visits:,} visits of exact retraining, "
            f"{percent(visits / max(1, total))} of training from scratch{beside}."
        )

    def _shown(self, ids: Ids) -> str:
        few = ids[:MOST_SHOWN]
        if not len(few):
            return ""
        if drawn := pictures(self.session.dataset, few):
            return strip(drawn, few, len(ids))
        caption = "Their examples"
        caption += f"; {len(ids) - len(few):,} more follow" if len(ids) > len(few) else ""
        return self.examples(few, caption)

    def ids(self) -> Ids:
        """Return the ids of all rows of the chosen groups that are not forgotten."""
        return self._alive(self._chosen())

    def _chosen(self) -> list[int]:
        numbers, noun = self._numbers(), self.found.noun
        if numbers:
            return numbers
        if self.search.value.strip():
            raise ValueError(
                f"{self.search.value.strip()!r} names no single {noun}; pick one of those listed, "
                "or type a whole name"
            )
        raise ValueError(f"no {noun} is picked; type a name, or click one of those listed")

    def revoke(self) -> Request:
        """Add all rows of the chosen groups to the request."""
        return self.session.revoke(groups=[self.found.name(n) for n in self._chosen()])

    def revoked(self) -> None:
        """Unpick all groups."""
        self.search.value, self.picker.picked = "", []

    @property
    def code(self) -> str:
        """The call that revokes the chosen groups."""
        names: list[Hashable] = [self.found.name(number) for number in self._numbers()]
        if not names:
            return "session.revoke(group=...)"
        return group_call(names) if can_be_written(names) else self.call(self.ids().tolist())
