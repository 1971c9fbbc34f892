"""Steps cut out of a network compute what they compute in it, alone and any number of times."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from perframe.arrays import Array
from perframe.errors import InputError
from perframe.export.onnx_model import OnnxModel, open_onnx
from perframe.export.provenance import MODULE_KEY, node_names
from perframe.export.subgraph import Cutter, Piece, copies, footprint_bytes, with_copies, with_outputs

# Beside convolutions: a weight that is prepared (turned), shape arithmetic, and a tensor that two steps read.
NETWORK = """<ir_version: 10, opset_import: ["" : 20]>
network (float[batch, 4, 6, 6] x) => (float[batch, 5] y)
<int64[1] first = {0}, int64[1] rest = {-1}>
{
   [stem] a = Conv <pads = [1, 1, 1, 1]> (x, stem_w, stem_b)
   [relu] b = Relu (a)
   [grouped] c = Conv <group = 4, pads = [1, 1, 1, 1]> (b, grouped_w)
   [sum] d = Add (c, b)
   [pool] e = GlobalAveragePool (d)
   [shape] s = Shape (x)
   [batch] n = Gather (s, first)
   [target] t = Concat <axis = 0> (n, rest)
   [flat] f = Reshape (e, t)
   [turn] w = Transpose <perm = [1, 0]> (fc_w)
   [fc] y = MatMul (f, w)
}"""
WEIGHTS = {"stem_w": (8, 4, 3, 3), "stem_b": (8,), "grouped_w": (8, 2, 3, 3), "fc_w": (5, 8)}


@pytest.fixture
def network() -> ModelProto:
    model = onnx.parser.parse_model(NETWORK)
    random = np.random.default_rng(0)
    for name, shape in WEIGHTS.items():
        values = random.standard_normal(shape, dtype=np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.node[2].metadata_props.add(key=MODULE_KEY, value="blocks.0.grouped")
    return model


def frames(batch: int = 3) -> dict[str, Array]:
    return {"x": np.random.default_rng(1).standard_normal((batch, 4, 6, 6), dtype=np.float32)}


def every_tensor(model: ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    opened = ModelProto()
    opened.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return {**inputs, **run(opened, inputs)}


def run(model: ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    names = [value.name for value in model.graph.output]
    outputs = ReferenceEvaluator(model).run(names, dict(inputs))
    assert isinstance(outputs, list)
    return {name: np.asarray(value) for name, value in zip(names, outputs, strict=True)}


def cut(model: ModelProto, *names: str) -> Piece:
    return Cutter(model.graph, Path("network.onnx")).piece(names)


@pytest.mark.parametrize(
    ("group", "reads", "writes"),
    [
        (["stem"], ["x"], ["a"]),
        (["stem", "relu"], ["x"], ["b"]),
        (["grouped", "sum"], ["b"], ["d"]),
        (["relu", "grouped"], ["a"], ["b", "c"]),
        (["sum"], ["c", "b"], ["d"]),
        (["flat"], ["e"], ["f"]),
        (["fc"], ["f"], ["y"]),
        # What a runtime fuses need not hang together.
        (["stem", "pool"], ["x", "d"], ["a", "e"]),
    ],
)
@pytest.mark.parametrize("own_weights", [True, False])
def test_every_copy_computes_what_the_network_computes(
    network: ModelProto, group: list[str], reads: list[str], writes: list[str], own_weights: bool
) -> None:
    values = every_tensor(network, frames())
    piece = cut(network, *group)
    assert (list(piece.reads), list(piece.writes)) == (reads, writes)
    made = copies(network, piece, values, 3, own_weights=own_weights)
    onnx.checker.check_model(made.model, full_check=True)
    found = run(made.model, made.feeds)
    assert len(found) == 3 * len(writes)
    for name, value in found.items():
        np.testing.assert_allclose(value, values[name.partition("@")[0]], rtol=1e-5, atol=1e-6)


def test_copies_share_nothing_but_weights_if_told_to(network: ModelProto) -> None:
    values = every_tensor(network, frames())
    piece = cut(network, "grouped")
    own, shared = (copies(network, piece, values, 4, own_weights=own) for own in (True, False))
    assert [t.name for t in own.model.graph.initializer] == [f"grouped_w@{i}" for i in range(4)]
    assert [t.name for t in shared.model.graph.initializer] == ["grouped_w@0"]
    # Each input has memory of its own, or nothing would be rotated.
    assert len({array.ctypes.data for array in own.feeds.values()}) == 4
    tensor_bytes, weight_bytes = 2 * 3 * 8 * 6 * 6 * 4, 8 * 2 * 3 * 3 * 4
    assert own.buffer_bytes == 4 * (tensor_bytes + weight_bytes)
    assert shared.buffer_bytes == 4 * tensor_bytes + weight_bytes
    assert footprint_bytes(network, piece, values) == tensor_bytes + weight_bytes


def test_nodes_keep_attributes_and_metadata_under_names_of_their_own(network: ModelProto) -> None:
    made = copies(network, cut(network, "grouped"), every_tensor(network, frames()), 2, own_weights=True)
    for node in made.model.graph.node:
        assert helper.get_node_attr_value(node, "group") == 4
        assert {entry.key: entry.value for entry in node.metadata_props} == {MODULE_KEY: "blocks.0.grouped"}
    assert node_names(made.model.graph) == ["grouped@0", "grouped@1"]


def test_weights_are_prepared_and_sizes_of_the_batch_are_set(network: ModelProto) -> None:
    fc, flat = cut(network, "fc"), cut(network, "flat")
    assert [node.name for node in fc.nodes] == ["turn", "fc"] and fc.weights == ("fc_w",)
    assert flat.settings == ("t",) and [node.name for node in flat.nodes] == ["flat"]


@pytest.mark.parametrize("group", [["grouped"], ["grouped", "sum"], ["fc"]])
def test_within_the_network_copies_leave_its_output_alone(network: ModelProto, group: list[str]) -> None:
    inputs = frames()
    values = every_tensor(network, inputs)
    made = copies(network, cut(network, *group), values, 2, own_weights=True)
    joined = with_copies(network, made)
    onnx.checker.check_model(joined)
    found = run(joined, {**inputs, **made.feeds})
    np.testing.assert_array_equal(found["y"], values["y"])
    assert len(found) == 1 + 2 and len(network.graph.output) == 1


def test_a_node_without_a_name_can_be_cut_out_by_its_key(network: ModelProto) -> None:
    network.graph.node[1].name = ""
    made = copies(network, cut(network, "Relu_1"), every_tensor(network, frames()), 2, own_weights=True)
    assert [node.name for node in made.model.graph.node] == ["b@0", "b@1"]


def test_what_cannot_be_cut_out_is_refused_by_name(network: ModelProto) -> None:
    with pytest.raises(InputError, match="nosuch cannot be cut out: there is no such node"):
        cut(network, "nosuch")
    with pytest.raises(
        InputError, match="turn cannot be cut out: nothing that depends on the network's input"
    ):
        cut(network, "turn")
    with pytest.raises(InputError, match="target"):
        cut(network, "target")
    branch = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)],
    )
    network.graph.node.append(
        helper.make_node("If", ["flag"], ["r"], name="choice", then_branch=branch, else_branch=branch)
    )
    with pytest.raises(InputError, match="choice cannot be cut out: its If holds a graph"):
        cut(network, "choice")


def opened(model: ModelProto, tmp_path: Path) -> OnnxModel:
    onnx.save(model, str(tmp_path / "network.onnx"))
    return open_onnx(tmp_path / "network.onnx")


def test_tensors_become_outputs_with_type_and_shape(network: ModelProto, tmp_path: Path) -> None:
    inputs = frames(2)
    shown = with_outputs(opened(network, tmp_path), network, ["a", "t", "d", "d"], {"x": (2, 4, 6, 6)})
    infos = open_onnx_from(shown, tmp_path).outputs
    assert [(o.name, o.dtype, o.shape) for o in infos[1:]] == [
        ("a", "float32", (2, 8, 6, 6)),
        ("t", "int64", (2,)),
        ("d", "float32", (2, 8, 6, 6)),
    ]
    values = every_tensor(network, inputs)
    for name, value in run(shown, inputs).items():
        np.testing.assert_array_equal(value, values[name])


def open_onnx_from(model: ModelProto, tmp_path: Path) -> OnnxModel:
    onnx.save(model, str(tmp_path / "shown.onnx"))
    return open_onnx(tmp_path / "shown.onnx")


def test_types_are_told_behind_a_runtimes_own_operators(tmp_path: Path) -> None:
    """Inference ends at them; what standard operators put out follows from what they take in."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20, "vendor" : 1]>
        network (float[batch, 4] x) => (float[batch, 4] y)
        <float scale = {0.5}, uint8 zero = {3}>
        {
           a = vendor.Fast (x)
           b = Relu (a)
           q = QuantizeLinear (b, scale, zero)
           r = vendor.Fast (q)
           d = DequantizeLinear (r, scale, zero)
           i = Cast <to = 7> (d)
           y = Cast <to = 1> (i)
        }"""
    )
    shown = with_outputs(opened(model, tmp_path), model, ["a", "b", "q", "r", "d", "i"], {"x": (2, 4)})
    types = {value.name: value.type.tensor_type.elem_type for value in shown.graph.output}
    t = onnx.TensorProto
    assert types == {
        "y": t.FLOAT,
        "a": t.FLOAT,
        "b": t.FLOAT,
        "q": t.UINT8,
        "r": t.UINT8,
        "d": t.FLOAT,
        "i": t.INT64,
    }
