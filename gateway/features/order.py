"""The order of the features: the only module that lists them.

The order is a decision about security: who may see a text before it is hidden, and who may stop a request before money
is reserved. Hooks run in it, and features end in reverse. To remove a feature, delete its folder and its line."""

from typing import Final, NamedTuple


class OrderLine(NamedTuple):
    """A feature: the ``name`` of its folder, and the ``reason`` of its place.

    ``extends`` is the name of a feature above whose code it uses: without that line, this one has no effect. With
    commands, its module ``options`` has them as ``COMMANDS``. ``trigate --help`` imports this module, so it imports
    little. The row of a ``late`` feature is imported with the first file that has its keys, or those of another one:
    without them, it has no effect."""

    name: str
    reason: str
    has_commands: bool = False
    extends: str = ""
    late: bool = False


ORDER: Final[tuple[OrderLine, ...]] = (
    OrderLine("secret_stores", "its place does not matter: it supplies keys of providers, and sees no request"),
    OrderLine("admin", "before people, who use its tables and its way to serve calls", has_commands=True),
    OrderLine("people", "first of those that identify clients", has_commands=True, extends="admin", late=True),
    OrderLine("people.api", "after people; the HTTP API has these calls without issuers, too", extends="admin"),
    OrderLine("people.console", "after people, who sign in for its pages", extends="admin"),
    OrderLine("client_routing", "its place does not matter: only it reads members for other routers", late=True),
    OrderLine("linked_files", "before the steps, which check the contents that it puts into requests, too"),
    OrderLine("steps", "before all that read or send texts: they get what it leaves", has_commands=True, late=True),
    OrderLine("request_members", "before those that edit each attempt: it edits what the client sent", late=True),
    OrderLine("cache_acts", "after the features that change texts: its marks count what is sent", late=True),
    OrderLine("web_search", "before the answer cache, which then stores no answer with searches", late=True),
    OrderLine("answer_cache", "after those that change a request: requests must be equal for the provider", late=True),
    OrderLine("joined", "after the response cache, which serves its clients", extends="answer_cache", late=True),
    OrderLine("prompt_caches", "after all features that change what is sent: it compares what providers get"),
    OrderLine("recording", "first of the observers: it writes down what the others only count"),
    OrderLine("metrics", "among the observers, whose order does not matter"),
    OrderLine("tracing", "after the metrics, which count its lost spans"),
    OrderLine("live_view", "among the observers, whose order does not matter"),
    OrderLine("failures", "among the observers, whose order does not matter"),
    OrderLine("kept_ledger", "after the observers: it stores what is settled", has_commands=True),
    OrderLine("notices", "after the kept ledger, which first raises budgets to those before a restart", late=True),
    OrderLine("shadow", "after the kept ledger, which stores its last exchanges at the end", late=True),
    OrderLine("compatible_clients", "before other endpoints, whose paths end like some of its conversations"),
    OrderLine("model_lists", "among the routes, whose order does not matter"),
    OrderLine("other_endpoints", "among the routes, whose order does not matter"),
    OrderLine("files", "among the routes, whose order does not matter"),
    OrderLine("mcp", "among the routes, whose order does not matter"),
    OrderLine("responses_websocket", "among the routes, whose order does not matter"),
    OrderLine("mcp_sign_in", "after people, whose tokens it exchanges for those of servers", extends="mcp", late=True),
    OrderLine("realtime", "among the routes, whose order does not matter"),
    OrderLine("pass_through", "after realtime, whose sessions it serves on its paths, too", late=True),
)

EFFECTIVE: Final = tuple(line for line in ORDER if line.extends in {"", *(one.name for one in ORDER)})
"""The lines of features whose code exists wholly."""
