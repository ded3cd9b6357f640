"""A clock that a test sets."""


class SetClock:
    """A clock whose time a test sets, in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
