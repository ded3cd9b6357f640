"""The forms of requests in LiteLLM's log of requests: they show which names, paths and members clients use."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import attrs

from gateway.commands.imports.imported_values import escape_dollars
from gateway.commands.imports.litellm_rows import has_value, name_list, read_list, read_text
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result

TABLE: Final = "LiteLLM_SpendLogs"
LATEST: Final = 10_000
"""The number of requests that are read from a server, the latest first."""

COLUMNS: Final = ("call_type", "end_user", "request_tags", "model_group", "model", "status")
"""The columns that are read, if the table has them."""
_ADDED: Final = "User-Agent:"
"""The start of tags that LiteLLM adds itself."""

_PASSED: Final = ("pass_through_endpoint", "llm_passthrough_route", "allm_passthrough_route")


@attrs.define
class RequestCounts:
    """The numbers of requests in the log: all, those below a provider's prefix, with an end user, and with tags.

    ``names`` has the numbers of the answered requests by the model that the client requested."""

    requests: int = 0
    passed: int = 0
    with_user: int = 0
    with_tags: int = 0
    names: Counter[str] = attrs.field(factory=Counter)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row of the log."""
        self.requests += 1
        is_passed = row.get("call_type") in _PASSED
        self.passed += is_passed
        self.with_user += has_value(row.get("end_user"))
        self.with_tags += any(not tag.startswith(_ADDED) for tag in read_list(row.get("request_tags")))
        name = read_text(row.get("model_group")) or read_text(row.get("model"))
        if name and not is_passed and row.get("status") != "failure":
            self.names[name] += 1


def use_counts(counts: RequestCounts, result: Result) -> None:
    """Accept the paths and members that the clients of ``counts`` use, and note the numbers."""
    if counts.passed:
        result.settings["compatibility"] = ["azure", "litellm"]
        result.remarks.append(
            f"compatibility: {counts.passed} of {counts.requests} logged requests were below a provider's prefix"
        )
    for number, what, field in ((counts.with_user, "an end user", "end_user"), (counts.with_tags, "tags", "tags")):
        if number:
            result.settings["client_routing"] = ["litellm"]
            why = f"the log of trigate has `{field}`, but `trigate costs` cannot add up by it"
            what = f"usage by {field}: {number} of {counts.requests} logged requests have {what}"
            result.lose(what, (Group.LOGS, why))


def lose_unserved_requests(counts: RequestCounts, result: Result) -> None:
    """Report how many of the logged requests have a name that the new file does not serve."""
    known = result.name_test()
    unserved = [name for name, _ in counts.names.most_common() if not known(escape_dollars(name))]
    if unserved:
        number = sum(counts.names[name] for name in unserved)
        what = f"{number} of {counts.names.total()} logged requests, for {name_list(unserved, 'names')}"
        result.lose(what, (Group.NAMES, "they get 404: add these names to `model_aliases`"))
    elif counts.names:
        result.remarks.append(f"the new file has the models of all {counts.names.total()} logged requests")
