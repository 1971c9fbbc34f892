import onnx
from onnx import parser

from perframe.export.onnx_names import rename_after_modules


def test_tensors_used_inside_branches_are_renamed_there_too() -> None:
    model = parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 20]>
        main (float[N, 4] input, bool choose) => (float[N, 4] logits)
        <float[4] w = {1, 2, 3, 4}> {
            copied = Identity(w)
            hidden = Add(input, copied)
            logits = If(choose) <
                then_branch = yes () => (float[N, 4] left) { left = Mul(hidden, copied) },
                else_branch = no () => (float[N, 4] right) { right = Sub(hidden, w) }
            >
        }
    """)
    model.graph.node[1].name = "/body/layer.0/Add"
    model.graph.node[2].name = "/If"
    model.graph.initializer[0].name = "w"
    rename_after_modules(model.graph, ["", "body", "body.layer", "body.layer.0"])
    onnx.checker.check_model(model, full_check=True)
    add, branch = model.graph.node
    assert (add.name, branch.name) == ("body.layer.0", "If")
    left = branch.attribute[0].g.node[0]
    assert list(left.input) == [add.output[0], "w"]


def test_a_module_called_from_elsewhere_is_found() -> None:
    model = parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 20]>
        main (float[N, 4] input) => (float[N, 4] logits) { a = Relu(input) logits = Relu(a) }
    """)
    # The network's forward calls its grandchild itself, twice.
    model.graph.node[0].name = "/act/Relu"
    model.graph.node[1].name = "/act_1/Relu"
    rename_after_modules(model.graph, ["", "head", "head.act"])
    assert [node.name for node in model.graph.node] == ["head.act/Relu", "head.act/Relu_1"]
    assert [node.metadata_props[0].value for node in model.graph.node] == ["head.act", "head.act"]
