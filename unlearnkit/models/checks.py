"""Checks of a module before it is run: layers and parameters that cannot be trained exactly."""

from typing import Any

import torch
from torch import Tensor, nn

PARALLEL = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")
QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def check_module(module: nn.Module, name: str) -> None:
    """Refuse modules that cannot be trained, or not exactly; name the layer or parameter.

    Raises:
        TypeError: a layer is compiled by TorchScript or ``torch.compile``, replicated over devices,
            or quantised.
        ValueError: a layer or parameter cannot be trained as it is; or none is trainable.
    """
    for path, layer in module.named_modules():
        where = f"{name}: layer {path!r} ({type(layer).__name__})" if path else name
        reason = compiled_or_parallel(layer)
        if reason:
            raise TypeError(f"{where}: {reason}; return the module inside it")
        if type(layer).__module__.startswith(QUANTISED):
            raise TypeError(
                f"{where} is quantised and its weights cannot be trained; return the module as it "
                "was before quantisation"
            )
        if reason := _unsuitable(layer):
            raise ValueError(f"{where} {reason}")
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        kind = "parameter" if isinstance(tensor, nn.Parameter) else "buffer"
        if reason := _unsuitable_tensor(tensor, isinstance(tensor, nn.Parameter)):
            raise ValueError(f"{name}: {_owner(module, path, kind)} {reason}")
    parameters = list(module.parameters())
    if not any(p.requires_grad for p in parameters):
        frozen = len(parameters)
        found = f"all its {frozen} parameters are frozen" if frozen else "it has no parameters"
        raise ValueError(
            f"{name} has no trainable parameter ({found}), so there is nothing to unlearn; give a "
            "module with at least one layer to train"
        )


def compiled_or_parallel(layer: Any) -> str:
    """Say why a layer's results may depend on more than its inputs and state; empty if they don't.

    >>> compiled_or_parallel(nn.DataParallel(nn.Linear(2, 1)))[:44]
    'DataParallel splits batches over devices, so'
    >>> compiled_or_parallel(nn.Linear(2, 1))
    ''
    """
    kinds = {kind.__name__ for kind in type(layer).__mro__}
    if isinstance(layer, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        return (
            "TorchScript chooses its kernels by the calls before, so bits may differ between two "
            "equal trainings"
        )
    methods = (layer, getattr(layer, "forward", None), vars(layer).get("_compiled_call_impl"))
    if "OptimizedModule" in kinds or any(map(is_compiled, methods)) or methods[2] is not None:
        return (
            "torch.compile chooses its kernels by the calls before, so bits may differ between "
            "two equal trainings"
        )
    parallel = [kind for kind in PARALLEL if kind in kinds]
    if parallel:
        return (
            f"{parallel[0]} splits batches over devices, so bits depend on the devices; shards "
            "are trained in parallel without it"
        )
    return ""


def is_compiled(function: Any) -> bool:
    """Whether a function is a result of ``torch.compile``, as opposed to excluded from it."""
    attributes = getattr(function, "__dict__", {})
    return "_torchdynamo_orig_callable" in attributes and not attributes.get(
        "_torchdynamo_disable", False
    )


def describe_dtypes(module: nn.Module) -> str:
    """Name a parameter that is not of type float32, and the way out; empty if there is none.

    It explains an error of a module that cannot take the features, which are float32.

    >>> describe_dtypes(nn.Linear(2, 1).double())[:66]
    "parameter 'weight' is torch.float64 and the features are torch.flo"
    """
    for path, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            return (
                f"{_owner(module, path, 'parameter')} is {parameter.dtype} and the features are "
                "torch.float32; build the module in float32 (module.float()), or convert the "
                "features in its forward"
            )
    return ""


def _unsuitable(layer: nn.Module) -> str:
    """Say why a layer cannot be trained exactly; empty if it can."""
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        if layer.sparse:
            return "has sparse gradients, which are not supported; create it with sparse=False"
        if layer.max_norm is not None:
            return (
                f"has max_norm={layer.max_norm}, by which it changes its weights whenever it is "
                "called, in predictions too; create it without max_norm"
            )
    if type(layer).get_extra_state is not nn.Module.get_extra_state:
        return (
            "has an extra state (get_extra_state), which checkpoints do not hold; keep it in "
            "buffers (self.register_buffer)"
        )
    if isinstance(layer, nn.SyncBatchNorm):
        return "synchronises batches between processes; use BatchNorm1d, 2d or 3d"
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None:
        return (
            "keeps no running statistics, so that the prediction of an example would depend on "
            "the other examples of its batch; create it with track_running_stats=True, or use "
            "GroupNorm or LayerNorm"
        )
    return ""


def _unsuitable_tensor(tensor: Tensor, is_parameter: bool) -> str:
    """Say why a parameter or buffer cannot be used; empty if it can."""
    if nn.parameter.is_lazy(tensor):
        return "belongs to a lazy layer and has no shape yet; use a layer with explicit sizes"
    if tensor.is_meta:
        return "is on the meta device and has no values; build the module on the CPU"
    if tensor.device.type != "cpu":
        return (
            f"is on {tensor.device}; build the module on the CPU, and choose where it is trained "
            "by the device of the spec: TrainSpec(device=...)"
        )
    if tensor.is_quantized:
        return "is quantised; return the module as it was before quantisation"
    if tensor.layout is not torch.strided:
        return f"has the layout {tensor.layout}; use a dense tensor (tensor.to_dense())"
    if not is_parameter:
        return ""
    if any(size > 1 and not step for size, step in zip(tensor.shape, tensor.stride(), strict=True)):
        return "was expanded, so that its elements share memory; use a copy (tensor.clone())"
    if not torch.isfinite(tensor).all():
        return "has NaN or infinite initial values; initialise it with finite numbers"
    return ""


def _owner(module: nn.Module, path: str, kind: str) -> str:
    """Name a tensor, and the kind of the layer that it belongs to.

    >>> _owner(nn.Sequential(nn.Linear(2, 1)), "0.weight", "parameter")
    "parameter '0.weight' of the Linear layer '0'"
    """
    layer, _, _ = path.rpartition(".")
    if not layer:
        return f"{kind} {path!r}"
    return f"{kind} {path!r} of the {type(module.get_submodule(layer)).__name__} layer {layer!r}"
