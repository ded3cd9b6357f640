"""Types of text that variables changed."""


class Expanded(str):
    """Text with the value of an environment variable in it; messages never repeat it."""

    __slots__ = ()


class Unresolved(Expanded):
    """Text with a variable that has no value, or was not looked up."""

    __slots__ = ()
