"""Many cases in one test: a test of its own costs more than most of them do."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def case(name: object) -> Iterator[None]:
    """What fails in here says that it failed in case of ``name``."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in case of {name}")
        raise
