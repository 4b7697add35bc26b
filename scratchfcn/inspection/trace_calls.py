"""Looking over the ops' shoulders: for the length of a block, every op's forward and backward go through a watcher.

`watched(watcher)` replaces the two methods in every op's class, and puts the very same functions back afterwards.
Nothing in the library knows of it: outside the block there is nothing to pay and nothing to find. The tracer
(trace.py) and the benchmarks (bench/per_op.py) are such watchers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ..tensor import Function

Method = Callable[..., Any]


class Watcher(Protocol):
    """What `watched` hands the calls to. Both methods call `method` themselves, and return what it returns.

    busy: true while an op runs, which is for the watcher to say; an op that this one calls belongs to it, and is not
    shown by itself.
    """

    busy: bool

    def forward(self, method: Method, function: Function, arrays: tuple[Any, ...]) -> Any:
        """In place of `function.forward(*arrays)`, which is `method(function, *arrays)`."""

    def backward(self, method: Method, function: Function, gy: Any) -> Any:
        """In place of `function.backward(gy)`, which is `method(function, gy)`."""


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Within this block every op that there is by now goes through the watcher; afterwards all is as it was."""
    originals = [(op, name, vars(op)[name]) for op in all_ops() for name in ("forward", "backward") if name in vars(op)]
    try:
        for op, name, method in originals:
            setattr(op, name, stand_in(watcher, name, method))
        yield
    finally:
        for op, name, method in originals:
            setattr(op, name, method)


def stand_in(watcher: Watcher, name: str, method: Method) -> Method:
    """`method`, going through the watcher."""

    def forward(function: Function, *arrays: Any) -> Any:
        return method(function, *arrays) if watcher.busy else watcher.forward(method, function, arrays)

    def backward(function: Function, gy: Any) -> Any:
        return method(function, gy) if watcher.busy else watcher.backward(method, function, gy)

    return forward if name == "forward" else backward


def all_ops(root: type[Function] = Function) -> list[type[Function]]:
    """Every class derived from Function that there is by now."""
    return [op for child in root.__subclasses__() for op in (child, *all_ops(child))]
