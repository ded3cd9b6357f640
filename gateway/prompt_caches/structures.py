"""Bases of structures that many requests make: msgspec creates them faster than Python's own classes.

They show none of their members in logs and tracebacks, because some of them are texts."""

import msgspec


class Structure(msgspec.Struct, frozen=True, eq=False):
    """A structure that does not change."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class MutableStructure(msgspec.Struct, eq=False):
    """A structure whose members change."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
