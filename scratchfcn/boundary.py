"""Boundary F1: does the network find outlines where they are?

IU hardly notices an outline. A car that has grown by a pixel all around loses a few percent, and so does one whose
shape is lost; a person sees the difference at once. So compare the outlines alone. For one class in one image let B be
the pixels of its true boundary, P those of its predicted boundary, and d(x, S) the distance from x to the nearest
pixel of S:

    precision  |{p in P: d(p, B) ≤ θ}| / |P|      how much of what was drawn lies at a true outline
    recall     |{b in B: d(b, P) ≤ θ}| / |B|      how much of the true outline was drawn
    F1         2·precision·recall / (precision + recall)

θ is 0.75 % of the image's diagonal, 4.5 pixels at 480x360. The mean over the classes that an image shows is the
image's F1, and the mean over the images is the measure. (Csurka, Larlus, Perronnin 2013; with these means and this θ:
Badrinarayanan, Kendall, Cipolla 2017, "SegNet", section 3.3.)

What counts, exactly. A pixel of class k belongs to k's boundary if one of its four neighbours is of another class. The
image's frame is no boundary, and neither is the edge of an ignored region: a neighbour that is ignored is as good as
none, and what was predicted on ignored pixels is not looked at. A class that an image shows without any boundary (it
fills the image, or void surrounds it) has no recall, and is left out for that image; so is one that is only predicted,
as in SegNet's definition: its outlines count against the classes it was drawn upon. A class that is shown and not
predicted has F1 0.

This also says where the measure is blind: in PASCAL VOC's masks a strip of void surrounds every object, so that no two
classes touch and there is no true boundary to find. Then it is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .backend import is_array, to_numpy
from .tensor import Tensor

TOLERANCE = 0.0075  # of the image's diagonal


class BoundaryF1:
    """The boundary F1 of predictions, fed one batch at a time, over all images and for each class.

    num_classes: K. ignore_index: the label of pixels that do not count. tolerance: θ as a share of the image's
    diagonal. unscored: numbers of classes to leave out.
    """

    def __init__(
        self, num_classes: int, ignore_index: int = 255, tolerance: float = TOLERANCE, unscored: Sequence[int] = ()
    ) -> None:
        if num_classes < 1 or not 0 <= tolerance <= 1:
            given = f"{num_classes} classes, tolerance {tolerance}"
            raise ValueError(f"BoundaryF1: {given}: there must be at least 1, and the tolerance is a share, 0 to 1")
        self.num_classes, self.ignore_index, self.tolerance = num_classes, ignore_index, tolerance
        self.unscored = tuple(unscored)
        self.reset()

    def reset(self) -> None:
        """Forget everything measured so far."""
        self._class_sums, self._class_images = np.zeros(self.num_classes), np.zeros(self.num_classes, np.int64)  # (K,)
        self._sum, self.images = 0.0, 0  # of the images' F1, and how many images had one

    def update(self, pred: Any, label: Any) -> list[float]:
        """Measure predicted and true class of every pixel, integers of equal shape, (H, W) or (N, H, W).

        Arrays may be NumPy, CuPy or Tensors; the work is done on the host. Returns each image's F1, NaN where no class
        can be measured. Errors: ValueError for shapes, and for a label that is neither a class nor ignored; TypeError
        for arrays that are not integers.
        """
        pred, label = _on_host(pred), _on_host(label)
        if pred.shape != label.shape or pred.ndim not in (2, 3):
            raise ValueError(f"BoundaryF1: pred {pred.shape} and label {label.shape} must both be (H, W) or (N, H, W)")
        wrong = (label != self.ignore_index) & ((label < 0) | (label >= self.num_classes))
        if wrong.any():
            allowed = f"{self.num_classes} classes allow 0 to {self.num_classes - 1} (or {self.ignore_index}, ignored)"
            raise ValueError(f"BoundaryF1: label {label[wrong][0]} at {wrong.sum()} pixel(s), but {allowed}")
        if pred.ndim == 2:
            pred, label = pred[None], label[None]
        return [self._one_image(p, t) for p, t in zip(pred, label, strict=True)]

    def merge(self, other: BoundaryF1) -> BoundaryF1:
        """Add what another one has measured, e.g. in another process, to this one; also written `a += b`."""
        mine, theirs = (self.num_classes, self.tolerance), (other.num_classes, other.tolerance)
        if mine != theirs:
            raise ValueError(f"BoundaryF1: (classes, tolerance) {theirs} cannot be added to {mine}")
        self._class_sums += other._class_sums
        self._class_images += other._class_images
        self._sum, self.images = self._sum + other._sum, self.images + other.images
        return self

    __iadd__ = merge

    @property
    def f1(self) -> float:
        """Mean over the images of the mean over their classes; NaN if there was nothing to measure."""
        return self._sum / self.images if self.images else math.nan

    @property
    def per_class_f1(self) -> np.ndarray:
        """(K,): for each class, the mean over the images that show it; NaN if none does."""
        out = np.full(self.num_classes, np.nan)
        return np.divide(self._class_sums, self._class_images, out=out, where=self._class_images > 0)

    def _one_image(self, pred: np.ndarray, label: np.ndarray) -> float:
        f1 = image_f1(pred, label, self.num_classes, self.ignore_index, self.tolerance)  # (K,)
        f1[list(self.unscored)] = np.nan
        measured = ~np.isnan(f1)
        self._class_sums[measured] += f1[measured]
        self._class_images += measured
        if not measured.any():
            return math.nan
        mean = float(f1[measured].mean())
        self._sum, self.images = self._sum + mean, self.images + 1
        return mean

    def __repr__(self) -> str:
        return f"BoundaryF1({self.num_classes} classes, {self.images} images: f1={self.f1:.4f})"


def image_f1(
    pred: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int = 255, tolerance: float = TOLERANCE
) -> np.ndarray:
    """Boundary F1 of every class in one image, (K,); NaN for a class without a true boundary.

    pred, label: integers (H, W). See the top of the file for what counts.
    """
    kept = label != ignore_index  # (H, W)
    reach = tolerance * math.hypot(*label.shape) * (1 + 1e-12)  # θ in pixels; what is exactly as far away still counts
    f1 = np.full(num_classes, np.nan)
    predicted, true = places_by_class(pred, kept), places_by_class(label, kept)
    for k, B in true.items():
        P = predicted.get(k)
        f1[k] = 0.0 if P is None else harmonic_mean(share_within(P, B, reach), share_within(B, P, reach))
    return f1


def harmonic_mean(a: float, b: float) -> float:
    """2ab / (a + b), and 0 where both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def places_by_class(classes: np.ndarray, kept: np.ndarray) -> dict[int, np.ndarray]:
    """For each class that has one, its boundary: row and column of n pixels, int (2, n). Arguments: see `boundary`."""
    places = np.array(np.nonzero(boundary(classes, kept)))  # (2, n)
    of = classes[tuple(places)]  # (n,)
    return {int(k): places[:, of == k] for k in np.unique(of)}


