"""Work shared among threads: every piece once, errors and interrupts kept, the same bits on any number of threads."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchfcn as sf
from scratchfcn import parallel
from scratchfcn.parallel import matmul, set_threads, share, threads

ARRAY = np.zeros(1)


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = threads()
    yield
    set_threads(before)


# ---- how many ----------------------------------------------------------------------------------------------


def in_a_process(program: str, **environment: str) -> str:
    names = ("SCRATCHFCN_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", f"from scratchfcn.parallel import *\n{program}"]
    done = subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_the_number_of_threads_comes_from_the_environment() -> None:
    assert in_a_process("print(threads())", SCRATCHFCN_THREADS="3") == "3\n"
    assert in_a_process("print(threads())", OPENBLAS_NUM_THREADS="1") == "1\n"
    assert "SCRATCHFCN_THREADS is 'two'; it must be a whole number from 1 up" in in_a_process(
        "threads()", SCRATCHFCN_THREADS="two"
    )


def test_without_a_word_all_cores_are_used() -> None:
    assert in_a_process("print(threads())") == f"{parallel.usable_cores()}\n"


def test_what_is_asked_of_the_blas_is_not_what_it_was_lowered_to() -> None:
    program = "a = np.ones((4, 4)); matmul(a, a); share(lambda piece: None, range(2), a); print(threads())"
    assert in_a_process(f"import numpy as np\n{program}") == in_a_process("print(threads())")


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
def test_a_wrong_number_of_threads_is_refused(number: Any) -> None:
    with pytest.raises(ValueError, match="whole number from 1 up"):
        set_threads(number)


# ---- sharing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("pieces", [0, 1, 2, 17])
def test_every_piece_is_done_once(number: int, pieces: int) -> None:
    set_threads(number)
    done: list[int] = []
    share(done.append, range(pieces), ARRAY)
    assert sorted(done) == list(range(pieces))


def test_pieces_run_at_the_same_time() -> None:
    set_threads(2)
    meeting = threading.Barrier(2, timeout=10)  # passed only if two threads wait at it together
    share(lambda piece: meeting.wait(), range(2), ARRAY)


def test_work_on_anything_but_a_numpy_array_is_not_shared() -> None:
    set_threads(2)
    workers: set[int] = set()
    share(lambda piece: workers.add(threading.get_ident()), range(8), object())
    assert workers == {threading.get_ident()}


def test_sharing_within_sharing_does_not_lock_up() -> None:
    set_threads(2)
    done: list[tuple[int, int]] = []
    share(lambda i: share(lambda j: done.append((i, j)), range(3), ARRAY), range(4), ARRAY)
    assert sorted(done) == [(i, j) for i in range(4) for j in range(3)]


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_arrives_and_nothing_is_begun_after_it(number: int) -> None:
    set_threads(number)
    begun: list[int] = []

    def work(piece: int) -> None:
        begun.append(piece)
        if piece == 1:
            raise ValueError("piece 1 is broken")
        time.sleep(0.02)

    with pytest.raises(ValueError, match="piece 1 is broken"):
        share(work, range(100), ARRAY)
    assert len(begun) < 10
    begun_before = len(begun)
    time.sleep(0.05)
    assert len(begun) == begun_before  # nobody goes on working behind the caller's back
    share(begun.append, range(2), ARRAY)  # and the threads are fit for more


def test_an_interrupt_leaves_no_thread_working() -> None:
    set_threads(2)
    finished: list[int] = []

    def work(piece: int) -> None:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        time.sleep(0.05)
        finished.append(piece)

    with pytest.raises(KeyboardInterrupt):
        share(work, range(50), ARRAY)
    count = len(finished)
    time.sleep(0.1)
    assert len(finished) == count


def test_an_interrupt_while_waiting_for_the_others_waits_all_the_same() -> None:
    set_threads(2)
    finished: list[int] = []
    main = threading.main_thread()

    def work(piece: int) -> None:
        if threading.current_thread() is main:
            return
        time.sleep(0.1)
        signal.raise_signal(signal.SIGINT)  # arrives in the main thread, which has nothing left to do but wait
        time.sleep(0.2)
        finished.append(piece)

    begun = threading.Barrier(2, timeout=10)  # each thread takes one of the two pieces
    with pytest.raises(KeyboardInterrupt):
        share(lambda piece: (begun.wait(), work(piece)), range(2), ARRAY)
    assert len(finished) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    program = """
