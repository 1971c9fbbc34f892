"""What a network computes in torch: what an exported graph and an engine are checked against."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from perframe.export.pytorch import nn, torch

_Array = npt.NDArray[np.float32]
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def run_reference(module: nn.Module, inputs: _Array) -> _Array:
    """Run a network of one output in torch, float32 on the CPU.

    Args:
        module: The network, in evaluation mode.
        inputs: (batch, channels, height, width).

    Returns:
        The logits (batch, classes); the first output of a network that has several.
    """
    with torch.no_grad():
        outputs = module(torch.from_numpy(inputs))
    return _array(outputs if isinstance(outputs, torch.Tensor) else outputs[0])


def reference_activations(
    module: nn.Module, inputs: _Array, node_modules: Mapping[str, str]
) -> dict[str, _Array]:
    """What the nodes of the exported graph must put out, as far as torch's modules tell for certain.

    A node is certain if its module has no children, was called exactly once, returned one tensor, and is the
    source of no other node. The exporter folds a BatchNorm into the convolution before it: that node is
    given the BatchNorm's output.

    Args:
        module: The network, in evaluation mode.
        inputs: (batch, channels, height, width).
        node_modules: Name of a node -> path of its module, for the whole graph; see
            `provenance.node_modules`.

    Returns:
        Name of the node -> its output.
    """
    calls: Counter[str] = Counter()
    outputs: dict[str, _Array] = {}
    sources: dict[str, str] = {}  # a BatchNorm -> the module whose output it takes
    produced: dict[int, tuple[str, torch.Tensor]] = {}  # holding the tensor keeps its id from being reused

    def record(path: str) -> Any:
        def hook(leaf: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            calls[path] += 1
            if not isinstance(output, torch.Tensor):
                return
            if isinstance(leaf, _NORMS) and args and id(args[0]) in produced:
                sources[path] = produced[id(args[0])][0]
            produced[id(output)] = (path, output)
            # A copy: a ReLU behind it may work in place.
            outputs[path] = _array(output).copy()

        return hook

    leaves = [(path, part) for path, part in module.named_modules() if not any(True for _ in part.children())]
    handles = [part.register_forward_hook(record(path)) for path, part in leaves]
    try:
        with torch.no_grad():
            module(torch.from_numpy(inputs))
    finally:
        for handle in handles:
            handle.remove()

    uses = Counter(node_modules.values())
    folded = {source: norm for norm, source in sources.items() if norm not in uses}
    certain = {}
    for node, path in node_modules.items():
        last = folded.get(path, path)
        if uses[path] == 1 and calls[path] == 1 and calls[last] == 1 and last in outputs:
            certain[node] = outputs[last]
    return certain


def _array(tensor: torch.Tensor) -> _Array:
    array: _Array = tensor.detach().numpy()
    return array
