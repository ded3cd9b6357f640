"""What a load is to be. ``scenario_file`` reads a scenario as it is written (``raw_scenario``), rejects
``contradictions``, and returns a ``scenario`` with its kinds of ``load_request``.

When requests begin: ``arrivals``, ``asked_loads`` (several, or a search), ``client_steps`` and ``traces`` of real
services; ``shares`` divide a plan among processes and machines. What they contain: ``lengths``, ``shared_prefixes``,
``turns`` of conversations, ``recorded_load`` of a gateway, and ``load_endpoints`` that are no conversation.
What is asked of the responses: ``objectives`` and the ``comparison`` that each
of them is. ``spellings`` are those of other tools, and
``kinds`` of values and ``masked_urls`` serve all of them.
"""
