"""A gradient check of somebody's own file: find the function in it, make its inputs, wrap it up for gradcheck.

What a file may hold, and what is checked:

    class MyConv(sf.Function): forward, backward     an op: its gradients
    def forward(x, w, b): … and def backward(gy, …)  the pair, on arrays; also my_conv_forward and my_conv_backward
    def my_net(x, w): …                              a function of Tensors, built from ops

`backward` takes gy first. What else it takes goes by name: forward's inputs, `y`, or `cache`, the second thing that
forward returned. It returns one gradient per input of forward, in their order.
"""

import ast
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .tensor import Function, Tensor


class FileError(ValueError):
    """Something about the file, or about how it is to be checked, that its author can mend."""


@dataclass
class Subject:
    """What is to be checked."""

    name: str
    fn: Callable[..., Tensor]  # takes Tensors (and arrays of whole numbers)
    names: list[str]  # of its inputs, the settings left out
    optional: set[str] = field(default_factory=set)  # inputs with a default, such as a bias
    settings: dict[str, Any] = field(default_factory=dict)  # those of the given ones that it has a parameter for

    def known_op(self, ops: Sequence[str]) -> str | None:
        """The op whose name is contained in this one: MyConv2d, conv2d_naive …; only used to choose sizes."""
        plain = self.name.lower().replace("_", "")
        fits = [op for op in ops if op.replace("_", "") in plain]
        return max(fits, key=len, default=None)


def find(path: str, settings: Mapping[str, Any]) -> Subject:
    """FILE.py or FILE.py:name → what is checked in it. Errors: FileError, FileNotFoundError."""
    file, _, name = path.rpartition(":") if not path.endswith(".py") else (path, "", "")
    module = load(Path(file))
    own = {k: v for k, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
    if not name:
        name = choose(file, own)
    name = of_either_half(name, own)
    pair = ("forward", "backward") if name in ("forward", "backward") else (f"{name}_forward", f"{name}_backward")
    if all(callable(own.get(each)) for each in pair):
        label = name if name not in ("forward", "backward") else Path(file).stem
        return of_pair(label, own[pair[0]], own[pair[1]], settings)
    if (name == "forward" or name.endswith("_forward")) and callable(own.get(name)):
        missing = name.removesuffix("forward") + "backward"
        raise FileError(
            f"{file} has {name} but no {missing}\n"
            f"  fix: define {missing}(gy, …), or, if {name} is a function of Tensors, call it something else"
        )
    if name not in own:
        names = ", ".join(k for k, v in own.items() if callable(v)) or "nothing that could be"
        raise FileError(f"{file} has no {name!r} to check; it defines {names}")
    thing = own[name]
    if inspect.isclass(thing) and hasattr(thing, "forward") and hasattr(thing, "backward"):
        return of_class(name, thing, settings)
    if inspect.isclass(thing):
        raise FileError(f"{file}: class {name} needs both forward and backward; a scratchfcn.Function has them")
    given = accepted(thing, settings)
    inputs, optional = inputs_of(thing, given)
    return Subject(name, lambda *tensors: thing(*tensors, **given), inputs, optional, given)


def of_either_half(name: str, own: Mapping[str, Any]) -> str:
    """relu_forward or relu_backward, where both are there → relu, the pair."""
    stem = name.removesuffix("_forward").removesuffix("_backward")
    return stem if stem != name and f"{stem}_forward" in own and f"{stem}_backward" in own else name


def load(file: Path) -> ModuleType:
    """Run the file, as `python FILE` would, and keep what it defines."""
    if not file.is_file():
        raise FileError(f"there is no file {file}; gradcheck takes an op (--list) or FILE.py or FILE.py:function")
    spec = importlib.util.spec_from_file_location("checked_file", file)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent.resolve()))  # so that it finds its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise FileError(f"{file} cannot be run\n{where(error, file)}") from error
    finally:
        sys.path.pop(0)
    return module


