"""A stand-in for CuPy, for machines without a GPU: NumPy's arithmetic behind CuPy's refusals.

With SCRATCHFCN_STAND_IN=1, conftest.py installs it as the module `cupy` before anything asks for it, so that every test
of the device "cuda" runs, on the processor. Its arrays hold a NumPy array and let nobody see it: what would fail, or
copy behind one's back, on a GPU fails here. What it cannot say is whether CuPy's kernels compute what NumPy does.

Compared with CuPy 13.6 (its documentation and source; names and signatures with the installed package):

- An array is never made NumPy's by itself: `__array__` raises TypeError. `get`, `item`, `tolist`, `float`, `int`,
  `bool` and printing copy to the host; `synchronised()` counts them.
- Streams, events, graphs, memory pools and pinned memory are in tests/strict_cuda.py. While a stream is being captured
  nothing is computed: results have the right shape and hold garbage, and what writes into an array leaves it as it is.
  Copies to and from the host are refused, and so is whatever CuPy has cuBLAS do.
- Operators and ufuncs take arrays and single numbers. NumPy arrays (0-d ones too), lists and None are a TypeError,
  "Unsupported type …"; an operand whose `__array_ufunc__` is None, as a Tensor's, is asked to do the operation.
- Reductions, and indexing by numbers, give 0-d arrays: the latter views, where NumPy gives scalars that it has copied.
- An array is no index into a list or a range (it has no `__index__`).
- What is assigned to `x[…]`, and `out=`, is no NumPy array. ufuncs take `out`, `dtype` and `casting`, but no `where`;
  reductions neither `where` nor `initial`. Flags know no `writeable`.
- Functions and methods that CuPy lacks are not there, nor are settings that its own do not take.
- No warnings: a GPU divides by zero silently.

Stricter than CuPy, where CuPy lets something slow or doubtful pass:

- np.sum(x) and np.add(x, y) would be passed on to CuPy. Called in a file of this project they are refused, for there
  they are slips; elsewhere, as in a learner's exercise, they are passed on.
- NumPy arrays as indices, or assigned by an index array, would be copied to the GPU, each time anew.
- An index beyond the end wraps around in CuPy; here it is an IndexError.
- Next to an array, CuPy 13 looks at the value of a NumPy scalar to find the result's dtype, as NumPy 1 did; CuPy 14 at
  its dtype, as NumPy 2 does. Where that makes a difference, it is a TypeError.

Fresh results are laid out in C order, whatever the order of what they are made of. Random numbers, linear algebra and
kernels other than RawModule's (tests/emulated_kernels.py) are left out.
"""

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import emulated_kernels
import numpy as np
import strict_cuda
from strict_cuda import CUDARuntimeError, Device, do, synchronised  # noqa: F401 - asked for here

NUMBERS = (bool, int, float, complex, np.generic)
TESTS = Path(__file__).resolve().parent
OURS = tuple(f"{folder}/" for folder in (TESTS, TESTS.parent / "scratchfcn"))  # where a call of np. is a slip

# --- into NumPy and back ----------------------------------------------------------------------------------


def _refuse(x: Any) -> NoReturn:
    raise TypeError(f"Unsupported type {type(x)}")


def _operand(x: Any) -> Any:
    """What a ufunc may work on: an array's NumPy array, or a number."""
    if isinstance(x, ndarray):
        return x._array
    return x if isinstance(x, NUMBERS) else _refuse(x)


def _inside(x: Any) -> Any:
    """An argument in NumPy's terms: arrays are unpacked within tuples and lists too, and NumPy arrays refused."""
    if isinstance(x, np.ndarray):
        _refuse(x)
    if isinstance(x, tuple | list):
        return type(x)(_inside(part) for part in x)
    return x._array if isinstance(x, ndarray) else x


