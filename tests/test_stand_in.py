"""The stand-in for CuPy refuses what CuPy refuses; and on it, every test of the device "cuda" passes."""

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strict_cupy
from strict_cupy import cupy

import scratchfcn as sf
from scratchfcn import backend

ROOT = Path(__file__).resolve().parent.parent


def gpu(*shape: int) -> Any:
    return cupy.arange(float(np.prod(shape))).reshape(shape)


# ---- to the host only when told ----------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [np.asarray, np.array, np.float64, memoryview])
def test_nothing_becomes_numpys_by_itself(convert: Any) -> None:
    with pytest.raises(TypeError):
        convert(gpu(2, 3))
    with pytest.raises(TypeError, match=r"Implicit conversion to a NumPy array is not allowed\. Please use"):
        np.asarray(gpu(2, 3))


def test_a_numpy_array_does_not_take_it_in() -> None:
    with pytest.raises(TypeError):
        np.zeros((2, 3))[...] = gpu(2, 3)
    with pytest.raises(TypeError):
        np.arange(3)[cupy.arange(3)]
    with pytest.raises(TypeError):
        [1, 2, 3][cupy.arange(3)[0]]
    with pytest.raises(TypeError):
        range(cupy.arange(3)[2])


@pytest.mark.parametrize("wait", [float, int, bool, str, repr, "{}".format, lambda x: x.item(), lambda x: x.get()])
def test_reading_a_number_waits(wait: Any) -> None:
    x = gpu(2, 3).sum()
    before = strict_cupy.synchronised()
    assert wait(x) in (15, True, "15.0", "array(15.)")
    assert strict_cupy.synchronised() == before + 1


def test_computing_does_not_wait() -> None:
    before = strict_cupy.synchronised()
    x = gpu(4, 3)
    x[1:] += cupy.matmul(x, x.T)[1:, :3]
    cupy.exp(-x, out=x)
    x.sum(axis=0).max()
    assert strict_cupy.synchronised() == before


def test_copies_go_both_ways() -> None:
    host = np.arange(6.0).reshape(2, 3)
    x = cupy.asarray(host)
    host[0, 0] = 9.0
    assert x[0, 0].item() == 0.0
    y = cupy.asnumpy(x)
    y[0, 0] = 8.0
    assert x[0, 0].item() == 0.0
    assert cupy.asarray(x) is x
    assert cupy.get_array_module(x) is cupy
    assert cupy.get_array_module(y) is np
    assert type(pickle.loads(pickle.dumps(x))) is type(copy.deepcopy(x)) is strict_cupy.ndarray


# ---- what does not mix -------------------------------------------------------------------------------------

HOST = np.ones((2, 3))


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + HOST,
        lambda x: HOST + x,
        lambda x: x == HOST,
        lambda x: x @ HOST.T,
        lambda x: x + np.asarray(1.0),
        lambda x: x.__iadd__(HOST),
        lambda x: cupy.maximum(x, HOST),
        lambda x: cupy.where(x > 0, x, HOST),
        lambda x: cupy.concatenate([x, HOST]),
        lambda x: cupy.sum(HOST),
        lambda x: cupy.exp(HOST),
        lambda x: cupy.zeros_like(HOST),
        lambda x: x.take(np.array([0])),
        lambda x: x * [1.0, 2.0, 3.0],
        lambda x: x + None,
    ],
)
def test_numpy_arrays_do_not_mix(mix: Any) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        mix(gpu(2, 3))


def test_outputs_lie_on_the_gpu() -> None:
    x = gpu(2, 3)
    for write in (
        lambda: cupy.add(x, 1, out=HOST),
        lambda: x.sum(axis=0, out=np.empty(3)),
        lambda: cupy.matmul(x, x.T, out=np.empty((2, 2))),
    ):
        with pytest.raises(TypeError, match="Output arguments type must be cupy"):
            write()
    with pytest.raises(TypeError):
        np.add(HOST, HOST, out=x)
    y = cupy.empty_like(x)
    assert cupy.add(x, 1, out=y) is y
    assert cupy.add(x, 1, y) is y


def test_numpy_arrays_are_neither_indices_nor_assigned() -> None:
    x = gpu(2, 3)
    with pytest.raises(TypeError, match="as an index"):
        x[np.array([0, 1])]
    with pytest.raises(ValueError, match="move it there first"):
        x[...] = HOST
    with pytest.raises(TypeError, match="Unsupported"):
        x[0] = [1.0, 2.0, 3.0]
    x[0], x[:, 1], x[x > 4] = 1, np.float64(2), 7.0
    assert x[[0, 1]].tolist() == [[1.0, 2.0, 1.0], [3.0, 2.0, 7.0]]


@pytest.mark.parametrize(
    "slip",
    [
        eval(compile("lambda x: np.exp(x)", str(ROOT / "scratchfcn" / "ops" / "x.py"), "eval")),
        lambda x: np.sum(x),
        lambda x: np.maximum(x, 0),
        lambda x: np.zeros_like(x),
        lambda x: np.add(x, x, out=x),
    ],
)
def test_a_call_of_numpy_in_our_files_is_a_slip(slip: Any) -> None:
    with pytest.raises(TypeError, match=r"np\.\w+ was called on an array of the GPU.*array_module"):
        slip(gpu(2, 3))


