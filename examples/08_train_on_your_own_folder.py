"""Your own photographs: from a folder of images and masks to a trained network and its predictions (paper, section 5).

The folder is the lesson. Images and masks lie side by side, with equal names; a mask is a PNG whose pixel values are
class numbers, and 255 says "nobody knows". So that there is one to look at, this script draws a hundred pictures and
writes them out just like that. Run it with --data FOLDER and it takes yours instead.

Then four things, each with the command that does the same: check the data (and a copy with one mask spoiled, to see
what a complaint looks like), train, measure, predict a picture of another size.

Writes the data and the run into the folder runs/examples/08_train_on_your_own_folder, and pictures to
runs/examples/08_train_on_your_own_folder.png. What to see there: the upper edge, which nobody labelled, is neither
learned nor judged, so the network paints there what it likes. Half a minute on two cores.

Next: `scratchfcn check-data --data FOLDER` on your own, then `scratchfcn train --data FOLDER`. To read:
scratchfcn/data/sets/folder.py and data/checking/check.py.
"""

# %%
import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scratchfcn.data import DataError, Shapes, check_splits, mosaic, overlay
from scratchfcn.training import (
    Config,
    Evaluation,
    Evaluator,
    Listener,
    RunFolder,
    Trainer,
    free_run_folder,
    load_network,
    new_trainer,
    open_data,
)

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("runs/examples/08_train_on_your_own_folder.png"))
parser.add_argument("--data", type=Path, help="your own, with images/ and masks/ in it; without, pictures are drawn")
parser.add_argument("--epochs", type=int, default=25)
options = parser.parse_args()
folder = options.output.with_suffix("")
folder.mkdir(parents=True, exist_ok=True)
data = options.data or folder / "data"


# %% The folder. An image is a JPEG or a PNG of any size; its mask is a PNG of the same size and name.
def draw(data: Path) -> None:
    """A data set of 100 pictures to train on and 20 to validate."""
    for seed, (split, count) in enumerate((("train", 100), ("val", 20))):
        pictures = Shapes(count, (64, 80), seed, num_shapes=(1, 2), kinds=("circle", "square"))
        (data / "images" / split).mkdir(parents=True)
        (data / "masks" / split).mkdir(parents=True)
        for i in range(count):
            image, label = pictures.read(i)  # uint8 (64, 80, 3), uint8 (64, 80)
            label = label.copy()
            label[:4] = 255  # as if nobody had labelled the upper edge
            Image.fromarray(image).save(data / "images" / split / f"picture{i:02}.jpg", quality=95)
            Image.fromarray(label).save(data / "masks" / split / f"picture{i:02}.png")
    names = 'names = ["background", "circle", "square"]\ncolours = ["#000000", "#e69f00", "#0072b2"]\n'
    (data / "classes.toml").write_text(names, encoding="utf-8")


if options.data is None and not data.exists():
    draw(data)
print(f"{data}/")
for path in [data / "classes.toml", *sorted(data.glob("*/*"))]:
    if path.is_dir():
        files = sorted(path.iterdir())
        print(f"  {path.parent.name}/{path.name}/   {files[0].name} … {files[-1].name}, {len(files)} files")
    elif path.exists():
        print(f"  {path.name}      {path.read_text(encoding='utf-8').splitlines()[0]}")
first = sorted((data / "masks" / "train").iterdir())[0]
mask = np.asarray(Image.open(first))
print(f"\n{first.name}, a mask: {mask.dtype} {mask.shape}, its values {np.unique(mask).tolist()}")


# %% Is it sound? Every pair is opened before an hour is spent on them.
def check(data: Path) -> None:
    try:
        for split, (dataset, histogram) in check_splits(data).items():
            shares = histogram.pixels / histogram.pixels.sum()
            named = ", ".join(f"{n} {100 * s:.0f}%" for n, s in zip(dataset.classes.names, shares, strict=True))
            print(f"{split}: {len(dataset)} pairs, all sound; {named}")
    except DataError as error:
        print(error)


print(f"\n$ scratchfcn check-data --data {data}")
check(data)
with tempfile.TemporaryDirectory() as elsewhere:
    copy = Path(elsewhere) / "spoiled"
    shutil.copytree(data, copy)
    Image.fromarray(np.full(mask.shape[:2], 77, np.uint8)).save(copy / "masks" / "train" / first.name)  # no such class
    print("\nand a copy in which one mask cannot be right:")
    check(copy)


# %% Training. A Config holds what the command's options say; a Listener is told of every step and epoch.
class EveryFifth(Listener):
    def epoch(self, trainer: Trainer, row: dict[str, Any], evaluation: Evaluation | None) -> None:
        if row["epoch"] % 5 == 0 or row["epoch"] == 1:
            print(f"epoch {row['epoch']:3}  loss {row['train_loss']:.3f}  mean IU {100 * row['mean_iu']:5.1f}")


config = Config(data=str(data), size=(64, 80), epochs=options.epochs, lr=3e-3, dropout=0.0, seed=0)
run = RunFolder(free_run_folder(folder, name="run"))
print(f"\n$ scratchfcn train --data {data} --size 80x64 --epochs {config.epochs} --lr 3e-3 --dropout 0 --seed 0")
trainer, _ = new_trainer(config, open_data(config), run, device="cpu", listener=EveryFifth())
run.create(config)
trainer.fit()
print(
    f"{run.path}/   " + "  ".join(sorted(path.name for path in run.path.iterdir() if not path.name.startswith("val_")))
)

# %% Measuring: what is in best.safetensors is all that it takes.
network = load_network(run.best)
val_set = trainer.val_set
confusion = Evaluator(val_set, network.size)(network).confusion
print(f"\n$ scratchfcn val --weights {run.best} --data {data}")
print(f"pixel acc {confusion.pixel_acc:.4f}  mean acc {confusion.mean_acc:.4f}  mean IU {confusion.mean_iu:.4f}")
for name, iu in zip(network.classes.names, confusion.per_class_iu, strict=True):
    print(f"  {name:12} IU {iu:.4f}")

# %% Predicting: any size, for the network resizes the picture and then its scores.
rows = []
for i in range(min(4, len(val_set))):
    image, label = val_set.read(i)
    rows.append([image, *(overlay(image, m, network.classes, 0.6) for m in (label, network.predict(image)))])
wide = np.asarray(Image.fromarray(image).resize((333, 222)))  # (222, 333, 3)
print(f"\n$ scratchfcn predict --weights {run.best} --source photo.jpg")
print(f"a picture {wide.shape} → labels {network.predict(wide).shape}")
mosaic(rows, ["picture", "truth", "prediction"], network.classes).save(options.output)
print(f"\n{options.output}")
