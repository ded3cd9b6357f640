"""Requests other than conversations, relayed to a provider.

- ``routes``: their paths; ``relaying`` reads and plans a request; ``relay`` sends it and delivers the response, which
  ``relayed_answer`` reads through a filter of ``answers``; ``cached_answers``: the cache's rules for responses.
- ``checks``: the operator's steps for requests, ``checked_relay`` for responses.
- ``outputs``: the output that a request to each endpoint allows, for its reservation.
- ``completions``, ``embeddings``, ``rerank``, ``images``, ``audio``, ``videos``, ``plain_json``: endpoints.
- ``uploads`` passes multipart bodies on while they arrive; some wait in the ``spool``, on disk.
- ``realtime``: calls, and credentials for realtime sessions.
- ``openai_own``: endpoints that only OpenAI has.
- ``mcp``: messages for MCP servers.
- ``pass_through``: any path of a provider; ``passed_websockets``: upgrades there.
- ``kept``: objects that providers store, in the forms of ``kept_forms``; ``kept_uploads``: Google's uploads.
- ``batches``: lists of requests; ``new_batches``: requests that create one; ``batch_costs``: their costs;
  ``line_checks``: the operator's steps for them."""
