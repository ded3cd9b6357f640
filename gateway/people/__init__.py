"""People: clients that identity providers, clusters and CI services name. Imported only for a configuration with
``issuers``, or with another key that needs a part of it.

- ``values.py``: a person and a caller, as frozen values
"""
