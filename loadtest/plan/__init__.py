"""The load as values: the ``plan`` with its arrivals, and the ``limits`` of its figures."""
