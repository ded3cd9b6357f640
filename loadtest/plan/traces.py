"""Traces: when requests came to a real service and how long they were, in the forms in which three are published.

Azure's (https://github.com/Azure/AzurePublicDataset) and BurstGPT's (https://github.com/HPMLL/BurstGPT) are CSV,
Mooncake's (https://github.com/kvcache-ai/Mooncake) is JSONL. Which it is, its columns say.
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
from streams.surrogates import NOT_JSON

TOLD: Final = 10


class LineMistakes:
    """What is wrong in the lines of ``file``."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._told: list[Mistake] = []
        self._lines = 0

    def add(self, line: int, found: str, expected: str) -> None:
        self._lines += 1
        if len(self._told) < TOLD:
            self._told.append(Mistake(self._file, "", found, expected, line))

    def check(self) -> None:
        """Raises ``ConfigError`` where there are any."""
        if self._lines > TOLD:
            more = f"{self._lines - TOLD} more lines like these"
            self._told.append(Mistake(self._file, "", more, "correct the file, or give another"))
        if self._told:
            raise ConfigError(tuple(self._told))

    def only(self, found: str, expected: str) -> ConfigError:
        """The mistake of the file as a whole."""
        return ConfigError((Mistake(self._file, "", found, expected),))


BLOCK: Final = 512  # tokens of Mooncake's blocks


@attrs.frozen
class TraceRow:
    """One request of a trace, ``at`` seconds behind the first, with its length and that of its answer in tokens.

    Rows of one ``session`` ("" for none) are the turns of one conversation; ``elapsed`` is how long the answer took,
    where that is known. ``blocks`` are names of pieces of 512 tokens: where two rows begin with the same names, they
    begin with the same text."""

    at: float
    input: int
    output: int
    session: str = ""
    elapsed: float = 0.0
    blocks: tuple[int, ...] = ()


@attrs.frozen
class LoadTrace:
    """All rows of a file that can be sent, in the order of their times. They are kept as columns: some have millions.

    ``left_out`` are the others, counted by their reason. ``firsts`` are the rows that stand alone or open a
    conversation, ``behind`` the rows of each conversation behind its first; without conversations both are empty."""

    name: str
    form: str
    unit: str
    times: "array[float]" = attrs.field(repr=False)
    inputs: "array[int]" = attrs.field(repr=False)
    outputs: "array[int]" = attrs.field(repr=False)
    others: Sequence[tuple[str, float, tuple[int, ...]]] = attrs.field(repr=False)
    left_out: Mapping[str, int] = attrs.field(factory=dict)
    firsts: "array[int]" = attrs.field(factory=lambda: array("l"), repr=False)
    behind: Mapping[int, Sequence[int]] = attrs.field(factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.times)

    def row(self, number: int) -> TraceRow:
        """The row ``number``, from 0."""
        others = self.others[number] if self.others else ()
        return TraceRow(self.times[number], self.inputs[number], self.outputs[number], *others)

    @property
    def arriving(self) -> int:
        """How many of them stand alone or open a conversation."""
        return len(self.firsts) or len(self)

    def first(self, number: int) -> int:
        """The row that arrives as ``number``, from 0, and from the beginning again behind the last."""
        place = number % self.arriving
        return self.firsts[place] if self.firsts else place

    @property
    def seconds(self) -> float:
        """The time from the first to the last."""
        return self.times[-1]

    def arrivals(self, speed: float) -> Iterator[float]:
        """The starts, in seconds from the first, ``speed`` times as fast as they were."""
        return (self.times[self.first(number)] / speed for number in range(self.arriving))

    def described(self, speed: float) -> str:
        """What was found, for whoever starts the load."""
        seconds = self.seconds / speed
        rate = f", {_short(self.arriving / seconds)} a second" if seconds else ", all at once"
        fast = f" at speed {speed:g}" if speed != 1 else ""
        skipped = "".join(f"; {_rows(count)} left out: {why}" for why, count in self.left_out.items())
        talks = f" of {_count(self.arriving, 'conversation')}" if self.behind else ""
        found = f"{_count(len(self), 'request')}{talks} in {_span(seconds)}"
        return f"{self.name}: {self.form} form (times in {self.unit}), {found}{rate}{fast}{skipped}"


