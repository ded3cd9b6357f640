"""The forms of requests in LiteLLM's log of requests: they show which paths and members clients use."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from gateway.commands.imports.litellm_rows import has_value, read_list
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result

TABLE: Final = "LiteLLM_SpendLogs"
LATEST: Final = 10_000
"""The number of requests that are read from a server, the latest first."""

COLUMNS: Final = ("call_type", "end_user", "request_tags")
_ADDED: Final = "User-Agent:"
"""The start of tags that LiteLLM adds itself."""

_PASSED: Final = ("pass_through_endpoint", "llm_passthrough_route", "allm_passthrough_route")


@attrs.define
class RequestCounts:
    """The numbers of requests in the log: all, those below a provider's prefix, with an end user, and with tags."""

    requests: int = 0
    passed: int = 0
    with_user: int = 0
    with_tags: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row of the log."""
        self.requests += 1
        self.passed += row.get("call_type") in _PASSED
        self.with_user += has_value(row.get("end_user"))
        self.with_tags += any(not tag.startswith(_ADDED) for tag in read_list(row.get("request_tags")))


def use_counts(counts: RequestCounts, result: Result) -> None:
    """Accept the paths and members that the clients of ``counts`` use, and note the numbers."""
    if counts.passed:
        result.compatibility = ["azure", "litellm"]
        result.remarks.append(
            f"compatibility: {counts.passed} of {counts.requests} logged requests were below a provider's prefix"
        )
    for number, what, field in ((counts.with_user, "an end user", "end_user"), (counts.with_tags, "tags", "tags")):
        if number:
            result.reads_bodies = True
            why = f"the log of trigate has `{field}`, but `trigate costs` cannot add up by it"
            what = f"usage by {field}: {number} of {counts.requests} logged requests have {what}"
            result.note_loss(what, (Group.LOGS, why))
