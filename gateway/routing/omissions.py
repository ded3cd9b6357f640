"""Parts of a client's request that are left out of an attempt because its provider has refused them."""

import attrs

from providers.errors.rejected import Path


@attrs.frozen(repr=False)
class Omissions:
    """The reasoning of earlier turns, and members and betas by their paths (``providers/errors/rejected.py``)."""

    reasoning: bool = False
    paths: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return self.reasoning or bool(self.paths)

    def union(self, other: "Omissions") -> "Omissions":
        """The omissions of both, each path once."""
        paths = tuple(dict.fromkeys((*self.paths, *other.paths)))
        return Omissions(self.reasoning or other.reasoning, paths)


NOTHING = Omissions()
