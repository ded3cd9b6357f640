"""Counts what is limited: ``counter`` has the kinds of counters and what is done to them, ``rate`` how a rate refills,
``memory`` keeps them in one process."""
