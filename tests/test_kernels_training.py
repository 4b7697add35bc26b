"""The kernels of a training step (sums, batch norm, the loss, counting, optimisers) against the plain way, against
NumPy in float64, and against the rule that nobody waits for the GPU; on the stand-in for CuPy, compiled by g++."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import emulated_kernels
import numpy as np
import pytest
import strict_cupy
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn import ops, optim
from scratchfcn.backend import to_numpy
from scratchfcn.cuda import kernels
from scratchfcn.cuda.graph import Recorded
from scratchfcn.metrics import ConfusionMatrix
from scratchfcn.ops import layout

pytestmark = pytest.mark.skipif(emulated_kernels.COMPILER is None, reason=emulated_kernels.NO_COMPILER)
few = settings(max_examples=25)


@pytest.fixture(scope="module", autouse=True)
def cp() -> Iterator[ModuleType]:
    """The stand-in, as `cupy`, with the kernels on."""
    before = kernels.enabled()
    kernels.set_fused(True)
    with strict_cupy.installed() as module:
        yield module
    kernels.set_fused(before)


def plainly(work: Callable[[], Any]) -> Any:
    """The result of `work` without kernels."""
    kernels.set_fused(False)
    try:
        return work()
    finally:
        kernels.set_fused(True)


def unwaited(work: Callable[[], Any]) -> Any:
    """The result of `work`, during which nothing may wait for the GPU."""
    before = strict_cupy.synchronised()
    result = work()
    assert strict_cupy.synchronised() == before
    return result


def gpu(x: np.ndarray, how: str = "by image") -> Any:
    """`x` (N, C, H, W) on the GPU: by image (C order), by channel, or as every other pixel of something larger."""
    x = strict_cupy.cupy.asarray(x)
    if how == "by channel":
        return strict_cupy.cupy.ascontiguousarray(x.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3)
    if how == "scattered":
        wide = strict_cupy.cupy.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    return x


LAYOUTS = ["by image", "by channel", "scattered"]
DTYPES = ["float32", "float64"]
sizes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
layouts, dtypes = st.sampled_from(LAYOUTS), st.sampled_from(DTYPES)


def tolerance(dtype: str) -> dict[str, float]:
    return {"rtol": 2e-5, "atol": 2e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# --- sums ---------------------------------------------------------------------------------------------------


@few
@given(sizes, layouts, dtypes)
def test_channel_sums_equal_numpys(size: tuple, how: str, dtype: str) -> None:
    x = numbers(size, dtype)
    sums = unwaited(lambda: layout.channel_sums(gpu(x, how)))
    assert sums.dtype == dtype
    np.testing.assert_allclose(sums.get(), x.astype("float64").sum(axis=(0, 2, 3)), **tolerance(dtype))


@pytest.mark.parametrize("how", LAYOUTS)
@pytest.mark.parametrize("pixels", [4095, 4096, 4097, 9001])
def test_channels_of_several_stretches(pixels: int, how: str) -> None:
    x = 100 + numbers((2, 3, 1, pixels), "float32")  # a sum far from 0 shows what rounding does
    sums = layout.channel_sums(gpu(x, how)).get()
    np.testing.assert_allclose(sums, x.astype("float64").sum(axis=(0, 2, 3)), rtol=2e-7)
    assert (sums == layout.channel_sums(gpu(x, how)).get()).all()


def test_channels_without_pixels_sum_to_nothing(cp: ModuleType) -> None:
    assert (layout.channel_sums(cp.zeros((0, 3, 4, 4), "float32")).get() == 0).all()
    assert layout.channel_sums(cp.zeros((2, 0, 4, 4), "float32")).shape == (0,)


# --- batch norm ---------------------------------------------------------------------------------------------


def normed(x: Any, gy: Any, training: bool) -> list[Any]:
    """y, gx, gweight, gbias and the running statistics after a forward and a backward pass."""
    xp, C = strict_cupy.cupy, x.shape[1]
    weight, bias, mean, var = (xp.asarray(1 + numbers((C,), str(x.dtype), seed) ** 2) for seed in range(4))
    op = ops.BatchNorm2d(mean, var, training, momentum=0.3, eps=1e-5)
    y = op.forward(x, weight, bias)
    return [y, *op.backward(gy), mean, var]


@few
@given(sizes.filter(lambda size: size[0] * size[2] * size[3] > 1), layouts, layouts, dtypes, st.booleans())
def test_batch_norm_equals_the_plain_way(size: tuple, how: str, other: str, dtype: str, training: bool) -> None:
    x, gy = gpu(3 + numbers(size, dtype), how), gpu(numbers(size, dtype, 1), other)
    fused = unwaited(lambda: normed(x, gy, training))
    close = {"rtol": 1e-3, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-10}  # var of few numbers
    for ours, plain in zip(fused, plainly(lambda: normed(x, gy, training)), strict=True):
        assert ours.dtype == plain.dtype == dtype
        np.testing.assert_allclose(ours.get(), plain.get(), **close)


def test_batch_norm_of_several_stretches() -> None:
    x, gy = gpu(numbers((2, 2, 50, 61), "float64"), "by channel"), gpu(numbers((2, 2, 50, 61), "float64", 1))
    for ours, plain in zip(normed(x, gy, True), plainly(lambda: normed(x, gy, True)), strict=True):
        np.testing.assert_allclose(ours.get(), plain.get(), rtol=1e-10, atol=1e-12)


def test_batch_norm_leaves_out_gx_that_nobody_wants() -> None:
    x = sf.Tensor(gpu(numbers((2, 3, 4, 4), "float32")))
    weight, bias = (sf.Parameter(np.ones(3, "float32"), device="cuda") for _ in range(2))
    mean, var = (strict_cupy.cupy.ones(3, "float32") for _ in range(2))
    ops.batch_norm2d(x, weight, bias, mean, var, training=True).sum().backward()
    assert x.grad is None
    assert (bias.grad.get() == 32).all()


def test_statistics_of_another_type_are_treated_plainly() -> None:
    x, xp = gpu(numbers((2, 3, 4, 4), "float64")), strict_cupy.cupy
    op = ops.BatchNorm2d(xp.zeros(3, "float32"), xp.ones(3, "float32"), True, 0.1, 1e-5)
    y = op.forward(x, xp.ones(3), xp.zeros(3)).get()
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), 1, rtol=1e-4)


# --- the loss -----------------------------------------------------------------------------------------------


def reference(x: np.ndarray, labels: np.ndarray, weight: Any, mean: bool) -> tuple[float, np.ndarray]:
    """The loss and its gradient, pixel by pixel, in float64."""
    loss, total, gx = 0.0, 0.0, np.zeros(x.shape)
    for n, *place in np.ndindex(labels.shape):
        t = int(labels[n, *place])
        if t == 255:
            continue
        scores = x[n, :, *place].astype("float64")
        w = 1.0 if weight is None else float(weight[t])
        p = np.exp(scores - scores.max())
        p /= p.sum()
        loss, total = loss - w * np.log(p[t]), total + w
        gx[n, :, *place] = w * (p - np.eye(len(p))[t])
    total = total if mean and total > 0 else 1.0
    return loss / total, gx / total


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Any]:
    """Logits (N, K, H, W), labels (N, H, W) of some integer type, some or all ignored, and class weights or None."""
    (N, K, H, W), dtype = draw(sizes), draw(dtypes)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    labels = rng.integers(0, K, (N, H, W)).astype(draw(st.sampled_from(["uint8", "int16", "int32", "int64", "uint64"])))
    labels[rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = 255
    weight = draw(st.sampled_from([None, rng.random(K).astype(dtype) + 0.1]))
    return 3 * rng.normal(size=(N, K, H, W)).astype(dtype), labels, weight


@few
@given(batches(), layouts, st.sampled_from(["mean", "sum"]))
def test_the_loss_equals_the_formula(batch: tuple, how: str, reduction: str) -> None:
    x, labels, weight = batch
    x_gpu, labels_gpu = gpu(x, how), strict_cupy.cupy.asarray(labels)
    weight_gpu = None if weight is None else strict_cupy.cupy.asarray(weight)
    gy = strict_cupy.cupy.full((), 0.5, x.dtype)

    def both() -> tuple[Any, Any]:
        op = ops.SoftmaxCrossEntropy(labels_gpu, weight_gpu, 255, reduction, checked=True)
        return op.forward(x_gpu), op.backward(gy)

    loss, gx = unwaited(both)
    assert loss.shape == ()
    assert loss.dtype == gx.dtype == x.dtype
    close = tolerance(str(x.dtype))
    expected, slope = reference(x, labels, weight, reduction == "mean")
    np.testing.assert_allclose(loss.get(), expected, **close)
    np.testing.assert_allclose(gx.get(), 0.5 * slope, **close)
    plain_loss, plain_gx = plainly(lambda: unwaited(both))
    np.testing.assert_allclose(loss.get(), plain_loss.get(), **close)
    np.testing.assert_allclose(gx.get(), plain_gx.get(), **close)


def test_the_gradient_lies_in_memory_like_the_logits() -> None:
    x, labels = numbers((2, 3, 4, 5), "float32"), np.zeros((2, 4, 5), np.uint8)
    for how in ("by image", "by channel"):
        op = ops.SoftmaxCrossEntropy(labels)
        op.forward(gpu(x, how))
        assert op.backward(strict_cupy.cupy.ones((), "float32")).strides == gpu(x, how).strides


def test_scores_of_whole_images(cp: ModuleType) -> None:
    x, labels = numbers((300, 7), "float64"), np.random.default_rng(0).integers(0, 7, 300)
    op = ops.SoftmaxCrossEntropy(labels)
    loss, gx = op.forward(cp.asarray(x)), op.backward(cp.ones(()))
    expected, slope = reference(x, labels, None, True)
    np.testing.assert_allclose(loss.get(), expected, rtol=1e-12)
    np.testing.assert_allclose(gx.get(), slope, rtol=1e-12, atol=1e-16)


def test_large_scores_do_not_overflow(cp: ModuleType) -> None:
    loss = ops.SoftmaxCrossEntropy(np.array([0, 1])).forward(cp.asarray(np.array([[1e30, 0], [1e30, 1e30]])))
    assert loss.get() == pytest.approx(np.log(2) / 2)


def test_labels_of_the_host_are_looked_at_there() -> None:
    x = gpu(numbers((1, 3, 2, 2), "float32"))
    loss = unwaited(lambda: ops.softmax_cross_entropy(sf.Tensor(x), np.zeros((1, 2, 2), np.uint8)))
    assert np.isfinite(loss.item())
    wrong = np.array([[[0, 1], [2, 3]]])
    for labels in (wrong, strict_cupy.cupy.asarray(wrong)):
        with pytest.raises(ValueError, match=r"label 3 at 1 pixel\(s\), but 3 classes"):
            ops.softmax_cross_entropy(sf.Tensor(x), labels)


@pytest.mark.parametrize("label", [3, -1, 2**40])
def test_a_wrong_label_that_nobody_looked_at_makes_the_loss_nan(label: int) -> None:
    x = gpu(numbers((1, 3, 2, 2), "float32"))
    op = ops.SoftmaxCrossEntropy(strict_cupy.cupy.asarray(np.array([[[0, 1], [2, label]]])), checked=True)
    loss, gx = op.forward(x), op.backward(strict_cupy.cupy.ones((), "float32"))
    assert np.isnan(loss.get())
    assert np.isnan(gx.get()[..., 1, 1]).all()


def test_ops_of_ones_own_find_what_the_plain_way_keeps(cp: ModuleType) -> None:
    class TwiceTheSlope(ops.SoftmaxCrossEntropy):
        def backward(self, gy: Any) -> Any:
            return (2 * self.p).reshape(self.x_shape)

    class NoMean(ops.BatchNorm2d):
        def backward(self, gy: Any) -> Any:
            return self.centred, None, None

    x = gpu(numbers((1, 3, 2, 2), "float32"))
    op = TwiceTheSlope(np.zeros((1, 2, 2), np.uint8))
    op.forward(x)
    np.testing.assert_allclose(op.backward(cp.ones((), "float32")).get().sum(axis=1), 2, rtol=1e-6)
    norm = NoMean(cp.zeros(3, "float32"), cp.ones(3, "float32"), True, 0.1, 1e-5)
    norm.forward(x, cp.ones(3, "float32"), cp.ones(3, "float32"))
    np.testing.assert_allclose(norm.backward(x)[0].get().sum(axis=(2, 3)), 0, atol=1e-5)


def test_class_weights_on_the_gpu_are_not_copied(cp: ModuleType) -> None:
    weight = cp.ones(3, "float32")
    assert ops.loss.check_class_weight(gpu(numbers((1, 3, 2, 2), "float32")), weight) is weight


# --- counting -----------------------------------------------------------------------------------------------


@few
@given(st.integers(1, 70), st.integers(0, 20000), st.sampled_from(["uint8", "int8", "int32", "int64", "uint16"]))
def test_counting_equals_the_host(K: int, pixels: int, dtype: str) -> None:
    rng = np.random.default_rng(K)
    pred, label = rng.integers(0, K, pixels), rng.integers(0, K, pixels).astype(dtype)
    label[rng.random(pixels) < 0.1] = 100
    host, device, plain = (ConfusionMatrix(K, ignore_index=100) for _ in range(3))
    xp = strict_cupy.cupy
    for _ in range(2):
        host.update(pred, label)
        unwaited(lambda: device.update(xp.asarray(pred), xp.asarray(label), checked=True))
        plainly(lambda: unwaited(lambda: plain.update(xp.asarray(pred), xp.asarray(label), checked=True)))
    np.testing.assert_array_equal(device.matrix, host.matrix)
    np.testing.assert_array_equal(plain.matrix, host.matrix)


@pytest.mark.parametrize("way", [lambda work: work(), plainly], ids=["kernel", "plain"])
def test_wrong_classes_are_found_when_the_matrix_is_read(way: Callable) -> None:
    xp = strict_cupy.cupy
    confusion, others = ConfusionMatrix(3), ConfusionMatrix(3)

    def count() -> None:
        confusion.update(xp.asarray(np.array([0, 1, 2, 9])), xp.asarray(np.array([0, 7, -4, 255])), checked=True)
        others.update(xp.asarray(np.array([0, 8])), xp.asarray(np.array([0, 2])), checked=True)
        unwaited(lambda: others.merge(confusion))

    way(count)
    with pytest.raises(ValueError, match=r"label -4 at 2 pixel\(s\), but 3 classes allow 0 to 2 \(or 255, ignored\)"):
        _ = confusion.matrix
    with pytest.raises(ValueError, match="label -4 at 2 pixel"):
        _ = others.pixel_acc
    confusion.reset()
    way(lambda: confusion.update(xp.asarray(np.array([3])), xp.asarray(np.array([0])), checked=True))
    with pytest.raises(ValueError, match=r"pred 3 at 1 pixel\(s\), but 3 classes allow 0 to 2$"):
        confusion.scores()
    confusion.reset()
    assert confusion.matrix.sum() == 0


def test_unchecked_counting_looks_at_once_and_counts_nothing_of_a_wrong_batch() -> None:
    xp, confusion = strict_cupy.cupy, ConfusionMatrix(2)
    with pytest.raises(ValueError, match="pred 5 at 1 pixel"):
        confusion.update(xp.asarray(np.array([0, 5])), np.array([0, 1], np.uint8))
    assert confusion.matrix.sum() == 0


# --- optimisers ---------------------------------------------------------------------------------------------

MAKERS = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.1),
}


def parameters(shapes: list[tuple[int, ...]], dtype: str) -> list[sf.Parameter]:
    return [sf.Parameter(numbers(shape, dtype, i), device="cuda") for i, shape in enumerate(shapes)]


def give_gradients(params: list[sf.Parameter], step: int) -> None:
    for i, p in enumerate(params):
        p.grad = strict_cupy.cupy.asarray(numbers(p.shape, str(p.data.dtype), 1000 * (step + 1) + i))


def moved(make: Callable, shapes: list[tuple[int, ...]], dtype: str, steps: int = 3) -> list[np.ndarray]:
    """Some parameters, in groups with multipliers, after some steps; the state too."""
    params = parameters(shapes, dtype)
    optimizer = make([{"params": params[::2]}, {"params": params[1::2], "lr_mult": 2.0, "decay_mult": 0.0}])
    for step in range(steps):
        optimizer.lr *= 0.9
        give_gradients(params, step)
        unwaited(optimizer.step)
    return [p.data.get() for p in params] + [to_numpy(array) for array in optimizer.state_dict().values()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_step_equals_the_plain_way(make: Callable, dtype: str) -> None:
    """To the last bit: the kernels round where NumPy does (kernels.py has multiply-add switched off for that)."""
    shapes = [(3, 2), (1,), (1023,), (1024,), (1025,), (0, 4), (), (7, 5, 3, 3)]
    for ours, plain in zip(moved(make, shapes, dtype), plainly(lambda: moved(make, shapes, dtype)), strict=True):
        np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("count", [63, 64, 65, 130])
def test_more_parameters_than_one_launch_takes(count: int) -> None:
    shapes = [(1 + i % 5,) for i in range(count)]
    make = MAKERS["adam"]
    for ours, plain in zip(
        moved(make, shapes, "float32"), plainly(lambda: moved(make, shapes, "float32")), strict=True
    ):
        np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_only_if_is_looked_at_by_the_gpu(make: Callable, cp: ModuleType) -> None:
    params = parameters([(5,), (2000,)], "float32")
    optimizer = make(params)

    def everything() -> list[np.ndarray]:
        kept = [array for name, array in optimizer.state_dict().items() if not name.endswith("steps")]
        return [to_numpy(array) for array in [*(p.data for p in params), *kept]]

    give_gradients(params, 0)
    optimizer.step(only_if=cp.ones(1, "int32"))
    before = everything()
    give_gradients(params, 1)
    for only_if in (cp.zeros(1, "int32"), cp.zeros((), "int32")):
        unwaited(lambda only_if=only_if: optimizer.step(only_if=only_if))
        plainly(lambda only_if=only_if: optimizer.step(only_if=only_if))
    for a, b in zip(before, everything(), strict=True):
        np.testing.assert_array_equal(a, b)
    optimizer.step(only_if=cp.ones(1, "int32"))
    assert (params[0].data.get() != before[0]).all()


def test_only_if_on_the_host() -> None:
    p = sf.Parameter(np.ones(3))
    optimizer = optim.SGD([p], 0.5)
    p.grad = np.ones(3)
    optimizer.step(only_if=np.zeros(1, np.int32))
    assert (p.data == 1).all()
    optimizer.step(only_if=np.ones(1, np.int32))
    assert (p.data == 0.5).all()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_parameters_of_all_kinds_together(make: Callable, cp: ModuleType) -> None:
    """Two dtypes, one without gradient, one of the host, weights and a gradient that lie otherwise in memory."""

    def run() -> list[np.ndarray]:
        params = parameters([(4, 3), (4, 3), (4, 3)], "float32") + parameters([(4, 3), (6, 2)], "float64")
        params.append(sf.Parameter(numbers((3,), "float32", 9)))
        params[1].data = cp.ascontiguousarray(params[1].data.T).T
        optimizer = make(params)
        for step in range(2):
            give_gradients(params[:5], step)
            params[0].grad = cp.ascontiguousarray(params[0].grad.T).T
            params[2].grad = None
            params[5].grad = numbers((3,), "float32", 10 + step)
            optimizer.step()
        return [to_numpy(p.data) for p in params] + [to_numpy(a) for a in optimizer.state_dict().values()]

    for ours, plain in zip(run(), plainly(run), strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_an_update_of_ones_own_is_used() -> None:
    class Backwards(optim.SGD):
        def update(self, w: Any, g: Any, state: dict[str, Any], lr: float) -> None:
            w += lr * g

    params = parameters([(3,)], "float64")
    before = params[0].data.get()
    params[0].grad = strict_cupy.cupy.ones(3)
    Backwards(params, 0.5).step()
    np.testing.assert_array_equal(params[0].data.get(), before + 0.5)


def test_the_halves_of_a_step(cp: ModuleType) -> None:
    """What a CUDA graph repeats is the second half alone; the first brings it a new rate."""
    params = parameters([(3,)], "float64")
    params[0].data[...] = 1.0
    optimizer = optim.SGD(params, 0.5)
    params[0].grad = cp.ones(3)
    optimizer.prepare_step()
    optimizer.apply_step()
    assert (params[0].data.get() == 0.5).all()
    optimizer.apply_step()
    assert (params[0].data.get() == 0).all()
    optimizer.lr = 0.25
    optimizer.prepare_step()
    optimizer.apply_step()
    assert (params[0].data.get() == -0.25).all()
    assert optimizer.state[0]["steps"] == 2


def test_state_goes_from_gpu_to_host_and_on(cp: ModuleType) -> None:
    params = parameters([(3, 4)], "float32")
    optimizer = MAKERS["adam"](params)
    give_gradients(params, 0)
    optimizer.step()
    host = [sf.Parameter(params[0].data.get())]
    again = MAKERS["adam"](host)
    again.load_state_dict({name: to_numpy(array) for name, array in optimizer.state_dict().items()})
    give_gradients(params, 1)
    host[0].grad = params[0].grad.get()
    optimizer.step()
    again.step()
    np.testing.assert_allclose(params[0].data.get(), host[0].data, rtol=1e-6)


# --- a whole step -------------------------------------------------------------------------------------------


def test_a_recorded_step_equals_the_usual_one(cp: ModuleType) -> None:
    xs, labels = numbers((4, 2, 3, 5, 6), "float32"), np.random.default_rng(0).integers(0, 3, (2, 5, 6)).astype("uint8")

    def run(recorded: bool) -> list[np.ndarray]:
        x, finite = cp.asarray(xs[0]), cp.ones(1, "int32")
        params = parameters([(3,), (3,)], "float32")
        statistics = [cp.zeros(3, "float32"), cp.ones(3, "float32")]
        optimizer, truth = optim.SGD(params, 0.1, momentum=0.9), cp.asarray(labels)

        def step() -> Any:
            """Normalises x, takes it for scores, and moves the norm's weight and bias."""
            optimizer.zero_grad()
            scores = ops.batch_norm2d(sf.Tensor(x), *params, *statistics, training=True)
            loss = ops.softmax_cross_entropy(scores, truth, checked=True)
            loss.backward()
            optimizer.apply_step(finite)
            return loss.data

        graph, losses = Recorded(step), []
        give_gradients(params, 0)
        for i, batch in enumerate(xs):
            x[...] = cp.asarray(batch)
            optimizer.lr = 0.1 / (1 + i)
            optimizer.prepare_step()
            if recorded and i == 1:
                graph.record()
            loss = unwaited(graph.launch if recorded and i >= 1 else graph.run)
            losses.append(loss.get())
        finite[...] = 0
        graph.launch() if recorded else graph.run()
        return [*losses, *(p.data.get() for p in params), *(array.get() for array in statistics)]

    for ours, usual in zip(run(recorded=True), run(recorded=False), strict=True):
        np.testing.assert_array_equal(ours, usual)
