"""TF32 and repeatable products: what cuBLAS is told, by CuPy's way and by ours, and what comes of it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import strict_cupy
from fake_cublas import CUPYS_HANDLE, FakeCublas, installed

from scratchfcn import backend
from scratchfcn.cuda import gemm, numerics


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCublas]:
    """The stand-in for CuPy, as a GPU that has TF32, with a cuBLAS of the tests. Afterwards all is as before."""
    with strict_cupy.installed(), installed() as cublas:
        monkeypatch.setattr(strict_cupy.cupy.cuda.Device, "compute_capability", "80")
        monkeypatch.setattr(gemm, "modes", gemm.Modes())
        yield cublas


def product(x: float, y: float, dtype: str = "float32") -> float:
    """x·y as a matrix product."""
    xp = backend.cupy()
    return gemm.matmul(xp.full((1, 1), x, dtype), xp.full((1, 1), y, dtype)).item()


def test_tf32_keeps_ten_bits(fake: FakeCublas) -> None:
    x = 1 + 2.0**-11 + 2.0**-20  # rounds to 1 + 2**-10
    assert product(x, 1.0) == np.float32(x)
    with numerics.using_tf32():
        assert numerics.tf32()
        assert product(x, 1.0) == 1 + 2.0**-10
        assert product(x, 1.0, "float64") == x  # which has no such thing
        with numerics.using_tf32(False):
            assert product(x, 1.0) == np.float32(x)
        assert product(x, 1.0) == 1 + 2.0**-10
    assert product(x, 1.0) == np.float32(x)


def test_cupys_own_products_are_told(fake: FakeCublas) -> None:
    cupys = fake.handles[CUPYS_HANDLE]
    numerics.set_tf32(False)  # as it is
    assert cupys == {}
    numerics.set_tf32(True)
    assert cupys["math"] == 3  # CUBLAS_TF32_TENSOR_OP_MATH
    numerics.set_tf32(False)
    assert cupys["math"] == 0  # CUBLAS_DEFAULT_MATH


def test_atomics(fake: FakeCublas) -> None:
    assert numerics.deterministic()
    product(1.0, 1.0)
    (ours,) = (state for number, state in fake.handles.items() if number != CUPYS_HANDLE)
    assert ours["atomics"] == 0  # CUBLAS_ATOMICS_NOT_ALLOWED
    with numerics.using_deterministic(False):
        assert not numerics.deterministic()
        product(1.0, 1.0)
        assert (ours["atomics"], fake.handles[CUPYS_HANDLE]["atomics"]) == (1, 1)
    product(1.0, 1.0)
    assert (ours["atomics"], fake.handles[CUPYS_HANDLE]["atomics"]) == (0, 0)


def test_an_older_gpu_has_no_tf32(fake: FakeCublas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_cupy.cupy.cuda.Device, "compute_capability", "75")
    with pytest.raises(backend.DeviceError, match=r"TF32 needs .* 8\.0 or higher, and this one has 7\.5"):
        numerics.set_tf32(True)
    assert not numerics.tf32()


def test_without_a_gpu_only_the_defaults_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise backend.DeviceError("no GPU here")

    monkeypatch.setattr(backend, "cupy", none)
    numerics.set_tf32(False)
    numerics.set_deterministic(True)
    with pytest.raises(backend.DeviceError, match="no GPU here"):
        numerics.set_tf32(True)
    with pytest.raises(backend.DeviceError, match="no GPU here"):
        numerics.set_deterministic(False)
    assert not numerics.tf32()
    assert numerics.deterministic()
