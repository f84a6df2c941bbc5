"""The door: a foreign module is tried once, along the route that will train it.

The trial runs training steps on the first retained rows, in batches of one example, of three and of
the full size, in the memory layout of the kernel, and predictions on the same rows. No bit of a
later training depends on which rows these are. Its result, a
:class:`~unlearnkit.models.handling.Handling`, is kept on the architecture; kernels and predictions
follow it. Of built-in models only one step is tried, which tells whether they take the examples.
"""

import platform
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from unlearnkit.models.architecture import Architecture
from unlearnkit.models.checks import describe_dtypes
from unlearnkit.models.frozen.features import features_of
from unlearnkit.models.handling import Handling
from unlearnkit.models.losses import CrossEntropy, SquaredError, WeightedCrossEntropy
from unlearnkit.models.state import get_state, memory_of, named_tensors
from unlearnkit.models.surroundings import (
    Surroundings,
    alike,
    changed,
    changed_or_new,
    hidden_values,
    may_remember,
    users_functions,
)
from unlearnkit.seeding import GlobalRandomnessError, RefuseGlobalRandomness, torch_generator
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.kernels.repeats import (
    ChangedModelError,
    difference,
    same_bits,
    unequal,
    witness_of,
)
from unlearnkit.training.kernels.stepper import Stepper
from unlearnkit.training.plan import Plan

INITIAL, CODE = "initial state", "code"  # keys of the trials of an architecture
PYTHON = ".".join(platform.python_version_tuple()[:2])  # compiled code differs between versions
FEW = 3  # examples of a small batch
CLOSE = 1e-3  # largest difference of outputs between two layouts, relative to their largest value

BUILT_IN_LOSSES = (CrossEntropy, WeightedCrossEntropy, SquaredError)

# What the code of a tried module reads outside of it, with the fingerprints after its trial.
SURROUNDINGS: WeakKeyDictionary[Architecture, tuple[Surroundings, dict[str, str]]]
SURROUNDINGS = WeakKeyDictionary()


def check_surroundings(plan: Plan) -> None:
    """Check that nothing has changed on which a foreign module or loss depends.

    Raises:
        ChangedModelError: a value that its code reads has another content than when the module was
            tried, the factory builds other modules, or the loss has other gradients.
    """
    architecture, trials = plan.architecture, plan.architecture.trials
    for name, what in (
        (INITIAL, f"{architecture.name} is built with other weights from the same seed"),
        (_loss_key(plan), f"the loss {plan.spec.loss!r} has other gradients"),
    ):
        if name in trials and trials[name] != (_initial if name == INITIAL else _slopes)(plan):
            raise ChangedModelError(
                f"{what} than when the session began, so its stages would no longer be those of "
                "one training. Nothing more was trained. Remove what it counts, draws or keeps "
                "between calls."
            )
    known = SURROUNDINGS.get(plan.architecture)
    names = changed(known[1], known[0].fingerprints()) if known is not None else ()
    if names:
        raise ChangedModelError(
            f"{plan.architecture.name} reads {', '.join(names[:3])}, which has changed since the "
            "session began, so its stages would no longer be those of one training. Nothing more "
            "was trained. Put the former value back; or keep what changes in a buffer of the "
            "module (self.register_buffer); or start a new session with another version='...'."
        )


def _loss_key(plan: Plan) -> str:
    return f"loss: {plan.spec.loss!r}"


def _initial(plan: Plan) -> str:
    """Return the digest of an initial state, the same for plans of every seed."""
    return witness_of(plan.architecture.initial(0, 0))


def _slopes(plan: Plan) -> str:
    """Return the digest of the loss's gradients at some outputs, which depend on nothing else."""
    width, loss = plan.architecture.num_outputs, plan.spec.loss
    outputs = torch.randn((FEW, width), generator=torch_generator("loss"))
    targets = outputs.roll(1, 0) if plan.examples.labels.is_floating_point() else outputs.argmin(1)
    slopes = loss.output_gradient(outputs.clone(), targets)
    return witness_of({"gradient": slopes, "value": loss.value(outputs.clone(), targets)})


