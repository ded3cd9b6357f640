"""The catalogue: ``providers`` and ``models`` as rows; of models who takes ``sampling``, the levels of ``effort``, the
JSON Schemas that are ``strict``, windows and ``abilities``, with the list of ``model_facts`` for what those leave open,
and the ``prices`` with the arithmetic of cost, of which most come from the ``price_list``; where providers have
``model_lists`` of their own.
"""
