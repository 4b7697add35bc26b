"""The exercises: every blank says that it is not written, every solution passes, mistakes are caught and named."""

import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scratchfcn.backend import cuda_problem
from scratchfcn.cuda import kernels
from scratchfcn.learn import EXERCISES, Exercise, Result, find, run, trial
from scratchfcn.learn.exercise import functions_of

NAMES = [exercise.path.name for exercise in EXERCISES]
each = pytest.mark.parametrize("exercise", EXERCISES, ids=NAMES)


def result_of(exercise: Exercise, source: str, folder: Path, device: str = "cpu") -> Result:
    """Check `source` as if a learner had written it."""
    file = folder / exercise.file_name
    file.write_text(source, encoding="utf-8")
    return run(exercise, file, device=device)


# --- every exercise -----------------------------------------------------------------------------------------


def test_they_are_numbered_from_1() -> None:
    assert [e.number for e in EXERCISES] == [f"{i:02}" for i in range(1, len(EXERCISES) + 1)]
    assert len(EXERCISES) >= 7


@each
def test_every_blank_says_that_it_is_not_written(exercise: Exercise, tmp_path: Path) -> None:
    result = result_of(exercise, exercise.blank, tmp_path)
    assert not result.passed
    name = next(iter(exercise.functions))
    assert f"\n  {exercise.number} {name}: not written yet\n" in result.text
    assert result.text.endswith(f"hint: scratchfcn learn hint {exercise.number}")
    assert len(result.text.splitlines()) == 4  # and nothing else
    assert "noqa" not in exercise.blank
    for name in exercise.functions:
        assert f'raise NotImplementedError("{exercise.number} {name}: not written yet")' in exercise.blank


@each
def test_every_solution_passes(exercise: Exercise, tmp_path: Path) -> None:
    start = time.perf_counter()
    result = result_of(exercise, exercise.solution, tmp_path)
    assert result.passed, result.text
    assert result.text.startswith(f"✓ {exercise.number} {exercise.title}\n  ✓ ")
    assert time.perf_counter() - start < 20  # all of them together are to stay below a minute; most take 0.1 s


@each
def test_solutions_pass_with_other_random_cases(exercise: Exercise, tmp_path: Path) -> None:
    file = tmp_path / exercise.file_name
    file.write_text(exercise.solution, encoding="utf-8")
    for seed in (1, 2):
        result = run(exercise, file, seed=seed)
        assert result.passed, result.text


@each
def test_solutions_pass_on_a_gpu(exercise: Exercise, tmp_path: Path) -> None:
    problem = cuda_problem()
    if problem is not None:
        pytest.skip(f"no CUDA here: {problem}")
    result = result_of(exercise, exercise.solution, tmp_path, "cuda:0")
    assert result.passed, result.text