def try_module(plan: Plan) -> Handling:
    """Try a plan's module on its first retained rows, unless it was tried before.

    Args:
        plan: plan of the retain set; revoked rows are not read.

    Returns:
        How the module is to be handled. It is kept on ``plan.architecture`` as well.

    Raises:
        ValueError: the module does not accept these examples, returns outputs of another shape,
            draws random numbers outside torch's dropout layers, or depends on something that is
            outside its state.
        TypeError: it does not return a tensor of real numbers.
    """
    architecture = plan.architecture
    known: Handling | None = architecture.trials.get(Handling.__name__)
    own_loss = type(plan.spec.loss) not in BUILT_IN_LOSSES
    if known is not None and not (own_loss and _loss_key(plan) not in architecture.trials):
        return known
    rows = np.flatnonzero(plan.retained)[: max(plan.spec.batch_size, FEW)]
    if not len(rows):
        return Handling()
    features = features_of(plan.examples)
    if features is not None:
        features.compute(plan.partition.ids[rows])  # tries the backbone first
    with own_settings():
        trial = _Trial(plan, *plan.examples[plan.partition.ids[rows]])
        try:
            trial.run()
        except BaseException:
            architecture.trials.pop(Handling.__name__, None)
            raise
    return architecture.handling


class _Trial:
    """A trial of a module on some examples.

    Attributes:
        refused: an error of this module's own checks, which is passed on as it is.
    """

    def __init__(self, plan: Plan, inputs: Tensor, targets: Tensor) -> None:
        self.plan, self.architecture = plan, plan.architecture
        self.name = plan.architecture.name
        self.inputs, self.targets = inputs.to(plan.device), targets.to(plan.device)
        self.state = self.architecture.initial(plan.spec.seed, 0)
        self.sizes = tuple(dict.fromkeys((min(FEW, len(inputs)), 1, len(inputs))))
        self.refused: Exception | None = None

    def run(self) -> None:
        """Find out how the module is to be handled, in the order in which answers depend."""
        self._keep(Handling())
        self._try_loss()
        if not self.architecture.foreign:
            self._step(self.sizes[0], self._stepper())
            return
        self._choose_copies()
        self._compare_contents()
        around = Surroundings(self.architecture.module())
        before = around.fingerprints()
        try:
            self._choose_layout()
            for size in self.sizes:
                self._compare_modules(size)
            self._predict()
            around.check(self.name, before, self._repeat)
        except BaseException:
            around.restore(changed_or_new(before, around.fingerprints()))
            raise
        SURROUNDINGS[self.architecture] = around, around.fingerprints()
        self.architecture.trials[INITIAL] = _initial(self.plan)
        self.architecture.trials[CODE] = {"python": PYTHON, **around.codes}

    def _repeat(self, other: bool) -> None:
        """Run steps and predictions of every size, on the same rows or on others."""
        kept = self.inputs
        try:
            self.inputs = kept.roll(FEW, 0) if other else kept
            for size in self.sizes:
                self._step(size, self._stepper())
                self._outputs(self.architecture.module(self.state), size)
        finally:
            self.inputs = kept

    def _keep(self, handling: Handling) -> None:
        self.architecture.trials[Handling.__name__] = handling

    def _change(self, **changes: Any) -> None:
        self._keep(replace(self.architecture.handling, **changes))

    def _stepper(self) -> Stepper:
        return Stepper(self.architecture, self.state, self.plan.spec.loss, self.plan.device)

    # Parts of the trial

    def _try_loss(self) -> None:
        """Compute the gradients of a user's loss twice."""
        if type(self.plan.spec.loss) in BUILT_IN_LOSSES:
            return
        found = [self._call(lambda: _slopes(self.plan), 0, "trained with its loss") for _ in "12"]
        if found[0] != found[1]:
            raise ValueError(
                f"the loss {self.plan.spec.loss!r} has other gradients when it is computed again "
                "for the same outputs, so no retraining is exact. Remove random numbers and what "
                "it keeps between calls."
            )
        self.architecture.trials[_loss_key(self.plan)] = found[0]

    def _choose_copies(self) -> None:
        """Build modules anew if they cannot be copied, or copies would share what hooks keep."""
        try:
            copy: nn.Module | None = self.architecture.module(self.state)
        except Exception:
            copy = None
        if copy is not None and any(map(may_remember, users_functions(copy))):
            copy = None
        self._change(rebuilt=True)
        if copy is not None and _views(copy) == _views(self.architecture.module()):
            self._change(rebuilt=False)
        else:
            self._call(lambda: self.architecture.module(self.state), 0, "built from its state")

    def _choose_layout(self) -> None:
        """Choose the first layout in which the module runs and computes what it computes."""
        size, plain = self.sizes[0], replace(self.architecture.handling, channels_last=False)
        self._keep(plain)
        outputs = self._step(size, self._stepper())
        plain = self.architecture.handling
        if not (self.architecture.is_convolutional and self.inputs.ndim == 4):
            self._change(channels_last=True)
            return
        for reshapes in (False, True):
            self._keep(replace(plain, channels_last=True, reshapes=reshapes))
            stepper = self._stepper()
            _begin_step(stepper, size)
            try:
                found = stepper.gradients(*self._batch(size, True))
            except RuntimeError:
                continue
            scale = max(float(outputs.abs().max()), 1e-6)
            if float((found - outputs).abs().max()) <= CLOSE * scale:
                return
        self._keep(plain)

    def _compare_modules(self, size: int) -> None:
        """Compare a step of copies and of modules that the factory builds, bit by bit."""
        handling = self.architecture.handling
        copies = [] if handling.rebuilt else [self._stepper() for _ in range(2)]
        self._change(rebuilt=True)
        built = [self._stepper() for _ in range(2)]
        outputs = [self._step(size, stepper) for stepper in copies + built]
        what = difference(built[0], built[1], (outputs[-2], outputs[-1]))
        if what:
            raise ValueError(unequal(self.name, what))
        safe = bool(copies)
        for copy, output in zip(copies, outputs, strict=False):
            safe = safe and not difference(copy, built[0], (output, outputs[-1]))
        self._change(rebuilt=not safe)

    def _compare_contents(self) -> None:
        """Refuse values outside the state that differ between two builds from one seed."""
        handling = self.architecture.handling
        self._change(rebuilt=True)
        one, other = (hidden_values(self.architecture.module(self.state)) for _ in range(2))
        self._keep(handling)
        names = changed_or_new(one, other)
        if names:
            raise ValueError(
                f"{self.name} holds {', '.join(names[:3])}, which differs between two modules "
                "built from the same seed and is not in the state_dict, so no retraining is exact. "
                "Seed the generator, or draw the numbers by torch while the module is built."
            )

    def _predict(self) -> None:
        """Predict with fresh modules after a step, and look for state outside the state."""
        stepper = self._stepper()
        self._step(self.sizes[-1], stepper)
        with torch.no_grad():
            for parameter in stepper.parameters:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=self.plan.spec.learning_rate)
        state = get_state(stepper.module)
        self._compare_names(state)
        modules = [self.architecture.module(state) for _ in range(2)]
        found, again = ([self._outputs(each, size) for size in self.sizes] for each in modules)
        if not all(map(same_bits, found, again)):
            raise ValueError(unequal(self.name, "its prediction"))
        stepper.module.eval()
        with torch.no_grad():
            used = stepper.outputs(self._batch(self.sizes[0], stepper.channels_last)[0])
        if not torch.allclose(used, found[0], rtol=1e-4, atol=1e-5, equal_nan=True):
            self._warn_of_hidden_state(stepper.module, state)

    def _compare_names(self, state: State) -> None:
        """Refuse parameters and buffers that a step creates, removes or reshapes."""
        shapes = [
            {name: (value.shape, value.dtype) for name, value in each.items()}
            for each in (self.state, state)
        ]
        names = sorted(name for name, _ in set(shapes[0].items()) ^ set(shapes[1].items()))
        if names:
            raise ValueError(
                f"{self.name} creates or changes the shape of {', '.join(dict.fromkeys(names))} in "
                "its forward, so checkpoints of different stages do not fit. Create parameters and "
                "buffers with their final shapes when the module is built."
            )

    def _warn_of_hidden_state(self, used: nn.Module, state: State) -> None:
        names = changed_attributes(self.architecture.module(state), used)
        self._change(forgets=names)
        listed = f" ({', '.join(names)})" if names else ""
        warnings.warn(
            f"{self.name} remembers something between batches that is not in its state_dict"
            f"{listed}. Training begins it anew with every stage, and predictions begin with its "
            "first value, so that retraining stays exact. Register it as a buffer "
            "(register_buffer) if trained models shall keep it.",
            stacklevel=4,
        )

    # Helpers

    def _batch(self, size: int, channels_last: bool) -> tuple[Tensor, Tensor]:
        inputs = self.inputs[:size].clone()
        if channels_last:  # with the strides that a row of the kernel's table has
            rows = inputs.permute(0, 2, 3, 1)
            inputs = rows.flatten(1).contiguous().view(rows.shape).permute(0, 3, 1, 2)
        return inputs, self.targets[:size]

    def _step(self, size: int, stepper: Stepper) -> Tensor:
        """Compute gradients of the first rows; random numbers and torch's errors are refused."""
        inputs, targets = self._batch(size, stepper.channels_last)
        _begin_step(stepper, size)
        place, given = _Place(self.name, stepper.module), inputs.clone()
        flags = {name: p.requires_grad for name, p in stepper.module.named_parameters()}
        stepper.module.register_forward_hook(self._check_output)

        def compute() -> Tensor:
            with RefuseGlobalRandomness(place.where):
                return stepper.gradients(inputs, targets)

        outputs: Tensor = self._call(compute, size, "trained", place.where)
        self._look_at_inputs(given, inputs)
        for name, parameter in stepper.module.named_parameters():
            if flags.get(name, parameter.requires_grad) != parameter.requires_grad:
                raise ValueError(
                    f"{self.name} changes requires_grad of {name} in its forward, so what is "
                    "trained would depend on the calls before. Set requires_grad when the module "
                    "is built, or use detach() in forward."
                )
        self._check_gradients(stepper.module)
        return outputs

    def _outputs(self, module: nn.Module, size: int) -> Tensor:
        inputs, _ = self._batch(size, False)
        given = inputs.clone()
        module.register_forward_hook(self._check_output)
        with torch.no_grad():
            outputs: Tensor = self._call(lambda: module(inputs), size, "used for prediction")
        self._look_at_inputs(given, inputs)
        return outputs

    def _look_at_inputs(self, before: Tensor, after: Tensor) -> None:
        if not same_bits(before, after):
            self._change(clones_inputs=True)

    def _call(
        self,
        action: Callable[[], Any],
        size: int,
        purpose: str,
        where: Callable[[], str] | None = None,
    ) -> Any:
        try:
            return action()
        except GlobalRandomnessError:
            raise
        except Exception as error:
            if error is self.refused:
                raise
            raise self._refusal(error, size, purpose, where) from error

    def _refusal(
        self, error: Exception, size: int, purpose: str, where: Callable[[], str] | None
    ) -> ValueError:
        place = self.name if where is None else where()
        met = f" with {_examples(size, self.inputs)}" if size else ""
        text = (str(error).splitlines() or ["no message"])[0].rstrip(".")
        hint = describe_dtypes(self.architecture.module())
        if not self.inputs.is_floating_point() and isinstance(error, IndexError):
            hint = (
                f"the features range from {int(self.inputs.min())} to {int(self.inputs.max())} in "
                "the examples tried; an embedding needs a row for each number from 0 to the largest"
            )
        elif not self.inputs.is_floating_point():
            hint = (
                "features are torch.int64; convert them in the module's forward (x.float()), or "
                "make the data without dtype=torch.int64"
            )
        elif "Long" in text:  # what torch's embeddings and one_hot expect
            hint = (
                "features are torch.float32; convert them in the module's forward (x.long()), or "
                "keep whole numbers as they are, with from_arrays(..., dtype=torch.int64)"
            )
        return ValueError(
            f"{place} cannot be {purpose}{met}: {type(error).__name__}: {text}. "
            + (f"Note that {hint}." if hint else "The module has to take batches of every size.")
        )

    def _check_output(self, module: nn.Module, given: tuple[Tensor, ...], outputs: object) -> None:
        """Check what the module returns, before anything is computed from it."""
        classes, size = self.architecture.num_outputs, len(given[0])
        if not isinstance(outputs, Tensor):
            self.refused = TypeError(
                f"{self.name} returns a {type(outputs).__name__}; a tensor was expected"
            )
        elif not outputs.is_floating_point():
            self.refused = TypeError(
                f"{self.name} returns numbers of type {str(outputs.dtype)[6:]}; real numbers were "
                "expected, for example the absolute values of complex ones"
            )
        elif outputs.shape != (size, classes):
            self.refused = ValueError(
                f"{self.name} turns {_examples(size)} into an output of shape "
                f"{tuple(outputs.shape)}; the data has {classes} classes or targets, so "
                f"{(size, classes)} was expected. Change the width of its last layer, and keep the "
                "batch as the first dimension for batches of every size, 1 included."
            )
        elif outputs.isnan().any() and not given[0].isnan().any():
            self.refused = ValueError(
                f"{self.name} returns NaN for {_examples(size)} with its first weights, so its "
                "training would diverge at once. Look for logarithms and roots of negative "
                "numbers, and for divisions by zero, such as by the deviation within a batch."
            )
        elif outputs.dtype != torch.float32:
            self._change(casts_outputs=True)
        if self.refused is not None:
            raise self.refused

    def _check_gradients(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            if parameter.grad is not None and parameter.grad.layout != torch.strided:
                raise ValueError(
                    f"{self.name}: the gradient of {name} is sparse, which training does not "
                    "support; create its layer with sparse=False"
                )


def _begin_step(stepper: Stepper, size: int) -> None:
    if stepper.context is not None:
        stepper.context.begin_step(torch.arange(size), size, "trial")


def _views(module: nn.Module) -> list[int]:
    """Return which parameters and buffers share memory: the place of the first one for each."""
    memory = [memory_of(tensor) for _, tensor in named_tensors(module)]
    return [memory.index(each) for each in memory]


class _Place:
    """The layer that is running, for messages."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.places = [name]
        for layer_name, layer in module.named_modules():
            label = f"{name}: layer {layer_name!r} ({type(layer).__name__})" if layer_name else name
            layer.register_forward_pre_hook(lambda *_, label=label: self.places.append(label))
            layer.register_forward_hook(lambda *_: self.places.pop() and None)

    def where(self) -> str:
        """The name of the layer that is running."""
        return self.places[-1]


def changed_attributes(fresh: nn.Module, used: nn.Module) -> tuple[str, ...]:
    """Return the names of attributes outside the state in which two modules differ.

    >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> other.steps = 3
    >>> changed_attributes(one, other)
    ('steps',)
    """
    names = []
    layers = dict(fresh.named_modules())
    kept = set(fresh.state_dict())
    for layer_name, layer in used.named_modules():
        before = vars(layers.get(layer_name, nn.Module()))
        values = {**vars(layer), **layer._buffers}
        for name, value in values.items():
            full = f"{layer_name}.{name}".lstrip(".")
            if name.startswith("_") or name == "training" or full in kept:
                continue
            other = {**before, **before.get("_buffers", {})}.get(name)
            if not alike(value, other):
                names.append(full)
    return tuple(names)


def _examples(size: int, inputs: Tensor | None = None) -> str:
    text = "1 example" if size == 1 else f"{size} examples"
    if inputs is None:
        return text
    return f"{text} of shape {tuple(inputs.shape[1:])} and type {str(inputs.dtype)[6:]}"
