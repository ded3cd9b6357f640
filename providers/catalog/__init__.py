"""The catalogue: ``providers`` and ``models`` as rows; of models who takes ``sampling``, the levels of ``effort``, the
JSON Schemas that are ``strict``, windows and ``abilities``, and the ``prices`` with the arithmetic of cost, of
which most come from the ``price_list``.
"""
