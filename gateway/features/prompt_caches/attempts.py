"""Notes on attempts for explanations of what providers' prompt caches missed.

The code that reads prompts is imported with the first request that is long enough to matter. It runs after the request
was sent, and an error in it fails no request."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import structs

from configfile.keys import value_of
from gateway.config.model_entry import ModelEntry
from gateway.exchange.planned import Form
from gateway.exchange.target_request import TargetRequest
from gateway.features.prompt_caches.feature import PromptCacheSettings
from gateway.features.prompt_caches.interface import NOTE, JudgedAttempt
from gateway.features.prompt_caches.values import fields_of, header_of
from gateway.http.headers import Headers
from gateway.http.late_imports import import_all
from gateway.http.offload import offload
from gateway.ledger.record import Record
from gateway.named_imports import import_named
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observers import join_observers, observers_of
from gateway.shared.memory import SharedMemory

if TYPE_CHECKING:
    from gateway.features.prompt_caches.requests import ReadPrompts, SentRequest, UnreadRequest
    from gateway.features.prompt_caches.texts import LatestTexts, ShownTexts
    from gateway.features.prompt_caches.tracker import FollowedAttempt, FollowedExchange, PromptTracker
    from gateway.ledger.bill import AttemptRecord
    from providers.catalog.prices import Price
    from streams.events import Usage

LEAST_BODY: Final = 2_000
"""Bytes below which a request cannot miss 2,000 tokens, the least miss with a cause."""

HEADER: Final = "x-trigate-prompt-cache"
_MOVES: Final = frozenset({"out", "busy", "absent"})
"""Results of balancing that explain why a conversation went to another target than before."""

_CONTINUING: Final = frozenset(("previous_response_id", "previous_interaction_id"))
"""Members by which the provider adds earlier turns."""

_NOTED: Final = _CONTINUING | {"diagnostics", "prompt_cache_options"}
"""Members that make a short request matter: its prompt may be long, or the client requests a diagnosis."""


_CODE: Final = ("gateway.features.prompt_caches.tracker", "gateway.features.prompt_caches.sent_prompts")

log = logging.getLogger("trigate.prompt_cache")


class LatePrompts:
    """The tracker of all prompts in ``size`` bytes. Its code is imported when it is first needed.

    ``memory`` is that of the workers, ``None`` in a single process."""

    def __init__(self, size: int, memory: SharedMemory | None = None) -> None:
        self._size, self._memory = size, memory
        self._tracker: PromptTracker | None = None
        self._opening = trio.Lock()  # it serves tasks in the order of their arrival

    @property
    def opened_tracker(self) -> "PromptTracker | None":
        """The tracker, ``None`` until it is open and no request waits for it."""
        return None if self._opening.locked() else self._tracker

    async def tracker(self) -> "PromptTracker":
        """Return the tracker.

        Requests that wait for that continue in order: the first turn of a conversation precedes its second one."""
        if self._tracker is None or self._opening.locked():
            async with self._opening:
                await import_all(_CODE)
                module = sys.modules[_CODE[0]]
                self._tracker = self._tracker or module.open_tracker(self._size, self._memory)
        return self._tracker


class PromptCaching:
    """The explanations of misses of prompt caches in one process, for configurations with the same settings.

    ``prompts`` are those of the settings ``before`` if the memory has the same size. ``texts`` are those of
    conversations, ``None`` if the operator does not enable them."""

    def __init__(
        self, settings: PromptCacheSettings, memory: SharedMemory | None = None, before: "PromptCaching | None" = None
    ) -> None:
        self.settings = settings
        same = before if before is not None and before.settings.memory == settings.memory else None
        self.prompts: LatePrompts = LatePrompts(settings.memory, memory) if same is None else same.prompts
        self.texts: LatestTexts | None = None
        if settings.texts:
            self.texts = import_named("gateway.features.prompt_caches.texts:LatestTexts")(settings.texts)
        self._has_failed = False

    def close(self) -> None:
        """Delete the texts of prompts, because the configuration has changed."""
        if self.texts is not None:
            self.texts.close()

    def note_error(self) -> None:
        """Log an error of this code, with its traceback, the first time."""
        if not self._has_failed:
            self._has_failed = True
            log.exception("the explanation of a prompt cache failed; the request is not affected")


def is_diagnosed(entry: ModelEntry) -> bool:
    """Return whether the provider of an entry is to diagnose misses, by a key of another feature."""
    changes = value_of(entry, "prompt_cache")
    return changes is not None and changes.diagnose


def note_attempt(caching: PromptCaching, target_request: TargetRequest, nursery: trio.Nursery) -> "NotedAttempt | None":
    """Return the notes on an attempt that is about to be sent, ``None`` if its prompt is too short to matter.

    The prompt is read right after the request was sent, by a task in ``nursery`` if much of it is new."""
    request = target_request.request
    if len(target_request.prepared.outgoing.body) < LEAST_BODY and _NOTED.isdisjoint(request.incoming.members):
        return None
    if request.suffix is not None or request.form is not Form.TRANSLATED:
        return None
    exchange = noted_exchange(caching, target_request.context.record)
    attempt = NotedAttempt(exchange, target_request, nursery)
    exchange.attempts.append(attempt)
    return attempt


def noted_exchange(caching: PromptCaching, record: Record) -> "NotedExchange":
    """Return the notes on the exchange of ``record``, which from now on observe it."""
    if (exchange := observers_of(record).find(NotedExchange)) is None:
        exchange = NotedExchange(caching)
        join_observers(record, exchange)
    return exchange


class NotedExchange(ExchangeObserver):
    """The attempts of one exchange with prompts that matter. It settles them when the exchange is settled.

    ``read`` are its prompts that were read for the choice of a target, until a response begins."""

    def __init__(self, caching: PromptCaching) -> None:
        self.caching = caching
        self.read: Sequence[ReadPrompts] = ()
        self.attempts: list[NotedAttempt] = []
        self.followed: FollowedExchange | None = None
        self.texts = None if caching.texts is None else caching.texts.of_exchange()

    def viewer_texts(self) -> "ShownTexts | None":
        return None if self.texts is None else self.texts.shown

    def open_request(self, tracker: "PromptTracker", target_request: TargetRequest, sent_at: float) -> "UnreadRequest":
        """Return the request of an attempt, with the parts of its prompt that were read before."""
        from gateway.features.prompt_caches.sent_prompts import sent_request

        wanted = is_diagnosed(target_request.target.entry)
        return tracker.reader.open(*sent_request(target_request, sent_at, is_diagnosed=wanted))

    def find_read(self, unread: "UnreadRequest") -> "ReadPrompts | None":
        """Return the prompts of a request that was read to choose its target."""
        return next((one for one in self.read if one.belongs_to(unread.sent)), None)

    def open_followed(
        self, tracker: "PromptTracker", sent: "SentRequest", prompts: "ReadPrompts"
    ) -> "FollowedExchange":
        """Return the exchange that the tracker follows, which has the same parent for all attempts."""
        if self.followed is None:
            self.followed = tracker.open_exchange(sent, tracker.parents.find(sent, prompts))
        return self.followed

    def headers(self, record: Record, *, is_whole: bool) -> Headers:
        """Return the verdict of a whole response, the prediction of a stream."""
        attempt = next((one for one in reversed(self.attempts) if one.record and one.record.committed), None)
        if attempt is None or record.error is not None or (followed := attempt.followed) is None:
            return ()
        tracker = followed.exchange.tracker
        try:
            _note_move(followed, record)
            found = tracker.judge(followed, record.bill.usage) if is_whole else tracker.predict(followed)
            text = header_of(found)
        except Exception:  # the boundary: an error in an explanation must not fail the request
            self.caching.note_error()
            return ()
        return () if text is None else ((HEADER, text),)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """Add the verdicts to the records of the attempts. Return the fields of the response that the client received,
        or of the last one."""
        try:
            self._settle(record)
        except Exception:  # the boundary, as above
            self.caching.note_error()
        if self.followed is not None:
            self.followed.writer = None  # frees both without a garbage collection
        self.attempts, self.followed, self.read = [], None, ()
        judged = [one for one in record.bill.attempt_records if NOTE in one.notes]
        if not judged:
            return {}
        note: JudgedAttempt = next((one for one in judged if one.committed), judged[-1]).notes[NOTE]
        return fields_of(note.verdict, note.loss)

    def _settle(self, record: Record) -> None:
        for attempt in self.attempts:
            known = attempt.record
            if known is None or attempt.head is None:
                continue
            usage = record.bill.usage if known.committed else known.usage
            start = record.answer_start if known.committed else None
            attempt.end = usage, known.price, None if start is None else start.id
            if (followed := attempt.followed) is not None:
                if known.committed:
                    _note_move(followed, record)
                known.add_note(NOTE, JudgedAttempt(*followed.exchange.tracker.settle(followed, *attempt.end)))
        if self.followed is not None and all(one.head is None for one in self.attempts):
            self.followed.tracker.forget(self.followed)


def _note_move(followed: "FollowedAttempt", record: Record) -> None:
    """Note why the conversation went to another target than before, if only the balancer knows the reason."""
    if not followed.situation.move and record.landing in _MOVES:
        followed.situation = structs.replace(followed.situation, move=record.landing)
        followed.verdict = None


class NotedAttempt:
    """An attempt with a prompt that matters.

    ``head`` is when its successful response began, ``record`` its record so far. ``followed`` is set once its prompt
    was read. ``end`` is set once its exchange was settled: the usage, the price, and the id of the response that the
    client has. Either may be first: a response may end while its prompt is read."""

    def __init__(self, exchange: NotedExchange, target_request: TargetRequest, nursery: trio.Nursery) -> None:
        self.exchange = exchange
        self.head: float | None = None
        self.record: AttemptRecord | None = None
        self.followed: FollowedAttempt | None = None
        self.end: tuple[Usage | None, Price | None, str | None] | None = None
        self._nursery = nursery
        self._is_whole = not target_request.request.incoming.stream
        self._unread: TargetRequest | None = target_request

    def note_record(self, record: "AttemptRecord") -> None:
        self.record = record

    def note_written(self) -> None:
        """Read the prompt, because the request was sent: immediately if little of it is new, otherwise in a task."""
        if (request := self._unread) is None:
            return
        self._unread, unread = None, None
        sent_at, exchange = time.monotonic(), self.exchange
        if exchange.texts is None and (tracker := exchange.caching.prompts.opened_tracker) is not None:
            try:
                unread = exchange.open_request(tracker, request, sent_at)
                if (known := exchange.find_read(unread)) is not None or unread.is_short:
                    if (prompts := known or tracker.reader.read(unread)) is not None:
                        followed = exchange.open_followed(tracker, unread.sent, prompts)
                        prompts = tracker.reader.complete_prompts(prompts, followed.parent)
                        self._note_followed(tracker.follow(unread.sent, prompts, followed))
                    return
            except RecursionError:  # a task has more of the stack for deep nesting
                unread = None
            except Exception:  # the boundary, as above
                exchange.caching.note_error()
                return
        own = trio.lowlevel.current_task().parent_nursery
        try:
            self._nursery.start_soon(self._follow, request, sent_at, unread)
        except RuntimeError:  # a turn in the background, which outlives its request
            if own is not None:
                own.start_soon(self._follow, request, sent_at, unread)

    async def note_head(self) -> None:
        """Note that a successful response begins. If that was fast, let the task begin that reads the prompt."""
        self.head = time.monotonic()
        if self.followed is not None:
            self._note_head(self.followed, self.head)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _follow(self, request: TargetRequest, sent_at: float, unread: "UnreadRequest | None") -> None:
        exchange = self.exchange
        with trio.CancelScope(shield=True):  # its work is bounded, and the next request needs it
            try:
                tracker = await exchange.caching.prompts.tracker()
                unread = unread or exchange.open_request(tracker, request, sent_at)
                prompts = exchange.find_read(unread) or await tracker.reader.read_in_thread(unread)
                if prompts is None:
                    return
                followed = exchange.open_followed(tracker, unread.sent, prompts)
                prompts = await offload(unread.size, tracker.reader.complete_prompts, prompts, followed.parent)
                attempt, compare = tracker.follow(unread.sent, prompts, followed), None
                if exchange.texts is not None:
                    compare = exchange.texts.note(attempt, request)
                self._note_followed(attempt)
                if compare is not None:
                    await compare()
            except Exception:  # the boundary, as above
                exchange.caching.note_error()

    def _note_followed(self, followed: "FollowedAttempt") -> None:
        """Note that the prompt was read, perhaps after the response began or ended."""
        self.followed = followed
        if self.head is not None:
            self._note_head(followed, self.head)
            if self.end is not None:
                followed.exchange.tracker.settle(followed, *self.end)

    def _note_head(self, followed: "FollowedAttempt", at: float) -> None:
        self.exchange.read = ()  # no attempt follows
        if self.exchange.texts is not None:
            self.exchange.texts.keep()
        try:
            followed.exchange.tracker.note_head(followed, at, is_whole=self._is_whole)
        except Exception:  # the boundary, as above
            self.exchange.caching.note_error()
