"""Who says it: one codec per wire API and the catalogue of providers. Pure: no I/O, no trio."""
