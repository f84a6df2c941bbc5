"""The approximate routes that are open for the module of a plan, and why the others are closed.

Approximate methods differentiate a module in ways in which training does not: twice, for single
examples, in evaluation mode. Torch cannot do this for every module. What a method needs is tried on
a few retained examples, once for each architecture, before any shard is sent to the method. The
built-in models are known to allow everything.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from unlearnkit.approximate.curvature import adjoint_error, gauss_newton, mean_gradient
from unlearnkit.models.stack import Stack, as_head
from unlearnkit.models.state import get_state
from unlearnkit.models.vector import head_names, trainable_names
from unlearnkit.seeding import torch_generator
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.door import BUILT_IN_LOSSES
from unlearnkit.training.plan import Plan

ROWS = 3  # examples of a trial
LOSS_ROWS, LOSS_VECTORS = 64, 4  # examples and directions in which a loss is tried
LOSS_STEP = 0.01  # of the outputs, over which the slope of a loss's gradient is taken
LOSS_FACTOR = 10  # an expectation over targets differs from the given targets by less than this
GAP = 0.03  # an adjoint_error above this is no rounding error, even in bfloat16

Attempt = Callable[[Tensor, Tensor], str]
"""Tries something on inputs and targets; returns why it is not possible, or ""."""


@dataclass(frozen=True, eq=False)
class Routes:
    """What approximate methods can compute for the module of a plan.

    Every attribute is "" if the computation is possible, and otherwise a clause that says why not.
    It is tried when it is asked for; the architecture keeps the result.

    Attributes:
        plan: provides the architecture, the loss, and retained examples for the trials.
    """

    plan: Plan

    @property
    def predictions(self) -> str:
        """Outputs for a single example, by which a modified model is checked."""
        return tried(self.plan, "predictions", self._try_predictions)

    @property
    def gradients(self) -> str:
        """Gradients in all trainable parameters, of several examples and of one."""
        return tried(self.plan, "gradients", self._try_gradients)

    @property
    def products(self) -> str:
        """Curvature products over all trainable parameters."""
        return self.gradients or tried(self.plan, "products", self._try_products)

    @property
    def head(self) -> str:
        """Gradients and curvature products of the last linear layer."""
        return tried(self.plan, "head", self._try_head)

    @property
    def loss(self) -> str:
        """The Hessian of a loss of the user's own, as far as its gradient tells it."""
        loss, trials = self.plan.spec.loss, self.plan.architecture.trials
        if type(loss) in BUILT_IN_LOSSES:
            return ""
        key = f"route: loss {loss!r}"
        if key not in trials:
            if not self.plan.retained.any():
                return ""
            try:
                with own_settings(), torch.no_grad():
                    trials[key] = self._try_loss()
            except Exception as error:  # the user's loss may raise anything
                trials[key] = f"the loss fails with: {type(error).__name__}: {error}"
        known: str = trials[key]
        return known

    def _try_loss(self) -> str:
        """Compare v . H v with the slope of the gradient, in random directions v.

        H is an expectation over targets, or a positive part of the Hessian, so that it need not
        equal the Hessian at the targets of the examples.
        """
        loss, generator = self.plan.spec.loss, torch_generator("loss trial")
        _, targets = _examples(self.plan, LOSS_ROWS)
        shape = LOSS_VECTORS, len(targets), self.plan.architecture.num_outputs
        outputs, vectors = (torch.randn(shape, generator=generator) for _ in range(2))
        ours, true = [], []
        for at, v in zip(outputs, vectors, strict=True):
            ours.append((v * loss.output_hessian_product(at, v)).sum(-1))
            ends = [loss.output_gradient(at + h * v, targets) for h in (LOSS_STEP, -LOSS_STEP)]
            true.append((v * (ends[0] - ends[1])).sum(-1) / (2 * LOSS_STEP))
        found, expected = torch.cat(ours), torch.cat(true)
        name = f"output_hessian_product of the loss {loss.name!r}"
        if not found.isfinite().all():
            return f"{name} is not finite"
        if found.min() < -1e-4 * found.abs().max():
            return f"{name} is not positive semidefinite"
        if found.mean() * LOSS_FACTOR < expected.mean():
            return f"{name} is far below the slope of its output_gradient"
        return ""

    @torch.no_grad()
    def _try_predictions(self, inputs: Tensor, targets: Tensor) -> str:
        outputs = self.plan.architecture.module()(inputs[:1])
        return "" if outputs.isfinite().all() else "its outputs are not finite"

    def _try_gradients(self, inputs: Tensor, targets: Tensor) -> str:
        module = self.plan.architecture.module()
        return self._gradients(module, trainable_names(module), inputs, targets)

    def _try_products(self, inputs: Tensor, targets: Tensor) -> str:
        module = self.plan.architecture.module()
        return self._products(module, trainable_names(module), inputs)

    def _try_head(self, inputs: Tensor, targets: Tensor) -> str:
        module = self.plan.architecture.module()
        if not any(isinstance(layer, nn.Linear) for layer in module.modules()):
            return "the module has no nn.Linear"
        names = head_names(module)
        if not set(names) <= set(trainable_names(module)):
            return "its last linear layer is frozen, or shares its weights with another layer"
        if cause := self._gradients(module, names, inputs, targets):
            return cause
        if head_stack(self.plan) is not None:  # its products need no automatic differentiation
            return ""
        return self._products(module, names, inputs)

    def _gradients(
        self, module: nn.Module, names: tuple[str, ...], inputs: Tensor, targets: Tensor
    ) -> str:
        state, loss = get_state(module), self.plan.spec.loss
        for name in names:
            if state[name].dtype != torch.float32:
                return f"its parameter {name} is of {state[name].dtype} instead of torch.float32"
        for count in (1, len(inputs)):
            some = inputs[:count], targets[:count]
            gradient = mean_gradient(module, state, names, *some, loss)
            if not gradient.isfinite().all():
                return "its gradients in evaluation mode are not finite"
        if not gradient.any():
            return "its outputs do not depend on these parameters"
        return ""

    def _products(self, module: nn.Module, names: tuple[str, ...], inputs: Tensor) -> str:
        state = get_state(module)
        generator = torch_generator("trial")
        vector = torch.randn(sum(state[name].numel() for name in names), generator=generator)
        product = gauss_newton(module, state, names, inputs, self.plan.spec.loss)(vector)
        if not product.isfinite().all():
            return "its second derivatives are not finite"
        if not adjoint_error(module, state, names, inputs, generator) <= GAP:
            return "the backward pass of one of its operations has a wrong derivative"
        return ""


