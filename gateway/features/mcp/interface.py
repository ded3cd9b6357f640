"""The names of MCP servers that other features use."""

from gateway.features.mcp.feature import McpServer, servers_of, with_servers
