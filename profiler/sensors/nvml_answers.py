"""What NVML answers to one question: a value, or an explicit reason why there is none. Never a silent zero."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from perframe.profiler.sensors.nvml_library import VALUE_MEMBERS, ErrorCode, FieldValue, NvmlLibrary

T = TypeVar("T")
U = TypeVar("U")


class Status(str, Enum):
    """How a question was answered."""

    OK = "ok"
    NOT_SUPPORTED = "not supported"
    NO_PERMISSION = "no permission"
    NOT_FOUND = "not found"
    NO_DRIVER = "no driver"
    LOST = "lost"
    ERROR = "error"


# Arguments are constants here, so an invalid one is a question that this driver does not know yet.
_STATUS = {
    ErrorCode.NOT_SUPPORTED: Status.NOT_SUPPORTED,
    ErrorCode.FUNCTION_NOT_FOUND: Status.NOT_SUPPORTED,
    ErrorCode.INVALID_ARGUMENT: Status.NOT_SUPPORTED,
    ErrorCode.ARGUMENT_VERSION_MISMATCH: Status.NOT_SUPPORTED,
    ErrorCode.VGPU_ECC_NOT_SUPPORTED: Status.NOT_SUPPORTED,
    ErrorCode.DEPRECATED: Status.NOT_SUPPORTED,
    ErrorCode.NO_PERMISSION: Status.NO_PERMISSION,
    ErrorCode.OPERATING_SYSTEM: Status.NO_PERMISSION,
    ErrorCode.NOT_FOUND: Status.NOT_FOUND,
    ErrorCode.LIBRARY_NOT_FOUND: Status.NO_DRIVER,
    ErrorCode.DRIVER_NOT_LOADED: Status.NO_DRIVER,
    ErrorCode.LIB_RM_VERSION_MISMATCH: Status.NO_DRIVER,
    ErrorCode.UNINITIALIZED: Status.NO_DRIVER,
    ErrorCode.GPU_IS_LOST: Status.LOST,
    ErrorCode.RESET_REQUIRED: Status.LOST,
    ErrorCode.GPU_NOT_FOUND: Status.LOST,
}

# NVML writes all ones where a number is not available.
_NOT_AVAILABLE = {2**32 - 1, 2**64 - 1}

# No single GPU or module draws more; a reading beyond it is garbage.
_LARGEST_W = 10_000.0


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A value where `status` is OK; otherwise None, and the reason in words."""

    status: Status
    value: T | None = None
    reason: str = ""

    def then(self, convert: "Callable[[T], Answer[U]]") -> "Answer[U]":
        """Convert the value, if there is one."""
        return Answer(self.status, None, self.reason) if self.value is None else convert(self.value)

    def __str__(self) -> str:
        return self.status.value if not self.reason else f"{self.status.value} ({self.reason})"


def answer(value: T) -> Answer[T]:
    """Return an answer that holds a value."""
    return Answer(Status.OK, value)


def refusal(code: int) -> Answer[T]:
    """Return the answer that a return code stands for."""
    status = _STATUS.get(code, Status.ERROR)  # type: ignore[call-overload]  # an IntEnum is its integer
    try:
        return Answer(status, None, f"NVML {ErrorCode(code).name}")
    except ValueError:
        return Answer(status, None, f"NVML error {code}")


def ask(library: NvmlLibrary, *calls: Callable[[], T]) -> Answer[T]:
    """Ask until a question is supported.

    Args:
        library: Whose errors to translate.
        calls: The same question in several forms, the newest first.
    """
    answered: Answer[T] = Answer(Status.NOT_SUPPORTED)
    for call in calls:
        answered = _ask(library, call)
        if answered.status is not Status.NOT_SUPPORTED:
            break
    return answered


def _ask(library: NvmlLibrary, call: Callable[[], T]) -> Answer[T]:
    try:
        return answer(call())
    except library.NVMLError as error:
        return refusal(getattr(error, "value", ErrorCode.UNKNOWN))
    except AttributeError as error:
        if not str(error.name).startswith("nvml"):
            raise
        return Answer(Status.NOT_SUPPORTED, None, f"nvidia-ml-py is too old: {error}")


def field_number(field: FieldValue) -> Answer[float]:
    """Read the number out of a field's union."""
    if field.nvmlReturn != 0:
        return refusal(field.nvmlReturn)
    if field.valueType not in range(len(VALUE_MEMBERS)):
        return Answer(Status.ERROR, None, f"value of unknown type {field.valueType}")
    return number(getattr(field.value, VALUE_MEMBERS[field.valueType]))


def number(value: float) -> Answer[float]:
    """Refuse what stands for "not available"."""
    if not math.isfinite(value) or value in _NOT_AVAILABLE:
        return Answer(Status.ERROR, None, "answered, but with no number")
    return answer(float(value))


def positive(value: float) -> Answer[float]:
    """Refuse zero as well: nothing that is asked for here can be 0 on a GPU that works."""
    checked = number(value)
    if checked.value is not None and checked.value <= 0:
        return Answer(Status.ERROR, None, f"answered {value:g}, which cannot be")
    return checked


def watts(milliwatts: float) -> Answer[float]:
    """Convert NVML's milliwatts, refusing what no GPU draws."""

    def converted(value: float) -> Answer[float]:
        if value * 1e-3 > _LARGEST_W:
            return Answer(Status.ERROR, None, f"answered {value * 1e-3:g} W, which cannot be")
        return answer(value * 1e-3)

    return positive(milliwatts).then(converted)
