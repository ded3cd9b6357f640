"""Reads traces: recorded start times and lengths of requests to real services, in three published formats.

Azure's (https://github.com/Azure/AzurePublicDataset) and BurstGPT's (https://github.com/HPMLL/BurstGPT) are CSV,
Mooncake's (https://github.com/kvcache-ai/Mooncake) is JSONL. The columns identify the format.
"""

import csv
import functools
import itertools
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from configfile.document import ConfigError, Mistake
from configfile.wording import Wrong, describe
from streams.surrogates import decode_or

TOLD: Final = 10


class LineMistakes:
    """The mistakes in the lines of ``file``."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._told: list[Mistake] = []
        self._lines = 0

    def add(self, line: int, found: str, expected: str) -> None:
        self._lines += 1
        if len(self._told) < TOLD:
            self._told.append(Mistake(self._file, "", found, expected, line))

    def raise_if_any(self) -> None:
        """Raise ``ConfigError`` if there are mistakes."""
        if self._lines > TOLD:
            more = f"{self._lines - TOLD} more lines like these"
            self._told.append(Mistake(self._file, "", more, "correct the file, or use another one"))
        if self._told:
            raise ConfigError(tuple(self._told))

    def file_error(self, found: str, expected: str) -> ConfigError:
        """Return an error about the whole file."""
        return ConfigError((Mistake(self._file, "", found, expected),))


BLOCK: Final = 512  # tokens of Mooncake's blocks


@attrs.frozen
class TraceRow:
    """One request of a trace. ``at`` is in seconds after the first request, ``input`` and ``output`` are in tokens.

    Rows of one ``session`` ("" for none) are turns of a conversation; ``elapsed`` is the duration of the answer, if
    known. ``blocks`` identify pieces of 512 tokens: rows that begin with the same blocks begin with the same text.
    """

    at: float
    input: int
    output: int
    session: str = ""
    elapsed: float = 0.0
    blocks: tuple[int, ...] = ()


@attrs.frozen
class LoadTrace:
    """The usable rows of a trace in the order of their times, stored as columns because traces may have millions.

    ``left_out`` counts the other rows by reason. ``first_rows`` are rows that stand alone or start a conversation, and
    ``later_turns`` maps them to the rows of later turns. Both are empty without conversations.
    """

    name: str
    form: str
    unit: str
    times: "array[float]" = attrs.field(repr=False)
    inputs: "array[int]" = attrs.field(repr=False)
    outputs: "array[int]" = attrs.field(repr=False)
    other_columns: Sequence[tuple[str, float, tuple[int, ...]]] = attrs.field(repr=False)
    left_out: Mapping[str, int] = attrs.field(factory=dict)
    first_rows: "array[int]" = attrs.field(factory=lambda: array("l"), repr=False)
    later_turns: Mapping[int, Sequence[int]] = attrs.field(factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.times)

    def row(self, number: int) -> TraceRow:
        """Return the row ``number``, from 0."""
        others = self.other_columns[number] if self.other_columns else ()
        return TraceRow(self.times[number], self.inputs[number], self.outputs[number], *others)

    @property
    def arrival_count(self) -> int:
        """The number of rows that stand alone or start a conversation."""
        return len(self.first_rows) or len(self)

    def row_of_arrival(self, number: int) -> int:
        """Return the row of arrival ``number``, from 0. After the last row, the first follows again."""
        place = number % self.arrival_count
        return self.first_rows[place] if self.first_rows else place

    @property
    def seconds(self) -> float:
        """The time from the first row to the last."""
        return self.times[-1]

    def arrivals(self, speed: float) -> Iterator[float]:
        """Return the start times in seconds from the first, ``speed`` times as fast as in the trace."""
        return (self.times[self.row_of_arrival(number)] / speed for number in range(self.arrival_count))

    def describe(self, speed: float) -> str:
        """Return a summary for the user."""
        seconds = self.seconds / speed
        rate = f", {_format_number(self.arrival_count / seconds)} a second" if seconds else ", all at once"
        fast = f" at speed {speed:g}" if speed != 1 else ""
        skipped = "".join(f"; {_count_rows(count)} skipped: {why}" for why, count in self.left_out.items())
        talks = f" of {_count_with_noun(self.arrival_count, 'conversation')}" if self.later_turns else ""
        found = f"{_count_with_noun(len(self), 'request')}{talks} in {_format_span(seconds)}"
        return f"{self.name}: {self.form} form (times in {self.unit}), {found}{rate}{fast}{skipped}"


def _format_number(value: float) -> str:
    return f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def _count_with_noun(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _count_rows(number: int) -> str:
    return _count_with_noun(number, "row")


def _format_span(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


# The forms

TraceLine: TypeAlias = tuple[int, Mapping[str, Any]]
"""The number of a line, and its cells by column."""


def _parse_date(text: str) -> float:
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Wrong(describe(text), "expected a date such as 2023-11-16 18:15:46.6805900") from None
    # Ignore the zone: only differences matter, and traces do not change it.
    return (when.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()


def _parse_seconds(text: Any) -> float:
    try:
        if not isinstance(text, bool) and 0 <= (value := float(text)) < 1e15:
            return value
    except (TypeError, ValueError, OverflowError):
        pass
    raise Wrong(describe(text), "expected a number, 0 or more")


def _parse_milliseconds(value: Any) -> float:
    return _parse_seconds(value) / 1000


DIGITS: Final = 20  # of a number; Python rejects thousands of digits


def _parse_tokens(text: Any) -> int:
    digits = text.strip() if isinstance(text, str) else ""
    value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= DIGITS else text
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    raise Wrong(describe(text), "expected a whole number, 0 or more")


def _parse_json_tokens(value: Any) -> int:
    if isinstance(value, str):
        raise Wrong(describe(value), "expected a whole number, 0 or more")
    return _parse_tokens(value)


def _parse_blocks(value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return tuple(value)
    raise Wrong(describe(value), "expected a list of whole numbers")


@attrs.frozen
class TraceForm:
    """The columns of one publisher's traces. The default of an optional column means that it is absent."""

    name: str
    unit: str
    time: str
    when: Callable[[Any], float]
    input: str
    output: str
    tokens: Callable[[Any], int] = _parse_tokens
    session: str = ""
    elapsed: str = ""
    blocks: str = ""

    @property
    def required_columns(self) -> tuple[str, ...]:
        return self.time, self.input, self.output

    def row(self, given: Mapping[str, Any]) -> TraceRow:
        """Parse a row. Raises ``_InvalidColumn``."""
        at = _read_column(given, self.time, self.when)
        asked, answered = (_read_column(given, name, self.tokens) for name in (self.input, self.output))
        session = str(given.get(self.session) or "").strip()
        elapsed = _read_column(given, self.elapsed, _parse_seconds) if given.get(self.elapsed) else 0.0
        blocks = _read_column(given, self.blocks, _parse_blocks) if self.blocks in given else ()
        return TraceRow(at, asked, answered, session, elapsed, blocks)


