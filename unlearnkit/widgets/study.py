"""A study as linked plots: points clicked in one are ringed in all of them."""

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from unlearnkit import figures
from unlearnkit.evaluation.amplification import chaos_of, times
from unlearnkit.figures.drawing import Spec, duration, percent
from unlearnkit.figures.studies.study import AT_RANDOM
from unlearnkit.studies.log import read_study
from unlearnkit.widgets.parts.html import Html, paragraphs, table
from unlearnkit.widgets.parts.panel import Panel, row
from unlearnkit.widgets.parts.plot import Plot
from unlearnkit.widgets.parts.shared import plural

if TYPE_CHECKING:
    import pandas as pd

# Columns that rows can be filtered by, if they hold more than one value.
CHOICES = {
    "data": "data",
    "model": "model",
    "num_shards": "shards",
    "num_slices": "slices",
    "learning_rate": "learning rate",
    "seed": "seed",
    "kind": "request",
    "policy": "policy",
    "method": "method",
    "amend": "amend",
}
# Columns that identify one request to one ensemble.
REQUEST = [*list(CHOICES)[:7], "amount"]
NEEDED = [*CHOICES, "amount", "revoked", "speed", "gap_removed", "workload_share", "expected_share"]
ALL = "all"
MOST = 60  # maximum number of table rows


