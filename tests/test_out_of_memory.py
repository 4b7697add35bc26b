"""Out of memory: the figures, what would fit, and that what is said to fit does."""

import errno
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prediction_tools import tiny
from typer.testing import CliRunner

import scratchfcn as sf
from scratchfcn import backend, models, optim
from scratchfcn.cli import app, errors, out_of_memory
from scratchfcn.cuda import memory
from scratchfcn.cuda.memory import GpuMemory, asked_for, gigabytes, gpu_memory, is_gpus, is_memory_error, let_go
from scratchfcn.inspection import step_memory
from scratchfcn.prediction import ImageFiles, Job, Outputs, Predictor, fitting
from scratchfcn.training import Config, Evaluator, Network

CUPYS = "Out of memory allocating 4,000,000,000 bytes (allocated so far: 1,024 bytes)."


@pytest.fixture
def gpu(device: str) -> Any:
    """A GPU, or its stand-in, whose pool may be limited for the length of a test: `gpu(bytes)`."""
    if device == "cpu":
        pytest.skip("of a GPU")
    pool = backend.cupy().get_default_memory_pool()
    pool.free_all_blocks()
    yield lambda more: pool.set_limit(pool.used_bytes() + more)
    pool.set_limit(0)
    pool.free_all_blocks()


# --- figures and errors -------------------------------------------------------------------------------------


def test_what_is_available() -> None:
    found = GpuMemory(total=10_000, free=1000, used=300, kept=200)
    assert found.available == 1200
    assert found.others == 8500
    limited = GpuMemory(10_000, 1000, 300, 200, limit=700)
    assert limited.available == 400
    assert GpuMemory(10_000, 1000, 900, 200, limit=700).available == 0
    assert "limited to" in limited.in_words()
    assert "limited" not in found.in_words()
    assert [gigabytes(n) for n in (1.25e9, 999e6, 4e5)] == ["1.2 GB", "999 MB", "0 MB"]


@pytest.mark.parametrize(
    ("error", "gpus", "asked"),
    [
        (MemoryError(CUPYS), True, 4_000_000_000),
        (MemoryError("Unable to allocate 3. GiB for an array"), False, None),
        (MemoryError(), False, None),
        (RuntimeError("cudaErrorMemoryAllocation: out of memory"), True, None),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True, None),
    ],
)
def test_whose_memory_it_was(error: BaseException, gpus: bool, asked: int | None) -> None:
    assert is_memory_error(error)
    assert is_gpus(error) is gpus
    assert asked_for(error) == asked


def test_other_errors_are_none_of_memory() -> None:
    for error in (RuntimeError("cudaErrorIllegalAddress"), ValueError(CUPYS), OSError(errno.ENOMEM, "x")):
        assert not is_memory_error(error)


def test_the_message_has_the_figures_and_one_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_memory, "gpu_memory", lambda device: GpuMemory(80 * 10**9, 10**9, 2 * 10**9, 0))
    text = errors.message(MemoryError(CUPYS))
    assert text.startswith(
        "✗ out of memory on the GPU: 4.0 GB more could not be had\n  cuda has 80.0 GB: 1.0 GB free, 2.0 GB in our "
        "arrays, 77.0 GB taken by other programs and by CUDA itself\n  fix: a smaller --batch-size"
    )
    assert errors.message(RuntimeError("cudaErrorMemoryAllocation: full")).count("fix:") == 1
    assert errors.message(MemoryError("all of it\n  fix: less")) == "✗ out of memory: all of it\n  fix: less"


def test_cudas_own_error_is_the_users_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_memory, "gpu_memory", lambda device: GpuMemory(8, 4, 2, 0))

    def command() -> None:
        raise RuntimeError("cudaErrorMemoryAllocation: out of memory")

    info = next(info for info in app.registered_commands if info.name == "doctor")
    monkeypatch.setattr(info, "callback", command)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert result.stderr.startswith("✗ out of memory on the GPU: cudaErrorMemoryAllocation")
    assert "Traceback" not in result.output


def test_what_an_error_holds_is_let_go() -> None:
    import weakref

    class Large:
        pass

    held: list[Any] = []

    def work() -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise MemoryError

    try:
        work()
    except MemoryError as error:
        assert held[0]() is not None
        elsewhere = out_of_memory.happened_in(error, Large)
        let_go(error)
        assert held[0]() is None
    assert not elsewhere