def _short(value: float) -> str:
    return f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _rows(number: int) -> str:
    return _count(number, "row")


def _span(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


# The forms

TraceLine: TypeAlias = tuple[int, Mapping[str, Any]]
"""The number of a line, and its cells by their columns."""


def _date(text: str) -> float:
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Wrong(describe(text), "this must be a date such as 2023-11-16 18:15:46.6805900") from None
    # A date without a zone is not that of this machine: only differences count, and no clock is ever changed between.
    return (when.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()


def _seconds(text: Any) -> float:
    try:
        if not isinstance(text, bool) and 0 <= (value := float(text)) < 1e15:
            return value
    except (TypeError, ValueError, OverflowError):
        pass
    raise Wrong(describe(text), "this must be a number, 0 or more")


def _milliseconds(value: Any) -> float:
    return _seconds(value) / 1000


DIGITS: Final = 20  # of a number; the interpreter refuses some thousands


def _tokens(text: Any) -> int:
    digits = text.strip() if isinstance(text, str) else ""
    value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= DIGITS else text
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    raise Wrong(describe(text), "this must be a whole number, 0 or more")


def _of_json(value: Any) -> int:
    if isinstance(value, str):
        raise Wrong(describe(value), "this must be a whole number, 0 or more")
    return _tokens(value)


def _blocks(value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return tuple(value)
    raise Wrong(describe(value), "this must be a list of whole numbers")


@attrs.frozen
class TraceForm:
    """Where one publisher's rows have what. ``optional`` are columns with the value of one that is not there."""

    name: str
    unit: str
    time: str
    when: Callable[[Any], float]
    input: str
    output: str
    tokens: Callable[[Any], int] = _tokens
    session: str = ""
    elapsed: str = ""
    blocks: str = ""

    @property
    def needed(self) -> tuple[str, ...]:
        return self.time, self.input, self.output

    def row(self, given: Mapping[str, Any]) -> TraceRow:
        """Raises ``_WrongColumn``."""
        at = _column(given, self.time, self.when)
        asked, answered = (_column(given, name, self.tokens) for name in (self.input, self.output))
        session = str(given.get(self.session) or "").strip()
        elapsed = _column(given, self.elapsed, _seconds) if given.get(self.elapsed) else 0.0
        blocks = _column(given, self.blocks, _blocks) if self.blocks in given else ()
        return TraceRow(at, asked, answered, session, elapsed, blocks)


AZURE: Final = TraceForm("Azure's", "dates", "TIMESTAMP", _date, "ContextTokens", "GeneratedTokens")
BURSTGPT: Final = TraceForm(
    "BurstGPT's",
    "seconds",
    "Timestamp",
    _seconds,
    "Request tokens",
    "Response tokens",
    session="Session ID",
    elapsed="Elapsed time",
)
MOONCAKE: Final = TraceForm(
    "Mooncake's",
    "milliseconds",
    "timestamp",
    _milliseconds,
    "input_length",
    "output_length",
    _of_json,
    blocks="hash_ids",
)


class _WrongColumn(Exception):
    """A column whose value cannot be used."""

    def __init__(self, name: str, wrong: Wrong) -> None:
        self.found, self.expected = f"{name}: {wrong.found}", wrong.expected


def _column(given: Mapping[str, Any], name: str, read: Callable[[Any], Any]) -> Any:
    if name not in given:
        raise _WrongColumn(name, Wrong("missing", "this is required"))
    try:
        return read(given[name])
    except Wrong as wrong:
        raise _WrongColumn(name, wrong) from None


# Reading


def load_trace(path: Path) -> LoadTrace:
    """The trace in the file ``path``, which is read once as long as it is the same. Raises ``ConfigError``."""
    try:
        stamp = path.stat()
    except OSError:
        return read_trace(path)
    return _kept(path, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=2)
def _kept(path: Path, _changed: int, _size: int) -> LoadTrace:
    return read_trace(path)


def read_trace(path: Path) -> LoadTrace:
    """The trace in the file ``path``. Raises ``ConfigError`` with the lines that cannot be read."""
    mistakes = LineMistakes(path)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return _read(file, path.name, mistakes)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise mistakes.only(f"cannot be read: {reason}", "give a readable file") from None


def _read(file: Iterable[str], name: str, mistakes: LineMistakes) -> LoadTrace:
    lines = iter(file)
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise mistakes.only("nothing in it", "give a trace of Azure's, BurstGPT's or Mooncake's form")
    if first.lstrip().startswith(("{", "[")):
        return _trace(name, MOONCAKE, _objects(itertools.chain([first], lines), mistakes), mistakes)
    columns = [column.strip() for column in next(csv.reader([first]))]
    form = next((form for form in (AZURE, BURSTGPT) if {*form.needed} <= {*columns}), None)
    if form is None:
        found = f"no trace: the columns are {', '.join(columns)}"[:200]
        forms = " or ".join(", ".join(form.needed) for form in (AZURE, BURSTGPT))
        mistakes.add(1, found, f"give one with {forms}, or JSONL with {', '.join(MOONCAKE.needed)}")
        mistakes.check()
        raise AssertionError
    return _trace(name, form, _records(columns, lines, mistakes), mistakes)


def _records(columns: Sequence[str], lines: Iterable[str], mistakes: LineMistakes) -> Iterator[TraceLine]:
    for number, cells in enumerate(csv.reader(lines), 2):
        if len(cells) == len(columns):
            yield number, dict(zip(columns, cells, strict=True))
        elif cells:
            mistakes.add(number, _count(len(cells), "column"), f"this must have {len(columns)}")


def _objects(lines: Iterable[str], mistakes: LineMistakes) -> Iterator[TraceLine]:
    decoder = msgspec.json.Decoder()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = decoder.decode(line)
        except NOT_JSON:
            value = None
        if isinstance(value, dict):
            yield number, value
        else:
            mistakes.add(number, "this is no JSON object", "give one a line")


def _trace(name: str, form: TraceForm, given: Iterable[TraceLine], mistakes: LineMistakes) -> LoadTrace:
    times, inputs, outputs = array("d"), array("l"), array("l")
    others: list[tuple[str, float, tuple[int, ...]]] = []
    left_out: Counter[str] = Counter()
    for number, cells in given:
        try:
            row = form.row(cells)
        except _WrongColumn as wrong:
            mistakes.add(number, wrong.found, wrong.expected)
            continue
        if reason := _unusable(row):
            left_out[reason] += 1
            continue
        times.append(row.at)
        inputs.append(row.input)
        outputs.append(row.output)
        if form.blocks or form.session in cells:
            others.append((row.session, row.elapsed, row.blocks))
    mistakes.check()
    if not times:
        raise mistakes.only("no row that can be sent", "give a trace with tokens in and out")
    return _ordered(LoadTrace(name, form.name, form.unit, times, inputs, outputs, others, left_out))


def _unusable(row: TraceRow) -> str:
    """The reason why nothing can be sent for it, "" if it can."""
    if not row.output:
        return "0 tokens of an answer (a failure)"
    return "" if row.input else "0 tokens of a prompt"


def _ordered(trace: LoadTrace) -> LoadTrace:
    """By time, from 0."""
    order: Sequence[int] = range(len(trace))
    if any(after < before for before, after in itertools.pairwise(trace.times)):
        order = sorted(order, key=trace.times.__getitem__)
    begin = trace.times[order[0]]
    ordered = attrs.evolve(
        trace,
        times=array("d", (trace.times[i] - begin for i in order)),
        inputs=array("l", (trace.inputs[i] for i in order)),
        outputs=array("l", (trace.outputs[i] for i in order)),
        others=[trace.others[i] for i in order] if trace.others else (),
    )
    return _grouped(ordered)


def _grouped(trace: LoadTrace) -> LoadTrace:
    """With its conversations, if there are any."""
    opened: dict[str, int] = {}
    behind: dict[int, list[int]] = {}
    firsts = array("l")
    for number, (session, *_) in enumerate(trace.others):
        first = opened.setdefault(session, number) if session else number
        if first == number:
            firsts.append(number)
        else:
            behind.setdefault(first, []).append(number)
    return attrs.evolve(trace, firsts=firsts, behind=behind) if behind else trace
