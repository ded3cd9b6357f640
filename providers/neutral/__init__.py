"""What every wire API shares: the neutral ``request``, the ``codec`` protocol, and their parts."""
