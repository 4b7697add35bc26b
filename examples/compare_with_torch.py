"""How long is a training step, next to PyTorch's on the same cores?

    python examples/compare_with_torch.py [--rounds 5]

FCN-8s small, one step of forward, loss, backward and SGD, at two sizes. Each library runs in processes of its own,
because the idle threads of one library's matrix products slow the other down; the processes take turns, so that a
busy moment of the machine hits both. Printed are medians and the median of the rounds' ratios.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

CASES = {"8x3x96x96": (8, 96, 96), "4x3x192x256": (4, 192, 256)}
CLASSES, WARM_UP, STEPS = 21, 3, 10


def ours(N: int, H: int, W: int, batch_norm: bool) -> float:
    """Median seconds of a step of this library's FCN-8s."""
    import scratchfcn as sf

    sf.backend.keep_freed_memory()
    model = sf.models.fcn8s(num_classes=CLASSES, batch_norm=batch_norm, dropout=0.0)
    optimizer = sf.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    rng = np.random.default_rng(0)
    x = sf.Tensor(rng.normal(size=(N, 3, H, W)).astype(np.float32))
    labels = rng.integers(0, CLASSES, (N, H, W)).astype(np.uint8)

    def step() -> None:
        optimizer.zero_grad()
        loss = sf.ops.softmax_cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()

    return timed(step)


def torchs(N: int, H: int, W: int, batch_norm: bool) -> float:
    """Median seconds of a step of the same network in PyTorch."""
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from torch_reference import TorchFCN8s

    torch.set_num_threads(os.cpu_count() or 1)
    model = TorchFCN8s(CLASSES, batch_norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, labels = torch.randn(N, 3, H, W), torch.randint(0, CLASSES, (N, H, W))

    def step() -> None:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()

    return timed(step)


def timed(step) -> float:
    """Median seconds of `step()` after a warm-up."""
    seconds = []
    for _ in range(WARM_UP + STEPS):
        start = perf_counter()
        step()
        seconds.append(perf_counter() - start)
    return median(seconds[WARM_UP:])


def in_a_process(library: str, case: str, batch_norm: bool) -> float:
    """Run one measurement in a fresh process."""
    command = [sys.executable, __file__, "--one", json.dumps([library, *CASES[case], batch_norm])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        library, *case = json.loads(args.one)
        print((ours if library == "ours" else torchs)(*case))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, NumPy {np.__version__}")
    for batch_norm in (False, True):
        for case in CASES:
            rounds = [[in_a_process(name, case, batch_norm) for name in ("ours", "torch")] for _ in range(args.rounds)]
            here, there = (1000 * median(times) for times in zip(*rounds, strict=True))
            ratio = median(a / b for a, b in rounds)
            norm = "batch norm" if batch_norm else "no norm"
            print(f"{case:12} {norm:10}  scratchfcn {here:6.1f} ms   PyTorch {there:6.1f} ms   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