def test_elsewhere_numpys_functions_are_passed_on_as_cupy_passes_them(tmp_path: Path) -> None:
    theirs = {"np": np}
    exec(compile("def relu(x): return np.maximum(x, 0) + np.zeros_like(x)", str(tmp_path / "relu.py"), "exec"), theirs)
    assert theirs["relu"](-gpu(2, 3)).tolist() == [[0.0] * 3] * 2
    exec(compile("def mixed(x): return np.maximum(x, np.zeros(3))", str(tmp_path / "mixed.py"), "exec"), theirs)
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
        theirs["mixed"](gpu(2, 3))


def test_numbers_do_mix() -> None:
    x = gpu(2, 3).astype("float32")
    for y in (x + 1, 1 + x, 2.5 * x, x / np.float32(3), np.float32(3) * x, x**2, -x, abs(x), x > 1):
        assert type(y) is strict_cupy.ndarray
    assert (1 - x).tolist() == [[1, 0, -1], [-2, -3, -4]]


def test_a_tensor_does_its_arithmetic_itself() -> None:
    with strict_cupy.installed():
        x = sf.Tensor(gpu(2, 3))
        assert isinstance(gpu(2, 3) + x, sf.Tensor)


# ---- what CuPy's arrays are like ---------------------------------------------------------------------------


def test_reductions_and_elements_are_arrays_and_elements_are_views() -> None:
    x = gpu(2, 3)
    for y in (x.sum(), x.mean(), x.max(), x.argmax(), (x > 0).all(), cupy.sum(x), x[1, 2], next(iter(x[0]))):
        assert type(y) is strict_cupy.ndarray
        assert y.shape == ()
    corner = x[0, 0]
    corner += 5
    assert x[0, 0].item() == 5.0
    assert type(cupy.array_equal(x, x)) is strict_cupy.ndarray


@pytest.mark.parametrize(
    "missing",
    [
        lambda x: cupy.errstate,
        lambda x: cupy.testing,
        lambda x: x.ctypes,
        lambda x: x.flags.writeable,
        lambda x: x.byteswap,
        lambda x: x.setflags,
        lambda x: x.__array_interface__,
        lambda x: cupy.add.reduce,
    ],
)
def test_what_is_missing_is_missing(missing: Any) -> None:
    with pytest.raises(AttributeError):
        missing(gpu(2, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: cupy.add(x, x, where=x > 0),
        lambda x: x.sum(where=x > 0),
        lambda x: cupy.max(x, initial=0.0),
        lambda x: cupy.zeros(3, like=x),
        lambda x: cupy.take(x, cupy.arange(2), mode="clip"),
        lambda x: cupy.zeros(3, device="cpu"),
    ],
)
def test_settings_that_cupy_lacks_are_refused(call: Any) -> None:
    with pytest.raises(TypeError, match="takes no"):
        call(gpu(2, 3))


def test_a_gpu_divides_by_zero_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    x = gpu(2, 3)
    y = x / 0
    y /= 0
    cupy.log(x - 3)
    assert not recwarn.list


def test_layout_is_numpys_but_for_fresh_results() -> None:
    x = gpu(2, 3, 4)
    t = x.transpose(1, 0, 2)
    assert (t.shape, t.strides, t.flags.c_contiguous) == ((3, 2, 4), (32, 96, 8), False)
    assert (t + 1).flags.c_contiguous
    assert t.astype("float32").strides == (16, 48, 4)
    assert cupy.ascontiguousarray(t).flags.c_contiguous
    windows = cupy.lib.stride_tricks.as_strided(x, (2, 3), (8, 8))
    assert windows.tolist() == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    assert cupy.may_share_memory(windows, x)


def test_memory_is_counted_in_steps_of_512_bytes_and_given_back() -> None:
    pool = cupy.get_default_memory_pool()
    before = pool.used_bytes()
    x = cupy.zeros(100)
    y = x.reshape(10, 10)[1:]
    assert pool.used_bytes() - before == 1024
    del x
    assert pool.used_bytes() - before == 1024
    del y
    assert pool.used_bytes() == before


def test_what_needs_a_gpu_says_so() -> None:
    for name in ("RawKernel", "ElementwiseKernel", "ReductionKernel"):
        with pytest.raises(NotImplementedError, match=f"cupy.{name} needs a real GPU"):
            getattr(cupy, name)("", "", "", "")
    with pytest.raises(NotImplementedError, match="Event"):
        cupy.cuda.Event()
    with pytest.raises(strict_cupy.CUDARuntimeError):
        cupy.cuda.Device(1)


# ---- with the library --------------------------------------------------------------------------------------


def test_the_library_takes_it_for_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    with strict_cupy.installed():
        monkeypatch.setattr(backend, "cuda_problem", backend.cuda_problem.__wrapped__)  # not what was found before
        assert backend.cuda_problem() is None
        assert backend.resolve_device("cuda") == backend.resolve_device("auto") == "cuda:0"
        with pytest.raises(sf.DeviceError, match=r"1 GPU\(s\)"):
            backend.resolve_device("cuda:1")
        x = backend.to_device(HOST, "cuda")
        assert (backend.device_of(x), backend.array_module(x)) == ("cuda:0", cupy)
        assert isinstance(backend.to_numpy(x), np.ndarray)
        for device in ("cuda", "cuda:0"):
            backend.synchronize(device)


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("SCRATCHFCN_STAND_IN") == "1", reason="this is that run")
def test_every_test_for_a_gpu_passes_on_the_stand_in() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "-rs", "-k", "cuda or on_a_gpu", "-p", "no:cacheprovider", "tests"],
        cwd=ROOT,
        env={**os.environ, "SCRATCHFCN_STAND_IN": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-6000:]
    passed = int(re.search(r"(\d+) passed", run.stdout)[1])
    assert passed > 300, run.stdout[-500:]
    assert "no CUDA here" not in run.stdout
