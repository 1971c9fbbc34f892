import argparse
import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from perframe.errors import InputError, UnavailableError
from perframe.export.architecture import make_architecture
from perframe.export.checkpoint import load_checkpoint, save_checkpoint
from perframe.export.networks import new_network

State = dict[str, torch.Tensor]


def _state() -> State:
    return {
        "conv.weight": torch.full((2, 3, 1, 1), 0.5),
        "bn.weight": torch.ones(2),
        "fc.weight": torch.ones(4, 2),
    }


def _saved(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.pth.tar", "a.safetensors", "a.bin", "a"])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_formats_are_told_by_content(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if kind == "safetensors":
        save_file(_state(), path)
    else:
        torch.save(_state(), path, _use_new_zipfile_serialization=kind == "zip")
    checkpoint = load_checkpoint(path)
    assert list(checkpoint.shapes) == (sorted(_state()) if kind == "safetensors" else list(_state()))
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in _state().items())
    assert (checkpoint.wrapper, checkpoint.prefix, checkpoint.stored_dtype) == (None, "", "float32")
    assert len(checkpoint.sha256) == 64


@pytest.mark.parametrize(
    ("content", "wrapper", "passed_over"),
    [
        (
            {"state_dict": _state(), "epoch": 3, "optimizer": {"state": {0: {"m": torch.ones(3)}}}},
            "state_dict",
            (),
        ),
        ({"model": _state(), "best": torch.tensor(0.7)}, "model", ()),
        ({"model_state_dict": _state(), "args": argparse.Namespace(lr=0.1)}, "model_state_dict", ()),
        ({"net": _state()}, "net", ()),
        ({"ema": {"state_dict": _state(), "decay": 0.99}}, "ema.state_dict", ()),
        ({"ema_state_dict": _state(), "state_dict": _state()}, "state_dict", ("ema_state_dict",)),
        ({"model_ema": _state(), "model": {"module": _state()}}, "model.module", ("model_ema",)),
        ({"my_own_key": _state(), "optimizer": {"a": torch.ones(2)}}, "my_own_key", ()),
        (collections.OrderedDict(_state()), None, ()),
    ],
)
def test_the_state_dict_is_found(
    content: Any, wrapper: str | None, passed_over: tuple[str, ...], tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(_saved(content, tmp_path / "a.pth"))
    assert list(checkpoint.tensors) == list(_state())
    assert (checkpoint.wrapper, checkpoint.passed_over) == (wrapper, passed_over)


@pytest.mark.parametrize(
    ("prefix", "cut"),
    [("module.", "module."), ("module._orig_mod.", "module._orig_mod."), ("model.", "model."), ("own.", "")],
)
def test_common_prefixes_are_cut(prefix: str, cut: str, tmp_path: Path) -> None:
    state = {prefix + name: tensor for name, tensor in _state().items()}
    checkpoint = load_checkpoint(_saved({"n_averaged": torch.tensor(3), **state}, tmp_path / "a.pth"))
    assert checkpoint.prefix == cut
    assert list(checkpoint.tensors) == [name.removeprefix(cut) for name in state]
    assert list(checkpoint.buffers) == ["n_averaged"]


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    state = {"model.0.0.weight": torch.ones(2, 3, 1, 1), "fc.weight": torch.ones(4, 2)}
    assert list(load_checkpoint(_saved(state, tmp_path / "a.pth")).tensors) == list(state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_other_precisions_become_float32(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    state = {name: tensor.to(dtype) for name, tensor in _state().items()}
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.stored_dtype == str(dtype).removeprefix("torch.")
    assert {tensor.dtype for tensor in checkpoint.tensors.values()} == {torch.float32}
    assert torch.equal(checkpoint.tensors["conv.weight"], _state()["conv.weight"])


def test_counters_are_kept_apart(tmp_path: Path) -> None:
    state = {**_state(), "bn.num_batches_tracked": torch.tensor(7), "index": torch.arange(4).reshape(2, 2)}
    checkpoint = load_checkpoint(_saved(state, tmp_path / "a.pth"))
    assert list(checkpoint.tensors) == list(_state())
    assert list(checkpoint.buffers) == ["bn.num_batches_tracked", "index"]


def test_a_saved_network_is_read_back_and_equal_networks_give_equal_files(tmp_path: Path) -> None:
    architecture = make_architecture("mobilenet-v1", group_size=8, width=0.25)
    network = new_network(architecture, seed=0, input_size=(32, 32))
    save_checkpoint(tmp_path / "a.pth.tar", network, architecture)
    save_checkpoint(tmp_path / "b.pth.tar", network, architecture)
    checkpoint = load_checkpoint(tmp_path / "a.pth.tar")
    assert checkpoint.sha256 == load_checkpoint(tmp_path / "b.pth.tar").sha256
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in checkpoint.tensors.items())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.pth.tar", "b.pth.tar"]


# Bad input


def _refused(path: Path, *told: str) -> InputError:
    with pytest.raises(InputError) as raised:
        load_checkpoint(path)
    for words in (str(path), *told):
        assert words in raised.value.message
    assert "weights_only" not in str(raised.value) and "safe_globals" not in str(raised.value)
    return raised.value


def test_missing_directory_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    _refused(tmp_path / "none.pth", "No such file")
    _refused(tmp_path, "directory")
    _refused(tmp_path / "empty.pth", "empty file")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_file_cut_off_anywhere(kind: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    state = {f"w{i}": torch.rand(40, 40) for i in range(10)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    _refused(path, "cut off")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_flipped_bytes_never_end_in_anything_but_an_input_error(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    if kind == "safetensors":
        save_file(_state(), path)
    else:
        torch.save(_state(), path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for position in generator.integers(0, min(len(content), 1200), 4):
            damaged[position] = generator.integers(0, 256)
        path.write_bytes(damaged)
        with suppress(InputError):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "Keras"),
        (b"hello, world, this is some text", "neither"),
        (b"PK\x03\x04" + bytes(200), "cut off or corrupt"),
        (struct.pack("<Q", 2**60) + b"{" + bytes(64), "cut off or corrupt"),
        (b"\x80\x02" + bytes(64), "cut off or corrupt"),
    ],
)
def test_what_is_no_checkpoint_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    _refused(path, told)


def test_an_onnx_file_is_sent_to_the_right_command(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08\x0a\x12\x07pytorch" + bytes(64))
    assert "perframe profile" in _refused(path, "ONNX file").hint


def _zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_a_zip_bomb(tmp_path: Path) -> None:
    entries = {"archive/data.pkl": b"\x80\x02}.", "archive/data/0": bytes(50_000_000)}
    _refused(_zip(tmp_path / "a.pth", entries, zipfile.ZIP_DEFLATED), "zip bomb")


def test_too_many_entries(tmp_path: Path) -> None:
    entries = {f"archive/{index}": b"" for index in range(20_001)}
    _refused(_zip(tmp_path / "a.pth", entries), "20001 entries")


def test_an_absurd_description(tmp_path: Path) -> None:
    _refused(_zip(tmp_path / "a.pth", {"archive/data.pkl": bytes(65 * 1024 * 1024)}), "description takes")


def test_any_other_zip(tmp_path: Path) -> None:
    _refused(_zip(tmp_path / "a.pth", {"holiday.jpg": b"abc"}), "without a data.pkl")


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self._marker),))


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain pickle", "protocol 4"])
def test_a_pickle_that_runs_code_runs_nothing(kind: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "a.pth", tmp_path / "it_ran"
    content = {"state_dict": _state(), "payload": _Hostile(marker)}
    if "p" in kind and kind != "zip":
        path.write_bytes(pickle.dumps(_Hostile(marker), protocol=2 if kind == "plain pickle" else 4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    error = _refused(path)
    if kind in ("zip", "legacy"):
        assert "imports posix.mkdir; nothing of it was run" in error.message
    assert "state_dict()" in error.hint
    assert not marker.exists()


def test_a_whole_pickled_network(tmp_path: Path) -> None:
    error = _refused(_saved(torch.nn.Linear(2, 2), tmp_path / "a.pth"), "torch.nn.modules.linear.Linear")
    assert "torch.save(model.state_dict(), FILE)" in error.hint


def test_a_torchscript_program(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; its files remain
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)
    assert "ONNX" in _refused(path, "TorchScript").hint


def test_a_tensor_expanded_beyond_its_storage(tmp_path: Path) -> None:
    state = {**_state(), "huge": torch.zeros(1).expand(10**6, 10**6)}
    _refused(_saved(state, tmp_path / "a.pth"), "'huge'", "beyond what the file stores")


def test_many_tensors_over_one_storage(tmp_path: Path) -> None:
    storage = torch.zeros(100_000)
    state = {f"w{index}": storage.view(100, 1000) for index in range(100)}
    _refused(_saved(state, tmp_path / "a.pth"), "its tensors claim 40000000 bytes")


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (torch.ones(3, 3).to_sparse(), "sparse"),
        (torch.ones(3, 3, device="meta"), "meta device"),
        (torch.ones(3, dtype=torch.complex64), "complex"),
        (torch.ones(3, 3, 1, 1, dtype=torch.int64), "int64 integers"),
        (torch.ones(3, dtype=torch.int8), "int8 integers"),
        (torch.tensor([1.0, float("nan"), float("nan")]), "odd (2 NaN, 0 infinite of 3)"),
        (torch.tensor([1.0, float("inf"), float("-inf")]), "odd (0 NaN, 2 infinite of 3)"),
        (torch.tensor([1e300, 1.0], dtype=torch.float64), "odd (0 NaN, 1 infinite of 2)"),
    ],
)
def test_tensors_that_are_no_weights(tensor: torch.Tensor, told: str, tmp_path: Path) -> None:
    _refused(_saved({**_state(), "odd": tensor}, tmp_path / "a.pth"), told)


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3}, [1, 2], 7, {"loss": torch.tensor(1.0)}, {"model": {"model": {}}}]
)
def test_nothing_to_load(content: Any, tmp_path: Path) -> None:
    _refused(_saved(content, tmp_path / "a.pth"), "no ")


def test_a_dictionary_inside_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path = tmp_path / "a.pth"
    path.write_bytes(buffer.getvalue())
    _refused(path, "no tensors found")


def test_an_unreadable_file_is_a_matter_of_permission(tmp_path: Path) -> None:
    path = _saved(_state(), tmp_path / "a.pth")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads everything")
    with pytest.raises(UnavailableError):
        load_checkpoint(path)


def test_without_torch_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from perframe.errors import UnavailableError\n"
        "try:\n    import perframe.export.checkpoint\n"
        "except UnavailableError as error:\n    assert 'perframe[torch]' in error.hint\n"
        "else:\n    raise SystemExit('torch was found')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_pure_files_do_not_import_torch() -> None:
    program = (
        "import sys\n"
        "import perframe.export.architecture, perframe.export.recognise, perframe.export.signatures\n"
        "import perframe.export.archive\n"
        "assert not {'torch', 'onnx', 'numpy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
