"""The row of MCP servers behind the gateway, at ``/mcp/NAME``, and their keys."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import attrs

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.keys import part_of, parts, setting, with_part
from configfile.kinds import LateSecret, Url
from configfile.wording import describe, nearest
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.findings import Findings
from gateway.config.kinds import Dollars, ShortName, list_of
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Absent, ClientRights, ItemPart
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys
from providers.catalog import providers as catalog
from providers.catalog.prices import FREE, NANOS, Price
from streams.timeouts import Timeouts

if TYPE_CHECKING:
    from gateway.config_files.building import Building


PROVIDER: Final = "mcp"
"""The provider of all MCP servers, in logs and metrics."""


@attrs.frozen(repr=False)
class McpServer:
    """An MCP server. ``entry`` is how the gateway reaches it, with the price of a call.

    ``knows_clients`` means that each client has a credential of its own there, so a 403 concerns the client."""

    holds_secrets = True

    name: ShortName = setting("The unique name. Clients send their requests to `/mcp/NAME`.", compared=False)
    base_url: Url = setting("The whole address of the server, such as `https://mcp.internal/mcp`.")
    access_key: LateSecret | None = setting(
        "The server's key, sent as `Authorization: Bearer`.",
        None,
        secret=True,
    )
    price_per_call: Dollars = setting("The price of each `tools/call`. Other requests are free.", 0.0)
    sessions: bool = setting(
        "The server has sessions (MCP up to 2025-11-25): pass `GET`, `DELETE` and their headers. Otherwise these get "
        "405.",
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
    knows_clients: bool = False
    parts: Mapping[type, Any] = parts()


McpServers: TypeAlias = Annotated[tuple[McpServer, ...], list_of(McpServer)]


@attrs.frozen
class McpKeys:
    """The keys of the root."""

    mcp_servers: McpServers = setting(
        "The MCP servers that clients reach through the gateway.",
        (),
        shape={"minItems": 1},
        items="MCP server",
    )


@attrs.frozen
class McpRights(ItemPart):
    """The keys of clients, groups and rules."""

    mcp: tuple[str, ...] = setting(
        "The [MCP servers](mcp.md) that it may use besides its group's, by name with `*`.", ()
    )

    def complete(self, item: Any, path: Path, config: Config, findings: Findings) -> "McpRights":
        if self.mcp:
            items: Sequence[McpServer | None] = servers_of(config)
            names = [item.name for item in items if item is not None]
            known = (*names, *findings.texts_of_dropped("mcp_servers", items))
            for i, pattern in enumerate(self.mcp):
                if not isinstance(pattern, Unresolved) and not any(matches_one(name, (pattern,)) for name in known):
                    found = f"there is no MCP server {describe(pattern)}"
                    place = (*path, "mcp", i)
                    findings.wrong(place, found, "use the name of one of mcp_servers", nearest(pattern, names))
        return self

    def within(self, config: Config) -> "McpRights":
        names = [server.name for server in servers_of(config)]
        return McpRights(tuple(one for one in self.mcp if any(matches_one(name, (one,)) for name in names)))


def servers_of(config: Config) -> tuple[McpServer, ...]:
    """Return the MCP servers of ``config``."""
    return part_of(config, McpKeys).mcp_servers


def with_servers(config: Config, servers: Iterable[McpServer]) -> Config:
    """Return ``config`` with other ``servers``."""
    return with_part(config, McpKeys(tuple(servers)))


def may_use(client: ClientKey, server: str) -> bool:
    """Return whether ``client`` or its group may use the MCP server ``server``."""
    holders = (client,) if client.group is None else (client, client.group)
    return any(matches_one(server, part_of(holder, McpRights).mcp) for holder in holders)


def build_mcp_servers(config: Config, building: "Building") -> Config:
    """Give the MCP servers their entries, and report errors in them."""
    servers = tuple(_build_servers(config, building.findings))
    entries = (server.entry for server in servers if server.entry is not None)
    config = attrs.evolve(config, more_entries=(*config.more_entries, *entries))
    return with_servers(config, servers)


def _build_servers(config: Config, findings: Findings) -> Iterator[McpServer]:
    names: set[str] = set()
    for path, item in findings.present_items(servers_of(config), ("mcp_servers",), "add `name` and `base_url`"):
        if item.only == ():
            findings.wrong((*path, "only"), "the list is empty", "list at least one tool, or remove it to allow all")
        if item.name in names:
            findings.wrong((*path, "name"), f"another server has the name {item.name}", "give each its own name")
        else:
            names.add(item.name)
            yield attrs.evolve(item, entry=_entry_of(item, config.timeouts))


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


ADVICE: Final = (
    Absent(
        "Built-in tools",
        "the provider gets the tools of a request, and `mcp_servers` forwards requests to MCP servers; trigate runs no "
        "tools",
        "tools tool_servers a2a mcp_aliases mcp_client mcp_settings",
        (Config, ModelEntry),
    ),
)  # fmt: skip
"""Advice on other gateways' keys for tools."""

FEATURE: Final = Feature(
    "mcp",
    "gateway.features.mcp.routes:open_mcp",
    keys=(Keys(Config, McpKeys), Keys(ClientRights, McpRights), Keys(ClientGroup, McpRights)),
    first_steps=("mcp",),
    build="gateway.features.mcp.feature:build_mcp_servers",
    advice="gateway.features.mcp.feature:ADVICE",
)
