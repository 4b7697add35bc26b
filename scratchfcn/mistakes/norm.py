"""Batch norm and local response norm: the terms that come from mean, variance and neighbours, and are forgotten.

Batch norm in training, with x̂ = (x - mean) / s, s = √(var + eps), over the M = N·H·W numbers of a channel:

    gx = weight / s · (gy - mean(gy) - x̂·mean(gy·x̂))      gweight = Σ gy·x̂      gbias = Σ gy

Local response norm, with b_c = k + alpha/size · Σ x_j² over the channels around c:

    gx_c = gy_c·b_c^-beta - 2·beta·alpha/size · x_c · Σ_j gy_j·x_j·b_j^(-beta-1)
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops.norm import channel_window_sum
from .common import on_images, scales
from .mistake import FORWARD, Call, Mistake

PIXELS = (0, 2, 3)


class BatchNorm:
    """One batch norm: statistics as (C, 1, 1), so that they meet x (N, C, H, W)."""

    def __init__(self, call: Call) -> None:
        self.x, weight, bias = call.inputs
        self.gy, self.settings = call.gy, call.settings
        self.weight, self.bias = weight[:, None, None], bias[:, None, None]
        self.training, self.eps = call.settings.get("training", True), call.settings.get("eps", 1e-5)
        self.M = self.x.size // self.x.shape[1]
        running = [column(call.settings.get(k)) for k in ("running_mean", "running_var")]
        batch = [column(self.x.mean(axis=PIXELS)), column(self.x.var(axis=PIXELS))]
        self.mean, self.var = batch if self.training else running
        self.other_mean, self.other_var = running if self.training else batch
        self.s = np.sqrt(self.var + self.eps)
        self.xhat = (self.x - self.mean) / self.s

    def per_channel(self, a: np.ndarray) -> np.ndarray:
        return column(a.mean(axis=PIXELS))

    def gx(self, centre: float = 1.0, spread: float = 1.0, s: Any = None, xhat: Any = None) -> np.ndarray:
        """centre and spread: factors of the terms that come from the mean and from the variance."""
        s, xhat = self.s if s is None else s, self.xhat if xhat is None else xhat
        if not self.training:
            return self.weight / s * self.gy
        terms = self.gy - centre * self.per_channel(self.gy) - spread * xhat * self.per_channel(self.gy * xhat)
        return self.weight / s * terms

    def y(self, mean: Any = None, s: Any = None) -> np.ndarray:
        mean, s = self.mean if mean is None else mean, self.s if s is None else s
        return self.weight * (self.x - mean) / s + self.bias


def column(numbers: Any) -> Any:
    """(C,) → (C, 1, 1)"""
    return None if numbers is None else np.asarray(numbers, float)[:, None, None]


def bn(which: str, name: str, remedy: str, wrong: Callable[[BatchNorm], Any]) -> Mistake:
    return Mistake("batch_norm2d", which, name, remedy, lambda call: wrong(BatchNorm(call)))


def unbiased(c: BatchNorm) -> np.ndarray | None:
    """√(var·M / (M - 1) + eps)"""
    return np.sqrt(c.var * c.M / (c.M - 1) + c.eps) if c.training and c.M > 1 else None


def with_means_over(c: BatchNorm, axes: int | tuple[int, ...]) -> np.ndarray:
    """gx with mean(gy) and mean(gy·x̂) taken over other axes."""
    mean, spread = (a.mean(axis=axes, keepdims=True) for a in (c.gy, c.gy * c.xhat))
    return c.weight / c.s * (c.gy - mean - c.xhat * spread)


def in_training(wrong: Callable[[BatchNorm], Any]) -> Callable[[BatchNorm], Any]:
    return lambda c: wrong(c) if c.training else None


MEAN = "The mean depends on every x of the channel; its term is -mean(gy)."
VARIANCE = "The variance depends on every x of the channel; its term is -x̂·mean(gy·x̂)."
BIASED = "Normalise with the variance over M numbers; only the running variance is made unbiased."
OVER = "Statistics and sums are per channel: over images, rows and columns, axes (0, 2, 3)."

BATCH_NORM2D = [
    *on_images("batch_norm2d"),
    bn("x", "mean and variance treated as constants: gx = weight / s · gy", f"{MEAN} {VARIANCE}",
       in_training(lambda c: c.gx(centre=0, spread=0))),
    bn("x", "the variance treated as a constant", VARIANCE, in_training(lambda c: c.gx(spread=0))),
    bn("x", "the mean treated as a constant", MEAN, in_training(lambda c: c.gx(centre=0))),
    bn("x", "the term of the mean added instead of subtracted", MEAN, in_training(lambda c: c.gx(centre=-1))),
    bn("x", "the term of the variance added instead of subtracted", VARIANCE, in_training(lambda c: c.gx(spread=-1))),
    bn("x", "sums instead of means in both terms", "mean(gy) = Σ gy / M.",
       in_training(lambda c: c.gx(centre=c.M, spread=c.M))),
    bn("x", "both terms divided by M - 1 instead of M", "The mean is over all M numbers of the channel.",
       in_training(lambda c: c.gx(centre=c.M / (c.M - 1), spread=c.M / (c.M - 1)) if c.M > 1 else None)),
    bn("x", "the sum of gy instead of its mean", MEAN, in_training(lambda c: c.gx(centre=c.M))),
    bn("x", "the sum of gy·x̂ instead of its mean", VARIANCE, in_training(lambda c: c.gx(spread=c.M))),
    bn("x", "the term of the variance counted twice: a factor 2 too many",
       VARIANCE, in_training(lambda c: c.gx(spread=2))),
    bn("x", "the term of the variance counted half: the factor 2 of the square is missing", VARIANCE,
       in_training(lambda c: c.gx(spread=0.5))),
    bn("x", "x - mean instead of x̂ in the term of the variance", VARIANCE,
       in_training(lambda c: c.gx(xhat=c.x - c.mean))),
    bn("x", "x̂ replaced by x in the term of the variance", VARIANCE, in_training(lambda c: c.gx(xhat=c.x))),
    bn("x", "the means in both terms run over every image by itself, axes (2, 3)", OVER,
       in_training(lambda c: with_means_over(c, (2, 3)))),
    bn("x", "the means in both terms run over the images only, axis 0", OVER,
       in_training(lambda c: with_means_over(c, 0))),
    bn("x", "the means in both terms run over the channels, axis 1", OVER,
       in_training(lambda c: with_means_over(c, 1))),
    bn("x", "weight is left out", "gx starts with weight / s.", lambda c: c.gx() / c.weight),
    bn("x", "not divided by s = √(var + eps)", "gx starts with weight / s.", lambda c: c.gx() * c.s),
    bn("x", "divided by var + eps instead of its square root", "gx starts with weight / √(var + eps).",
       lambda c: c.gx() / c.s),
    bn("x", "eps outside the root: s = √var + eps", "s = √(var + eps).",
       lambda c: c.gx(s=np.sqrt(c.var) + c.eps, xhat=(c.x - c.mean) / (np.sqrt(c.var) + c.eps))),
    bn("x", "eps is left out", "s = √(var + eps).",
       lambda c: c.gx(s=np.sqrt(c.var), xhat=(c.x - c.mean) / np.sqrt(c.var))),
    bn("x", "unbiased variance, divided by M - 1", BIASED,
       lambda c: None if unbiased(c) is None else c.gx(s=unbiased(c), xhat=(c.x - c.mean) / unbiased(c))),
    bn("x", "evaluation's formula with the running variance, in training", "In training use the batch's statistics.",
       in_training(lambda c: None if c.other_var is None else c.weight / np.sqrt(c.other_var + c.eps) * c.gy)),
    bn("x", "training's three terms in evaluation, where mean and variance are constants",
       "In evaluation gx = weight / √(running_var + eps) · gy.",
       lambda c: None if c.training else c.weight / c.s
       * (c.gy - c.per_channel(c.gy) - c.xhat * c.per_channel(c.gy * c.xhat))),
    bn("x", "the batch's variance in evaluation", "In evaluation use the running statistics.",
       lambda c: None if c.training else c.weight / np.sqrt(c.other_var + c.eps) * c.gy),
    *scales("batch_norm2d", "weight", "gweight"),
    bn("weight", "gweight = Σ gy·x: x is not normalised", "gweight = Σ gy·x̂.",
       lambda c: (c.gy * c.x).sum(axis=PIXELS)),
    bn("weight", "gweight = Σ gy·(x - mean): not divided by s", "gweight = Σ gy·x̂.",
       lambda c: (c.gy * (c.x - c.mean)).sum(axis=PIXELS)),
    bn("weight", "gweight = Σ gy: x̂ is left out, or gweight and gbias are exchanged",
       "gweight = Σ gy·x̂, gbias = Σ gy.", lambda c: c.gy.sum(axis=PIXELS)),
    bn("weight", "gweight = Σ gy·y: y instead of x̂", "gweight = Σ gy·x̂.", lambda c: (c.gy * c.y()).sum(axis=PIXELS)),
    bn("weight", "gweight is the mean of gy·x̂ over all M", OVER, lambda c: (c.gy * c.xhat).mean(axis=PIXELS)),
    bn("weight", "gweight sees the first image only", OVER, lambda c: (c.gy * c.xhat)[0].sum(axis=(1, 2))),
    bn("weight", "gweight sees the last image only", OVER, lambda c: (c.gy * c.xhat)[-1].sum(axis=(1, 2))),
    bn("weight", "gweight multiplied by weight", "gweight = Σ gy·x̂.",
       lambda c: (c.gy * c.xhat * c.weight).sum(axis=PIXELS)),
    *scales("batch_norm2d", "bias", "gbias"),
    bn("bias", "gbias = Σ gy·x̂: one factor too many, or gweight and gbias are exchanged",
       "gweight = Σ gy·x̂, gbias = Σ gy.", lambda c: (c.gy * c.xhat).sum(axis=PIXELS)),
    bn("bias", "gbias is the mean of gy over all M", OVER, lambda c: c.gy.mean(axis=PIXELS)),
    bn("bias", "gbias sees the first image only", OVER, lambda c: c.gy[0].sum(axis=(1, 2))),
    bn("bias", "gbias sees the last image only", OVER, lambda c: c.gy[-1].sum(axis=(1, 2))),
    bn("bias", "gbias multiplied by weight", "gbias = Σ gy.", lambda c: (c.gy * c.weight).sum(axis=PIXELS)),
    bn("bias", "gbias sums over images but not over pixels: only the first pixel counts", OVER,
       lambda c: c.gy[:, :, 0, 0].sum(axis=0)),
    # forward
    bn(FORWARD, "unbiased variance, divided by M - 1", BIASED,
       lambda c: None if unbiased(c) is None else c.y(s=unbiased(c))),
    bn(FORWARD, "eps outside the root: s = √var + eps", "s = √(var + eps).", lambda c: c.y(s=np.sqrt(c.var) + c.eps)),
    bn(FORWARD, "eps is left out", "s = √(var + eps).", lambda c: c.y(s=np.sqrt(c.var))),
    bn(FORWARD, "divided by the variance instead of its root", "s = √(var + eps).", lambda c: c.y(s=c.var + c.eps)),
    bn(FORWARD, "the mean is not subtracted", "x̂ = (x - mean) / s.", lambda c: c.y(mean=0)),
    bn(FORWARD, "not divided by s", "x̂ = (x - mean) / s.", lambda c: c.y(s=1)),
    bn(FORWARD, "mean and variance of every image by itself", OVER,
       in_training(lambda c: c.y(c.x.mean((2, 3), keepdims=True), np.sqrt(c.x.var((2, 3), keepdims=True) + c.eps)))),
    bn(FORWARD, "mean and variance over images only, per pixel", OVER,
       in_training(lambda c: c.y(c.x.mean(0, keepdims=True), np.sqrt(c.x.var(0, keepdims=True) + c.eps)))),
    bn(FORWARD, "mean and variance over everything, channels as well", OVER,
       in_training(lambda c: c.y(c.x.mean(), np.sqrt(c.x.var() + c.eps)))),
    bn(FORWARD, "the running statistics in training", "In training use the batch's statistics.",
       in_training(lambda c: c.y(c.other_mean, np.sqrt(c.other_var + c.eps)))),
    bn(FORWARD, "the batch's statistics in evaluation", "In evaluation use the running statistics.",
       lambda c: None if c.training else c.y(c.other_mean, np.sqrt(c.other_var + c.eps))),
    bn(FORWARD, "weight and bias are left out", "y = weight·x̂ + bias.", lambda c: c.xhat),
    bn(FORWARD, "the bias is left out", "y = weight·x̂ + bias.", lambda c: c.weight * c.xhat),
    bn(FORWARD, "the weight is left out", "y = weight·x̂ + bias.", lambda c: c.xhat + c.bias),
    bn(FORWARD, "weight and bias are exchanged", "y = weight·x̂ + bias.", lambda c: c.bias * c.xhat + c.weight),
]  # fmt: skip


# --- local response norm ----------------------------------------------------------------------------------


class ResponseNorm:
    """One local response norm, whose settings can be replaced."""

    def __init__(self, call: Call) -> None:
        self.x, self.gy = call.inputs[0], call.gy
        get = call.settings.get
        self.size, self.alpha, self.beta, self.k = get("size", 5), get("alpha", 1e-4), get("beta", 0.75), get("k", 1.0)
        self.share = self.alpha / self.size
        self.before = self.size // 2
        self.after = self.size - self.before - 1
        self.b = self.energy(self.share)

    def energy(self, share: float) -> np.ndarray:
        return self.k + share * channel_window_sum(self.x * self.x, self.before, self.after)

    def gx(
        self, second: float = 1.0, b: Any = None, share: float | None = None, power: float = 1.0, mirrored: bool = True,
        own: bool = False,
    ) -> np.ndarray:  # fmt: skip
        """second: factor of the second term; power: b^(-beta - power) in it; own: channel c's own share of it only."""
        b, share = self.b if b is None else b, self.share if share is None else share
        sides = (self.after, self.before) if mirrored else (self.before, self.after)
        terms = self.gy * self.x * b ** (-self.beta - power)
        shared = terms if own else channel_window_sum(terms, *sides)
        return self.gy * b**-self.beta - second * 2 * self.beta * share * self.x * shared