import os, warnings
import numpy as np
warnings.simplefilter("ignore")  # Python dislikes forking with threads, which is the point here
set_threads(2)
share(lambda piece: None, range(4), np.zeros(1))
child = os.fork()
if child == 0:
    done = []
    share(done.append, range(4), np.zeros(1))
    os._exit(len(done))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert in_a_process(program) == "4\n"


# ---- the matrix products' own threads ----------------------------------------------------------------------


def test_blas_threads_are_given_back() -> None:
    program = """
blas = parallel._blas()[0]
with one_blas_thread():
    with one_blas_thread():
        assert blas.num_threads == 1
    assert blas.num_threads == 1
assert blas.num_threads == 2
try:
    with one_blas_thread():
        raise ValueError
except ValueError:
    pass
print(blas.num_threads)
"""
    assert in_a_process(f"from scratchfcn import parallel\n{program}", OPENBLAS_NUM_THREADS="2") == "2\n"


# ---- products ----------------------------------------------------------------------------------------------

SHAPES = [  # M, K, N
    (3, 4, 5),
    (16, 144, 8192),  # wide: columns are shared
    (8192, 16, 16),  # tall: rows
    (64, 40000, 32),  # long sums
    (129, 257, 130),
    (1, 2_000_000, 1),
    (2048, 3, 2048),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_products_are_products(shape: tuple[int, int, int], batch: tuple[int, ...]) -> None:
    M, K, N = shape
    rng = np.random.default_rng(0)
    a, b = rng.integers(-3, 4, (*batch, M, K)).astype(np.float64), rng.integers(-3, 4, (*batch, K, N)).astype(float)
    expected = a @ b  # whole numbers: exact in any order
    results = []
    for number in (1, 2, 3):
        set_threads(number)
        results.append(matmul(a, b))
        out = np.full((*batch, M, N), np.nan)
        assert matmul(a, b, out=out) is out
        results.append(out)
        transposed = matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2))
        results.append(transposed.swapaxes(-1, -2))
    for result in results:
        np.testing.assert_array_equal(result, expected)


def test_products_write_into_parts_of_larger_arrays() -> None:
    set_threads(2)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(16, 200)).astype(np.float32), rng.normal(size=(200, 4096)).astype(np.float32)
    y = np.zeros((16, 5000), np.float32)
    matmul(a, b, out=y[:, 100:4196])
    np.testing.assert_allclose(y[:, 100:4196], a @ b, rtol=1e-4, atol=1e-4)
    assert not y[:, :100].any()
    assert not y[:, 4196:].any()


# ---- the same bits -----------------------------------------------------------------------------------------


def bits(numbers: Callable[[], list[np.ndarray]]) -> None:
    """`numbers()` returns the same bits on one, two and three threads."""
    results = []
    for number in (1, 2, 3):
        set_threads(number)
        results.append(numbers())
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_training_step_has_the_same_bits_on_any_number_of_threads(batch_norm: bool) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 3, 96, 80)).astype(np.float32)
    labels = rng.integers(0, 21, (3, 96, 80)).astype(np.uint8)

    def step() -> list[np.ndarray]:
        sf.manual_seed(0)
        model = sf.models.fcn8s(num_classes=21, batch_norm=batch_norm)
        optimizer = sf.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            loss = sf.ops.softmax_cross_entropy(model(sf.Tensor(images)), labels)
            loss.backward()
            optimizer.step()
        return [loss.numpy(), *(p.data for p in model.parameters()), *(p.grad for p in model.parameters())]

    bits(step)


@given(st.integers(1, 40), st.integers(1, 3000), st.integers(1, 40))
def test_products_have_the_same_bits(M: int, K: int, N: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(M, 4 * K)).astype(np.float32), rng.normal(size=(4 * K, N)).astype(np.float32)
    bits(lambda: [matmul(a, b)])


