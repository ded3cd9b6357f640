"""HTTP's own: ``headers``, ``paths``, ``sockets``. Knows no other room."""
