"""Many cases in one test, because a test per case would cost more than the cases."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def case(name: object) -> Iterator[None]:
    """Add the name of the case to every failure in the block."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in case of {name}")
        raise
