"""The limits of clients and targets: rates, requests at once, budgets.

``allowance`` is the contract and the amount that a request uses. ``rates`` and ``budgets`` (by ``periods``) make
allowances of the configuration, and ``allowances`` has all of one configuration. ``reservation`` is one request's way
through them: ``expected`` is its likely use, ``runs`` the run that it belongs to, ``refusals`` its errors. ``queue``
lets requests wait for a place at a target, ``shared_queue`` over several workers. ``seeds`` starts budgets with what
the kept ledger says of their periods. ``standing`` reports how much is used.
"""
