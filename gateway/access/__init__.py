"""Who may come in: ``admission`` (whose requests may begin, and the places that they take), by key and by page:
``authentication`` (client keys and their models), ``cors``."""
