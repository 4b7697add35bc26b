"""From an image to the probabilities of its pixels, in every way there is: at once or through windows, by one look or
the mean of several, with or without a measure of uncertainty.

The three parts know nothing of each other. A *look* (averaging.py) takes an image, or a window of one, and says K
numbers for each of its pixels; *passes* (uncertainty.py) repeat looks with dropout and add two numbers; *windows*
(windows.py) blend whatever is said, and enlarging.py brings it to the image's size. What is averaged inside a window
is averaged before windows are blended, so that no more than one strip of windows is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import device_of
from ..data import resize_image
from ..training import Network, SettingError
from .averaging import Look, looks, mean, scaled
from .enlarging import enlarged, probabilities_of_rows
from .fitting import check_fits
from .uncertainty import DropoutPasses, measures, statistics
from .windows import sliding

AT_ONCE = 2**28  # bytes: probabilities that are larger are made in bands of rows …
BAND = 2**25  # … of about so many bytes
Progress = Callable[[int, int], None]


class Band(NamedTuple):
    """Some rows of a prediction, from row `start` on, at the image's full width."""

    start: int
    probabilities: np.ndarray  # float32 (K, rows, W)
    uncertainty: np.ndarray | None  # float32 (3, rows, W): entropy, mutual information, variance (uncertainty.MEASURES)

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.probabilities.shape[1])

    def label(self) -> np.ndarray:
        """The most likely class of every pixel, uint8 (rows, W)."""
        return self.probabilities.argmax(axis=0).astype(np.uint8)


