"""The rows of the catalogue, by the kind of place: ``makers``, ``hosts``, ``clouds``, ``own_servers``.

Hosts and paths are those of the providers' own documentation; ``sources`` of a row say where each API of it was read,
and when.
"""
