"""What `doctor` says of a GPU: the line that mends each common failure, and what it looks at where there is none."""

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from scratchfcn import backend
from scratchfcn.cli import app, doctor, doctor_gpu
from scratchfcn.cuda import describe, fixes, gemm, kernels
from scratchfcn.cuda.fixes import Machine, fixes_for

# what CuPy 13.6 and 14.2 really say, as `backend.cuda_problem` has it
FAILED = "CuPy is installed but a test kernel failed"
INSUFFICIENT = (
    f"{FAILED} (CUDARuntimeError: cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime "
    "version)"
)
NO_DEVICE = f"{FAILED} (CUDARuntimeError: cudaErrorNoDevice: no CUDA-capable device is detected)"
NO_COMPILER_13 = (
    f"{FAILED} (RuntimeError: CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open shared object "
    "file: No such file or directory)"
)
NO_COMPILER_14 = (
    f'{FAILED} (DynamicLibNotFoundError: Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: '
    "libnvrtc.so.13 or libnvrtc.so.12)"
)
NO_CUBLAS = f"{FAILED} (ImportError: libcublas.so.12: cannot open shared object file: No such file or directory)"
NO_HEADERS = (
    f'{FAILED} (CompileException: cuda_fp16.h(129): catastrophic error: cannot open source file "vector_types.h")'
)
ARCHITECTURE = f"{FAILED} (CompileException: nvrtc: error: invalid value for --gpu-architecture (-arch))"
FULL = f"{FAILED} (OutOfMemoryError: Out of memory allocating 512 bytes (allocated so far: 0 bytes).)"

TWELVE = {"package": "cupy-cuda12x", "driver": "550.54.15", "driver_cuda": "12.4", "smi": "CUDA Version: 12.4"}
THIRTEEN = {**TWELVE, "package": "cupy-cuda13x"}
CASES = [
    ("CuPy cannot be imported (No module named 'cupy')", {**TWELVE, "package": None}, ["for a GPU: pip install -e"]),
    (
        "CuPy cannot be imported (No module named 'cupy')",
        {},
        ["pip install -e", "the driver for a GPU: install NVIDIA's"],
    ),
    (
        "CuPy cannot be imported (No module named 'cupy')",
        {"driver": "470.1", "driver_cuda": "11.4"},
        ["to 525 or newer"],
    ),
    (INSUFFICIENT, {"package": "cupy-cuda12x"}, ["there is no NVIDIA driver: install NVIDIA's driver"]),
    (
        INSUFFICIENT,
        {**TWELVE, "driver": "470.82", "driver_cuda": "11.4"},
        ["to 525 or newer (470.82 runs CUDA up to 11.4"],
    ),
    (
        INSUFFICIENT,
        THIRTEEN,
        ['pip uninstall -y cupy-cuda13x && pip install "cupy-cuda12x[ctk]>=14"; or update NVIDIA'],
    ),
    (
        INSUFFICIENT,
        {**TWELVE, "smi": "Failed to initialize NVML: Driver/library version mismatch"},
        ["restart the machine"],
    ),
    (NO_DEVICE, {**TWELVE, "visible": ""}, ["CUDA_VISIBLE_DEVICES is ''", "unset CUDA_VISIBLE_DEVICES"]),
    (NO_DEVICE, {**TWELVE, "closed": "/dev/nvidia0"}, ["sudo usermod -aG $(stat -c %G /dev/nvidia0) $USER"]),
    (NO_DEVICE, {}, ["no NVIDIA GPU, or no driver"]),
    ("CuPy is installed but finds no NVIDIA GPU", TWELVE, ["`nvidia-smi -L` must list a GPU", "--gpus all"]),
    (NO_COMPILER_13, TWELVE, ['pip install -U "cupy-cuda12x[ctk]>=14"']),
    (NO_COMPILER_14, THIRTEEN, ['pip install -U "cupy-cuda13x[ctk]>=14"']),
    (NO_CUBLAS, TWELVE, ['pip install -U "cupy-cuda12x[ctk]>=14"']),
    (NO_HEADERS, TWELVE, ['pip install -U "cupy-cuda12x[ctk]>=14"']),
    (NO_CUBLAS, {**TWELVE, "package": "cupy"}, ['pip uninstall -y cupy && pip install -U "cupy-cuda12x[ctk]>=14"']),
    (ARCHITECTURE, THIRTEEN, ["from compute capability 7.5 on", 'pip install "cupy-cuda12x[ctk]>=14"']),
    (ARCHITECTURE, TWELVE, ["newer than the CUDA that is installed", "CUDA_PATH"]),
    (FULL, TWELVE, ["nvidia-smi lists the programs", "--device cuda:1"]),
    (
        f"{FAILED} (CUDARuntimeError: cudaErrorSystemNotReady: system not yet initialized)",
        TWELVE,
        ["nvidia-fabricmanager"],
    ),
    (f"{FAILED} (CUDARuntimeError: cudaErrorDevicesUnavailable: busy)", TWELVE, ["nvidia-smi -c DEFAULT"]),
    (f"{FAILED} (CUDARuntimeError: cudaErrorUnknown: unknown error)", TWELVE, ["restart the machine"]),
    (
        "CuPy cannot be imported (libcuda.so.1: cannot open shared object file)",
        {"package": "cupy"},
        ["no NVIDIA driver"],
    ),
    ("CuPy cannot be imported (numpy.core.multiarray failed to import)", TWELVE, ["pip install -U cupy-cuda12x"]),
    ("CuPy cannot be imported (something else)", TWELVE, ["pip uninstall -y cupy-cuda12x && pip", "show_config()"]),
    ("a training step with our kernels fails: KeyError: 'x'", TWELVE, ["SCRATCHFCN_KERNELS=0", "report"]),
]


