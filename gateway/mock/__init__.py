"""The stand-in provider of ``trigate serve --demo`` and ``trigate mock``, which speaks all APIs without a model.

- ``server``: the ASGI app; ``script``: the responses; ``words``: their texts; ``tools``: the tool calls.
- ``filling``: values that match JSON Schemas.
- ``faults``: faulty responses; ``failures``: faults by reason, for testing routes, with a model for each.
- ``called``: requests to other endpoints; ``endpoint_answers``, ``media``: their responses; ``kept``: stored objects.
- ``realtime``: realtime sessions.
- ``prompt_cache``: the prompt cache of the demo.
- ``issuer``: an OpenID issuer; ``mcp_server``: an MCP server that shows whose token it got."""
