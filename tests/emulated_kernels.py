"""CUDA kernels without a GPU: RawModule for the stand-in of CuPy, by way of g++.

The source that would go to NVRTC goes to g++, behind a header that says what CUDA's words mean on a processor, and with
an entry per kernel that runs its threads one after the other. What is shown: that the arithmetic and the indices are
right, and that arguments are exactly what the kernel's signature says, for neither CuPy nor a GPU checks that. What is
not: speed, and what goes wrong only where threads really run at once.

- A kernel with __syncthreads() runs the threads of a block as fibers, which take turns there. A thread that returns
  while others wait is an error. `__shared__` arrays must have a fixed size.
- Every other launch runs blocks and threads backwards, so that a result that depends on their order is noticed.
- Not imitated: warp shuffles, atomics on floating point numbers, textures, dynamic shared memory.
"""

import ctypes
import functools
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

COMPILER = shutil.which("g++")
# any other warning is an error; threadIdx.x is unsigned, as in CUDA
QUIET = ("-Wno-unused-function", "-Wno-sign-compare")
NO_COMPILER = "the CUDA kernels are compiled with g++ here, and there is none"
if COMPILER is None:
    os.environ.setdefault("SCRATCHFCN_KERNELS", "0")  # the ops take their plain way

HEADER = r"""
#include <cmath>
#include <algorithm>
#include <vector>
#include <setjmp.h>
#include <ucontext.h>
using namespace std;

#define __global__
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __shared__ static thread_local
#define __launch_bounds__(...)

struct dim3 { unsigned x, y, z; };
static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

template <class T> static T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }
float atomicAdd(float*, float) = delete;  // in what order they add is not fixed, so neither is the result
double atomicAdd(double*, double) = delete;
template <class T> static T atomicMax(T* p, T v) { T old = *p; *p = old < v ? v : old; return old; }
template <class T> static T atomicMin(T* p, T v) { T old = *p; *p = v < old ? v : old; return old; }
template <class T> static T atomicAnd(T* p, T v) { T old = *p; *p = old & v; return old; }
template <class T> static T atomicOr(T* p, T v) { T old = *p; *p = old | v; return old; }
template <class T> static T atomicExch(T* p, T v) { T old = *p; *p = v; return old; }
template <class T> static T __ldg(const T* p) { return *p; }
static void __threadfence() {}

// --- fibers: the threads of a block take turns at __syncthreads() ---
// Each has a stack of its own, made by makecontext; from then on they change over by longjmp, which asks the system
// for nothing. A fiber runs its thread of one block after the other.
static thread_local jmp_buf scheduler, *fiber;
static thread_local bool ended;

static void change_over() { if (!_setjmp(*fiber)) _longjmp(scheduler, 1); }
static void __syncthreads() { change_over(); }

template <class F> struct Fibers {
    static thread_local F* body;
    static void run() { for (;;) { (*body)(); ended = true; change_over(); } }
};
template <class F> thread_local F* Fibers<F>::body;

struct Fiber {
    ucontext_t beginning;
    jmp_buf place;
    bool begun;
};
static thread_local vector<Fiber> fibers;  // of this launch

static __attribute__((noinline)) void resume(Fiber& f) {
    fiber = &f.place;
    if (_setjmp(scheduler)) return;
    if (f.begun) _longjmp(f.place, 1);
    f.begun = true;
    setcontext(&f.beginning);
}

static dim3 thread_at(unsigned i) {
    return {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
}

// Runs one block; false where some threads have ended while others wait.
template <class F> static bool run_fibers(F& body, bool backwards) {
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z, STACK = 1 << 16;
    static thread_local vector<char> stacks;
    Fibers<F>::body = &body;
    if (fibers.empty()) {
        stacks.resize((size_t)threads * STACK);
        fibers.resize(threads);
        for (unsigned i = 0; i < threads; i++) {
            ucontext_t& context = fibers[i].beginning;
            getcontext(&context);
            context.uc_stack.ss_sp = &stacks[(size_t)i * STACK];
            context.uc_stack.ss_size = STACK;
            makecontext(&context, (void (*)())Fibers<F>::run, 0);
        }
    }
    for (unsigned left = threads; left;) {
        unsigned ends = 0;
        for (unsigned i = 0; i < threads; i++) {
            const unsigned t = backwards ? threads - 1 - i : i;
            ended = false;
            threadIdx = thread_at(t);
            resume(fibers[t]);
            ends += ended;
        }
        if (ends && ends < threads) return false;
        left -= ends;
    }
    return true;
}

template <class F> static bool run_loop(F& body, bool backwards) {
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned i = 0; i < threads; i++) {
        threadIdx = thread_at(backwards ? threads - 1 - i : i);
        body();
    }
    return true;
}

#define LAUNCH(run, ...)                                                                       \
    gridDim = {sizes[0], sizes[1], sizes[2]};                                                  \
    blockDim = {sizes[3], sizes[4], sizes[5]};                                                 \
    const unsigned long long blocks = (unsigned long long)sizes[0] * sizes[1] * sizes[2];      \
    auto body = [&] { __VA_ARGS__; };                                                          \
    fibers.clear();                                                                            \
    for (unsigned long long i = 0; i < blocks; i++) {                                          \
        const unsigned long long b = backwards ? blocks - 1 - i : i;                           \
        blockIdx = {unsigned(b % gridDim.x), unsigned(b / gridDim.x % gridDim.y),              \
                    unsigned(b / gridDim.x / gridDim.y)};                                      \
        if (!run(body, backwards)) return 1;                                                   \
    }                                                                                          \
    return 0;

#line 1 "kernels.cu"
"""

