"""Storage for what outlives a request: trees of nodes, each of which has an owner. Stores know nothing of their
contents.

``store`` is the contract, ``nodes`` what all stores know of nodes and of who has how much. ``memory`` implements
it in this process, ``sql`` in the tables of a database: ``sqlite`` and ``postgres`` are its two, over a ``pool`` of
connections that threads use. ``encrypted`` is any store with encrypted bodies, ``overlay`` any store under one that
keeps the writes. ``key_store`` is a table of its own in the same databases.
"""