def test_the_bits_do_not_depend_on_the_blas_threads_either() -> None:
    program = """
import hashlib
import numpy as np
import scratchfcn as sf
rng = np.random.default_rng(0)
model = sf.models.fcn8s(num_classes=5, batch_norm=True)
loss = sf.ops.softmax_cross_entropy(
    model(sf.Tensor(rng.normal(size=(2, 3, 128, 128)).astype(np.float32))), rng.integers(0, 5, (2, 128, 128))
)
loss.backward()
bits = [p.grad for p in model.parameters()]

def add(op, *shapes):
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    y = op.forward(*arrays)
    bits.extend([y, *(g for g in op.backward(rng.normal(size=y.shape).astype(np.float32)) if g is not None)])

add(sf.ops.Conv2d(stride=2, padding=1), (2, 16, 90, 91), (32, 16, 3, 3))
add(sf.ops.Conv2d(dilation=2, groups=4), (2, 16, 90, 91), (32, 4, 3, 3), (32,))
add(sf.ops.ConvTranspose2d(), (2, 16, 40, 41), (16, 8, 3, 3))
add(sf.ops.ConvTranspose2d(stride=2, dilation=2), (2, 16, 40, 41), (16, 8, 3, 3))
add(sf.ops.Linear(), (64, 451), (63, 451))  # in one piece
add(sf.ops.Linear(), (300, 2000), (500, 2000), (500,))
print(hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in bits)).hexdigest())
"""
    runs = [
        in_a_process(program, OPENBLAS_NUM_THREADS=blas, SCRATCHFCN_THREADS=ours)
        for blas, ours in [("1", "1"), ("2", "1"), ("2", "2"), ("1", "4")]
    ]
    assert len(runs[0]) == 65
    assert len(set(runs)) == 1


# ---- in company --------------------------------------------------------------------------------------------


def run_in_thread(work: Callable[[], Any], seconds: float = 20.0) -> None:
    """Call `work` in another Python thread, and wait for it; fails if it does not come back."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()


def test_any_python_thread_may_use_the_ops() -> None:
    """The BLAS's threads stand aside for all of them, and come back, whoever was first."""
    program = """
import threading
import numpy as np
from scratchfcn import ops, parallel
blas = parallel._blas()[0]
rng = np.random.default_rng(0)
x, w = rng.normal(size=(2, 16, 64, 64)).astype(np.float32), rng.normal(size=(32, 16, 3, 3)).astype(np.float32)
results = []

def convolve():
    conv = ops.Conv2d(padding=1)
    y = conv.forward(x, w)
    results.append(b"".join(a.tobytes() for a in (y, *conv.backward(y)[:2])))

convolve()
for _ in range(5):
    workers = [threading.Thread(target=convolve) for _ in range(4)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
print(len(results), len(set(results)), blas.num_threads)
"""
    assert in_a_process(program, OPENBLAS_NUM_THREADS="2") == "21 1 2\n"


def test_a_piece_may_wait_for_a_thread_that_shares() -> None:
    set_threads(2)
    done: list[int] = []

    def work(piece: int) -> None:
        run_in_thread(lambda: share(done.append, range(3), ARRAY))

    run_in_thread(lambda: share(work, range(2), ARRAY))
    assert sorted(done) == [0, 0, 1, 1, 2, 2]


def test_nobody_waits_for_the_pieces_of_another() -> None:
    set_threads(2)
    begun, release, done = threading.Barrier(3, timeout=20), threading.Event(), []

    def work(piece: int) -> None:
        begun.wait()
        release.wait(20)

    other = threading.Thread(target=lambda: share(work, range(2), ARRAY))
    other.start()
    begun.wait()  # the only helper is busy until it is released
    try:
        run_in_thread(lambda: share(done.append, range(4), ARRAY), seconds=10)
    finally:
        release.set()
        other.join()
    assert done == [0, 1, 2, 3]


def test_the_ops_work_while_python_ends() -> None:
    program = """
import atexit
import threading
import time
import numpy as np
set_threads(2)
share(lambda piece: None, range(4), np.zeros(1))
done = []

def late():
    time.sleep(0.3)
    share(done.append, range(4), np.zeros(1))
    print(sorted(done))

threading.Thread(target=late).start()  # outlives the program's last line
"""
    assert in_a_process(program) == "[0, 1, 2, 3]\n"


def test_products_of_vectors_and_mixed_types() -> None:
    vector, matrix = np.arange(4.0), np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(matmul(vector, matrix), vector @ matrix)
    assert sf.ops.linear(sf.Tensor(vector), sf.Tensor(matrix.T.copy())).shape == (3,)
    large = np.ones((512, 64), np.float32), np.ones((64, 512))
    assert matmul(*large).dtype == np.float64
