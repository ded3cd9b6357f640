"""The stand-in provider of ``trigate serve --demo`` and ``trigate mock``: it speaks all three APIs, knows nothing, and
says so.

One concept a module: ``server`` (what is served), ``script`` (what it says), ``faults`` (what can go wrong on request).
"""
