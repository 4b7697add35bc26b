"""Checkpoints: what goes in comes out, a kill never costs both files, and no file's code is ever run."""

import errno
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file as torch_save_file

from scratchfcn.backend import to_device
from scratchfcn.weights import CheckpointError, load, save

# --- round trips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_arrays_come_back_equal(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    save(tmp_path / "w.safetensors", {"a.weight": x})
    back = load(tmp_path / "w.safetensors").arrays["a.weight"]
    assert (back.dtype, back.shape) == (x.dtype, x.shape)
    np.testing.assert_array_equal(back, x)


def test_strided_arrays_and_arrays_on_a_device(tmp_path: Path, device: str) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    views = {
        "transposed": x.transpose(2, 0, 1),
        "steps": x[:, ::2],
        "reversed": x[..., ::-1],
        "swapped": x.astype(">f8"),
    }
    save(
        tmp_path / "w.safetensors",
        {n: to_device(v.astype("f8", copy=False), device) for n, v in views.items()},
    )
    arrays = load(tmp_path / "w.safetensors").arrays
    for name, view in views.items():
        np.testing.assert_array_equal(arrays[name], view)


def test_metadata_comes_back(tmp_path: Path) -> None:
    state = np.random.default_rng(3).bit_generator.state  # holds integers of 128 bits
    metadata = {"epoch": 3, "rng": state, "best": None, "lr": [0.1, 1e-300], "nested": {"ü": True}}
    save(tmp_path / "w.safetensors", {}, metadata)
    assert load(tmp_path / "w.safetensors").metadata == metadata


def test_numpy_values_and_paths_in_the_metadata_become_plain(tmp_path: Path) -> None:
    save(tmp_path / "w.safetensors", {}, {"iu": np.float32(0.5), "n": np.arange(2), "path": Path("a")})
    assert load(tmp_path / "w.safetensors").metadata == {"iu": 0.5, "n": [0, 1], "path": "a"}
    with pytest.raises(TypeError, match="holds a set"):
        save(tmp_path / "w.safetensors", {}, {"x": {1}})


def test_foreign_safetensors_with_bfloat16(tmp_path: Path) -> None:
    x = torch.randn(3, 4).bfloat16()
    torch_save_file({"x": x, "y": torch.ones(2)}, tmp_path / "w.safetensors", {"format": "pt"})
    checkpoint = load(tmp_path / "w.safetensors")
    assert checkpoint.metadata == {"format": "pt"}
    np.testing.assert_array_equal(checkpoint.arrays["x"], x.float().numpy())
    np.testing.assert_array_equal(checkpoint.arrays["y"], [1, 1])


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.arange(3), b=np.float32(2))
    arrays = load(tmp_path / "w.npz").arrays
    np.testing.assert_array_equal(arrays["a"], [0, 1, 2])
    assert arrays["b"].shape == ()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model"])
def test_torch_files(tmp_path: Path, zipped: bool, key: str | None) -> None:
    state = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).state_dict()
    content = state if key is None else {key: state, "epoch": 7, "optimizer": {"lr": [1]}}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    checkpoint = load(tmp_path / "w.pth")
    assert checkpoint.metadata == ({} if key is None else {"epoch": 7})
    assert list(checkpoint.arrays) == list(state)
    for name, x in checkpoint.arrays.items():
        np.testing.assert_array_equal(x, state[name].numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_torch_tensors_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    x = torch.randn(4, 3).to(dtype).T  # not contiguous either
    torch.save({"x": torch.nn.Parameter(x)}, tmp_path / "w.pt")
    back = load(tmp_path / "w.pt").arrays["x"]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, x.float().numpy())


# --- a kill in the middle of a save -------------------------------------------------------------------------

SAVER = """
    import itertools, sys
    import numpy as np
    from scratchfcn.weights import save
    for version in itertools.count(int(sys.argv[2])):
        save(sys.argv[1], {"x": np.full(300_000, version)}, {"version": version})
        print(version, flush=True)
"""


