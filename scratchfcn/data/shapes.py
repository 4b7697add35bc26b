"""Generated pictures: a segmentation problem that needs no download and can be as large as you like.

Circles, squares, triangles, stars, rings and crosses, turned and scaled at random, each with a rim, lie on
stripes, checks, gradients and clouds. All colours are random, so that colour says nothing about the class: a
network has to look at outlines, which needs more context than any single pixel holds, and that is what an
FCN is for.

Image and mask come from one drawing. Each shape is drawn three times too large and shrunk; the result says,
for each pixel, what share of it the shape covers. The image mixes colours by that share, which smooths its
edges as a camera would; the mask gives the pixel to the shape from one half upwards, so that it stays
crisp.
"""

import numpy as np
from PIL import Image, ImageDraw

from .datasets import Dataset
from .palette import Classes, voc_palette

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
FINER = 3  # drawn that many times too large, so coverage comes in steps of 1/9


class Shapes(Dataset):
    """Images with shapes in front of a background, made when they are read and the same every time.

    Image i depends on (seed, i, size, num_shapes) alone, so two threads, runs or machines agree on it. Use
    another seed for validation images.

    Args:
        length: number of images.
        size: (H, W) in pixels, each at least 1.
        seed: not negative; another seed gives entirely different images.
        num_shapes: fewest and most shapes in an image; later ones may cover earlier ones.
        kinds: which of SHAPES there are; the classes are "background" and these.

    Raises:
        ValueError: a length, size, seed or number of shapes that cannot be.
    """

    def __init__(
        self,
        length: int,
        size: tuple[int, int] = (96, 96),
        seed: int = 0,
        num_shapes: tuple[int, int] = (1, 3),
        kinds: tuple[str, ...] = SHAPES,
    ) -> None:
        if length < 1 or min(size) < 1 or seed < 0:
            raise ValueError(f"Shapes: length {length} and size {size} must be at least 1, seed {seed} at least 0")
        if not 0 <= num_shapes[0] <= num_shapes[1]:
            raise ValueError(f"Shapes: num_shapes {num_shapes} must be (fewest, most)")
        if not kinds or not set(kinds) <= set(SHAPES):
            raise ValueError(f"Shapes: kinds {kinds} must be some of {', '.join(SHAPES)}")
        self.length, self.size, self.seed = length, size, seed
        self.num_shapes, self.kinds = num_shapes, kinds
        names = ("background", *kinds)
        self.classes = Classes(names, voc_palette(len(names)))

    def __len__(self) -> int:
        return self.length

    def name(self, i: int) -> str:
        return f"shapes_{self.seed}_{i:05d}"

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and mask i, see `Dataset.read`. Raises IndexError beyond the length."""
        if not 0 <= i < self.length:
            raise IndexError(f"Shapes: there are {self.length} images, but number {i} is asked for")
        rng = np.random.default_rng([self.seed, i])
        H, W = self.size
        image = _background(rng, H, W)
        label = np.zeros((H, W), np.uint8)
        pattern = _pattern(rng, H, W) - 0.5  # (H, W): what the shapes' own surfaces are made of
        for _ in range(rng.integers(self.num_shapes[0], self.num_shapes[1], endpoint=True)):
            kind = int(rng.integers(len(self.kinds)))
            _place_shape(rng, image, label, pattern, self.kinds[kind], kind + 1)  # class 0 is the background
        image += rng.integers(-5, 5, image.shape, dtype=np.int8, endpoint=True)  # what a sensor adds
        return image.clip(0, 255).astype(np.uint8), label


def _background(rng: np.random.Generator, H: int, W: int) -> np.ndarray:
    """Two similar colours, mixed by a pattern: float32 (H, W, 3)."""
    colour = rng.uniform(20, 235, 3).astype(np.float32)
    change = rng.uniform(-70, 70, 3).astype(np.float32)
    return colour + change * _pattern(rng, H, W)[:, :, None]


def _pattern(rng: np.random.Generator, H: int, W: int) -> np.ndarray:
    """Stripes, checks, a gradient or clouds, turned and scaled at random: float32 (H, W) in 0..1."""
    kind = rng.integers(4)
    if kind == 0:
        coarse = rng.random((rng.integers(3, 8), rng.integers(3, 8)), dtype=np.float32)
        return np.asarray(Image.fromarray(coarse).resize((W, H), Image.Resampling.BICUBIC)).clip(0, 1)
    angle = rng.uniform(0, 2 * np.pi)
    scale = 1 / max(H, W)
    x = np.arange(W, dtype=np.float32)[None, :] * np.float32(scale)  # (1, W)
    y = np.arange(H, dtype=np.float32)[:, None] * np.float32(scale)  # (H, 1)
    along = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y  # (H, W)
    if kind == 1:
        return (0.5 + 0.7 * (along - along.mean())).clip(0, 1)
    waves = np.float32(rng.uniform(12, 60))  # radians across the picture
    phase = np.float32(rng.uniform(0, 2 * np.pi))
    wave = np.sin(waves * along + phase)
    if kind == 2:
        return 0.5 + 0.5 * wave
    across = np.float32(np.cos(angle)) * y - np.float32(np.sin(angle)) * x  # (H, W)
    wave *= np.sin(waves * across + phase)
    return (0.5 + 2 * wave).clip(0, 1)  # steep: mostly one colour or the other


def _place_shape(
    rng: np.random.Generator, image: np.ndarray, label: np.ndarray, pattern: np.ndarray, kind: str, number: int
) -> None:
    """Draw one shape into image and label, wherever and however large chance will have it."""
    H, W = label.shape
    radius = rng.uniform(0.22, 0.42) * min(H, W)
    centre = rng.uniform(0.2, 0.8, 2) * (W, H)  # x, y: some are cut off by the edge
    corners = _turned(OUTLINES[kind], rng.uniform(-0.4, 0.4)) * radius  # (corners, 2), around the origin
    hole = OUTLINES["circle"] * radius * HOLE if kind == "ring" else None
    outline = corners + centre
    left, top = np.maximum(np.floor(outline.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(outline.max(axis=0)), (W, H)).astype(int)
    if right <= left or bottom <= top:
        return
    box = (left, top, right - left, bottom - top)
    cover = _coverage(outline, None if hole is None else hole + centre, *box)  # (h, w)
    wider_hole = None if hole is None else hole * (1 + RIM) + centre
    inside = _coverage(corners * (1 - RIM) + centre, wider_hole, *box)  # (h, w): without the rim
    part = (slice(top, bottom), slice(left, right))
    fill = _contrasting_colour(rng, image[part]) + rng.uniform(-45, 45, 3) * pattern[part][:, :, None]  # (h, w, 3)
    rim = 0.25 * fill + (0 if fill.mean() > 90 else 120)  # dark around a light shape, light around a dark one
    colour = rim + inside[:, :, None] / 255 * (fill - rim)  # (h, w, 3)
    share = cover[:, :, None] / np.float32(255)  # (h, w, 1)
    image[part] += share * (colour.astype(np.float32) - image[part])
    label[part][cover >= 128] = number


def _coverage(outline: np.ndarray, hole: np.ndarray | None, left: int, top: int, w: int, h: int) -> np.ndarray:
    """How much of each pixel the outline covers, 0..255: uint8 (h, w)."""
    canvas = Image.new("L", (w * FINER, h * FINER))
    draw = ImageDraw.Draw(canvas)
    for corners, ink in ((outline, 255), (hole, 0)):
        if corners is not None:
            # Pillow cuts numbers off towards zero; rounding down keeps outlines straight across the edge
            points = np.floor((corners - (left, top)) * FINER)
            draw.polygon(points.ravel().tolist(), fill=ink)
    return np.asarray(canvas.reduce(FINER))


def _contrasting_colour(rng: np.random.Generator, behind: np.ndarray) -> np.ndarray:
    """Of eight random colours, the one whose nearest pixel in what lies behind is farthest away."""
    h, w, _ = behind.shape
    pixels = behind[:: h // 6 + 1, :: w // 6 + 1].reshape(-1, 3)  # at most 36: enough to know a pattern's colours
    colours = rng.uniform(15, 240, (8, 3)).astype(np.float32)
    distance = ((colours[:, None] - pixels[None]) ** 2).sum(axis=2)  # (8, pixels)
    return colours[distance.min(axis=1).argmax()]


def _turned(corners: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return corners @ np.array([[cos, sin], [-sin, cos]])  # (corners, 2)


def _around(radii: list[float]) -> np.ndarray:
    """A closed outline: points evenly around the origin at these distances from it."""
    angle = 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.array(radii)[:, None]  # (corners, 2)


def _cross(arm: float) -> np.ndarray:
    """A plus sign that touches the unit circle, with arms 2·arm wide."""
    tip = np.sqrt(1 - arm**2)
    quarter = np.array([[tip, -arm], [tip, arm], [arm, arm]])
    return np.concatenate([_turned(quarter, i * np.pi / 2) for i in range(4)])  # (12, 2)


HOLE = 0.55  # radius of a ring's hole, of its own radius
RIM = 0.12  # width of a shape's rim, of its radius
OUTLINES = {  # about equally large
    "circle": _around([1.0] * 40),
    "square": _around([1.0] * 4),
    "triangle": _around([1.3] * 3),
    "star": _around([1.2, 0.5] * 5),
    "ring": _around([1.0] * 40),
    "cross": _cross(0.36),
}
