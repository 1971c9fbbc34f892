"""Why TensorRT refuses a model, in words that name the ONNX node at fault."""

import re
from collections.abc import Sequence

from perframe.engines.tensorrt_api import TrtOnnxParser, TrtParserError
from perframe.engines.tensorrt_library import TensorRtLibrary
from perframe.errors import BuildError, OutOfMemoryError, PerframeError, UnavailableError
from perframe.export.onnx_model import OnnxModel
from perframe.export.provenance import node_names

# What only TensorRT's own source has use for: where an error arose, what called it, a failed assertion's code.
_NOISE = re.compile(
    r"""\s*\(?\bIn\ \w+\ at\ \S+?:\d+\)?$      # (In validate at /_src/network.cpp:40)
    | ^\[[\w.]+(?:::\w+)*::\d+\]\s*              # [checkMacros.cpp::catchCudaError::250]
    | ^\w+\.cpp:\d+:\s*                          # ModelImporter.cpp:140:
    | \[\w+\.cpp:\d+:\ \w+\]\s*                 # [pass.cpp:337: check_turing_op_compatibility]
    | ^[\w:]+:\ Error\ Code\ \d+:\s*             # IBuilder::buildSerializedNetwork: Error Code 4:
    | \bError\ Code\ \d+:\s*
    | ^.*&&\s*(?=")                              # creator && "Plugin not found"
    | ^Invalid\ Node\ -\ .*$
    | ^false$
    """,
    re.VERBOSE,
)
# What every call that would like a GPU says where there is none, whatever else went wrong.
_NO_DRIVER = re.compile(r"cudaError (?:35|100)\b|CUDA driver version is insufficient|no CUDA-capable device")
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|bad_alloc|insufficient (?:device |GPU )?memory", re.IGNORECASE)


def parser_refusal(library: TensorRtLibrary, model: OnnxModel, parser: TrtOnnxParser) -> BuildError:
    """Return the error for a model that the parser does not take, by the first node that it names."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    if not errors:
        return BuildError(
            f"{model.path}: {library.title}'s parser does not take it, and gives no reason.",
            "Does `onnx.checker` take the file?",
        )
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return BuildError(
        f"{model.path}: {library.title} {library.version} does not take {_node(model, first)}: {_reason(first)}{more}.",
        "Export the model without this operator or type, or take another --engine.",
    )


def builder_refusal(library: TensorRtLibrary, model: OnnxModel, said: Sequence[str]) -> PerframeError:
    """Return the error for a build that ended without an engine.

    Args:
        library: The library.
        model: The model.
        said: The errors that were logged, in order.
    """
    told = [_plain(text) for text in said]
    reasons = [text for text in told if not _NO_DRIVER.search(text)]
    if told and not reasons:
        return UnavailableError(
            f"{model.path}: {library.title} needs a GPU for this build: {told[0]}.",
            "Check nvidia-smi; TensorRT-RTX builds without a GPU for the targets it is given.",
        )
    # The first error is the cause; the others follow from it.
    reason = reasons[0] if reasons else "it gives no reason"
    if any(_OUT_OF_MEMORY.search(text) for text in reasons):
        return OutOfMemoryError(
            f"{model.path}: not enough device memory to build it: {reason}.",
            "Give a smaller batch or --workspace, or free the GPU's memory.",
        )
    where = next((f" at node {name!r}" for name in _named(model, reason)), "")
    return BuildError(
        f"{model.path}: {library.title} {library.version} cannot build it{where}: {reason}.",
        "Is this precision or operator one that the device has? Try perframe export --precision, or another device.",
    )


def _node(model: OnnxModel, error: TrtParserError) -> str:
    name, index = error.node_name(), error.node()
    names = node_names(model.graph)
    if not name and 0 <= index < len(names):
        name = names[index]
    operator = error.node_operator()
    return f"node {name!r} ({operator})" if operator else f"node {name!r}" if name else "the model"


def _reason(error: TrtParserError) -> str:
    lines = [_plain(line) for line in error.desc().splitlines() if not _NO_DRIVER.search(line)]
    code = error.code().name.lower().replace("_", " ")
    return "; ".join([code, *filter(None, lines)])


def _plain(text: str) -> str:
    """An error in TensorRT's words, without what is of use in its source only."""
    plain = _NOISE.sub("", " ".join(text.split())).strip(' ".?')
    # The place stood last in brackets of the reason's own.
    return f"{plain})" if plain.count("(") > plain.count(")") else plain


def _named(model: OnnxModel, text: str) -> list[str]:
    """Names of the model's nodes in a text, the longest first: one may be a part of another."""
    names = sorted(set(node_names(model.graph)), key=len, reverse=True)
    return [name for name in names if re.search(rf"(?<![\w./]){re.escape(name)}(?![\w/]|\.\w)", text)]
