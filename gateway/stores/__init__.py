"""What outlives a request: trees of nodes that belong to somebody. Stores know nothing of what is in them.

``store`` is the contract, ``nodes`` what all stores know of a node. ``memory`` implements it in this process, ``sql``
in the tables of a database: ``sqlite`` and ``postgres`` are its two, over a ``pool`` of connections that threads use.
``encrypted`` is any store with encrypted bodies, ``overlay`` any store under one that keeps the writes.
"""
