"""The audit: who was turned away, what was reloaded, which keys are other than before, who has looked. Lines beside
those of exchanges, to standard error or to a file; what anybody may bring about as often as he likes is told a bounded
number of times a minute, and counted beyond that.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from typing import Any, Final

AUDIT: Final = "trigate.audit"
"""The logger of the audit, and the member of its records that has the fields of the line."""

STDERR: Final = "stderr"

WARNED_OF: Final = frozenset(("key_refused", "keys_guessed", "page_refused"))
"""Events that are in the log also where no audit is configured."""

MINUTE: Final = 60.0
TOLD_OF_ONE: Final = 5
"""Lines a minute about one event and one address."""
TOLD: Final = 100
"""Lines a minute about such events in all, and as many that say how many more there were."""
ADDRESSES: Final = 1024
"""Events and addresses that are counted apart in a minute; the rest are counted together."""

LONGEST: Final = 200
MOST: Final = 50
"""Characters of a text in a line, and members of a list."""

log = logging.getLogger(AUDIT)


class Audit:
    """What an auditor wants to know of a process. Used from one thread; never raises, never waits. Keys are taken out
    where the lines are written."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self._began = self._clock()
        self._told = 0
        self._seen: Counter[tuple[str, str]] = Counter()
        self._untold: Counter[tuple[str, str]] = Counter()
        self._others: Counter[str] = Counter()

    def tell(self, event: str, **fields: Any) -> None:
        """Write a line. Fields without a value are left out, long ones are cut."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        given = {name: _cut(value) for name, value in fields.items() if value is not None and value != ()}
        level = logging.WARNING if event in WARNED_OF else logging.INFO
        log.log(level, "%s", event, extra={AUDIT: {"event": event, "at": at, "worker": os.getpid(), **given}})

    def tell_often(self, event: str, address: str | None, **fields: Any) -> None:
        """Write a line, one of the first in a minute about ``event`` and ``address``; count the others."""
        if self._clock() - self._began >= MINUTE:
            self.summarise()
        which = (event, address or "")
        if which not in self._seen and len(self._seen) >= ADDRESSES:
            self._others[event] += 1
            return
        self._seen[which] += 1
        if self._seen[which] > TOLD_OF_ONE or self._told >= TOLD:
            self._untold[which] += 1
            return
        self._told += 1
        self.tell(event, address=address, **fields)

    def summarise(self) -> None:
        """Tell of what was only counted since the last time: of whoever brought it about most by address, of the others
        together."""
        counts, others = self._untold.most_common(), self._others
        self._begin()
        for (event, address), count in counts[:TOLD]:
            self.tell(event, address=address or None, more=count)
        for (event, _), count in counts[TOLD:]:
            others[event] += count
        for event, count in others.items():
            self.tell(event, more=count)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST] + "…"
    if isinstance(value, tuple | list):
        more = (f"+{len(value) - MOST}",) if len(value) > MOST else ()
        return [*(_cut(str(one)) for one in value[:MOST]), *more]
    return value


class AuditFile(WatchedFileHandler):
    """A file that lines are added to, which only its owner may read. Where it has been moved away, as logrotate does,
    it is made anew. Making this raises ``OSError``."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return TextIOWrapper(open(fd, "ab"), encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk must not end what is audited, nor fill the log with tracebacks."""
        logging.getLogger("trigate").error("the audit could not be written: %s", record.getMessage())


class AuditTarget:
    """Where the lines of the audit go: to the log of the process, or to a file of their own."""

    def __init__(self, form: logging.Formatter) -> None:
        """``form`` is that of lines in a file."""
        self._form = form
        self._file: AuditFile | None = None

    def follow(self, audit: str | None) -> None:
        """Write to ``audit`` from now on: ``stderr`` or a path; ``None`` for the log, of warnings alone. Raises
        ``OSError`` for a file that cannot be written, and all stays as it was."""
        file = None if audit in (None, STDERR) else AuditFile(str(audit))
        if file is not None:
            file.setFormatter(self._form)
            log.addHandler(file)
        if self._file is not None:
            log.removeHandler(self._file)
            self._file.close()
        self._file = file
        log.propagate = file is None
        log.setLevel(logging.WARNING if audit is None else logging.INFO)
