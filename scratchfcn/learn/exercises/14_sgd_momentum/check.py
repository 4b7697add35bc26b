"""Two steps on paper; four steps of a small network, number for number; and only then, do the losses go down?"""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchfcn import Tensor, manual_seed, nn, ops
from scratchfcn.backend import to_device, to_numpy
from scratchfcn.learn import Failure, Trial, one_of
from scratchfcn.learn.compare import compare, details
from scratchfcn.models.fcn import FCN8s
from scratchfcn.models.small import Small

OVERFIT = {"steps": 30, "lr": 0.2, "momentum": 0.9, "weight_decay": 5e-4}
LOSS = 0.15  # the library's is 0.07 by then; a network that knows nothing has ln 3 = 1.1


def check(t: Trial) -> None:
    w, g, v = (np.array(a, np.float32) for a in ([1, -2], [4, 2], [0, 0]))
    case = {"w": w, "g": g, "v": v, "lr": 0.5, "momentum": 0.75, "weight_decay": 0.0}
    with t.stage("sgd_step: the first step, from v = 0"):
        expect_step(t, case, [-1, -3], [4, 2], "by hand")
    with t.stage("sgd_step: the second step, with what is left of the first"):
        case |= {"w": np.array([-1, -3], np.float32), "g": np.array([1, -3.5], np.float32), "v": np.array([4, 2], "f4")}
        expect_step(t, case, [-3, -2], [4, -2], "by hand")
    with t.stage("sgd_step: with weight decay"):
        case |= {"w": np.array([-1, 3], np.float32), "weight_decay": 0.5}  # of both signs
        expect_step(t, case, [-2.75, 3.25], [3.5, -0.5], "by hand")
    with t.stage("sgd_step: other shapes and numbers"):
        for rng in t.draws(15):
            shape = t.shape(rng)
            case = {name: rng.standard_normal(shape) for name in ("w", "g", "v")}
            case |= dict(zip(("lr", "momentum", "weight_decay"), rng.uniform(0.1, 0.9, 3).tolist(), strict=True))
            expect_step(t, case, *step(**case), "v ← μ·v + g")

    with t.stage("train: the losses of four steps, against the update rule"):
        images, labels = t.rng.standard_normal((2, 3, 4, 6)), t.rng.integers(0, 3, (2, 4, 6))
        settings = {"steps": 4, "lr": 0.2, "momentum": 0.75, "weight_decay": 0.05}
        expect_training(t, {"images": images, "labels": labels, **settings})
    t.seconds = max(t.seconds, 60)  # thirty steps of a network take a second, on a slow machine several
    with t.stage("train: an FCN-8s learns four images by heart"):
        images, labels = four_images()
        model = fcn8s(t)
        case = {"model": model, "images": images, "labels": labels, **OVERFIT}
        losses = numbers(t, case, t.call("train", case))
        if not losses[-1] < LOSS:
            t.fail(
                f"train: after {len(losses)} steps the loss is {losses[-1]:.3g}, and should be below {LOSS}\n"
                f"  it went {', '.join(f'{loss:.3g}' for loss in losses[::6])} …\n"
                "  the first four steps are right, as the stage before shows: does something change later on?",
                "train",
                case,
            )


# --- one step ---------------------------------------------------------------------------------------------


def step(w: Any, g: Any, v: Any, lr: float, momentum: float, weight_decay: float) -> tuple[Any, Any]:
    v = momentum * v + (g + weight_decay * w)
    return w - lr * v, v


def expect_step(t: Trial, case: dict[str, Any], w: Any, v: Any, by: str) -> None:
    settings = {"lr": 0.3, "momentum": 0.8, "weight_decay": case["weight_decay"]}
    other = {
        **dict(zip("wgv", np.array([[1.0, -2.0, 3.0], [2.0, 5.0, -7.0], [4.0, -1.0, 6.0]]), strict=True)),
        **settings,
    }
    known = t.explained("sgd_step", wrong_steps, case, [other], ("w", "v"))
    t.expect("sgd_step", case, {"w": w, "v": v}, by=by, known=known, may_change=("w", "v"))


