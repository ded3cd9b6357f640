"""The audit log: rejected requests, reloads, changed keys, views of the live view.

Its lines go to standard error or a file. Events that anyone can cause are logged a limited number of times per minute,
and counted beyond that."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from gateway.logs.loggers import AUDIT

ALWAYS_LOGGED: Final = frozenset(("address_refused", "key_refused", "keys_guessed", "page_refused"))
"""Events that are logged even without a configured audit."""

MINUTE: Final = 60.0
LINES_PER_ADDRESS: Final = 5
"""Lines per minute for one event and address."""
LINES_PER_MINUTE: Final = 100
"""Lines per minute for such events in total, and as many again with counts of the others."""
ADDRESSES: Final = 1024
"""Events and addresses that are counted separately per minute; others are counted together."""

LONGEST: Final = 200
MOST: Final = 50
"""Characters of a text in a line, and members of a list."""

log = logging.getLogger(AUDIT)

OnEvent: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""Learns of an event with its fields. It never raises."""


class Audit:
    """The audit of a process. Used from one thread; never raises, never waits. The log handlers mask keys.

    ``on_event`` also gets each event with its fields."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, on_event: OnEvent = lambda event, fields: None
    ) -> None:
        self._clock = clock
        self.on_event = on_event
        self._begin()

    def _begin(self) -> None:
        self._began = self._clock()
        self._logged = 0
        self._seen: Counter[tuple[str, str]] = Counter()
        self._unlogged: Counter[tuple[str, str]] = Counter()
        self._others: Counter[str] = Counter()

    def log_event(self, event: str, **fields: Any) -> None:
        """Log an event. Fields without a value are omitted, long ones are truncated."""
        self.on_event(event, fields)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        given = {name: _truncate(value) for name, value in fields.items() if value is not None and value != ()}
        level = logging.WARNING if event in ALWAYS_LOGGED else logging.INFO
        log.log(level, "%s", event, extra={AUDIT: {"event": event, "at": at, "worker": os.getpid(), **given}})

    def log_limited(self, event: str, address: str | None, **fields: Any) -> None:
        """Log an event if it is among the first in a minute for ``event`` and ``address``, else count it."""
        if self._clock() - self._began >= MINUTE:
            self.summarise()
        which = (event, address or "")
        if which not in self._seen and len(self._seen) >= ADDRESSES:
            self._others[event] += 1
            return
        self._seen[which] += 1
        if self._seen[which] > LINES_PER_ADDRESS or self._logged >= LINES_PER_MINUTE:
            self._unlogged[which] += 1
            return
        self._logged += 1
        self.log_event(event, address=address, **fields)

    def summarise(self) -> None:
        """Log the counts since the last call: the largest by address, the others together."""
        counts, others = self._unlogged.most_common(), self._others
        self._begin()
        for (event, address), count in counts[:LINES_PER_MINUTE]:
            self.log_event(event, address=address or None, more=count)
        for (event, _), count in counts[LINES_PER_MINUTE:]:
            others[event] += count
        for event, count in others.items():
            self.log_event(event, more=count)


def _truncate(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST] + "…"
    if isinstance(value, tuple | list):
        more = (f"+{len(value) - MOST}",) if len(value) > MOST else ()
        return [*(_truncate(str(one)) for one in value[:MOST]), *more]
    return value