def test_a_kill_at_any_instant_leaves_a_whole_file(tmp_path: Path) -> None:
    path, moments, version = tmp_path / "last.safetensors", random.Random(0), 0
    for _ in range(12):
        command = [sys.executable, "-c", textwrap.dedent(SAVER), str(path), str(version)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()  # the first save is complete: from now on saves follow each other
            time.sleep(moments.uniform(0, 0.05))
            process.kill()
            finished = process.stdout.read().split()  # a line may be cut short by the kill, a file may not
        checkpoint = load(path)
        assert len(set(checkpoint.arrays["x"])) == 1
        assert checkpoint.arrays["x"][0] == checkpoint.metadata["version"]
        assert checkpoint.metadata["version"] >= (int(finished[-2]) if len(finished) > 1 else version)
        version = checkpoint.metadata["version"]
    save(path, {})
    assert os.listdir(tmp_path) == ["last.safetensors"]  # what the kills left behind is gone


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX only")
def test_a_kill_between_writing_and_renaming(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save(path, {"x": np.zeros(3)})
    program = """
        import os, signal, sys
        import numpy as np
        from scratchfcn.weights import save
        os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
        save(sys.argv[1], {"x": np.ones(3)})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2  # the temporary file was complete
    np.testing.assert_array_equal(load(path).arrays["x"], 0)
    save(path, {"x": np.ones(3)})
    assert os.listdir(tmp_path) == [path.name]


def disk_full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "last[1].safetensors"
    save(path, {"x": np.zeros(3)})  # makes the folder
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save(path, {"x": np.ones(3)})
    assert os.listdir(path.parent) == [path.name]
    np.testing.assert_array_equal(load(path).arrays["x"], 0)


def test_only_safetensors_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        save(tmp_path / "w.pth", {})


# --- files that are no good ---------------------------------------------------------------------------------


class Evil:
    """Pickled, this is a program that makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class EvilExec(Evil):
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


@pytest.mark.parametrize("evil", [Evil, EvilExec])
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle2", "pickle5"])
def test_a_malicious_pickle_is_not_executed(tmp_path: Path, evil: type[Evil], how: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "w.pth"
    content = {"state_dict": {"x": torch.ones(2)}, "extra": evil(marker)}
    if how.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(how[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(CheckpointError, match="pickle that would run code") as error:
        load(path)
    assert str(path) in str(error.value)
    assert "fix:" in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 2, 5])  # the first is text
@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "w.pt", "w.pth.tar", "w.caffemodel"])
def test_a_malicious_pickle_under_any_name_is_not_executed(tmp_path: Path, name: str, protocol: int) -> None:
    marker = tmp_path / "marker"
    (tmp_path / name).write_bytes(pickle.dumps(Evil(marker), protocol))
    with pytest.raises(CheckpointError):
        load(tmp_path / name)
    assert not marker.exists()


def test_npz_with_objects_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    np.savez(tmp_path / "w.npz", x=np.array([Evil(marker)], dtype=object), y=np.ones(2))
    with pytest.raises(CheckpointError, match="pickled Python objects"):
        load(tmp_path / "w.npz")
    assert not marker.exists()


def test_a_whole_pickled_torch_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"(?s)torch\.nn\.modules\.linear\.Linear.*model\.state_dict"):
        load(tmp_path / "w.pth")


def whole_file(path: Path) -> bytes:
    if path.suffix == ".safetensors":
        save(path, {"x": np.arange(1000.0)}, {"a": 1})
    elif path.suffix == ".npz":
        np.savez(path, x=np.arange(1000.0))
    else:
        torch.save({"x": torch.arange(1000.0)}, path, _use_new_zipfile_serialization="old" not in path.name)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pth", "old.pth"])
@pytest.mark.parametrize("keep", [1, 7, 9, 60, 700, -200, -1])
def test_a_truncated_file_says_so(tmp_path: Path, name: str, keep: int) -> None:
    path = tmp_path / name
    path.write_bytes(whole_file(path)[:keep])
    with pytest.raises(CheckpointError, match="cut short, damaged") as error:
        load(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("made_as", ["w.safetensors", "w.npz", "w.pth"])
@pytest.mark.parametrize("named", ["x.safetensors", "x.npz", "x.pth", "x.caffemodel"])
def test_a_file_under_the_wrong_suffix_is_recognised(tmp_path: Path, made_as: str, named: str) -> None:
    if Path(made_as).suffix == Path(named).suffix:
        return
    (tmp_path / named).write_bytes(whole_file(tmp_path / made_as))
    with pytest.raises(CheckpointError, match=f"looks like a {Path(made_as).suffix} file"):
        load(tmp_path / named)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    """A safetensors file begins with the length of its header; 128 in its lowest byte is how pickles begin."""
    for extra in range(300):
        path = tmp_path / "model.safetensors"
        save(path, {"w": np.ones(3)}, {"note": "x" * extra})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    assert (load(path).arrays["w"] == 1).all()


def test_missing_empty_folder_and_unknown(tmp_path: Path) -> None:
    save(tmp_path / "best.safetensors", {})
    (tmp_path / "empty.npz").touch()
    (tmp_path / "w.h5").write_text("hello")
    for name, message in {
        "bset.safetensors": r"no such file\n  beside it: best\.safetensors",
        ".": r"is a folder.*\n  fix: name the file",
        "empty.npz": r"is empty \(0 bytes\)",
        "w.h5": r"'\.h5' is no known kind",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            load(tmp_path / name)


def test_torch_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    torch.save([1, 2], tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"no tensors by name \(keys: epoch\)"):
        load(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="no tensors by name"):
        load(tmp_path / "b.pth")


def test_torch_file_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"x": torch.ones(2)}, tmp_path / "w.pth")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CheckpointError, match=r'pip install -e "\.\[torch\]"'):
        load(tmp_path / "w.pth")