# --- what fits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("there", "expected"), [(0, 0), (100, 0), (150, 1), (1e9, 7), (10 * 140 / 9 + 1, 2)])
def test_the_largest_batch(there: float, expected: int) -> None:
    """100 bytes, and 20 for each image, of which nine tenths may be taken; no more than 7 are wanted."""
    assert step_memory.largest_batch(lambda n: 100 + 20 * n, 7, there) == expected


def test_the_largest_size_keeps_proportions() -> None:
    needed = lambda size: size[0] * size[1]  # noqa: E731
    found = step_memory.largest_size(needed, (480, 640), 100_000 / 0.9)
    assert found == (256, 352)
    assert needed(found) <= 100_000 < needed((288, 384))
    assert step_memory.largest_size(needed, (480, 640), 10) is None
    assert step_memory.largest_size(needed, (480, 640), 1e9) == (480, 640)

    def refusing(size: tuple[int, int]) -> int:
        raise ValueError("too small for this network")

    assert step_memory.largest_size(refusing, (480, 640), 1e9) is None


def test_what_is_there_whatever_the_images_are() -> None:
    model = models.build("fcn8s_small", 3)
    weights = sum(p.data.nbytes for p in model.parameters())
    assert step_memory.fixed_bytes(model, optim.Adam(model.parameters(), 0.1)) == 4 * weights
    assert step_memory.fixed_bytes(model, optim.SGD(model.parameters(), 0.1)) == 2 * weights
    assert step_memory.fixed_bytes(model, optim.SGD(model.parameters(), 0.1, momentum=0.9)) == 3 * weights
    one, two = (step_memory.growing_bytes(model, (n, 3, 128, 128)) for n in (4, 8))
    assert 1.7 * one < two < 2 * one  # some gradients of weights are among it
    assert model.training  # as it was


def test_the_estimate_is_about_what_a_step_takes(gpu: Any) -> None:
    """Against the pool's own peak, in the second step, when the optimiser has its arrays."""
    model, shape = models.build("fcn8s_small", 3).to("cuda").train(), (2, 3, 64, 96)
    optimizer = optim.Adam(model.parameters(), 0.001)
    base = gpu_memory().used - sum(p.data.nbytes for p in model.parameters())
    for _ in range(2):
        with memory.watched_pool() as held:
            x = sf.Tensor(np.zeros(shape, np.float32), device="cuda")
            sf.ops.softmax_cross_entropy(model(x), np.zeros((2, 64, 96), np.uint8)).backward()
        optimizer.step()
        optimizer.zero_grad()
    estimate = step_memory.estimate_step_bytes(model, optimizer, shape)
    assert 0.8 < estimate / (held.peak - base) < 1.25


# --- training -----------------------------------------------------------------------------------------------


def trainer_on(device: str, config: Config) -> Any:
    """As much of a Trainer as the advice needs."""
    sf.manual_seed(0)
    model = models.build("fcn8s_small", 3).to(device).train()
    network = SimpleNamespace(model=model, channels=3, size=None)
    optimizer = optim.SGD(model.parameters(), config.lr, config.momentum)
    folder, progress = (
        SimpleNamespace(last=Path("runs/a b/last.safetensors")),
        SimpleNamespace(step=0, epoch=0, batch=0),
    )
    return SimpleNamespace(
        device=device, config=config, network=network, optimizer=optimizer, folder=folder, progress=progress
    )


def step_of(trainer: Any, batch: int, size: tuple[int, int]) -> None:
    """A training step, the first or a later one."""
    x = sf.Tensor(np.zeros((batch, 3, *size), np.float32), device=trainer.device)
    labels = np.zeros((batch, *size), np.uint8)
    sf.ops.softmax_cross_entropy(trainer.network.model(x), labels).backward()
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()


CONFIG = Config(data="shapes", batch_size=6, size=(64, 96), optimizer="sgd")


def test_the_batch_that_is_said_to_fit_fits(gpu: Any) -> None:
    trainer = trainer_on("cuda", CONFIG)
    gpu(24_000_000)
    with pytest.raises(MemoryError, match="more could not be had") as error, out_of_memory.training_explained(trainer):
        step_of(trainer, 6, (64, 96))
    text = str(error.value)
    assert "for each of 6 image(s) of 96x64" in text
    found = re.search(r"fix: --batch-size (\d) fits; with --accumulate (\d) a step learns from as many images$", text)
    batch, accumulate = map(int, found.groups())
    assert 1 <= batch < 6 <= batch * accumulate
    error.value.__cause__.__traceback__ = None
    step_of(trainer, batch, (64, 96))
    step_of(trainer, batch, (64, 96))