@pytest.mark.parametrize(("problem", "machine", "expected"), CASES)
def test_each_failure_has_its_fix(problem: str, machine: dict[str, Any], expected: list[str]) -> None:
    text = "\n".join(fixes_for(problem, Machine(**machine)))
    for words in expected:
        assert words in text
    assert "None" not in text


def test_the_last_line_of_cupys_framed_error_is_the_one_that_counts() -> None:
    error = ImportError(
        "\n=====\nFailed to import CuPy.\n\nOriginal error:\n  ImportError: libcublas.so.12: gone\n=====\n"
    )
    assert backend._in_a_line(error) == "ImportError: libcublas.so.12: gone"
    assert backend._in_a_line(ValueError("a\nb")) == "a b"


def test_what_fails_is_shown_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU works, so the exit status is 0."""
    monkeypatch.setattr(backend, "cuda_problem", lambda: NO_DEVICE)
    monkeypatch.setattr(doctor, "this_machine", lambda: Machine(**TWELVE, visible="7"))
    result = CliRunner().invoke(app, ["doctor"], env={"CUDA_VISIBLE_DEVICES": "7", "COLUMNS": "300"})
    assert result.exit_code == 0
    assert (
        "not usable: CuPy is installed but a test kernel failed (CUDARuntimeError: cudaErrorNoDevice" in result.output
    )
    assert "GPU driver            NVIDIA 550.54.15, runs CUDA up to 12.4" in result.output
    assert "  fix: CUDA_VISIBLE_DEVICES is '7', which leaves this process no GPU: unset" in result.output


def test_cuda_that_is_asked_for_and_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installing CuPy is only advised where it is missing."""
    monkeypatch.setattr(backend, "cuda_problem", lambda: INSUFFICIENT)
    with pytest.raises(backend.DeviceError, match="`scratchfcn doctor` says what to do, or use --device cpu"):
        backend.resolve_device("cuda")
    monkeypatch.setattr(backend, "cuda_problem", lambda: "CuPy cannot be imported (No module named 'cupy')")
    with pytest.raises(backend.DeviceError, match="pip install -e"):
        backend.resolve_device("cuda:1")


