"""What a model takes and returns, for those who use it without the data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unlearnkit.data.examples import Dataset

FEATURES = (
    "values of the data set that the models were trained on; if its columns were encoded or scaled "
    "one by one when it was made, prepare new rows in the same way first"
)


@dataclass(frozen=True)
class Signature:
    """How features become inputs, and what the outputs mean; names are empty if unknown.

    Attributes:
        offset: constant in ``inputs = (features - offset) / scale``. Features are the data set's:
            columns that were encoded or scaled one by one are so before this formula.
        scale: constant in the same formula.
        feature_names: names of the columns of a table.
        class_names: names of the classes, in the order of the outputs.
        target_names: names of a regression's targets, in the order of the outputs.
        target_offset: constants in ``prediction * target_scale + target_offset``, which converts a
            regression's predictions to the units of the targets.
        target_scale: constants in the same formula.
        dtype: type of the inputs: ``"float32"``, or ``"int64"`` for whole numbers.

    >>> signature = Signature(scale=16.0, class_names=("cat", "dog"))
    >>> Signature.from_dict(signature.to_dict()) == signature
    True
    """

    offset: float = 0.0
    scale: float = 1.0
    feature_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    target_offset: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    dtype: str = "float32"

    @classmethod
    def of(cls, dataset: Dataset) -> "Signature":
        """Return the signature of models that are trained on a data set."""
        return cls(
            dataset.train.offset,
            dataset.train.scale,
            tuple(map(str, dataset.feature_names)),
            tuple(map(str, dataset.class_names)),
            tuple(map(str, dataset.target_names)),
            tuple(map(float, dataset.target_offset)),
            tuple(map(float, dataset.target_scale)),
            str(dataset.train.input_dtype).removeprefix("torch."),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible values, by what they describe."""
        return {
            "inputs": {
                "dtype": self.dtype,
                "formula": "inputs = (features - offset) / scale",
                "features": FEATURES,
                "offset": self.offset,
                "scale": self.scale,
                "names": list(self.feature_names),
            },
            "outputs": {
                "classes": list(self.class_names),
                "targets": list(self.target_names),
                "formula": "target = prediction * scale + offset" if self.target_scale else None,
                "offset": list(self.target_offset),
                "scale": list(self.target_scale),
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Signature":
        """Return the signature of its :meth:`to_dict`; other entries are ignored.

        Raises:
            KeyError, TypeError, ValueError: the values do not describe a signature.
        """
        inputs, outputs = values["inputs"], values["outputs"]
        return cls(
            float(inputs["offset"]),
            float(inputs["scale"]),
            _names(inputs["names"]),
            _names(outputs["classes"]),
            _names(outputs["targets"]),
            tuple(map(float, outputs["offset"])),
            tuple(map(float, outputs["scale"])),
            _dtype(inputs.get("dtype", "float32")),
        )


UNKNOWN = Signature()


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values!r} is no list of names")
    return tuple(values)


def _dtype(name: Any) -> str:
    if name not in ("float32", "int64"):
        raise ValueError(f"inputs are of type {name!r}; float32 or int64 was expected")
    return str(name)
