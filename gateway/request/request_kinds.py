"""The kinds of requests for which a target of a route can be, such as ``when: [background, tokens > 60000]``."""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.config.kinds import LONG_PROMPT
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from providers.neutral.request import Request
from providers.neutral.search_tools import find_search
from providers.neutral.tokens import estimate
from streams.errors import GatewayError

_CLAUDE_CODE: Final = ("cli", "cli-bg")
"""The values of ``x-app`` that Claude Code and its SDK send."""


def kinds_of(
    wanted: frozenset[str], incoming: Incoming, client_request: ClientRequest, letters: float
) -> frozenset[str]:
    """Return those of the ``wanted`` kinds that a request has. ``letters`` are the English letters in a token."""
    request = _neutral_request(incoming)
    found = {kind for kind in wanted & _TESTS.keys() if _TESTS[kind](request, incoming, client_request)}
    limits = {kind: int(long[1]) for kind in wanted if (long := LONG_PROMPT.fullmatch(kind)) is not None}
    if limits and incoming.size > min(limits.values()):  # no prompt has more tokens than bytes
        tokens = incoming.size // 4 if request is None else estimate(request, letters)
        found.update(kind for kind, limit in limits.items() if tokens > limit)
    return frozenset(found)


def _neutral_request(incoming: Incoming) -> Request | None:
    """Return a request for an answer or a count in the neutral form, ``None`` for one that its provider will reject."""
    try:
        return incoming.request
    except GatewayError:
        pass
    try:
        return incoming.count_request
    except GatewayError:
        return None


def _is_background(request: Request | None, incoming: Incoming, client_request: ClientRequest) -> bool:
    """Return whether it is for Claude Code itself: to its small model, or without tools, for a title.

    It sends titles to the main model if another server than Anthropic's is configured."""
    if client_request.header("x-app") not in _CLAUDE_CODE:
        return False
    is_title = request is not None and "max_tokens" in incoming.members and not request.has_tools
    return "haiku" in (incoming.model or "").lower() or (is_title and not _thinks(request, incoming, client_request))


def _thinks(request: Request | None, incoming: Incoming, client_request: ClientRequest) -> bool:
    reasoning = None if request is None else request.reasoning
    if reasoning is None or reasoning.mode == "disabled":
        return False
    return reasoning.effort != "none" and reasoning.budget != 0


def _searches(request: Request | None, incoming: Incoming, client_request: ClientRequest) -> bool:
    return request is not None and find_search(request) is not None


_TESTS: Final[Mapping[str, Callable[[Request | None, Incoming, ClientRequest], bool]]] = {
    "background": _is_background, "thinking": _thinks, "web_search": _searches,
}  # fmt: skip
