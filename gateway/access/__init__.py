"""Admission of clients, by key and by page: ``authentication`` (client keys and their models), ``cors``."""
