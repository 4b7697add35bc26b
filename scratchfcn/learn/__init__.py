"""Exercises: write a layer yourself, and be told whether it is right, and if not, where and why.

`scratchfcn learn init my-fcn` copies the blanks into a folder of the learner's own; the other commands check what is
written there. Each check loads the learner's file for that one exercise and takes everything else from the finished
library, so exercise 9 never needs exercise 8.

An exercise is a folder `exercises/NN_name/` of four files:

blank.py
    What the learner gets, as `my-fcn/NN_name.py`. Its docstring states the task; the first line is `NN · title`. Every
    public function has type hints, a docstring with the shapes and the formula, and as its body one line:
    `raise NotImplementedError("NN function: not written yet")`. These functions are the ones to write; they are called
    with positional arguments in the blank's order. An import that only the finished file uses ends with
    `# noqa: F401 (what it is)`, of which the learner sees `# what it is`.
solution.py
    The same file, written. Shown after passing, so it is to be read. With `--device cuda` the arrays are CuPy's:
    NumPy's functions take them, too, but np.zeros does not know about them, and np.zeros_like(x, shape=…) does.
check.py
    A function `check(t: Trial) -> None`: stages, cheapest first (see trial.py). In each stage the learner's function is
    called through `t.expect`, which turns every failure into one message:

        with t.stage("small numbers, worked out by hand"):
            t.expect("relu", {"x": x}, {"y": [[0, 2], [0, 0]]})
        with t.stage("gradients against finite differences"):
            gx, = finite_differences(lambda x: ops.Relu().forward(x), [x], gy)
            t.expect("relu_backward", {"gy": gy, "x": x}, {"gx": gx}, by="finite difference",
                     known=gradient_mistakes("relu", [x], {}, gy, {"gx": 0}))
        with t.stage("other shapes"):
            for rng in t.draws(10): ...

    The first stage is in float32 and with whole numbers: it finds wrong types, shapes and dtypes as well. What the
    function prints, raises or changes in its inputs is dealt with by `t.expect`. Where there is nothing to compare,
    `t.returned` calls and `t.fail` complains. `draws.py` has random geometries. A mistake that makes no difference on a
    call needs no filter: `known` is asked about wrong results only. One number has many explanations: `t.explained`
    keeps those that other calls confirm.
hints.md
    Three sections, headed `## 1`, `## 2`, `## 3`: an idea or a question; the formula in words near to code; nearly
    the code. Plain text for a terminal.
"""

from .exercise import EXERCISES, Exercise, LearnError, find
from .folder import Folder, find_folder, init
from .known import Known, finite_differences, first_of, forward_mistakes, gradient_mistakes, one_of
from .runner import Result, run
from .trial import Failure, Trial

__all__ = [
    "EXERCISES",
    "Exercise",
    "Failure",
    "Folder",
    "Known",
    "LearnError",
    "Result",
    "Trial",
    "find",
    "find_folder",
    "finite_differences",
    "first_of",
    "forward_mistakes",
    "gradient_mistakes",
    "init",
    "one_of",
    "run",
]
