"""Writer of cache marks as Converse's ``cachePoint`` blocks, which follow the marked block.

Claude Code marks every request, which made every model without caching fail; a dropped lifetime made the next one a 400
(Portkey-AI/gateway#1762, 0xPlaygrounds/rig#1673, strands-agents/sdk-typescript#1089).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.converse.families import Place
from providers.neutral.fields import Drops

Block = dict[str, Any]

MAX_POINTS: Final = 4
_LIFETIMES: Final = ("5m", "1h")
_LONG: Final = "1h"


class CachePoints:
    """The cache points of one request, in prompt order: tools, system, messages."""

    def __init__(self, places: tuple[Place, ...], drops: Drops) -> None:
        self._places = places
        self._drops = drops
        self._points: list[tuple[Block, str]] = []

    def append(self, blocks: list[Block], mark: Mapping[str, Any], place: Place, path: str) -> None:
        """Append a cache point to ``blocks`` if the model accepts one there.

        Appends nothing after another cache point, after reasoning, or to an empty list. ``path`` is the client's
        path to the mark.
        """
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
        self._points.append((point, path))

    def limit(self, *holders: list[Block]) -> None:
        """Remove all but the last four points from ``holders``, as later ones cover more, and shorten lifetimes that
        exceed an earlier one."""
        excess = self._points[:-MAX_POINTS]
        removed = {id(point) for point, _ in excess}
        self._drops.add(*(path for _, path in excess))
        for blocks in holders if removed else ():
            blocks[:] = [block for block in blocks if id(block.get("cachePoint")) not in removed]
        short = False
        for point, path in self._points[len(excess) :]:
            if short and point.get("ttl") == _LONG:
                point["ttl"] = _LIFETIMES[0]
                self._drops.add(f"{path}.ttl")
            short = point.get("ttl") != _LONG