def choose(file: str, own: Mapping[str, Any]) -> str:
    """The one thing in a file that can be checked. FileError where there is none, or more than one."""
    if "forward" in own and "backward" in own:
        return "forward"
    ops = [k for k, v in own.items() if inspect.isclass(v) and hasattr(v, "forward") and hasattr(v, "backward")]
    pairs = [k.removesuffix("_forward") for k in own if k.endswith("_forward") and k[:-7] + "backward" in own]
    functions = [k for k, v in own.items() if inspect.isfunction(v) and not k.startswith("_")]
    for names in (ops, pairs, functions):
        if len(names) == 1:
            return names[0]
        if names:
            raise FileError(
                f"{file} holds more than one thing to check: {', '.join(names)}\n  fix: say which, {file}:{names[0]}"
            )
    raise FileError(
        f"{file} defines nothing to check\n"
        "  fix: define forward(x, …) and backward(gy, …) on arrays, a scratchfcn.Function with both, or a function of "
        "Tensors"
    )


def where(error: BaseException, file: Path) -> str:
    """The line of the file in which it happened, and the error itself."""
    at = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file.name]
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.lineno:
        return f"  line {error.lineno}: {(error.text or '').strip()}\n  {what}"
    return (f"  line {at[-1].lineno}, in {at[-1].name}: {at[-1].line}\n" if at else "") + f"  {what}"


# --- wrapping up ------------------------------------------------------------------------------------------


def accepted(fn: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that fn has a parameter for (all, where it takes **settings)."""
    parameters = inspect.signature(fn).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return dict(settings)
    return {k: v for k, v in settings.items() if k in parameters}


def inputs_of(fn: Callable[..., Any], settings: Mapping[str, Any], skip: int = 0) -> tuple[list[str], set[str]]:
    """The names of fn's inputs, and which of them may be left out. Defaults that are no None are settings."""
    names, optional = [], set()
    for p in list(inspect.signature(fn).parameters.values())[skip:]:
        if p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) or p.name in settings:
            continue
        if p.default is not p.empty and p.default is not None:
            continue
        names.append(p.name)
        if p.default is None:
            optional.add(p.name)
    return names, optional


def of_class(name: str, cls: type, settings: Mapping[str, Any]) -> Subject:
    """A Function, or any class with a forward and a backward on arrays; settings go to its constructor."""
    given = accepted(cls, settings) if cls.__init__ is not object.__init__ else {}
    inputs, optional = inputs_of(cls.forward, {}, skip=1)

    def fn(*tensors: Any) -> Tensor:
        op = cls(**given)
        return op(*tensors) if isinstance(op, Function) else Wrapped(op.forward, op.backward, name)(*tensors)

    fn.__name__ = name
    return Subject(name, fn, inputs, optional, given)


def of_pair(
    name: str, forward: Callable[..., Any], backward: Callable[..., Any], settings: Mapping[str, Any]
) -> Subject:
    """Two functions on arrays."""
    given = accepted(forward, settings)
    inputs, optional = inputs_of(forward, given)
    defaults = {p.name: p.default for p in inspect.signature(forward).parameters.values() if p.default is not p.empty}

    def fn(*tensors: Any) -> Tensor:
        known: dict[str, Any] = defaults | given

        def run(*arrays: Any) -> Any:
            made = forward(*arrays, **given)
            y, cache = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
            known.update(zip(inputs, arrays, strict=False), y=y, cache=cache)
            return y

        def back(gy: Any) -> Any:
            return backward(gy, *wanted(backward, known))

        return Wrapped(run, back, name)(*tensors)

    fn.__name__ = name
    return Subject(name, fn, inputs, optional, given)


def wanted(backward: Callable[..., Any], known: Mapping[str, Any]) -> list[Any]:
    """backward's arguments after gy, by their names: forward's inputs and settings, y and cache."""
    names = list(inspect.signature(backward).parameters)
    if names and (names[0] in known or "gy" in names[1:]):
        raise FileError(f"backward takes gy first: def {backward.__name__}(gy, …), not ({', '.join(names)})")
    values = []
    for p in list(inspect.signature(backward).parameters.values())[1:]:
        if p.name in known:
            values.append(known[p.name])
        elif p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            raise FileError(f"backward asks for {p.name!r}; after gy it can have, by name: {', '.join(known)}")
        else:
            break
    return values