def _outside(x: Any) -> Any:
    """A result of NumPy's in CuPy's terms: arrays and scalars become arrays, within tuples and lists too."""
    if isinstance(x, np.ndarray | np.generic):
        return _new(np.asarray(x))
    if isinstance(x, tuple | list):
        return type(x)(_outside(part) for part in x)
    return x


def _new(array: np.ndarray) -> "ndarray":
    x = object.__new__(ndarray)
    x._array, x._block = array, _block(array)
    return x


def _c_order(x: Any) -> Any:
    """A fresh result in the order that CuPy gives it."""
    if isinstance(x, tuple | list):
        return type(x)(_c_order(part) for part in x)
    return np.asarray(x, order="C") if isinstance(x, np.ndarray | np.generic) else x


def _settings(name: str, kwargs: dict[str, Any], allowed: str) -> dict[str, Any]:
    """Keyword arguments in NumPy's terms, as far as CuPy takes them."""
    unknown = set(kwargs) - set(allowed.split())
    if unknown:
        raise TypeError(f"cupy's {name} takes no {sorted(unknown)}")
    if kwargs.get("out") is not None and not isinstance(kwargs["out"], ndarray):
        raise TypeError(f"{name}: Output arguments type must be cupy.ndarray, not {type(kwargs['out'])}")
    return {key: _inside(value) for key, value in kwargs.items()}


def _ufunc(ufunc: np.ufunc, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A ufunc's result: `out` itself, or new arrays."""
    if len(inputs) > ufunc.nin:  # xp.add(x, y, out)
        kwargs = {**kwargs, "out": inputs[ufunc.nin]}
        inputs = inputs[: ufunc.nin]
    operands = tuple(_operand(x) for x in inputs)
    _refuse_doubtful_dtype(ufunc.__name__, operands)
    settings = _settings(ufunc.__name__, kwargs, "out dtype casting")
    return _computed(ufunc, operands, settings, kwargs.get("out"), _c_order)


# --- computing --------------------------------------------------------------------------------------------

CUBLAS = {"dot", "einsum", "matmul", "tensordot"}


def _computed(
    function: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any], out: Any, laid: Callable[[Any], Any]
) -> Any:
    """What a function of NumPy's gives, laid out by `laid`; or `out`, which it has written to."""
    _refuse_cublas(function.__name__, args)
    settings = {key: value for key, value in settings.items() if key != "out"}
    if out is None:
        return _outside(_fresh(lambda: laid(function(*args, **settings)), (*args, *settings.values())))
    _into(out, lambda array: function(*args, out=array, **settings), (*args, *settings.values()))
    return out


def _refuse_cublas(name: str, args: tuple[Any, ...]) -> None:
    if name not in CUBLAS or not strict_cuda.is_capturing():
        return
    arrays = _arrays(args)
    if len(arrays) > 1 and all(x.dtype.kind in "fc" for x in arrays):
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")


def _refuse_doubtful_dtype(name: str, operands: tuple[Any, ...]) -> None:
    arrays = [x.dtype for x in operands if isinstance(x, np.ndarray)]
    scalars = [x for x in operands if isinstance(x, np.generic)]
    if not arrays or not scalars:
        return
    by_dtype, as_numbers = np.result_type(*arrays, *scalars), "another"
    with suppress(OverflowError):  # a number that does not even fit
        as_numbers = np.result_type(*arrays, *(x.item() for x in scalars))
    if by_dtype != as_numbers:
        kinds = ", ".join(type(x).__name__ for x in scalars)
        kinds = f"{', '.join(map(str, arrays))} with NumPy's {kinds}"
        raise TypeError(
            f"{name}: {kinds} gives {by_dtype} in CuPy 14 and {as_numbers} in CuPy 13; use a Python number, or an array"
        )


def _quietly(work: Callable[[], Any]) -> Any:
    try:
        with np.errstate(all="ignore"):
            return work()
    except np._core._exceptions._ArrayMemoryError as error:  # more than this machine has
        pool = strict_cuda.default_pool
        size = int(np.prod(error.shape, dtype=object)) * error.dtype.itemsize
        raise strict_cuda.OutOfMemoryError(size, pool.total_bytes(), pool.get_limit()) from None


