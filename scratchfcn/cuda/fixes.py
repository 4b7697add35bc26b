"""What to do where CUDA does not work: from the error's words, and what the machine is like, to the line that helps.

Many things have to be there, and to fit each other: a GPU that this process may use, NVIDIA's driver, CuPy built for a
CUDA that the driver runs, and beside CuPy the compiler (NVRTC), cuBLAS and headers of a CUDA that knows the GPU. What
is missing shows itself in one of a few dozen errors; `RULES` has the common ones.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import backend
from .describe import ASK, PATIENCE, cuda_version, driver_version

# the same library, built for different CUDAs
CUPY_PACKAGES = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
CUDA = re.compile(r"CUDA[A-Z ]* Version: *([\d.]+)")  # in what nvidia-smi prints
OUR_KERNELS = "with our kernels"
OURS = {  # what `doctor` says of a failure that may be this library's own, and what goes without it
    OUR_KERNELS: "SCRATCHFCN_KERNELS=0 does without our own kernels",
    "--cuda-graph fails": "train without --cuda-graph",
}
CONTAINER = "in a container, start it with --gpus all"
INSTALL_DRIVER = (
    "install NVIDIA's driver (on Ubuntu: sudo ubuntu-drivers install), restart, and see that nvidia-smi lists the GPU; "
    f"{CONTAINER}; under WSL, install it in Windows alone"
)


@dataclass(frozen=True)
class Machine:
    """What a fix depends on.

    package: CuPy's, as pip calls it. driver: its version. driver_cuda: the newest CUDA that it runs. smi: what
    nvidia-smi prints, or complains of; None where it is not there. visible: CUDA_VISIBLE_DEVICES, None where unset.
    closed: a GPU's device file that this user may not open.
    """

    package: str | None = None
    driver: str | None = None
    driver_cuda: str | None = None
    smi: str | None = None
    visible: str | None = None
    closed: str | None = None

    @property
    def cuda(self) -> int | None:
        """The CUDA that CuPy's package is for: 12."""
        found = re.search(r"cuda(\d+)x", self.package or "")
        return int(found[1]) if found else None

    @property
    def runs(self) -> int | None:
        """The newest CUDA that the driver runs: 12."""
        return int(self.driver_cuda.partition(".")[0]) if self.driver_cuda else None

    def driver_in_words(self) -> str:
        """For people, beside the other things that a machine has."""
        if self.driver is None and self.driver_cuda is None:
            if self.smi is None:
                return "none found: there is no nvidia-smi either"
            return f"none answers: nvidia-smi says {' '.join(self.smi.split())[:200]!r}"
        return f"NVIDIA {self.driver or 'of unknown version'}, runs CUDA up to {self.driver_cuda or '?'}"


def this_machine() -> Machine:
    """What can be told without CuPy, which may be what does not work."""
    smi = nvidia_smi()
    found = CUDA.search(smi or "")
    packages = installed_cupys()
    return Machine(
        packages[0] if packages else None,
        driver_version(),
        found[1] if found else driver_cuda(),
        smi,
        os.environ.get("CUDA_VISIBLE_DEVICES"),
        closed_device(),
    )


