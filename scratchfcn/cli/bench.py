"""`scratchfcn bench`: how long a step and an inference take, next to PyTorch, and what bounds them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

WHAT = ("step", "inference", "memory", "scaling", "pipeline", "all")
INSTALL_TORCH = "pip install torch"


def bench_command(
    what: Annotated[
        list[str] | None,
        typer.Argument(help="step, inference, memory, scaling, pipeline or all. (default: step without batch norm)"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Measure this model, such as fcn8s_vgg16.")] = None,
    size: Annotated[
        str | None, typer.Option(help="Measure this size: IMAGESxHEIGHTxWIDTH, or WIDTHxHEIGHT with --batch-size.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images at once. (default: 8 in a step, 1 in an inference)")
    ] = None,
    batch_norm: Annotated[
        bool | None, typer.Option(help="Only with, or only without batch norm. (default: as each case says)")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often the libraries take turns.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Calls in each turn, at most.")] = 10,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each library. (default: all cores)")] = None,
    against: Annotated[str, typer.Option(help="auto (PyTorch where it is installed), torch or none.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    per_op: Annotated[
        bool | None, typer.Option("--per-op/--no-per-op", help="Every case op by op, or none. (default: the first)")
    ] = None,
    tf32: Annotated[
        bool | None, typer.Option(help="Let matrix products on a GPU round to TF32, in both libraries. (default: no)")
    ] = None,
    cuda_graph: Annotated[
        bool | None,
        typer.Option(help="A line for our call as a CUDA graph, or none recorded. (default: for GPU busy alone)"),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Folder of a data set, for pipeline.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads that prepare batches, for pipeline.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything that was measured.")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="Draw it, as a PNG.")] = None,
) -> None:
    """Measure speed and memory, next to PyTorch's and to what this machine can do at best."""
    from .. import backend
    from ..bench import cases
    from ..bench.session import Session, refuse_foreign_files
    from ..bench.suite import Settings

    parts = [cases.check_name("WHAT", part, WHAT) for part in what or []]
    if "all" in parts:
        parts = ["step", "inference", "memory", "scaling", *["pipeline"] * (data is not None)]
    parts = list(dict.fromkeys(parts))
    cases.check_model(model)
    if batch_norm and model is not None and not model.endswith("_small"):
        raise cases.BenchError(f"--batch-norm: {model} has no batch norm, only the models that end in _small have it")
    if data is not None and "pipeline" not in parts:
        raise cases.BenchError("--data is for pipeline only: scratchfcn bench pipeline --data DIR, or leave it out")
    several, single = (cases.parse_size(size, batch_size or default) for default in (8, 1))
    device = backend.resolve_device(device)
    if device == "cpu" and (tf32 is not None or cuda_graph is not None):
        option = "tf32" if tf32 is not None else "cuda-graph"
        raise cases.BenchError(f"--{option} is for a GPU, and this runs on the CPU: add --device cuda, or leave it out")
    batch_norms = batch_norm if parts or batch_norm is not None else False
    steps = cases.cases_of("step", model, several, batch_norms, device)
    inferences = cases.cases_of("inference", model, single, batch_norm, device)
    growing = cases.scaling_cases(model, single, batch_norm) if "scaling" in parts else []
    config = pipeline_settings(data, model, several, batch_size, batch_norm, workers) if "pipeline" in parts else {}
    refuse_foreign_files(json_file, plot_file)
    against = cases.check_name("--against", against, ("auto", "torch", "none"))
    against_torch, torch_line = choose_torch(against, model, device)
    gpu = {"tf32": bool(tf32), "graph": cuda_graph is not False, "graph_rows": bool(cuda_graph)}
    settings = Settings(choose_threads(threads), device, against_torch, rounds, repeats, **gpu)
    if config:
        check_data(config)

    with Session.on_terminal(settings, torch_line) as session:
        try:
            session.start()
            for part in parts or ["step"]:
                if part == "step":
                    session.times(steps, per_op)
                elif part == "inference":
                    session.times(inferences, per_op)
                elif part == "memory":
                    session.memory([*steps, *inferences])
                elif part == "scaling":
                    session.scaling(growing)
                else:
                    session.pipeline(config)
        finally:  # what was measured before an error, or an interrupt, is not lost
            if session.has_results:
                session.write(json_file, plot_file)


def choose_torch(against: str, model: str | None, device: str = "cpu") -> tuple[bool, str]:
    """Whether PyTorch takes part, and what is said of it. Errors: BenchError where it must but cannot."""
    from ..bench.cases import TWINS, BenchError
    from ..bench.machine import torch_version

    version = torch_version()
    if against == "none":
        return False, "PyTorch: left out (--against none)"
    if model is not None and model not in TWINS:
        if against == "torch":
            raise BenchError(f"--against torch: of {model} there is no PyTorch twin, only of {', '.join(TWINS)}")
        return False, f"PyTorch: has no twin of {model}"
    if against == "auto" and device != "cpu" and version is not None and version.endswith("+cpu"):
        return False, f"PyTorch {version}: a build without CUDA, left out"
    if version is not None:
        return True, f"PyTorch {version}"
    if against == "torch":
        raise BenchError(f"--against torch: PyTorch is not installed\n  fix: {INSTALL_TORCH}, or leave --against out")
    return False, f"PyTorch: not installed ({INSTALL_TORCH})"


def choose_threads(threads: int | None) -> int:
    """The number of threads of both libraries: all cores, or what was asked for."""
    from .. import parallel
    from ..bench.cases import BenchError

    cores = parallel.usable_cores()
    if threads is not None and threads > cores:
        raise BenchError(
            f"--threads {threads} is more than the {cores} cores this process may use; more threads only wait for each "
            f"other: give 1 to {cores}"
        )
    return threads or min(parallel.threads(), cores)


def pipeline_settings(
    data: str | None,
    model: str | None,
    size: tuple[int, int, int] | None,
    batch_size: int | None,
    batch_norm: bool | None,
    workers: int,
) -> dict[str, Any]:
    """The settings of a training run, as `scratchfcn train` would have them. Errors: BenchError without data."""
    from ..bench.cases import DEFAULT_MODEL, BenchError

    if data is None:
        raise BenchError("pipeline needs a data set: --data DIR, as in scratchfcn train")
    settings: dict[str, Any] = {"data": data, "model": model or DEFAULT_MODEL, "workers": workers}
    if size is not None:
        settings |= {"batch_size": size[0], "size": size[1:]}
    elif batch_size is not None:
        settings["batch_size"] = batch_size
    if batch_norm is not None:
        settings["batch_norm"] = batch_norm
    return settings


def check_data(config: dict[str, Any]) -> None:
    """Errors: BenchError where a training run with these settings could not begin; told before anything is measured."""
    from ..bench.cases import BenchError
    from ..training import Config, open_data

    try:
        open_data(Config.from_plain(config))
    except (ValueError, OSError) as error:
        text = str(error)
        raise BenchError(text if text.startswith("✗") else f"{config['data']}: {text}") from None
