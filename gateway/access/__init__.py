"""Who may come in, with which key and from which page: ``authentication`` (client keys and their models), ``cors``."""