def installed_cupys() -> list[str]:
    """CuPy's packages; there should be one at most."""
    installed = []
    for name in CUPY_PACKAGES:
        try:
            importlib.metadata.version(name)
            installed.append(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return installed


def nvidia_smi() -> str | None:
    """What it prints; None where it is not there."""
    command = shutil.which(ASK)
    if command is None:
        return None
    try:
        done = subprocess.run([command], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return done.stdout + done.stderr


def driver_cuda() -> str | None:
    """The newest CUDA that the driver runs, as CuPy hears it, even where it is too old for CuPy."""
    try:
        return cuda_version(backend.cupy().cuda.runtime.driverGetVersion())
    except Exception:  # no CuPy, or none that works: then nobody says
        return None


def closed_device(folder: Path = Path("/dev")) -> str | None:
    """A GPU's device file that this user may not read and write."""
    for path in sorted([*folder.glob("nvidia[0-9]*"), *folder.glob("nvidiactl"), *folder.glob("nvidia-uvm")]):
        if not os.access(path, os.R_OK | os.W_OK):
            return str(path)
    return None


# --- from words to fixes ------------------------------------------------------------------------------------


def fixes_for(problem: str, machine: Machine) -> list[str]:
    """What to do about what `backend.cuda_problem()` says, in order."""
    if "Driver/library version mismatch" in (machine.smi or ""):  # updated, and the old one is still at work
        return [restart(machine)]
    rule = next((rule for words, rule in RULES if any(word in problem for word in words)), None)
    ours = next((text for words, text in OURS.items() if words in problem), None)
    if rule is None and ours is not None:
        return [f"{ours}; please report what is said above"]
    rule = rule or reinstall
    without_driver = machine.driver is None and machine.driver_cuda is None and rule in (no_cupy, libraries, reinstall)
    return [rule(machine), *([f"the driver for a GPU: {INSTALL_DRIVER}"] if without_driver else [])]


def no_cupy(machine: Machine) -> str:
    """What is built for CUDA 12 runs with drivers for CUDA 13 as well."""
    if machine.runs is not None and machine.runs < 12:
        return f"for a GPU: {newer_driver(machine)}; then {backend.PIP_LINE}"
    return f"for a GPU: {backend.PIP_LINE}"


def with_libraries(machine: Machine) -> str:
    """CuPy brings neither compiler nor cuBLAS; from version 14 on, pip can install both with it."""
    line = f'pip install -U "{package_for(machine)}[ctk]>=14"'
    other = machine.package not in (None, package_for(machine))  # two CuPys overwrite each other's files
    return f"pip uninstall -y {machine.package} && {line}" if other else line


def package_for(machine: Machine) -> str:
    return machine.package if machine.cuda in (12, 13) else "cupy-cuda12x"


def libraries(machine: Machine) -> str:
    return f"CuPy's own libraries from CUDA are missing, or of another version: {with_libraries(machine)}"


def old_driver(machine: Machine) -> str:
    if machine.driver is None and machine.driver_cuda is None:
        return f"there is no NVIDIA driver: {INSTALL_DRIVER}"
    if machine.cuda == 13 and machine.runs == 12:
        return (
            f"the driver runs CUDA up to {machine.driver_cuda}, and {machine.package} is for CUDA 13: "
            f'pip uninstall -y {machine.package} && pip install "cupy-cuda12x[ctk]>=14"; or {newer_driver(machine)}'
        )
    return newer_driver(machine)


def newer_driver(machine: Machine) -> str:
    """525 is the first driver for CUDA 12, 580 the first for CUDA 13."""
    least = 580 if machine.cuda == 13 else 525
    now = f"{machine.driver or 'this one'} runs CUDA up to {machine.driver_cuda or '?'}"
    return f"update NVIDIA's driver to {least} or newer ({now}), and restart"


def no_device(machine: Machine) -> str:
    if machine.visible is not None:
        return (
            f"CUDA_VISIBLE_DEVICES is {machine.visible!r}, which leaves this process no GPU: unset "
            "CUDA_VISIBLE_DEVICES, or give it the number of a GPU that `nvidia-smi -L` lists"
        )
    if machine.closed is not None:
        return (
            f"this user may not open {machine.closed}: sudo usermod -aG $(stat -c %G {machine.closed}) $USER, then log "
            f"in again; {CONTAINER}"
        )
    if machine.driver is None and machine.smi is None:
        return f"there is no NVIDIA GPU, or no driver for it: {INSTALL_DRIVER}"
    return f"`nvidia-smi -L` must list a GPU; if it does: sudo modprobe nvidia_uvm, or restart; {CONTAINER}"


def architecture(machine: Machine) -> str:
    """CUDA 13's compiler begins with compute capability 7.5, CUDA 12's (12.9) with 5.0."""
    if machine.cuda == 13:
        return (
            "the compiler of CUDA 13 knows GPUs from compute capability 7.5 on (Turing); for older ones, from 5.0 on: "
            f'pip uninstall -y {machine.package} && pip install "cupy-cuda12x[ctk]>=14"'
        )
    return (
        "the compiler does not know this GPU: it is either newer than the CUDA that is installed, which "
        f"{with_libraries(machine)} mends, or older than compute capability 5.0, which no compiler of CUDA 12 serves; "
        "a CUDA 13 that is found first (CUDA_PATH, LD_LIBRARY_PATH) serves none below 7.5"
    )


def full(machine: Machine) -> str:
    return (
        "the GPU's memory is taken: nvidia-smi lists the programs that hold it; end one, or choose another GPU with "
        "--device cuda:1"
    )


def old_numpy(machine: Machine) -> str:
    return f"CuPy is too old for this NumPy: pip install -U {package_for(machine)}"


def restart(machine: Machine) -> str:
    return "the driver was updated, or has crashed: restart the machine; nvidia-smi must work before CuPy can"


def busy(machine: Machine) -> str:
    return (
        "another program has the GPU to itself: end it (nvidia-smi lists it), or, as root, nvidia-smi -c DEFAULT lets "
        "several use it"
    )


def fabric(machine: Machine) -> str:
    return "a machine with NVSwitch needs its fabric manager: sudo systemctl start nvidia-fabricmanager"


def compatibility(machine: Machine) -> str:
    return "take the cuda-compat folder out of LD_LIBRARY_PATH (it is for data centre GPUs), or update the driver"


def stubs(machine: Machine) -> str:
    return "take CUDA's folder lib64/stubs out of LD_LIBRARY_PATH: its libcuda.so is for linking, and does nothing"


def reinstall(machine: Machine) -> str:
    if machine.package is None:
        return no_cupy(machine)
    again = f"pip uninstall -y {machine.package} && {with_libraries(Machine(package_for(machine)))}"
    return f'{again}; what CuPy itself sees: python -c "import cupy; cupy.show_config()"'


# The first rule that has one of the error's words decides. Names of errors are CUDA's, whoever reports them.
RULES: tuple[tuple[tuple[str, ...], Callable[[Machine], str]], ...] = (
    (("No module named 'cupy'",), no_cupy),
    (("libcuda.so", "nvcuda.dll"), old_driver),  # the driver's own library
    (("cudaErrorInsufficientDriver",), old_driver),
    (("cudaErrorStubLibrary",), stubs),
    (("cudaErrorNoDevice", "finds no NVIDIA GPU"), no_device),
    (("cudaErrorSystemDriverMismatch",), restart),
    (("cudaErrorSystemNotReady",), fabric),
    (("cudaErrorCompatNotSupportedOnDevice",), compatibility),
    (("cudaErrorDevicesUnavailable",), busy),
    (("cudaErrorMemoryAllocation", "OutOfMemoryError", "CUBLAS_STATUS_ALLOC_FAILED"), full),
    (("--gpu-architecture", "NVRTC_ERROR_INVALID_OPTION", "cudaErrorNoKernelImageForDevice"), architecture),
    (("cudaErrorUnsupportedPtxVersion", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"), newer_driver),
    (("libcu", "libnv", "Failure finding", "failed to load", "cannot open source file", "DLL load failed"), libraries),
    (("CUBLAS_STATUS_NOT_INITIALIZED",), full),  # cuBLAS found no room for itself
    (("numpy.core", "numpy.dtype size changed", "_ARRAY_API"), old_numpy),
    (("cudaErrorInitializationError", "cudaErrorUnknown"), restart),
)