class Foreign(np.lib.mixins.NDArrayOperatorsMixin):
    """An array as strict as CuPy's: NumPy's functions take it, as they take CuPy's, but it is never made NumPy's."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **settings: Any) -> Any:
        if any(isinstance(x, np.ndarray) and x.ndim for x in (*inputs, *(out or ()))):
            raise TypeError("NumPy's arrays and foreign ones do not mix")
        if out is not None:
            settings["out"] = tuple(own(x) for x in out)
        return foreign(getattr(ufunc, method)(*own(inputs), **own(settings)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return foreign(function(*own(args), **own(kwargs)))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # __array_interface__ would let NumPy in by the back door
            raise AttributeError(name)
        found = getattr(self.array, name)
        return (lambda *a, **k: foreign(found(*own(a), **own(k)))) if callable(found) else foreign(found)

    def __getitem__(self, key: Any) -> Any:
        return foreign(np.asarray(self.array[own(key)]))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array[own(key)] = own(value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self.array)))

    def __len__(self) -> int:
        return len(self.array)

    def __bool__(self) -> bool:
        return bool(self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __float__(self) -> float:
        return float(self.array)

    def __index__(self) -> int:
        return self.array.__index__()


def own(x: Any) -> Any:
    """NumPy's arrays in place of foreign ones, also within tuples, lists and dictionaries."""
    if isinstance(x, dict):
        return {name: own(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return type(x)(own(value) for value in x)
    return x.array if isinstance(x, Foreign) else x


def foreign(x: Any) -> Any:
    if isinstance(x, np.ndarray | np.generic):
        return Foreign(np.asarray(x))
    return type(x)(foreign(value) for value in x) if isinstance(x, list | tuple) else x


class ForeignModule(ModuleType):
    """NumPy's functions for foreign arrays."""

    ndarray = Foreign
    asnumpy = staticmethod(own)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type):
            return found
        return lambda *args, **settings: foreign(found(*own(args), **own(settings)))


@pytest.fixture
def foreign_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for CuPy where there is no GPU: the device "cuda:0" holds foreign arrays."""
    monkeypatch.setitem(sys.modules, "cupy", ForeignModule("cupy"))
    monkeypatch.setattr(trial, "to_device", lambda x, device: Foreign(x))
    monkeypatch.setattr(kernels, "_enabled", False)  # there is no compiler behind this one


@pytest.mark.parametrize("exercise", EXERCISES[:13], ids=NAMES[:13])  # 14 moves a model, and needs a real device
@pytest.mark.usefixtures("foreign_arrays")
def test_solutions_pass_with_arrays_that_are_not_numpys(exercise: Exercise, tmp_path: Path) -> None:
    result = result_of(exercise, exercise.solution, tmp_path, "cuda:0")
    assert result.passed, result.text


@pytest.mark.usefixtures("foreign_arrays")
def test_numpys_arrays_on_a_gpu_are_one_clear_message(tmp_path: Path) -> None:
    relu = find("06")
    numpys = relu.solution.replace("np.maximum(x, 0)", "np.zeros(x.shape, x.dtype)")
    text = result_of(relu, numpys, tmp_path, "cuda:0").text
    assert "relu: y is a NumPy array, but the arguments were CuPy's\n    fix: create arrays with np.zeros_like" in text
    text = result_of(relu, relu.solution.replace("(x, 0)", "(np.asarray(x), 0)"), tmp_path, "cuda:0").text
    assert "relu raises TypeError: Implicit conversion" in text
    assert "fix: on a GPU, np.asarray and np.zeros make NumPy arrays; use np.zeros_like(x, shape=…)" in text


@each
def test_there_are_three_hints_that_go_further_each_time(exercise: Exercise) -> None:
    assert len(exercise.hints) == 3
    assert all(len(hint) > 60 for hint in exercise.hints)
    assert all(len(line) <= 120 for hint in exercise.hints for line in hint.splitlines())


@each
def test_blank_and_solution_ask_for_the_same_functions(exercise: Exercise) -> None:
    assert exercise.solution.startswith(f'"""{exercise.number} · {exercise.title}\n')
    assert functions_of(exercise.solution) == exercise.functions == functions_of(exercise.blank)


@each
def test_no_exercise_needs_another(exercise: Exercise) -> None:
    for source in (exercise.blank, exercise.solution, exercise.check_path.read_text(encoding="utf-8")):
        imports = re.findall(r"^\s*(?:from|import) ([\w.]+)", source, flags=re.MULTILINE)
        packages = {name.partition(".")[0] for name in imports}
        assert packages <= {"numpy", "scratchfcn", *sys.stdlib_module_names}
        assert not any(re.search(r"\d\d_", name) for name in imports)


# --- planted mistakes: the solution with one thing wrong, and what has to be said ---------------------------

PLANTED = [
    ("01", "// stride + 1", "// stride", "the first window is not counted"),
    ("01", "2 * padding", "padding", "padding is counted once"),
    ("01", " + 2 * padding", "", "padding is not counted"),
    ("01", "dilation * (kernel - 1) + 1", "dilation * kernel", "the span is dilation · (kernel - 1) + 1"),
    ("01", "dilation * (kernel - 1) + 1", "kernel", "dilation is not counted"),
    ("01", "// stride + 1", "/ stride + 1", "a float, 3.0; an int is expected"),
    ("01", "(size + 2 * padding - span) // stride", "-(-(size + 2 * padding - span) // stride)", "rounded up"),
    ("01", " // stride", "", "the stride is not counted"),
    ("02", " + b[:, None, None]", "", "the bias is left out"),
    ("02", "window, w, axes", "window, w[:, :, ::-1, ::-1], axes", "the kernel is turned"),
    ("02", "oh * stride, ow * stride", "oh, ow", "the stride is ignored"),
    ("02", "top, left = oh", "left, top = oh", "yours, y[0,0,:,:]"),
    ("02", "(padding, padding)))", '(padding, padding)), mode="edge")', "only the border is wrong"),
    ("02", "np.zeros_like(x, shape=(N, OC, OH, OW))", "np.zeros((N, OC, OH, OW))", "y is float64, expected float32"),
    ("02", "return y + b[:, None, None]", "return y + C * b[:, None, None]", "added once per channel of x"),
    ("02", "top, left =", "top, left = 0, 0  #", "numbers wrong"),
    ("03", "return gx, gw, gy", "return gx, gw / N, gy", "divided by N"),
    ("03", "gw += ", "gw[:] = ", "GW wrong"),
    ("03", "gx[:, :, rows, cols] += ", "gx[:, :, rows, cols] = ", "GX wrong gw ok gb ok"),
    ("03", "gx = gx[:, :, padding : padding + H, padding : padding + W]", "pass", "gx has shape"),
    ("03", "gx = gx[:, :, padding : padding + H, padding : padding + W]", "gx = gx[:, :, :H, :W]", "GX wrong"),
    ("03", "gy.sum(axis=(0, 2, 3))", "gy.sum(axis=(2, 3))[-1]", "gb summed over the last image only"),
    ("03", "gy.sum(axis=(0, 2, 3))", "gy.mean(axis=(0, 2, 3))", "gb averaged over"),
    ("03", "gy.sum(axis=(0, 2, 3))", "gy.sum()", "gb is a float32"),
    ("03", "np.tensordot(g, w, axes", "np.tensordot(g, w[:, :, ::-1, ::-1], axes", "gx uses the kernel upside down"),
    ("03", "return gx, gw, gy", "return -gx, gw, gy", "the sign is flipped"),
    ("03", "return gx, gw, gy", "return gx, 0.5 * gw, gy", "yours × 2 = expected, everywhere"),
    ("03", ", gy.sum(axis=(0, 2, 3))", "", "returns 2 values; 3 are expected: gx, gw, gb"),
    ("04", ".transpose(1, 0, 2, 3)", "", "im2col raises ValueError"),
    ("04", "cols[:, i, j]", "cols[:, j, i]", "ordered C, KW, KH instead of C, KH, KW"),
    (
        "04",
        "return cols",
        "cols = cols.transpose(1, 2, 0, 3, 4, 5)\n    return cols",
        "ordered KH, KW, C instead of C, KH, KW",
    ),
    (
        "04",
        "return cols",
        "cols = cols.transpose(0, 1, 2, 4, 5, 3)\n    return cols",
        "ordered OH, OW, N instead of N, OH, OW",
    ),
    (
        "04",
        "return cols",
        "cols = cols.transpose(3, 0, 1, 2, 4, 5)\n    return cols",
        "reshaped without moving the axes first",
    ),
    ("04", "(padding, padding), (padding, padding)", "(2 * padding, 0), (2 * padding, 0)", "at the top and left"),
    ("04", "np.zeros_like(x, shape=(C, KH, KW, N, OH, OW))", "np.zeros((C, KH, KW, N, OH, OW))", "float64"),
    ("04", "return cols.reshape(C * KH * KW, N * OH * OW)", "return cols", "cols has shape (1, 2, 2, 1, 2, 2)"),
    ("05", "] += cols", "] = cols", "= instead of +="),
    ("05", "x[:, :, padding : padding + H, padding : padding + W]", "x[:, :, :H, :W]", "cut at the wrong side"),
    ("05", "return x[:, :, padding : padding + H, padding : padding + W]", "return x", "x has shape (1, 1, 5, 5)"),
    ("05", "cols[:, i, j]", "cols[:, j, i]", "read as C, KW, KH"),
    ("05", "np.zeros_like(cols, shape=(N, C, H + 2 * padding, W + 2 * padding))", "np.zeros((N, C, H, W))", "float64"),
    ("05", "] += cols[:, i, j]", "] += 0.5 * cols[:, i, j]", "yours × 2 = expected"),
    (
        "05",
        "cols.reshape(C, KH, KW, N, OH, OW)",
        "cols.reshape(C, KH, KW, OH, OW, N).transpose(0, 1, 2, 5, 3, 4)",
        "adjoint",
    ),
    ("06", "gy * (x > 0)", "gy * (x >= 0)", "the slope at exactly 0"),
    ("06", "gy * (x > 0)", "gy * relu(x)", "gy is multiplied by y"),
    ("06", "gy * (x > 0)", "relu(gy)", "the gate looks at gy"),
    ("06", "gy * (x > 0)", "x > 0", "is only the slope"),
    ("06", "gy * (x > 0)", "gy", "gy passes everywhere"),
    ("06", "np.maximum(x, 0)", "abs(x)", "the absolute value"),
    ("06", "np.maximum(x, 0)", "np.minimum(x, 0)", "numbers wrong"),
    ("07", "windows.argmax(axis=0)", "len(windows) - 1 - windows[::-1].argmax(axis=0)", "of equals, the last wins"),
    ("07", "(winner == k)", "1", "every pixel of a window gets its gy"),
    ("07", "(winner == k)", "1 / kernel**2", "shared out evenly"),
    ("07", "+= gy * (winner == k)", "+= gy * (winner % kernel * kernel + winner // kernel == k)", "exchanged"),
    ("07", "for r in rows for c in columns]", "for c in columns for r in rows]", "counted along the columns"),
    ("07", "windows.max(axis=0)", "windows.mean(axis=0, dtype=x.dtype)", "the mean instead of the maximum"),
    ("07", "windows.max(axis=0)", "np.maximum(windows.max(axis=0), 0)", "the maximum starts at 0"),
    ("07", "windows.argmax(axis=0)", "1.0 * windows.argmax(axis=0)", "winner is float64, expected int64"),
    (
        "07",
        "gx[:, :, rows, columns] += gy * (winner == k)",
        "gx[:, :, rows, columns][winner == k] = gy[winner == k]",
        "+=",
    ),
]


@pytest.mark.parametrize(
    ("number", "right", "wrong", "said"), PLANTED, ids=[f"{number}: {said}" for number, _, _, said in PLANTED]
)
def test_a_planted_mistake_is_caught_and_named(number: str, right: str, wrong: str, said: str, tmp_path: Path) -> None:
    exercise = find(number)
    assert right in exercise.solution
    result = result_of(exercise, exercise.solution.replace(right, wrong), tmp_path)
    assert not result.passed
    text = " ".join(result.text.split())  # lines are broken to fit the terminal
    assert said in text, result.text
    assert result.text.splitlines()[-1] == f"  hint: scratchfcn learn hint {number}"
    assert "Traceback" not in result.text


@pytest.mark.parametrize("number", [f"{i:02}" for i in range(1, 8)])
def test_at_least_five_mistakes_are_planted(number: str) -> None:
    assert sum(planted[0] == number for planted in PLANTED) >= 5


# --- right, but not the way we would have written it --------------------------------------------------------

WINDOWS = """
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
def windows(x, KH, KW, stride):
    return sliding_window_view(x, (KH, KW), axis=(2, 3))[:, :, ::stride, ::stride]  # (N, C, OH, OW, KH, KW)
def framed(x, p):
    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
"""
UNUSUAL = [
    (
        "01 counted in a loop",
        """
def output_size(size, kernel, stride, padding, dilation):
    count, at = 0, -padding
    while at + dilation * (kernel - 1) < size + padding:
        count, at = count + 1, at + stride
    return count
""",
    ),
    (
        "01 numpy and rounding",
        """
import numpy as np
def output_size(n, k, s, p, d=1):
    return np.int32(np.floor((n + 2 * p - (d * k - d + 1)) / s + 1))
""",
    ),
    (
        "02 einsum over windows",
        WINDOWS
        + """
def conv2d(x, w, b, stride, padding):
    _, _, KH, KW = w.shape
    return np.einsum("nchwij,ocij->nohw", windows(framed(x, padding), KH, KW, stride), w) + b.reshape(1, -1, 1, 1)
""",
    ),
    (
        "02 loops over numbers",
        """
import numpy as np
def conv2d(x, w, b, stride, padding):
    N, C, H, W = x.shape
    OC, _, KH, KW = w.shape
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    y = np.empty((N, OC, OH, OW), dtype=x.dtype)
    for n, o, oh, ow in np.ndindex(y.shape):
        total = b[o]
        for c, i, j in np.ndindex(C, KH, KW):
            row, col = oh * stride + i - padding, ow * stride + j - padding
            if 0 <= row < H and 0 <= col < W:
                total += w[o, c, i, j] * x[n, c, row, col]
        y[n, o, oh, ow] = total
    return y
""",
    ),
    (
        "02 a sum of shifted images, channels last in memory",
        WINDOWS
        + """
def conv2d(x, w, b, stride, padding):
    x = framed(x, padding).transpose(0, 2, 3, 1)
    _, _, KH, KW = w.shape
    OH, OW = (x.shape[1] - KH) // stride + 1, (x.shape[2] - KW) // stride + 1
    y = b
    for i in range(KH):
        for j in range(KW):
            y = y + x[:, i : i + stride * OH : stride, j : j + stride * OW : stride][:, :OH, :OW] @ w[:, :, i, j].T
    return y.transpose(0, 3, 1, 2)
""",
    ),
    (
        "03 loops over numbers, as a list",
        """
import numpy as np
def conv2d_backward(gy, x, w, stride, padding):
    N, C, H, W = x.shape
    OC, _, KH, KW = w.shape
    gx, gw, gb = np.zeros_like(x), np.zeros_like(w), np.zeros(OC, x.dtype)
    for n, o, oh, ow in np.ndindex(gy.shape):
        gb[o] += gy[n, o, oh, ow]
        for c, i, j in np.ndindex(C, KH, KW):
            row, col = oh * stride + i - padding, ow * stride + j - padding
            if 0 <= row < H and 0 <= col < W:
                gw[o, c, i, j] += gy[n, o, oh, ow] * x[n, c, row, col]
                gx[n, c, row, col] += gy[n, o, oh, ow] * w[o, c, i, j]
    return [gx, gw, gb]
""",
    ),
    (
        "03 einsum, and a full convolution with the flipped kernel",
        WINDOWS
        + """
def conv2d_backward(gy, x, w, stride, padding):
    N, C, H, W = x.shape
    OC, _, KH, KW = w.shape
    xs = windows(framed(x, padding), KH, KW, stride)
    gw = np.einsum("nohw,nchwij->ocij", gy, xs, optimize=True)
    spread = np.zeros((N, OC, H + 2 * padding - KH + 1, W + 2 * padding - KW + 1), gy.dtype)
    spread[:, :, ::stride, ::stride] = gy
    spread = np.pad(spread, ((0, 0), (0, 0), (KH - 1, KH - 1), (KW - 1, KW - 1)))
    gx = np.einsum("nohwij,ocij->nchw", windows(spread, KH, KW, 1), w[:, :, ::-1, ::-1])
    return gx[:, :, padding : padding + H, padding : padding + W], gw, np.einsum("nohw->o", gy)
""",
    ),
    (
        "04 stride tricks",
        WINDOWS
        + """
def im2col(x, kernel, stride, padding):
    xs = windows(framed(x, padding), *kernel, stride)
    return xs.transpose(1, 4, 5, 0, 2, 3).reshape(x.shape[1] * kernel[0] * kernel[1], -1)
""",
    ),
    (
        "04 window by window, in Fortran order",
        """
import numpy as np
def im2col(x, kernel, stride, padding):
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    KH, KW = kernel
    found = []
    for image in x:
        for top in range(0, x.shape[2] - KH + 1, stride):
            for left in range(0, x.shape[3] - KW + 1, stride):
                found.append(image[:, top : top + KH, left : left + KW].ravel())
    return np.array(found).T
""",
    ),
    (
        "05 np.add.at",
        """
import numpy as np
def col2im(cols, shape, kernel, stride, padding):
    N, C, H, W = shape
    KH, KW = kernel
    framed = np.zeros((N, C, H + 2 * padding, W + 2 * padding), cols.dtype)
    places = np.arange(framed.size).reshape(framed.shape)
    windows = np.lib.stride_tricks.sliding_window_view(places, kernel, axis=(2, 3))[:, :, ::stride, ::stride]
    np.add.at(framed.reshape(-1), windows.transpose(1, 4, 5, 0, 2, 3).reshape(cols.shape), cols)
    return framed[:, :, padding : H + padding, padding : W + padding]
""",
    ),
    (
        "05 number by number",
        """
import numpy as np
def col2im(cols, shape, kernel, stride, padding):
    (N, C, H, W), (KH, KW) = shape, kernel
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    six = cols.reshape(C, KH, KW, N, OH, OW)
    x = np.zeros(shape, cols.dtype)
    for c, i, j, n, oh, ow in np.ndindex(six.shape):
        row, col = oh * stride + i - padding, ow * stride + j - padding
        if 0 <= row < H and 0 <= col < W:
            x[n, c, row, col] += six[c, i, j, n, oh, ow]
    return x
""",
    ),
    (
        "06 where, and other names",
        """
import numpy as np
relu = lambda a: np.where(a > 0, a, a.dtype.type(0))
def relu_backward(grad_out, saved):
    grad = grad_out.copy()
    grad[saved <= 0] = 0
    return grad
""",
    ),
    (
        "06 number by number, printing",
        """
import numpy as np
def relu(x):
    print("relu", x.shape)
    return np.array([max(v, 0) for v in x.ravel()], x.dtype).reshape(x.shape)
def relu_backward(gy, x):
    gx = np.zeros_like(gy)
    for at in np.ndindex(x.shape):
        if x[at] > 0: gx[at] = gy[at]
    return gx
""",
    ),
    (
        "07 stride tricks and np.add.at",
        WINDOWS
        + """
def max_pool(x, kernel, stride):
    xs = windows(x, kernel, kernel, stride)
    xs = xs.reshape(*xs.shape[:4], -1)
    return xs.max(-1), np.argmax(xs, -1).astype(np.uint8)
def max_pool_backward(gy, winner, shape, kernel, stride):
    n, c, oh, ow = np.indices(gy.shape)
    gx = np.zeros(shape, gy.dtype)
    np.add.at(gx, (n, c, oh * stride + winner // kernel, ow * stride + winner % kernel), gy)
    return gx
""",
    ),
    (
        "07 loops",
        """
import numpy as np
def max_pool(x, kernel, stride):
    N, C, H, W = x.shape
    y = np.full((N, C, (H - kernel) // stride + 1, (W - kernel) // stride + 1), -np.inf, x.dtype)
    winner = np.zeros(y.shape, np.int32)
    for n, c, oh, ow in np.ndindex(y.shape):
        for k in range(kernel * kernel):
            v = x[n, c, oh * stride + k // kernel, ow * stride + k % kernel]
            if v > y[n, c, oh, ow]:
                y[n, c, oh, ow], winner[n, c, oh, ow] = v, k
    return y, winner
def max_pool_backward(gy, winner, shape, kernel, stride):
    gx = np.zeros(shape, gy.dtype)
    for (n, c, oh, ow), k in np.ndenumerate(winner):
        gx[n, c, oh * stride + k // kernel, ow * stride + k % kernel] += gy[n, c, oh, ow]
    return gx
""",
    ),
]


@pytest.mark.parametrize(("title", "source"), UNUSUAL, ids=[title for title, _ in UNUSUAL])
def test_an_unusual_solution_passes(title: str, source: str, tmp_path: Path) -> None:
    exercise = find(title[:2])
    file = tmp_path / exercise.file_name
    file.write_text(source, encoding="utf-8")
    for seed in range(3):
        result = run(exercise, file, seed=seed)
        assert result.passed, result.text