class StudyViewer(Panel):
    """Linked plots of the speed, removed gap, workload and routes in a study.

    Args:
        study: the frame returned by :func:`~unlearnkit.studies.study.study`, or the path of its
            file.

    Attributes:
        frame: all rows.
        chosen: labels of the clicked rows.

    Raises:
        TypeError, ValueError: the argument is not a study.
        FileNotFoundError: the file does not exist.
    """

    title = "Study"
    explanation = (
        "Filter the rows with the fields. Click a point or a cell to ring it in every plot and to "
        "list its rows with the results of the other policies on the same request."
    )
    meaning = (
        "Every row is one request under one policy. Speed is the CPU time of exact retraining "
        "divided by that of the policy; the band is the range reported in the abstract of Li, Yu, "
        "Wang et al. (CSE 2024, arXiv 2412.14505), and not a claim about these runs. The gap is "
        "the divergence from the retrained model (mean KL of test outputs); the gap removed is the "
        "part of the original model's gap that unlearning removes: 100% is as good as retraining, "
        "0% is no better than doing nothing, and below 0% is worse. Right and up is better; the "
        "line is the Pareto front. The expected workload of a random request follows our formula, "
        "which is tested by simulation. In the map, blue is where a policy retrained exactly and "
        "brown where it modified. The amplification, if the study measured it, says how much "
        "training multiplies a small change of the initial weights: above about 10 to 12 training "
        "is chaotic, and approximations remove little of the gap, whatever the method."
    )

    def __init__(self, study: "pd.DataFrame | str | os.PathLike[str]") -> None:
        super().__init__()
        self.widget.add_class("uk-study")
        self._given = "frame" if not isinstance(study, str | os.PathLike) else repr(str(study))
        self.frame = _frame(study)
        self.chosen: list[int] = []
        self.fields: dict[str, ipywidgets.Dropdown] = {}
        for column, label in CHOICES.items():
            values = sorted(self.frame[column].unique().tolist(), key=_order)
            if len(values) > 1:
                options = [(ALL, ALL), *((str(value), value) for value in values)]
                self.fields[column] = self._field(label, options, ALL)
        policies = list(dict.fromkeys(self.frame["policy"]))
        preferred = [p for p in ("adaptive", "hybrid") if p in policies] or policies[-1:]
        self.policy = self._field("map of policy", policies, preferred[0])
        self.count = Html(live=True)
        self.plots = {
            name: Plot(name=name.replace("_", "-"), frame=self._shown)
            for name in (
                "study_speed",
                "study_gap",
                "study_frontier",
                "study_workload",
                "study_map",
            )
        }
        for name, plot in self.plots.items():
            plot.view.on_click(self.guard(functools.partial(self._clicked, name)))
        self.clear = ipywidgets.Button(description="Clear", tooltip="Remove all rings")
        self.clear.layout.width = "auto"
        self.clear.on_click(self.guard(lambda button: self.choose([])))
        self.rows, self.chaos = Html(live=True), Html()
        wide, narrow = list(self.plots.values())[:2], list(self.plots.values())[2:]
        self.body.children = [
            row(*self.fields.values()),
            self.count,
            self.rows,
            row(self.clear),
            row(*(plot.widget for plot in wide)),
            row(*(plot.widget for plot in narrow[:2])),
            row(self.policy),
            narrow[2].widget,
            self.chaos,
        ]
        self.update()

    @property
    def code(self) -> str:
        """The call that shows the filtered rows."""
        tests = [f"{column} == {value!r}" for column, value in self._tests().items()]
        chosen = f".query({' and '.join(tests)!r})" if tests else ""
        if self._given == "frame":
            return f"uk.explore(frame{chosen})"
        if not chosen:
            return f"uk.explore({self._given})"
        return (
            "from unlearnkit.studies.log import read_study\n"
            f"uk.explore(read_study({self._given}){chosen})"
        )

    @property
    def shown(self) -> "pd.DataFrame":
        """The rows that pass the filters."""
        frame = self.frame
        for column, value in self._tests().items():
            frame = frame[frame[column] == value]
        return frame

    def choose(self, labels: list[int]) -> None:
        """Ring the rows with these labels, and list them."""
        self.chosen = sorted(set(labels) & set(self.frame.index))
        self.refresh()

    def refresh(self) -> None:
        """Draw the rows that pass the filters."""
        frame = self.shown
        ringed = [label for label in self.chosen if label in frame.index]
        self.count.html = paragraphs(_counted(len(frame), len(self.frame)))
        self.clear.layout.display = None if ringed else "none"
        self.rows.html = _listed(frame, ringed)
        self.chaos.html = _chaos(frame)
        uniform = frame[frame["kind"].isin(AT_RANDOM)]
        drawings: dict[str, tuple[bool, Callable[[], Spec]]] = {
            "study_speed": (len(frame) > 0, lambda: figures.study_speed.spec(frame, ringed)),
            "study_gap": (
                bool(frame["gap_removed"].notna().any()),
                lambda: figures.study_gap.spec(frame, ringed),
            ),
            "study_frontier": (
                bool(frame["gap_removed"].notna().any()),
                lambda: figures.study_frontier.spec(frame, ringed),
            ),
            "study_workload": (
                len(uniform) > 0,
                lambda: figures.study_workload.spec(uniform, ringed),
            ),
            "study_map": (
                bool((uniform["policy"] == self.policy.value).any()),
                lambda: figures.study_map.spec(frame, self.policy.value, ringed),
            ),
        }
        for name, (any_rows, draw) in drawings.items():
            if any_rows:
                self.plots[name].show(draw())
            else:
                self.plots[name].hide()

    def _tests(self) -> dict[str, Any]:
        fields = self.fields.items()
        return {column: field.value for column, field in fields if field.value != ALL}

    def _shown(self) -> "pd.DataFrame":
        return self.shown

    def _field(self, label: str, options: list[Any], value: Any) -> ipywidgets.Dropdown:
        field = ipywidgets.Dropdown(options=options, value=value, description=label)
        field.style.description_width = "initial"
        field.layout.width = "auto"
        field.observe(self.guard(lambda change: self.refresh()), names="value")
        return field

    def _clicked(self, name: str, event: dict[str, Any]) -> None:
        if name != "study_map":
            self.choose([int(label) for label in event.get("customdata") or []])
            return
        frame = self.shown
        rows = frame[(frame["policy"] == self.policy.value) & frame["kind"].isin(AT_RANDOM)]
        self.choose(
            [
                label
                for label, row in zip(rows.index, rows.itertuples(), strict=True)
                if f"{row.revoked:,}" == event["x"]
                and f"{row.model}, {row.num_shards} x {row.num_slices}" == event["y"]
            ]
        )


