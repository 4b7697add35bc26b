"""What every test file shares: the devices to run on, and how hypothesis draws its examples."""

import pytest
from hypothesis import settings

from scratchfcn import backend

# derandomize: the same examples on every run, so that a red build means a changed program
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Run the test once per device; without a working GPU the second run is skipped and says why."""
    if request.param == "cuda":
        problem = backend.cuda_problem()
        if problem is not None:
            pytest.skip(f"no CUDA here: {problem}")
    return request.param
