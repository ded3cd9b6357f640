"""The catalogue: providers and models as rows.

``providers`` lists the rows (``provider``). Models: ``models`` with ``abilities``, levels of ``effort``, ``sampling``,
``thinking`` and ``strict`` JSON Schemas; ``model_facts`` has what the rows leave open. ``prices`` computes costs,
mostly from the ``price_list``. ``model_lists`` says where providers list their models.
"""