class Wrapped(Function):
    """A forward and a backward from elsewhere, as an op. Missing gradients, of labels for example, may be left out."""

    def __init__(self, forward: Callable[..., Any], backward: Callable[[Any], Any], name: str) -> None:
        self.run, self.back, self.called = forward, backward, name

    @property
    def name(self) -> str:
        return self.called

    def forward(self, *arrays: Any) -> Any:
        y = self.run(*arrays)
        if not isinstance(y, np.ndarray | np.generic | float):
            raise FileError(f"forward must return an array (or an array and a cache), not {type(y).__name__}")
        return np.asarray(y)

    def backward(self, gy: Any) -> Any:
        gradients = self.back(gy)
        gradients = tuple(gradients) if isinstance(gradients, tuple | list) else (gradients,)
        missing = len(self.edges) - len(gradients)
        gradients += (None,) * missing
        return tuple(np.asarray(g) if isinstance(g, float) else g for g in gradients)


# --- inputs -----------------------------------------------------------------------------------------------


def read_shapes(text: str) -> dict[str, tuple[tuple[int, ...], int | None]]:
    """ "x=2,3,5,6 labels=2,5,6:4" → shapes by name, and with a colon: whole numbers below that."""
    shapes = {}
    for word in text.split():
        name, equals, numbers = word.partition("=")
        numbers, _, below = numbers.partition(":")
        try:
            shape = tuple(int(n) for n in numbers.split(",") if n)
            shapes[name] = shape, int(below) if below else None
            if not equals or not name.isidentifier() or min(shape, default=1) < 1:
                raise ValueError
        except ValueError:
            raise FileError(
                f"--shapes: {word!r} is no NAME=SIZE,SIZE,…\n"
                '  fix: as in --shapes "x=2,3,5,6 w=4,3,3,3"; whole numbers 0 … 3 (labels) are labels=2,5,6:4'
            ) from None
    return shapes


def read_settings(text: str) -> dict[str, Any]:
    """ "stride=2 padding=(1,0) reduction='sum'" → by name; Python's numbers, pairs and words."""
    settings = {}
    for word in text.replace(", ", ",").split():
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise FileError(f'--settings: {word!r} is no NAME=VALUE\n  fix: as in --settings "stride=2 padding=(1,0)"')
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value  # a word
    return settings


def refuse_unknown(settings: Mapping[str, Any], subject: Subject, op_settings: Sequence[str]) -> None:
    """FileError for a setting that neither the function nor the op it is meant to be has: it would change nothing."""
    for name in settings:
        if name not in subject.settings and name not in op_settings:
            others = f"; the op has {', '.join(op_settings)}" if op_settings else ""
            raise FileError(f"--settings: {subject.name} has no parameter {name!r}{others}")


def shapes_with_labels(
    shapes: Mapping[str, tuple[tuple[int, ...], int | None]], logits: tuple[int, ...], subject: Subject
) -> dict[str, tuple[tuple[int, ...], int | None]]:
    """Of a loss: labels (N, …) below K that fit the logits (N, K, …), where nothing is said of them."""
    first, *others = subject.names
    N, K, *pixels = shapes.get(first, (logits, None))[0]
    missing = [name for name in others[:1] if name not in subject.optional and name not in shapes]
    return dict(shapes) | dict.fromkeys(missing, ((N, *pixels), K))


def make_inputs(
    subject: Subject,
    shapes: Mapping[str, tuple[tuple[int, ...], int | None]],
    usual: Mapping[str, tuple[int, ...]],
    seed: int,
) -> list[Any]:
    """Random inputs. usual: shapes of the op that the function is meant to be, in its order, for want of others."""
    unknown = [name for name in shapes if name not in subject.names]
    if unknown:
        names = ", ".join(subject.names)
        raise FileError(f"--shapes: {subject.name} has no input {unknown[0]!r}; its inputs are {names}")
    rng = np.random.default_rng(seed)
    defaults = dict(zip(subject.names, usual.values(), strict=False))
    inputs: list[Any] = []
    for name in subject.names:
        shape, below = shapes.get(name, (defaults.get(name), None))
        if shape is None and name in subject.optional:
            inputs.append(None)
        elif shape is None:
            named = " ".join(f"{n}=…" for n in subject.names)
            raise FileError(
                f"{subject.name}: how large is {name}?\n"
                f'  fix: --shapes "{named}", each as SIZE,SIZE,… such as x=2,3,5,6; or --op, for sizes that suit an op'
            )
        elif below is not None:
            inputs.append(rng.integers(0, below, shape))
        else:
            inputs.append(rng.standard_normal(shape))
    return inputs
