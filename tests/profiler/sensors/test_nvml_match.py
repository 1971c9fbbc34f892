"""Which GPU is meant: by name, and as CUDA counts."""

from collections.abc import Callable, Mapping

import pytest

from perframe.engines.clock import VirtualClock
from perframe.errors import UnavailableError, UsageError
from perframe.profiler.sensors.nvml import Nvml
from perframe.profiler.sensors.nvml_library import ErrorCode, NvmlLibrary
from perframe.profiler.sensors.nvml_match import Gpu, gpu_named, gpu_of_cuda, list_gpus
from perframe.profiler.sensors.simulated_gpu import SimulatedGpu, Simulation
from perframe.profiler.sensors.simulated_load import Load
from perframe.profiler.sensors.simulated_nvml import SimulatedNvml

SLOW = Gpu(0, "NVIDIA T4", "GPU-aaaa1111-0000-0000-0000-000000000000", (0, 1, 0))
FAST = Gpu(1, "NVIDIA A100", "GPU-aaaa2222-0000-0000-0000-000000000000", (0, 0x41, 0))
OTHER = Gpu(2, "NVIDIA A100", "GPU-bbbb3333-0000-0000-0000-000000000000", (1, 0x41, 0))
MIXED = [SLOW, FAST, OTHER]
EQUAL = [FAST, OTHER]
PCI = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("argument", "gpu"),
    [
        ("0", SLOW),
        ("2", OTHER),
        ("GPU-aaaa2222-0000-0000-0000-000000000000", FAST),
        ("GPU-BBBB", OTHER),
        ("41:00", FAST),
        ("0001:41:00.0", OTHER),
        ("00000000:01:00.0", SLOW),
    ],
)
def test_a_gpu_is_named_by_index_uuid_or_address(argument: str, gpu: Gpu) -> None:
    assert gpu_named(MIXED, argument) == gpu


@pytest.mark.parametrize(
    ("argument", "said"), [("3", "no GPU"), ("GPU-cccc", "no GPU"), ("GPU-aaaa", "several")]
)
def test_a_name_that_fits_no_single_gpu_lists_them(argument: str, said: str) -> None:
    with pytest.raises(UnavailableError, match=said) as caught:
        gpu_named(MIXED, argument)
    assert all(str(gpu) in caught.value.message for gpu in MIXED)


@pytest.mark.parametrize("argument", ["a100", "-1", "MIG-aaaa", "GPU_1", "1:2:3:4"])
def test_what_is_no_name_is_a_usage_error(argument: str) -> None:
    with pytest.raises(UsageError, match="expected an index"):
        gpu_named(MIXED, argument)


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        (PCI, MIXED),
        ({**PCI, "CUDA_VISIBLE_DEVICES": "2,0"}, [OTHER, SLOW]),
        ({**PCI, "CUDA_VISIBLE_DEVICES": " 1 , 2 "}, [FAST, OTHER]),
        ({**PCI, "CUDA_VISIBLE_DEVICES": "1,-1,2"}, [FAST]),
        ({**PCI, "CUDA_VISIBLE_DEVICES": "1,7,2"}, [FAST]),
        ({**PCI, "CUDA_VISIBLE_DEVICES": "1,what,2"}, [FAST]),
        ({**PCI, "CUDA_VISIBLE_DEVICES": "1,1"}, []),
        ({**PCI, "CUDA_VISIBLE_DEVICES": ""}, []),
        ({**PCI, "CUDA_VISIBLE_DEVICES": "-1"}, []),
        # UUIDs and their beginnings are plain whatever the order.
        ({"CUDA_VISIBLE_DEVICES": "GPU-bbbb,GPU-aaaa1"}, [OTHER, SLOW]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bbbb,GPU-aaaa"}, [OTHER]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bbbb,GPU-bbbb3"}, []),
    ],
)
def test_cuda_counts_as_its_environment_says(environment: Mapping[str, str], seen: list[Gpu]) -> None:
    assert [gpu_of_cuda(MIXED, ordinal, environment) for ordinal in range(len(seen))] == seen
    with pytest.raises(UnavailableError, match=f"CUDA sees {len(seen)} of 3"):
        gpu_of_cuda(MIXED, len(seen), environment)


@pytest.mark.parametrize(
    "environment", [{}, {"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}]
)
def test_different_gpus_in_cudas_own_order_are_not_guessed(environment: Mapping[str, str]) -> None:
    with pytest.raises(UnavailableError, match="fastest GPU first") as caught:
        gpu_of_cuda(MIXED, 0, environment)
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in caught.value.hint


def test_equal_gpus_stand_in_the_order_of_their_addresses() -> None:
    assert [gpu_of_cuda(EQUAL[::-1], ordinal, {}) for ordinal in (0, 1)] == EQUAL
    assert gpu_of_cuda(EQUAL, 0, {"CUDA_VISIBLE_DEVICES": "1"}) == OTHER


def test_a_mig_instance_is_refused() -> None:
    with pytest.raises(UnavailableError, match="MIG"):
        gpu_of_cuda(EQUAL, 0, {"CUDA_VISIBLE_DEVICES": "MIG-GPU-aaaa2222/1/0"})


def machine(*gpus: SimulatedGpu) -> Callable[[], NvmlLibrary]:
    library = SimulatedNvml([Simulation(gpu, Load()) for gpu in gpus])
    return lambda: library


T4 = SimulatedGpu("NVIDIA T4", uuid="GPU-1111", bus=1, idle_w=10.0)
A100 = SimulatedGpu("NVIDIA A100", uuid="GPU-2222", bus=2, idle_w=50.0)


def test_the_sensor_watches_the_gpu_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    sensor = Nvml("", "cuda:0", machine(T4, A100))
    with sensor.open(VirtualClock()) as reader:
        assert reader.read().power_w == pytest.approx(50.0)
    assert sensor.details["uuid"] == "GPU-2222"
    assert Nvml("", "cuda:1", machine(T4, A100)).details["uuid"] == "GPU-1111"


def test_another_gpu_than_the_engines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    reason = Nvml("GPU-2222", "cuda:0", machine(T4, A100)).unavailable()
    assert reason is not None and "NVIDIA A100" in reason and "runs on NVIDIA T4" in reason
    assert Nvml("GPU-2222", "cuda:1", machine(T4, A100)).unavailable() is None
    # Where CUDA's count cannot be told, the name is the user's word.
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    assert Nvml("1", "cuda:0", machine(T4, A100)).unavailable() is None
    assert "fastest" in (Nvml("", "cuda:0", machine(T4, A100)).unavailable() or "")


def test_cuda_itself_is_asked_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fastest_first = {0: "GPU-2222", 1: "GPU-1111"}.get
    assert Nvml("", "cuda:0", machine(T4, A100), fastest_first).details["uuid"] == "GPU-2222"
    assert Nvml("", "cuda:1", machine(T4, A100), fastest_first).details["uuid"] == "GPU-1111"


def test_gpus_that_may_not_be_opened_are_left_out() -> None:
    barred = SimulatedGpu(failures={"nvmlDeviceGetHandleByIndex": ErrorCode.NO_PERMISSION})
    assert [gpu.index for gpu in list_gpus(machine(barred, A100)())] == [1]
    with pytest.raises(UnavailableError, match="GPU 0: no permission"):
        list_gpus(machine(barred)())
