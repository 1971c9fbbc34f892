"""The seam to NVML against the real pynvml: every name and number used exists there and means the same."""

import inspect

import pytest

from perframe.profiler.sensors import nvml_library
from perframe.profiler.sensors.nvml_answers import Answer, Status, field_number
from perframe.profiler.sensors.nvml_library import (
    VALUE_MEMBERS,
    ErrorCode,
    EventReason,
    NvmlLibrary,
    ThrottleField,
    Virtualization,
    load_pynvml,
)
from perframe.profiler.sensors.simulated_nvml import SimulatedNvml

pynvml = pytest.importorskip("pynvml")

FUNCTIONS = sorted(name for name in vars(NvmlLibrary) if name.startswith("nvml"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_exist_and_take_what_they_are_given(name: str) -> None:
    ours = len(inspect.signature(getattr(NvmlLibrary, name)).parameters) - 1
    for library in (pynvml, SimulatedNvml([])):
        arguments = inspect.signature(inspect.unwrap(getattr(library, name))).parameters.values()
        required = [argument for argument in arguments if argument.default is argument.empty]
        assert len(required) <= ours <= len(arguments)


def test_there_are_functions_to_check() -> None:
    assert len(FUNCTIONS) > 25


@pytest.mark.parametrize("code", ErrorCode)
def test_return_codes(code: ErrorCode) -> None:
    assert getattr(pynvml, f"NVML_ERROR_{code.name}") == code
    raised = pynvml.NVMLError(code.value)
    assert raised.value == code
    assert isinstance(raised, load_pynvml().NVMLError)


@pytest.mark.parametrize("field", ThrottleField)
def test_throttle_fields(field: ThrottleField) -> None:
    assert getattr(pynvml, f"NVML_FI_DEV_CLOCKS_EVENT_REASON_{field.name}", field) == field


def test_throttle_fields_of_older_names() -> None:
    assert pynvml.NVML_FI_DEV_PERF_POLICY_POWER == ThrottleField.SW_POWER_CAP
    assert pynvml.NVML_FI_DEV_PERF_POLICY_SYNC_BOOST == ThrottleField.SYNC_BOOST


@pytest.mark.parametrize("reason", EventReason)
def test_event_reasons(reason: EventReason) -> None:
    assert getattr(pynvml, f"nvmlClocksEventReason{reason.name}") == reason


@pytest.mark.parametrize("mode", Virtualization)
def test_virtualization_modes(mode: Virtualization) -> None:
    assert getattr(pynvml, f"NVML_GPU_VIRTUALIZATION_MODE_{mode.name}") == mode


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("POWER_AVERAGE", "NVML_FI_DEV_POWER_AVERAGE"),
        ("POWER_INSTANT", "NVML_FI_DEV_POWER_INSTANT"),
        ("SCOPE_GPU", "NVML_POWER_SCOPE_GPU"),
        ("SCOPE_MODULE", "NVML_POWER_SCOPE_MODULE"),
        ("CLOCK_SM", "NVML_CLOCK_SM"),
        ("CLOCK_ID_APP_CLOCK_TARGET", "NVML_CLOCK_ID_APP_CLOCK_TARGET"),
        ("TEMPERATURE_GPU", "NVML_TEMPERATURE_GPU"),
        ("MIG_ENABLE", "NVML_DEVICE_MIG_ENABLE"),
    ],
)
def test_numbers(ours: str, theirs: str) -> None:
    assert getattr(nvml_library, ours) == getattr(pynvml, theirs)


def test_members_of_the_union_stand_in_the_order_of_its_types() -> None:
    assert [name for name, _ in pynvml.c_nvmlValue_t._fields_] == list(VALUE_MEMBERS)
    types = (
        "DOUBLE",
        "UNSIGNED_INT",
        "UNSIGNED_LONG",
        "UNSIGNED_LONG_LONG",
        "SIGNED_LONG_LONG",
        "SIGNED_INT",
    )
    for index, name in enumerate((*types, "UNSIGNED_SHORT")):
        assert getattr(pynvml, f"NVML_VALUE_TYPE_{name}") == index
    given = {name for name, _ in pynvml.c_nvmlFieldValue_t._fields_}
    assert {"nvmlReturn", "valueType", "value"} <= given
    place = {name for name, _ in pynvml.nvmlPciInfo_t._fields_}
    assert {"domain", "bus", "device"} <= place


@pytest.mark.parametrize(
    ("member", "number"), [("dVal", 59.9), ("uiVal", 59_900), ("ullVal", 2**40), ("sllVal", -5), ("usVal", 7)]
)
def test_numbers_come_out_of_the_real_union(member: str, number: float) -> None:
    field = pynvml.c_nvmlFieldValue_t()
    field.fieldId, field.scopeId = ThrottleField.SW_POWER_CAP, 1  # as pynvml fills it from what it is given
    field.valueType = VALUE_MEMBERS.index(member)
    setattr(field.value, member, number)
    assert field_number(field) == Answer(Status.OK, float(number))
    field.nvmlReturn = ErrorCode.NO_PERMISSION
    assert field_number(field).status is Status.NO_PERMISSION
