"""Text in a configuration that does not stand in its file."""


class Expanded(str):
    """Text that an environment variable went into: a message never repeats it."""

    __slots__ = ()


class Unresolved(Expanded):
    """Text with a variable in it that has no value (or that nobody looked up)."""

    __slots__ = ()
