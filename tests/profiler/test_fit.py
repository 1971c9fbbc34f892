"""Which installed versions do not fit together."""

from dataclasses import replace

import pytest

from perframe.engines.installed import Installed
from perframe.profiler.fit import fit

GPU_MACHINE = Installed(
    versions={"onnxruntime-gpu": "1.31.1", "tensorrt": "10.16.1", "cuda-bindings": "13.5.0"},
    cuda={"onnxruntime-gpu": 13, "tensorrt": 13, "cuda-bindings": 13},
    linked_tensorrt=10,
    driver="590.44.01",
    driver_cuda=(13, 1),
)


def with_versions(software: Installed, **versions: str) -> Installed:
    named = {name.replace("_", "-"): version for name, version in versions.items()}
    return replace(software, versions={**software.versions, **named})


def misfits(software: Installed) -> dict[str, tuple[str, str]]:
    return {each.name: (each.what, each.remedy) for each in fit(software) if not each.works}


def test_what_fits_is_said_with_the_versions() -> None:
    assert misfits(GPU_MACHINE) == {}
    said = " ".join(each.what for each in fit(GPU_MACHINE))
    for word in ("libnvinfer.so.10", "TensorRT 10.16.1", "built for CUDA 13", "590.44.01", "CUDA 13.1"):
        assert word in said
    assert not any(each.remedy for each in fit(GPU_MACHINE))


def test_the_tensorrt_provider_needs_its_own_major_version() -> None:
    what, remedy = misfits(with_versions(GPU_MACHINE, tensorrt="11.4.1"))["onnxruntime tensorrt"]
    assert "libnvinfer.so.10" in what and "11.4.1" in what
    assert "pip install 'tensorrt-cu13==10.*'" in remedy
    without = replace(GPU_MACHINE, versions={"onnxruntime-gpu": "1.31.1"}, cuda={})
    assert "no TensorRT" in misfits(without)["onnxruntime tensorrt"][0]


def test_a_driver_runs_its_own_cuda_and_older_ones() -> None:
    old = replace(GPU_MACHINE, driver="550.54.14", driver_cuda=(12, 4))
    found = misfits(old)
    assert found["cuda-bindings"][1] == "pip install 'cuda-bindings==12.*'"
    assert "R580" in found["onnxruntime-gpu"][1] and "CUDA 12.4" in found["onnxruntime-gpu"][0]
    assert misfits(replace(GPU_MACHINE, cuda={"torch": 12}, versions={"torch": "2.13.0+cu128"})).keys() <= {
        "onnxruntime tensorrt"
    }


def test_without_a_driver_nothing_is_held_against_it() -> None:
    nothing = replace(GPU_MACHINE, driver=None, driver_cuda=None)
    assert [each.name for each in fit(nothing)] == ["onnxruntime tensorrt"]


@pytest.mark.parametrize(("driver", "fits"), [("580.65.06", False), ("590.44.01", True)])
def test_tensorrt_11_needs_a_newer_driver_than_its_cuda_does(driver: str, fits: bool) -> None:
    software = replace(with_versions(GPU_MACHINE, tensorrt="11.4.1"), driver=driver, linked_tensorrt=None)
    assert ("tensorrt driver" not in misfits(software)) is fits


def test_wheels_that_exclude_each_other_or_the_gpu() -> None:
    both = with_versions(GPU_MACHINE, onnxruntime="1.31.1")
    assert "overwrite each other" in misfits(both)["onnxruntime"][0]
    cpu = replace(
        GPU_MACHINE,
        versions={"onnxruntime": "1.31.1", "torch": "2.13.0+cpu"},
        cuda={},
        linked_tensorrt=None,
    )
    assert misfits(cpu).keys() == {"onnxruntime", "torch"}
    assert misfits(replace(cpu, driver=None, driver_cuda=None)) == {}
