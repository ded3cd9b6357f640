"""Who may come in: ``admission`` (whose requests may begin) by ``authentication`` (client keys and their models), and
``shares`` (the places that they take) with ``body_memory`` (what their bodies hold of the process's memory);
``page_guard`` (CORS, and the guard against what browsers send for any page), and ``peers``, the addresses of clients
behind proxies; ``refused_keys``, counted and logged for the audit."""
