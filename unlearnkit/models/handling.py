"""How a foreign module is run, as its trial found out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Handling:
    """How modules of an architecture are created and called.

    The defaults hold for built-in models. For a foreign module, which the user has written, a trial
    finds out (:func:`~unlearnkit.training.door.try_module`).

    Attributes:
        rebuilt: whether each module is built by the factory, because a deep copy of a module does
            not compute what the module computes.
        clones_inputs: whether the module gets a copy of its inputs, because it writes to them.
        casts_outputs: whether outputs are converted to float32.
        channels_last: whether a convolutional module is trained in the channels-last layout.
        reshapes: whether views that are impossible in that layout are copied instead.
        forgets: names of attributes that training changes, that the outputs depend on, and that the
            state of the module does not hold. They begin anew with every stage.
    """

    rebuilt: bool = False
    clones_inputs: bool = False
    casts_outputs: bool = False
    channels_last: bool = True
    reshapes: bool = False
    forgets: tuple[str, ...] = ()
