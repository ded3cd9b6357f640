"""The MCP servers to which the gateway passes requests at ``/mcp/NAME``."""

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import attrs

from configfile.keys import setting
from configfile.kinds import LateSecret, Url
from gateway.config.findings import Findings
from gateway.config.kinds import Dollars, ShortName, list_of
from gateway.config.model_entry import ModelEntry
from providers.catalog import providers as catalog
from providers.catalog.prices import FREE, NANOS, Price
from streams.timeouts import Timeouts

PROVIDER: Final = "mcp"
"""The provider of all MCP servers, in logs and metrics."""


@attrs.frozen(repr=False)
class McpServer:
    """An MCP server. ``entry`` is how the gateway reaches it, with the price of a call."""

    holds_secrets = True

    name: ShortName = setting("The unique name. Clients send their requests to `/mcp/NAME`.", compared=False)
    base_url: Url = setting("The whole address of the server, such as `https://mcp.internal/mcp`.")
    access_key: LateSecret | None = setting(
        "The server's key, sent as `Authorization: Bearer`. It never receives a client's key.",
        None,
        secret=True,
    )
    price_per_call: Dollars = setting("The price of each `tools/call`. Other requests are free.", 0.0)
    sessions: bool = setting(
        "The server has sessions, as in revisions of MCP up to 2025-11-25: pass `GET`, `DELETE` and their headers. "
        "Otherwise these get 405.",
        False,
    )
    only: tuple[str, ...] | None = setting(
        "The tools that clients may call, by name; `*` matches any characters. Other tools get 403.",
        None,
        shown="all",
        shape={"minItems": 1},
        absent="all",
    )

    entry: ModelEntry | None = None


McpServers: TypeAlias = Annotated[tuple[McpServer, ...], list_of(McpServer)]


def build_mcp_servers(
    items: Sequence[McpServer | None], timeouts: Timeouts, findings: Findings
) -> tuple[McpServer, ...]:
    """Return the MCP servers of a file, and report errors in them."""
    made: dict[str, McpServer] = {}
    for path, item in findings.present_items(items, ("mcp_servers",), "add `name` and `base_url`"):
        if item.name in made:
            findings.wrong((*path, "name"), f"another server has the name {item.name}", "give each its own name")
        if item.only == ():
            findings.wrong((*path, "only"), "the list is empty", "list at least one tool, or remove it to allow all")
        made.setdefault(item.name, attrs.evolve(item, entry=_entry_of(item, timeouts)))
    return tuple(made.values())


def _entry_of(item: McpServer, timeouts: Timeouts) -> ModelEntry:
    name = f"{PROVIDER}/{item.name}"
    price = FREE
    if item.price_per_call:
        nanos = round(item.price_per_call * NANOS)
        price = Price(0, 0, request=nanos, origin="config", provider=PROVIDER, model=item.name)
    return ModelEntry(
        name, name=name, key=item.access_key or None, base_url=item.base_url, timeouts=timeouts,
        provider=catalog.generic(PROVIDER), model=item.name, price=price,
    )  # fmt: skip
