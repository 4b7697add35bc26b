"""Which of many ops is at fault? A wrong gradient spoils every gradient upstream of it, so a model's report alone
cannot tell. But every op can be asked by itself: with the inputs it had in the model, is its own backward right?
"""

import copy
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..backend import is_array
from ..tensor import Function, Tensor

SECONDS = 20.0  # for looking; a large model's ops are asked from the first on until then
MOST = 3  # ops at fault that are reported
SAMPLES = 8


@contextmanager
def recorded() -> Iterator[list[tuple[Function, list[Any]]]]:
    """Within this block every call of an op is noted: the op as it was before its forward, and its input arrays."""
    calls: list[tuple[Function, list[Any]]] = []
    original = Function.__call__

    def call(self: Function, *inputs: Any) -> Tensor:
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        calls.append((copy.copy(self), arrays))
        return original(self, *inputs)

    Function.__call__ = call
    try:
        yield calls
    finally:
        Function.__call__ = original


def parameter_names(forward: Callable[..., Any], n: int) -> list[str]:
    """What forward calls its n inputs; `input 1` … for those that it takes as *xs."""
    parameters = inspect.signature(forward).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names[:n] + [f"input {i}" for i in range(len(names), n)]


def at_fault(run: Callable[[], Any], check: Callable[..., Any], seed: int) -> list[str]:
    """Sentences about the ops within `run()` whose own backward is wrong, as `check` (gradcheck) finds; [] if none is,
    or if there is only one op, about which everything has been said."""
    with recorded() as calls:
        run()
    if len(calls) < 2:
        return []
    said: list[str] = []
    seen: set[Any] = set()
    spoiled: set[type] = set()
    started = time.perf_counter()
    for number, (op, arrays) in enumerate(calls, 1):
        shapes = tuple(getattr(a, "shape", None) for a in arrays)
        settings = tuple((k, v) for k, v in vars(op).items() if isinstance(v, int | float | str | tuple))
        key = (type(op), shapes, settings)
        if key in seen or type(op) in spoiled or time.perf_counter() - started > SECONDS or len(said) == MOST:
            continue
        seen.add(key)
        if not any(is_array(a) and a.dtype.kind == "f" for a in arrays):
            continue
        names = parameter_names(op.forward, len(arrays))
        report = check(
            lambda *tensors, op=op: copy.copy(op)(*tensors), *arrays, names=names, samples=SAMPLES, seed=seed
        )
        for result in report.inputs:
            if result.wrong:
                which = result.op[1] if result.op else result.name
                words = [result.pattern] if result.pattern else []
                words.append(result.known or "not an op of the library, so no known mistake was looked up")
                place = f"{op.name} (op {number} of {len(calls)}, x {shapes[0]})"
                said.append(f"at fault: {place}, its gradient of {which}: {'; '.join(words)}")
                spoiled.add(type(op))
    return said
