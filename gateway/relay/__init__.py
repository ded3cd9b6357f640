"""Requests that are no conversation, relayed to a provider.

``routes`` are their paths. ``relaying`` reads and plans a request, ``relay`` carries it to a provider and its answer
back, through one of the filters in ``answers``; ``cached_answers`` are those that the cache gives again.

``completions``, ``embeddings`` (in three shapes, and in several requests where a list is longer than a provider takes),
``rerank``, ``images``, ``audio``, ``videos`` and ``plain_json`` (of which only the model is read) are endpoints.
``uploads`` passes multipart bodies on while they come. ``realtime`` is for realtime sessions that go past the gateway.

``pass_through`` takes any path of a provider's, ``passed_websockets`` upgrades there.

``kept`` passes requests about what providers keep, in the forms of ``kept_forms``, with the ids of their owner;
``kept_uploads`` are Google's. ``batches`` are lists of requests, whose ``batch_models`` say where they go, and which
are paid for once (``batch_costs``).
"""
