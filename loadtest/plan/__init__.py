"""The plan of a load.

``scenario_file`` reads a ``raw_scenario``, rejects ``contradictions``, and returns a ``scenario`` with its kinds of
``load_request``. ``arrivals``, ``requested_loads`` (several loads, or a search) and ``traces`` of real services
determine when requests begin. ``shares`` divides a plan among processes and machines. ``lengths``, ``recorded_load``
and ``load_endpoints`` determine the content of requests. ``objectives`` define a good answer, each with a
``comparison``.
``spellings`` has the names that other tools use. ``kinds`` and ``masked_urls`` are helpers for all of them.
"""
