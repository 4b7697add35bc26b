"""Small data sets in the layouts in which the large ones are published, for tests that cannot have those.

Every maker writes a few pictures of noise and masks of random values into a folder and returns it. Masks of one's own
can be given by name: `voc2012(folder, masks={"2007_000001": mask})`; they hold what the *files* of that data set hold.
`MAKERS` has one for each name of `--dataset`, so that a test can run over all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scratchfcn.data.sets import camvid_original as original
from scratchfcn.data.sets import cityscapes as streets
from scratchfcn.data.sets import pascal_context as context
from scratchfcn.data.sets import siftflow as scenes

SIZE = (24, 32)  # rows and columns
Masks = Mapping[str, np.ndarray]


def put(path: Path, array: np.ndarray, palette: bool = False) -> None:
    """Save a picture; `palette`: as indices, with VOC's colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(array, np.uint8))
    if palette:
        from scratchfcn.data import voc_palette

        picture = picture.convert("P")
        picture.putpalette(voc_palette().ravel().tolist())
    picture.save(path)


def put_mat(path: Path, **variables: object) -> None:
    """Save a MATLAB file, compressed as the published ones are."""
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables, do_compression=True)


def put_list(path: Path, names: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def noise(name: str, channels: int = 3) -> np.ndarray:
    """A picture that is another one for each name: uint8 (H, W, channels)."""
    return np.random.default_rng(list(name.encode())).integers(0, 256, (*SIZE, channels), np.uint8)


def mask_for(name: str, values: Sequence[int], masks: Masks | None = None) -> np.ndarray:
    """The mask given for this name, or blocks of random values: (H, W)."""
    if masks is not None and name in masks:
        return np.asarray(masks[name])
    blocks = np.random.default_rng(list(name.encode())).choice(values, (SIZE[0] // 4, SIZE[1] // 4))
    return np.kron(blocks, np.ones((4, 4), int))


def folder(root: Path, splits: Mapping[str, Sequence[str]] | None = None, masks: Masks | None = None) -> Path:
    for split, names in (splits or {"train": ("a", "b", "c"), "val": ("d", "e")}).items():
        for name in names:
            put(root / f"images/{split}/{name}.png", noise(name))
            put(root / f"masks/{split}/{name}.png", mask_for(name, (0, 1, 2, 255), masks))
    return root


def camvid(root: Path, splits: Mapping[str, Sequence[str]] | None = None, masks: Masks | None = None) -> Path:
    for split, names in (splits or {"train": ("0001TP_006690", "0006R0_f00930"), "val": ("0016E5_07959",)}).items():
        for name in names:
            put(root / f"{split}/{name}.png", noise(name))
            put(root / f"{split}annot/{name}.png", mask_for(name, range(12), masks))
    return root


FRAMES = ("0001TP_006690", "0001TP_008550", "0006R0_f00930", "0016E5_00390", "0016E5_07959", "Seq05VD_f00000")


def camvid_original(root: Path, names: Sequence[str] = FRAMES, masks: Masks | None = None) -> Path:
    """`masks` hold indices into the list of 32 colours."""
    colours = np.array(list(original.COLOURS.values()))  # (32, 3)
    for name in names:
        put(root / f"701_StillsRaw_full/{name}.png", noise(name))
        put(root / f"LabeledApproved_full/{name}_L.png", colours[mask_for(name, range(32), masks)])
    return root


VOC_SPLITS = {"train": ("2007_000032", "2007_000039", "2007_000063"), "val": ("2007_000033", "2007_000042")}
SBD_SPLITS = {"train": ("2008_000002", "2007_000039", "2008_000003"), "val": ("2008_000007", "2007_000042")}


def voc2012(
    root: Path,
    splits: Mapping[str, Sequence[str]] = VOC_SPLITS,
    masks: Masks | None = None,
    only_images: Sequence[str] = (),
    year: str = "VOC2012",
) -> Path:
    """`only_images`: photographs without a mask, of which VOC has thousands."""
    voc = root / "VOCdevkit" / year
    for split, names in splits.items():
        put_list(voc / f"ImageSets/Segmentation/{split}.txt", names)
        for name in names:
            put(voc / f"JPEGImages/{name}.jpg", noise(name))
            put(voc / f"SegmentationClass/{name}.png", mask_for(name, (*range(21), 255), masks), palette=True)
    put_list(voc / "ImageSets/Segmentation/trainval.txt", [*splits.get("train", ()), *splits.get("val", ())])
    for name in only_images:
        put(voc / f"JPEGImages/{name}.jpg", noise(name))
    return root


def sbd(root: Path, splits: Mapping[str, Sequence[str]] = SBD_SPLITS, masks: Masks | None = None) -> Path:
    """A struct `GTcls` with the fields that SBD's files have."""
    base = root / "benchmark_RELEASE/dataset"
    for split, names in splits.items():
        put_list(base / f"{split}.txt", names)
        for name in names:
            put(base / f"img/{name}.jpg", noise(name))
            mask = mask_for(name, range(21), masks).astype(np.uint8)
            present = np.setdiff1d(np.unique(mask), [0]).reshape(-1, 1)
            boundaries = np.empty((20, 1), object)
            boundaries[:] = [[np.zeros((1, 1), np.uint8)]] * 20
            struct = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": present}
            put_mat(base / f"cls/{name}.mat", GTcls=struct)
    return root


def voc2012_and_sbd(root: Path) -> Path:
    return sbd(voc2012(root, only_images=("2008_000002", "2008_000003", "2008_000007")))


CONTEXT_SPLITS = {"train": ("2008_000002", "2008_000003"), "val": ("2008_000007",)}


def context_labels() -> list[str]:
    """Lines as in the published labels.txt: the 59 names, in its own spelling, among others that are background."""
    task = [context.CALLED.get(name, name) for name in context.NAMES[1:]]
    names = sorted([*task, "accordion", "cabinet door", "zebra"])
    return [f"{number}: {name}" for number, name in enumerate(names, start=1)]


def pascal_context(
    root: Path, splits: Mapping[str, Sequence[str]] = CONTEXT_SPLITS, masks: Masks | None = None
) -> Path:
    """`masks` hold numbers of `context_labels`."""
    voc, labels = root / "VOCdevkit/VOC2010", context_labels()
    put_list(root / "labels.txt", labels)
    put_list(voc / "ImageSets/Main/trainval.txt", [name for names in splits.values() for name in names])
    for split, names in splits.items():
        put_list(voc / f"ImageSets/Main/{split}.txt", names)
        for name in names:
            put(voc / f"JPEGImages/{name}.jpg", noise(name))
            mask = mask_for(name, range(1, len(labels) + 1), masks).astype(np.uint16)
            put_mat(root / f"trainval/{name}.mat", LabelMap=mask)
    return root


NYUD_SPLITS = {"train": ("5003", "5004"), "val": ("5010",), "test": ("5001", "5002")}


def nyudv2(
    root: Path, splits: Mapping[str, Sequence[str]] = NYUD_SPLITS, masks: Masks | None = None, lists: bool = True
) -> Path:
    """`lists`: the text files as well; without them the published division holds, and these names are of it."""
    for split, names in splits.items():
        if lists:
            put_list(root / f"{split}.txt", names)
        for name in names:
            put(root / f"data/images/img_{name}.png", noise(name))
            put(root / f"data/hha/img_{name}.png", noise(f"hha {name}"))
            depth = noise(f"depth {name}", 1)[:, :, 0].astype(np.uint16) * 10 + 500  # millimetres
            (root / "data/depth").mkdir(exist_ok=True)
            Image.fromarray(depth).save(root / f"data/depth/img_{name}.png")
            mask = mask_for(name, range(41), masks).astype(np.uint8)
            put_mat(root / f"segmentation/img_{name}.mat", segmentation=mask)
    return root


SCENES = ("coast_arnat59", "forest_for121", "coast_land111", "street_par177")  # the first and the last are in test


def siftflow(root: Path, names: Sequence[str] = SCENES, masks: Masks | None = None, geo: Masks | None = None) -> Path:
    """`masks`: the semantic ones, 0..33; `geo`: the geometric ones, -1 and 1..3."""
    for name in names:
        put(root / scenes.IMAGES / f"{name}.jpg", noise(name))
        put_mat(root / scenes.SEMANTIC_LABELS / f"{name}.mat", S=mask_for(name, range(34), masks).astype(np.uint8))
        put_mat(root / scenes.GEOMETRIC_LABELS / f"{name}.mat", S=mask_for(name, (-1, 1, 2, 3), geo).astype(np.int16))
    return root


STREETS = {
    "train": ("aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313"),
    "val": ("lindau_000000_000019",),
}


def cityscapes(root: Path, splits: Mapping[str, Sequence[str]] = STREETS, masks: Masks | None = None) -> Path:
    """`masks` hold ids."""
    ids = [*streets.VOID, *(id for _, id, _ in streets.TASK)]
    for split, names in splits.items():
        for name in names:
            city = name.partition("_")[0]
            put(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", noise(name))
            values = (0, 1, 2, 3) if split == "test" else ids
            put(root / f"gtFine/{split}/{city}/{name}_gtFine_labelIds.png", mask_for(name, values, masks))
            put(root / f"gtFine/{split}/{city}/{name}_gtFine_color.png", noise(name))
    return root


def keras(root: Path, splits: Mapping[str, Sequence[str]] | None = None, masks: Masks | None = None) -> Path:
    """Annotations as colour pictures whose blue channel is the class; red and green are noise."""
    for split, names in (splits or {"train": ("a", "b", "c"), "test": ("d", "e")}).items():
        for name in names:
            put(root / f"images_prepped_{split}/{name}.png", noise(name))
            annotation = noise(f"red and green {name}")
            annotation[:, :, 2] = mask_for(name, range(5), masks)
            put(root / f"annotations_prepped_{split}/{name}.png", annotation)
    return root


MAKERS: dict[str, Callable[[Path], Path]] = {
    "folder": folder,
    "camvid": camvid,
    "camvid-original": camvid_original,
    "camvid-32": camvid_original,
    "voc2012": voc2012_and_sbd,
    "sbd": sbd,
    "pascal-context": pascal_context,
    "nyudv2": nyudv2,
    "nyudv2-hha": nyudv2,
    "nyudv2-rgb-hha": nyudv2,
    "siftflow": siftflow,
    "siftflow-geometric": siftflow,
    "siftflow-both": siftflow,
    "cityscapes": cityscapes,
    "keras": keras,
}
