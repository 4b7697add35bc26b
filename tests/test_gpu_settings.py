"""--tf32, --deterministic and --cuda-graph: kept with a run, refused where no GPU is, and no hindrance afterwards."""

from pathlib import Path
from typing import Any

import pytest
from test_commands import FAST, run, said, write_pairs

from scratchfcn import backend
from scratchfcn.training import Config
from scratchfcn.training.prepare import MAY_CHANGE
from scratchfcn.weights import load, save


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_pairs(folder, "train", 4, 0)
    write_pairs(folder, "val", 1, 1)
    return folder


def test_settings(tmp_path: Path) -> None:
    assert (Config().tf32, Config().deterministic, Config().cuda_graph) == (False, True, False)
    config = Config(tf32=True, deterministic=False, cuda_graph=True)
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert Config(**Config.read(tmp_path / "config.toml")) == config
    older = {n: v for n, v in Config().to_plain().items() if n not in ("tf32", "deterministic", "cuda_graph")}
    assert Config.from_plain(older) == Config()
    assert "cuda_graph" in MAY_CHANGE  # a graph changes no result
    assert "tf32" not in MAY_CHANGE


@pytest.mark.parametrize("asked", [("--tf32",), ("--cuda-graph",), ("--tf32", "--cuda-graph")])
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_without_a_gpu_they_are_refused(
    data: Path, tmp_path: Path, asked: tuple[str, ...], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "cuda_problem", lambda: "there is none")
    result = run("train", "--data", data, "--output-dir", tmp_path / "run", *asked, "--device", device)
    assert result.exit_code == 2
    assert f"✗ {' and '.join(asked)}: only a GPU can do that" in said(result)
    assert "--device cuda" in said(result)
    assert not (tmp_path / "run").exists()


def test_what_is_off_or_harmless_is_taken_anywhere(data: Path, tmp_path: Path) -> None:
    options = ("--no-tf32", "--no-cuda-graph", "--no-deterministic")
    result = run("train", "--data", data, "--output-dir", tmp_path / "run", *FAST, "--epochs", 1, *options)
    assert result.exit_code == 0, said(result)
    assert not Config(**Config.read(tmp_path / "run" / "config.toml")).deterministic


def test_a_gpus_run_is_repeated_and_resumed_on_the_cpu(data: Path, tmp_path: Path) -> None:
    """Settings from a file ask for nothing; the run says that they change nothing here."""
    file, folder = tmp_path / "config.toml", tmp_path / "run"
    file.write_text(f'data = "{data}"\ntf32 = true\ncuda_graph = true\n')
    result = run("train", "--config", file, "--output-dir", folder, *FAST)
    assert result.exit_code == 0, said(result)
    assert "tf32 and cuda_graph: for a GPU; on the CPU nothing changes" in said(result)
    assert Config(**Config.read(folder / "config.toml")).cuda_graph

    last = load(folder / "last.safetensors")  # as if it had been stopped after the first epoch
    steps = last.metadata["run"]["step"]
    last.metadata["run"] |= {"epoch": 1, "step": steps // 2}
    save(folder / "last.safetensors", last.arrays, last.metadata)
    result = run("train", "--resume", folder, "--no-cuda-graph", "--device", "cpu")
    assert result.exit_code == 0, said(result)
    assert "tf32: for a GPU; on the CPU nothing changes" in said(result)
    assert "--cuda-graph False" in (folder / "config.toml").read_text()
    result = run("train", "--resume", folder, "--cuda-graph", "--device", "cpu")
    assert "--cuda-graph: only a GPU can do that" in said(result)


def test_an_older_run_resumes(data: Path, tmp_path: Path) -> None:
    """Its files know nothing of these settings."""
    folder = tmp_path / "run"
    assert run("train", "--data", data, "--output-dir", folder, *FAST).exit_code == 0
    names = ("tf32", "deterministic", "cuda_graph")

    def without(settings: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name not in names}

    last = load(folder / "last.safetensors")
    state = last.metadata["run"] | {"epoch": 1, "step": last.metadata["run"]["step"] // 2}
    last.metadata["run"] = state | {"config": without(state["config"])}
    save(folder / "last.safetensors", last.arrays, last.metadata)
    lines = (folder / "config.toml").read_text().splitlines(keepends=True)
    (folder / "config.toml").write_text("".join(line for line in lines if not line.startswith(names)))
    result = run("train", "--resume", folder, "--device", "cpu")
    assert result.exit_code == 0, said(result)


def test_the_options_are_explained() -> None:
    text = said(run("train", "--help"))
    for option in ("--tf32", "--no-tf32", "--deterministic", "--cuda-graph"):
        assert option in text
