"""The limits of clients and targets: rates, simultaneous requests, budgets.

- ``allowance``: the protocol of all limits, and the amount that a request uses.
- ``rates`` and ``budgets`` (with ``periods``): the limits of the configuration; ``allowances`` has all of one.
- ``reservation``: what one request reserves; ``expected`` estimates its output, ``runs`` finds its run, ``refusals``
  makes its errors.
- ``queue``: requests that wait for a target; ``shared_queue``: the same across workers. ``room``: requests that wait
  for their client's budget.
- ``seeds``: initial budget levels from the kept ledger.
- ``levels``: reports of usage. ``call_rates``: rates of calls that are no requests of models."""
