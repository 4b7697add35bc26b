"""What a known mistake is: a name in plain words, the remedy, and the wrong array that it leads to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FORWARD = "forward"  # instead of an input's name: the mistake is in what forward returns


@dataclass(frozen=True)
class Call:
    """One call of an op, with everything that a backward pass gets to see. Arrays are NumPy's, float64."""

    op: str
    inputs: Sequence[Any]  # in the op's order; None for one that is left out
    settings: Mapping[str, Any] = field(default_factory=dict)  # by the op's keyword names
    gy: Any = None
    gradient: Any = None  # what is to be explained; only what no formula can foresee (a new random mask) looks at it


@dataclass(frozen=True)
class Mistake:
    """One mistake that people make in the backward pass of an op (or in its forward pass)."""

    op: str
    which: str  # the input whose gradient it spoils, by the op's name for it; or FORWARD
    name: str  # what was done: "gw divided by N"
    remedy: str  # and what to do instead: "The loss already averages."
    wrong: Callable[[Call], Any] = field(repr=False)  # the array that the mistake makes of a call

    def array(self, call: Call) -> np.ndarray | None:
        """What somebody who makes this mistake gets; None where the call leaves no room for it."""
        try:
            wrong = self.wrong(call)
        except (ValueError, IndexError):  # a transposed kernel that is not square, a stride that there is none of
            return None
        return None if wrong is None else np.asarray(wrong)

    def __str__(self) -> str:
        return f"{self.name}. {self.remedy}"
