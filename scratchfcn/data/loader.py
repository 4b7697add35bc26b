"""From a data set to batches, prepared in the background, in an order that can be computed again.

No generator is carried from batch to batch. The order of epoch e follows from (seed, e), and what chance
does to sample i in epoch e follows from (seed, e, i). So batch 57 of epoch 3 is the same bit by bit whether
it is reached by training up to it or by resuming there, and whether one thread prepared it or four.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .background import in_background
from .datasets import Dataset, as_size
from .errors import DataError
from .transforms import Transform


@dataclass(frozen=True)
class Batch:
    """What a training step is given.

    Attributes:
        images: float32 (N, C, H, W).
        labels: uint8 (N, H, W), of T tasks (N, H, W, T); for validation H and W may differ from the images'.
        names: N names, see `Dataset.name`.
    """

    images: np.ndarray
    labels: np.ndarray
    names: list[str]


class Loader:
    """Batches of a data set, epoch after epoch.

    Args:
        dataset: where images and masks come from.
        batch_size: N. The last batch of an epoch may be smaller, see `drop_last`.
        transform: applied to every sample; it must end in `Normalise`.
        seed: decides order and chance, together with the number of the epoch.
        shuffle: a new order every epoch; without it, the order of the data set.
        workers: threads that prepare batches; 0 prepares each in the calling thread when it is asked for.
        prefetch: batches prepared ahead.
        drop_last: leave a smaller last batch out.

    Raises:
        ValueError: a batch size below 1, or drop_last with fewer samples than one batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        transform: Transform,
        seed: int = 0,
        shuffle: bool = True,
        workers: int = 1,
        prefetch: int = 2,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1 or workers < 0 or prefetch < 1:
            given = f"batch_size {batch_size}, prefetch {prefetch}, workers {workers}"
            raise ValueError(f"Loader: {given}: the first two must be at least 1, workers at least 0")
        if drop_last and len(dataset) < batch_size:
            raise ValueError(f"Loader: drop_last leaves nothing of {len(dataset)} images in batches of {batch_size}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.transform = transform
        self.seed = seed
        self.shuffle = shuffle
        self.workers = workers
        self.prefetch = prefetch
        self.drop_last = drop_last

    def __len__(self) -> int:
        """Batches per epoch."""
        batches = len(self.dataset) / self.batch_size
        return math.floor(batches) if self.drop_last else math.ceil(batches)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, in order.

        Args:
            number: which epoch, from 0.
            start: index of the first batch wanted; those before it are not prepared at all.

        Raises:
            DataError: a file is bad, or the samples of a batch differ in size (`Resize` or `RandomCrop` makes
                them equal).
            RuntimeError: a transform or data set failed; names the sample, and the cause is attached.
        """
        order = self._order(number)
        groups = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(start, len(self))]
        return in_background(
            lambda group: self._batch(number, group), groups, self.workers, max(self.prefetch, self.workers)
        )

    def _order(self, number: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return np.random.default_rng([self.seed, number]).permutation(len(self.dataset))

    def _batch(self, number: int, group: np.ndarray) -> Batch:
        pairs = [self._sample(number, int(i)) for i in group]
        names = [self.dataset.name(int(i)) for i in group]
        images = _stacked([image for image, _ in pairs], names, "image")  # (N, C, H, W)
        labels = _stacked([label for _, label in pairs], names, "mask")  # (N, H, W) or (N, H, W, T)
        return Batch(images, labels, names)

    def _sample(self, number: int, i: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            image, label = self.dataset.read(i)
            image, label = self.transform(image, label, np.random.default_rng([self.seed, number, i]))
            if image.dtype != np.float32 or image.ndim != 3 or len(image) != self.dataset.channels:
                raise ValueError(f"the transform must end in Normalise, but gives {image.dtype} {image.shape}")
        except DataError:
            raise  # names its file already
        except Exception as error:
            raise RuntimeError(f"Loader: {self.dataset.name(i)}: {type(error).__name__}: {error}") from error
        return image, label


class Cached(Dataset):
    """A data set that remembers what it has read: every JPEG is decoded once, not once per epoch.

    Args:
        dataset: what to remember.
        transform: applied before remembering; it must not depend on chance (`Resize`, for example). It is
            called with rng None.
        limit_bytes: beyond this much, further samples are read anew each time.
    """

    def __init__(self, dataset: Dataset, transform: Transform | None = None, limit_bytes: int = 1 << 30) -> None:
        self.dataset = dataset
        self.classes = dataset.classes
        self.root = dataset.root
        self.channels, self.tasks = dataset.channels, dataset.tasks
        self.mean, self.std, self.caffe_mean = dataset.mean, dataset.std, dataset.caffe_mean
        self.transform = transform
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, i: int) -> str:
        return self.dataset.name(i)

    def files(self, i: int) -> tuple[Path, Path] | None:
        return self.dataset.files(i)

    def views(self) -> dict[str, Dataset]:
        """The parts of what is remembered, as they are in files."""
        return {"": self} if self.channels == 3 and not self.tasks else self.dataset.views()

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and mask i, see `Dataset.read`; not writeable, since others will be given the same arrays."""
        if i in self._kept:
            return self._kept[i]
        image, label = self.dataset.read(i)
        if self.transform is not None:
            image, label = self.transform(image, label, None)
        image.flags.writeable = label.flags.writeable = False
        self._keep(i, image, label)
        return image, label

    def _keep(self, i: int, image: np.ndarray, label: np.ndarray) -> None:
        with self._lock:  # two threads may have read the same sample meanwhile; it counts once
            size = image.nbytes + label.nbytes
            if i not in self._kept and self.used_bytes + size <= self.limit_bytes:
                self._kept[i] = (image, label)
                self.used_bytes += size


def _stacked(arrays: Sequence[np.ndarray], names: Sequence[str], kind: str) -> np.ndarray:
    for array, name in zip(arrays, names, strict=True):
        if array.shape != arrays[0].shape:
            sizes = [as_size(a[0] if kind == "image" else a) for a in (arrays[0], array)]
            raise DataError(
                f"one batch, two sizes: {kind} {names[0]} is {sizes[0]}, {kind} {name} is {sizes[1]}",
                "--size 320x240 resizes all images; --crop 256 cuts pieces of one size; "
                "--batch-size 1 takes them as they are",
            )
    return np.stack(arrays)