def _fresh(work: Callable[[], Any], inputs: Any) -> Any:
    """The result of `work()`, where a scalar is an array too: new arrays, or views of the inputs.

    While capturing, work() says what the result is like; its new arrays are filled with garbage, and written when the
    graph is launched.
    """
    _join()
    result = _as_arrays(_quietly(work))
    if strict_cuda.is_capturing():
        read = _arrays(inputs)
        places = _arrays(result)
        new = [i for i, place in enumerate(places) if not any(np.may_share_memory(place, x) for x in read)]

        def again() -> None:
            values = _arrays(_as_arrays(_quietly(work)))
            for i in new:
                np.copyto(places[i], values[i])

        if new:
            strict_cuda.do(again, *map(_block, read))
        for i in new:
            _spoil(places[i])
    return result


def _into(x: "ndarray", work: Callable[[np.ndarray], Any], inputs: Any = ()) -> None:
    """work(array) writes into x's; while capturing into a copy, to see whether it can."""
    _join()
    array = x._array
    if strict_cuda.is_capturing():
        _quietly(lambda: work(array.copy(order="K")))
        strict_cuda.do(lambda: _quietly(lambda: work(array)), *map(_block, [*_arrays(inputs), array]))
    else:
        _quietly(lambda: work(array))


def _join() -> None:
    """What was put off in this stream comes before what follows."""
    strict_cuda.join(strict_cuda._queue())


def _as_arrays(x: Any) -> Any:
    if isinstance(x, tuple | list):
        return type(x)(_as_arrays(part) for part in x)
    return np.asarray(x) if isinstance(x, np.generic) else x


def _arrays(x: Any) -> list[np.ndarray]:
    """NumPy's arrays in x, within tuples and lists too."""
    if isinstance(x, tuple | list):
        return [array for part in x for array in _arrays(part)]
    return [x] if isinstance(x, np.ndarray) else []


def _spoil(array: np.ndarray) -> None:
    """Garbage, as memory holds it that nobody has written to; as an index it is harmless."""
    array[...] = {"f": np.nan, "c": np.nan, "i": -1, "u": 0, "b": True}.get(array.dtype.kind, 0)


# --- memory -----------------------------------------------------------------------------------------------


class Block:
    """The memory of a NumPy array that owns some, and of all its views; freed with the last of them."""

    def __init__(self, owner: np.ndarray) -> None:
        self.data = strict_cuda.alloc(owner.nbytes)
        self.owner = owner
        _live[id(owner)] = weakref.ref(owner)

    def __del__(self) -> None:
        if hasattr(self, "owner") and _live is not None:  # None as Python ends
            _live.pop(id(self.owner), None)


_live: dict[int, weakref.ref[np.ndarray]] = {}  # the arrays that own memory, by identity
_blocks: "weakref.WeakValueDictionary[int, Block]" = weakref.WeakValueDictionary()


def _block(array: Any) -> Block:
    """Where an array lies; a view's is its base's."""
    owner = array
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    if not isinstance(owner, np.ndarray):  # as with arrays that came by pickle
        owner = array
    block = _blocks.get(id(owner))
    if block is None:
        block = _blocks[id(owner)] = Block(owner)
    if strict_cuda.is_capturing():
        strict_cuda._queue().capture.touch(block.data.mem)
    return block


# --- arrays -----------------------------------------------------------------------------------------------


def _refuse_host(host: Any, x: "ndarray") -> None:
    """A NumPy array that cannot be copied to x, or from it."""
    if not isinstance(host, np.ndarray):
        raise TypeError(f"only a numpy.ndarray, and not {type(host)}")
    if host.dtype != x.dtype:
        raise TypeError(f"{host.dtype} here, {x.dtype} there")
    if host.shape != x.shape:
        raise ValueError(f"Shape mismatch: {host.shape} here, {x.shape} there")


