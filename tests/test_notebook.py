"""The notebook runs from its first cell to its last, and the outputs it was committed with are what it prints.

After a change to the notebook, or to what it prints: `python tests/test_notebook.py` runs it and writes it anew.
"""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "fcn_in_one_sitting.ipynb"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def executed(path: Path) -> NotebookNode:
    """The notebook after a run in its own folder, without what differs from machine to machine."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # one piece of text for each cell, however slowly it came
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"}, accelerator="GPU")
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    return notebook


def outputs(notebook: NotebookNode) -> list[str]:
    """What each code cell shows: its text without numbers and devices, and which kinds of pictures."""
    shown = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            texts = [output.get("text", " ".join(sorted(output.get("data", ())))) for output in cell.outputs]
            text = "\n".join(texts).replace("cuda:0", "cpu")
            shown.append(re.sub(r"\s+", " ", re.sub(r"[-+]?\d[\d.]*(e[-+]\d+)?", "#", text)))
    return shown


@pytest.mark.slow
def test_the_notebook_runs_and_prints_what_it_was_committed_with() -> None:
    committed, now = nbformat.read(NOTEBOOK, as_version=4), executed(NOTEBOOK)
    assert outputs(now) == outputs(committed), "run `python tests/test_notebook.py` to write the outputs anew"
    printed = "\n".join(str(output.get("text", "")) for cell in now.cells for output in cell.get("outputs", ()))
    mean_iu = [float(number) for number in re.findall(r"mean IU +([\d.]+)", printed)]
    assert mean_iu[-1] > max(50, mean_iu[0])


def test_the_notebook_is_small_and_valid() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < 300_000
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", ()))
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run all cells, in their order"


def test_every_chapter_of_the_contents_exists() -> None:
    text = "\n".join(
        cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "markdown"
    )
    targets = re.findall(r"\]\(#([^)]+)\)", text)
    headings = {heading.replace(" ", "-") for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    assert len(targets) == 8
    assert set(targets) == headings


if __name__ == "__main__":
    nbformat.write(executed(NOTEBOOK), NOTEBOOK)
    print(f"{NOTEBOOK}: {NOTEBOOK.stat().st_size:,} bytes")
