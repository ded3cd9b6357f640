"""Calls a step: within its deadline and its slots, with pauses after failures, and with a check of its findings."""

import inspect
import logging
import sys
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import attrs
import trio

from gateway.features.steps.joined_texts import JoinedPassage
from gateway.features.steps.json_texts import without_surrogates
from gateway.features.steps.loaded import LoadedStep, is_async
from gateway.features.steps.resources import error_place
from gateway.http.offload import LARGE, SWITCH, offload
from gateway.http.threads import call_in_thread
from gateway.shared.owned_entries import OwnedEntries
from trigate.steps import Check, Finding, Passage

REMEMBERED: Final = 65536


CLEAN_TEXTS: Final[OwnedEntries[str, bytes, bool]] = OwnedEntries(REMEMBERED)
"""The digests of the texts that were clean most recently, of all steps together, by client."""


def digests_of(step: str, passages: Sequence[Passage]) -> list[bytes]:
    return [_digest(step, passage) for passage in passages]


def _digest(step: str, passage: Passage) -> bytes:
    seams = passage.seams if isinstance(passage, JoinedPassage) else ""
    words = f"{step}\0{passage.part}\0{passage.tool or ''}\0{passage.sha256 or ''}\0{seams}\0"
    return blake2b((words + passage.text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


log = logging.getLogger("trigate.steps")

T = TypeVar("T")

StepFailure: TypeAlias = Literal[
    "deadline", "error", "malformed", "paused", "closed", "too_long", "too_many", "unreadable"
]
"""The reason why content is unchecked. ``paused``: after failures in a row. ``closed``: its resources are."""

BLOCKED: Final = 0.05
"""Seconds of one turn of the event loop from which on a step is reported."""

SMALL_TEXTS: Final = 16 * 1024
"""Characters up to which a fast step runs directly: a scan takes at most some milliseconds."""

WORK_OF_FINDING: Final = 128
"""Bytes of JSON that take as long as one passage or finding, or its edit."""

TURN: Final = 2048
"""Passages of one turn of the event loop, which take some milliseconds."""

QUIET: Final = 60.0
"""Seconds between two log lines about the same fault of a step."""

MOST_FINDINGS: Final = 20_000
"""The most findings of one call. Each takes about 10 microseconds to find, and the same again to mask."""

ACTIONS: Final = (None, "mask", "refuse", "report")


class StepFailed(Exception):
    """The error for content that ``step`` could not check. ``detail`` is for the log, and has no client's text."""

    def __init__(self, step: LoadedStep, reason: StepFailure, detail: str = "", retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.step = step
        self.reason: StepFailure = reason
        self.detail = detail
        self.retry_after = retry_after


class UncheckedText(Exception):
    """The error of a built-in kind that could not check its texts, or has too many findings. ``detail`` is for the log,
    and has no client's text."""

    def __init__(self, reason: StepFailure, detail: str) -> None:
        super().__init__(detail)
        self.reason: StepFailure = reason
        self.detail = detail


def list_limited(values: Iterable[T]) -> list[T]:
    """Return the values that a built-in kind finds. Raises ``UncheckedText`` for more than ``MOST_FINDINGS``."""
    found = list(islice(values, MOST_FINDINGS + 1))
    if len(found) > MOST_FINDINGS:
        raise UncheckedText("too_many", "")
    return found


async def run_step(step: LoadedStep, check: Check) -> list[Finding]:
    """Return the findings of ``step``. Raises ``StepFailed``, and nothing else but cancellations.

    Passages that were clean before are left out of the call, if the step is the same for the same text."""
    digests: dict[int, bytes] = {}
    if step.remembers and check.at in ("request", "during"):
        digests = await _unknown_digests(step, check)
        if len(digests) < len(check.passages):
            if not digests:
                return []
            check = attrs.evolve(check, passages=tuple(check.passages[i] for i in digests))
    findings = await _call_guarded(step, check)
    if digests:
        found = {id(one.passage) for one in findings}

        async for part in in_turns(list(zip(check.passages, digests.values(), strict=True)), TURN):
            for passage, digest in part:
                if id(passage) not in found:
                    CLEAN_TEXTS.put(check.client or "", digest, True)
    return findings


async def _unknown_digests(step: LoadedStep, check: Check) -> dict[int, bytes]:
    """Return the digests of the passages that ``step`` did not find clean before, by their index."""
    digests = await offload(work_on(check.passages), digests_of, str(step.state.number), check.passages)
    unknown: dict[int, bytes] = {}
    owner = check.client or ""
    async for part in in_turns(list(enumerate(digests)), TURN):
        for index, digest in part:
            if CLEAN_TEXTS.get(owner, digest):
                CLEAN_TEXTS.put(owner, digest, True)  # which makes it recent
            else:
                unknown[index] = digest
    return unknown


async def in_turns(values: Sequence[T], most: int) -> AsyncIterator[Sequence[T]]:
    """Yield ``values``, at most ``most`` in each turn of the event loop. A request or response may have many thousand
    values."""
    for start in range(0, len(values), most):
        if start:
            await trio.lowlevel.checkpoint()
        yield values[start : start + most]


def work_on(passages: Sequence[Passage]) -> int:
    """Return the characters of one text whose search takes as long as that of ``passages``, or more than ``LARGE``."""
    work = WORK_OF_FINDING * len(passages)
    return work if work > LARGE else work + sum([len(one.text) for one in passages])


def call_inline(step: LoadedStep, check: Check) -> Sequence[Finding]:
    """Return the findings of a fast pure function in little text, without deadline and slot. Raises ``StepFailed``."""
    try:
        return step.function(check)  # type: ignore[no-any-return]
    except UncheckedText as error:
        raise StepFailed(step, error.reason, error.detail) from None
    except Exception as error:
        failure = StepFailed(step, "error", f"it raised {error_place(error)}")
        log_limited(step, failure.reason, logging.ERROR, "the step %s failed: %s", failure.detail)
        raise failure from None


async def _call_guarded(step: LoadedStep, check: Check) -> list[Finding]:
    """Return the findings of a call, and record its success or failure."""
    breaker = step.state.breaker
    if not breaker.claim_call(check.client):
        raise StepFailed(step, "paused", retry_after=breaker.retry_after(check.client))
    try:
        findings = await call_within_deadline(step, partial(_checked_call, step, check))
    except StepFailed as failure:
        if failure.reason == "too_many":
            breaker.record_success(check.client)
            raise
        breaker.record_failure(check.client)
        log_limited(step, failure.reason, logging.ERROR, "the step %s failed: %s", failure.detail or failure.reason)
        raise
    except BaseException:
        breaker.forget_call(check.client)
        raise
    breaker.record_success(check.client)
    return findings


async def _checked_call(step: LoadedStep, check: Check) -> list[Finding]:
    if step.is_inline:
        found = await offload(work_on(check.passages), step.function, check)
        await trio.lowlevel.checkpoint_if_cancelled()  # a thread ends later than its deadline
    else:
        found = await call_function(step, check.client, check)
    size = WORK_OF_FINDING * (len(found) + len(check.passages)) if found and isinstance(found, list) else 0
    return await offload(size, validate_findings, step, check.passages, found)


async def call_within_deadline(step: LoadedStep, call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of ``call()``, a call of ``step``. Raises ``StepFailed`` if it fails or takes too long."""
    with trio.move_on_after(step.settings.deadline) as scope:
        try:
            return await call()
        except (trio.Cancelled, StepFailed):
            raise
        except UncheckedText as error:
            raise StepFailed(step, error.reason, error.detail) from None
        except BaseExceptionGroup as group:
            if group.split(trio.Cancelled)[1] is None:
                raise
            raise StepFailed(step, "error", f"it raised {error_place(group)}") from None
        except BaseException as error:
            raise StepFailed(step, "error", f"it raised {error_place(error)}") from None
    assert scope.cancelled_caught
    raise StepFailed(step, "deadline", f"no result within {step.settings.deadline:g} s")


async def call_function(step: LoadedStep, client: str | None, argument: Any) -> Any:
    """Return the result of the step's function, in a slot of ``client``."""
    resource = step.state.resource
    if resource is not None and not resource.settled.is_set():
        await resource.settled.wait()
    function = step.callable
    if function is None:
        raise StepFailed(step, "closed", "its resources are closed")
    slots = step.state.slots.of_client(client)
    if is_async(function):
        async with slots:
            return await await_timed(step, function(argument))
    sys.setswitchinterval(SWITCH)  # a plain function may compute: the streams get the interpreter soon
    # An abandoned thread keeps its slot until it ends. trio calls two methods of a limiter, which ``slots`` has.
    limiter = cast("trio.CapacityLimiter", slots)
    result = await call_in_thread(partial(function, argument), limiter=limiter, abandon_on_cancel=True)
    return await await_timed(step, result) if inspect.isawaitable(result) else result


async def await_timed(step: LoadedStep, awaitable: Awaitable[T]) -> T:
    """Return the result of ``awaitable``, and log by name an operator's own step that blocks the event loop. A busy
    machine delays the built-in kinds, too, about which the operator can do nothing."""
    if step.settings.kind_settings is not None:
        return await awaitable

    def report(seconds: float) -> None:
        text = "the step %s blocked every stream of this worker for %s: use a plain function, which runs in a thread"
        log_limited(step, "blocked", logging.WARNING, text, f"{seconds * 1000:.0f} ms")

    return await _run_turns(awaitable.__await__(), report)


@types.coroutine
def _run_turns(turns: Generator[Any, Any, T], report: Callable[[float], None]) -> Generator[Any, Any, T]:
    """Run the turns of a coroutine, and report those that take long."""
    resume: Callable[[], Any] = lambda: next(turns)  # noqa: E731
    while True:
        began = time.perf_counter()
        try:
            yielded = resume()
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            if (took := time.perf_counter() - began) > BLOCKED:
                report(took)
        try:
            sent = yield yielded
            resume = lambda: turns.send(sent)  # noqa: E731, B023
        except BaseException as error:  # noqa: ASYNC103  # the coroutine gets it
            thrown = error
            resume = lambda: turns.throw(thrown)  # noqa: E731, B023


def validate_findings(step: LoadedStep, passages: Sequence[Passage], result: Any) -> list[Finding]:
    """Return the findings in ``result``. Raises ``StepFailed`` if anything in it is malformed."""
    if isinstance(result, str | bytes) or not isinstance(result, Sequence):
        raise StepFailed(step, "malformed", f"it returned {type(result).__name__}, not a list of findings")
    if len(result) > MOST_FINDINGS:
        raise StepFailed(step, "too_many")
    known = {id(passage) for passage in passages} if result else set()
    for one in result:
        if (fault := _fault(one, known)) is not None:
            raise StepFailed(step, "malformed", fault)
    return list(result)


def _fault(one: Any, known: set[int]) -> str | None:
    """Return the fault of a finding, without its texts."""
    if not isinstance(one, Finding):
        return f"it returned a {type(one).__name__} among its findings"
    if id(one.passage) not in known:
        return "a finding has a passage that is not in the check"
    if not isinstance(one.label, str) or not one.label:
        return "a finding has no label"
    if without_surrogates(one.label) != one.label:
        return "a finding has a label with half of a surrogate pair"
    ends = (one.start, one.end)
    if any(isinstance(end, bool) or not isinstance(end, int) for end in ends):
        return "a finding has a span that is not a pair of whole numbers"
    if not 0 <= one.start <= one.end <= len(one.passage.text):
        return "a finding has a span outside its passage"
    if one.action not in ACTIONS:
        return "a finding has an action that does not exist"
    replacement: Any = one.replacement
    if replacement is not None and not isinstance(replacement, str):
        return "a finding has a replacement that is no text"
    if replacement is not None and without_surrogates(replacement) != replacement:
        return "a finding has a replacement with half of a surrogate pair"
    return None


def log_limited(step: LoadedStep, what: str, level: int, text: str, detail: str) -> None:
    """Log a fault of a step, at most once a minute for each kind of fault."""
    now = time.monotonic()
    if now - step.state.logged.get(what, -QUIET) >= QUIET:
        step.state.logged[what] = now
        log.log(level, text, step.name, detail)
