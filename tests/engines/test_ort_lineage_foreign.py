"""Lineage of networks that are not ours: other fusions, other precisions, another exporter's names."""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from perframe.engines.base import BuildSpec, EngineArtifact
from perframe.engines.ort import OnnxRuntime
from perframe.export.mac_ops import operands_of
from perframe.export.onnx_model import OnnxModel, open_onnx, resolve_input_shapes
from perframe.export.provenance import node_names

torch: Any = pytest.importorskip("torch")


def norm_first() -> Any:
    """DenseNet's order: BatchNorm, ReLU, convolution, concatenation."""
    nn = torch.nn

    class NormFirst(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 32, 3, padding=1)
            self.n1, self.c1 = nn.BatchNorm2d(32), nn.Conv2d(32, 32, 3, padding=1)
            self.n2, self.c2 = nn.BatchNorm2d(64), nn.Conv2d(64, 32, 1)
            self.fc = nn.Linear(32, 10)
            for norm in (self.n1, self.n2):
                nn.init.uniform_(norm.weight)
                nn.init.normal_(norm.bias)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            y = self.c1(torch.relu(self.n1(x)))
            z = self.c2(torch.relu(self.n2(torch.cat([x, y], 1))))
            return self.fc(z.mean((2, 3)))

    return NormFirst()


def gated() -> Any:
    """EfficientNet's parts: SiLU, depthwise, squeeze and excite, a residual, hard swish."""
    nn = torch.nn

    class Gated(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.SiLU())
            self.expand = nn.Sequential(nn.Conv2d(32, 64, 1), nn.SiLU())
            self.depth = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.SiLU())
            self.squeeze, self.excite = nn.Conv2d(64, 8, 1), nn.Conv2d(8, 64, 1)
            self.project = nn.Conv2d(64, 32, 1)
            self.head, self.act = nn.Conv2d(32, 16, 1), nn.Hardswish()

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            y = self.depth(self.expand(x))
            pooled = y.mean((2, 3), keepdim=True)
            gate = torch.sigmoid(self.excite(nn.functional.silu(self.squeeze(pooled))))
            return self.act(self.head(x + self.project(y * gate)))

    return Gated()


def exported(network: Any, path: Path, precision: str) -> OnnxModel:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 32, 32)
    if precision == "fp16":
        network, image = network.half(), image.half()
    plain = path.with_name("plain.onnx") if precision == "int8" else path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (image,),
            str(plain),
            opset_version=20,
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )
        if precision == "int8":
            quantised(plain, path)
    return open_onnx(path)


def quantised(plain: Path, path: Path) -> None:
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            random = np.random.default_rng(0)
            self._data = iter([{"x": random.standard_normal((2, 3, 32, 32), dtype=np.float32)}] * 2)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._data, None)

    q.quantize_static(
        str(plain),
        str(path),
        Reader(),
        quant_format=q.QuantFormat.QDQ,
        activation_type=q.QuantType.QInt8,
        weight_type=q.QuantType.QInt8,
        per_channel=True,
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("network", [norm_first, gated])
def test_every_step_is_led_back(network: Any, precision: str, tmp_path: Path) -> None:
    model = exported(network(), tmp_path / "model.onnx", precision)
    artifact: EngineArtifact = OnnxRuntime().build(
        model, BuildSpec(resolve_input_shapes(model, 1)), tmp_path / "engine"
    )
    steps = list(zip(artifact.layers, open_onnx(artifact.path).graph.node, strict=True))
    source = dict(zip(node_names(model.graph), model.graph.node, strict=True))

    claims = Counter(node for layer, _ in steps for node in layer.onnx_nodes)
    assert set(claims.values()) == {1}
    assert sum(layer.macs or 0 for layer, _ in steps) == artifact.model.macs
    assert all(layer.module is not None for layer, _ in steps)
    for layer, node in steps:
        heavy = [source[name] for name in layer.onnx_nodes if operands_of(source[name])]
        # Only what moves data is overhead, and what multiplies is accounted where it is multiplied.
        assert not (layer.overhead and operands_of(node)), layer
        assert not heavy or operands_of(node), layer
        assert len(heavy) <= 1, layer
        if heavy:
            assert layer.module == module_by_weight(heavy[0], model.graph), layer


def module_by_weight(node: onnx.NodeProto, graph: onnx.GraphProto) -> str:
    """The module of a convolution by the name of its weight: an independent witness."""
    written = {tensor: each for each in graph.node for tensor in each.output}
    weight = node.input[1]
    while weight in written:
        weight = written[weight].input[0]
    return str(weight).removesuffix("_quantized").removesuffix(".weight")