class Flags:
    """The flags that CuPy has: `writeable` is not among them."""

    def __init__(self, flags: Any) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, flags.owndata

    fnc = property(lambda self: self.f_contiguous and not self.c_contiguous)
    forc = property(lambda self: self.f_contiguous or self.c_contiguous)

    def __getitem__(self, name: str) -> bool:
        return getattr(self, name.lower())


class ndarray:
    """An array on the make-believe GPU."""

    __slots__ = ("__weakref__", "_array", "_block")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    _array: np.ndarray
    _block: Block

    def __init__(self, shape: Any, dtype: Any = float, order: str = "C") -> None:
        self._array = _quietly(lambda: np.empty(shape, dtype, order))
        self._block = _block(self._array)
        _spoil(self._array)

    # what it is

    shape = property(lambda self: self._array.shape)
    strides = property(lambda self: self._array.strides)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    itemsize = property(lambda self: self._array.itemsize)
    nbytes = property(lambda self: self._array.nbytes)
    flags = property(lambda self: Flags(self._array.flags))
    device = property(lambda self: Device(0))
    data = property(
        lambda self: SimpleNamespace(
            ptr=self._array.ctypes.data, device=Device(0), device_id=0, mem=self._block.data.mem
        )
    )
    T = property(lambda self: _new(self._array.T))
    real = property(lambda self: _new(self._array.real))
    imag = property(lambda self: _new(self._array.imag))

    @property
    def base(self) -> "ndarray | None":
        return None if self._array.base is None else _new(np.asarray(self._array.base))

    def __len__(self) -> int:
        return len(self._array)

    # the ways to the host

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        if out is not None:
            _refuse_host(out, self)
        if strict_cuda._queue(stream).capture is not None:
            raise RuntimeError("the current stream is capturing, so D2H transfers are disallowed")
        array = self._array
        if out is not None and not blocking and strict_cuda.is_pinned(out):
            strict_cuda.copy_later(stream, lambda: np.copyto(out, array))
            return out
        strict_cuda.wait_for(strict_cuda._queue(stream))  # a copy to ordinary memory waits, whatever `blocking` says
        if out is None:
            return np.array(array, order=order)
        np.copyto(out, array)
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        _refuse_host(arr, self)
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        strict_cuda.refuse_host_copy(stream)
        array = self._array
        in_order = arr.flags.c_contiguous if self.flags.c_contiguous else arr.flags.f_contiguous
        if in_order and strict_cuda.is_pinned(arr):
            strict_cuda.copy_later(stream, lambda: np.copyto(array, arr))
        else:
            strict_cuda.wait_for(strict_cuda._queue(stream))
            np.copyto(array, arr)

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> Any:
        return asarray, (self.get(),)

    def __deepcopy__(self, memo: Any) -> "ndarray":
        return self.copy()

    def __copy__(self) -> "ndarray":
        return self.copy()

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # NumPy's functions

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """np.add(x, y); also what NumPy makes of `number + x` and `array + x`, where the number or array is its own."""
        if method != "__call__" or not hasattr(cupy, ufunc.__name__):
            return NotImplemented
        outs = kwargs.get("out", ())
        for x in (*inputs, *outs):
            if isinstance(x, np.ndarray):
                _refuse(x)
            if x is not None and not isinstance(x, (ndarray, *NUMBERS)):
                return NotImplemented
        if not (len(inputs) == 2 and isinstance(inputs[0], np.generic)):  # that is `scalar + x`
            _refuse_in_our_files(f"np.{ufunc.__name__}")
        return _ufunc(ufunc, inputs, {**kwargs, "out": outs[0] if outs else None})

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        _refuse_in_our_files(f"np.{function.__name__}")
        where = cupy
        for part in function.__module__.split(".")[1:]:
            where = getattr(where, part, None)
        ours = getattr(where, function.__name__, None)
        if ours is None or not all(t in (ndarray, np.ndarray) for t in types):
            return NotImplemented
        return ours(*args, **kwargs)

    # indexing

    def __getitem__(self, key: Any) -> "ndarray":
        key, array = _index(key), self._array
        return _new(_fresh(lambda: np.asarray(array[key]), (array, key)))

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray):
            raise ValueError("a numpy.ndarray cannot be assigned to a part of a cupy.ndarray; move it there first")
        key, operand = _index(key), _operand(value)
        _into(self, lambda array: array.__setitem__(key, operand), (key, operand))

    def __iter__(self) -> Iterator["ndarray"]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def astype(
        self, dtype: Any, order: str = "K", casting: None = None, subok: None = None, copy: bool = True
    ) -> "ndarray":
        array = self._array
        if not copy and array.astype(dtype, order=order, copy=False) is array:
            return self
        return _new(_fresh(lambda: array.astype(dtype, order=order), array))

    def fill(self, value: Any) -> None:
        self[...] = value

    def view(self, dtype: Any = None) -> "ndarray":
        return _new(self._array.view() if dtype is None else self._array.view(dtype))

    def __pos__(self) -> "ndarray":
        return self

    def __neg__(self) -> "ndarray":
        return _ufunc(np.negative, (self,), {})

    def __abs__(self) -> "ndarray":
        return _ufunc(np.absolute, (self,), {})

    def __invert__(self) -> "ndarray":
        return _ufunc(np.invert, (self,), {})


