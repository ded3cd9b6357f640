"""The catalogue: providers and models as rows.

Providers: ``providers`` lists the rows of type ``provider``. Models: ``models`` with ``effort`` (thinking and
sampling, too) and ``strict`` JSON Schemas; ``model_facts`` fills gaps. ``prices`` computes costs, mostly from the
``price_list``; ``prompt_caching`` has the rules of prompt caches, ``model_lists`` the URLs of providers' model lists.
"""
