"""The second step: choose the examples to forget."""

import re
from typing import Any

import ipywidgets
import numpy as np

from unlearnkit.session import Session
from unlearnkit.widgets.parts.elements.choice import Choice
from unlearnkit.widgets.parts.groups import counted, groups_in
from unlearnkit.widgets.parts.html import Html, fold, paragraphs
from unlearnkit.widgets.parts.panel import row
from unlearnkit.widgets.parts.pictures import pictures
from unlearnkit.widgets.parts.shared import SessionPanel, label_counts, listing, plural, strip
from unlearnkit.widgets.revocation.base import Ids, Selector
from unlearnkit.widgets.revocation.grid import GridSelector
from unlearnkit.widgets.revocation.groups import GroupSelector
from unlearnkit.widgets.revocation.map import MapSelector
from unlearnkit.widgets.revocation.selectors import HardestSelector, ListSelector, QuerySelector
from unlearnkit.widgets.revocation.suspects import SuspectSelector

BY_ID, BY_CLASS, AT_RANDOM = "by id", "by class", "at random"
ALL, NUMBER, SHARE = "all", "a number", "a share (%)"
MOST_PICTURES = 14
SELECTORS: tuple[type[Selector], ...] = (
    QuerySelector,
    ListSelector,
    GridSelector,
    MapSelector,
    HardestSelector,
)
# The limit for one text keeps a typing error such as 1-99999999999 from filling the memory.
MOST_IDS = 1_000_000

Tokens = list[int | range]


