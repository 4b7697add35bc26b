"""`scratchfcn learn read`: the derivation, the loops and the code of every op."""

import pytest
from typer.testing import CliRunner

import scratchfcn as sf
from scratchfcn.cli import app
from scratchfcn.learn import LearnError
from scratchfcn.learn.reading import lesson, readable


def test_every_op_can_be_read() -> None:
    ops = {name for name, op in vars(sf.ops).items() if isinstance(op, type) and issubclass(op, sf.Function)}
    assert len(readable()) == len(ops)
    for op in readable():
        found = lesson(op)
        assert "Derivation:" in found.derivation
        assert "def forward" in found.code
        assert "def backward" in found.code
        assert "Derivation:" not in found.code  # shown once
        assert found.file.startswith("scratchfcn/")
        assert (found.loops is None) == (not hasattr(sf.naive, op))


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_three_are_printed(columns: str) -> None:
    result = CliRunner().invoke(app, ["learn", "read", "conv2d"], env={"COLUMNS": columns})
    assert result.exit_code == 0, result.output
    for text in (
        "gw[o, c, i, j]",
        "naive.py: conv2d, the definition",
        "ops/conv.py, line",
        "np.ndindex",
        "def backward",
    ):
        assert text in result.output, text
    side_by_side = any("def conv2d(" in line and "class Conv2d" in line for line in result.output.splitlines())
    assert side_by_side == (columns == "200")


def test_without_a_name_they_are_listed_and_an_unknown_one_is_told_its_neighbours() -> None:
    assert "conv_transpose2d" in CliRunner().invoke(app, ["learn", "read"]).output
    with pytest.raises(LearnError, match="did you mean conv2d"):
        lesson("conv3d")
