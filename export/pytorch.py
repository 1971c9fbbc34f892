"""torch, or the error that says how to get it. Every file that needs torch imports it from here."""

from perframe.errors import UnavailableError

try:
    import torch as torch
    from torch import nn as nn
except ModuleNotFoundError as missing:
    raise UnavailableError(
        "Checkpoints need torch, which is not installed.",
        "Install it with: pip install 'perframe[torch]', or give the .onnx.",
    ) from missing