def test_the_crop_that_is_said_to_fit_fits(gpu: Any) -> None:
    trainer = trainer_on("cuda", Config(data="x", batch_size=1, crop=(192, 256), optimizer="sgd"))
    trainer.progress.step = 3
    gpu(24_000_000)
    with pytest.raises(MemoryError) as error, out_of_memory.training_explained(trainer):
        step_of(trainer, 1, (192, 256))
    found = re.search(r"fix: --batch-size 1 --crop (\d+)x(\d+) fits; one whole image does not", str(error.value))
    width, height = map(int, found.groups())
    assert 32 <= height < 192
    assert str(error.value).endswith("from where this run is: scratchfcn train --init 'runs/a b/last.safetensors' …")
    step_of(trainer, 1, (height, width))


def test_weights_that_leave_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "free_memory", lambda device: 1_000_000)
    step = out_of_memory.Step(trainer_on("cpu", CONFIG))
    assert "a smaller network, or another device" in step.advice()


def test_on_the_cpu_the_same_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the memory that the system says is free, if it does."""
    trainer = trainer_on("cpu", CONFIG)
    monkeypatch.setattr(fitting, "free_memory", lambda device: 60_000_000)
    text = r"Unable to allocate\n.*there are 60 MB\n  fix: --batch-size \d fits"
    with pytest.raises(MemoryError, match=text), out_of_memory.training_explained(trainer):
        raise MemoryError("Unable to allocate")
    monkeypatch.setattr(fitting, "free_memory", lambda device: None)
    text = "fix: a smaller --batch-size, or smaller images by --crop or --size"
    with pytest.raises(MemoryError, match=text), out_of_memory.training_explained(trainer):
        raise MemoryError("Unable to allocate")


def test_what_was_reached_corrects_the_estimate() -> None:
    trainer = trainer_on("cpu", CONFIG)
    estimate = out_of_memory.Step(trainer)
    corrected = out_of_memory.Step(trainer, reached=2 * int(estimate.needed(estimate.shape)))
    assert corrected.needed(corrected.shape) == pytest.approx(2 * estimate.needed(estimate.shape), rel=1e-6)
    assert "and the memory in use when it ran out" in corrected.advice()


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match=r"^other$"), out_of_memory.training_explained(None):
        raise RuntimeError("other")


def test_while_validating_the_batch_is_not_blamed() -> None:
    class Unreadable:
        tasks = ()

        @property
        def classes(self) -> None:
            raise MemoryError("Unable to allocate")

    evaluator = Evaluator.__new__(Evaluator)
    evaluator.dataset = Unreadable()
    text, trainer = "while validating, an image at a time\n  fix: --size WIDTHxHEIGHT", trainer_on("cpu", CONFIG)
    with pytest.raises(MemoryError, match=text), out_of_memory.training_explained(trainer):
        evaluator(tiny())


# --- prediction ---------------------------------------------------------------------------------------------


def test_the_window_that_is_said_to_fit_fits(gpu: Any) -> None:
    network = tiny_network("cuda")
    gpu(20_000_000)
    image = np.zeros((700, 800, 3), np.uint8)
    predictor = fitting_predictor(network)
    with pytest.raises(MemoryError), out_of_memory.validation_explained(network, "cuda", None):
        predictor(None).predict(image)
    h, w = fitting.window_that_fits(network, "cuda", image.shape[:2])
    assert 32 <= h == w < 800
    assert predictor((h, w)).predict(image[:h, :w]).shape == (h, w)
    assert fitting.smaller_window(network, "cuda", (h, w)) != f"--window {w}x{h}"


def test_a_folder_goes_on_without_the_image_that_does_not_fit(gpu: Any, tmp_path: Path) -> None:
    network = tiny_network("cuda")
    for name, size in (("1.png", (40, 30)), ("2.png", (900, 800)), ("3.png", (30, 40))):
        Image.new("RGB", size).save(tmp_path / name)
    outputs = Outputs(tmp_path / "out", ["mask"], network.classes, "mark", 0.5, False)
    job = Job(fitting_predictor(network)(None), ImageFiles.open(tmp_path, False, outputs.folder, False), outputs)
    gpu(20_000_000)
    job.run()
    assert job.predicted == 2
    assert re.match(r"2: Out of memory allocating [\d,]+ bytes.*\n  cuda:0 has .* in our arrays", job.problems[0])
    assert re.match(r"--window \d+x\d+ goes through images piece by piece", job.advice[0])


def tiny_network(device: str) -> Network:
    """It takes images as they are."""
    network = tiny()
    network.model.to(device)
    return network


def fitting_predictor(network: Any) -> Any:
    return lambda window: Predictor(network, window=window)
