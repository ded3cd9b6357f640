"""The load as values: the ``plan`` with its arrivals, the ``limits`` of its figures, and ``masked_urls``."""
