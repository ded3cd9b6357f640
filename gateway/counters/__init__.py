"""Counters of limits, in memory or in a shared store.

- ``counter``: the kinds of counters and their protocol; ``shortages``: refill of rates and checks for room.
- ``chosen``: how many counters each client may choose, by names of runs and header values.
- ``memory``: counters of one process; ``workers``: counters that the workers of a machine share.
- ``remote``: counters of several gateways in a store, by ``steps``. ``unsent`` has what the store does not know,
  ``known_states`` what it replied last. With ``refreshes`` of levels, a ``share`` during an outage, and
  ``delayed_amounts`` after a loss of data.
- ``notes``: facts that gateways share through such a store.
- ``redis``, ``postgres``: such stores (``counter_store``); ``open_counters`` selects one."""