def boundary(classes: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Where one of a pixel's four neighbours has another class than the pixel, bool (H, W).

    classes: integers (H, W). kept: bool (H, W); a pixel that is not kept differs from no neighbour.
    """
    across = (classes[:, 1:] != classes[:, :-1]) & kept[:, 1:] & kept[:, :-1]  # (H, W-1): pixel and its right neighbour
    down = (classes[1:] != classes[:-1]) & kept[1:] & kept[:-1]  # (H-1, W): pixel and the one below it
    found = np.zeros(classes.shape, bool)
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found


def share_within(points: np.ndarray, targets: np.ndarray, reach: float) -> float:
    """The share of the pixels `points` that have one of `targets` within a distance of `reach` pixels.

    points, targets: rows and columns, int (2, n), neither empty. The distance is Euclid's, between the pixels' centres,
    and exact: a disk of radius r is a stack of horizontal runs, the one dy rows away reaching sqrt(r² - dy²) to either
    side. And whether a run holds a target is told by two numbers of a running sum along its row.
    """
    corner = np.minimum(points.min(axis=1), targets.min(axis=1))  # (2,): no larger map is needed than holds them all
    (rows, cols), targets = points - corner[:, None], targets - corner[:, None]
    H, W = np.maximum(points.max(axis=1) - corner, targets.max(axis=1)) + 1
    total = np.zeros((H, W + 1), np.int32)  # number of targets to the left of each pixel
    total[targets[0], targets[1] + 1] = 1
    np.cumsum(total, axis=1, out=total)

    R = math.floor(reach)
    for dy in sorted(range(-R, R + 1), key=abs):  # near rows first, for most points need no other
        side = math.floor(math.sqrt(reach * reach - dy * dy))
        y = rows + dy
        inside = (y >= 0) & (y < H)
        y = np.where(inside, y, 0)
        found = inside & (total[y, np.minimum(cols + side + 1, W)] > total[y, np.maximum(cols - side, 0)])
        rows, cols = rows[~found], cols[~found]  # for the others nothing has been found yet
    return 1 - len(rows) / points.shape[1]


def _on_host(x: Any) -> np.ndarray:
    x = x.data if isinstance(x, Tensor) else x
    x = to_numpy(x) if is_array(x) else np.asarray(x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"BoundaryF1: classes are integers, got {x.dtype}")
    return x
