"""Doing the next piece of work while the current one is being used.

Decoding JPEGs and drawing shapes release Python's global lock in their inner loops, so plain threads are
enough: no processes, no copies between them. Order is kept, an error appears where its item would have, and
leaving the loop early, by `break`, an exception or Ctrl-C, ends the threads.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_background(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int = 2
) -> Iterator[Result]:
    """`map(function, items)`, with up to `ahead` results being prepared before they are asked for.

    Args:
        function: called in a thread, possibly several at once.
        items: what to call it with.
        workers: threads; 0 calls `function` in the calling thread, when the result is asked for.
        ahead: calls begun and not yet handed over; bounds the memory that waiting results take.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="scratchfcn-data")
    items = iter(items)
    try:
        waiting: deque[Future[Result]] = deque(pool.submit(function, item) for item in islice(items, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(items, 1))  # keep `ahead` under way
            yield result
    finally:
        # Reached too when the caller stops early. What has not begun is dropped, what has is short.
        pool.shutdown(wait=True, cancel_futures=True)