def wrong_steps(w: Any, g: Any, v: Any, lr: float, momentum: float, weight_decay: float) -> dict[str, Any]:
    decayed = g + weight_decay * w
    right = momentum * v + decayed
    other_v = {  # a wrong v leads to a wrong w
        "the gradient is dampened by 1 - momentum: v ← momentum·v + g": momentum * v + (1 - momentum) * decayed,
        "the momentum is multiplied by lr; lr belongs to the step of w alone": lr * momentum * v + decayed,
        "the gradient is multiplied by lr before it joins v, and v again: lr belongs to the step of w alone": (
            momentum * v + lr * decayed
        ),
        "momentum is left out: v ← momentum·v + g": decayed,
        "v is not slowed down by momentum: v ← momentum·v + g": v + decayed,
        "momentum multiplies the gradient as well: v ← momentum·v + g": momentum * (v + decayed),
        "momentum multiplies the gradient instead of v: v ← momentum·v + g": v + momentum * decayed,
        "the gradient is subtracted from v; the minus comes in w ← w - lr·v": momentum * v - decayed,
        "weight decay is left out of v: g ← g + weight_decay·w comes first": momentum * v + g,
        "weight decay has the wrong sign: g ← g + weight_decay·w": momentum * v + g - weight_decay * w,
        "weight decay is multiplied by lr; lr belongs to the step of w alone": momentum * v + g + lr * weight_decay * w,
        "weight decay takes |w|: g ← g + weight_decay·w": momentum * v + g + weight_decay * np.abs(w),
        "weight_decay itself is added: g ← g + weight_decay·w": momentum * v + g + weight_decay,
        "weight decay is doubled: the gradient of ½·weight_decay·w² is weight_decay·w": momentum * v + 2 * decayed - g,
        "weight decay takes |w|'s slope, the sign of w: g ← g + weight_decay·w": (
            momentum * v + g + weight_decay * np.sign(w)
        ),
    }
    other_w = {
        "the sign: downhill is w - lr·v": w + lr * right,
        "lr is left out: w ← w - lr·v": w - right,
        "w is moved by the old v: compute the new one first": w - lr * v,
        "w is moved by the gradient: v is not used": w - lr * decayed,
        "w is moved by the gradient, without weight decay: v is not used": w - lr * g,
        "this looks ahead, as Nesterov's momentum does: w ← w - lr·v": w - lr * (decayed + momentum * right),
        "lr is applied twice: w ← w - lr·v": w - lr * lr * right,
        "weight decay acts twice, in v and on w": w - lr * right - lr * weight_decay * w,
        "w is returned as it was: w ← w - lr·v": w,
        "the step is returned, not w: w - lr·v": lr * right,
    }
    wrong = {sentence: {"v": bad, "w": w - lr * bad} for sentence, bad in other_v.items()}
    caffe = momentum * v + lr * decayed
    wrong["lr is part of v here, as in Caffe: v ← momentum·v + g, and lr comes with w"] = {"v": caffe, "w": w - caffe}
    apart = momentum * v + g
    wrong["weight decay is kept out of v, and not multiplied by lr: g ← g + weight_decay·w comes first"] = {
        "w": w - lr * apart - weight_decay * w
    }
    wrong |= {sentence: {"w": bad} for sentence, bad in other_w.items()}
    wrong["v is returned as it was: return the new one, the next step needs it"] = {"v": v}
    wrong["lr·v is returned for v: the next step needs v itself"] = {"v": lr * right}
    wrong["-lr·v is returned for v: the next step needs v itself"] = {"v": -lr * right}
    return wrong


# --- four steps of a small network ------------------------------------------------------------------------


class Named(nn.Module):
    """A network that a message can name in one word."""

    def __init__(self, name: str, net: nn.Module) -> None:
        self.name, self.net = name, net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def __repr__(self) -> str:
        return f"<{self.name}>"


def small_network(t: Trial) -> Named:
    """The same weights whenever it is made: convolution, ReLU, pool, score, upsampling; float64."""
    manual_seed(t.seed)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1)]
    net = nn.Sequential(*layers, nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1, bias=False))
    return Named("small network", net.double().to(t.device))


def expect_training(t: Trial, case: dict[str, Any]) -> None:
    model = small_network(t)
    inputs = {"model": model, **case}
    try:
        returned = t.call("train", inputs)
    except Failure as failure:
        if "NoneType" not in str(failure):
            raise
        raise Failure(
            f"{failure}\n  fix: p.grad is None until backward has run; model.zero_grad() comes before it"
        ) from None
    losses = numbers(t, inputs, returned)
    expected, weights = training(small_network(t), **on_device(t, case))
    comparison = compare("losses", losses, expected, "update rule")
    if comparison.wrong:
        known = one_of({s: training(small_network(t), **on_device(t, case), **k)[0] for s, k in wrong_loops().items()})
        recognised = known("losses", losses) or shifted(losses, expected)
        lines = details(comparison, "update rule", lambda *_: recognised, ("step",))
        t.fail("\n".join(["train: the losses are wrong", *lines]), "train", inputs)
    for (name, p), right in zip(model.net.named_parameters(), weights, strict=True):
        if not np.allclose(to_numpy(p.data), to_numpy(right), rtol=1e-7, atol=1e-10):
            t.fail(
                f"train: the losses are right, but after the last step {name} is not\n"
                f"  fix: {case['steps']} losses, and {case['steps']} steps; the last step comes after the last loss",
                "train",
                inputs,
            )


def on_device(t: Trial, case: dict[str, Any]) -> dict[str, Any]:
    return {k: to_device(v, t.device) if isinstance(v, np.ndarray) else v for k, v in case.items()}


