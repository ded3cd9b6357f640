"""Cache marks as Converse has them: a block ``cachePoint`` behind the one that is marked.

Claude Code marks every request, which killed every model that cannot cache; and one lifetime that was lost made a 400
of the next (Portkey-AI/gateway#1762, 0xPlaygrounds/rig#1673, strands-agents/sdk-typescript#1089).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.converse.families import Place
from providers.neutral.fields import Drops

Block = dict[str, Any]

MOST: Final = 4
_LIFETIMES: Final = ("5m", "1h")
_LONG: Final = "1h"


class CachePoints:
    """The cache points of one request, in the order of the prompt: tools, system, messages."""

    def __init__(self, places: tuple[Place, ...], drops: Drops) -> None:
        self._places = places
        self._drops = drops
        self._put: list[tuple[Block, str]] = []

    def behind(self, blocks: list[Block], mark: Mapping[str, Any], place: Place, path: str) -> None:
        """Put a cache point at the end of ``blocks``, if the model takes one there; not behind another, nor behind
        reasoning, nor where nothing is. ``path`` is the client's to its mark."""
        if place not in self._places or not blocks or "reasoningContent" in blocks[-1]:
            self._drops.add(path)
            return
        if "cachePoint" in blocks[-1]:
            return
        point: Block = {"type": "default"}
        if (ttl := mark.get("ttl")) in _LIFETIMES:
            point["ttl"] = ttl
        elif ttl is not None:
            self._drops.add(f"{path}.ttl")
        blocks.append({"cachePoint": point})
        self._put.append((point, path))

    def settle(self, *holders: list[Block]) -> None:
        """Take the earliest out of ``holders`` where there are more than four, since the later ones cover more, and
        shorten what would live longer than one in front of it."""
        beyond = self._put[:-MOST]
        gone = {id(point) for point, _ in beyond}
        self._drops.add(*(path for _, path in beyond))
        for blocks in holders if gone else ():
            blocks[:] = [block for block in blocks if id(block.get("cachePoint")) not in gone]
        short = False
        for point, path in self._put[len(beyond) :]:
            if short and point.get("ttl") == _LONG:
                point["ttl"] = _LIFETIMES[0]
                self._drops.add(f"{path}.ttl")
            short = point.get("ttl") != _LONG
