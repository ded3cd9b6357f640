"""The responses of each path.

- ``inference``: requests for providers; ``count_tokens``, ``compact``: token counts and compactions.
- ``models`` (in the ``model_shapes`` of each API), ``health``, ``metrics``: reports about the gateway.
- ``responses``, ``conversations``: stored objects; ``provider_kept``: objects that a provider stores.
- ``border`` turns a request into an exchange; ``door`` rejects hostile requests and unknown clients; ``http_errors``
  answers unknown paths; ``answers`` is common to all."""
