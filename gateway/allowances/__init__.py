"""Holds clients and targets to what they may use: rates, requests at once, budgets. ``allowance`` says what is counted,
and how much of it a request is; ``allowances`` has those of a configuration, ``reservation`` is one request's way
through them, ``refusals`` what it is told where nothing is left, ``unpriced`` where nobody knows its cost. ``rates``
makes allowances of ``ratelimits``, ``root_limits`` those that a header names, ``queue`` lets requests wait for a
place of a target's, ``shared_queue`` over several workers, in a ``shared_line``; ``budgets`` makes allowances of
budgets, by ``periods``, and ``used_up`` the refusal where one is; ``counter_keys`` are the identities of counters.
``runs`` says which run a request belongs to, ``expected`` how long its answer may be, ``purse`` whether its client
gives it enough, and ``left`` what is left. ``seeds`` has budgets begin with what the kept ledger knows of their
periods. ``set_aside`` is for batches that go on. ``standing`` says how much is used, for metrics and whoever else
shows it.
"""
