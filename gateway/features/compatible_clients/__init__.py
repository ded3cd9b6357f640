"""Clients of other servers: Azure's and LiteLLM's.

- ``opening``: the paths; ``adapter`` changes each request before the routes see it.
- ``hosted_claude``: the paths of Claude in clouds."""
