"""A load that can be switched: matrix products on the device, for watching what its sensor makes of them."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from perframe.engines.clock import Clock
from perframe.engines.inputs import seeded_inputs
from perframe.engines.prepare import build_engine
from perframe.engines.registry import backend_named
from perframe.export.onnx_model import resolve_input_shapes

# Large enough to fill a GPU, small enough that one run ends within a millisecond or so on one.
_SIZE = 1024
_LAYERS = 4


@contextmanager
def switchable_load(device: str) -> Iterator[tuple[Callable[[float], None], Clock]]:
    """Give a function that keeps `device` busy for so many seconds, and the clock it takes time on.

    Raises:
        UnavailableError: ONNX Runtime or the device is not there.
    """
    with tempfile.TemporaryDirectory(prefix="perframe-") as name:
        path = Path(name) / "load.onnx"
        onnx.save(_products(), str(path))
        artifact = build_engine(path, Path(name) / "engine", device=device)
        with backend_named(artifact.backend).open(artifact) as engine:
            engine.bind(seeded_inputs(artifact.inputs, resolve_input_shapes(artifact, _SIZE), seed=0))
            engine.run(3)

            def load(seconds: float) -> None:
                end_s = engine.clock.now_s() + seconds
                while engine.clock.now_s() < end_s:
                    engine.run(1)

            yield load, engine.clock


def _products() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    # Scaled so that values neither grow nor vanish from layer to layer: what is multiplied changes the watts.
    weights = random.standard_normal((_LAYERS, _SIZE, _SIZE), dtype=np.float32) / np.float32(np.sqrt(_SIZE))
    float32 = onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"product{i}")
        for i in range(_LAYERS)
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "load",
        [onnx.helper.make_tensor_value_info("x0", float32, ["batch", _SIZE])],
        [onnx.helper.make_tensor_value_info(f"x{_LAYERS}", float32, ["batch", _SIZE])],
        [onnx.numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
