"""The grammars of the APIs, executable: is this stream, or this whole answer, well formed?

They share no code with the codecs, so that a mistake there cannot excuse itself here. Each API is one module of tables
(``chat``, ``messages``, ``responses`` with ``responses_fields``, ``converse``, ``gemini``); ``rules``, ``shapes``,
``frames`` and ``event_frames`` are what tables are made of: ``FRAMES`` (how events lie in bytes), ``RULES`` (every rule
with its id, its sentence and where it comes from), ``STATES`` (which event may come where, the state machine to print)
and the shapes of its events. What binds is what the gateway writes and what clients need; ``tolerant`` waives the rules
that real providers' own streams are known to break, each named in its row.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from providers.grammar import chat, converse, gemini, messages, responses
from providers.grammar.event_frames import begins_frame
from providers.grammar.frames import DONE, SSE_FRAMES
from providers.grammar.rules import Finding, Grammar, Outcome, Rule, Verdict, Violation
from providers.grammar.shapes import members, parsed, strings
from streams.events import Api

__all__ = ["GRAMMARS", "Judge", "Outcome", "Rule", "Verdict", "Violation", "detect", "judge", "rules"]

GRAMMARS: Mapping[Api, Grammar] = {
    "chat": chat,
    "messages": messages,
    "responses": responses,
    "converse": converse,
    "gemini": gemini,
}

_SNIFFED = 16  # events with data that are looked at for the API


def rules(api: Api) -> Mapping[str, Rule]:
    """Return all rules of ``api`` by id."""
    return GRAMMARS[api].RULES


def judge(
    api: Api,
    body: bytes,
    *,
    streamed: bool | None = None,
    tolerant: bool = False,
    include_usage: bool | None = None,
) -> Verdict:
    """Hold a captured stream, whole answer or error body against the grammar of ``api``. Never raises, whatever bytes.

    ``streamed`` says which of both it is (``None``: a body that begins with a brace is whole). ``include_usage`` is
    whether a Chat client asked for the usage chunk (``None``: not known, both are well formed)."""
    if streamed is None:
        streamed = not is_whole(body)
    if not streamed:
        return _judge_whole(api, body, tolerant)
    found = Judge(api, tolerant=tolerant, include_usage=include_usage)
    for raw in GRAMMARS[api].FRAMES.split(body):
        found.feed(raw)
    return found.close()


class Judge:
    """Holds a live stream against its grammar, event by event. Not for two tasks at a time; no I/O.

    It remembers the texts of a Responses stream and the tools' inputs of all, so memory is linear in the answer."""

    def __init__(self, api: Api, *, tolerant: bool = False, include_usage: bool | None = None) -> None:
        self._api = api
        self._grammar = GRAMMARS[api]
        self._stream = self._grammar.stream(include_usage)
        self._tolerant = tolerant
        self._outcome: Outcome = "cut"
        self._events = 0
        self._offset = 0
        self._broken: Violation | None = None
        self._waived: dict[str, None] = {}

    def feed(self, raw: bytes) -> Violation | None:
        """One raw event, whole (what the splitter of the API's framing gives). Returns the broken rule if this event is
        the first to break one; later events are only counted. Never raises."""
        self._events += 1
        offset, self._offset = self._offset, self._offset + len(raw)
        event = self._grammar.FRAMES.read(raw)
        if event.value is not None and self._outcome != "failed":
            self._outcome = self._grammar.outcome(event.value) or self._outcome
        if self._broken is not None:
            return None
        self._first(event.findings, offset)
        if self._broken is None and event.value is not None:
            self._first(self._stream.take(event.name, event.value), offset)
        return self._broken

    def close(self) -> Verdict:
        """End the stream and return the verdict on it."""
        if self._broken is None:
            self._first(self._stream.close(), self._offset)
        waived = tuple(self._waived)
        return Verdict(self._api, True, self._outcome, self._events, self._broken, waived)

    def _first(self, findings: Iterable[Finding], offset: int) -> None:
        self._broken = _first(self._api, findings, self._tolerant, self._waived, self._events, offset)


def _first(
    api: Api, findings: Iterable[Finding], tolerant: bool, waived: dict[str, None], event: int = 0, offset: int = 0
) -> Violation | None:
    """Return the first finding that counts; those before it that do not are noted in ``waived``."""
    known = rules(api)
    try:
        for id, found in findings:
            rule = known.get(id)
            if rule is None:  # frame.id on Messages, whose clients do not mind
                continue
            if not (tolerant and rule.waived):
                return Violation(id, event, offset, found, rule.text, rule.source)
            waived[id] = None
    except RecursionError:
        rule = known["frame.json" if event else f"{api}.whole.json"]
        return Violation(rule.id, event, offset, "JSON that is nested too deep to look at", rule.text, rule.source)
    return None


def _judge_whole(api: Api, body: bytes, tolerant: bool) -> Verdict:
    grammar = GRAMMARS[api]
    waived: dict[str, None] = {}
    try:
        value = parsed(body)
    except ValueError as error:
        broken = _first(api, [(f"{api}.whole.json", str(error))], tolerant, waived)
        return Verdict(api, False, "cut", 0, broken)
    broken = _first(api, grammar.whole(value), tolerant, waived)
    said = members(value)
    failed = bool(said.get("error")) or said.get("status") == "failed" or grammar.outcome(value) == "failed"
    return Verdict(api, False, "failed" if failed else "complete", 0, broken, tuple(waived))


def is_whole(body: bytes) -> bool:
    """Return whether ``body`` is a JSON answer and no stream, by its first character."""
    return body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def detect(body: bytes) -> Api | None:
    """Return the API that ``body`` speaks, from its first events or its members; ``None`` if they do not say. An error
    body of OpenAI's is the same in both of its APIs, and is taken for Chat's."""
    if is_whole(body):
        try:
            value = parsed(body)
            return _spoken(value[0] if isinstance(value, list) and value else value)
        except ValueError:
            return None
    if begins_frame(body):
        return "converse"
    values = (value for raw in SSE_FRAMES.split(body) if (value := SSE_FRAMES.read(raw).value) is not None)
    return next((api for value in islice(values, _SNIFFED) if (api := _spoken(value)) is not None), None)


def _spoken(value: Any) -> Api | None:
    value = {"object": "chat.completion"} if value == DONE else members(value)
    kind, object = strings(value.get("type")), strings(value.get("object"))
    if object == "response" or kind.startswith("response.") or (kind == "error" and "sequence_number" in value):
        return "responses"
    if kind in messages.EVENTS or kind == "message":
        return "messages"
    if "stopReason" in value and "output" in value:
        return "converse"
    if gemini.is_spoken(value):
        return "gemini"
    if object.startswith("chat.completion") or "choices" in value or "error" in value:
        return "chat"
    return None