AZURE: Final = TraceForm("Azure's", "dates", "TIMESTAMP", _parse_date, "ContextTokens", "GeneratedTokens")
BURSTGPT: Final = TraceForm(
    "BurstGPT's",
    "seconds",
    "Timestamp",
    _parse_seconds,
    "Request tokens",
    "Response tokens",
    session="Session ID",
    elapsed="Elapsed time",
)
MOONCAKE: Final = TraceForm(
    "Mooncake's",
    "milliseconds",
    "timestamp",
    _parse_milliseconds,
    "input_length",
    "output_length",
    _parse_json_tokens,
    blocks="hash_ids",
)


class _InvalidColumn(Exception):
    """A column with an unusable value."""

    def __init__(self, name: str, wrong: Wrong) -> None:
        self.found, self.expected = f"{name}: {wrong.found}", wrong.expected


def _read_column(given: Mapping[str, Any], name: str, read: Callable[[Any], Any]) -> Any:
    if name not in given:
        raise _InvalidColumn(name, Wrong("missing", "this is required"))
    try:
        return read(given[name])
    except Wrong as wrong:
        raise _InvalidColumn(name, wrong) from None


# Reading


def load_trace(path: Path) -> LoadTrace:
    """Return the trace in the file ``path``, which is read again only if it has changed. Raises ``ConfigError``."""
    try:
        stamp = path.stat()
    except OSError:
        return read_trace(path)
    return _read_unchanged(path, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=2)
def _read_unchanged(path: Path, _changed: int, _size: int) -> LoadTrace:
    return read_trace(path)


