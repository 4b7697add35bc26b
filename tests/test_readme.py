"""What the README says of the code: the files it names exist, and are about as long as it says."""

import re
from pathlib import Path

import scratchfcn as sf

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_reading_order_names_files_with_their_lengths() -> None:
    rows = re.findall(r"^\| \d+ \| `(\S+)` \| (\d+) \|", README, re.MULTILINE)
    assert len(rows) >= 20
    for name, lines in rows:
        count = len((ROOT / name).read_text(encoding="utf-8").splitlines())
        assert abs(count - int(lines)) <= max(10, 0.1 * count), f"{name} has {count} lines, README says {lines}"


def test_every_script_and_picture_exists() -> None:
    for name in re.findall(r"`(?:examples/)?(\d\d_\w+\.py|\w+\.ipynb)`", README):
        assert (ROOT / "examples" / name).exists(), name
    for name in re.findall(r"\]\((examples/\S+)\)", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`(scratchfcn/\S+\.py)`", README):
        assert (ROOT / name).exists(), name


def test_every_network_it_names_can_be_built() -> None:
    for name in re.findall(r"`((?:fcn\d+s|fcn_\w+?|d2l)_\w+)`", README):
        known = name in sf.models.NAMES or f"{name}_small" in sf.models.NAMES or name == "fcn_in_one_sitting"
        assert known, name
