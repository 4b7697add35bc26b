"""FCN-8s from scratch on CamVid at its full 480x360, in ten minutes on one GPU (paper, section 4; Brostow et al. 2009).

No weights from elsewhere: 367 street scenes are all that this network ever sees. What makes so few go a long way is
chance: every epoch meets them scaled, turned, cropped, mirrored and recoloured, never twice alike. The recipe stands in
`recipe` below; README's section "CamVid in ten minutes" says what else was tried.

Ten minutes are another number of epochs on every GPU. So one epoch and one validation are timed first, and the learning
rate's schedule is laid out for as many epochs as will fit. (`--epochs` says how many instead.) For the same result
twice, give the number of epochs that the first run printed: seed and schedule decide the rest.

The data: CamVid in the SegNet tutorial's layout, a folder with train, trainannot, val and valannot. Without --data a
folder `camvid/` in SCRATCHFCN_DATA is taken. Writes a run folder like `scratchfcn train`, with the checkpoint of the
best epoch, and pictures of five validation images to runs/examples/camvid_in_ten_minutes.png.

Next: `scratchfcn val --weights RUN/best.safetensors --data CamVid` gives a report of every image, and `--split test`
the figures on the test split, where its files are. To read: scratchfcn/training/trainer.py and step.py.
"""

# %%
import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import scratchfcn as sf
from scratchfcn.data import DataError, mosaic, overlay
from scratchfcn.training import (
    Config,
    Evaluation,
    Evaluator,
    Listener,
    RunFolder,
    free_run_folder,
    load_network,
    new_trainer,
    open_data,
)

CAMVID = Path(os.environ.get("SCRATCHFCN_DATA", Path(__file__).resolve().parents[1] / "../shared/data")) / "camvid"
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=Path, default=CAMVID, help="CamVid's folder")
parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
parser.add_argument("--minutes", type=float, default=10.0, help="for everything, timing included")
parser.add_argument("--epochs", type=int, help="this many, however long they take")
parser.add_argument("--workers", type=int, default=max(1, min(8, (os.cpu_count() or 2) - 1)), help="loading threads")
parser.add_argument("--output-dir", type=Path, help="of the run; default: runs/camvid_in_ten_minutes")
parser.add_argument("--output", type=Path, default=Path("runs/examples/camvid_in_ten_minutes.png"))
options = parser.parse_args()
started = time.perf_counter()
try:
    device = sf.set_device(options.device)
except sf.DeviceError as error:  # it says what is missing
    raise SystemExit(f"✗ {error}") from None
MARGIN = 0.92  # of the time is planned for: epochs differ, and the best checkpoint is read and measured at the end
MOST_EPOCHS = 300  # more of the same pictures teach nothing new

# %% The recipe, as settings of `scratchfcn train`.
recipe = Config(
    data=str(options.data),
    model="fcn8s",
    backbone="medium",  # the small backbone's plan, twice as wide, with batch norm
    size=(360, 480),
    scale=(0.75, 1.5),
    rotate=5.0,
    crop=(360, 480),
    flip=True,
    colour=0.4,
    batch_size=8,
    optimizer="adam",
    lr=2e-3,
    weight_decay=1e-4,
    schedule="poly",
    warmup_steps=100,
    dropout=0.5,
    val_every=5,
    seed=0,
    workers=options.workers,
)


# %% How long is an epoch here?
def seconds_of_an_epoch(config: Config, data: Any) -> float:
    """The second epoch's time, for the first one decodes the files and compiles the kernels; with its share of a
    validation. The trainer that is timed is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, _ = new_trainer(config, data, RunFolder(Path(folder)), device)
        for _ in ("to warm up", "to be timed"):
            start = time.perf_counter()
            trainer.train_epoch()
            sf.backend.synchronize(device)
            training = time.perf_counter() - start
            trainer.progress.epoch, trainer.progress.batch = trainer.progress.epoch + 1, 0
            start = time.perf_counter()
            trainer.evaluator(trainer.network, device)
            validating = time.perf_counter() - start
    return training + validating / config.val_every


class EveryTenth(Listener):
    """A line for every tenth epoch that was validated."""

    def epoch(self, trainer: Any, row: dict[str, Any], evaluation: Evaluation | None) -> None:
        if evaluation is not None and (row["epoch"] % 10 == 0 or row["epoch"] == trainer.config.epochs):
            minutes = (time.perf_counter() - started) / 60
            iu = 100 * row["mean_iu"]
            print(f"epoch {row['epoch']:3}  loss {row['train_loss']:.3f}  mean IU {iu:5.1f}  after {minutes:4.1f} min")


try:
    data = open_data(recipe)
except DataError as error:
    raise SystemExit(str(error)) from None
print(f"{len(data.train)} images to train on, {len(data.val)} to validate; on {device}")
epochs = options.epochs
if epochs is None:
    each = seconds_of_an_epoch(recipe, data)
    left = 60 * options.minutes * MARGIN - (time.perf_counter() - started)
    epochs = max(1, min(MOST_EPOCHS, int(left / each)))
    print(f"an epoch takes {each:.1f} s here: {epochs} epoch(s) (the same run again: --epochs {epochs})")

# %% Training.
config = replace(recipe, epochs=epochs)
run = RunFolder(options.output_dir or Path(free_run_folder(Path("runs"), name="camvid_in_ten_minutes")))
trainer, _ = new_trainer(config, data, run, device, EveryTenth())
run.create(config)
trainer.fit()
minutes = (time.perf_counter() - started) / 60

# %% Measuring, with what was kept of the best epoch.
network = load_network(run.best)
network.model.to(device)
confusion = Evaluator(data.val, network.size)(network, device).confusion
print(f"\n{minutes:.1f} minutes in all; {run.best}, on the {len(data.val)} images of val:")
for name, value in confusion.scores().items():
    print(f"  {name:10} {100 * value:5.1f}")
for name, iu in zip(network.classes.names, confusion.per_class_iu, strict=True):
    print(f"    {name:12} IU {100 * iu:5.1f}")
rows = []
for i in range(0, len(data.val), max(1, len(data.val) // 5)):
    image, label = data.val.read(i)
    rows.append([image, *(overlay(image, m, network.classes, 0.6) for m in (label, network.predict(image)))])
options.output.parent.mkdir(parents=True, exist_ok=True)
mosaic(rows[:5], ["picture", "truth", "prediction"], network.classes).save(options.output)
print(f"\n{options.output}")
