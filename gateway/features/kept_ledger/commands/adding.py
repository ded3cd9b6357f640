"""``trigate ledger add``: stores the requests that a killed process has only logged."""

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final

import attrs
import trio

from configfile.users_files import open_file
from gateway.commands.check import load_or_explain
from gateway.commands.terminal import count_text, say
from gateway.config.clients import name_of_group
from gateway.config.kinds import zone_of
from gateway.config.settings import Config
from gateway.features.kept_ledger.columns import GAP, LOST_COUNT
from gateway.features.kept_ledger.commands.costs import BAD_CONFIG, GOOD, UNREADABLE, open_ledger
from gateway.features.kept_ledger.line import LedgerLine
from gateway.features.kept_ledger.logged import number_of, read_logged
from gateway.features.kept_ledger.table import LedgerTable
from gateway.features.kept_ledger.usage import SILENT
from gateway.stores.errors import Unavailable
from gateway.viewing.periods import microseconds

INCOMPLETE: Final = 3
CLOSE: Final = 1_500_000
"""The most microseconds between the start of a request in the ledger and in the log, whose times end at a second."""


BATCH: Final = 10_000
"""Logged lines in memory before those that the table has are dropped."""


@attrs.define
class Gap:
    """The time after ``start`` for which a process has stored no lines, and the logged lines that ended in it.

    It may last ``until`` now, because the process may have run on while the database was unavailable."""

    start: int
    until: int
    lines: list[LedgerLine] = attrs.field(factory=list)
    most: int = BATCH

    @property
    def bounds(self) -> tuple[int, int]:
        return self.start - CLOSE, max(self.start + GAP, self.until) + CLOSE


def run(logs: Sequence[Path], path: Path | None) -> int:
    """Run ``trigate ledger add`` and return its exit status: 0, 1 for an invalid config or log, 2 if the ledger cannot
    be read or written, 3 if a gap stays."""
    config = load_or_explain(path, within=("state_storage", "secret_stores"), with_stored_secrets=True)
    if config is None:
        return BAD_CONFIG
    try:
        return trio.run(_add, config, logs)
    except Unavailable as error:
        say(f"{config.path}: state_storage: {error.with_cause()}")
        return UNREADABLE
    except OSError as error:
        say(f"{error.filename}: {error.strerror}")
        return BAD_CONFIG


async def _add(config: Config, logs: Sequence[Path]) -> int:
    async with open_ledger(config) as table:
        now = microseconds(datetime.now(UTC))
        silent = now - SILENT  # processes that run may not have stored later lines yet
        gaps = [Gap(start, silent) for start in dict.fromkeys(await table.gap_starts((0, now), silent))]
        first = await _fill(gaps, table, logs, config) if gaps else 0
        closed = [await _close(gap, table, first, zone_of(config.timezone)) for gap in gaps]
    if not gaps:
        say(f"the ledger has no gaps older than {SILENT // 60_000_000} minutes: nothing to add")
    return GOOD if all(closed) else INCOMPLETE


async def _fill(gaps: Sequence[Gap], table: LedgerTable, logs: Sequence[Path], config: Config) -> int:
    """Add each line of ``logs`` to its last gap. Return the time of the first line of all. Raises ``OSError``."""
    first, groups, name_of = sys.maxsize, config.by_client(name_of_group), _names_of(config)
    for log in logs:
        with open_file(log) if str(log) != "-" else nullcontext(sys.stdin.buffer) as file:
            for logged in read_logged(file, name_of, groups):
                first = min(first, logged.at)
                found = (one for one in reversed(gaps) if one.bounds[0] <= logged.at <= one.bounds[1])
                if logged.line is not None and (gap := next(found, None)) is not None:
                    gap.lines.append(logged.line)
                    if len(gap.lines) > gap.most:
                        gap.lines = await _missing_lines(table, gap.lines)
                        gap.most = len(gap.lines) + BATCH
    return first


def _names_of(config: Config) -> Callable[[str], str]:
    """Return a function that returns the entry's name for the target ``provider/model``, if only one entry has it."""
    names = defaultdict[str, set[str]](set)
    for entry in config.entries:
        names[f"{entry.provider.id}/{entry.model}"].add(entry.name)
    return lambda target: next(iter(names[target])) if len(names.get(target, ())) == 1 else target


async def _close(gap: Gap, table: LedgerTable, first: int, zone: tzinfo) -> bool:
    """Store the missing lines of ``gap``, and return whether no line is missing any more.

    The logs, whose first line has the time ``first``, must begin before the gap."""
    at = f"{datetime.fromtimestamp(gap.start / 1e6, zone):%Y-%m-%d %H:%M:%S}"
    if any(part.level != LOST_COUNT for part in await table.folded_parts(gap.bounds)):
        say(f"{at}: the ledger has only sums for this time, so that nothing can be added")
        return False
    missing = await _missing_lines(table, gap.lines)
    await table.add([(number_of(line), line) for line in missing])
    added = f"{at}: added {count_text(len(missing), 'request')}"
    if first > gap.bounds[0] + 2 * CLOSE:
        say(f"{added}; the gap stays, because the log begins after it: give the log before it, too")
        return False
    await table.close_gap(gap.start)
    say(added)
    return True


async def _missing_lines(table: LedgerTable, lines: Sequence[LedgerLine]) -> list[LedgerLine]:
    """Return the ``lines`` that the table lacks. A client may use an id for several requests."""
    if not lines:
        return []
    begins = [line.began for line in lines]
    stored = defaultdict[str, list[int]](list)
    for request, began in await table.begins_of(
        list({line.request for line in lines}), (min(begins) - CLOSE, max(begins) + CLOSE)
    ):
        stored[request].append(began)
    missing = []
    for line in lines:
        same = next((began for began in stored[line.request] if abs(began - line.began) <= CLOSE), None)
        if same is None:
            missing.append(line)
        else:
            stored[line.request].remove(same)
    return missing
