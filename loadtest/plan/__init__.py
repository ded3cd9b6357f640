"""The plan of a load. ``scenario_file`` reads a scenario as it is written (``raw_scenario``), rejects
``contradictions``, and returns a ``scenario`` with its kinds of ``load_request``.

``arrivals``, ``asked_loads`` (several, or a search) and ``traces`` of real services say when requests begin; ``shares``
divide a plan among processes and machines. ``lengths``, ``recorded_load`` of a gateway and ``load_endpoints`` say what
requests contain. ``objectives`` say what a good answer keeps, and each is a ``comparison``. ``spellings`` has the names
of other tools; ``kinds`` of values and ``masked_urls`` serve all of them.
"""
