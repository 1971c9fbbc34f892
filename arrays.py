"""The one array type that crosses perframe's borders."""

from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""A numpy array of any data type: models take float32, float16, int64, ..."""
