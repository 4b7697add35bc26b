"""The command line as such: what it lists, what it says about errors, and the doctor."""

import errno
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import scratchfcn
from scratchfcn import DeviceError, backend, parallel
from scratchfcn.cli import app, doctor
from scratchfcn.data.errors import DataError
from scratchfcn.weights import CheckpointError

COMMANDS = [
    "demo",
    "train",
    "val",
    "predict",
    "check-data",
    "gradcheck",
    "learn",
    "explain",
    "bench",
    "models",
    "doctor",
    "summary",
    "trace",
]


def run(*args: str, **settings: Any) -> Result:
    return CliRunner().invoke(app, list(args), prog_name="scratchfcn", **settings)


def python(program: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=False)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """`failing(error)` makes the command `doctor` raise `error`."""

    def install(error: BaseException) -> None:
        def command() -> None:
            raise error

        info = next(info for info in app.registered_commands if info.name == "doctor")
        monkeypatch.setattr(info, "callback", command)

    return install


# --- what there is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--help"], ["-h"], []])
def test_help_lists_the_commands(args: list[str]) -> None:
    result = run(*args)
    for name in COMMANDS:
        assert f" {name} " in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert command in result.output


def test_python_m_scratchfcn_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scratchfcn", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"scratchfcn {scratchfcn.__version__}\n")


def test_help_needs_nothing_heavy() -> None:
    program = """
import sys
from scratchfcn.cli import main
try:
    sys.argv[1:] = ["--help"]
    main()
finally:
    heavy = {"matplotlib", "PIL", "torch", "cupy", "safetensors"} & set(sys.modules)
    assert not heavy, heavy
"""
    start = time.perf_counter()
    done = python(program)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 5  # takes a third of a second; the margin is for busy machines


def test_a_wrong_option_is_a_usage_error() -> None:
    result = run("doctor", "--nonsense")
    assert result.exit_code == 2
    assert "No such option" in result.output
    assert run("dcotor").exit_code == 2


# --- errors -------------------------------------------------------------------------------------------------

MENDABLE = [
    (
        DataError(["a.png: is broken", "b.png: is empty"], "delete them"),
        "✗ a.png: is broken\n✗ b.png: is empty\n  fix: delete them\n",
    ),
    (CheckpointError("w.pth: is empty"), "✗ w.pth: is empty\n"),
    (DeviceError("device 'cuda' cannot be used"), "✗ device 'cuda' cannot be used\n"),
    (FileNotFoundError(errno.ENOENT, "No such file", "x.png"), "✗ x.png: no such file\n"),
    (PermissionError(errno.EACCES, "Permission denied", "/a/x"), "✗ /a/x: permission denied\n"),
    (ValueError("lr must be > 0"), "✗ lr must be > 0\n  (--debug shows where this comes from)\n"),
    (OSError(errno.ENOSPC, "No space left"), f"✗ [Errno {errno.ENOSPC}] No space left\n  fix: free some space"),
    (MemoryError("9 TiB"), "✗ out of memory (9 TiB)\n  fix: a smaller --batch-size"),
]


@pytest.mark.parametrize(("error", "expected"), MENDABLE, ids=[type(error).__name__ for error, _ in MENDABLE])
def test_what_the_user_can_mend_is_one_message_and_exit_2(
    error: Exception, expected: str, failing: Callable[[BaseException], None]
) -> None:
    failing(error)
    result = run("doctor")
    assert result.exit_code == 2
    assert result.stderr.startswith(expected)
    assert result.stdout == ""
    assert "Traceback" not in result.output


@pytest.mark.parametrize("args", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_lets_the_traceback_through(args: list[str], failing: Callable[[BaseException], None]) -> None:
    error = DataError("a.png: is broken")
    failing(error)
    assert run(*args).exception is error


def test_debug_by_the_environment(failing: Callable[[BaseException], None]) -> None:
    error = DataError("a.png: is broken")
    failing(error)
    assert run("doctor", env={"SCRATCHFCN_DEBUG": "1"}).exception is error
    assert run("doctor", env={"SCRATCHFCN_DEBUG": "0"}).exit_code == 2


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), AssertionError("x"), RuntimeError("x")])
def test_our_own_mistakes_keep_their_traceback(error: Exception, failing: Callable[[BaseException], None]) -> None:
    failing(error)
    result = run("doctor")
    assert result.exit_code == 1
    assert result.exception is error
    assert "Please report it" in error.__notes__[0]


FAIL = """
import sys
from scratchfcn.cli import app, main
def command():
    raise {error}
next(info for info in app.registered_commands if info.name == "doctor").callback = command
sys.argv[1:] = ["doctor"]
main()
"""


def test_the_program_on_a_mistake_of_ours() -> None:
    done = python(FAIL.format(error="KeyError('weight')"))
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "KeyError: 'weight'" in done.stderr
    assert done.stderr.rstrip().endswith("Please report it, with the lines above and the command.")


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        ("ValueError('no such thing')", 2, "✗ no such thing"),
        ("KeyboardInterrupt", 130, "✗ stopped"),
        ("KeyboardInterrupt('saved runs/exp1')", 130, "✗ saved runs/exp1"),
        ("SystemExit(7)", 7, ""),
    ],
)
def test_exit_statuses_of_the_program(error: str, status: int, text: str) -> None:
    done = python(FAIL.format(error=error))
    assert done.returncode == status
    assert done.stderr.strip().startswith(text)
    assert "Traceback" not in done.stderr


# --- doctor -------------------------------------------------------------------------------------------------


def test_doctor_finds_the_cpu_working() -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    for word in [
        "numpy",
        "BLAS",
        "pillow",
        "cupy",
        "cores",
        "memory",
        "convolution right",
        "GFLOP/s",
        "✓ fit for training",
    ]:
        assert word in " ".join(result.output.split())


def test_doctor_says_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "cuda_problem", lambda: "CuPy cannot be imported (No module named 'cupy')")
    result = run("doctor")
    assert result.exit_code == 0
    assert "not usable: CuPy cannot be imported (No module named 'cupy')" in " ".join(result.output.split())
    assert f"fix: for a GPU: {backend.PIP_LINE}\n" in result.output  # whole, and not eaten as markup


def test_doctor_notices_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    right = doctor.Conv2d.backward

    def wrong(self: Any, gy: Any) -> Any:
        gx, gw, gb = right(self, gy)
        return gx, gw * 1.001, gb

    monkeypatch.setattr(doctor.Conv2d, "backward", wrong)
    result = run("doctor")
    assert result.exit_code == 1
    assert "WRONG NUMBERS" in result.output
    assert "✗ not fit for training" in result.output


def test_doctor_reports_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "pillow" else installed(name))
    result = run("doctor")
    assert result.exit_code == 1
    assert "fix: pip install -e .\n" in result.output


def test_doctor_reports_two_cupys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version_of", lambda name: "13.6.0")
    rows, fixes = doctor.software_rows()
    assert [mark for name, _, mark in rows if name == "cupy"] == ["!"]
    assert fixes[0].startswith("pip uninstall -y cupy ")


def test_the_convolution_is_right(device: str) -> None:
    assert doctor.convolution_error(device) < 1e-12
    assert doctor.gemm_gflops(device, size=64) > 0
    assert np.isfinite(doctor.convolution_seconds(device))


def test_cores_and_memory() -> None:
    assert parallel.usable_cores() >= 1
    total, _ = doctor.memory()
    assert total is None or total > 2**28
