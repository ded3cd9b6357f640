"""The provider rows of the catalogue: ``makers``, ``hosts``, ``clouds`` and ``own_servers``.

Hosts and paths come from the providers' documentation; ``sources`` of a row cite it with dates.
"""
