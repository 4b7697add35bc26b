"""Where pictures come from: a photograph, a folder of them with its sub-folders, or the frames of a clip (clips.py).

A source knows the names of all its pictures before it reads one. So it can be told which of them are wanted, and those
that an earlier run has finished are never read.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ..data import DataError, list_images, read_image
from ..data.datasets import as_size

Read = Callable[[], np.ndarray]  # gives uint8 (H, W, C), or raises DataError


class Source(Protocol):
    """Pictures in order. A name may lead into a sub-folder: "street/0001"."""

    names: list[str]
    what: str  # what one of them is called: "image", "frame"

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """The wanted pictures, by ascending number; each is decoded when its function is called."""
        ...


class ImageFiles:
    """Image files. Each is named after its stem, or, where two in a folder would get the same name (a.png and a.jpg),
    all of that folder after their full names."""

    what = "image"

    def __init__(self, files: Sequence[Path], root: Path, large: bool = False) -> None:
        self.files, self.root, self.large = list(files), root, large
        self.names = names_of(self.files, root)
        self.beneath: dict[Path, Path] = {}  # the HHA picture of each file, where there are such

    @classmethod
    def open(cls, path: Path, recursive: bool = False, outputs: Path | None = None, large: bool = False) -> ImageFiles:
        """One image, or those of a folder.

        Args:
            path: the file or folder.
            recursive: take sub-folders as well, except hidden ones.
            outputs: where predictions go; what lies there is not taken for a photograph.
            large: read images of any number of pixels.

        Raises:
            DataError: there is no such file or folder, or no image in it.
        """
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{path}: no such file or folder", "check the spelling, upper and lower case included")
            return cls([path], path.parent, large)
        if not recursive:
            return cls(images_in(path), path, large)
        files = [file for folder in folders_below(path, outputs) for file in images_or_none(folder)]
        if not files:
            raise DataError(f"{path}: neither this folder nor one below it holds an image")
        return cls(files, path, large)

    def without(self, paths: set[Path]) -> ImageFiles:
        """The same source, with these files passed over."""
        self.names, self.files = (
            [name for name, file in zip(self.names, self.files, strict=True) if file not in paths],
            [file for file in self.files if file not in paths],
        )
        return self

    def with_hha(self, path: Path) -> ImageFiles:
        """The same source, with three more channels: HHA, from a file for the only image, or from a folder in which
        each image has a picture of its own name.

        Raises:
            DataError: no such file or folder, or the images that have none in it.
        """
        if path.is_file() and len(self.files) == 1:
            self.beneath = {self.files[0]: path}
            return self
        if not path.is_dir():
            problem = "is one file, for many images" if path.is_file() else "no such file or folder"
            raise DataError(f"--hha {path}: {problem}", "give the folder of HHA pictures that are called as the images")
        folders = {image.parent: path / image.parent.relative_to(self.root) for image in self.files}
        pictures = {here: {p.stem: p for p in images_or_none(there)} for here, there in folders.items()}
        found = {image: pictures[image.parent].get(image.stem) for image in self.files}
        without = [image for image, picture in found.items() if picture is None]
        if without:
            raise DataError([f"{image}: no HHA picture of this name in {path}" for image in without])
        self.beneath = found
        return self

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        for i in wanted:
            yield i, lambda i=i: self.read_one(self.files[i])

    def read_one(self, file: Path) -> np.ndarray:
        """A photograph uint8 (H, W, 3); with HHA beneath, (H, W, 6)."""
        image = read_photograph(file, self.large)
        if file not in self.beneath:
            return image
        hha = read_photograph(self.beneath[file], self.large)
        if hha.shape != image.shape:
            raise DataError(f"{file}: is {as_size(image)}, but {self.beneath[file]} is {as_size(hha)}")
        return np.dstack([image, hha])


def names_of(files: Sequence[Path], root: Path) -> list[str]:
    """Names relative to `root`, without the suffix where that leaves them different within their folder."""
    stems: dict[Path, list[str]] = {}
    for file in files:
        stems.setdefault(file.parent, []).append(file.stem)
    distinct = {folder: len(set(found)) == len(found) for folder, found in stems.items()}
    return [
        (file.parent.relative_to(root) / (file.stem if distinct[file.parent] else file.name)).as_posix()
        for file in files
    ]


def images_in(folder: Path) -> list[Path]:
    """Errors: DataError where there is none, with a hint at sub-folders that have some."""
    try:
        return list_images(folder)
    except DataError as error:
        if any(images_or_none(below) for below in folders_below(folder)):
            raise DataError(error.problems, "--recursive takes the images of its sub-folders") from None
        raise


def images_or_none(folder: Path) -> list[Path]:
    try:
        return list_images(folder)
    except DataError:
        return []


def folders_below(root: Path, but: Path | None = None) -> Iterator[Path]:
    """`root` and all folders below it in order, except hidden ones and `but`. Links to folders are not followed."""
    but = but.resolve() if but is not None else None
    for here, below, _ in os.walk(root):
        below[:] = sorted(n for n in below if not n.startswith(".") and (Path(here) / n).resolve() != but)
        yield Path(here)


def read_photograph(path: Path, large: bool = False) -> np.ndarray:
    """`read_image`, with a word about `--large` where the file has more pixels than Pillow takes without being asked.

    Pillow's limit is there for good reason: a file of a few kilobytes can claim to be a picture that fills all memory.
    """
    with pixel_limit(large):
        try:
            return read_image(path)
        except DataError as error:
            if not isinstance(error.__cause__, Image.DecompressionBombError):
                raise
            millions = 2 * Image.MAX_IMAGE_PIXELS // 10**6
            raise DataError(
                f"{path}: has more than {millions} million pixels, which a harmful file may only claim",
                "if you trust the file, add --large, and --window 512x512 to go through it piece by piece",
            ) from None


@contextmanager
def pixel_limit(large: bool) -> Iterator[None]:
    """Within the block Pillow reads images up to its limit without a warning, or with `large` all images."""
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = None if large else limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