def head_stack(plan: Plan) -> Stack | None:
    """Return the last linear layer as a stack, if the module returns its outputs; None if not."""
    trials = plan.architecture.trials
    if "head stack" not in trials:
        if not plan.retained.any():
            return None
        inputs = inputs_of(plan, ROWS)
        try:
            with own_settings():
                trials["head stack"] = as_head(plan.architecture.module(), inputs)
        except Exception:  # of the user's module; what is tried next has the reason
            trials["head stack"] = None
    found: Stack | None = trials["head stack"]
    return found


def tried(plan: Plan, name: str, attempt: Attempt) -> str:
    """Try something once for an architecture, on the first retained examples of a plan.

    Args:
        plan: a plan; built-in models, and plans without retained examples, are not tried.
        name: identifies the attempt.
        attempt: what to try; an error that it raises is turned into a clause.

    Returns:
        A clause that says why it is not possible, or "".
    """
    architecture, key = plan.architecture, f"route: {name}"
    if architecture.described is not None:
        return ""
    if key not in architecture.trials:
        if not plan.retained.any():
            return ""
        try:
            with own_settings():
                cause = attempt(*_examples(plan, ROWS))
        except Exception as error:  # the user's module may raise anything
            cause = cause_of(error)
        architecture.trials[key] = cause
    known: str = architecture.trials[key]
    return known


def inputs_of(plan: Plan, count: int) -> Tensor:
    """Return the features of the first retained examples, on which modules are tried."""
    return _examples(plan, count)[0]


def _examples(plan: Plan, count: int) -> tuple[Tensor, Tensor]:
    return plan.examples[plan.partition.ids[np.flatnonzero(plan.retained)[:count]]]


def refusal(needs: str, cause: str) -> str:
    """Return the sentence of a method that needs something, or "" if there is no cause.

    >>> refusal("K-FAC needs single layers", "")
    ''
    >>> refusal("K-FAC needs single layers", "the module has none")
    'K-FAC needs single layers, but the module has none, so it is retrained exactly'
    """
    return f"{needs}, but {cause}, so it is retrained exactly" if cause else ""


def cause_of(error: Exception) -> str:
    """Return a clause that names the cause of an error of torch.

    >>> cause_of(NotImplementedError("the derivative for '_cdist_backward' is not implemented."))
    'torch has no second derivative of cdist'
    >>> cause_of(ValueError("Expected more than 1 value per channel. Got one."))
    'the module fails with: Expected more than 1 value per channel'
    """
    text = " ".join(str(error).split())
    if found := re.search(r"derivative for '?(?:aten::)?_?(\w+?)_backward'? is not impl", text):
        return f"torch has no second derivative of {found[1]}"
    if found := re.search(r"derivative for '?(?:aten::)?(\w+)'? is not impl", text):
        return f"torch has no derivative of {found[1]}"
    if "inplace" in text or "in-place" in text:
        return "it changes a parameter or another tensor in place that a derivative needs"
    if "sparse" in text.lower():
        return "one of its layers has sparse gradients (sparse=True)"
    if "does not require grad" in text or "not have been used in the graph" in text:
        return "one of its operations, or the backward pass of one, has no derivative"
    first = re.split(r"(?<=[a-z\])])\. ", text, maxsplit=1)[0].rstrip(".")
    return f"the module fails with: {first[:160] or type(error).__name__}"
