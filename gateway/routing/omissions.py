"""Parts of a request that an attempt omits because its provider rejected them."""

import attrs

from providers.errors.rejected import Path


@attrs.frozen(repr=False)
class Omissions:
    """The omitted parts: the reasoning of earlier turns, and members and betas by path
    (``providers/errors/rejected.py``)."""

    reasoning: bool = False
    paths: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return self.reasoning or bool(self.paths)

    def union(self, other: "Omissions") -> "Omissions":
        """Return the omissions of both, each path once."""
        paths = tuple(dict.fromkeys((*self.paths, *other.paths)))
        return Omissions(self.reasoning or other.reasoning, paths)


NOTHING = Omissions()
