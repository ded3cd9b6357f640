"""The row of MCP servers behind the gateway."""

from typing import Final

from gateway.config.clients import ClientGroup
from gateway.config.parts import ClientRights
from gateway.config.settings import Config
from gateway.features.mcp.settings import McpKeys, McpRights
from gateway.seams.feature import Feature, Keys

FEATURE: Final = Feature(
    "mcp",
    "gateway.features.mcp.routes:open_mcp",
    keys=(Keys(Config, McpKeys), Keys(ClientRights, McpRights), Keys(ClientGroup, McpRights)),
    build="gateway.features.mcp.settings:build_mcp_servers",
)