# --- what the machine is like -------------------------------------------------------------------------------


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`smi(text, status)` makes a program nvidia-smi that prints `text`; before that there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(describe, "DRIVER", tmp_path / "nowhere")

    def write(text: str, status: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{text}'\nexit {status}\n")
        program.chmod(stat.S_IRWXU)

    return write


def test_versions_by_nvidia_smi(smi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fixes.nvidia_smi() is None
    assert describe.driver_version() is None
    smi("550.54.15")
    assert describe.driver_version() == "550.54.15"
    smi("| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4 |")
    machine = fixes.this_machine()
    assert machine.driver_cuda == "12.4"
    assert machine.runs == 12
    smi("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", 9)
    monkeypatch.setattr(fixes, "driver_cuda", lambda: None)
    machine = fixes.this_machine()
    assert (machine.driver, machine.driver_cuda) == (None, None)
    assert "none answers: nvidia-smi says 'NVIDIA-SMI has failed" in machine.driver_in_words()
    describe.DRIVER.write_text("535.1\n")  # where Linux says it
    assert describe.driver_version() == "535.1"


def test_versions_in_words() -> None:
    assert [describe.cuda_version(n) for n in (12040, 13000, 11080, 0)] == ["12.4", "13.0", "11.8", None]
    assert Machine().driver_in_words() == "none found: there is no nvidia-smi either"
    assert [Machine(package=p).cuda for p in ("cupy-cuda12x", "cupy-cuda13x", "cupy", None)] == [12, 13, None, None]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may open everything")
def test_a_device_file_that_is_closed(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia-caps"):
        (tmp_path / name).touch()
    assert fixes.closed_device(tmp_path) is None
    (tmp_path / "nvidia0").chmod(0)
    assert fixes.closed_device(tmp_path) == str(tmp_path / "nvidia0")


# --- a GPU --------------------------------------------------------------------------------------------------


def test_a_training_step_is_the_same_everywhere(device: str) -> None:
    assert doctor_gpu.compared(device)[2] == "✓", doctor_gpu.compared(device)[1]


def test_cublas_called_directly(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "matmul", lambda a, b: a @ b)
    assert doctor_gpu.multiplied(device)[2] == "✓"
    monkeypatch.setattr(gemm, "matmul", lambda a, b: a @ b * 1.001)
    assert doctor_gpu.multiplied(device)[1].startswith("WRONG NUMBERS")

    def missing(a: Any, b: Any) -> None:
        raise OSError("libcublas.so.12: cannot open shared object file")

    monkeypatch.setattr(gemm, "matmul", missing)
    _, text, mark = doctor_gpu.multiplied(device)
    assert mark == "!"
    assert text.startswith("cuBLAS cannot be called directly, so --cuda-graph fails: OSError: libcublas")
    assert fixes_for(text, Machine(**TWELVE)) == [fixes.libraries(Machine(**TWELVE))]
    text = text.replace("libcublas.so.12: cannot open shared object file", "no such thing")
    assert fixes_for(text, Machine(**TWELVE)) == ["train without --cuda-graph; please report what is said above"]


def test_other_numbers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([{"a": np.zeros(2), "b": np.zeros(1)}, {"a": np.zeros(2), "b": np.full(1, np.nan)}])
    monkeypatch.setattr(doctor_gpu, "step_on", lambda device: next(found))
    name, text, mark = doctor_gpu.compared("cpu")
    assert text.startswith("WRONG NUMBERS: without our kernels, b of a small training step differs by nan")
    assert (name, mark) == ("", "✗")

    def failing(device: str) -> None:
        raise KeyError("k")

    monkeypatch.setattr(doctor_gpu, "step_on", failing)
    assert doctor_gpu.compared("cpu")[1] == "a training step on the CPU fails: KeyError: 'k'"


def test_kernels_are_used_afterwards_as_before() -> None:
    before = kernels.enabled()
    with doctor_gpu.kernels_on(not before):
        assert kernels.enabled() is not before
    assert kernels.enabled() is before


def test_the_gpu_itself(device: str) -> None:
    if device == "cpu":
        pytest.skip("of a GPU")
    about = describe.describe_gpu(device)
    assert about["name"]
    assert about["cupy"] == backend.cupy().__version__
    assert 0 < about["memory_free"] <= about["memory_total"]
    assert about["multiprocessors"] > 0
    major, minor = about["compute_capability"].split(".")
    assert int(major) >= 5
    assert int(minor) >= 0
    result = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "250"})
    assert result.exit_code == 0
    for words in ("multiprocessors", "built for CUDA", "in our arrays", "✓ fit for training on cuda:0 and on the CPU"):
        assert words in result.output
