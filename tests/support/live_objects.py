"""The objects of a class that exist in this process."""

import gc
import sys
import traceback
from typing import TypeVar

from tests.support.harness import eventually

T = TypeVar("T")


def live_objects(kind: type[T]) -> list[T]:
    """Return the objects of ``kind`` that are reachable, or whose cycle is not collected yet.

    It waits until no worker thread has work: building a tuple fails if anything else refers to it meanwhile
    (python/cpython#39117).
    """
    eventually(_workers_wait, what="threads without work")
    return [one for one in gc.get_objects() if type(one) is kind]


def _workers_wait() -> bool:
    calls = (call for frame in sys._current_frames().values() for call, _ in traceback.walk_stack(frame))
    return all(call.f_code.co_name != "_handle_job" for call in calls)  # of trio's thread cache
