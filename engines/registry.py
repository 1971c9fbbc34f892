"""Backends by name. Built-ins are strings, so that naming one imports nothing; others come from entry points."""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

from perframe.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from perframe.engines.base import Backend

_BUILT_IN = {
    "onnxruntime": "perframe.engines.ort:OnnxRuntime",
    "tensorrt": "perframe.engines.tensorrt:TensorRt",
    "tensorrt-rtx": "perframe.engines.tensorrt:TensorRtRtx",
    "torch": "perframe.engines.torch_eager:Torch",
    "fake": "perframe.engines.fake:Fake",
}
_ENTRY_POINTS = "perframe.backends"


def backend_names() -> list[str]:
    """Return the names of all backends, built-in and installed, available here or not."""
    return sorted(
        _BUILT_IN.keys() | {point.name for point in importlib.metadata.entry_points(group=_ENTRY_POINTS)}
    )


def backend_named(name: str) -> "Backend":
    """Return a backend that can be used on this machine.

    Raises:
        UsageError: No backend has this name.
        UnavailableError: Its library cannot be used here; the hint says what would mend that.
    """
    backend = _load(name)
    if (reason := backend.unavailable()) is not None:
        message, _, hint = reason.partition("\n")
        raise UnavailableError(message, hint)
    return backend


def _load(name: str) -> "Backend":
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        backend: Backend = getattr(importlib.import_module(module), attribute)()
        return backend
    for point in importlib.metadata.entry_points(group=_ENTRY_POINTS, name=name):
        loaded: Backend = point.load()()
        return loaded
    raise UsageError(f"Engine {name!r} is not known.", f"Choose one of: {', '.join(backend_names())}.")