def _index(key: Any) -> tuple[Any, ...]:
    """A key in NumPy's terms, so that numbers alone give a 0-d view, as in CuPy, and not a scalar."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if isinstance(part, np.ndarray):
            raise TypeError("a numpy.ndarray as an index is copied to the GPU each time; move it there first")
        if isinstance(part, list):
            strict_cuda.refuse_host_copy()
        if isinstance(part, ndarray) and part.dtype == bool:
            strict_cuda.read_back()  # how many there are decides the result's shape
    key = tuple(_inside(part) for part in parts)
    return key if any(part is ... for part in key) else (*key, ...)


def _refuse_in_our_files(name: str) -> None:
    """NumPy's own Python code may lie between its function and the caller."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "/numpy/" in frame.f_code.co_filename:
        frame = frame.f_back
    if frame.f_code.co_filename.startswith(OURS):
        raise TypeError(
            f"{name} was called on an array of the GPU. CuPy may let it pass; in this project the array says whose "
            "function it is: xp = array_module(x)"
        )


# --- operators and methods --------------------------------------------------------------------------------

OPERATORS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "matmul": np.matmul,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "divmod": np.divmod,
    "pow": np.power,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
# what CuPy's methods take by name
METHODS = {
    "all": "axis out keepdims",
    "any": "axis out keepdims",
    "argmax": "axis out dtype keepdims",
    "argmin": "axis out dtype keepdims",
    "argsort": "axis",
    "clip": "min max out",
    "copy": "order",
    "cumsum": "axis dtype out",
    "diagonal": "offset axis1 axis2",
    "dot": "b out",
    "flatten": "order",
    "max": "axis out keepdims",
    "mean": "axis dtype out keepdims",
    "min": "axis out keepdims",
    "nonzero": "",
    "prod": "axis dtype out keepdims",
    "ravel": "order",
    "repeat": "repeats axis",
    "reshape": "order",
    "round": "decimals out",
    "squeeze": "axis",
    "std": "axis dtype out ddof keepdims",
    "sum": "axis dtype out keepdims",
    "swapaxes": "axis1 axis2",
    "take": "indices axis out",
    "trace": "offset axis1 axis2 dtype out",
    "transpose": "",
    "var": "axis dtype out ddof keepdims",
}
VIEWS = {"diagonal", "ravel", "reshape", "squeeze", "swapaxes", "transpose"}  # the rest gives new arrays, in C order


