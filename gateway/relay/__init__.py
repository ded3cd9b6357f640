"""Requests that are no conversation, relayed to a provider: ``relay`` carries one there and its answer back as it
comes, ``relayed`` says what is to be known of one for that, ``relaying`` reads and plans them, ``answers`` are the ways
of an answer to its client (``rewritten``: of one whose shape is another), ``routes`` the paths.

``completions``, ``rerank`` and ``plain_json`` (of which only the model is known here) are endpoints.

``embeddings`` are asked for in three shapes, and in several requests where a list is longer than a provider takes.

``uploads`` pass multipart bodies on while they come, from the ``spool`` what has to wait; ``images`` and ``audio`` are
endpoints, ``media_answers`` the ways of what they answer, ``inlining`` fetches pictures into them. ``videos``
are made by their model and kept by their ids.

``pass_through`` takes any path of a provider's, with ``native_usage``, ``passed_websockets`` upgrades there; the models
that these name are found by ``passed_models``.
``realtime_secrets`` and ``realtime_calls`` are for realtime sessions that go past the gateway.

``cached_answers`` are those that the cache gives again.

``kept`` passes requests about what providers keep, in the forms of ``kept_forms``, with the ids of their owner
(``kept_answers``, ``kept_fields`` those of forms); ``kept_uploads`` are Google's. ``batches`` are lists of requests,
read line by line by ``batch_uploads``, whose ``batch_models`` say where they go, and paid for once (``batch_costs``).
"""
