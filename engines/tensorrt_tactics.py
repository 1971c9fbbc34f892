"""What the name of a tactic tells about the kernel behind it."""

import re

# Tensor cores multiply small matrices, and kernels for them are named after the shape of those (M, N, K), as cuDNN's
# and cuBLAS's `h884`, `s1688tf32`, `i8816` and xmma's `tensor16x8x16` (shapes: PTX ISA, mma.sync), after the machine
# instruction (HMMA, IMMA, ...; Hopper's are issued by warp groups), or as CUTLASS's TensorOp. The first two kinds are
# NVIDIA's own way to tell from a name (PyProf, pyprof/prof/tc.py).
_TENSOR = re.compile(
    r"(?<![a-z0-9])[cdhis](?:884|1684|1688|8816|8832|16816|16832|16864)(?!\d)"
    r"|_tensor\d+x\d+x\d+"
    r"|(?:h|i|d|q|o|hg|ig|qg|w)mma(?![a-z])|tcgen05|utcmma"
    r"|warpgroupsize|tensorop",
    re.IGNORECASE,
)
# Scalar and vector units: CUTLASS's SIMT, cuDNN's and cuBLAS's fused multiply-adds (int8x4 is DP4A), products of a
# matrix and a vector; and pooling, which multiplies no matrices.
_SCALAR = re.compile(
    r"simt|(?<![a-z])[shi]cudnn|(?<![a-z])[sd]gemm|gemv|int8x4|ffma|pooling",
    re.IGNORECASE,
)


def uses_tensor_cores(tactic: str | None) -> bool | None:
    """Tell from a tactic's name whether it is a tensor-core kernel.

    Args:
        tactic: As the engine inspector names it; `None` if it does not.

    Returns:
        `None` where the name does not tell, as with kernels that TensorRT generates (`__myl_...`).
    """
    if not tactic:
        return None
    if _TENSOR.search(tactic):
        return True
    return False if _SCALAR.search(tactic) else None
