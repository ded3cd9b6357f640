"""The lists of models that clients may use.

- ``views``: the lists in the form of each API, with the ``shapes`` of a model; ``opening``: their paths.
- ``lists``: the models that providers offer, for entries that include all models of a provider."""
