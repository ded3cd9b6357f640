"""Levels of reasoning effort."""

from typing import Final

LEVELS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All levels of effort of any API, the lowest first."""


def known_level(level: str, known: tuple[str, ...]) -> str | None:
    """Return ``level`` if the model knows it, else its nearest lower level, else its lowest.

    An empty ``known`` means unknown levels: ``level`` is returned unchanged. Returns ``None`` for an unknown ``none``.
    """
    if not known or level in known or level not in LEVELS:
        return level
    if level == "none":
        return None
    below = [one for one in LEVELS[: LEVELS.index(level)] if one in known and one != "none"]
    above = [one for one in LEVELS[LEVELS.index(level) :] if one in known]
    return below[-1] if below else next(iter(above), None)