# --- what a kernel's signature asks for ---------------------------------------------------------------------

DTYPES = {
    "bool": "bool",
    "char": "int8",
    "signed char": "int8",
    "unsigned char": "uint8",
    "short": "int16",
    "int": "int32",
    "unsigned": "uint32",
    "unsigned int": "uint32",
    "long long": "int64",
    "unsigned long long": "uint64",
    "float": "float32",
    "double": "float64",
}


class Parameter(NamedTuple):
    """One parameter of a kernel: its C++ type, without const and without the star of a pointer."""

    name: str
    type: str
    pointer: bool

    def address(self, kernel: str, value: Any) -> tuple[Any, Any]:
        """A ctypes object that holds what the kernel is to get, and what must live as long; TypeError if unfit."""
        import strict_cupy

        dtype = DTYPES.get(self.type)
        what = f"{kernel}: {self.name} is {self.type}{'*' if self.pointer else ''}, but got"
        if self.pointer:
            if not isinstance(value, strict_cupy.ndarray):
                raise TypeError(f"{what} a {type(value).__name__}")
            if dtype is not None and value.dtype != dtype:
                raise TypeError(f"{what} an array of {value.dtype}")
            return ctypes.c_void_p(value._array.ctypes.data), value._array
        if dtype is not None:
            if type(value) is not np.dtype(dtype).type:
                raise TypeError(f"{what} a {type(value).__name__}, which has other bytes")
            return ctypes.create_string_buffer(value.tobytes()), None
        if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype.fields is None:
            raise TypeError(f"{what} a {type(value).__name__}: CuPy passes a struct as a NumPy array of one number")
        return ctypes.create_string_buffer(value.tobytes(), value.itemsize), None


def signatures(code: str, real: str) -> dict[str, list[Parameter]]:
    """The parameters of every kernel in `code`."""
    found = re.finditer(r'extern "C" __global__ void\s+(?:__launch_bounds__\(\w+\)\s+)?(\w+)\s*\(([^)]*)\)', code)
    return {match[1]: [_parameter(text, real) for text in match[2].split(",") if text.strip()] for match in found}


def _parameter(text: str, real: str) -> Parameter:
    words = re.sub(r"\bconst\b|\b__restrict__\b|\bstruct\b", " ", text).replace("*", " * ").split()
    *kind, name = words
    kind = [real if word == "Real" else word for word in kind]
    return Parameter(name, " ".join(word for word in kind if word != "*"), "*" in kind)


