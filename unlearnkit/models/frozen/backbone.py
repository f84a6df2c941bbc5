"""A frozen backbone: a callable from rows to features, of which nothing is trained.

Each example has a place in a batch of fixed shape, which its id alone decides; the other places of
the batch hold other examples or zeros. A row's features do not depend on what the other places
hold, which a trial checks (:mod:`unlearnkit.models.frozen.trial`), so no bit of a feature depends
on which other examples there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from unlearnkit.data.conversion import as_tensor
from unlearnkit.data.reading.texts import TEXT
from unlearnkit.interrupts import Cancelled, check
from unlearnkit.models.frozen.holdings import Holdings
from unlearnkit.models.state import copied
from unlearnkit.models.surroundings import changed
from unlearnkit.seeding import GlobalRandomnessError, digest, state_bytes
from unlearnkit.torch_settings import (
    compute_threads,
    deterministic,
    how_to_restore,
    matmul_precision,
    own_settings,
    unusual_settings,
)

Rows = Tensor | list[str]
OBJECT = "give a function that returns the tensor alone, such as "


class ChangedBackboneError(ValueError):
    """A frozen backbone computes something else than when its first features were computed."""


@dataclass(frozen=True, eq=False)
class Frozen:
    """A model of which only the head is trained: the backbone below it is frozen.

    Features are computed once for each example and kept until the example is forgotten, in memory
    or in the folder of the store. Training, unlearning and comparing then work on features, which
    is far cheaper than running the backbone again::

        backbone = torchvision.models.resnet18(weights="DEFAULT")
        backbone.fc = torch.nn.Identity()
        session = uk.Session(images, model=uk.Frozen(backbone.eval(), head="mlp"))

    Features are exact as well: an example has a place in a batch of ``batch_size`` rows that its id
    alone decides, so its features have the same bits whatever other examples there are. Backbones
    are refused if the rows of a batch influence each other, or if two calls give different bits.
    So there is no augmentation: it belongs to training, and features are computed once.

    Attributes:
        backbone: an ``nn.Module`` in evaluation mode, or any callable. It is given a batch of
            inputs, or a list of strings if the data are texts, and returns one row of features for
            each: a tensor or an array of shape (rows, ...). Places without an example hold zeros,
            or empty strings.
        head: the model that is trained on features: ``"logistic"`` (for regression ``"linear"``),
            ``"mlp"``, ``MLP((64,))`` or a callable that returns a new ``nn.Module``, as ``model=``
            of a session.
        batch_size: number of rows of each batch; its last rows are filled with zeros. The bits of
            features depend on it.
        version: identifies the backbone, in place of its parameters and code. Change it whenever
            the backbone changes.

    Raises:
        TypeError: the backbone cannot be called with rows, or the batch size is no whole number.
        ValueError: the batch size is below 1.

    >>> import unlearnkit as uk
    >>> import torch
    >>> backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.Tanh())
    >>> session = uk.Session("digits", model=uk.Frozen(backbone.eval()), epochs=2)
    >>> report = session.train()
    >>> session.dataset.train.input_shape
    (16,)
    """

    backbone: Callable[[Any], Any]
    head: Any = "logistic"
    _: KW_ONLY
    batch_size: int = 64
    version: str | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        given, size = self.backbone, self.batch_size
        if isinstance(self.head, Frozen) or isinstance(given, Frozen):
            raise TypeError(
                "a uk.Frozen is part of another one; give one function that applies both "
                "backbones, and one head"
            )
        if isinstance(given, type):
            raise TypeError(
                f"backbone={given.__name__} is a class; give an object that can be called with "
                "rows, such as a module with its weights loaded, in evaluation mode"
            )
        if not callable(given):
            raise TypeError(
                f"backbone={given!r} is a {type(given).__name__}; give an nn.Module or another "
                "callable that takes a batch of rows and returns their features"
            )
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise TypeError(f"batch_size={size!r} is a {type(size).__name__}; give a whole number")
        if size < 1:
            raise ValueError(f"batch_size={size}; give 1 or more")
        if not isinstance(self.version, str | None):
            raise TypeError(f"version={self.version!r} is no text; give a string, or None")

    def __repr__(self) -> str:
        head = self.head if isinstance(self.head, str) else getattr(self.head, "__name__", "")
        return f"Frozen({name_of(self.backbone)}, head={head or self.head!r})"


def name_of(function: Any) -> str:
    """Return a callable's name for display."""
    while hasattr(function, "func"):  # of a partial function
        function = function.func
    name: str = getattr(function, "__name__", type(function).__name__)
    return "the function" if name == "<lambda>" else name