def lrn(name: str, remedy: str, wrong: Callable[[ResponseNorm], Any]) -> Mistake:
    return Mistake("local_response_norm", "x", name, remedy, lambda call: wrong(ResponseNorm(call)))


NEIGHBOURS = "x_c also appears in b of its neighbours: subtract 2·beta·alpha/size · x_c · Σ_j gy_j·x_j·b_j^(-beta-1)."
LOCAL_RESPONSE_NORM = [
    *on_images("local_response_norm"),
    lrn("the second term is missing: b treated as a constant", NEIGHBOURS, lambda c: c.gx(second=0)),
    lrn("the second term is added instead of subtracted", NEIGHBOURS, lambda c: c.gx(second=-1)),
    lrn("the factor 2 of the second term is missing", NEIGHBOURS, lambda c: c.gx(second=0.5)),
    lrn("beta is missing in the second term", NEIGHBOURS, lambda c: c.gx(second=1 / c.beta)),
    lrn("alpha is not divided by size in the second term", NEIGHBOURS, lambda c: c.gx(share=c.alpha)),
    lrn("alpha is not divided by size", "b = k + alpha/size · Σ x².",
        lambda c: c.gx(b=c.energy(c.alpha), share=c.alpha)),
    lrn("x_c in front of the second term's sum is missing", NEIGHBOURS,
        lambda c: c.gy * c.b**-c.beta - 2 * c.beta * c.share
        * channel_window_sum(c.gy * c.x * c.b ** (-c.beta - 1), c.after, c.before)),
    lrn("b^-beta instead of b^(-beta-1) in the second term", NEIGHBOURS, lambda c: c.gx(power=0)),
    lrn("the second term sees channel c alone, not its neighbours", NEIGHBOURS, lambda c: c.gx(own=True)),
    lrn("gy and b are taken from channel c, outside the sum: only x_j is summed over the neighbours", NEIGHBOURS,
        lambda c: c.gy * c.b**-c.beta - 2 * c.beta * c.share * c.x * c.gy * c.b ** (-c.beta - 1)
        * channel_window_sum(c.x, c.after, c.before)),
    lrn("the window of an even size is not mirrored in backward",
        "c appears in the windows of the channels from c - after to c + before.", lambda c: c.gx(mirrored=False)),
    lrn("x² instead of x in the second term", NEIGHBOURS,
        lambda c: c.gy * c.b**-c.beta - c.x * (c.gy * c.b**-c.beta - c.gx())),
]  # fmt: skip

MISTAKES = [*BATCH_NORM2D, *LOCAL_RESPONSE_NORM]
