"""Where tests find real images, which are too large and not free enough to be part of the repository."""

import os
from pathlib import Path

import pytest


def shared_data(*parts: str) -> Path:
    """The path of real data; skips the test that asks where there is none.

    It is looked for in the folder named by SCRATCHFCN_DATA, or else in ../shared/data beside the repository.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("SCRATCHFCN_DATA", beside), *parts)
    if not path.exists():
        pytest.skip(f"real data is not here: no {path}")
    return path