def _operator(ufunc: np.ufunc, reflected: bool = False) -> Callable[[ndarray, Any], Any]:
    def operate(x: ndarray, y: Any) -> Any:
        if getattr(y, "__array_ufunc__", x) is None:  # y, such as a Tensor, wants to do it itself
            return NotImplemented
        return _ufunc(ufunc, (y, x) if reflected else (x, y), {})

    return operate


def _in_place(ufunc: np.ufunc) -> Callable[[ndarray, Any], ndarray]:
    return lambda x, y: _ufunc(ufunc, (x, y), {"out": x})


def _method(name: str, allowed: str) -> Callable[..., Any]:
    def method(x: ndarray, *args: Any, **kwargs: Any) -> Any:
        if name in WAITING:
            strict_cuda.read_back()
        laid = _as_arrays if name in VIEWS or kwargs.get("order", "C") != "C" else _c_order
        settings = _settings(name, kwargs, allowed)
        return _computed(getattr(np.ndarray, name), (x._array, *_inside(args)), settings, kwargs.get("out"), laid)

    return method


for _name, _function in OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _operator(_function))
    setattr(ndarray, f"__r{_name}__", _operator(_function, reflected=True))
    if _name not in ("matmul", "divmod"):  # CuPy has no `@=`
        setattr(ndarray, f"__i{_name}__", _in_place(_function))
for _name, _function in COMPARISONS.items():
    setattr(ndarray, f"__{_name}__", _operator(_function))
for _name, _allowed in METHODS.items():
    setattr(ndarray, _name, _method(_name, _allowed))


# --- the module's functions -------------------------------------------------------------------------------

