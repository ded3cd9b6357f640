"""A harness for tests of steps: it runs a step over a conversation in every API, whole and streamed at every split.

It uses the gateway's own engine, without a server. ``docs/steps-reference.md`` has an example.
"""

from collections.abc import Callable, Mapping
from itertools import starmap
from typing import Any

import attrs

from trigate.steps import Action, Check, Part


@attrs.frozen
class FoundText:
    """A finding: its label, the part of its text, and the text itself."""

    label: str
    part: Part
    text: str


@attrs.frozen
class StepResult:
    """The result of a step.

    ``request`` and ``response`` are its findings. ``sent`` is the JSON body that the provider gets, in the API of the
    request, ``released`` the text that the client gets. Both are ``None`` if the step refused."""

    request: tuple[FoundText, ...]
    response: tuple[FoundText, ...]
    sent: bytes | None
    released: str | None


def run(
    step: Callable[[Check], Any],
    request: Mapping[str, Any],
    response: str | Mapping[str, Any] | bytes = "",
    *,
    api: str = "chat",
    action: Action | Mapping[str, Action] = "mask",
    hold: int | str | None = None,
    seeds: int = 20,
) -> StepResult:
    """Run ``step`` on a request of ``api`` and on its response, and return what it found.

    ``response`` is the text of the answer, a complete response of ``api``, or the bytes of a recorded stream. The
    response is streamed in every API: whole, split at every byte, in single characters, and in random pieces ``seeds``
    times. ``action`` and ``hold`` are those of the configuration.

    Raises ``AssertionError`` if an API or a split shows other text or other findings, or if a release has a part of a
    masked value. With a number for ``hold``, a step may also find the beginning of a value. Raises ``ValueError`` for a
    request or response that is none of ``api``, and for a mask with ``hold="nothing"``. Do not call it in an event
    loop."""
    from gateway.features.steps.feature import harness_class

    harness = harness_class()(step, action, hold)
    found, sent = harness.run_request(api, request)
    told, released = harness.run_response(api, request, response, seeds)
    return StepResult(tuple(starmap(FoundText, found)), tuple(starmap(FoundText, told)), sent, released)