def read_trace(path: Path) -> LoadTrace:
    """Read the trace in the file ``path``. Raises ``ConfigError`` with the unreadable lines."""
    mistakes = LineMistakes(path)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return _read(file, path.name, mistakes)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise mistakes.file_error(f"cannot be read: {reason}", "give a readable file") from None


def _read(file: Iterable[str], name: str, mistakes: LineMistakes) -> LoadTrace:
    lines = iter(file)
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise mistakes.file_error("the file is empty", "give a trace in the form of Azure, BurstGPT or Mooncake")
    if first.lstrip().startswith(("{", "[")):
        return _make_trace(name, MOONCAKE, _objects(itertools.chain([first], lines), mistakes), mistakes)
    columns = [column.strip() for column in next(csv.reader([first]))]
    form = next((form for form in (AZURE, BURSTGPT) if {*form.required_columns} <= {*columns}), None)
    if form is None:
        found = f"this is not a trace: the columns are {', '.join(columns)}"[:200]
        forms = " or ".join(", ".join(form.required_columns) for form in (AZURE, BURSTGPT))
        mistakes.add(1, found, f"give one with {forms}, or JSONL with {', '.join(MOONCAKE.required_columns)}")
        mistakes.raise_if_any()
        raise AssertionError
    return _make_trace(name, form, _records(columns, lines, mistakes), mistakes)


def _records(columns: Sequence[str], lines: Iterable[str], mistakes: LineMistakes) -> Iterator[TraceLine]:
    for number, cells in enumerate(csv.reader(lines), 2):
        if len(cells) == len(columns):
            yield number, dict(zip(columns, cells, strict=True))
        elif cells:
            mistakes.add(number, _count_with_noun(len(cells), "column"), f"expected {len(columns)}")


def _objects(lines: Iterable[str], mistakes: LineMistakes) -> Iterator[TraceLine]:
    decoder = msgspec.json.Decoder()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = decode_or(decoder.decode, line, None)
        if isinstance(value, dict):
            yield number, value
        else:
            mistakes.add(number, "this is not a JSON object", "write one per line")


def _make_trace(name: str, form: TraceForm, given: Iterable[TraceLine], mistakes: LineMistakes) -> LoadTrace:
    times, inputs, outputs = array("d"), array("l"), array("l")
    others: list[tuple[str, float, tuple[int, ...]]] = []
    left_out: Counter[str] = Counter()
    for number, cells in given:
        try:
            row = form.row(cells)
        except _InvalidColumn as wrong:
            mistakes.add(number, wrong.found, wrong.expected)
            continue
        if reason := _unusable_reason(row):
            left_out[reason] += 1
            continue
        times.append(row.at)
        inputs.append(row.input)
        outputs.append(row.output)
        if form.blocks or form.session in cells:
            others.append((row.session, row.elapsed, row.blocks))
    mistakes.raise_if_any()
    if not times:
        raise mistakes.file_error("no row can be sent", "give a trace with tokens in and out")
    return _sort_rows(LoadTrace(name, form.name, form.unit, times, inputs, outputs, others, left_out))


def _unusable_reason(row: TraceRow) -> str:
    """Return why the row cannot be sent, or ""."""
    if not row.output:
        return "its answer has 0 tokens (a failure)"
    return "" if row.input else "its prompt has 0 tokens"


def _sort_rows(trace: LoadTrace) -> LoadTrace:
    """Sort the rows by time, and start at 0."""
    order: Sequence[int] = range(len(trace))
    if any(after < before for before, after in itertools.pairwise(trace.times)):
        order = sorted(order, key=trace.times.__getitem__)
    begin = trace.times[order[0]]
    ordered = attrs.evolve(
        trace,
        times=array("d", (trace.times[i] - begin for i in order)),
        inputs=array("l", (trace.inputs[i] for i in order)),
        outputs=array("l", (trace.outputs[i] for i in order)),
        other_columns=[trace.other_columns[i] for i in order] if trace.other_columns else (),
    )
    return _group_conversations(ordered)


def _group_conversations(trace: LoadTrace) -> LoadTrace:
    """Group the rows into conversations."""
    opened: dict[str, int] = {}
    behind: dict[int, list[int]] = {}
    firsts = array("l")
    for number, (session, *_) in enumerate(trace.other_columns):
        first = opened.setdefault(session, number) if session else number
        if first == number:
            firsts.append(number)
        else:
            behind.setdefault(first, []).append(number)
    return attrs.evolve(trace, first_rows=firsts, later_turns=behind) if behind else trace
