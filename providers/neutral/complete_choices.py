"""The check whether each choice of an answer is complete, from its events."""

from collections.abc import Collection, Sequence
from typing import Final

from providers.neutral.ends import bad_arguments, unknown_end_failure
from streams.events import CONTENT, AnswerEnd, ErrorInfo, Event, ToolCallDelta, ToolCallStart
from streams.surrogates import NOT_JSON, any_json, decode_or

MAX_ARGUMENTS: Final = 256 * 1024
"""The most bytes of arguments of calls that a stream holds to check them."""
_CALL: Final = 256
"""The bytes that a call takes without its name and arguments."""


class CallArguments:
    """The arguments of a stream's calls of functions. If the provider lost a piece of them, they are not JSON.

    ``free_text``: the names of tools whose text a function's arguments wrap. Models may forget to wrap it."""

    __slots__ = ("_free_text", "_held", "_size")

    def __init__(self, free_text: Collection[str] = ()) -> None:
        self._free_text = free_text
        self._held: dict[tuple[int, int], tuple[str, bytearray]] = {}  # by choice and block
        self._size = 0

    def start(self, call: ToolCallStart, choice: int = 0) -> None:
        if call.kind == "function" and self._size <= MAX_ARGUMENTS:
            self._held[choice, call.block] = call.name, bytearray()
            self._size += len(call.name) + _CALL

    def add(self, piece: ToolCallDelta, choice: int = 0) -> None:
        if (held := self._held.get((choice, piece.block))) is not None:
            text = piece.text.encode(errors="surrogatepass")
            held[1].extend(text)
            self._size += len(text)
            if self._size > MAX_ARGUMENTS:
                self._held.clear()

    def failure(self, end: AnswerEnd, choice: int = 0) -> ErrorInfo | None:
        """Return the failure of a choice with ``end`` if it claims that its calls are complete."""
        if end.reason not in ("stop", "stop_sequence", "tool_calls"):
            return None
        calls = (call for (one, _), call in self._held.items() if one == choice)
        broken = (name for name, arguments in calls if not (_is_json(arguments) or self._is_text(name, arguments)))
        return None if (name := next(broken, None)) is None else bad_arguments(name)

    def _is_text(self, name: str, arguments: bytearray) -> bool:
        """Return whether ``arguments`` are an unwrapped text."""
        return name in self._free_text and not arguments.lstrip().startswith(b"{")


def _is_json(arguments: bytearray) -> bool:
    """Return whether ``arguments`` are JSON, or empty, as some providers write a call without any."""
    return not arguments.strip() or decode_or(any_json, bytes(arguments), NOT_JSON) is not NOT_JSON


class CompleteChoices:
    """The choices of one stream besides the first one, and whether each is complete. The lane checks the first one."""

    __slots__ = ("_arguments", "_with_content")

    def __init__(self) -> None:
        self._arguments = CallArguments()
        self._with_content: set[int] = set()

    def check(self, choice: int, events: Sequence[Event]) -> Sequence[Event]:
        """Return ``events`` of ``choice``. A failure replaces an end that does not end a complete answer."""
        for event in events:
            if type(event) is ToolCallDelta:
                self._arguments.add(event, choice)
            elif isinstance(event, AnswerEnd):
                is_meant = event.is_known or choice in self._with_content
                failure = self._arguments.failure(event, choice) if is_meant else unknown_end_failure(event)
                return events if failure is None else [*events[:-1], failure]
            elif isinstance(event, CONTENT):
                self._with_content.add(choice)
                if isinstance(event, ToolCallStart):
                    self._arguments.start(event, choice)
        return events
