"""Small data sets to check: every photograph another one, and masks as the test wants them."""

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

H, W = 24, 32


def photograph(name: str, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """A blotchy colour picture, uint8 (H, W, 3), that is another one for every name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    blotches = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.array(blotches.resize(size[::-1], Image.Resampling.BICUBIC))


def label(*values: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """A mask uint8 with these values in vertical stripes of equal width."""
    columns = np.arange(size[1]) * len(values) // size[1]
    return np.tile(np.array(values, np.uint8)[columns], (size[0], 1))


def put(path: Path, content: np.ndarray | Image.Image | bytes, **options) -> Path:
    """Write a picture, or the bytes of something that is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        picture = content if isinstance(content, Image.Image) else Image.fromarray(content)
        picture.save(path, **options)
    return path


def folder(root: Path, masks: dict[str, object], split: str = "train", suffix: str = ".png") -> Path:
    """A data set in one's own layout: for every mask a photograph of its size."""
    for name, mask in masks.items():
        size = mask.shape[:2] if isinstance(mask, np.ndarray) else (H, W)
        put(root / "images" / split / f"{name}.png", photograph(f"{split}/{name}", size))
        put(root / "masks" / split / f"{name}{suffix}", mask)
    return root


def classes_toml(root: Path, names: str, more: str = "") -> None:
    """`classes_toml(root, "road car")`."""
    root.mkdir(parents=True, exist_ok=True)
    listed = ", ".join(f'"{name}"' for name in names.split())
    (root / "classes.toml").write_text(f"names = [{listed}]\n{more}\n", encoding="utf-8")
