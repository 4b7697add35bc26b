"""The same photograph twice: in training and in validation it makes a network look better than it is.

**Exact** duplicates have the same pixels. The decoded pixels are hashed, not the file: a PNG made of a BMP, or a JPEG
whose EXIF block was rewritten, is the same picture.

**Near** duplicates were saved again as a JPEG, or in another size. They are found in two steps.

1. *dHash*: the image is averaged down to 9x8 grey cells, and each of 64 bits says whether a cell is brighter than its
   left neighbour. A re-saved picture has nearly the same bits; two numbers of 64 bits are compared in nanoseconds.
2. A grey miniature of 36x32 is compared cell by cell, and the *largest* difference counts, in parts of the range from
   the darkest to the brightest cell. Re-saving errs a little everywhere; the world moving on errs much somewhere.

The second step is what tells a re-saved picture from the next frame of a film. On CamVid, 468 frames of drives in which
the car sometimes stands at a light for minutes, dHash alone gives neighbouring frames a distance of 0 out of 64 and
finds 397 pairs within 6. The largest difference of the miniatures is at least 0.086 of the range for two frames; for
a frame and itself saved as JPEG of quality 90 to 30, or scaled to a quarter up to one and a half, at most 0.030
(0.048 at quality 10, on photographs of PASCAL VOC). `TOLERANCE` lies between. What it does not find: cropped,
mirrored or recoloured copies (cutting off 1% at each border makes a difference of 0.06 and more). Pictures without
contrast are not compared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

ROWS, COLUMNS, CELL = 8, 9, 4  # of dHash; the miniature has CELL x CELL times as many cells
BITS_APART = 8  # out of 64: what a re-saved picture may differ in dHash; measured: 7
TOLERANCE = 0.05  # largest difference of two miniatures that are one picture, in parts of their range
FLAT = 24  # of 255: miniatures with a smaller range show nothing by which they could be told apart


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image: 16 bytes for its pixels, a miniature, and 16 bytes for its mask's values."""

    pixels: bytes
    miniature: np.ndarray  # uint8 (32, 36)
    mask: bytes

    @classmethod
    def of(cls, picture: Image.Image, values: np.ndarray | None) -> Fingerprint:
        """Of an RGB picture and the values of its mask, uint8 (H, W), if there is one."""
        mask = b"" if values is None else _digest(np.ascontiguousarray(values), values.shape)
        return cls(_digest(picture.tobytes(), picture.size), miniature(picture), mask)


@dataclass(frozen=True)
class Same:
    """Images that are one picture.

    Attributes:
        members: (split, index) of each, at least two, in the order in which they were read.
        exact: pixel by pixel; otherwise saved again.
        masks_differ: not all of their masks are the same.
        difference: the largest between two miniatures of it, in parts of their range; 0 if exact.
    """

    members: tuple[tuple[str, int], ...]
    exact: bool
    masks_differ: bool = False
    difference: float = 0.0

    @property
    def splits(self) -> list[str]:
        """The splits in which it is, in order."""
        return list(dict.fromkeys(split for split, _ in self.members))


@dataclass
class Fingerprints:
    """The fingerprints of all images of all splits: 1.6 kB each. 100 000 of them take 200 MB, and 390 MB while they are
    compared, which takes a quarter of a minute."""

    members: list[tuple[str, int]] = field(default_factory=list)
    prints: list[Fingerprint] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def add(self, split: str, i: int, files: tuple[Path, Path] | None, fingerprint: Fingerprint) -> None:
        """Image i of a split. A file that several lists name is one image, and counted once."""
        if files is None or files[0] not in self.seen:
            self.members.append((split, i))
            self.prints.append(fingerprint)
        if files is not None:
            self.seen.add(files[0])

    def same(self) -> list[Same]:
        """All groups of images that are one picture: the exact ones first, then near ones."""
        by_pixels: dict[bytes, list[int]] = {}
        for k, fingerprint in enumerate(self.prints):
            by_pixels.setdefault(fingerprint.pixels, []).append(k)
        exact = [self._exact(members) for members in by_pixels.values() if len(members) > 1]
        return exact + self._near([members[0] for members in by_pixels.values()])

    def _exact(self, numbers: list[int]) -> Same:
        masks = {self.prints[k].mask for k in numbers} - {b""}
        return Same(tuple(self.members[k] for k in numbers), True, len(masks) > 1)

    def _near(self, numbers: list[int]) -> list[Same]:
        if len(numbers) < 2:
            return []
        groups = alike(np.array([self.prints[k].miniature for k in numbers]))
        return [Same(tuple(self.members[numbers[k]] for k in g), False, difference=d) for g, d in groups]


def miniature(picture: Image.Image) -> np.ndarray:
    """A picture in 32 rows and 36 columns of grey, each cell the mean of what it covers: uint8 (32, 36)."""
    # Bilinear, not box: a box that begins in the middle of a pixel errs, and scaled copies would look less alike.
    return np.array(picture.convert("L").resize((COLUMNS * CELL, ROWS * CELL), Image.Resampling.BILINEAR))


def dhash(miniatures: np.ndarray) -> np.ndarray:
    """64 bits for each of n miniatures uint8 (n, 32, 36): uint64 (n,)."""
    n = len(miniatures)
    cells = miniatures.reshape(n, ROWS, CELL, COLUMNS, CELL).mean(axis=(2, 4))  # (n, 8, 9)
    brighter = cells[:, :, 1:] > cells[:, :, :-1]  # (n, 8, 8)
    return np.packbits(brighter.reshape(n, 64), axis=1).view(np.uint64)[:, 0]


def alike(miniatures: np.ndarray) -> list[tuple[list[int], float]]:
    """Which of n miniatures uint8 (n, 32, 36) are one picture.

    Whoever is like a member of a group is of the group, so a hundred frames of a camera that does not move are one
    group. A row of the table of all pairs is worked on at a time, and those who are together already are not compared
    again: that is quick enough for 100 000 images.

    Returns:
        the groups, each of at least two, with the largest difference that joined them.
    """
    n = len(miniatures)
    bits, span = dhash(miniatures), np.ptp(miniatures.reshape(n, -1), axis=1).astype(np.float64)  # (n,) each
    group, worst = np.arange(n), np.zeros(n)  # the first member of the group of each; what joined the group
    for a in np.flatnonzero(span >= FLAT):
        near = (np.bitwise_count(bits[a:] ^ bits[a]) <= BITS_APART) & (span[a:] >= FLAT) & (group[a:] != group[a])
        others = a + np.flatnonzero(near)  # (m,)
        if not len(others):
            continue
        largest = np.abs(miniatures[others].astype(np.int16) - miniatures[a]).reshape(len(others), -1).max(axis=1)
        difference = largest / np.minimum(span[others], span[a])  # (m,)
        same = difference <= TOLERANCE
        if same.any():
            joined = np.isin(group, group[others[same]]) | (group == group[a])  # (n,)
            worst[group[a]] = max(difference[same].max(), worst[joined].max())
            group[joined] = group[a]
    counts = np.bincount(group, minlength=n)
    return [(np.flatnonzero(group == first).tolist(), float(worst[first])) for first in np.flatnonzero(counts > 1)]


def _digest(content: bytes | np.ndarray, size: tuple[int, ...]) -> bytes:
    sums = hashlib.sha256(repr(size).encode())  # in hardware on most machines, so quicker than simpler sums
    sums.update(content)
    return sums.digest()[:16]
