"""Time zones by their IANA names."""

from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import Any, Final

from configfile.expanded import Unresolved
from configfile.wording import Wrong, describe, nearest

_UTC: Final = "UTC"


def read_zone(value: Any) -> str:
    """Return a known time zone's name. Raises ``Wrong``."""
    from zoneinfo import ZoneInfoNotFoundError, available_timezones

    if isinstance(value, Unresolved):
        return value
    if not isinstance(value, str):
        raise Wrong(describe(value), "expected the name of a time zone, such as Europe/Berlin")
    try:
        zone_of(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise Wrong(describe(value), "this machine has no time zone data: install the package tzdata") from None
        expected = "expected the name of a time zone, such as Europe/Berlin"
        raise Wrong(describe(value), expected, next(_similar_zones(value, known), None)) from None
    return value


def zone_of(name: str) -> tzinfo:
    """Return the time zone of a name; UTC needs no database. Raises what ``ZoneInfo`` raises."""
    if name == _UTC:
        return UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _similar_zones(word: str, known: set[str]) -> Iterator[str]:
    """Yield names that ``word`` probably means: other case, a city alone, or misspelled."""
    plain = word.strip().lower().replace(" ", "_")
    cities = [name for name in sorted(known) if name.lower() == plain or name.lower().rpartition("/")[2] == plain]
    yield from sorted(cities, key=lambda name: name.lower() != plain)
    if (found := nearest(word, sorted(known))) is not None:
        yield found
