"""HTTP's own words, of no room in particular: ``headers`` that cross the gateway, ``paths`` as clients write them, and
``sockets``.
"""
