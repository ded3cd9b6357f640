"""Executable grammars of the APIs, which judge whether a stream or whole answer is well formed.

They share no code with the codecs, so that an error there cannot hide itself here. Each API is a module of tables
(``chat``, ``messages``, ``responses`` with ``responses_fields``, ``converse``, ``gemini``, ``interactions``), made of
``rules``, ``shapes``, ``frames`` and ``event_frames``. It has ``FRAMES`` (the framing), ``RULES`` (every rule with id,
sentence and source), ``STATES`` (the state machine of events) and the shapes of events. The rules cover what the
gateway writes and clients need; ``tolerant`` waives rules that real providers are known to break, each named in its
row.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from providers.grammar import chat, converse, gemini, interactions, messages, responses
from providers.grammar.frames import DONE, SSE_FRAMES
from providers.grammar.rules import Finding, Grammar, Outcome, Rule, Verdict, Violation
from providers.grammar.shapes import members, parse_json, string_or_empty
from streams.event_stream import begins_stream
from streams.events import Api

__all__ = ["GRAMMARS", "Judge", "Outcome", "Rule", "Verdict", "Violation", "detect", "judge", "rules"]

GRAMMARS: Mapping[Api, Grammar] = {
    "chat": chat,
    "messages": messages,
    "responses": responses,
    "converse": converse,
    "gemini": gemini,
    "interactions": interactions,
}

_MAX_EXAMINED = 16  # events with data that are examined to detect the API


def rules(api: Api) -> Mapping[str, Rule]:
    return GRAMMARS[api].RULES


def judge(
    api: Api,
    body: bytes,
    *,
    streamed: bool | None = None,
    tolerant: bool = False,
    include_usage: bool | None = None,
) -> Verdict:
    """Return the verdict on a captured stream, whole answer or error body of ``api``. Never raises.

    ``streamed`` is whether it is a stream (``None``: unless it starts with a brace or bracket). ``include_usage`` is
    whether a Chat client requested the usage chunk (``None``: unknown, both are well formed).
    """
    if streamed is None:
        streamed = not is_whole(body)
    if not streamed:
        return _judge_whole(api, body, tolerant)
    found = Judge(api, tolerant=tolerant, include_usage=include_usage)
    for raw in GRAMMARS[api].FRAMES.split(body):
        found.feed(raw)
    return found.close()


class Judge:
    """A judge of a live stream, event by event, without I/O. Not for concurrent use.

    Memory is linear in the answer, because it stores the texts of a Responses stream and all tool inputs.
    """

    def __init__(self, api: Api, *, tolerant: bool = False, include_usage: bool | None = None) -> None:
        self._api = api
        self._grammar = GRAMMARS[api]
        self._stream = self._grammar.STREAM()
        self._stream.include_usage = include_usage
        self._tolerant = tolerant
        self._outcome: Outcome = "cut"
        self._events = 0
        self._offset = 0
        self._violation: Violation | None = None
        self._waived: dict[str, None] = {}

    def feed(self, raw: bytes) -> Violation | None:
        """Judge one whole raw event, and return the violated rule if this event is the first to break one.

        Later events are only counted. Never raises.
        """
        self._events += 1
        offset, self._offset = self._offset, self._offset + len(raw)
        event = self._grammar.FRAMES.read(raw)
        if event.value is not None and self._outcome != "failed":
            self._outcome = self._grammar.outcome(event.value) or self._outcome
        if self._violation is not None:
            return None
        self._record_violation(event.findings, offset)
        if self._violation is None and event.value is not None:
            self._record_violation(self._stream.check_event(event.name, event.value), offset)
        return self._violation

    def close(self) -> Verdict:
        if self._violation is None:
            self._record_violation(self._stream.check_end(), self._offset)
        waived = tuple(self._waived)
        return Verdict(self._api, True, self._outcome, self._events, self._violation, waived)

    def _record_violation(self, findings: Iterable[Finding], offset: int) -> None:
        self._violation = _first_violation(self._api, findings, self._tolerant, self._waived, self._events, offset)


def _first_violation(
    api: Api, findings: Iterable[Finding], tolerant: bool, waived: dict[str, None], event: int = 0, offset: int = 0
) -> Violation | None:
    """Return the first finding that counts, and add waived ones before it to ``waived``."""
    known = rules(api)
    try:
        for id, found in findings:
            rule = known.get(id)
            if rule is None:  # frame.id in Messages, whose clients ignore it
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
        value = parse_json(body)
    except ValueError as error:
        broken = _first_violation(api, [(f"{api}.whole.json", str(error))], tolerant, waived)
        return Verdict(api, False, "cut", 0, broken)
    broken = _first_violation(api, grammar.whole(value), tolerant, waived)
    value_members = members(value)
    failed = (
        bool(value_members.get("error"))
        or value_members.get("status") == "failed"
        or grammar.outcome(value) == "failed"
    )
    return Verdict(api, False, "failed" if failed else "complete", 0, broken, tuple(waived))


def is_whole(body: bytes) -> bool:
    """Return whether ``body`` is a JSON answer rather than a stream, by its first character."""
    return body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def detect(body: bytes) -> Api | None:
    """Return the API of ``body``, from its first events or its members, or ``None``.

    Error bodies of Chat and Responses are identical and count as Chat.
    """
    if is_whole(body):
        try:
            value = parse_json(body)
            return _detect_value(value[0] if isinstance(value, list) and value else value)
        except ValueError:
            return None
    if begins_stream(body):
        return "converse"
    values = (value for raw in SSE_FRAMES.split(body) if (value := SSE_FRAMES.read(raw).value) is not None)
    return next((api for value in islice(values, _MAX_EXAMINED) if (api := _detect_value(value)) is not None), None)


def _detect_value(value: Any) -> Api | None:
    value = {"object": "chat.completion"} if value == DONE else members(value)
    kind, object = string_or_empty(value.get("type")), string_or_empty(value.get("object"))
    if object == "response" or kind.startswith("response.") or (kind == "error" and "sequence_number" in value):
        return "responses"
    if kind in messages.EVENTS or kind == "message":
        return "messages"
    if "stopReason" in value and "output" in value:
        return "converse"
    if gemini.is_spoken(value):
        return "gemini"
    if interactions.is_spoken(value):
        return "interactions"
    if object.startswith("chat.completion") or "choices" in value or "error" in value:
        return "chat"
    return None
