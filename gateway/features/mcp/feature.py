"""The row of MCP servers behind the gateway."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "mcp",
    "gateway.features.mcp.routes:open_mcp",
)
