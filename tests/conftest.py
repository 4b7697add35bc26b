"""What every test file shares: the devices to run on, and how hypothesis draws its examples."""

import os
import signal

# A shell that starts something in the background may have it ignore Ctrl-C, and programs started from there inherit
# that. Some tests send it, and mean it to be noticed.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest runs one worker per core: matrix products of two threads in each would only get in each other's way. Read
# when NumPy and torch are loaded, so it comes first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# CuPy's place is taken before anybody looks for it
if os.environ.get("SCRATCHFCN_STAND_IN") == "1":
    import strict_cupy

    strict_cupy.install()

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