def without_comments(code: str) -> str:
    """The source with spaces in place of comments; lines keep their numbers."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda match: re.sub(r"[^\n]", " ", match[0]), code, flags=re.DOTALL)


def bodies(code: str) -> Iterator[tuple[str, str]]:
    """The name and text of every function of `code`, which has no comments."""
    for match in re.finditer(r"(\w+)\s*\([^(){};]*\)\s*{", code):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
        yield match[1], code[match.end() : end]


def waiting(code: str) -> set[str]:
    """The functions whose threads wait for each other, themselves or in a function that they call."""
    names, texts = {"__syncthreads"}, list(bodies(code))
    while True:
        more = {name for name, text in texts if any(re.search(rf"\b{other}\s*\(", text) for other in names)}
        if more <= names:
            return names
        names |= more


# --- compiling ----------------------------------------------------------------------------------------------


def entries(kernels: dict[str, list[Parameter]], fibers: set[str]) -> str:
    """C++ that runs all threads of a launch, for every kernel."""
    lines = []
    for name, parameters in kernels.items():
        types = [p.type + (" *" if p.pointer else "") for p in parameters]
        arguments = ", ".join(f"*({type} *)arguments[{i}]" for i, type in enumerate(types))
        lines += [
            f'extern "C" int emulate_{name}(const unsigned *sizes, bool backwards, void **arguments) {{',
            f"LAUNCH({'run_fibers' if name in fibers else 'run_loop'}, {name}({arguments}))",
            "}",
            f'extern "C" int emulate_{name}_bytes(int i) {{',
            f"const int bytes[] = {{{', '.join([*(f'(int)sizeof({type})' for type in types), '0'])}}};",
            "return bytes[i]; }",
        ]
    return "\n".join(lines)


def library(code: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """`code` compiled; from the cache of this machine where it has been compiled before."""
    if COMPILER is None:
        raise RuntimeError(NO_COMPILER)
    folder = Path(tempfile.gettempdir()) / f"scratchfcn-emulated-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    jumps = ("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=0")  # which takes a jump to another stack for an attack
    command = [COMPILER, "-O2", *jumps, "-shared", "-fPIC", "-ffp-contract=off", "-Wall", *QUIET, *flags]
    known_by = hashlib.sha256("\0".join([*command, code]).encode()).hexdigest()
    finished = folder / f"{known_by[:32]}.so"
    if not finished.exists():
        unfinished = Path(tempfile.mkdtemp(dir=folder))  # other processes may be compiling the same
        (unfinished / "kernels.cpp").write_text(code, encoding="utf-8")
        build = [*command, "-o", str(unfinished / "kernels.so"), str(unfinished / "kernels.cpp")]
        run = subprocess.run(build, capture_output=True, text=True)
        if run.returncode or "warning:" in run.stderr:
            shutil.rmtree(unfinished)
            raise RuntimeError(f"g++ does not like the kernels:\n{run.stderr[:5000]}")
        os.replace(unfinished / "kernels.so", finished)
        shutil.rmtree(unfinished)
    return ctypes.CDLL(str(finished))


@functools.cache
def compiled(code: str, options: tuple[str, ...]) -> tuple[ctypes.CDLL, dict[str, list[Parameter]]]:
    """The library and the kernels' parameters. `options` are NVRTC's."""
    defines = [option for option in options if option.startswith(("-D", "-std="))]
    unknown = set(options) - set(defines) - {"--fmad=false"}
    if unknown:
        raise ValueError(f"emulated_kernels.py does not know NVRTC's {sorted(unknown)}")
    real = next((option.removeprefix("-DReal=") for option in options if option.startswith("-DReal=")), "Real")
    plain = without_comments(code)
    kernels = signatures(plain, real)
    whole = f"{HEADER}{code}\n{entries(kernels, waiting(plain))}\n"
    return library(whole, tuple(defines)), kernels


# --- as CuPy offers it --------------------------------------------------------------------------------------

_launches = itertools.count()


class Kernel:
    """What `get_function` gives: called with the grid, the block, and the arguments."""

    def __init__(self, name: str, entry: Any, parameters: list[Parameter], sizes: list[int]) -> None:
        self.name, self._entry, self._parameters, self._sizes = name, entry, parameters, sizes

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        import strict_cupy

        sizes = self._launch_sizes(grid, block)
        if shared_mem:
            raise NotImplementedError(f"{self.name}: dynamic shared memory is not emulated")
        if len(args) != len(self._parameters):
            raise TypeError(f"{self.name} takes {len(self._parameters)} arguments, but got {len(args)}")
        held = [p.address(self.name, value) for p, value in zip(self._parameters, args, strict=True)]
        for p, (holder, _), size in zip(self._parameters, held, self._sizes, strict=True):
            if not p.pointer and p.type not in DTYPES and len(holder) != size:
                raise TypeError(f"{self.name}: {p.name} is a {p.type} of {size} bytes, but got {len(holder)}")
        addresses = (ctypes.c_void_p * max(1, len(held)))(*(ctypes.addressof(holder) for holder, _ in held))

        def work() -> None:
            assert held is not None  # keeps the arguments alive
            if self._entry(sizes, bool(next(_launches) % 2), addresses):
                raise RuntimeError(f"{self.name}: some threads of a block ended while others wait in __syncthreads()")

        strict_cupy.do(work, *(value for value in args if isinstance(value, strict_cupy.ndarray)))

    def _launch_sizes(self, grid: tuple[int, ...], block: tuple[int, ...]) -> Any:
        """Six numbers; ValueError for what CUDA refuses."""
        if not (isinstance(grid, tuple) and isinstance(block, tuple)):
            raise TypeError(f"{self.name}: grid and block must be tuples, got {grid!r} and {block!r}")
        sizes = [*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3]]
        limits = [2**31 - 1, 65535, 65535, 1024, 1024, 64]
        within = all(type(n) is int and 1 <= n <= most for n, most in zip(sizes, limits, strict=True))
        if not within or sizes[3] * sizes[4] * sizes[5] > 1024:
            raise ValueError(f"{self.name}: CUDA launches no grid {grid} of blocks {block}")
        return (ctypes.c_uint * 6)(*sizes)


class RawModule:
    """CUDA source, compiled for the processor."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        if not isinstance(code, str) or not isinstance(options, tuple) or backend != "nvrtc":
            raise TypeError("RawModule: code must be a str, options a tuple, the backend nvrtc")
        self.code, self.options = code, options

    def get_function(self, name: str) -> Kernel:
        library, kernels = compiled(self.code, self.options)
        if name not in kernels:
            raise AttributeError(f'there is no extern "C" __global__ void {name} in the source')
        entry, size_of = getattr(library, f"emulate_{name}"), getattr(library, f"emulate_{name}_bytes")
        entry.argtypes = [ctypes.POINTER(ctypes.c_uint), ctypes.c_bool, ctypes.POINTER(ctypes.c_void_p)]
        sizes = [size_of(i) for i in range(len(kernels[name]))]
        return Kernel(name, entry, kernels[name], sizes)