class RevocationPanel(SessionPanel):
    """Adds examples to the request, and shows which shards and slices it hits."""

    name = "revocation"
    reads_models = False
    title = "2. Revoke"
    explanation = "Choose the examples to forget. Nothing is forgotten before step 3."
    meaning = (
        "Revoked examples wait in a request until you unlearn; until then they can be withdrawn. "
        "An example in slice r of a shard makes the shard's stages r, r+1, ... stale: early slices "
        "are expensive to retrain, late ones cheap. Other shards were never trained on it."
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        classes = session.dataset.class_names
        drawn = [BY_CLASS, AT_RANDOM] if classes else [AT_RANDOM]
        selectors = [kind(self, session) for kind in SELECTORS]
        if classes and session.spec.num_shards > 1:
            selectors.append(SuspectSelector(self, session))
        if (groups := groups_in(session.dataset)) is not None:
            selectors.insert(0, GroupSelector(self, session, groups))
        self.selectors: dict[str, Selector] = {one.name: one for one in selectors}
        self.mode = Choice([BY_ID, *drawn, *self.selectors], description="choose")
        self.ids = ipywidgets.Textarea(
            "", placeholder="3, 141, 592 or 10-20", description="ids", rows=2
        )
        self.ids.layout.width = "340px"
        self.label = ipywidgets.Dropdown(options=list(classes), description="class")
        self.amount = ipywidgets.Dropdown(options=[ALL, NUMBER, SHARE], description="how many")
        self.number = ipywidgets.FloatText(10, description="number")
        self.seed = ipywidgets.IntText(0, description="seed")
        noun = "" if groups is None else groups.noun
        self.by_group = ipywidgets.Checkbox(False, description=f"whole {noun}s", indent=False)
        self.by_group.layout.width = "auto"
        self.add = ipywidgets.Button(description="Revoke", button_style="primary")
        self.withdraw = ipywidgets.Button(
            description="Withdraw these", tooltip="Remove the examples chosen here from the request"
        )
        self.withdraw_all = ipywidgets.Button(description="Withdraw all")
        for field, width in (
            *((self.label, "190px"), (self.amount, "190px")),
            *((self.number, "150px"), (self.seed, "120px")),
        ):
            field.layout.width = width
        for button in (self.add, self.withdraw, self.withdraw_all):
            button.layout.width = "auto"
        fields = (self.ids, self.label, self.amount, self.number, self.seed, self.by_group)
        for field in fields:
            field.style.description_width = "initial"
            field.observe(self.guard(self._arrange), names="value")
        self.mode.observe(self.guard(self._mode_changed), names="value")
        self.add.on_click(self.guard(self._add))
        self.withdraw.on_click(self.guard(self._withdraw))
        self.withdraw_all.on_click(self.guard(self._withdraw))
        self.pending = Html(live=True)
        actions = row(self.add, self.withdraw, self.withdraw_all)
        actions.add_class("uk-actions")
        self.body.children = [
            self.mode,
            row(*fields),
            *(selector.widget for selector in self.selectors.values()),
            actions,
            self.pending,
        ]
        self._arrange()
        self.update()

    @property
    def code(self) -> str:
        """The call that revokes the chosen examples."""
        if self.selector is not None:
            return self.selector.code
        if self.mode.value == BY_ID:
            try:
                tokens = parse_ids(self.ids.value)
            except ValueError:
                return ""  # the error shows when the button is pressed, not while typing
            return f"session.revoke({_expression(tokens) if tokens else '[...]'})"
        arguments = [f"{name}={value!r}" for name, value in self._selection().items()]
        return f"session.revoke({', '.join(arguments)})"

    @property
    def selector(self) -> Selector | None:
        """The visible selector; None for the three modes that consist of fields only."""
        return self.selectors.get(self.mode.value)

    def refresh(self) -> None:
        """Show the request with its size, classes, shards, slices, and first pictures."""
        self._describe()
        if self.selector is not None:
            self.selector.renew()

    def _describe(self) -> None:
        session = self.session
        ids = session.pending
        self.withdraw_all.disabled = not len(ids)
        done = len(session.revoked)
        data = session.dataset
        before = f"Forgotten so far: {counted(data, session.revoked)}." if done else ""
        if not len(ids):
            self.pending.html = paragraphs("The request is empty.", before)
            return
        self.pending.html = (
            paragraphs(
                f"The request: {counted(data, ids)} to forget. {label_counts(data, ids)}",
                self._whose(ids),
                self._where(ids),
                before,
            )
            + self._pictures(ids)
            + fold("The ids", paragraphs(listing(ids.tolist(), most=400)))
        )

    def _where(self, ids: np.ndarray) -> str:
        """Describe the shards and slices hit."""
        partition = self.session.plan.partition
        trained = ids[np.isin(ids, partition.ids)]
        probe = len(ids) - len(trained)
        rows = partition.rows(trained)
        shards = partition.shard[rows]
        hit = np.unique(shards)
        first = [int(partition.slice_[rows[shards == s]].min()) for s in hit]
        firsts = ", ".join(
            f"shard {s} from slice {r}" for s, r in list(zip(hit, first, strict=True))[:10]
        )
        more = f" and {len(hit) - 10} more" if len(hit) > 10 else ""
        text = f"They lie in {len(hit)} of {plural(partition.num_shards, 'shard')}"
        text += f": {firsts}{more}." if len(hit) else "."
        if probe:
            data = self.session.dataset
            held = np.isin(ids, data.test.ids).sum()
            some = plural(probe, "probe example")
            if held:
                some = f"{plural(probe, 'example')} of the probe or test part"
            text += f" No model was trained on {some} among them."
        return text

    def _whose(self, ids: np.ndarray) -> str:
        """Name the groups of the request, and those of which it holds a part only."""
        groups = groups_in(self.session.dataset)
        if groups is None:
            return ""
        numbers = np.unique(groups.of(ids))
        text = f"{groups.noun.capitalize()}{'s' * (len(numbers) > 1)}: "
        text += f"{groups.listing(numbers, most=8)}."
        left = np.setdiff1d(groups.rows(numbers), self.session.revoked, assume_unique=True)
        partly = np.flatnonzero(groups.sizes(left) > groups.sizes(ids))
        partly = partly[np.isin(partly, numbers)]
        if len(partly):
            text += (
                f" Only a part of the examples of {groups.count(len(partly))} is in the request: "
                f"{groups.listing(partly)}. Mode {f'by {groups.noun}'!r} adds the others."
            )
        return text

    def _pictures(self, ids: np.ndarray) -> str:
        """Return pictures of the first examples; empty unless they are images."""
        few = ids[:MOST_PICTURES]
        drawn = pictures(self.session.dataset, few)
        return strip(drawn, few, len(ids)) if drawn else ""

    def _arrange(self, change: Any = None) -> None:
        """Show the fields of the current mode."""
        mode = self.mode.value
        drawn = mode in (BY_CLASS, AT_RANDOM)
        shown = {
            self.ids: mode == BY_ID,
            self.label: mode == BY_CLASS,
            self.amount: drawn,
            self.number: drawn and self.amount.value != ALL,
            self.seed: drawn and self.amount.value != ALL,
            self.by_group: mode == AT_RANDOM and self.session.dataset.grouping is not None,
            self.withdraw: not drawn,
        }
        for widget, visible in shown.items():
            widget.layout.display = None if visible else "none"
        self.number.description = "percent" if self.amount.value == SHARE else "number"

    def _mode_changed(self, change: Any) -> None:
        """Show the chosen selector; offer "all" only for a class."""
        # Selectors come first: a change of the fields reads the Python call of the visible one.
        for selector in self.selectors.values():
            if selector is not self.selector:
                selector.show(False)
        if self.selector is not None:
            self.selector.show(True)
        options = [NUMBER, SHARE] if self.mode.value == AT_RANDOM else [ALL, NUMBER, SHARE]
        if list(self.amount.options) != options:
            self.amount.options = options
        more = "" if self.selector is None else self.selector.meaning
        self._code_line.meaning = "\n".join(filter(None, [self.meaning, more]))
        self._arrange()

    def _selection(self) -> dict[str, Any]:
        """Return the arguments of ``revoke`` that the fields describe."""
        chosen: dict[str, Any] = {}
        if self.mode.value == BY_CLASS:
            chosen["label"] = self.label.value
        number = self.number.value
        if self.amount.value == SHARE:
            chosen["share"] = round(number / 100, 6)
        elif self.amount.value == NUMBER:
            chosen["count"] = int(number) if number == int(number) else number
        if self.mode.value == AT_RANDOM and self.by_group.value:
            chosen["by_group"] = True
        if self.amount.value != ALL and self.seed.value:
            chosen["seed"] = self.seed.value
        return chosen

    def _add(self, button: Any) -> None:
        before = self.session.pending
        if self.selector is not None:
            request = self.selector.revoke()
            self.selector.revoked()
        elif self.mode.value == BY_ID:
            request = self.session.revoke(self._ids())
        else:
            request = self.session.revoke(**self._selection())
        self.say(" ".join([self._added(request.ids, before), *request.notes]))
        self.changed()

    def _added(self, ids: Ids, before: np.ndarray) -> str:
        """Say how many examples are new in the request."""
        new = np.setdiff1d(ids, before)
        again = len(np.unique(ids)) - len(new)
        if not again:
            return f"{counted(self.session.dataset, new)} revoked."
        if not len(new):
            return f"Nothing new: {plural(again, 'example')} {_verb(again)} in the request already."
        known = f"{again:,} {_verb(again)} in the request already"
        return f"{counted(self.session.dataset, new)} revoked; {known}."

    def _withdraw(self, button: Any) -> None:
        before = self.session.pending
        ids = None if button is self.withdraw_all else self._ids()
        if ids is not None and self.selector is not None:
            # Not all examples of a query or a region of the map need be pending.
            ids = np.intersect1d(ids, self.session.pending).tolist()
        self.session.withdraw(ids)
        gone = np.setdiff1d(before, self.session.pending)
        self.say(f"{counted(self.session.dataset, gone)} withdrawn.")
        self.changed()

    def _ids(self) -> list[int]:
        if self.selector is not None:
            return [int(i) for i in self.selector.ids()]
        tokens = parse_ids(self.ids.value)
        if not tokens:
            raise ValueError("no ids are given; write some, such as 3, 141, 592 or 10-20")
        return [i for token in tokens for i in (token if isinstance(token, range) else [token])]


def _verb(count: int) -> str:
    return "was" if count == 1 else "were"


def parse_ids(text: str) -> Tokens:
    """Parse ids separated by commas, blanks or new lines; ``10-20`` is an inclusive range.

    >>> parse_ids("3, 141 10-20")
    [3, 141, range(10, 21)]

    Raises:
        ValueError: an entry is neither an id nor a range.
    """
    tokens: Tokens = []
    size = 0
    for word in re.split(r"[\s,;\[\]()]+", re.sub(r"(?<=\d)\s*[-–]\s*(?=\d)", "-", text)):
        if not word:
            continue
        match = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", word)
        if match is None:
            raise ValueError(
                f"{word[:30]!r} is not an id; give whole numbers and ranges such as 3, 141, 10-20"
            )
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low:
            raise ValueError(f"the range {word} runs backwards; write {high}-{low}")
        size += high - low + 1
        if size > MOST_IDS:
            raise ValueError(f"{word} is too many ids; give at most {MOST_IDS:,} at once")
        tokens.append(range(low, high + 1) if match[2] else low)
    return tokens


def _expression(tokens: Tokens) -> str:
    """Return a Python expression for these ids."""
    if len(tokens) == 1 and isinstance(tokens[0], range):
        return repr(tokens[0])
    items = [f"*{token!r}" if isinstance(token, range) else str(token) for token in tokens]
    return f"[{', '.join(items)}]"