def explore(study: "pd.DataFrame | str | os.PathLike[str]") -> StudyViewer:
    """Show a study as linked plots in a cell.

    Args:
        study: the frame returned by :func:`~unlearnkit.studies.study.study`, or the path of its
            file, which may still be growing.

    >>> import unlearnkit as uk
    >>> table = uk.study("digits", models="logistic", epochs=2, revoked=3)
    >>> viewer = uk.explore(table)  # as the last line of a cell, it is displayed
    """
    return StudyViewer(study)


def _frame(study: "pd.DataFrame | str | os.PathLike[str]") -> "pd.DataFrame":
    import pandas as pd

    frame = read_study(study) if isinstance(study, str | os.PathLike) else study
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"the study is a {type(frame).__name__}; give a DataFrame from uk.study, or the path "
            "of its file"
        )
    if missing := [column for column in NEEDED if column not in frame]:
        raise ValueError(
            f"the frame lacks the columns {', '.join(missing)}; give one that uk.study returned"
        )
    if not len(frame):
        raise ValueError("the study has no rows yet; try again after its first request")
    return frame.reset_index(drop=True)


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _counted(shown: int, all_rows: int) -> str:
    if not shown:
        return f"None of the {plural(all_rows, 'row')} matches; set a field back to {ALL!r}."
    return f"{plural(shown, 'row')} of {all_rows:,}." if shown < all_rows else plural(shown, "row")


def _listed(frame: "pd.DataFrame", ringed: list[int]) -> str:
    """Return a table of the clicked rows and of the other rows of the same requests."""
    if not ringed:
        return ""
    requests = frame.loc[ringed, REQUEST].drop_duplicates()
    beside = frame.reset_index().merge(requests, on=REQUEST)
    mixed = beside[["method", "amend"]].drop_duplicates().shape[0] > 1
    rows = [
        [
            ("\N{BLACK RIGHT-POINTING TRIANGLE} " if one["index"] in ringed else "")
            + one["policy"],
            *([f"{one['method']}, {one['amend']}"] if mixed else []),
            f"{one['model']}, {one['num_shards']} x {one['num_slices']}",
            f"{one['revoked']:,} {'by group' if one['kind'] == 'group' else one['kind']}",
            f"{one['speed']:.2g}x",
            "-" if one["gap_removed"] != one["gap_removed"] else percent(one["gap_removed"]),
            percent(one["workload_share"]),
            duration(one["cpu_seconds"]),
            f"{one['exact_shards']} / {one['approximate_shards']}",
        ]
        for one in beside.head(MOST).to_dict("records")
    ]
    headers = ["policy", *["method, amend"] * mixed, "model, shards x slices", "revoked", "speed"]
    headers += ["gap removed", "workload", "CPU time", "shards exact / modified"]
    more = f"; {len(beside) - MOST} more in the CSV" if len(beside) > MOST else ""
    caption = f"Clicked rows (marked), and the same requests under other policies{more}"
    return table(headers, rows, caption=caption, text=range(3 + mixed))


def _chaos(frame: "pd.DataFrame") -> str:
    """Return a table of the amplification of each training setting, if it was measured."""
    if "amplification" not in frame or not frame["amplification"].notna().any():
        return ""
    settings = list(CHOICES)[:5]  # all but the seed
    rows = [
        [
            f"{model}, {shards} x {slices}",
            str(data),
            f"{rate:g}",
            times(some["amplification"].median()),
            chaos_of(some["amplification"].median()),
        ]
        for (data, model, shards, slices, rate), some in frame.groupby(settings)
        if some["amplification"].notna().any()
    ]
    headers = ["model, shards x slices", "data", "learning rate", "amplification", "training"]
    caption = "How chaotic training is (medians over seeds)"
    return table(headers, rows[:MOST], caption=caption, text=(0, 1, 4))