def training(
    model: Named,
    images: Any,
    labels: Any,
    steps: int,
    lr: float,
    momentum: float,
    weight_decay: float,
    *,
    forget_v: bool = False,
    keep_gradients: bool = False,
    start_v: float = 0.0,
    only: Callable[[str], bool] = lambda name: True,
    decay_only: Callable[[str], bool] = lambda name: True,
    reduction: str = "mean",
    update: Callable[..., tuple[Any, Any]] = step,
) -> tuple[np.ndarray, list[Any]]:
    """Losses, and weights at the end; with something wrong about the loop, by keyword."""
    named = list(model.net.named_parameters())
    velocities: list[Any] = [None for _ in named]
    losses = []
    for _ in range(steps):
        loss = ops.softmax_cross_entropy(model(Tensor(images)), labels, reduction=reduction)
        losses.append(loss.item())
        if not keep_gradients:
            model.zero_grad()
        loss.backward()
        for i, (name, p) in enumerate(named):
            v = start_v * p.grad if velocities[i] is None or forget_v else velocities[i]
            w, velocities[i] = update(p.data, p.grad, v, lr, momentum, weight_decay if decay_only(name) else 0.0)
            p.data = w if only(name) else p.data
    return np.array(losses), [p.data for _, p in named]


def wrong_loops() -> dict[str, dict[str, Any]]:
    return {
        "v is not kept: it is 0 again in every step. Make it once, before the loop, and keep what sgd_step returns": {
            "forget_v": True
        },
        "gradients pile up: backward adds to p.grad; model.zero_grad() before it": {"keep_gradients": True},
        "gradients pile up, and v is not kept: model.zero_grad() before backward, and keep what sgd_step returns": {
            "keep_gradients": True,
            "forget_v": True,
        },
        "the velocities start at the first gradient; they start at 0": {"start_v": 1.0},
        "the weights never change: set p.data to what sgd_step returns": {"only": lambda name: False},
        "biases do not learn: every parameter of model.parameters() takes the step": {
            "only": lambda name: not name.endswith("bias")
        },
        "only biases learn: every parameter of model.parameters() takes the step": {
            "only": lambda name: name.endswith("bias")
        },
        "only the first parameter learns: every one of model.parameters() takes the step": {
            "only": lambda name: name == "0.weight"
        },
        "only the last parameter learns: the update belongs into the loop over parameters": {
            "only": lambda name: name == "4.weight"
        },
        "biases do not decay; here every parameter does": {"decay_only": lambda name: not name.endswith("bias")},
        "weight decay is left out": {"decay_only": lambda name: False},
        "the loss is the sum over pixels; take the mean, softmax_cross_entropy's default": {"reduction": "sum"},
        "uphill: w ← w - lr·v": {"update": lambda w, g, v, lr, *more: step(w, g, v, -lr, *more)},
        "without momentum: hand it on to sgd_step": {"update": lambda w, g, v, lr, m, d: step(w, g, v, lr, 0.0, d)},
        "momentum and weight decay are exchanged in the call of sgd_step": {
            "update": lambda w, g, v, lr, m, d: step(w, g, v, lr, d, m)
        },
        "lr and momentum are exchanged in the call of sgd_step": {
            "update": lambda w, g, v, lr, m, d: step(w, g, v, m, lr, d)
        },
    }


def shifted(losses: np.ndarray, expected: np.ndarray) -> str | None:
    if np.allclose(losses[:-1], expected[1:], rtol=1e-6):
        return "these are the losses after each step; the loss before it is wanted, the one that backward starts from"
    if np.allclose(losses[0], expected[0]) and np.allclose(losses[1:], expected[:-1], rtol=1e-6):
        return "the first loss comes twice: every step starts from a new forward pass"
    return None


def numbers(t: Trial, inputs: dict[str, Any], returned: Any) -> np.ndarray:
    """The losses as an array, from a list of numbers or from whatever is like one."""
    steps = inputs["steps"]
    try:
        losses = np.array([float(loss.item() if hasattr(loss, "item") else loss) for loss in returned])
    except (TypeError, ValueError):
        kind = "nothing (None)" if returned is None else f"a {type(returned).__name__}"
        t.fail(
            f"train returns {kind}; a list of {steps} losses is expected\n  fix: losses.append(loss.item())",
            "train",
            inputs,
        )
    if len(losses) != steps:
        t.fail(f"train returns {len(losses)} losses; {steps} are expected, one before each step", "train", inputs)
    return losses


# --- four images by heart ---------------------------------------------------------------------------------


def four_images() -> tuple[np.ndarray, np.ndarray]:
    """Circles and squares: (4, 3, 32, 32) from -1 to 1, and (4, 32, 32)."""
    from scratchfcn.data.shapes import Shapes

    drawn = [Shapes(4, (32, 32), num_shapes=(1, 1), kinds=("circle", "square")).read(i) for i in range(4)]
    images = np.stack([image for image, _ in drawn]).transpose(0, 3, 1, 2).astype(np.float32)
    return images / 127.5 - 1, np.stack([label for _, label in drawn])


def fcn8s(t: Trial) -> Named:
    """The small backbone's FCN-8s with few channels: 30 steps take a second."""
    manual_seed(t.seed)
    backbone = Narrow(batch_norm=True)
    backbone.head["width"] = 32
    return Named("FCN-8s", FCN8s(backbone, num_classes=3, dropout=0.0).to(t.device))


class Narrow(Small):
    widths = (8, 16, 16, 16, 16)
    channels = (16, 16, 16)
