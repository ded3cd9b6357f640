"""Who may come in: ``admission`` (whose requests may begin, and the places that they take), by key and by page:
``authentication`` (client keys and their models), ``cors``, the ``page_guard`` against what browsers send for any page,
and ``peers``, the addresses of clients behind proxies."""