@dataclass(frozen=True)
class RowKind:
    """What a backbone is given of each example.

    Attributes:
        shape: shape of an example.
        dtype: ``"float32"``, ``"int64"`` or ``"text"``.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def words(self) -> str:
        """The kind in words, for messages."""
        return "a list of strings" if self.dtype == TEXT else f"{self.shape} {self.dtype}"

    def blank(self, count: int) -> Rows:
        """Return rows of places without an example."""
        if self.dtype == TEXT:
            return [""] * count
        return torch.zeros(count, *self.shape, dtype=getattr(torch, self.dtype))


class Backbone:
    """A frozen backbone for one kind of rows.

    Attributes:
        name: name for display.
        kind: what it is given of each example.
        batch_size: number of rows of each batch.
        num_threads: compute threads of torch while features are computed.
        shape: shape of one example's features.
        digest: identifies the features that it computes, up to the environment.
        trials: results of what was tried, so that nothing is tried twice.
    """

    def __init__(self, frozen: Frozen, kind: RowKind, num_threads: int = 1) -> None:
        """Check a backbone and compute the features of a batch without examples.

        Raises:
            TypeError: the backbone returns no real numbers, or is compiled.
            ValueError: it is in training mode, raises an error, returns features of a wrong shape
                or such that require gradients, or changes itself when it is called.
        """
        self.frozen, self.kind, self.num_threads = frozen, kind, num_threads
        self.name, self.batch_size = name_of(frozen.backbone), int(frozen.batch_size)
        self.trials: dict[str, Any] = {}
        self.settings = _settings()
        self.holdings = Holdings(frozen.backbone)
        self.holdings.check_layers(self.name)
        self.shape: tuple[int, ...] | None = None
        identity = self.holdings.identity()
        before = self.holdings.state()
        blank = self.compute(kind.blank(self.batch_size))
        self.shape = tuple(blank.shape[1:])
        self._state = self.holdings.state()
        self._refuse_changes(before, self._state, "changes {} when it is called")
        # Where rows could be taken for features, these get an axis of length 1 in front.
        self.unsqueezed = kind.dtype != TEXT and self.shape == kind.shape
        if self.unsqueezed:
            self.shape = (1, *self.shape)
        self.digest = digest(
            f"{kind.dtype} {kind.shape} {self.batch_size} {self.shape}",
            f"version {frozen.version}" if frozen.version is not None else identity,
            b"" if frozen.version is not None else state_bytes({"blank": blank}),
        )

    def __repr__(self) -> str:
        return f"Backbone({self.name}, {self.kind.words} to {self.features_shape})"

    @property
    def features_shape(self) -> tuple[int, ...]:
        """Shape of one example's features."""
        assert self.shape is not None  # after the first batch
        return self.shape

    @property
    def described(self) -> dict[str, Any]:
        """Plain values that tell backbones apart, for a store."""
        return {
            "name": self.name,
            "digest": self.digest,
            "batch size": self.batch_size,
            "threads": self.num_threads,
            "rows": self.kind.dtype,
            "shape": list(self.kind.shape),
            "features": list(self.features_shape),
        }

    def places(self, ids: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " k"]:
        """Return the places in a batch that ids decide."""
        return ids % self.batch_size

    def placed(self, rows: Rows, places: Int64[np.ndarray, " k"]) -> Rows:
        """Return a batch that holds rows at these places and nothing elsewhere."""
        batch = self.kind.blank(self.batch_size)
        if isinstance(batch, Tensor):
            assert isinstance(rows, Tensor)  # of the same kind
            batch[torch.from_numpy(places)] = rows
            return batch
        for place, row in zip(places.tolist(), rows, strict=True):
            batch[place] = row
        return batch

    def at_places(self, rows: Rows, places: Int64[np.ndarray, " k"]) -> Float32[Tensor, "k *input"]:
        """Return the features of rows at these different places of one batch.

        Raises:
            ValueError: as :meth:`compute`.
        """
        found = self.compute(self.placed(rows, places))[torch.from_numpy(places)]
        return found.unsqueeze(1) if self.unsqueezed else found

    def __call__(self, rows: Any) -> Float32[Tensor, " n *input"]:
        """Return the features of new rows, of which row i is at place i modulo the batch size.

        Args:
            rows: scaled rows of the backbone's kind; texts as a list of strings.

        Raises:
            ChangedBackboneError: the backbone has changed.
            ValueError: features are not finite; or as :meth:`compute`.
        """
        rows = self.checked_rows(rows)
        self.check()
        found = []
        for begin in range(0, len(rows), self.batch_size):
            check()
            some = rows[begin : begin + self.batch_size]
            found.append(self.at_places(some, np.arange(len(some))))
        features = torch.cat(found) if found else torch.zeros(0, *self.features_shape)
        self.refuse_not_finite(features, np.arange(len(rows)), "rows")
        return features

    def takes(self, rows: Any) -> bool:
        """Whether values are rows for this backbone rather than features that it computed."""
        if self.kind.dtype == TEXT:
            return not isinstance(rows, Tensor)
        shape = tuple(getattr(rows, "shape", np.shape(rows)))[1:]
        return shape == self.kind.shape or shape != self.features_shape

    def checked_rows(self, rows: Any) -> Rows:
        """Return new rows in the form that the backbone is given.

        Raises:
            TypeError: they are of another kind.
            ValueError: an example has another shape.
        """
        if self.kind.dtype == TEXT:
            given = rows.tolist() if hasattr(rows, "tolist") else rows
            texts = list(given) if not isinstance(given, str) else []
            if not texts or not all(isinstance(text, str) for text in texts):
                raise TypeError(
                    f"{self.name} takes texts, but the rows are a {type(rows).__name__}; give a "
                    "list of strings"
                )
            return texts
        found = rows if isinstance(rows, Tensor) else as_tensor(rows, "rows", "features")
        if tuple(found.shape[1:]) != self.kind.shape:
            raise ValueError(
                f"rows have the shape {tuple(found.shape)}; give the number of examples first, and "
                f"then the shape of an example, {self.kind.shape}, or that of its features, "
                f"{self.features_shape}"
            )
        if found.is_floating_point() == (self.kind.dtype == "int64"):
            raise TypeError(
                f"rows are of type {found.dtype}, but {self.name} takes {self.kind.dtype}; give "
                "rows as the data set does, that is (features - offset) / scale for real numbers"
            )
        return found.to(getattr(torch, self.kind.dtype))

    def compute(self, batch: Rows) -> Float32[Tensor, "row *feature"]:
        """Call the backbone with a whole batch.

        Raises:
            TypeError: it returns something else than real numbers.
            ValueError: it raises an error, or returns features of another shape or such that
                require gradients; or torch's settings have changed.
        """
        now = _settings()
        if now != self.settings:
            raise ValueError(
                f"torch's settings have changed since {self.name} was first called, so that its "
                f"features would have other bits: they were {self.settings!r} and are {now!r}; "
                f"restore them ({how_to_restore(self.settings, now) or 'as they were'})"
            )
        device = self.holdings.device()
        with own_settings(), torch.no_grad(), compute_threads(self.num_threads):
            with deterministic(device):
                given = batch.to(device) if isinstance(batch, Tensor) else list(batch)
                return self._as_features(self._called(given))

    def _called(self, batch: Any) -> Any:
        try:
            return self.frozen.backbone(batch)
        except (GlobalRandomnessError, MemoryError, Cancelled):
            raise
        except Exception as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            what = (
                f"a tensor of shape {tuple(batch.shape)} and type {batch.dtype}"
                if isinstance(batch, Tensor)
                else f"a list of {len(batch)} strings, of which those of empty places are ''"
            )
            raise kind(
                f"{self.name} raised {type(error).__name__}: {str(error).rstrip('.')}. It was "
                f"called with {what}."
            ) from error

    def _as_features(self, returned: Any) -> Float32[Tensor, "row *feature"]:
        """Check what the backbone returned, and return it as float32 on the CPU."""
        name, kind = self.name, type(returned).__name__
        if isinstance(returned, Tensor):
            if returned.requires_grad:
                raise ValueError(
                    f"{name} returns features that require gradients, so it would be trained or "
                    "is called with gradients enabled; return features.detach()"
                )
        elif isinstance(returned, tuple | dict) or hasattr(returned, "last_hidden_state"):
            raise TypeError(
                f"{name} returns a {kind} instead of a tensor of features; {OBJECT}"
                f"lambda rows: {_inside(returned)}"
            )
        try:
            features = as_tensor(returned, f"the features of {name}", "features")
        except ValueError as error:
            raise ValueError(
                f"{name} returns rows of different shapes ({error}); return features of the same "
                "shape for every row"
            ) from error
        if features.ndim < 2 or 0 in features.shape:
            raise ValueError(
                f"{name} returns features of shape {tuple(features.shape)}; return (rows, "
                "features), for a single feature features.unsqueeze(1)"
            )
        shape = tuple(features.shape[1:])
        expected = self.shape[1:] if self.shape and self.unsqueezed else self.shape
        if len(features) != self.batch_size or expected not in (None, shape):
            wanted = "..." if expected is None else ", ".join(map(str, expected))
            raise ValueError(
                f"{name} returns features of shape {tuple(features.shape)} for a batch of "
                f"{self.batch_size} rows; return one row for each, of the same shape whatever the "
                f"rows are: ({self.batch_size}, {wanted})"
            )
        return features.to(torch.float32).contiguous()

    def as_module(self) -> nn.Module:
        """Return a copy of the backbone's module on the CPU; :func:`is_module` says whether it is.

        Raises:
            ChangedBackboneError: the backbone has changed.
        """
        self.check()
        module = self.frozen.backbone
        assert isinstance(module, nn.Module)
        return _Body(copied(module).cpu(), self.features_shape)

    # Checks

    def check(self) -> None:
        """Check that the backbone is the one that was given.

        Raises:
            ChangedBackboneError: a parameter, buffer or value has changed, or a module is in
                training mode.
        """
        try:
            self.holdings.check_layers(self.name)
        except (TypeError, ValueError) as error:
            raise ChangedBackboneError(str(error)) from error
        self._refuse_changes(
            self._state, self.holdings.state(), "has changed in {} since the session began"
        )

    def _refuse_changes(self, before: dict[str, str], now: dict[str, str], what: str) -> None:
        names = changed(before, now)
        if names:
            raise ChangedBackboneError(
                f"{self.name} {what.format(', '.join(names[:3]))}, so that its features would "
                "differ from those computed before. Nothing more was computed. Put the former "
                "values back, or start a new session with the changed backbone."
            )

    def refuse_not_finite(
        self, features: Tensor, names: Sequence[Any] | np.ndarray, what: str
    ) -> None:
        """Refuse features that are NaN or infinite.

        Raises:
            ValueError: there are some; the message lists the first rows.
        """
        broken = ~torch.isfinite(features).flatten(1).all(1)
        if broken.any():
            which = [str(names[place]) for place in torch.nonzero(broken).flatten().tolist()]
            raise ValueError(
                f"{self.name} returns NaN or infinite features for {len(which)} of "
                f"{len(features)} {what} ({', '.join(which[:5])}"
                f"{'' if len(which) < 6 else ' and more'}); correct or drop these rows, or let "
                "the backbone return finite numbers for them"
            )


class _Body(nn.Module):
    """A backbone's module, whose features have the type and shape that heads take."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.module, self.shape = module, shape

    def forward(self, rows: Tensor) -> Tensor:
        features: Tensor = self.module(rows).to(torch.float32)
        return features.reshape(features.shape[0], *self.shape)


def is_module(backbone: Backbone) -> bool:
    """Whether the backbone itself is an ``nn.Module``."""
    return isinstance(backbone.frozen.backbone, nn.Module)


def _inside(returned: Any) -> str:
    """Name a way to the features inside of what a backbone returned."""
    if hasattr(returned, "last_hidden_state"):
        return "model(rows).last_hidden_state[:, 0]"
    names = list(returned)[:1] if isinstance(returned, dict) else [0]
    return f"model(rows)[{names[0] if names else 0!r}]"


def _settings() -> str:
    return f"matmul {matmul_precision()}{unusual_settings()}"