UFUNCS = (
    "abs absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or bitwise_xor cbrt "
    "ceil copysign cos cosh divide divmod equal exp exp2 expm1 fabs floor floor_divide fmax fmin fmod greater "
    "greater_equal hypot invert isfinite isinf isnan left_shift less less_equal log log10 log1p log2 logaddexp "
    "logical_and logical_not logical_or logical_xor matmul maximum minimum mod multiply negative nextafter "
    "not_equal positive power reciprocal remainder right_shift rint sign signbit sin sinh sqrt square subtract tan "
    "tanh true_divide trunc"
)
# These make arrays out of numbers, shapes or another array's shape.
CREATION = {
    "arange": "start stop step dtype",
    "empty": "shape dtype order",
    "empty_like": "prototype dtype order shape",
    "eye": "N M k dtype order",
    "full": "shape fill_value dtype order",
    "full_like": "a fill_value dtype order shape",
    "identity": "n dtype",
    "linspace": "start stop num endpoint retstep dtype axis",
    "ones": "shape dtype order",
    "ones_like": "a dtype order shape",
    "zeros": "shape dtype order",
    "zeros_like": "a dtype order shape",
}
# These need an array among their arguments.
FUNCTIONS = {
    "all": "axis out keepdims",
    "allclose": "rtol atol equal_nan",
    "amax": "axis out keepdims",
    "amin": "axis out keepdims",
    "any": "axis out keepdims",
    "argmax": "axis dtype out keepdims",
    "argmin": "axis dtype out keepdims",
    "argsort": "axis kind",
    "argwhere": "",
    "array_equal": "equal_nan",
    "array_split": "axis",
    "bincount": "weights minlength",
    "broadcast_to": "shape",
    "clip": "a_min a_max out",
    "concatenate": "axis out dtype casting",
    "copyto": "casting where",
    "count_nonzero": "axis",
    "cumsum": "axis dtype out",
    "diag": "k",
    "diff": "n axis prepend append",
    "dot": "out",
    "einsum": "",
    "expand_dims": "axis",
    "flatnonzero": "",
    "flip": "axis",
    "hstack": "dtype casting",
    "isclose": "rtol atol equal_nan",
    "isin": "assume_unique invert",
    "max": "axis out keepdims",
    "may_share_memory": "",
    "mean": "axis dtype out keepdims",
    "median": "axis out overwrite_input keepdims",
    "min": "axis out keepdims",
    "moveaxis": "source destination",
    "nan_to_num": "copy nan posinf neginf",
    "ndim": "",
    "nonzero": "",
    "outer": "out",
    "pad": "mode constant_values",
    "prod": "axis dtype out keepdims",
    "ravel": "order",
    "repeat": "axis",
    "reshape": "order",
    "roll": "axis",
    "round": "decimals out",
    "searchsorted": "side sorter",
    "shape": "",
    "shares_memory": "",
    "size": "axis",
    "sort": "axis kind",
    "split": "axis",
    "squeeze": "axis",
    "stack": "axis out dtype casting",
    "std": "axis dtype out ddof keepdims",
    "sum": "axis dtype out keepdims",
    "swapaxes": "",
    "take": "axis out",
    "take_along_axis": "axis",
    "tensordot": "axes",
    "tile": "",
    "trace": "offset axis1 axis2 dtype out",
    "transpose": "axes",
    "tril": "k",
    "triu": "k",
    "unique": "return_index return_inverse return_counts axis equal_nan",
    "var": "axis dtype out ddof keepdims",
    "vstack": "dtype casting",
    "where": "",
}
ANSWERS = {"allclose", "array_equal"}  # a bool in NumPy, a 0-d array in CuPy
# how many there are, or will be, is read by the host; and Thrust, which sorts, waits
WAITING = {"argsort", "argwhere", "bincount", "flatnonzero", "isin", "median", "nonzero", "sort", "unique"}
VIEW_FUNCTIONS = {
    *("array_split", "broadcast_to", "diag", "expand_dims", "flip", "moveaxis", "ndim", "ravel", "reshape", "shape"),
    *("size", "split", "squeeze", "swapaxes", "transpose"),
}
TYPES = (  # NumPy's own, in CuPy too
    "bool_ int8 int16 int32 int64 intp uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128 generic "
    "number integer signedinteger unsignedinteger inexact floating complexfloating dtype finfo iinfo newaxis nan inf "
    "pi e result_type can_cast promote_types isscalar issubdtype broadcast_shapes ndindex"
)


def _holds_array(x: Any) -> bool:
    return isinstance(x, ndarray) or (isinstance(x, tuple | list) and any(_holds_array(part) for part in x))


