"""Requests other than conversations, relayed to a provider.

- ``routes``: their paths; ``relaying`` reads and plans a request; ``relay`` sends it and delivers the response, which
  ``relayed_answer`` reads through a filter of ``answers``. ``deferred_survival``: after a disconnect.
- ``endpoint_plans``: the targets of a request; ``endpoint_defaults``: the model of a request without one.
- ``outputs``: the output that a request to each endpoint allows, for its reservation.
- ``compatible``: paths of clients of other servers.
- ``public_addresses``: the rule for servers from which the gateway fetches linked contents.
- ``uploads`` passes multipart bodies on while they arrive; some wait in the ``spool``, on disk."""
