"""Counters of what is limited: ``counter`` has the kinds of counters and the contract, ``shortages`` the refill of
rates and whether there is room. ``memory`` keeps them in one process, ``workers`` in memory that the workers of one
machine share, ``remote`` in a store of several gateways: in ``steps``, with ``looks`` at what others count, and with a
``share`` while it is away; ``redis`` and ``postgres`` are such stores. ``open_counters`` chooses."""