class Predictor:
    """How a network is to be asked.

    Args:
        network: what predicts; its `size` says to what images are resized before anything else.
        device: where it is; None asks the network.
        window: (height, width) of a sliding window, in pixels of what the network is shown: of the resized image
            where the network resizes (a window that covers all of it changes nothing), of the image itself where
            `network.size` is None. None: no windows.
        overlap: the share of a window that the next one covers again, 0 … 0.9.
        scales: the factors of that size at which the image is looked at.
        flip: look in the mirror, too.
        mc_dropout: 0, or how many passes with dropout on.
        seed: of the dropout.

    Raises:
        SettingError: a value that cannot be, in the words of the command line.
    """

    def __init__(
        self,
        network: Network,
        device: str | None = None,
        window: tuple[int, int] | None = None,
        overlap: float = 0.25,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        mc_dropout: int = 0,
        seed: int = 0,
    ) -> None:
        check_settings(window, overlap, scales)
        self.network = network
        self.device = device or device_of(next(network.model.parameters()).data)
        self.window, self.overlap = window, overlap
        self.scales, self.flip = tuple(scales), flip
        self.passes = DropoutPasses(network.model, mc_dropout, seed) if mc_dropout else None

    def settings(self) -> dict[str, Any]:
        """All that decides the numbers beside the weights and the image, as plain values."""
        network, passes = self.network, self.passes
        return {
            "size": network.size,
            "window": self.window,
            "overlap": self.overlap if self.window else None,
            "scales": self.scales,
            "flip": self.flip,
            "mc_dropout": [passes.passes, passes.seed] if passes else None,
            **({"task": network.task} if network.task else {}),
        }

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, C) → the probability of every class at every pixel, float32 (K, H, W)."""
        if self.window is None:
            return self._whole(image).probabilities
        result = np.empty((len(self.network.classes), *image.shape[:2]), np.float32)
        for band in self.bands(image):
            result[:, band.rows] = band.probabilities
        return result

    def predict(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, C) → the most likely class of every pixel, uint8 (H, W)."""
        label = np.empty(image.shape[:2], np.uint8)
        for band in self.bands(image):
            label[band.rows] = band.label()
        return label

    def bands(self, image: np.ndarray, progress: Progress | None = None) -> Iterator[Band]:
        """The prediction in bands of rows from the top down; of small images without windows, in a single one.

        Args:
            image: uint8 (H, W, C).
            progress: told (windows done, windows in all).
        """
        if self.window is not None:
            yield from self._through_windows(image, self.window, progress)
            return
        size = image.shape[:2]
        full = len(self.network.classes) * math.prod(size) * np.dtype(np.float32).itemsize
        enlarging = self.network.size not in (None, size)
        if enlarging and full > AT_ONCE:
            yield from self._from_scores(image, self.network.size)
        else:
            yield self._whole(image)

    def _whole(self, image: np.ndarray) -> Band:
        """All at once."""
        self._begin()
        return Band(0, *self._read(self._ask(image, self.network.size or image.shape[:2])))

    def _from_scores(self, image: np.ndarray, seen: tuple[int, int]) -> Iterator[Band]:
        """The network sees a small image, but the full size is large: all scores are kept, and enlarged by bands."""
        self._begin()
        (H, W), K = image.shape[:2], len(self.network.classes)
        kept = [(look.scores.numpy()[0], look.mirrored) for look in self._looks(image, seen)]  # (K, h, w) each
        height = max(1, BAND // (K * W * np.dtype(np.float32).itemsize))
        for start in range(0, H, height):
            rows = slice(start, min(start + height, H))
            parts = ((probabilities_of_rows(scores, (H, W), rows), mirrored) for scores, mirrored in kept)
            average = mean(self._counted(p[:, :, ::-1] if mirrored else p) for p, mirrored in parts)
            yield Band(start, *self._read(average))

    def _through_windows(self, image: np.ndarray, window: tuple[int, int], progress: Progress | None) -> Iterator[Band]:
        """Windows of what the network sees, blended: their probabilities, and their measures of uncertainty, which are
        taken within each. (Windows disagree where one of them has not seen what lies beyond its rim; that is no doubt
        of the model's.) The mean of several looks is enlarged after it has been taken."""
        self._begin()
        seen, K = self.network.size or image.shape[:2], len(self.network.classes)
        shown = resize_image(image, seen)  # (h, w, 3)
        blended = sliding(shown, self._opinion, window, self.overlap, progress)  # (K, n, w), or (K + 3, n, w)
        one_look = len(self.scales) == 1 and not self.flip and self.passes is None
        parts = ((said[:K], said[K:] if len(said) > K else None) for said in blended)
        start = 0
        for p, maps in enlarged(parts, seen, image.shape[:2], one_look):
            yield Band(start, p, maps)
            start += p.shape[1]

    def _opinion(self, piece: np.ndarray) -> np.ndarray:
        """All that is said of a window, uint8 (h, w, 3): probabilities, and measures if there are any, (C, h, w)."""
        p, maps = self._read(self._ask(piece, piece.shape[:2]))
        return p if maps is None else np.concatenate([p, maps])

    def _begin(self) -> None:
        self.network.model.eval()
        if self.passes is not None:
            self.passes.restart()

    def _ask(self, image: np.ndarray, seen: tuple[int, int]) -> np.ndarray:
        """The mean of all looks and passes, float32 (C, h, w) for an image (h, w, …): C = K, or K + 2 with dropout."""
        size = image.shape[:2]
        return mean(self._counted(look.probabilities(size)) for look in self._looks(image, seen))

    def _looks(self, image: np.ndarray, seen: tuple[int, int]) -> Iterator[Look]:
        """All looks, of all passes."""
        check_fits(self.network, scaled(seen, max(self.scales)), seen, self.device)
        arguments = self.network, image, seen, self.scales, self.flip, self.device
        if self.passes is None:
            yield from looks(*arguments)
            return
        for _ in range(self.passes.passes):
            with self.passes.on():
                pass_looks = list(looks(*arguments))
            yield from pass_looks

    def _counted(self, p: np.ndarray) -> np.ndarray:
        """What is averaged of a look: its probabilities, and with dropout two more numbers."""
        return p if self.passes is None else statistics(p)

    def _read(self, average: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """What `_ask` gave, as probabilities and measures of uncertainty."""
        return (average, None) if self.passes is None else measures(average)


def check_settings(window: tuple[int, int] | None, overlap: float, scales: Sequence[float]) -> None:
    """Errors: SettingError, as the command line names them."""
    if window is not None and min(window) < 1:
        raise SettingError(f"--window must be at least 1x1 pixels, got {window[1]}x{window[0]}")
    if not 0.0 <= overlap <= 0.9:
        raise SettingError(f"--overlap is a share of the window, from 0 to 0.9, got {overlap}")
    if not scales or not all(0.05 <= scale <= 20 for scale in scales):
        raise SettingError(f"--scales must be numbers from 0.05 to 20, got {', '.join(map(str, scales)) or 'none'}")