def _module_function(name: str, allowed: str, creates: bool) -> Callable[..., Any]:
    numpys = getattr(np, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        needs_array = not creates or name.endswith("_like")
        inputs = args[1:2] if name == "einsum" else args[:1]
        if name == "where":  # CuPy asks the condition for its astype, which NumPy's scalars have
            needs_array = not isinstance(args[0], np.generic)
        if needs_array and not _holds_array(inputs):
            _refuse(args[0])
        if name in WAITING:
            strict_cuda.read_back()
        settings = _settings(name, kwargs, allowed)
        if name in ("empty", "empty_like"):
            x = _new(_quietly(lambda: numpys(*_inside(args), **settings)))
            _spoil(x._array)
            return x
        if name == "copyto":
            into, *others = args
            _into(into, lambda array: np.copyto(array, *_inside(tuple(others)), **settings), _inside(tuple(others)))
            return None
        if name == "where":
            _refuse_doubtful_dtype(name, _inside(args[1:]))
        laid = np.asarray if name in ANSWERS else _as_arrays if creates or name in VIEW_FUNCTIONS else _c_order
        return _computed(numpys, _inside(args), settings, kwargs.get("out"), laid)

    function.__name__ = function.__qualname__ = name
    return function


def _module_ufunc(name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        return _ufunc(getattr(np, name), args, kwargs)

    function.__name__ = function.__qualname__ = name
    return function


def asarray(a: Any, dtype: Any = None, order: str | None = None, *, blocking: bool = False) -> ndarray:
    """An array of the GPU as it is where it fits; a copy of anything else: the way there is always explicit."""
    if isinstance(a, ndarray):
        array = a._array
        if np.asarray(array, dtype, order=order) is array:
            return a
        return _new(_fresh(lambda: np.asarray(array, dtype, order=order), array))
    return array_(a, dtype, order=order or "K", blocking=blocking)


def array_(
    obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", ndmin: int = 0, *, blocking: bool = False
) -> ndarray:
    from_host = not _holds_array(obj)
    parts = _array_or_parts(obj)
    result = _quietly(lambda: np.array(parts, dtype, order=order, ndmin=ndmin))
    if result.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {result.dtype}")
    if not from_host:
        return _new(_fresh(lambda: np.array(parts, dtype, order=order, ndmin=ndmin), parts))
    if result.ndim:  # a number is an argument of a kernel that fills the array with it
        strict_cuda.refuse_host_copy()
        if blocking:
            strict_cuda.wait_for(strict_cuda._queue())
        return _new(result)
    return _new(_fresh(lambda: result.copy(), ()))


def _array_or_parts(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return [_array_or_parts(part) for part in x]
    return x._array if isinstance(x, ndarray) else x


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return asarray(a, dtype, order="C")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a, order=order)


def get_array_module(*args: Any) -> ModuleType:
    return cupy if any(isinstance(x, ndarray) for x in args) else np


def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    if not isinstance(x, ndarray):
        _refuse(x)
    return _new(np.lib.stride_tricks.as_strided(x._array, shape, strides))


# --- the module -------------------------------------------------------------------------------------------


class StandIn(ModuleType):
    """The module `cupy`. A missing name is either CuPy's, and can be added above, or no name of CuPy's at all."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"module 'cupy' has no attribute {name!r} in tests/strict_cupy.py")


def build() -> ModuleType:
    """The module, with all its names."""
    module = StandIn("cupy", __doc__)
    module.__spec__ = ModuleSpec("cupy", loader=None)
    module.__version__ = "13.6.0"
    for name in TYPES.split():
        setattr(module, name, getattr(np, name))
    for name in UFUNCS.split():
        setattr(module, name, _module_ufunc(name))
    for table, creates in ((CREATION, True), (FUNCTIONS, False)):
        for name, allowed in table.items():
            setattr(module, name, _module_function(name, allowed, creates))
    module.ndarray, module.array, module.asarray, module.asanyarray = ndarray, array_, asarray, asarray
    module.ascontiguousarray, module.asnumpy, module.get_array_module = ascontiguousarray, asnumpy, get_array_module
    module.lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided))
    module.get_default_memory_pool = lambda: strict_cuda.default_pool
    module.get_default_pinned_memory_pool = lambda: strict_cuda.default_pinned_pool
    for name in ("RawKernel", "ElementwiseKernel", "ReductionKernel", "fuse"):
        setattr(module, name, strict_cuda.needs_a_gpu(name))
    module.RawModule = emulated_kernels.RawModule
    module.cuda = strict_cuda.build()
    module.is_available = module.cuda.is_available
    return module


cupy = build()


def install() -> None:
    """From now on `import cupy` gives the stand-in."""
    sys.modules["cupy"] = cupy


@contextmanager
def installed() -> Iterator[ModuleType]:
    """The stand-in as `cupy` for a while; what was there before comes back, and what was found out about it is asked
    anew."""
    from scratchfcn.backend import cuda_problem

    ask_anew = getattr(cuda_problem, "cache_clear", lambda: None)  # a test may have put something else there
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = cupy
    ask_anew()
    try:
        yield cupy
    finally:
        ask_anew()
        del sys.modules["cupy"]
        if before is not None:
            sys.modules["cupy"] = before
