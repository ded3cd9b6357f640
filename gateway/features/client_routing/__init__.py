"""Clients of other routers: OpenRouter, Vercel and LiteLLM, with ``client_routing``.

- ``feature``: the row and its keys; ``opening``: their members of requests
- ``bodies``: routing options in bodies; ``labels``: the end user and the tags of LiteLLM's clients."""
