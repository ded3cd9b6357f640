"""Failures by reason, for testing routes: a model for each reason on which routing decides, in each API's error format.

Each reason has up to three models: a status with a body (``fault/quota``), with an array as the body
(``fault/quota-array``), and status 200 with the error as first event or whole body (``fault/quota-event``).

A number after the name is how many requests fail before one succeeds: ``fault/overloaded-2`` fails two of every
three."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from gateway.mock.faults import FAULTS, Fault, end_with, in_all_apis
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, Event, FailureReason, Reason, Usage

_NO_CREDIT = "Your credit balance is too low to access the Anthropic API."
_BLOCKED = "Output blocked by content filtering policy"
_UNIFIED = "anthropic-ratelimit-unified-status"


def _overload_error(code: str) -> ErrorInfo:
    return ErrorInfo("overloaded", "Service unavailable", code=code)


def _request_error(message: str, code: str | None = None) -> ErrorInfo:
    return ErrorInfo("invalid_request", message, code=code)


REFUSALS: Final[Mapping[FailureReason, Fault]] = {
    "rate_limited": FAULTS["429"],
    "quota": Fault(
        "status 429 insufficient_quota; Messages: 400 for an account without credit",
        refusals=in_all_apis(
            ErrorInfo("rate_limited", "You exceeded your current quota", code="insufficient_quota"),
            messages=_request_error(_NO_CREDIT),
        ),
    ),
    "overloaded": Fault(
        "status 503; Messages: 529",
        refusals=in_all_apis(
            _overload_error("overloaded"),
            messages=FAULTS["529"].refusals["messages"],
            responses=_overload_error("server_is_overloaded"),
        ),
    ),
    "server_error": FAULTS["500"],
    "timeout": Fault("status 504", refusals=in_all_apis(ErrorInfo("timeout", "Gateway timeout"))),
    "credential": FAULTS["401"],
    "gone": Fault(
        "status 404 model_not_found",
        refusals=in_all_apis(ErrorInfo("not_found", "No such model", code="model_not_found")),
    ),
    "context_too_long": FAULTS["context-overflow"],
    "content_filter": Fault(
        "status 400 content_policy_violation; Messages: 400 with a message only",
        refusals=in_all_apis(
            _request_error("The request was rejected by the content filter", "content_policy_violation"),
            messages=_request_error(_BLOCKED),
        ),
    ),
    "invalid": Fault(
        "status 400 for an invalid request",
        refusals=in_all_apis(_request_error("The stand-in treats this request as invalid")),
    ),
}
"""The fault for each reason."""

_WINDOW: Final = attrs.evolve(
    FAULTS["429"].refusals["chat"],
    message="Usage limit reached",
    headers=((_UNIFIED, "rejected"), ("retry-after", "5")),
)


def _faults_for(reason: FailureReason) -> Mapping[str, Fault]:
    """Return the faults for ``reason`` by name."""
    fault = attrs.evolve(REFUSALS[reason], number=0)
    says = f"{fault.description}; the error is in an array"
    found = {reason: fault, f"{reason}-array": attrs.evolve(fault, description=says, body=lambda body: b"[%b]" % body)}
    if reason != "timeout":  # no API has an error event for it
        says = f"status 200; the first event, or the body without streaming, has the error of {fault.description}"
        found[f"{reason}-event"] = Fault(says, 0, error_events=fault.refusals)
    return found


def _empty_answer(reason: Reason) -> Callable[[Sequence[Event], int], Sequence[Event]]:
    return lambda events, _: [next(iter(events)), Usage(input=1), AnswerEnd(reason)]


FAILURES: Final[Mapping[str, Fault]] = {
    **{name: fault for reason in REFUSALS for name, fault in _faults_for(reason).items()},
    "quota-window": Fault(
        "status 429: the limit of a plan, which resets after 5 seconds", 0, refusals=in_all_apis(_WINDOW)
    ),
    "connection": Fault(
        "the connection closes before the first content", 0, answer=lambda answer, _: end_with("cut")(answer, 0)
    ),
    "bad_answer": Fault("status 200 and an HTML page", 0, answer=FAULTS["html"].answer),
    "empty": Fault("a complete but empty answer", 0, events=_empty_answer("stop")),
    "refusal": Fault("an empty answer that ends with a refusal", 0, events=_empty_answer("refusal")),
}


PREFIX: Final = "fault/"
ONLY_FAULTS: Final = "x-mock-only-faults"
"""A header of requests whose model is a fault, also without the prefix: another model is an error."""
MODELS: Final[Mapping[str, Fault]] = {**FAULTS, **FAILURES}
"""All faults by name."""


def fault_of(model: str) -> tuple[str, Fault, int] | None:
    """Return the name, row and number of the fault that ``model`` selects, ``None`` for a model without a fault.

    The prefix is optional, because gateways remove the first part of a name. Raises ``GatewayError`` (404) for an
    unknown fault."""
    name = model.removeprefix(PREFIX)
    found = re.fullmatch(r"(.+?)(?:-(\d{1,4}))?", name)
    for stem, number in ((name, None), found.groups() if found else ("", None)):
        fault = MODELS.get(stem)
        if fault is not None and (number is None or fault.number is not None):
            return stem, fault, int(number or fault.number or 0)
    if model.startswith(PREFIX):
        raise GatewayError(
            "not_found", f"unknown fault {model}; use one of {', '.join(fault_descriptions())}", param="model"
        )
    return None


def fault_descriptions() -> dict[str, str]:
    """Return the models of all faults with their descriptions."""
    return {
        f"{PREFIX}{name}" + (f"-{fault.number}" if fault.number else ""): fault.description
        for name, fault in MODELS.items()
    }
